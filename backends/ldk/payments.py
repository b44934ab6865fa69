"""Paying with LDK: a call is noted before it is made, and what became of it is read from both.

LDK writes its record of a payment after it took it, so a process that dies in between leaves a payment that LDK
knows and shows nobody. Our note of the call shows it: such a hash is in flight until LDK tells its end.
"""

import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fedimint_gateway_native.ldk import LdkError, Node, Payment

from backends.ldk.core import LdkPart
from backends.ldk.ledger import Call, Ledger
from backends.lightning import (
    Failed,
    InFlight,
    NodeRefusedError,
    NotFound,
    PaymentStatus,
    Succeeded,
    check_order,
    within_bounds_msat,
)
from errors import PeerError
from fedimint.codec.bolt11 import Bolt11Invoice

#: LDK's default, a week of blocks: peers take no longer timelocks gladly.
MAX_DELAY_CAP_BLOCKS = 1_008

_MOST_FEE_MSAT = 2**63 - 1
#: The first hop's timelock is counted from the next block (lightning src/ln/outbound_payment.rs).
_NEXT_BLOCK = 1

# What LDK answers when it has taken nothing.
_NOT_TAKEN = frozenset({"PaymentSendingFailed", "InvalidInvoice", "InvalidAmount", "NotRunning"})


class LdkPayments(LdkPart):
    """The part of `LdkNode` that pays."""

    @asynccontextmanager
    async def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        """Pay once; LDK goes on with it when the block is left. It looks for routes for ten seconds."""
        fields = check_order(invoice, payment_hash, max_fee_msat, max_delay_blocks)
        limit_blocks = min(max_delay_blocks, MAX_DELAY_CAP_BLOCKS) - _NEXT_BLOCK
        async with aclosing(self._pay(fields, max_fee_msat, limit_blocks)) as statuses:
            yield statuses

    @asynccontextmanager
    async def track(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        """Follow the record, and LDK's events."""
        async with aclosing(self._follow(payment_hash)) as statuses:
            yield statuses

    async def lookup(self, payment_hash: bytes) -> PaymentStatus:
        """Read the record and our note of the call."""
        ledger = self._core.ledger
        return await self._core.ask(lambda native: _status(native, ledger, payment_hash))

    async def _pay(
        self, fields: Bolt11Invoice, max_fee_msat: int, limit_blocks: int
    ) -> AsyncGenerator[PaymentStatus, None]:
        core = self._core
        async with core.making:
            await core.ask(
                lambda native: _call(native, core.ledger, fields, max_fee_msat, limit_blocks)
            )
        async with aclosing(self._follow(fields.payment_hash)) as statuses:
            async for status in statuses:
                yield status

    async def _follow(self, payment_hash: bytes) -> AsyncGenerator[PaymentStatus, None]:
        last: PaymentStatus | None = None
        async with aclosing(self._core.changes()) as changes:
            async for _ in changes:
                status = await self.lookup(payment_hash)
                if status != last:
                    yield status
                    last = status
                if not isinstance(status, InFlight):
                    return


def _call(
    native: Node, ledger: Ledger, fields: Bolt11Invoice, max_fee_msat: int, limit_blocks: int
) -> None:
    """Note the call, make it, and take the note back if LDK took nothing."""
    payment_hash = fields.payment_hash
    _refuse_call(native, ledger, fields, limit_blocks)
    if native.payment(payment_hash) is not None:
        # Of a call that LDK did not take. It goes first: a record of old would hide what becomes of the new call.
        native.forget(payment_hash)
    ledger.begin_call(payment_hash, fields.amount_msat or 0, int(time.time()))
    try:
        native.send(fields.text, min(max_fee_msat, _MOST_FEE_MSAT), limit_blocks)
    except LdkError as error:
        name, text = error.args
        if name in _NOT_TAKEN:
            ledger.forget_call(payment_hash)
        if name == "PaymentSendingFailed":
            return  # LDK has made a record of its failure.
        if name == "DuplicatePayment":
            raise NodeRefusedError("ALREADY_EXISTS", text) from None
        raise


def _refuse_call(native: Node, ledger: Ledger, fields: Bolt11Invoice, limit_blocks: int) -> None:
    """Refuse what LDK would refuse with a record, which would stand for a payment, and what it must not be asked."""
    found = native.payment(fields.payment_hash)
    call = ledger.call(fields.payment_hash)
    if found is not None and not found.is_outbound:
        raise NodeRefusedError("OWN_INVOICE", "the invoice is of this node itself")
    if call is not None and call.is_over and call.preimage is None:
        raise NodeRefusedError(
            "FAILED_BEFORE",
            "a payment of this hash has failed; LDK may tell that once more, so only a new invoice can be paid",
        )
    if call is not None or (found is not None and found.status != "Failed"):
        raise NodeRefusedError("ALREADY_EXISTS", "a payment of this hash has been begun already")
    if fields.expires_unix_s <= time.time():
        raise NodeRefusedError("EXPIRED", "the invoice has expired")
    if limit_blocks <= fields.min_final_cltv_delta_blocks:
        raise NodeRefusedError(
            "TOO_LITTLE_TIME",
            f"the payee alone wants {fields.min_final_cltv_delta_blocks} blocks, more than the limit leaves",
        )


def _status(native: Node, ledger: Ledger, payment_hash: bytes) -> PaymentStatus:
    call = ledger.call(payment_hash)
    found = native.payment(payment_hash)
    record = found if found is not None and found.is_outbound else None
    if call is not None:
        return _status_of_call(call, record)
    if record is None:
        return NotFound()
    return _status_of_record(record, payment_hash)


def _status_of_call(call: Call, record: Payment | None) -> PaymentStatus:
    """A preimage is never taken back, and a failure counts once LDK has told it as an event."""
    if call.preimage is not None:
        return _succeeded(call.preimage, call.fee_msat, call.payment_hash)
    if record is not None and record.status == "Succeeded":
        return _status_of_record(record, call.payment_hash)
    if call.is_over:
        return Failed("LDK found no way to pay it within the limits and ten seconds")
    return InFlight()


def _status_of_record(record: Payment, payment_hash: bytes) -> PaymentStatus:
    if record.status == "Succeeded":
        return _succeeded(record.preimage, record.fee_msat, payment_hash)
    if record.status == "Failed":
        return Failed("LDK found no way to pay it within the limits")
    return InFlight()


def _succeeded(preimage: bytes | None, fee_msat: int | None, payment_hash: bytes) -> Succeeded:
    if preimage is None or hashlib.sha256(preimage).digest() != payment_hash:
        raise PeerError("LDK reports success without the payment's preimage")
    return Succeeded(preimage, within_bounds_msat(fee_msat or 0))
