"""What an embedded guardian answers about mintv2 notes: its signature shares, and all it has seen.

Source: fedimint-mintv2-server src/lib.rs: methods, shapes, and what each waits for.
"""

import msgspec

from devnet.guardians.dealer import MINTV2_ID
from devnet.guardians.endpoints import GuardianState, Methods, parameters
from fedimint.client.transport import module_method
from fedimint.codec.errors import DecodeError
from fedimint.codec.json_types import json_u64
from fedimint.codec.wire_types import G1, TRANSACTION_ID, OutPoint, consensus_hash, hash160
from fedimint.crypto import bls, tbs
from fedimint.mintv2 import (
    RECOVERY_ITEMS,
    MintOutput,
    Note,
    RecoveryInput,
    RecoveryItem,
    RecoveryOutput,
)
from fedimint.mintv2.json import RecoveryItemJson


class _IndexRange(msgspec.Struct, frozen=True):
    start: int
    end: int


class _OutPointRange(msgspec.Struct, frozen=True):
    txid: str
    idx_range: _IndexRange


class MintEndpoints:
    """The mintv2 methods of one guardian."""

    def __init__(self, state: GuardianState) -> None:
        self._state = state
        self._ledger = state.consensus.ledger

    def public(self) -> Methods:
        """Return what everybody may ask."""
        return {
            module_method(MINTV2_ID, "signature_shares"): self._signature_shares,
            module_method(MINTV2_ID, "recovery_signature_shares"): self._recovery_shares,
            module_method(MINTV2_ID, "recovery_count"): self._recovery_count,
            module_method(MINTV2_ID, "recovery_slice"): self._recovery_slice,
            module_method(MINTV2_ID, "recovery_slice_hash"): self._recovery_slice_hash,
        }

    async def _signature_shares(self, params: object) -> object:
        """Wait for the last output of the range; those of other modules have no share."""
        asked = parameters(params, _OutPointRange)
        txid = TRANSACTION_ID.decode_hex(asked.txid)
        start, end = json_u64(asked.idx_range.start), json_u64(asked.idx_range.end)
        if end <= start:
            return []
        issued = self._ledger.issued
        await self._state.until(lambda: issued.get(OutPoint(txid, end - 1)))
        outputs = (issued.get(OutPoint(txid, index)) for index in range(start, end))
        return [
            self._share(output.denomination, output.blinded_nonce)
            for output in outputs
            if output is not None
        ]

    async def _recovery_shares(self, params: object) -> object:
        """As all or nothing as a real guardian: one nonce it never signed, and there is no answer."""
        blinded_nonces = [G1.decode_hex(text) for text in parameters(params, list[str])]
        denominations = self._ledger.denominations
        if not all(blinded in denominations for blinded in blinded_nonces):
            raise DecodeError("No blinded signature share found")
        return [self._share(denominations[blinded], blinded) for blinded in blinded_nonces]

    async def _recovery_count(self, params: object) -> object:
        del params
        return len(self._ledger.mint_items)

    async def _recovery_slice(self, params: object) -> object:
        return [RecoveryItemJson.of(item) for item in self._slice(params)]

    async def _recovery_slice_hash(self, params: object) -> object:
        return consensus_hash(RECOVERY_ITEMS.encode(tuple(self._slice(params)))).hex()

    def _slice(self, params: object) -> list[RecoveryItem]:
        start, end = map(json_u64, parameters(params, tuple[int, int]))
        return [_recovery_item(item) for item in self._ledger.mint_items[start:end]]

    def _share(self, denomination: int, blinded_nonce: bytes) -> str:
        secret = self._state.secrets.tbs_shares[denomination]
        return bls.encode_g1(tbs.sign_share(bls.decode_g1(blinded_nonce), secret)).hex()


def _recovery_item(item: Note | MintOutput) -> RecoveryItem:
    if isinstance(item, Note):
        return RecoveryInput(hash160(item.nonce))
    return RecoveryOutput(item.denomination, hash160(item.blinded_nonce), item.tweak)
