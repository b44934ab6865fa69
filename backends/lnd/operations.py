"""LND's wallet and books for its operator: addresses, coins sent, payments made and got."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from lndgrpc.compiled import lightning_pb2

from backends.lightning import within_bounds_msat
from backends.lnd.connection import ANSWER_TIMEOUT_S, PAGE_ITEMS, LndPart, new_request
from backends.lnd.invoices import STATUSES as INVOICE_STATUSES
from backends.operations import InvoiceStatus, NodeTransaction, OnchainOrder
from errors import InputError, PeerError

_INT64_MAX = 2**63 - 1

_PAYMENT_STATUSES: dict[int, InvoiceStatus] = {
    lightning_pb2.Payment.SUCCEEDED: "Succeeded",
    lightning_pb2.Payment.FAILED: "Failed",
}


class LndOperations(LndPart):
    """The part of `LndNode` with its wallet and its books."""

    async def onchain_address(self) -> str:
        """A fresh taproot address (`NewAddress`)."""
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.NewAddress,
            lightning_pb2.NewAddressRequest(type=lightning_pb2.TAPROOT_PUBKEY),
        )
        return str(answer.address)

    async def send_onchain(self, order: OnchainOrder) -> str:
        """Send coins (`SendCoins`), also such as are not confirmed yet."""
        if order.amount_sat is not None and order.amount_sat <= 0:
            raise InputError(
                f"{order.amount_sat} sat cannot be sent; name an amount above 0, or all"
            )
        if order.sat_per_vbyte <= 0:
            raise InputError("LND chooses a fee rate of its own for 0; name at least 1 sat/vB")
        request = new_request(
            lightning_pb2.SendCoinsRequest,
            addr=order.address,
            amount=order.amount_sat or 0,
            send_all=order.amount_sat is None,
            sat_per_vbyte=order.sat_per_vbyte,
            label=order.label,
            spend_unconfirmed=True,
        )
        answer = await self._connection.call(lambda stubs: stubs.lightning.SendCoins, request)
        return str(answer.txid)

    async def sent_onchain(self, label: str) -> str | None:
        """Look a label up in all of the wallet's transactions (`GetTransactions`)."""
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.GetTransactions, lightning_pb2.GetTransactionsRequest()
        )
        return next(
            (str(found.tx_hash) for found in answer.transactions if found.label == label), None
        )

    async def transactions(self, start_unix_s: int, end_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments (`ListPayments`) by the time they were begun, invoices (`ListInvoices`) by settling.

        LND notes no time for a cancelled invoice: it counts as of time 0.
        """
        found = [payment async for payment in self._payments(start_unix_s, end_unix_s)]
        found += [invoice async for invoice in self._ended_invoices(end_unix_s)]
        within = [one for one in found if start_unix_s <= one.unix_s <= end_unix_s]
        return tuple(sorted(within, key=lambda one: one.unix_s))

    async def payments_since(self, start_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments by the time they were begun (`ListPayments`), however long LND reads its database for them."""
        listed = self._payments(start_unix_s, _INT64_MAX, timeout_s=None)
        found = [one async for one in listed if one.unix_s >= start_unix_s]
        return tuple(sorted(found, key=lambda one: one.unix_s))

    async def _payments(
        self, start_unix_s: int, end_unix_s: int, timeout_s: float | None = ANSWER_TIMEOUT_S
    ) -> AsyncIterator[NodeTransaction]:
        request = new_request(
            lightning_pb2.ListPaymentsRequest,
            include_incomplete=True,
            max_payments=PAGE_ITEMS,
            creation_date_start=start_unix_s,
            creation_date_end=_behind(end_unix_s),
        )
        pages = self._connection.pages(
            lambda stubs: stubs.lightning.ListPayments, request, timeout_s
        )
        async with aclosing(pages):
            async for page in pages:
                for payment in page.payments:
                    yield _outbound(payment)

    async def _ended_invoices(self, end_unix_s: int) -> AsyncIterator[NodeTransaction]:
        request = new_request(
            lightning_pb2.ListInvoiceRequest,
            num_max_invoices=PAGE_ITEMS,
            creation_date_end=_behind(end_unix_s),
        )
        pages = self._connection.pages(lambda stubs: stubs.lightning.ListInvoices, request)
        async with aclosing(pages):
            async for page in pages:
                for invoice in page.invoices:
                    if invoice.state in INVOICE_STATUSES:
                        yield _inbound(invoice)


def _behind(end_unix_s: int) -> int:
    """The end of a listing, one later: LND reads 0 as "no end", and refuses an end equal to the start.

    It takes the number for a signed one, however large.
    """
    return min(end_unix_s + 1, _INT64_MAX)


def _outbound(payment: Any) -> NodeTransaction:
    is_paid = payment.status == lightning_pb2.Payment.SUCCEEDED
    try:
        payment_hash = bytes.fromhex(payment.payment_hash)
        preimage = bytes.fromhex(payment.payment_preimage) if is_paid else None
    except ValueError:
        raise PeerError("LND lists a payment whose hash or preimage is not hex") from None
    return NodeTransaction(
        payment_hash=payment_hash,
        preimage=preimage,
        kind="Bolt11",
        amount_msat=within_bounds_msat(payment.value_msat),
        direction="Outbound",
        status=_PAYMENT_STATUSES.get(payment.status, "Pending"),
        unix_s=payment.creation_date,
    )


def _inbound(invoice: Any) -> NodeTransaction:
    is_settled = invoice.state == lightning_pb2.Invoice.SETTLED
    return NodeTransaction(
        payment_hash=invoice.r_hash,
        preimage=invoice.r_preimage if is_settled else None,
        kind="Bolt11",
        amount_msat=within_bounds_msat(invoice.amt_paid_msat if is_settled else invoice.value_msat),
        direction="Inbound",
        status=INVOICE_STATUSES[invoice.state],
        unix_s=invoice.settle_date,
    )
