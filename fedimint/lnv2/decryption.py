"""Opens the preimages of lnv2 incoming contracts with the decryption shares of a threshold of guardians.

Source: fedimint-gwv2-client src/receive_sm.rs and fedimint-tpe src/lib.rs. Pure, and of plain data,
so that a worker process can run it. Whether the bytes under the encryption are the preimage, their
hash must show (`lnv2.is_preimage`): the contract's maker may have encrypted anything.
"""

from collections.abc import Mapping

import msgspec

from errors import InputError
from fedimint import lnv2
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls
from fedimint.lnv2 import tpe
from fedimint.lnv2.config import LnV2ClientConfig


class Decrypted(msgspec.Struct, frozen=True):
    """The 32 bytes that were encrypted, and the aggregate decryption key (48) that shows them.

    The key is what an input that spends the contract carries, whether to claim or to refund it.
    """

    preimage: bytes
    decryption_key: bytes

    def __repr__(self) -> str:
        return "Decrypted(…)"


class Decryption(msgspec.Struct, frozen=True):
    """What came of the shares.

    `bad_peers` sent a share that is not theirs. While `missing_peers` is not 0, nothing is decided:
    ask as many more guardians and call again. Neither `decrypted` nor missing peers: the shares are
    the guardians' own and yet make no key, so the federation's keys contradict each other and
    nobody can spend the contract.
    """

    decrypted: Decrypted | None
    bad_peers: tuple[PeerId, ...] = ()
    missing_peers: int = 0


def decrypt(
    contract: lnv2.IncomingContract,
    shares_by_peer: Mapping[PeerId, bytes],
    keys: LnV2ClientConfig,
    *,
    threshold: int,
) -> Decryption:
    """Decrypt a contract by its guardians' answers to `decryption_key_share`, 48 bytes each.

    The first threshold of guardians is believed until their aggregate key proves wrong; only then
    is each share looked at, and the next ones take the place of those found wrong. Raises
    InputError when the ciphertext is not valid, so that no share can be judged, and DecodeError
    when a key of the config is no point.
    """
    waiting = sorted(shares_by_peer, reverse=True)
    believed: dict[PeerId, bytes] = {}
    bad_peers: list[PeerId] = []
    while True:
        while waiting and len(believed) < threshold:
            peer = waiting.pop()
            if _is_point(shares_by_peer[peer]):
                believed[peer] = shares_by_peer[peer]
            else:
                bad_peers.append(peer)
        if len(believed) < threshold:
            return Decryption(None, _in_order(bad_peers), threshold - len(believed))
        decrypted = _decrypt(contract, believed, keys.tpe_agg_pk)
        if decrypted is not None:
            return Decryption(decrypted, _in_order(bad_peers))
        guilty = _guilty(contract, believed, keys)
        if not guilty:
            return Decryption(None, _in_order(bad_peers))
        for peer in guilty:
            del believed[peer]
        bad_peers += guilty


def _decrypt(
    contract: lnv2.IncomingContract, shares: Mapping[PeerId, bytes], aggregate_key: bytes
) -> Decrypted | None:
    """What exactly a threshold of shares shows; None when one of them is wrong."""
    ciphertext = contract.ciphertext
    key = tpe.aggregate(shares)
    if not tpe.verify_aggregate(aggregate_key, key, ciphertext, contract.commitment_hash()):
        return None
    return Decrypted(tpe.decrypt(ciphertext, key), key)


def _guilty(
    contract: lnv2.IncomingContract, shares: Mapping[PeerId, bytes], keys: LnV2ClientConfig
) -> list[PeerId]:
    """Those whose shares are not theirs. Raises InputError when the ciphertext is to blame."""
    ciphertext, commitment_hash = contract.ciphertext, contract.commitment_hash()
    if not tpe.verify_ciphertext(ciphertext, commitment_hash):
        raise InputError("the ciphertext of the contract is not valid, so nobody can decrypt it")
    return [
        peer
        for peer, share in shares.items()
        if peer not in keys.tpe_pks
        or not tpe.verify_share(keys.tpe_pks[peer], share, ciphertext, commitment_hash)
    ]


def _is_point(share: bytes) -> bool:
    try:
        bls.decode_g1(share)
    except DecodeError:
        return False
    return True


def _in_order(peers: list[PeerId]) -> tuple[PeerId, ...]:
    return tuple(sorted(peers))
