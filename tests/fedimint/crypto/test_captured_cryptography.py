"""Every note, signature share, ciphertext and decryption share of a recorded session is good.

The session is one between a real guardian, the Rust client and the Rust gateway.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fedimint import lnv2, mintv2
from fedimint.codec.encoding import BYTES, Reader, mapping
from fedimint.codec.wire_types import G1, PEER_ID, FeeConsensus, PeerId
from fedimint.crypto import bls, tbs
from fedimint.lnv2 import tpe
from fedimint.mintv2 import notes
from fedimint.mintv2.config import MINT_V2, MintV2ClientConfig
from fedimint.transaction import DYN_ITEM, TRANSACTION, Transaction

VECTORS = Path(__file__).parents[2] / "vectors"
SESSION = VECTORS / "captures" / "ws-v2-rust-client-and-gateway-to-guardian.jsonl"
LNV2, MINTV2 = 0, 2


class Call(NamedTuple):
    method: str
    params: Any
    result: Any


def _calls() -> Iterator[Call]:
    waiting: dict[tuple[int, int], tuple[str, Any]] = {}
    for line in SESSION.read_text().splitlines():
        row = json.loads(line)
        message = row.get("msg")
        if message is None:
            continue
        key = (row["conn"], message["id"])
        if row["dir"] == "request":
            waiting[key] = (message["method"], message["params"][0]["params"])
        elif key in waiting and "result" in message:
            yield Call(*waiting[key], message["result"])


CALLS = list(_calls())


def _calls_of(method: str) -> list[Call]:
    return [call for call in CALLS if call.method == method]


def _transactions() -> dict[str, Transaction]:
    submitted = (call.params[0] for call in _calls_of("submit_transaction"))
    decoded = (TRANSACTION.decode(BYTES.decode_hex(text)) for text in submitted)
    return {transaction.txid().hex(): transaction for transaction in decoded}


TRANSACTIONS = _transactions()


def _module_config(instance: int) -> Reader:
    """A reader over one module's config, which starts with its keys."""
    config = _calls_of("client_config")[0].result["modules"][str(instance)]["config"]
    item = DYN_ITEM.decode_hex(config)
    assert item.module_instance_id == instance
    return Reader(item.body, 0, len(item.body))


def _mint_keys() -> MintV2ClientConfig:
    reader = _module_config(MINTV2)
    return MINT_V2.read(reader)


def _lightning_keys() -> tuple[bytes, dict[PeerId, bytes]]:
    reader = _module_config(LNV2)
    return G1.read(reader), mapping(PEER_ID, G1).read(reader)


def test_every_note_spent_is_valid() -> None:
    spent = [
        mintv2.INPUT.decode(item.body)
        for transaction in TRANSACTIONS.values()
        for item in transaction.inputs
        if item.module_instance_id == MINTV2
    ]
    found = [item.note for item in spent if isinstance(item, mintv2.MintInput)]
    assert len(found) == len(spent) > 50
    assert notes.invalid_notes(found, _mint_keys(), os.urandom) == ()


def test_every_signature_share_is_good() -> None:
    keys = _mint_keys()
    batch: dict[str, list[tbs.Signed]] = {}
    for call in _calls_of("module_2_signature_shares"):
        txid, span = call.params["txid"], call.params["idx_range"]
        outputs = TRANSACTIONS[txid].outputs[span["start"] : span["end"]]
        signed = []
        for item, share in zip(outputs, call.result, strict=True):
            assert item.module_instance_id == MINTV2
            output = mintv2.OUTPUT.decode(item.body)
            assert isinstance(output, mintv2.MintOutput)
            blinded = bls.decode_g1(output.blinded_nonce)
            key = bls.decode_g2(keys.tbs_pks[output.denomination][PeerId(0)])
            signed.append(tbs.Signed(blinded, bls.decode_g1(bytes.fromhex(share)), key))
        batch[txid] = signed
    assert len(batch) > 10
    assert tbs.verify_all([signed for part in batch.values() for signed in part], os.urandom)


def test_every_ciphertext_is_valid_and_decrypts_to_its_preimage() -> None:
    aggregate_key, peer_keys = _lightning_keys()
    contracts: dict[str, lnv2.IncomingContract] = {}
    for txid, transaction in TRANSACTIONS.items():
        for item in transaction.outputs:
            if item.module_instance_id != LNV2:
                continue
            output = lnv2.OUTPUT.decode(item.body)
            if isinstance(output, lnv2.OutputV0) and isinstance(output.inner, lnv2.IncomingOutput):
                contracts[txid] = output.inner.contract
    assert contracts
    for call in _calls_of("module_0_decryption_key_share"):
        contract = contracts.pop(call.params["txid"])
        ciphertext, commitment = contract.ciphertext, contract.commitment_hash()
        share = bytes.fromhex(call.result)
        assert tpe.verify_ciphertext(ciphertext, commitment)
        assert not tpe.verify_ciphertext(ciphertext, bytes(32))
        assert tpe.verify_share(peer_keys[PeerId(0)], share, ciphertext, commitment)
        key = tpe.aggregate({PeerId(0): share})
        assert tpe.verify_aggregate(aggregate_key, key, ciphertext, commitment)
        preimage = tpe.decrypt(ciphertext, key)
        assert lnv2.is_preimage(contract.commitment.payment_image, preimage)
    assert not contracts, "every funded contract was decrypted in the session"


def test_ecash_of_a_real_federation_is_valid() -> None:
    federation = json.loads((VECTORS / "federation-v2.json").read_text())
    config = federation["client_config_json"]["modules"]["2"]
    keys = MintV2ClientConfig(
        {int(d): bytes.fromhex(key) for d, key in config["tbs_agg_pks"].items()},
        {},
        FeeConsensus(0, 0),
        0,
    )
    ecash = mintv2.Ecash.parse(federation["ecash_1000448_msat"])
    found = [spendable.note() for spendable in ecash.notes()]
    assert sum(note.amount_msat() for note in found) == 1_000_448
    assert notes.invalid_notes(found, keys, os.urandom) == ()
    wrong = mintv2.Note(found[0].denomination + 1, found[0].nonce, found[0].signature)
    broken = mintv2.Note(found[1].denomination, found[1].nonce, bytes(48))
    assert notes.invalid_notes([wrong, broken, *found[2:]], keys, os.urandom) == (0, 1)
