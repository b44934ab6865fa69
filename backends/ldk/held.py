"""Invoices of LDK, ordinary and held: made, watched, settled, cancelled.

What LDK answers to a claim or a failure proves nothing, and a failure overwrites its record of a claim. So each
decision is in the ledger first, once and for all, and a claim is over when LDK tells that the money came.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager

import anyio
from fedimint_gateway_native.ldk import Node, Payment

from backends.ldk.core import LdkPart
from backends.ldk.ledger import HeldRow, Ledger
from backends.lightning import (
    HASH_IS_TAKEN,
    CompletionRejectedError,
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
    Tell,
    check_terms,
    tell_nobody,
    within_bounds_msat,
)
from backends.operations import InvoiceRecord, InvoiceStatus
from errors import InputError

_MOST_EXPIRY_S = 2**32 - 1
#: LDK claims within milliseconds, or when the channel is back.
_CLAIM_PATIENCE_S = 15.0
#: LDK fails back at its deadline, so the last block to claim in is the one before.
_LAST_BLOCK = 1


class LdkInvoices(LdkPart):
    """The part of `LdkNode` that is paid."""

    async def create_invoice(
        self,
        *,
        payment_hash: bytes | None,
        amount_msat: int,
        expiry_s: int,
        description: str | bytes,
    ) -> str:
        """Make an invoice; LDK itself would make a second one of a hash, and overwrite a payment's record."""
        check_terms(amount_msat, expiry_s, description)
        if expiry_s > _MOST_EXPIRY_S:
            raise InputError(f"an invoice is valid for at most {_MOST_EXPIRY_S} s, not {expiry_s}")
        core = self._core

        def make(native: Node) -> str:
            if payment_hash is not None and _is_taken(native, core.ledger, payment_hash):
                raise NodeRefusedError("ALREADY_EXISTS", HASH_IS_TAKEN)
            return native.receive(
                amount_msat=amount_msat,
                description=description if isinstance(description, str) else None,
                description_hash=description if isinstance(description, bytes) else None,
                expiry_s=expiry_s,
                payment_hash=payment_hash,
            )

        async with core.making:
            return await core.ask(make)

    @asynccontextmanager
    async def held_payments(
        self,
        own: Iterable[bytes] = (),  # noqa: ARG002 - the ledger has everything that LDK told
        tell: Tell = tell_nobody,
    ) -> AsyncIterator[AsyncIterator[HeldPayment]]:
        """Watch the ledger; nothing that LDK holds is missing there but what another program acknowledged."""
        tell(None)
        async with aclosing(self._watch()) as payments:
            yield payments

    async def _watch(self) -> AsyncGenerator[HeldPayment, None]:
        told: set[HeldPayment] = set()
        async with aclosing(self._core.changes()) as changes:
            async for _ in changes:
                held = await self._core.ask(self._held_now)
                for payment in held - told:
                    yield payment
                told = held

    def _held_now(self, native: Node) -> set[HeldPayment]:
        height = native.status().block_height
        return {
            HeldPayment(
                payment_hash=row.payment_hash,
                amount_msat=within_bounds_msat(row.amount_msat),
                deadline_height=max(row.deadline_height - _LAST_BLOCK, 0),
            )
            for row in self._core.ledger.in_state("held", "settling")
            if not _is_past(row, height)
        }

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        """Claim, and wait until LDK tells that the money came."""
        if hashlib.sha256(preimage).digest() != payment_hash:
            raise InputError("the preimage is not that of the payment to settle")
        if await self._core.ask(lambda native: self._claim(native, payment_hash, preimage)):
            return
        with anyio.move_on_after(_CLAIM_PATIENCE_S):
            async with aclosing(self._core.changes()) as changes:
                async for _ in changes:
                    if await self._core.ask(lambda native: self._is_settled(native, payment_hash)):
                        return
        height = (await self._core.ask(lambda native: native.status())).block_height
        row = self._core.ledger.held(payment_hash)
        if row is not None and _is_past(row, height):
            raise CompletionRejectedError(
                f"LDK gave the payment back at block {row.deadline_height}, before it was claimed"
            )
        raise NodeUnansweredError("LDK has not told yet that the payment came; try again")

    def _claim(self, native: Node, payment_hash: bytes, preimage: bytes) -> bool:
        """Claim what is held, once that is decided; True when it is settled already."""
        match self._core.ledger.begin_settling(payment_hash, preimage):
            case "settled":
                return True
            case "cancelled":
                raise CompletionRejectedError(
                    "the payment that should be settled was given back to its payer"
                )
            case None:
                return _is_settled_without_us(native, payment_hash)
            case _:
                native.claim(payment_hash, preimage)
                return False

    def _is_settled(self, native: Node, payment_hash: bytes) -> bool:
        """Whether LDK has told so, by the event or by its record, which is written before."""
        row = self._core.ledger.held(payment_hash)
        if row is not None and row.state == "settled":
            return True
        found = native.payment(payment_hash)
        if found is None or found.is_outbound or found.status != "Succeeded":
            return False
        self._core.ledger.note_settled(payment_hash)
        return True

    async def cancel(self, payment_hash: bytes) -> None:
        """Give back what is held, and everything that still comes for the invoice."""

        def give_back(native: Node) -> None:
            found = native.payment(payment_hash)
            if found is None or found.is_outbound:
                raise CompletionRejectedError("LDK knows no invoice of this payment hash")
            if found.preimage is not None or _is_over(found, self._core.ledger, payment_hash):
                raise CompletionRejectedError(
                    "LDK has settled the invoice that should be cancelled, or settles it by itself"
                )
            state = self._core.ledger.begin_cancelling(payment_hash)
            if state == "settling":
                raise NodeUnansweredError("the payment is being claimed, and is not given back")
            if state == "settled":
                raise CompletionRejectedError("the payment that should be cancelled was claimed")
            native.fail(payment_hash)

        await self._core.ask(give_back)

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        """Look an invoice up; our decision on a held payment counts more than LDK's record."""
        found = await self._core.ask(lambda native: native.payment(payment_hash))
        if found is None or found.is_outbound:
            return None
        row = self._core.ledger.held(payment_hash)
        status = status_of(found, row)
        known = found.preimage if row is None else row.preimage
        return InvoiceRecord(
            payment_hash=payment_hash,
            preimage=known if status == "Succeeded" else None,
            amount_msat=within_bounds_msat(found.amount_msat or 0),
            created_unix_s=found.updated_unix_s,
            status=status,
        )


