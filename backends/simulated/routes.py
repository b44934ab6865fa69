"""Channels of the simulated network, their policies, and the cheapest route through them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec

from errors import NotFoundError

BLOCK_PADDING = 3
"""Blocks LND adds to the payee's final delta, so that a block found on the way does no harm."""

_MAX_HOPS = 6


class Policy(msgspec.Struct, frozen=True):
    """What a node asks for forwarding over its side of a channel (BOLT 7); LND's defaults but for the delay."""

    base_fee_msat: int = 1_000
    proportional_millionths: int = 1
    delay_blocks: int = 40

    def fee_msat(self, amount_msat: int) -> int:
        """Fee for handing on `amount_msat`."""
        return self.base_fee_msat + amount_msat * self.proportional_millionths // 1_000_000


FREE = Policy(base_fee_msat=0, proportional_millionths=0)


class Order(msgspec.Struct, frozen=True):
    """What a payer asks of the network. Of a payment in parts it is one; all of them bring `total_msat`."""

    payer: str
    payee: str
    payment_hash: bytes
    amount_msat: int
    final_delay_blocks: int
    max_fee_msat: int
    max_delay_blocks: int
    total_msat: int | None = None

    @property
    def whole_msat(self) -> int:
        """What all parts bring."""
        return self.amount_msat if self.total_msat is None else self.total_msat


@dataclass
class SimulatedChannel:
    """A channel between two nodes, each with a balance and a policy; the first one has funded it."""

    channel_id: int
    policies: dict[str, Policy]
    balances_msat: dict[str, int]
    capacity_msat: int
    funding_out_point: str
    locked_msat: int = 0

    @property
    def funder(self) -> str:
        """Who opened it and pays for closing it."""
        return next(iter(self.balances_msat))

    def other(self, node: str) -> str:
        """The node on the other side."""
        first, second = self.balances_msat
        return second if node == first else first


@dataclass
class Hop:
    """One HTLC of a route: what `sender` locks in the channel, and until which height."""

    channel: SimulatedChannel
    sender: str
    amount_msat: int
    expiry_height: int


class Routes:
    """Finds routes over the channels as they are now, around the nodes that are unreachable."""

    def __init__(self, channels: list[SimulatedChannel], unreachable: Collection[str]) -> None:
        self._channels = channels
        self._unreachable = unreachable

    def cheapest(self, order: Order, height: int) -> list[Hop]:
        """The cheapest route within the budgets. NotFoundError says what was in the way."""
        routes = [_hops(order, path, height) for path in self._paths(order.payer, order.payee)]
        if not routes:
            raise NotFoundError("no route was found")
        liquid = [route for route in routes if _is_liquid(route)]
        if not liquid:
            raise NotFoundError("the channels hold too little")
        within = [
            route
            for route in liquid
            if route[0].amount_msat - order.amount_msat <= order.max_fee_msat
            and route[0].expiry_height - height <= order.max_delay_blocks
        ]
        if not within:
            raise NotFoundError("no route was found within the budgets")
        return min(within, key=lambda route: (route[0].amount_msat, route[0].expiry_height))

    def _paths(
        self, here: str, payee: str, visited: tuple[str, ...] = ()
    ) -> Iterator[list[SimulatedChannel]]:
        if here == payee:
            yield []
            return
        if len(visited) == _MAX_HOPS or (visited and here in self._unreachable):
            return
        for channel in self._channels:
            if here not in channel.balances_msat:
                continue
            there = channel.other(here)
            if there in visited or there in self._unreachable:
                continue
            for rest in self._paths(there, payee, (*visited, here)):
                yield [channel, *rest]


def _hops(order: Order, path: list[SimulatedChannel], height: int) -> list[Hop]:
    """Amounts and timelocks, from the payee back to the payer (BOLT 4, BOLT 7)."""
    hops: list[Hop] = []
    receiver, amount_msat = order.payee, order.amount_msat
    expiry_height = height + order.final_delay_blocks + BLOCK_PADDING
    for channel in reversed(path):
        sender = channel.other(receiver)
        hops.insert(0, Hop(channel, sender, amount_msat, expiry_height))
        amount_msat += channel.policies[sender].fee_msat(amount_msat)
        expiry_height += channel.policies[sender].delay_blocks
        receiver = sender
    return hops


def _is_liquid(route: list[Hop]) -> bool:
    return all(hop.channel.balances_msat[hop.sender] >= hop.amount_msat for hop in route)
