"""Invoices of LND: made, looked up, and the held ones watched, settled and cancelled."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from lndgrpc.compiled import invoices_pb2, lightning_pb2

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
    within_bounds_msat,
)
from backends.lnd.connection import LndPart, LndSettings, new_request
from backends.lnd.held import HeldWatch, watching
from backends.operations import InvoiceRecord, InvoiceStatus
from errors import InputError

_Invoice = lightning_pb2.Invoice

# invoices/errors.go: without a code of their own.
_IS_THERE_ALREADY = "payment hash already exists"
_NONE_EVER_MADE = "there are no existing invoices"

STATUSES: dict[int, InvoiceStatus] = {_Invoice.SETTLED: "Succeeded", _Invoice.CANCELED: "Failed"}
"""Final states of an invoice; every other number, known or not, is pending."""


class LndInvoices(LndPart):
    """The part of `LndNode` that is paid."""

    def __init__(self, settings: LndSettings) -> None:
        """Nothing is read or connected before the first call."""
        super().__init__(settings)
        self._watches: set[HeldWatch] = set()

    async def create_invoice(
        self,
        *,
        payment_hash: bytes | None,
        amount_msat: int,
        expiry_s: int,
        description: str | bytes,
    ) -> str:
        """Make an invoice (`AddInvoice`), or a held one (`AddHoldInvoice`)."""
        terms = _terms(amount_msat, expiry_s, description)
        if payment_hash is None:
            answer = await self._connection.call(
                lambda stubs: stubs.lightning.AddInvoice, new_request(_Invoice, **terms)
            )
            return str(answer.payment_request)
        text = await self._hold(
            new_request(
                invoices_pb2.AddHoldInvoiceRequest,
                hash=payment_hash,
                cltv_expiry=HELD_FINAL_DELTA_BLOCKS,
                **terms,
            )
        )
        # LND's stream of new invoices leaves out those made before it began and paid by then.
        for watch in self._watches:
            watch.follow(payment_hash)
        return text

    @asynccontextmanager
    async def held_payments(
        self, own: Iterable[bytes] = (), tell: Tell = tell_nobody
    ) -> AsyncIterator[AsyncIterator[HeldPayment]]:
        """Watch LND's held invoices; see `HeldWatch`."""
        async with watching(self._connection, own, tell) as watch:
            self._watches.add(watch)
            try:
                async with aclosing(watch.payments()) as payments:
                    yield payments
            finally:
                self._watches.discard(watch)

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        """Claim (`SettleInvoice`) what LND has accepted."""
        if hashlib.sha256(preimage).digest() != payment_hash:
            raise InputError("the preimage is not that of the payment to settle")
        state = await self._state(payment_hash)
        if state == _Invoice.SETTLED:
            return
        if state == _Invoice.CANCELED:
            raise CompletionRejectedError("LND has cancelled the invoice that should be settled")
        if state != _Invoice.ACCEPTED:
            raise NodeUnansweredError("LND holds no payment of the invoice yet; try again")
        await self._connection.call(
            lambda stubs: stubs.invoices.SettleInvoice,
            invoices_pb2.SettleInvoiceMsg(preimage=preimage),
        )

    async def cancel(self, payment_hash: bytes) -> None:
        """Fail back and close (`CancelInvoice`)."""
        state = await self._state(payment_hash)
        if state == _Invoice.CANCELED:
            return
        if state == _Invoice.SETTLED:
            raise CompletionRejectedError("LND has settled the invoice that should be cancelled")
        await self._connection.call(
            lambda stubs: stubs.invoices.CancelInvoice,
            invoices_pb2.CancelInvoiceMsg(payment_hash=payment_hash),
        )

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        """Look an invoice up (`LookupInvoiceV2`); the preimage is told once it is out anyway."""
        found = await self._find(payment_hash)
        if found is None:
            return None
        return InvoiceRecord(
            payment_hash=payment_hash,
            preimage=found.r_preimage if found.state == _Invoice.SETTLED else None,
            amount_msat=within_bounds_msat(found.value_msat),
            created_unix_s=found.creation_date,
            status=STATUSES.get(found.state, "Pending"),
        )

    async def _hold(self, request: Any) -> str:
        try:
            answer = await self._connection.call(
                lambda stubs: stubs.invoices.AddHoldInvoice, request
            )
        except NodeRefusedError as refusal:
            if _IS_THERE_ALREADY not in refusal.text:
                raise
            raise NodeRefusedError("ALREADY_EXISTS", HASH_IS_TAKEN) from None
        return str(answer.payment_request)

    async def _state(self, payment_hash: bytes) -> int:
        found = await self._find(payment_hash)
        if found is None:
            raise CompletionRejectedError("LND knows no invoice of this payment hash")
        return int(found.state)

    async def _find(self, payment_hash: bytes) -> Any | None:
        try:
            return await self._connection.find(
                lambda stubs: stubs.invoices.LookupInvoiceV2,
                invoices_pb2.LookupInvoiceMsg(payment_hash=payment_hash),
            )
        except NodeRefusedError as refusal:
            if refusal.text != _NONE_EVER_MADE:
                raise
            return None


def _terms(
    amount_msat: int, expiry_s: int, description: str | bytes
) -> dict[str, int | str | bytes]:
    """Check and name what both kinds of invoice have."""
    check_terms(amount_msat, expiry_s, description)
    terms: dict[str, int | str | bytes] = {"value_msat": amount_msat, "expiry": expiry_s}
    if isinstance(description, str):
        return terms | {"memo": description}
    return terms | {"description_hash": description}
