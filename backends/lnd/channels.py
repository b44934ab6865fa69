"""Channels and peers of LND for its operator."""

from contextlib import aclosing
from functools import partial
from typing import Any

from lndgrpc.compiled import lightning_pb2

from backends.lightning import NodeRefusedError, NodeUnansweredError
from backends.lnd.connection import PEER_TIMEOUT_S, LndPart, new_request
from backends.operations import Channel, ChannelOrder, close_each
from errors import InputError, NotFoundError

_DEFAULT_TIME_LOCK_DELTA_BLOCKS = 40
_CONNECT_TIMEOUT_S = 30


class LndChannels(LndPart):
    """The part of `LndNode` with its channels and peers."""

    async def connect_peer(self, public_key: str, host: str) -> None:
        """Connect (`ConnectPeer`) and wait until the peer has answered."""
        request = new_request(
            lightning_pb2.ConnectPeerRequest,
            addr=new_request(lightning_pb2.LightningAddress, pubkey=public_key, host=host),
            timeout=_CONNECT_TIMEOUT_S,
        )
        try:
            await self._connection.call(
                lambda stubs: stubs.lightning.ConnectPeer, request, PEER_TIMEOUT_S
            )
        except NodeRefusedError as refusal:
            if not refusal.text.startswith("already connected to peer"):
                raise

    async def open_channel(self, order: ChannelOrder) -> str:
        """Connect, then open (`OpenChannelSync`): the answer comes with the funding transaction."""
        request = new_request(
            lightning_pb2.OpenChannelRequest,
            node_pubkey=_key(order.public_key),
            local_funding_amount=order.capacity_sat,
            push_sat=order.push_sat,
            sat_per_vbyte=order.sat_per_vbyte or 0,
            use_base_fee=order.base_fee_msat is not None,
            base_fee=order.base_fee_msat or 0,
            use_fee_rate=order.parts_per_million is not None,
            fee_rate=order.parts_per_million or 0,
        )
        await self.connect_peer(order.public_key, order.host)
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.OpenChannelSync, request, PEER_TIMEOUT_S
        )
        txid: bytes = answer.funding_txid_bytes
        return txid[::-1].hex()

    async def opened_channel(self, order: ChannelOrder) -> str | None:
        """Look among the channels that we began (`PendingChannels`, `ListChannels`), newest first."""
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.PendingChannels, lightning_pb2.PendingChannelsRequest()
        )
        pending = [
            opening.channel.channel_point
            for opening in answer.pending_open_channels
            if opening.channel.initiator == lightning_pb2.INITIATOR_LOCAL
            and opening.channel.remote_node_pub == _key(order.public_key).hex()
            and opening.channel.capacity == order.capacity_sat
        ]
        opened = [
            channel.channel_point
            for channel in sorted(
                await self._list(order.public_key),
                key=lambda channel: int(channel.chan_id),
                reverse=True,
            )
            if channel.initiator and channel.capacity == order.capacity_sat
        ]
        points = pending + opened
        return str(points[0]).partition(":")[0] if points else None

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        """Close (`CloseChannel`) one after the other; a refusal is raised after the last one."""
        channels = await self._list(public_key)
        # The commitment has a fee of its own: LND refuses a rate with `force`.
        rate = 0 if force else sat_per_vbyte
        return await close_each(
            [channel.channel_point for channel in channels],
            partial(self._close, force=force, sat_per_vbyte=rate),
        )

    async def channels(self) -> tuple[Channel, ...]:
        """Channels (`ListChannels`) with our policy (`GetChanInfo`) and what is known of the peers."""
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.ListPeers, lightning_pb2.ListPeersRequest()
        )
        # The port of a peer that called us is not one that it can be called at.
        addresses = {peer.pub_key: peer.address for peer in answer.peers if not peer.inbound}
        return tuple([await self._describe(channel, addresses) for channel in await self._list()])

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        """Set both fees (`UpdateChannelPolicy`); LND keeps what is left out, all but the delta."""
        if base_fee_msat < 0:
            raise InputError(f"a base fee cannot be negative: {base_fee_msat} msat")
        channel = next(
            (one for one in await self._list() if one.channel_point == funding_out_point), None
        )
        if channel is None:
            raise NotFoundError(f"the node has no open channel {funding_out_point}")
        policy = await self._policy(channel)
        request = new_request(
            lightning_pb2.PolicyUpdateRequest,
            chan_point=_channel_point(funding_out_point),
            base_fee_msat=base_fee_msat,
            fee_rate_ppm=parts_per_million,
            time_lock_delta=policy.time_lock_delta if policy else _DEFAULT_TIME_LOCK_DELTA_BLOCKS,
        )
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.UpdateChannelPolicy, request
        )
        for failed in answer.failed_updates:
            raise NodeRefusedError("FAILED_UPDATE", failed.update_error)

    async def _list(self, public_key: str | None = None) -> list[Any]:
        request = lightning_pb2.ListChannelsRequest()
        if public_key is not None:
            request.peer = _key(public_key)
        answer = await self._connection.call(lambda stubs: stubs.lightning.ListChannels, request)
        return list(answer.channels)

    async def _close(self, channel_point: str, *, force: bool, sat_per_vbyte: int | None) -> None:
        updates = self._connection.stream(
            lambda stubs: stubs.lightning.CloseChannel,
            new_request(
                lightning_pb2.CloseChannelRequest,
                channel_point=_channel_point(channel_point),
                force=force,
                sat_per_vbyte=sat_per_vbyte or 0,
            ),
            PEER_TIMEOUT_S,
        )
        # The first update has the closing transaction, the next comes when that is confirmed.
        async with aclosing(updates):
            async for _ in updates:
                return
        raise NodeUnansweredError("LND ended the stream before the channel was closed")

    async def _describe(self, channel: Any, addresses: dict[str, str]) -> Channel:
        policy = await self._policy(channel)
        known = await self._connection.find(
            lambda stubs: stubs.lightning.GetNodeInfo,
            lightning_pb2.NodeInfoRequest(pub_key=channel.remote_pubkey),
        )
        announced = known.node.addresses if known else ()
        return Channel(
            remote_public_key=channel.remote_pubkey,
            capacity_sat=channel.capacity,
            outbound_sat=channel.local_balance,
            inbound_sat=channel.remote_balance,
            is_active=channel.active,
            funding_out_point=channel.channel_point,
            remote_alias=(known.node.alias or None) if known else None,
            remote_address=(
                announced[0].addr if announced else addresses.get(channel.remote_pubkey)
            ),
            base_fee_msat=policy.fee_base_msat if policy else None,
            parts_per_million=policy.fee_rate_milli_msat if policy else None,
        )

    async def _policy(self, channel: Any) -> Any | None:
        """Our side's policy of a channel, None while LND's graph has none."""
        edge = await self._connection.find(
            lambda stubs: stubs.lightning.GetChanInfo,
            lightning_pb2.ChanInfoRequest(chan_id=channel.chan_id),
        )
        if edge is None:
            return None
        ours = "node2_policy" if edge.node1_pub == channel.remote_pubkey else "node1_policy"
        return getattr(edge, ours) if edge.HasField(ours) else None


def _key(public_key: str) -> bytes:
    try:
        return bytes.fromhex(public_key)
    except ValueError:
        raise InputError("the public key of a node is 66 hex digits") from None


def _channel_point(out_point: str) -> Any:
    """Read a "txid:vout" of LND's own."""
    txid, _, index = out_point.partition(":")
    return lightning_pb2.ChannelPoint(funding_txid_str=txid, output_index=int(index))
