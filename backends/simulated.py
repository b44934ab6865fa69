"""A Lightning node in memory, with LND's habits and scripted faults; it runs on every event loop.

Time stands still between calls and nothing is random: a held payment moves when the test settles
or cancels it, a block comes when the test mines it, and a call dies where the test says so.
"""

import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto

import anyio
import anyio.lowlevel

from backends.lightning import (
    Balances,
    Failed,
    InFlight,
    NodeInfo,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    Succeeded,
    check_order,
)
from backends.simulated_network import (
    BLOCK_PADDING,
    InvoiceState,
    Order,
    Outcome,
    PayeeInvoice,
    Settled,
    SimulatedNetwork,
)
from errors import InputError
from fedimint import bolt11, secp

MAX_DELAY_CAP_BLOCKS = 2016
"""LND's default `--max-cltv-expiry`."""


class Fault(Enum):
    """What happens to one call of `pay`."""

    NONE = auto()
    LOST = auto()
    """The call dies and never reaches the node."""
    DELAYED = auto()
    """The call dies, and reaches the node when the test says `deliver_delayed`."""
    REFUSED = auto()
    """The node refuses the call and does nothing."""
    TAKEN = auto()
    """The node does as asked, and the call dies before the first status."""
    CUT = auto()
    """The node does as asked, and the call dies after the first status."""


@dataclass
class _Record:
    """The node's record of one outgoing payment."""

    status: PaymentStatus


@dataclass(frozen=True)
class _Call:
    invoice: bolt11.Bolt11Invoice
    max_fee_msat: int
    max_delay_blocks: int


class SimulatedNode:
    """A LightningNode of the simulated network, and the hands of a test on it."""

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """A node of this name, whose key follows from it; `now_s` is the wall clock, unix time."""
        self.name = name
        self.network = network
        self.secret = hashlib.sha256(b"simulated node " + name.encode()).digest()
        self.public_key = secp.public_key(self.secret)
        self.is_synced = True
        self.onchain_sat = 0
        self._now_s = now_s
        self._records: dict[bytes, _Record] = {}
        self._faults: deque[Fault] = deque()
        self._delayed: list[_Call] = []
        self._is_down = False
        self._connection = 1
        self._changed = anyio.Event()
        self._invoices = 0
        network.names[self.public_key] = name

    # --- what the gateway calls ---

    async def info(self) -> NodeInfo:
        """Identity and chain view."""
        await self._answer()
        return NodeInfo(
            public_key=self.public_key.hex(),
            alias=self.name,
            network="regtest",
            block_height=self.network.chain.height,
            synced_to_chain=self.is_synced,
        )

    async def balances(self) -> Balances:
        """What the ledger of the network says."""
        await self._answer()
        return Balances(
            onchain_sat=self.onchain_sat,
            lightning_msat=self.network.holdings_msat(self.name),
            inbound_msat=self.network.receivable_msat(self.name),
        )

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

    async def aclose(self) -> None:
        """Do nothing: there is no connection. The node stays for the next gateway."""

    # --- what a test calls ---

    @property
    def is_down(self) -> bool:
        """Whether every call ends unanswered; open ones do so at once. Forwarding stops too."""
        return self._is_down

    @is_down.setter
    def is_down(self, value: bool) -> None:
        self._is_down = value
        if value:
            self._connection += 1
            self.network.unreachable.add(self.name)
        else:
            self.network.unreachable.discard(self.name)
        self._wake()

    def script(self, *faults: Fault) -> None:
        """Say what happens to the next calls of `pay`, one each; the calls after them are sound."""
        self._faults.extend(faults)

    def deliver_delayed(self) -> None:
        """Let the delayed calls reach the node now; what it refuses, nobody hears."""
        calls, self._delayed = self._delayed, []
        for call in calls:
            try:
                self._take(call)
            except NodeRefusedError:
                continue

    def forget(self, payment_hash: bytes) -> None:
        """Lose the record of a payment, not the payment."""
        del self._records[payment_hash]

    def make_invoice(
        self,
        amount_msat: int,
        *,
        payment_hash: bytes | None = None,
        is_held: bool = False,
        expiry_s: int = 3_600,
        final_delay_blocks: int = 18,
    ) -> bolt11.Bolt11Invoice:
        """Make an invoice of this node. Held, or with a hash given, it waits for `settle`."""
        self._invoices += 1
        preimage = None if payment_hash else self._derived("preimage")
        if payment_hash is None:
            assert preimage is not None
            payment_hash = hashlib.sha256(preimage).digest()
        fields = bolt11.InvoiceFields(
            network="regtest",
            amount_msat=amount_msat,
            timestamp_unix_s=int(self._now_s()),
            payment_hash=payment_hash,
            payment_secret=self._derived("payment secret"),
            description=f"invoice {self._invoices} of {self.name}",
            expiry_s=expiry_s,
            min_final_cltv_delta_blocks=final_delay_blocks,
        )
        self.network.invoices[payment_hash] = PayeeInvoice(
            self.name, amount_msat, preimage, is_held=is_held or preimage is None
        )
        return bolt11.sign(fields, self.secret)

    def settle_held(self, payment_hash: bytes, preimage: bytes | None = None) -> None:
        """Claim what a held invoice of this node has accepted; ConflictError if nothing."""
        preimage = preimage or self.network.invoices[payment_hash].preimage
        if preimage is None or hashlib.sha256(preimage).digest() != payment_hash:
            raise InputError("this is not the preimage of the invoice")
        self.network.settle(payment_hash, preimage)

    def cancel_held(self, payment_hash: bytes) -> None:
        """Give up an invoice of this node and what it has accepted; ConflictError if settled."""
        self.network.cancel(payment_hash)

    def invoice_state(self, payment_hash: bytes) -> InvoiceState:
        """How an invoice of this node stands."""
        return self.network.invoices[payment_hash].state

    # --- the node itself ---

    async def _dispatch(self, call: _Call) -> AsyncGenerator[PaymentStatus, None]:
        await self._answer()
        fault = self._faults.popleft() if self._faults else Fault.NONE
        if fault is Fault.LOST:
            raise NodeUnansweredError("the call was lost")
        if fault is Fault.DELAYED:
            self._delayed.append(call)
            raise NodeUnansweredError("the call is late")
        if fault is Fault.REFUSED:
            raise NodeRefusedError("UNKNOWN", "as the script says")
        record = self._take(call)
        if fault is Fault.TAKEN:
            raise NodeUnansweredError("the answer was lost")
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

    async def _follow(self, record: _Record) -> AsyncGenerator[PaymentStatus, None]:
        """Yield the status now, and the final one when it comes."""
        connection = self._connection
        status = record.status
        yield status
        if not isinstance(status, InFlight):
            return
        while isinstance(record.status, InFlight) and connection == self._connection:
            await self._changed.wait()
        if connection != self._connection:
            raise NodeUnansweredError("the node went down")
        yield record.status

    def _take(self, call: _Call) -> _Record:
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
        record = self._records[invoice.payment_hash] = _Record(InFlight())
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

    def _end(self, record: _Record, outcome: Outcome) -> None:
        if isinstance(outcome, Settled):
            record.status = Succeeded(outcome.preimage, outcome.fee_msat)
        else:
            record.status = Failed(outcome.reason)
        self._wake()

    def _derived(self, purpose: str) -> bytes:
        return hashlib.sha256(self.secret + f"{purpose} {self._invoices}".encode()).digest()

    async def _answer(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._is_down:
            raise NodeUnansweredError("the node is down")

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
