"""Typed endpoints of a federation's core; each module has a file of its own.

Source: fedimint-api-client src/api/mod.rs. Long polls never give up; cancel
them or bound them from outside. The other calls raise FederationUnavailable or FederationDisagrees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import msgspec

from errors import GatewayError
from fedimint.client import query
from fedimint.client.query import Guardians
from fedimint.client.shapes import shape, u64
from fedimint.client.transport import GuardianProtocolError
from fedimint.codec.encoding import BYTES, from_hex
from fedimint.codec.wire_types import TRANSACTION_ID, PeerId, TransactionId
from fedimint.transaction import TRANSACTION_ERROR, Accepted, TransactionError

RESUBMIT_FIRST_PAUSE_S: Final = 2.0
RESUBMIT_MAX_PAUSE_S: Final = 600.0
STATUS_TIMEOUT_S: Final = 10.0

_text: Callable[[object], str] = shape(str)
_wrapped_hex: Callable[[object], tuple[str]] = shape(tuple[str])


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
        return await query.threshold_consensus_or_fail(self.guardians, "session_count", None, u64)

    async def guardian_status(self, timeout_s: float = STATUS_TIMEOUT_S) -> list[GuardianStatus]:
        """Return who answers within `timeout_s`, by peer id. Never raises for a guardian."""
        outcomes = await query.ask_each(
            self.guardians, "session_count", None, u64, timeout_s=timeout_s
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
