"""Channels and peers of a simulated LND for its operator, over a simulated node."""

from collections.abc import AsyncGenerator

from lndgrpc.compiled import lightning_pb2

from backends.lightning import NodeRefusedError
from backends.operations import ChannelOrder
from backends.simulated.node import SimulatedNode
from backends.simulated.routes import SimulatedChannel
from devnet.lnd_server.rpc import Calls, Message, many_answers, one_answer
from errors import NotFoundError

_MILLIONTHS = 1_000_000


class ChannelCalls:
    """The calls of `lnrpc.Lightning` about channels and peers (lnd's rpcserver.go)."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._network = node.network
        self._hosts: dict[str, str] = {}

    def calls(self) -> Calls:
        """By name, as `lnrpc.Lightning` has them."""
        pb = lightning_pb2
        return {
            "ConnectPeer": one_answer(self.connect, pb.ConnectPeerRequest),
            "ListPeers": one_answer(self.peers, pb.ListPeersRequest),
            "GetNodeInfo": one_answer(self.node_info, pb.NodeInfoRequest),
            "OpenChannelSync": one_answer(self.open, pb.OpenChannelRequest),
            "PendingChannels": one_answer(self.pending, pb.PendingChannelsRequest),
            "ListChannels": one_answer(self.channels, pb.ListChannelsRequest),
            "CloseChannel": many_answers(self.close, pb.CloseChannelRequest),
            "GetChanInfo": one_answer(self.channel_info, pb.ChanInfoRequest),
            "UpdateChannelPolicy": one_answer(self.set_policy, pb.PolicyUpdateRequest),
        }

    async def connect(self, request: Message) -> Message:
        """Connect to a peer."""
        await self._node.connect_peer(request.addr.pubkey, request.addr.host)
        self._hosts[request.addr.pubkey] = request.addr.host
        return lightning_pb2.ConnectPeerResponse()

    async def peers(self, _request: Message) -> Message:
        """The peers called by us with which there are channels."""
        addresses = {
            channel.remote_public_key: channel.remote_address
            for channel in await self._node.channels()
            if channel.remote_address is not None
        }
        return lightning_pb2.ListPeersResponse(
            peers=[
                lightning_pb2.Peer(pub_key=public_key, address=address)
                for public_key, address in addresses.items()
            ]
        )

    async def node_info(self, request: Message) -> Message:
        """A node of the network; none announces an address. NOT_FOUND when there is no such."""
        name = self._network.names.get(bytes.fromhex(request.pub_key))
        if name is None:
            raise NotFoundError("unable to find node")
        known = lightning_pb2.LightningNode(pub_key=request.pub_key, alias=name)
        return lightning_pb2.NodeInfo(node=known)

    async def open(self, request: Message) -> Message:
        """Open a channel with a peer that is connected."""
        public_key = request.node_pubkey.hex()
        if public_key not in self._hosts:
            raise NodeRefusedError("UNKNOWN", "peer is not online")
        txid = await self._node.open_channel(
            ChannelOrder(
                public_key=public_key,
                host=self._hosts[public_key],
                capacity_sat=request.local_funding_amount,
                push_sat=request.push_sat,
                sat_per_vbyte=request.sat_per_vbyte or None,
                base_fee_msat=request.base_fee if request.use_base_fee else None,
                parts_per_million=request.fee_rate if request.use_fee_rate else None,
            )
        )
        return lightning_pb2.ChannelPoint(funding_txid_bytes=bytes.fromhex(txid)[::-1])

    async def pending(self, _request: Message) -> Message:
        """The channels of this node whose funding is not confirmed."""
        waiting = (channel for group in self._network.opening.values() for channel in group)
        return lightning_pb2.PendingChannelsResponse(
            pending_open_channels=[
                lightning_pb2.PendingChannelsResponse.PendingOpenChannel(
                    channel=lightning_pb2.PendingChannelsResponse.PendingChannel(
                        remote_node_pub=self._remote_key(channel).hex(),
                        channel_point=channel.funding_out_point,
                        capacity=channel.capacity_msat // 1000,
                        initiator=(
                            lightning_pb2.INITIATOR_LOCAL
                            if channel.funder == self._node.name
                            else lightning_pb2.INITIATOR_REMOTE
                        ),
                    )
                )
                for channel in waiting
                if self._node.name in channel.balances_msat
            ]
        )

    async def channels(self, request: Message) -> Message:
        """Open channels, with one peer or all."""
        described = zip(
            self._network.channels_of(self._node.name), await self._node.channels(), strict=True
        )
        return lightning_pb2.ListChannelsResponse(
            channels=[
                lightning_pb2.Channel(
                    active=seen.is_active,
                    remote_pubkey=seen.remote_public_key,
                    channel_point=channel.funding_out_point,
                    chan_id=channel.channel_id,
                    capacity=seen.capacity_sat,
                    local_balance=seen.outbound_sat,
                    remote_balance=seen.inbound_sat,
                    initiator=channel.funder == self._node.name,
                )
                for channel, seen in described
                if not request.peer or request.peer.hex() == seen.remote_public_key
            ]
        )

    async def close(self, request: Message) -> AsyncGenerator[Message, None]:
        """Begin to close a channel."""
        await self._node.close_channel(
            _out_point(request.channel_point),
            force=request.force,
            sat_per_vbyte=request.sat_per_vbyte or None,
        )
        yield lightning_pb2.CloseStatusUpdate(close_pending=lightning_pb2.PendingUpdate())

    async def channel_info(self, request: Message) -> Message:
        """Both sides' policies of a channel of this node; ours is the first."""
        for channel in self._network.channels_of(self._node.name):
            if channel.channel_id == request.chan_id:
                ours, theirs = self._node.name, channel.other(self._node.name)
                return lightning_pb2.ChannelEdge(
                    channel_id=channel.channel_id,
                    chan_point=channel.funding_out_point,
                    node1_pub=self._node.public_key.hex(),
                    node2_pub=self._remote_key(channel).hex(),
                    capacity=channel.capacity_msat // 1000,
                    node1_policy=_policy(channel, ours),
                    node2_policy=_policy(channel, theirs),
                )
        raise NotFoundError("edge not found")

    async def set_policy(self, request: Message) -> Message:
        """Set both fees of one channel."""
        await self._node.set_channel_fees(
            _out_point(request.chan_point),
            base_fee_msat=request.base_fee_msat,
            parts_per_million=request.fee_rate_ppm or round(request.fee_rate * _MILLIONTHS),
        )
        return lightning_pb2.PolicyUpdateResponse()

    def _remote_key(self, channel: SimulatedChannel) -> bytes:
        return self._network.members[channel.other(self._node.name)].public_key


def _policy(channel: SimulatedChannel, node: str) -> Message:
    policy = channel.policies[node]
    return lightning_pb2.RoutingPolicy(
        time_lock_delta=policy.delay_blocks,
        fee_base_msat=policy.base_fee_msat,
        fee_rate_milli_msat=policy.proportional_millionths,
    )


def _out_point(point: Message) -> str:
    """A channel point as "txid:vout", however the client wrote its txid."""
    txid = point.funding_txid_str or bytes(point.funding_txid_bytes)[::-1].hex()
    return f"{txid}:{point.output_index}"
