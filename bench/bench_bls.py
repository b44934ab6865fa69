"""BLS12-381 by blst, which is in use where the native part is installed, against arkworks.

Both do by turns what payments are made of: single operations; an issue of ten mintv2 notes of four guardians, from the
blinded outputs to verified notes; the decryption of a preimage from a threshold of shares. Keys of guardians are
decoded beforehand. Prints one line of JSON; the exit status is 1 when the issue or the decryption takes natively more
than 0.6 of the other's processor time. Without the native part it says so instead.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_notes import GUARDIANS, NOTES, THRESHOLD, federation
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls, secrets, tbs
from fedimint.crypto.arkworks import ARKWORKS
from fedimint.crypto.curve import Curve
from fedimint.lnv2 import tpe
from fedimint.mintv2 import notes
from fedimint.mintv2.notes import NoteRequest

LARGEST_RATIO = 0.6
JUDGED = ("issue of ten notes", "decryption")
ROUNDS = 25
#: So that what is measured is long to the clock.
TIMES = 4

Work = Callable[[], object]


def operations(curve: Curve) -> dict[str, Work]:
    """Single ones."""
    factor = bls.scalar_from_wide(os.urandom(64))
    weights = [bls.scalar(int.from_bytes(os.urandom(16), "big")) for _ in range(NOTES)]
    g1 = [bls.random_g1(os.urandom(32)) for _ in range(NOTES + 1)]
    g2 = [bls.random_g2(os.urandom(32)) for _ in range(NOTES + 1)]
    encoded_g1, encoded_g2 = bls.encode_g1(g1[0]), bls.encode_g2(g2[0])
    return {
        "random_g1": lambda: curve.random_g1(os.urandom(32)),
        "random_g2": lambda: curve.random_g2(os.urandom(32)),
        "decode_g1": lambda: bls.decode_g1(encoded_g1),
        "decode_g2": lambda: curve.g2.from_compressed_bytes(encoded_g2),
        "multiply g1": lambda: g1[0] * factor,
        "sum of ten weighted g1": lambda: bls.multiply_sum_g1(g1[:NOTES], weights),
        "2 pairings": lambda: bls.pairings_product_is_one(g1[:2], g2[:2]),
        "11 pairings": lambda: bls.pairings_product_is_one(g1, g2),
    }


def issue() -> Work:
    """Ten notes of as many denominations, so that no two share a pairing."""
    module = secrets.root_secret("abandon " * 11 + "about").child(2)
    requests = [NoteRequest(9 + n, os.urandom(secrets.TWEAK_SIZE)) for n in range(NOTES)]
    keys, dealt = federation(range(9, 9 + NOTES))
    answers = {
        PeerId(peer): [
            bls.encode_g1(
                tbs.sign_share(
                    bls.decode_g1(output.blinded_nonce),
                    dealt[output.denomination].secret_shares[peer],
                )
            )
            for output in notes.blinded_outputs(module, requests)
        ]
        for peer in range(THRESHOLD)
    }

    def run() -> None:
        notes.blinded_outputs(module, requests)
        made = notes.finalise(
            module, requests, answers, keys, threshold=THRESHOLD, random_bytes=os.urandom
        ).notes
        assert len(made) == NOTES

    return run


def decryption() -> Work:
    """As of a receive, whose message nothing remembers."""
    keys = tpe.deal(THRESHOLD, GUARDIANS, os.urandom)
    contracts = []
    for _ in range(ROUNDS * TIMES + 1):
        preimage, commitment = os.urandom(32), os.urandom(32)
        ciphertext = tpe.encrypt(keys.aggregate_key, os.urandom(32), preimage, commitment)
        shares = {
            PeerId(peer): tpe.create_share(keys.secret_shares[peer], ciphertext)
            for peer in range(THRESHOLD)
        }
        contracts.append((preimage, commitment, ciphertext, shares))

    def run() -> None:
        preimage, commitment, ciphertext, shares = contracts.pop()
        key = tpe.aggregate(shares)
        assert tpe.verify_aggregate(keys.aggregate_key, key, ciphertext, commitment)
        assert tpe.decrypt(ciphertext, key) == preimage

    return run


def prepared(curve: Curve) -> dict[str, Work]:
    with bls.using(curve):
        return {**operations(curve), "issue of ten notes": issue(), "decryption": decryption()}


def seconds(curve: Curve, work: Work) -> float:
    """Processor time of one run, which other work on the machine disturbs least."""
    with bls.using(curve):
        begin = time.process_time()
        for _ in range(TIMES):
            work()
        return (time.process_time() - begin) / TIMES


def measure(native: Curve) -> Mapping[str, tuple[float, float]]:
    """Median times of every work, native and by arkworks."""
    ours, theirs = prepared(native), prepared(ARKWORKS)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ours}
    for _ in range(ROUNDS):
        for name, taken in times.items():
            taken.append((seconds(native, ours[name]), seconds(ARKWORKS, theirs[name])))
    return {
        name: (statistics.median(t for t, _ in taken), statistics.median(t for _, t in taken))
        for name, taken in times.items()
    }


def main() -> int:
    """Measure, or say what is missing."""
    if bls.BLS12_381 is ARKWORKS:
        print("the native part is not built here: nox -s native", file=sys.stderr)
        return 0
    measured = measure(bls.BLS12_381)
    ratios = {name: native_s / other_s for name, (native_s, other_s) in measured.items()}
    microseconds = {name: [round(s * 1e6) for s in times] for name, times in measured.items()}
    print(
        json.dumps(
            {
                "bench": "bls",
                "largest_ratio": LARGEST_RATIO,
                "ratio": {name: round(ratio, 2) for name, ratio in ratios.items()},
                "native_and_arkworks_us": microseconds,
            }
        )
    )
    return 0 if max(ratios[name] for name in JUDGED) <= LARGEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
