"""A Lightning network in memory: channels, routes, HTLCs, and a ledger outside every gateway.

Nothing here waits or is random: every call runs to its end at once, and what stays open (a held
payment) moves only when the test moves it. So a whole history is repeated by repeating its calls.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from backends.simulated_chain import SimulatedChain
from errors import ConflictError, InputError, NotFoundError

BLOCK_PADDING = 3
"""Blocks LND adds to the payee's final delta, so that a block found on the way does no harm."""

_MAX_HOPS = 6


class Policy(msgspec.Struct, frozen=True):
    """What a node asks for forwarding over its side of a channel (BOLT 7)."""

    base_fee_msat: int = 1_000
    proportional_millionths: int = 1
    delay_blocks: int = 40

    def fee_msat(self, amount_msat: int) -> int:
        """Fee for handing on `amount_msat`."""
        return self.base_fee_msat + amount_msat * self.proportional_millionths // 1_000_000


FREE = Policy(base_fee_msat=0, proportional_millionths=0)


class InvoiceState(StrEnum):
    """States of an invoice, as LND names them."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"


class Side(msgspec.Struct, frozen=True):
    """One side of one channel, the key of the ledger."""

    channel_id: int
    node: str


class Order(msgspec.Struct, frozen=True):
    """What a payer asks of the network."""

    payer: str
    payee: str
    payment_hash: bytes
    amount_msat: int
    final_delay_blocks: int
    max_fee_msat: int
    max_delay_blocks: int


class Settled(msgspec.Struct, frozen=True):
    """The HTLCs were claimed with this preimage."""

    preimage: bytes
    fee_msat: int

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"Settled(fee_msat={self.fee_msat})"


class Returned(msgspec.Struct, frozen=True):
    """The HTLCs were failed back, or there never was a route."""

    reason: str


Outcome = Settled | Returned


@dataclass
class PayeeInvoice:
    """What a payee knows of an invoice. A held one waits for `settle` or `cancel`."""

    payee: str
    amount_msat: int
    preimage: bytes | None = field(repr=False)
    is_held: bool
    state: InvoiceState = InvoiceState.OPEN


@dataclass
class _Channel:
    channel_id: int
    policies: dict[str, Policy]
    balances_msat: dict[str, int]
    capacity_msat: int
    locked_msat: int = 0

    def other(self, node: str) -> str:
        first, second = self.balances_msat
        return second if node == first else first


@dataclass
class _Hop:
    channel: _Channel
    sender: str
    amount_msat: int
    expiry_height: int


@dataclass
class _Htlcs:
    """The HTLCs of one payment, locked along its route."""

    payment_hash: bytes
    hops: list[_Hop]
    fee_msat: int
    end: Callable[[Outcome], None]


class SimulatedNetwork:
    """All channels, all HTLCs and all invoices. Nodes are named by text."""

    def __init__(self, chain: SimulatedChain) -> None:
        """An empty network on this chain."""
        self.chain = chain
        self.names: dict[bytes, str] = {}
        self.unreachable: set[str] = set()
        self.invoices: dict[bytes, PayeeInvoice] = {}
        self._channels: list[_Channel] = []
        self._pending: list[_Htlcs] = []
        chain.on_block(self._return_expired)

    def open_channel(
        self,
        first: str,
        second: str,
        *,
        first_msat: int,
        second_msat: int,
        first_policy: Policy = FREE,
        second_policy: Policy = FREE,
    ) -> int:
        """Open a channel with this money on its two sides; answer its id."""
        if first == second or min(first_msat, second_msat) < 0:
            raise InputError("a channel joins two nodes and has no negative side")
        channel = _Channel(
            channel_id=len(self._channels) + 1,
            policies={first: first_policy, second: second_policy},
            balances_msat={first: first_msat, second: second_msat},
            capacity_msat=first_msat + second_msat,
        )
        self._channels.append(channel)
        return channel.channel_id

    def ledger_msat(self) -> dict[Side, int]:
        """What each side of each channel holds; money locked in HTLCs belongs to no side."""
        return {
            Side(channel.channel_id, node): balance_msat
            for channel in self._channels
            for node, balance_msat in channel.balances_msat.items()
        }

    def holdings_msat(self, node: str) -> int:
        """What a node holds over all its channels."""
        return sum(msat for side, msat in self.ledger_msat().items() if side.node == node)

    def receivable_msat(self, node: str) -> int:
        """What the other sides of a node's channels hold."""
        return sum(
            channel.balances_msat[channel.other(node)]
            for channel in self._channels
            if node in channel.balances_msat
        )

    def locked_msat(self) -> int:
        """What is locked in HTLCs over all channels."""
        return sum(channel.locked_msat for channel in self._channels)

    def audit(self) -> None:
        """Assert that no channel has gained or lost a millisatoshi, and none owes one."""
        for channel in self._channels:
            held_msat = sum(channel.balances_msat.values()) + channel.locked_msat
            assert held_msat == channel.capacity_msat, channel
            assert min(channel.locked_msat, *channel.balances_msat.values()) >= 0, channel

    def send(self, order: Order, end: Callable[[Outcome], None]) -> None:
        """Lock HTLCs along the cheapest route and let the payee decide; `end` is called once."""
        try:
            hops = self._route(order)
        except NotFoundError as error:
            end(Returned(str(error)))
            return
        for hop in hops:
            hop.channel.balances_msat[hop.sender] -= hop.amount_msat
            hop.channel.locked_msat += hop.amount_msat
        fee_msat = hops[0].amount_msat - order.amount_msat
        htlcs = _Htlcs(order.payment_hash, hops, fee_msat, end)
        self._pending.append(htlcs)
        self._arrive(htlcs, order)

    def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        """Claim what a held invoice has accepted. Raises ConflictError if it has not."""
        invoice = self._held_invoice(payment_hash)
        invoice.state = InvoiceState.SETTLED
        for htlcs in self._of(payment_hash):
            self._claim(htlcs, preimage)

    def cancel(self, payment_hash: bytes) -> None:
        """Give up an invoice and return what it has accepted. Raises ConflictError if settled."""
        invoice = self.invoices[payment_hash]
        if invoice.state is InvoiceState.SETTLED:
            raise ConflictError("the invoice is settled")
        invoice.state = InvoiceState.CANCELED
        for htlcs in self._of(payment_hash):
            self._return(htlcs, "the payee refused it")

    def _arrive(self, htlcs: _Htlcs, order: Order) -> None:
        invoice = self.invoices.get(order.payment_hash)
        if (
            invoice is None
            or invoice.payee != order.payee
            or invoice.state is not InvoiceState.OPEN
            or invoice.amount_msat != order.amount_msat
        ):
            self._return(htlcs, "the payee refused it")
        elif invoice.is_held or invoice.preimage is None:
            invoice.state = InvoiceState.ACCEPTED
        else:
            invoice.state = InvoiceState.SETTLED
            self._claim(htlcs, invoice.preimage)

    def _claim(self, htlcs: _Htlcs, preimage: bytes) -> None:
        self._pending.remove(htlcs)
        for hop in htlcs.hops:
            hop.channel.locked_msat -= hop.amount_msat
            hop.channel.balances_msat[hop.channel.other(hop.sender)] += hop.amount_msat
        htlcs.end(Settled(preimage, htlcs.fee_msat))

    def _return(self, htlcs: _Htlcs, reason: str) -> None:
        self._pending.remove(htlcs)
        for hop in htlcs.hops:
            hop.channel.locked_msat -= hop.amount_msat
            hop.channel.balances_msat[hop.sender] += hop.amount_msat
        htlcs.end(Returned(reason))

    def _return_expired(self) -> None:
        for htlcs in [*self._pending]:
            if htlcs.hops[-1].expiry_height <= self.chain.height:
                if invoice := self.invoices.get(htlcs.payment_hash):
                    invoice.state = InvoiceState.CANCELED
                self._return(htlcs, "its timelock ran out")

    def _held_invoice(self, payment_hash: bytes) -> PayeeInvoice:
        invoice = self.invoices[payment_hash]
        if invoice.state is not InvoiceState.ACCEPTED:
            raise ConflictError(f"the invoice has accepted nothing: it is {invoice.state}")
        return invoice

    def _of(self, payment_hash: bytes) -> list[_Htlcs]:
        return [htlcs for htlcs in self._pending if htlcs.payment_hash == payment_hash]

    def _route(self, order: Order) -> list[_Hop]:
        """Find the cheapest route within the budgets. NotFoundError says what was in the way."""
        routes = [self._hops(order, path) for path in self._paths(order.payer, order.payee)]
        if not routes:
            raise NotFoundError("no route was found")
        liquid = [route for route in routes if _is_liquid(route)]
        if not liquid:
            raise NotFoundError("the channels hold too little")
        within = [
            route
            for route in liquid
            if route[0].amount_msat - order.amount_msat <= order.max_fee_msat
            and route[0].expiry_height - self.chain.height <= order.max_delay_blocks
        ]
        if not within:
            raise NotFoundError("no route was found within the budgets")
        return min(within, key=lambda route: (route[0].amount_msat, route[0].expiry_height))

    def _hops(self, order: Order, path: list[_Channel]) -> list[_Hop]:
        """Amounts and timelocks, from the payee back to the payer (BOLT 4, BOLT 7)."""
        hops: list[_Hop] = []
        receiver, amount_msat = order.payee, order.amount_msat
        expiry_height = self.chain.height + order.final_delay_blocks + BLOCK_PADDING
        for channel in reversed(path):
            sender = channel.other(receiver)
            hops.insert(0, _Hop(channel, sender, amount_msat, expiry_height))
            amount_msat += channel.policies[sender].fee_msat(amount_msat)
            expiry_height += channel.policies[sender].delay_blocks
            receiver = sender
        return hops

    def _paths(
        self, here: str, payee: str, visited: tuple[str, ...] = ()
    ) -> Iterator[list[_Channel]]:
        if here == payee:
            yield []
            return
        if len(visited) == _MAX_HOPS or (visited and here in self.unreachable):
            return
        for channel in self._channels:
            if here not in channel.balances_msat:
                continue
            there = channel.other(here)
            if there == here or there in visited or there in self.unreachable:
                continue
            for rest in self._paths(there, payee, (*visited, here)):
                yield [channel, *rest]


def _is_liquid(route: list[_Hop]) -> bool:
    return all(hop.channel.balances_msat[hop.sender] >= hop.amount_msat for hop in route)
