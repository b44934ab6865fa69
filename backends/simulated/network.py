"""A Lightning network in memory: channels and HTLCs, and a ledger outside every gateway.

Nothing here waits or is random: every call runs to its end at once, and what stays open (a held
payment) moves only when the payee moves it, or a block. So a whole history is repeated by repeating its calls.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from backends.simulated.chain import SimulatedChain
from backends.simulated.routes import FREE, Hop, Order, Policy, Routes, SimulatedChannel
from errors import InputError, NotFoundError


class Side(msgspec.Struct, frozen=True):
    """One side of one channel, the key of the ledger."""

    channel_id: int
    node: str


class Settled(msgspec.Struct, frozen=True):
    """The HTLCs were claimed with this preimage."""

    preimage: bytes
    fee_msat: int

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"Settled(fee_msat={self.fee_msat})"


class Returned(msgspec.Struct, frozen=True):
    """The HTLCs were cancelled, or there never was a route."""

    reason: str


Outcome = Settled | Returned


@dataclass(eq=False)
class Htlcs:
    """The HTLCs of one payment, locked along its route until `claim` or `fail` of the network."""

    order: Order
    hops: list[Hop]
    end: Callable[[Outcome], None] = field(repr=False)
    is_open: bool = True

    @property
    def expiry_height(self) -> int:
        """The timelock of the last one, which the payee has to beat."""
        return self.hops[-1].expiry_height

    @property
    def fee_msat(self) -> int:
        """What the nodes on the way get."""
        return self.hops[0].amount_msat - self.order.amount_msat


class Member(Protocol):
    """A node as the network sees it."""

    @property
    def name(self) -> str:
        """What the other nodes of the simulation call it."""
        ...

    @property
    def public_key(self) -> bytes:
        """33 bytes."""
        ...

    def accept(self, htlcs: Htlcs) -> None:
        """Claim, fail or keep what has arrived at this payee."""
        ...

    def fresh_script(self) -> bytes:
        """A scriptPubKey of the node's wallet, to close a channel to."""
        ...


class SimulatedNetwork:
    """All channels and all HTLCs. Nodes are named by text; those that are paid are members."""

    def __init__(self, chain: SimulatedChain) -> None:
        """An empty network on this chain."""
        self.chain = chain
        self.names: dict[bytes, str] = {}
        self.members: dict[str, Member] = {}
        self.unreachable: set[str] = set()
        self.channels: list[SimulatedChannel] = []
        self.opening: dict[int, list[SimulatedChannel]] = {}
        """Channels that wait for confirmations, by the height at which they have them."""
        self._routes = Routes(self.channels, self.unreachable)
        self._pending: dict[Htlcs, None] = {}
        self._opened = 0
        chain.on_block(self._on_block)

    def join(self, member: Member) -> None:
        """Let a node be found by its key and be paid."""
        self.names[member.public_key] = member.name
        self.members[member.name] = member

    def open_channel(
        self,
        first: str,
        second: str,
        *,
        first_msat: int,
        second_msat: int,
        first_policy: Policy = FREE,
        second_policy: Policy = FREE,
        funding_out_point: str | None = None,
        confirmations: int = 0,
    ) -> int:
        """Open a channel with this money on its two sides; answer its id.

        It is usable after so many blocks. Without an out point it has one of no transaction.
        """
        if first == second or min(first_msat, second_msat) < 0:
            raise InputError("a channel joins two nodes and has no negative side")
        self._opened += 1
        made_up = hashlib.sha256(b"simulated channel %d" % self._opened).hexdigest()
        channel = SimulatedChannel(
            channel_id=self._opened,
            policies={first: first_policy, second: second_policy},
            balances_msat={first: first_msat, second: second_msat},
            capacity_msat=first_msat + second_msat,
            funding_out_point=funding_out_point or f"{made_up}:0",
        )
        if confirmations:
            self.opening.setdefault(self.chain.height + confirmations, []).append(channel)
        else:
            self.channels.append(channel)
        return channel.channel_id

    def close_channel(self, channel: SimulatedChannel) -> None:
        """Take an open channel without HTLCs out of the network."""
        assert not channel.locked_msat, "HTLCs are not settled on the simulated chain"
        self.channels.remove(channel)

    def channels_of(self, node: str) -> list[SimulatedChannel]:
        """The open channels of a node, oldest first."""
        return [channel for channel in self.channels if node in channel.balances_msat]

    def ledger_msat(self) -> dict[Side, int]:
        """What each side of each channel holds; money locked in HTLCs belongs to no side."""
        return {
            Side(channel.channel_id, node): balance_msat
            for channel in self.channels
            for node, balance_msat in channel.balances_msat.items()
        }

    def holdings_msat(self, node: str) -> int:
        """What a node holds over all its channels."""
        return sum(channel.balances_msat[node] for channel in self.channels_of(node))

    def receivable_msat(self, node: str) -> int:
        """What the other sides of a node's channels hold."""
        return sum(channel.balances_msat[channel.other(node)] for channel in self.channels_of(node))

    def locked_msat(self) -> int:
        """What is locked in HTLCs over all channels."""
        return sum(channel.locked_msat for channel in self.channels)

    def audit(self) -> None:
        """Assert that no channel has gained or lost a millisatoshi, and none owes one."""
        for channel in self.channels:
            held_msat = sum(channel.balances_msat.values()) + channel.locked_msat
            assert held_msat == channel.capacity_msat, channel
            assert min(channel.locked_msat, *channel.balances_msat.values()) >= 0, channel

    def send(self, order: Order, end: Callable[[Outcome], None]) -> None:
        """Lock HTLCs along the cheapest route and let the payee decide; `end` is called once."""
        try:
            hops = self._routes.cheapest(order, self.chain.height)
        except NotFoundError as error:
            end(Returned(str(error)))
            return
        for hop in hops:
            hop.channel.balances_msat[hop.sender] -= hop.amount_msat
            hop.channel.locked_msat += hop.amount_msat
        htlcs = Htlcs(order, hops, end)
        self._pending[htlcs] = None
        if payee := self.members.get(order.payee):
            payee.accept(htlcs)
        else:
            self.fail(htlcs, "the payee refused it")

    def claim(self, htlcs: Htlcs, preimage: bytes) -> None:
        """Move the money of open HTLCs on, as their payee may."""
        self._close(htlcs)
        for hop in htlcs.hops:
            hop.channel.balances_msat[hop.channel.other(hop.sender)] += hop.amount_msat
        htlcs.end(Settled(preimage, htlcs.fee_msat))

    def fail(self, htlcs: Htlcs, reason: str) -> None:
        """Give the money of open HTLCs back, as their payee may."""
        self._close(htlcs)
        for hop in htlcs.hops:
            hop.channel.balances_msat[hop.sender] += hop.amount_msat
        htlcs.end(Returned(reason))

    def _close(self, htlcs: Htlcs) -> None:
        del self._pending[htlcs]
        htlcs.is_open = False
        for hop in htlcs.hops:
            hop.channel.locked_msat -= hop.amount_msat

    def _on_block(self) -> None:
        for htlcs in [*self._pending]:
            if htlcs.expiry_height <= self.chain.height:
                self.fail(htlcs, "its timelock ran out")
        self.channels += self.opening.pop(self.chain.height, ())
