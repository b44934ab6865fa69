"""Invoices of a simulated node as the gateway asks for them, and held payments to settle or cancel."""

import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager

from backends.lightning import (
    HASH_IS_TAKEN,
    HELD_FINAL_DELTA_BLOCKS,
    CompletionRejectedError,
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
    Tell,
    check_terms,
    tell_nobody,
)
from backends.operations import InvoiceRecord, InvoiceStatus
from backends.simulated.part import Fault
from backends.simulated.payee import InvoiceState, NodeInvoice, SimulatedPayee, Watch
from errors import InputError

CLAIM_MARGIN_BLOCKS = 36
"""How long before the timelock we must have settled (fedimint-lightning/src/lnd.rs)."""

STATUSES: dict[InvoiceState, InvoiceStatus] = {
    InvoiceState.OPEN: "Pending",
    InvoiceState.ACCEPTED: "Pending",
    InvoiceState.SETTLED: "Succeeded",
    InvoiceState.CANCELED: "Failed",
}


class SimulatedInvoices(SimulatedPayee):
    """The part of `SimulatedNode` that makes invoices and completes what is held for them."""

    async def create_invoice(
        self,
        *,
        payment_hash: bytes | None,
        amount_msat: int,
        expiry_s: int,
        description: str | bytes,
    ) -> str:
        """Make an invoice."""
        check_terms(amount_msat, expiry_s, description)

        def take() -> str:
            if payment_hash is None:
                made = self.make_invoice(amount_msat, expiry_s=expiry_s, description=description)
            elif payment_hash in self.invoices:
                raise NodeRefusedError("ALREADY_EXISTS", HASH_IS_TAKEN)
            else:
                made = self.make_invoice(
                    amount_msat,
                    payment_hash=payment_hash,
                    expiry_s=expiry_s,
                    final_delay_blocks=HELD_FINAL_DELTA_BLOCKS,
                    description=description,
                )
            return made.text

        return await self._call("create_invoice", take)

    @asynccontextmanager
    async def held_payments(
        self,
        own: Iterable[bytes] = (),  # noqa: ARG002  # among all that are held
        tell: Tell = tell_nobody,
    ) -> AsyncIterator[AsyncIterator[HeldPayment]]:
        """Watch what is held for any invoice of this node."""
        async with aclosing(self._watched(tell)) as payments:
            yield payments

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        """Claim a held payment."""
        if hashlib.sha256(preimage).digest() != payment_hash:
            raise InputError("the preimage is not that of the payment to settle")

        def take() -> None:
            invoice = self._known(payment_hash)
            if invoice.state is InvoiceState.CANCELED:
                raise CompletionRejectedError("the node has cancelled the invoice to settle")
            if invoice.state is InvoiceState.OPEN:
                raise NodeUnansweredError("the node holds no payment of the invoice yet; try again")
            if invoice.state is InvoiceState.ACCEPTED:
                self._claim(invoice, preimage)

        await self._call("settle", take)

    async def cancel(self, payment_hash: bytes) -> None:
        """Fail back and close."""

        def take() -> None:
            invoice = self._known(payment_hash)
            if invoice.state is InvoiceState.SETTLED:
                raise CompletionRejectedError("the node has settled the invoice to cancel")
            self._give_up(invoice)

        await self._call("cancel", take)

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        """Look an invoice up; the preimage is told once it is out anyway."""
        await self._answer()
        if payment_hash not in self.invoices:
            return None
        invoice = self._known(payment_hash)
        return InvoiceRecord(
            payment_hash=payment_hash,
            preimage=invoice.preimage if invoice.state is InvoiceState.SETTLED else None,
            amount_msat=invoice.amount_msat,
            created_unix_s=invoice.terms.timestamp_unix_s,
            status=STATUSES[invoice.state],
        )

    async def _watched(self, tell: Tell) -> AsyncGenerator[HeldPayment, None]:
        await self._answer()
        fault = self._next_fault("held_payments")
        watch = self._reach(fault, lambda: Watch(deque(self._held)))
        connection = self._connection
        self._watches[watch] = None
        tell(None)
        try:
            while connection == self._connection:
                if not watch.reports:
                    await self._changed.wait()
                elif invoice := self._held.get(watch.reports.popleft()):
                    yield _held_payment(invoice)
                    if fault is Fault.CUT:
                        raise NodeUnansweredError("the stream was cut")
        finally:
            del self._watches[watch]
        raise NodeUnansweredError("the connection to the node broke")

    def _known(self, payment_hash: bytes) -> NodeInvoice:
        invoice = self.invoices.get(payment_hash)
        if invoice is None:
            raise CompletionRejectedError("the node knows no invoice of this payment hash")
        return self._up_to_date(invoice)


def _held_payment(invoice: NodeInvoice) -> HeldPayment:
    return HeldPayment(
        payment_hash=invoice.terms.payment_hash,
        amount_msat=invoice.paid_msat,
        deadline_height=invoice.expiry_height - CLAIM_MARGIN_BLOCKS,
    )
