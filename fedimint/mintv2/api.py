"""Typed endpoints of a mintv2 module: signature shares, and what recovery from the mnemonic asks for.

Source: fedimint-mintv2-client src/api.rs. Only `recovery_count` gives up, with
FederationUnavailable or FederationDisagrees; cancel the others or bound them from outside.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from fedimint.client import query
from fedimint.client.query import Guardians
from fedimint.client.shapes import shape, u64
from fedimint.client.transport import GuardianProtocolError, module_method
from fedimint.codec.encoding import BYTES32
from fedimint.codec.wire_types import G1, PeerId, TransactionId

SLICE_TIMEOUT_S: Final = 30.0
"""How long one guardian may take to send a slice before another is asked; as upstream at most."""

T = TypeVar("T")

CheckShares = Callable[[PeerId, tuple[bytes, ...]], Awaitable[T]]
"""What to make of a guardian's shares (48 bytes each, as many as asked for, perhaps no points).

It refuses bad ones with a PeerError or InputError, and their guardian is asked again.
"""

_text: Callable[[object], str] = shape(str)
_texts: Callable[[object], list[str]] = shape(list[str])


@dataclass(frozen=True)
class Mintv2Api:
    """The endpoints of one mintv2 instance."""

    guardians: Guardians
    module_id: int

    async def signature_shares(
        self, txid: TransactionId, start: int, end: int, check: CheckShares[T]
    ) -> dict[PeerId, T]:
        """Return what `check` made of the blind signature shares of exactly a threshold of guardians.

        The shares are those of the transaction's outputs start..end in order. Waits until the
        transaction is accepted.
        """
        params = {"txid": txid.hex(), "idx_range": {"start": start, "end": end}}
        return await self._shares("signature_shares", params, end - start, check)

    async def recovery_count(self) -> int:
        """Return how many inputs and outputs the mint has seen."""
        method = module_method(self.module_id, "recovery_count")
        return await query.threshold_consensus_or_fail(self.guardians, method, None, u64)

    async def recovery_slice_hash(self, start: int, end: int) -> bytes:
        """Return the sha256 of the encoded inputs and outputs start..end, as a threshold has it."""
        return await query.threshold_consensus(
            self.guardians,
            module_method(self.module_id, "recovery_slice_hash"),
            (start, end),
            lambda result: BYTES32.decode_hex(_text(result)),
        )

    async def recovery_slice(
        self, start: int, end: int, check: Callable[[PeerId, object], Awaitable[T]]
    ) -> T:
        """Return what `check` made of the slice start..end of one guardian, asked one after another.

        `check` gets JSON builtins (`mintv2_json.recovery_items`) and refuses, with a PeerError or
        InputError, those that do not have the hash.
        """
        method = module_method(self.module_id, "recovery_slice")
        return await query.in_turn(
            self.guardians, method, (start, end), check, timeout_s=SLICE_TIMEOUT_S
        )

    async def recovery_signature_shares(
        self, blinded_nonces: Sequence[bytes], check: CheckShares[T]
    ) -> dict[PeerId, T]:
        """Return what `check` made of the shares of blinded nonces (48 bytes each) issued before."""
        params = [blinded.hex() for blinded in blinded_nonces]
        return await self._shares("recovery_signature_shares", params, len(params), check)

    async def _shares(
        self, name: str, params: object, count: int, check: CheckShares[T]
    ) -> dict[PeerId, T]:
        async def shares(peer: PeerId, result: object) -> T:
            texts = _texts(result)
            if len(texts) != count:
                raise GuardianProtocolError(f"{len(texts)} shares for {count} outputs")
            return await check(peer, tuple(G1.decode_hex(text) for text in texts))

        method = module_method(self.module_id, name)
        return await query.filter_map_threshold(self.guardians, method, params, shares)
