"""Channels and peers of a simulated node for its operator, funded and closed on the simulated chain."""

from collections.abc import Callable

import msgspec

from backends.lightning import NodeRefusedError
from backends.operations import Channel, ChannelOrder
from backends.simulated.chain import ChainOutput
from backends.simulated.network import SimulatedNetwork
from backends.simulated.routes import Policy, SimulatedChannel
from backends.simulated.wallet import TRANSACTION_VBYTES, SimulatedWallet
from errors import InputError, NotFoundError

FUNDING_CONFIRMATIONS = 3
"""What LND asks for at least before a channel is usable."""

FORCED_DELAY_BLOCKS = 144
"""How long a node that closes a channel alone waits for its own side (LND's least, BOLT 3 `to_self_delay`)."""

MIN_CAPACITY_SAT = 20_000
"""LND's least (funding/manager.go)."""

_DEFAULT_SAT_PER_VBYTE = 1
_OP_0_PUSH_32 = b"\x00\x20"


class SimulatedChannels(SimulatedWallet):
    """The part of `SimulatedNode` with its channels and peers.

    Simpler than LND: there are no reserves, anchors or commitment fees, and no channel is closed, not
    even by force, while HTLCs are locked in it.
    """

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """A node without peers."""
        super().__init__(network, name, now_s)
        self._hosts: dict[str, str] = {}
        self._maturing_sat: dict[int, int] = {}
        network.chain.on_block(self._mature)

    async def connect_peer(self, public_key: str, host: str) -> None:
        """Connect to any node of the network that is up; the host is noted, not looked for."""
        await self._answer()
        self._connect(public_key, host)

    async def open_channel(self, order: ChannelOrder) -> str:
        """Connect, fund a channel and leave it to the chain."""
        return await self._call("open_channel", lambda: self._open(order))

    async def opened_channel(self, order: ChannelOrder) -> str | None:
        """Look among the channels that we funded, newest first."""
        await self._answer()
        peer = self._peer(order.public_key)
        opening = [channel for group in self.network.opening.values() for channel in group]
        for channel in reversed([*self.network.channels, *opening]):
            is_ours = channel.funder == self.name and channel.other(self.name) == peer
            if is_ours and channel.capacity_msat == order.capacity_sat * 1_000:
                return channel.funding_out_point.partition(":")[0]
        return None

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        """Close one after the other; a refusal is raised after the last one."""

        def take() -> int:
            channels = self._with(self._peer(public_key))
            refusals = [
                refusal
                for channel in channels
                if (refusal := self._close(channel, force=force, sat_per_vbyte=sat_per_vbyte))
            ]
            if refusals:
                counted = f"{len(refusals)} of {len(channels)} channels stay open"
                raise NodeRefusedError("UNKNOWN", f"{counted}: {refusals[0]}")
            return len(channels)

        return await self._call("close_channels", take)

    async def close_channel(
        self, funding_out_point: str, *, force: bool, sat_per_vbyte: int | None
    ) -> None:
        """Close one channel. NotFoundError without it, NodeRefusedError when it stays open."""
        await self._answer()
        channel = self._channel(funding_out_point)
        if refusal := self._close(channel, force=force, sat_per_vbyte=sat_per_vbyte):
            raise NodeRefusedError("UNKNOWN", refusal)

    async def channels(self) -> tuple[Channel, ...]:
        """All open channels, oldest first."""
        await self._answer()
        return tuple(self._describe(channel) for channel in self.network.channels_of(self.name))

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        """Change our policy, all but its delay."""
        await self._answer()
        if base_fee_msat < 0:
            raise InputError(f"a base fee cannot be negative: {base_fee_msat} msat")
        policies = self._channel(funding_out_point).policies
        policies[self.name] = msgspec.structs.replace(
            policies[self.name],
            base_fee_msat=base_fee_msat,
            proportional_millionths=parts_per_million,
        )

    # --- the node itself ---

    def _channel(self, funding_out_point: str) -> SimulatedChannel:
        for channel in self.network.channels_of(self.name):
            if channel.funding_out_point == funding_out_point:
                return channel
        raise NotFoundError(f"the node has no open channel {funding_out_point}")

    def _peer(self, public_key: str) -> str | None:
        try:
            return self.network.names.get(bytes.fromhex(public_key))
        except ValueError:
            raise InputError("the public key of a node is 66 hex digits") from None

    def _connect(self, public_key: str, host: str) -> str:
        """Note the peer and return its name. NodeRefusedError when it cannot be reached."""
        peer = self._peer(public_key)
        if not host.rpartition(":")[2].isdigit():
            raise NodeRefusedError("UNKNOWN", f"{host} is not an address with a port")
        if peer == self.name:
            raise NodeRefusedError("UNKNOWN", "cannot make connection to self")
        if peer is None or peer in self.network.unreachable:
            raise NodeRefusedError("UNKNOWN", f"no node {public_key} answers at {host}")
        self._hosts[peer] = host
        return peer

    def _open(self, order: ChannelOrder) -> str:
        peer = self._connect(order.public_key, order.host)
        if order.capacity_sat < MIN_CAPACITY_SAT:
            raise NodeRefusedError("UNKNOWN", f"a channel has at least {MIN_CAPACITY_SAT} sat")
        if not 0 <= order.push_sat < order.capacity_sat:
            raise NodeRefusedError("UNKNOWN", "what is pushed must be less than the capacity")
        rate = order.sat_per_vbyte or _DEFAULT_SAT_PER_VBYTE
        # Nobody spends from it but the two, so any P2WSH will do.
        script = _OP_0_PUSH_32 + self._derived(f"funding at {self.network.chain.height}")
        txid = self._spend(ChainOutput(script, order.capacity_sat), rate * TRANSACTION_VBYTES)
        base_fee_msat, millionths = order.base_fee_msat, order.parts_per_million
        default = Policy()
        self.network.open_channel(
            self.name,
            peer,
            first_msat=(order.capacity_sat - order.push_sat) * 1_000,
            second_msat=order.push_sat * 1_000,
            first_policy=Policy(
                default.base_fee_msat if base_fee_msat is None else base_fee_msat,
                default.proportional_millionths if millionths is None else millionths,
            ),
            second_policy=default,
            funding_out_point=f"{txid}:0",
            confirmations=FUNDING_CONFIRMATIONS,
        )
        return txid

    def _with(self, peer: str | None) -> list[SimulatedChannel]:
        ours = self.network.channels_of(self.name)
        return [channel for channel in ours if channel.other(self.name) == peer]

    def _close(
        self, channel: SimulatedChannel, *, force: bool, sat_per_vbyte: int | None
    ) -> str | None:
        """Close a channel, or say why it stays open. What is below 1 sat goes to the miners."""
        peer = channel.other(self.name)
        if channel.locked_msat:
            return "HTLCs are locked in it"
        if peer in self.network.unreachable and not force:
            return "its peer is offline, so it can only be closed by force"
        fee_sat = (sat_per_vbyte or _DEFAULT_SAT_PER_VBYTE) * TRANSACTION_VBYTES
        paid_sat = {node: msat // 1_000 for node, msat in channel.balances_msat.items()}
        paid_sat[channel.funder] = max(paid_sat[channel.funder] - fee_sat, 0)
        scripts = {
            peer: self.network.members[peer].fresh_script(),
            self.name: _OP_0_PUSH_32 + self._derived(channel.funding_out_point)
            if force
            else self.fresh_script(),
        }
        if force:
            height = self.network.chain.height + 1 + FORCED_DELAY_BLOCKS
            self._maturing_sat[height] = self._maturing_sat.get(height, 0) + paid_sat[self.name]
        outputs = [ChainOutput(scripts[node], sat) for node, sat in paid_sat.items() if sat]
        self.network.close_channel(channel)
        self.network.chain.send(*outputs)
        return None

    def _mature(self) -> None:
        """Take the coins of channels closed by force once their delay is over."""
        self.onchain_sat += self._maturing_sat.pop(self.network.chain.height, 0)

    def _describe(self, channel: SimulatedChannel) -> Channel:
        peer = channel.other(self.name)
        policy = channel.policies[self.name]
        both_up = not self.network.unreachable & {self.name, peer}
        return Channel(
            remote_public_key=self.network.members[peer].public_key.hex(),
            capacity_sat=channel.capacity_msat // 1_000,
            outbound_sat=channel.balances_msat[self.name] // 1_000,
            inbound_sat=channel.balances_msat[peer] // 1_000,
            is_active=both_up,
            funding_out_point=channel.funding_out_point,
            remote_alias=peer,
            remote_address=self._hosts.get(peer),
            base_fee_msat=policy.base_fee_msat,
            parts_per_million=policy.proportional_millionths,
        )
