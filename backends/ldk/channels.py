"""Channels and peers of LDK for its operator."""

from contextlib import aclosing
from functools import partial

import anyio
from fedimint_gateway_native.ldk import Channel as LdkChannel

from backends.ldk.core import ChannelEnd, LdkPart
from backends.lightning import NodeRefusedError, NodeUnansweredError
from backends.operations import Channel, ChannelOrder, close_each
from errors import InputError, NotFoundError

_PEER_PATIENCE_S = 60.0
_CLOSING_PATIENCE_S = 10.0
_MOST_FEE = 2**32 - 1
_MSAT = 1_000


class LdkChannels(LdkPart):
    """The part of `LdkNode` with its channels and peers."""

    async def connect_peer(self, public_key: str, host: str) -> None:
        """Connect; LDK connects again by itself from then on."""
        await self._core.ask(lambda native: native.connect(public_key, host))

    async def open_channel(self, order: ChannelOrder) -> str:
        """Connect, then open for all to see; LDK chooses the fee rate of the funding transaction by itself."""
        for fee in (order.base_fee_msat, order.parts_per_million):
            _check_fee(fee or 0)
        user_channel_id = await self._core.ask(
            lambda native: native.open_channel(
                public_key=order.public_key,
                address=order.host,
                capacity_sat=order.capacity_sat,
                push_msat=order.push_sat * _MSAT,
                base_fee_msat=order.base_fee_msat,
                parts_per_million=order.parts_per_million,
            )
        )
        end = await self._end(user_channel_id, _PEER_PATIENCE_S)
        if end is None:
            raise NodeUnansweredError("the peer has not agreed to the channel yet")
        if end.funding_txid is None:
            raise NodeRefusedError("CLOSED", f"the channel was not opened: {end.reason}")
        return end.funding_txid

    async def opened_channel(self, order: ChannelOrder) -> str | None:
        """Look among the channels that we began, pending ones first."""
        found = [
            channel
            for channel in await self._list()
            if channel.is_ours
            and channel.public_key == order.public_key
            and channel.capacity_sat == order.capacity_sat
            and channel.funding_out_point is not None
        ]
        found.sort(key=lambda channel: channel.is_ready)
        points = [channel.funding_out_point or "" for channel in found]
        return points[0].partition(":")[0] if points else None

    async def close_channels(
        self,
        public_key: str,
        *,
        force: bool,
        sat_per_vbyte: int | None,  # noqa: ARG002 - LDK agrees on a rate with its peer
    ) -> int:
        """Close one after the other; a refusal is raised after the last one. LDK chooses the fee rate."""
        channels = [one for one in await self._list() if one.public_key == public_key]
        return await close_each(channels, partial(self._close, force=force))

    async def channels(self) -> tuple[Channel, ...]:
        """All channels, with what is known of the peers."""
        return tuple(map(_describe, await self._list()))

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        """Set both fees, also of a channel that is not confirmed yet."""
        _check_fee(base_fee_msat)
        _check_fee(parts_per_million)
        channel = next(
            (one for one in await self._list() if one.funding_out_point == funding_out_point), None
        )
        if channel is None:
            raise NotFoundError(f"the node has no open channel {funding_out_point}")
        await self._core.ask(
            lambda native: native.set_channel_fees(
                channel.user_channel_id, base_fee_msat, parts_per_million
            )
        )

    async def _list(self) -> list[LdkChannel]:
        return await self._core.ask(lambda native: native.channels())

    async def _close(self, channel: LdkChannel, *, force: bool) -> None:
        """Begin to close, and give the peer a moment to agree."""
        await self._core.ask(
            lambda native: native.close_channel(channel.user_channel_id, channel.public_key, force)
        )
        with anyio.move_on_after(_CLOSING_PATIENCE_S):
            async with aclosing(self._core.changes()) as changes:
                async for _ in changes:
                    end = self._core.channel_end(channel.user_channel_id)
                    if end is not None and end.reason is not None:
                        return

    async def _end(self, user_channel_id: bytes, patience_s: float) -> ChannelEnd | None:
        with anyio.move_on_after(patience_s):
            async with aclosing(self._core.changes()) as changes:
                async for _ in changes:
                    end = self._core.channel_end(user_channel_id)
                    if end is not None:
                        return end
        return None


def _check_fee(fee: int) -> None:
    if not 0 <= fee <= _MOST_FEE:
        raise InputError(f"LDK takes fees from 0 to {_MOST_FEE}, not {fee}")


def our_msat(channel: LdkChannel) -> int:
    """Our side with its reserve. LDK tells what is above the reserve, so less than that reads as nothing."""
    above = channel.outbound_msat
    return above + channel.our_reserve_sat * _MSAT if above else 0


def _describe(channel: LdkChannel) -> Channel:
    above = channel.inbound_msat
    theirs_msat = above + channel.their_reserve_sat * _MSAT if above else 0
    return Channel(
        remote_public_key=channel.public_key,
        capacity_sat=channel.capacity_sat,
        outbound_sat=our_msat(channel) // _MSAT,
        inbound_sat=theirs_msat // _MSAT,
        is_active=channel.is_usable,
        funding_out_point=channel.funding_out_point,
        remote_alias=channel.alias or None,
        remote_address=channel.address,
        base_fee_msat=channel.base_fee_msat,
        parts_per_million=channel.parts_per_million,
    )
