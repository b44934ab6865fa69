"""Paying from a simulated node: one record per payment hash, with LND's refusals."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from backends.lightning import (
    Failed,
    InFlight,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    Succeeded,
    check_order,
)
from backends.simulated.network import Outcome, Settled, SimulatedNetwork
from backends.simulated.part import Fault, SimulatedPart
from backends.simulated.routes import BLOCK_PADDING, Order
from fedimint.codec import bolt11

MAX_DELAY_CAP_BLOCKS = 2016
"""LND's default `--max-cltv-expiry`."""


@dataclass
class PaymentRecord:
    """The node's record of one outgoing payment."""

    amount_msat: int
    begun_unix_s: int
    status: PaymentStatus


@dataclass(frozen=True)
class _Call:
    invoice: bolt11.Bolt11Invoice
    max_fee_msat: int
    max_delay_blocks: int


class SimulatedPayments(SimulatedPart):
    """The part of `SimulatedNode` that pays."""

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """A node that has paid nothing."""
        super().__init__(network, name, now_s)
        self._records: dict[bytes, PaymentRecord] = {}

    # --- what the gateway calls ---

    @asynccontextmanager
    async def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        """Pay once; the payment goes on when the block is left."""
        fields = check_order(invoice, payment_hash, max_fee_msat, max_delay_blocks)
        call = _Call(fields, max_fee_msat, min(max_delay_blocks, MAX_DELAY_CAP_BLOCKS))
        async with aclosing(self._dispatch(call)) as statuses:
            yield statuses

    @asynccontextmanager
    async def track(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        """Follow the record."""
        async with aclosing(self._record(payment_hash)) as statuses:
            yield statuses

    async def lookup(self, payment_hash: bytes) -> PaymentStatus:
        """Read the record."""
        async with aclosing(self._record(payment_hash)) as statuses:
            return await anext(statuses)

    # --- what a test calls ---

    def payment(self, payment_hash: bytes) -> PaymentStatus:
        """How a payment stands, whether the node is up or not."""
        record = self._records.get(payment_hash)
        return NotFound() if record is None else record.status

    def pay_by_hand(self, invoice: str, *, max_fee_msat: int, max_delay_blocks: int) -> None:
        """Begin a payment as somebody does who sits at the node. Raises as `pay` does."""
        if self.is_down:
            raise NodeUnansweredError("the node is down")
        fields = bolt11.decode(invoice)
        check_order(invoice, fields.payment_hash, max_fee_msat, max_delay_blocks)
        self._take(_Call(fields, max_fee_msat, min(max_delay_blocks, MAX_DELAY_CAP_BLOCKS)))

    def forget(self, payment_hash: bytes) -> PaymentRecord:
        """Lose the record of a payment, not the payment."""
        return self._records.pop(payment_hash)

    def restore(self, payment_hash: bytes, record: PaymentRecord) -> None:
        """Have a lost record back."""
        self._records[payment_hash] = record
        self._wake()

    # --- the node itself ---

    async def _dispatch(self, call: _Call) -> AsyncGenerator[PaymentStatus, None]:
        await self._answer()
        fault = self._next_fault("pay")
        record = self._reach(fault, lambda: self._take(call))
        yield InFlight()
        if fault is Fault.CUT:
            raise NodeUnansweredError("the stream was cut")
        async with aclosing(self._follow(record)) as statuses:
            async for status in statuses:
                if not isinstance(status, InFlight):
                    yield status

    async def _record(self, payment_hash: bytes) -> AsyncGenerator[PaymentStatus, None]:
        await self._answer()
        record = self._records.get(payment_hash)
        if record is None:
            yield NotFound()
            return
        async with aclosing(self._follow(record)) as statuses:
            async for status in statuses:
                yield status

    async def _follow(self, record: PaymentRecord) -> AsyncGenerator[PaymentStatus, None]:
        """Yield the status now, and the final one when it comes."""
        connection = self._connection
        status = record.status
        yield status
        if not isinstance(status, InFlight):
            return
        while isinstance(record.status, InFlight) and connection == self._connection:
            await self._changed.wait()
        if connection != self._connection:
            raise NodeUnansweredError("the connection to the node broke")
        yield record.status

    def _take(self, call: _Call) -> PaymentRecord:
        """Begin a payment as LND does, or raise NodeRefusedError and change nothing."""
        invoice = call.invoice
        payee = self.network.names.get(invoice.payee, invoice.payee.hex())
        least_blocks = invoice.min_final_cltv_delta_blocks + BLOCK_PADDING
        if invoice.expires_unix_s < self._now_s():
            raise NodeRefusedError("UNKNOWN", "invoice expired")
        if call.max_delay_blocks <= least_blocks:
            raise NodeRefusedError("UNKNOWN", f"cltv limit should be greater than {least_blocks}")
        if payee == self.name:
            raise NodeRefusedError("UNKNOWN", "self-payments not allowed")
        known = self._records.get(invoice.payment_hash)
        if known is not None and not isinstance(known.status, Failed):
            raise NodeRefusedError("ALREADY_EXISTS", "payment already exists")
        assert invoice.amount_msat is not None  # check_order
        record = PaymentRecord(invoice.amount_msat, int(self._now_s()), InFlight())
        self._records[invoice.payment_hash] = record
        order = Order(
            payer=self.name,
            payee=payee,
            payment_hash=invoice.payment_hash,
            amount_msat=invoice.amount_msat,
            final_delay_blocks=invoice.min_final_cltv_delta_blocks,
            max_fee_msat=call.max_fee_msat,
            max_delay_blocks=call.max_delay_blocks,
        )
        self.network.send(order, lambda outcome: self._end(record, outcome))
        return record

    def _end(self, record: PaymentRecord, outcome: Outcome) -> None:
        if isinstance(outcome, Settled):
            record.status = Succeeded(outcome.preimage, outcome.fee_msat)
        else:
            record.status = Failed(outcome.reason)
        self._wake()
