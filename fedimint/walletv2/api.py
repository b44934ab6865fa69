"""Typed endpoints of a walletv2 module: outputs found on chain, fees, the federation's bitcoin.

Source: fedimint-walletv2-client src/api.rs. All but `transaction_id`, which waits for an answer for
ever, raise FederationUnavailable or FederationDisagrees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from fedimint.client import query
from fedimint.client.query import Guardians
from fedimint.client.shapes import blocks, optional_sat, shape
from fedimint.client.transport import GuardianProtocolError, module_method
from fedimint.codec.bitcoin import hash_from_display
from fedimint.codec.json_types import OutPointJson
from fedimint.codec.wire_types import OutPoint
from fedimint.walletv2 import FederationWallet, OutputInfo, TxInfo
from fedimint.walletv2.json import FederationWalletJson, OutputInfoJson, TxInfoJson

OUTPUT_SLICE_SIZE: Final = 1000
"""How many outputs upstream's client asks for at once; the guardians set no limit."""
PENDING_TRANSACTIONS_MAX: Final = 3
"""Upstream's client claims no deposit while so many transactions are pending: fees double by each."""

T = TypeVar("T")

_optional_text: Callable[[object], str | None] = shape(str | None)
_outputs: Callable[[object], list[OutputInfoJson]] = shape(list[OutputInfoJson])
_transactions: Callable[[object], list[TxInfoJson]] = shape(list[TxInfoJson])
_wallet: Callable[[object], FederationWalletJson | None] = shape(FederationWalletJson | None)


@dataclass(frozen=True)
class Walletv2Api:
    """The endpoints of one walletv2 instance."""

    guardians: Guardians
    module_id: int

    async def consensus_block_count(self) -> int:
        """Return the count of blocks the guardians have read; 7 fewer than the chain has."""
        return await self._agreed("consensus_block_count", None, blocks)

    async def output_info_slice(self, start: int, end: int) -> tuple[OutputInfo, ...]:
        """Return the outputs of the guardians' list with an index from start up to before end.

        The list only grows, and leaves out the indices of scripts that are not P2WSH: what comes next
        is told by the last index, not by how many there are.
        """

        def outputs(result: object) -> tuple[OutputInfo, ...]:
            decoded = tuple(output.decode() for output in _outputs(result))
            indices = [output.index for output in decoded]
            if indices != sorted(set(indices).intersection(range(start, end))):
                raise GuardianProtocolError("the outputs are not those of the range asked for")
            return decoded

        return await self._agreed("output_info_slice", (start, end), outputs)

    async def pending_transaction_chain(self) -> tuple[TxInfo, ...]:
        """Return the federation's transactions that are not confirmed yet."""
        return await self._agreed(
            "pending_transaction_chain",
            None,
            lambda result: tuple(tx.decode() for tx in _transactions(result)),
        )

    async def federation_wallet(self) -> FederationWallet | None:
        """Return what the federation holds on chain, None before its first deposit."""

        def wallet(result: object) -> FederationWallet | None:
            answer = _wallet(result)
            return None if answer is None else answer.decode()

        return await self._agreed("federation_wallet", None, wallet)

    async def receive_fee_sat(self) -> int | None:
        """Return the miner fee of a claim made now, None while the guardians know no fee rate.

        Asked once, without waiting for guardians that disagree: they may do so for hours.
        """
        return await self._quoted("receive_fee")

    async def send_fee_sat(self) -> int | None:
        """Return the miner fee of a withdrawal made now; as `receive_fee_sat`."""
        return await self._quoted("send_fee")

    async def transaction_id(self, out_point: OutPoint) -> bytes | None:
        """Return the bitcoin txid (32 bytes, internal order) that pays an accepted withdrawal.

        None when there is none at that output, which before its acceptance means nothing.
        """

        def txid(result: object) -> bytes | None:
            text = _optional_text(result)
            return None if text is None else hash_from_display(text)

        method = module_method(self.module_id, "transaction_id")
        params = OutPointJson.of(out_point)
        return await query.threshold_consensus(self.guardians, method, params, txid)

    async def _agreed(self, name: str, params: object, decode: Callable[[object], T]) -> T:
        method = module_method(self.module_id, name)
        return await query.threshold_consensus_or_fail(self.guardians, method, params, decode)

    async def _quoted(self, name: str) -> int | None:
        method = module_method(self.module_id, name)
        return await query.threshold_agreement(self.guardians, method, None, optional_sat)