def status_of(found: Payment, row: HeldRow | None) -> InvoiceStatus:
    """How an invoice stands."""
    if row is not None:
        if row.state == "settled":
            return "Succeeded"
        return "Failed" if row.state == "cancelled" else "Pending"
    match found.status:
        case "Succeeded":
            return "Succeeded"
        case "Failed":
            return "Failed"
        case _:
            return "Pending"


def _is_taken(native: Node, ledger: Ledger, payment_hash: bytes) -> bool:
    return (
        native.payment(payment_hash) is not None
        or ledger.call(payment_hash) is not None
        or ledger.held(payment_hash) is not None
    )


def _is_past(row: HeldRow, height: int) -> bool:
    """Whether LDK has given it back by itself."""
    return 0 < row.deadline_height <= height


def _is_over(found: Payment, ledger: Ledger, payment_hash: bytes) -> bool:
    """Whether an invoice was settled by somebody else, and so without a row of ours."""
    return ledger.held(payment_hash) is None and found.status == "Succeeded"


def _is_settled_without_us(native: Node, payment_hash: bytes) -> bool:
    """Whether LDK settled an invoice of which we never saw a payment held."""
    found = native.payment(payment_hash)
    if found is None or found.is_outbound:
        raise CompletionRejectedError("LDK knows no invoice of this payment hash")
    if found.status == "Succeeded":
        return True
    if found.status == "Failed":
        raise CompletionRejectedError("the invoice that should be settled was cancelled")
    raise NodeUnansweredError("LDK holds no payment of the invoice yet; try again")
