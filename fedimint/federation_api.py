"""Typed endpoints of one federation: the core's, and those of mintv2 and lnv2 that a gateway uses.

fedimint-api-client/src/api/mod.rs, fedimint-lnv2-client and fedimint-mintv2-client src/api.rs. Long
polls never give up; cancel them or bound them from outside. The other calls raise
FederationUnavailable or FederationDisagrees.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio
import msgspec

from errors import GatewayError
from fedimint import query
from fedimint.encoding import BYTES, from_hex
from fedimint.query import Guardians
from fedimint.shapes import shape
from fedimint.transaction import TRANSACTION_ERROR, Accepted, TransactionError
from fedimint.transport import GuardianProtocolError, module_method
from fedimint.wire_types import (
    CONTRACT_ID,
    G1,
    TRANSACTION_ID,
    ContractId,
    OutPoint,
    OutPointJson,
    PeerId,
    TransactionId,
    json_u64,
)

RESUBMIT_FIRST_PAUSE_S: Final = 2.0
RESUBMIT_MAX_PAUSE_S: Final = 600.0
STATUS_TIMEOUT_S: Final = 10.0

T = TypeVar("T")

_text: Callable[[object], str] = shape(str)
_texts: Callable[[object], list[str]] = shape(list[str])
_wrapped_hex: Callable[[object], tuple[str]] = shape(tuple[str])
_integer: Callable[[object], int] = shape(int)
_expiration: Callable[[object], tuple[str, int] | None] = shape(tuple[str, int] | None)


class GuardianStatus(msgspec.Struct, frozen=True):
    """Whether a guardian answers: its session count, or else what went wrong."""

    peer: PeerId
    session_count: int | None
    problem: str | None


class FinallyRejected(msgspec.Struct, frozen=True, tag="finally_rejected"):
    """A threshold of guardians refused the transaction with the same error (its encoding)."""

    error_bytes: bytes

    def error(self) -> TransactionError:
        """Return the error for people. Raises DecodeError when this release does not know it."""
        return TRANSACTION_ERROR.decode(self.error_bytes)


SubmissionResult = Accepted | FinallyRejected


@dataclass(frozen=True)
class FederationApi:
    """The core endpoints."""

    guardians: Guardians

    async def session_count(self) -> int:
        """Return the number of finished sessions a threshold agrees on."""
        return await query.threshold_consensus_or_fail(self.guardians, "session_count", None, _u64)

    async def guardian_status(self, timeout_s: float = STATUS_TIMEOUT_S) -> list[GuardianStatus]:
        """Return who answers within `timeout_s`, by peer id. Never raises for a guardian."""
        outcomes = await query.ask_each(
            self.guardians, "session_count", None, _u64, timeout_s=timeout_s
        )
        return [
            GuardianStatus(peer, None, str(outcome))
            if isinstance(outcome, GatewayError)
            else GuardianStatus(peer, outcome, None)
            for peer, outcome in sorted(outcomes.items())
        ]

    async def submit_transaction(self, transaction: bytes, txid: TransactionId) -> SubmissionResult:
        """Submit the encoded transaction until a threshold gave the same outcome.

        Guardians answer once they accepted it or hold it invalid. `Accepted` here is only what they
        say of themselves; `await_transaction` is final.
        """
        params = (BYTES.encode(transaction).hex(),)
        return await query.threshold_consensus(
            self.guardians, "submit_transaction", params, _submission_outcome(txid)
        )

    async def await_transaction(self, txid: TransactionId) -> None:
        """Return once a threshold of guardians has accepted the transaction."""

        def same_txid(result: object) -> TransactionId:
            if TRANSACTION_ID.decode_hex(_text(result)) != txid:
                raise GuardianProtocolError("await_transaction answered with another txid")
            return txid

        await query.threshold_consensus(self.guardians, "await_transaction", txid.hex(), same_txid)

    async def submit_until_final(self, transaction: bytes, txid: TransactionId) -> SubmissionResult:
        """Submit, and submit again, until the transaction is accepted or rejected for good.

        Idempotent: after a restart call it again with the same bytes. Acceptance by guardians does
        not prove inclusion, so it is resubmitted after 2 s, growing to 10 min, until
        `await_transaction` returns. Errors of a minority, or differing ones, decide nothing.
        """
        final: list[SubmissionResult] = []
        pause_s = RESUBMIT_FIRST_PAUSE_S
        async with anyio.create_task_group() as group:

            async def await_accepted() -> None:
                await self.await_transaction(txid)
                final.append(Accepted(txid))
                group.cancel_scope.cancel()

            outcome = await self.submit_transaction(transaction, txid)
            if isinstance(outcome, Accepted):
                group.start_soon(await_accepted)
            while isinstance(outcome, Accepted):
                await self.guardians.sleep_s(pause_s * (0.75 + self.guardians.jitter() / 2))
                pause_s = min(2 * pause_s, RESUBMIT_MAX_PAUSE_S)
                outcome = await self.submit_transaction(transaction, txid)
            final.append(outcome)
            group.cancel_scope.cancel()
        return final[0]


@dataclass(frozen=True)
class Mintv2Api:
    """The endpoints of one mintv2 instance."""

    guardians: Guardians
    module_id: int

    async def signature_shares(
        self,
        txid: TransactionId,
        start: int,
        end: int,
        check: Callable[[PeerId, tuple[bytes, ...]], Awaitable[T]],
    ) -> dict[PeerId, T]:
        """Return what `check` made of the blind signature shares of exactly a threshold of guardians.

        The shares (48 bytes each) are those of the transaction's outputs start..end in order, as many
        as the range is long. `check` refuses bad ones with a PeerError or InputError, and its guardian
        is asked again. Waits until the transaction is accepted.
        """

        async def shares(peer: PeerId, result: object) -> T:
            texts = _texts(result)
            if len(texts) != end - start:
                raise GuardianProtocolError(f"{len(texts)} shares for {end - start} outputs")
            return await check(peer, tuple(G1.decode_hex(text) for text in texts))

        return await query.filter_map_threshold(
            self.guardians,
            module_method(self.module_id, "signature_shares"),
            {"txid": txid.hex(), "idx_range": {"start": start, "end": end}},
            shares,
        )


class OutgoingContractExpiration(msgspec.Struct, frozen=True):
    """A funded outgoing contract and the blocks left until its sender may take it back."""

    contract_id: ContractId
    remaining_blocks: int


@dataclass(frozen=True)
class Lnv2Api:
    """The endpoints of one lnv2 instance."""

    guardians: Guardians
    module_id: int

    async def consensus_block_count(self) -> int:
        """Return the federation's block count (height + 1)."""
        method = module_method(self.module_id, "consensus_block_count")
        return await query.threshold_consensus_or_fail(self.guardians, method, None, _u64)

    async def outgoing_contract_expiration(
        self, out_point: OutPoint
    ) -> OutgoingContractExpiration | None:
        """Return the contract funded at `out_point`, or None when there is none (yet)."""
        return await query.threshold_consensus_or_fail(
            self.guardians,
            module_method(self.module_id, "outgoing_contract_expiration"),
            OutPointJson.of(out_point),
            _outgoing_contract_expiration,
        )

    async def decryption_key_share(
        self, out_point: OutPoint, check: Callable[[PeerId, bytes], Awaitable[T]]
    ) -> dict[PeerId, T]:
        """Return what `check` made of the decryption shares of exactly a threshold of guardians.

        `check` gets 48 bytes that may be no point, and refuses a bad share with a PeerError or
        InputError. Waits until the incoming contract at `out_point` is funded.
        """

        async def share(peer: PeerId, result: object) -> T:
            return await check(peer, G1.decode_hex(_text(result)))

        return await query.filter_map_threshold(
            self.guardians,
            module_method(self.module_id, "decryption_key_share"),
            OutPointJson.of(out_point),
            share,
        )


def _u64(result: object) -> int:
    return json_u64(_integer(result))


def _submission_outcome(txid: TransactionId) -> Callable[[object], SubmissionResult]:
    """Decode `["hex"]`, a length-prefixed Result of txid or error whose error stays bytes."""

    def decode(result: object) -> SubmissionResult:
        outcome = BYTES.decode(from_hex(_wrapped_hex(result)[0]))
        if outcome == b"\x01" + txid:
            return Accepted(txid)
        if outcome[:1] != b"\x00":
            raise GuardianProtocolError("submit_transaction answered with another txid")
        return FinallyRejected(outcome[1:])

    return decode


def _outgoing_contract_expiration(result: object) -> OutgoingContractExpiration | None:
    answer = _expiration(result)
    if answer is None:
        return None
    contract_id, remaining_blocks = answer
    return OutgoingContractExpiration(
        CONTRACT_ID.decode_hex(contract_id), json_u64(remaining_blocks)
    )
