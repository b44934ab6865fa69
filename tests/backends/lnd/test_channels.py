"""Channels and peers of the LND backend against a server made of the same stubs."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from lndgrpc.compiled import lightning_pb2

from backends.lightning import NodeRefusedError, NodeUnansweredError
from backends.operations import Channel, ChannelOrder
from errors import InputError, NotFoundError
from tests.backends.lnd.fake_lnd import (
    Refusal,
    aborts,
    answers,
    anyio_backend,  # noqa: F401  # a fixture
    one_event_loop,  # noqa: F401  # a fixture
    running,
)

pytestmark = pytest.mark.anyio

Invoice = lightning_pb2.Invoice
PEER = "03" + "cd" * 32
OTHER_PEER = "02" + "ee" * 32
TXID = "ab" * 31 + "01"
POINT = f"{TXID}:1"
UNKNOWN = Refusal(grpc.StatusCode.NOT_FOUND, "edge not found")
ORDER = ChannelOrder(
    public_key=PEER,
    host="bob:9735",
    capacity_sat=1_000_000,
    push_sat=1_000,
    sat_per_vbyte=3,
    base_fee_msat=0,
    parts_per_million=250,
)


# --- peers and opening ---


async def test_being_connected_already_is_fine(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ConnectPeer"] = Refusal(
            grpc.StatusCode.UNKNOWN, f"already connected to peer: {PEER}@127.0.0.1:9735"
        )
        await node.connect_peer(PEER, "bob:9735")
        assert lnd.requests == [
            lightning_pb2.ConnectPeerRequest(
                addr=lightning_pb2.LightningAddress(pubkey=PEER, host="bob:9735"), timeout=30
            )
        ]
        lnd.replies["ConnectPeer"] = Refusal(grpc.StatusCode.UNKNOWN, "dial tcp: refused")
        with pytest.raises(NodeRefusedError, match="dial tcp"):
            await node.connect_peer(PEER, "bob:9735")


def order(**changes: Any) -> ChannelOrder:
    values: dict[str, Any] = {name: getattr(ORDER, name) for name in ORDER.__struct_fields__}
    return ChannelOrder(**(values | changes))


async def test_opening_a_channel(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ConnectPeer"] = lightning_pb2.ConnectPeerResponse()
        lnd.replies["OpenChannelSync"] = lightning_pb2.ChannelPoint(
            funding_txid_bytes=bytes.fromhex(TXID)[::-1], output_index=1
        )
        assert await node.open_channel(ORDER) == TXID
        free = order(sat_per_vbyte=None, base_fee_msat=None, parts_per_million=None)
        assert await node.open_channel(free) == TXID
        wanted = {
            "node_pubkey": bytes.fromhex(PEER),
            "local_funding_amount": 1_000_000,
            "push_sat": 1_000,
        }
        assert lnd.requests_of(lightning_pb2.OpenChannelRequest) == [
            lightning_pb2.OpenChannelRequest(
                sat_per_vbyte=3, use_base_fee=True, use_fee_rate=True, fee_rate=250, **wanted
            ),
            lightning_pb2.OpenChannelRequest(**wanted),
        ]


@pytest.mark.parametrize("changes", [{"public_key": "no hex"}, {"push_sat": 2**63}])
async def test_impossible_channels_never_leave(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with running(tmp_path) as (lnd, node):
        with pytest.raises(InputError):
            await node.open_channel(order(**changes))
        assert lnd.requests == []


def pending(point: str, peer: str = PEER, *, is_ours: bool = True) -> Any:
    kinds = lightning_pb2.PendingChannelsResponse
    initiator = lightning_pb2.INITIATOR_LOCAL if is_ours else lightning_pb2.INITIATOR_REMOTE
    return kinds.PendingOpenChannel(
        channel=kinds.PendingChannel(
            remote_node_pub=peer, channel_point=point, capacity=1_000_000, initiator=initiator
        )
    )


def channel(point: str = POINT, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "active": True,
        "remote_pubkey": PEER,
        "channel_point": point,
        "chan_id": 17,
        "capacity": 1_000_000,
        "local_balance": 600_000,
        "remote_balance": 390_000,
        "initiator": True,
    }
    return lightning_pb2.Channel(**(values | changes))


def open_channels(*found: Any) -> Any:
    return lightning_pb2.ListChannelsResponse(channels=found)


async def test_a_channel_begun_is_found_pending_or_open(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["PendingChannels"] = lightning_pb2.PendingChannelsResponse(
            pending_open_channels=[
                pending("other:0", OTHER_PEER),
                pending("theirs:0", is_ours=False),
                pending(POINT),
            ]
        )
        lnd.replies["ListChannels"] = open_channels(channel("open:0"))
        assert await node.opened_channel(order(public_key=PEER.upper())) == TXID
        assert await node.opened_channel(order(capacity_sat=1)) is None
        lnd.replies["PendingChannels"] = lightning_pb2.PendingChannelsResponse()
        lnd.replies["ListChannels"] = open_channels(
            channel("old:0", chan_id=5),
            channel("new:0", chan_id=6),
            channel("theirs:0", chan_id=7, initiator=False),
        )
        assert await node.opened_channel(ORDER) == "new"
        assert lnd.requests_of(lightning_pb2.ListChannelsRequest)[-1].peer == bytes.fromhex(PEER)


# --- closing ---

CLOSE_PENDING = lightning_pb2.CloseStatusUpdate(close_pending=lightning_pb2.PendingUpdate())


async def test_closing_returns_once_it_has_begun(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListChannels"] = open_channels(channel(), channel(f"{TXID}:0"))
        lnd.streams["CloseChannel"] = answers(CLOSE_PENDING)
        assert await node.close_channels(PEER, force=False, sat_per_vbyte=4) == 2
        assert await node.close_channels(PEER, force=True, sat_per_vbyte=4) == 2
        points = [
            lightning_pb2.ChannelPoint(funding_txid_str=TXID, output_index=index)
            for index in (1, 0)
        ]
        assert lnd.requests_of(lightning_pb2.CloseChannelRequest) == [
            *[
                lightning_pb2.CloseChannelRequest(channel_point=point, sat_per_vbyte=4)
                for point in points
            ],
            *[
                lightning_pb2.CloseChannelRequest(channel_point=point, force=True)
                for point in points
            ],
        ]


async def test_a_channel_that_stays_open_does_not_keep_the_others(tmp_path: Path) -> None:
    async def first_is_refused(request: Any, context: Any) -> Any:
        end = aborts(grpc.StatusCode.UNKNOWN, "peer is offline")
        stream = end if request.channel_point.output_index else answers(CLOSE_PENDING)
        async for message in stream(request, context):
            yield message

    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListChannels"] = open_channels(channel(), channel(f"{TXID}:0"))
        lnd.streams["CloseChannel"] = first_is_refused
        with pytest.raises(NodeRefusedError, match="1 of 2 channels stay open: peer is offline"):
            await node.close_channels(PEER, force=False, sat_per_vbyte=None)
        assert len(lnd.requests_of(lightning_pb2.CloseChannelRequest)) == 2


async def test_a_closing_stream_that_says_nothing_is_unanswered(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListChannels"] = open_channels(channel())
        lnd.streams["CloseChannel"] = answers()
        with pytest.raises(NodeUnansweredError):
            await node.close_channels(PEER, force=False, sat_per_vbyte=None)


# --- channels and their fees ---


def edge(**changes: Any) -> Any:
    ours = lightning_pb2.RoutingPolicy(
        fee_base_msat=1_000, fee_rate_milli_msat=50, time_lock_delta=80
    )
    theirs = lightning_pb2.RoutingPolicy(fee_base_msat=9, fee_rate_milli_msat=9)
    values: dict[str, Any] = {
        "node1_pub": OTHER_PEER,
        "node2_pub": PEER,
        "node1_policy": ours,
        "node2_policy": theirs,
    }
    return lightning_pb2.ChannelEdge(**(values | changes))


def swapped_edge() -> Any:
    return edge(
        node1_pub=PEER,
        node2_pub=OTHER_PEER,
        node1_policy=edge().node2_policy,
        node2_policy=edge().node1_policy,
    )


def node_info(*addresses: str) -> Any:
    found = [lightning_pb2.NodeAddress(addr=address) for address in addresses]
    return lightning_pb2.NodeInfo(node=lightning_pb2.LightningNode(alias="bob", addresses=found))


def peers(*, inbound: bool) -> Any:
    peer = lightning_pb2.Peer(pub_key=PEER, address="10.0.0.1:9735", inbound=inbound)
    return lightning_pb2.ListPeersResponse(peers=[peer])


async def test_channels_with_all_that_is_known(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListPeers"] = peers(inbound=False)
        lnd.replies["ListChannels"] = open_channels(channel())
        lnd.replies["GetNodeInfo"] = node_info("bob.example:9735", "[::1]:9735")
        for lnd.replies["GetChanInfo"] in (edge(), swapped_edge()):
            assert await node.channels() == (
                Channel(
                    remote_public_key=PEER,
                    capacity_sat=1_000_000,
                    outbound_sat=600_000,
                    inbound_sat=390_000,
                    is_active=True,
                    funding_out_point=POINT,
                    remote_alias="bob",
                    remote_address="bob.example:9735",
                    base_fee_msat=1_000,
                    parts_per_million=50,
                ),
            )


@pytest.mark.parametrize(
    ("info", "is_inbound", "alias", "address"),
    [
        (node_info(), False, "bob", "10.0.0.1:9735"),
        (node_info(), True, "bob", None),
        (UNKNOWN, False, None, "10.0.0.1:9735"),
        (lightning_pb2.NodeInfo(), True, None, None),
    ],
)
async def test_channels_with_little_known(
    tmp_path: Path, info: Any, is_inbound: bool, alias: str | None, address: str | None
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListPeers"] = peers(inbound=is_inbound)
        lnd.replies["ListChannels"] = open_channels(channel())
        lnd.replies["GetNodeInfo"] = info
        for lnd.replies["GetChanInfo"] in (UNKNOWN, edge(node1_policy=None)):
            (found,) = await node.channels()
            assert (found.remote_alias, found.remote_address) == (alias, address)
            assert (found.base_fee_msat, found.parts_per_million) == (None, None)


@pytest.mark.parametrize(("known", "delta_blocks"), [(edge(), 80), (UNKNOWN, 40)])
async def test_fees_are_set_and_the_delta_kept(
    tmp_path: Path, known: Any, delta_blocks: int
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListChannels"] = open_channels(channel())
        lnd.replies["GetChanInfo"] = known
        lnd.replies["UpdateChannelPolicy"] = lightning_pb2.PolicyUpdateResponse()
        await node.set_channel_fees(POINT, base_fee_msat=2, parts_per_million=3)
        assert lnd.requests_of(lightning_pb2.PolicyUpdateRequest) == [
            lightning_pb2.PolicyUpdateRequest(
                chan_point=lightning_pb2.ChannelPoint(funding_txid_str=TXID, output_index=1),
                base_fee_msat=2,
                fee_rate_ppm=3,
                time_lock_delta=delta_blocks,
            )
        ]


async def test_fees_that_cannot_be_set(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListChannels"] = open_channels(channel())
        lnd.replies["GetChanInfo"] = edge()
        with pytest.raises(NotFoundError, match="no open channel"):
            await node.set_channel_fees("no such", base_fee_msat=2, parts_per_million=3)
        for fees in ((-1, 3), (2, -1), (2**63, 3), (2, 2**32)):
            with pytest.raises(InputError):
                await node.set_channel_fees(POINT, base_fee_msat=fees[0], parts_per_million=fees[1])
        assert lnd.requests_of(lightning_pb2.PolicyUpdateRequest) == []
        lnd.replies["UpdateChannelPolicy"] = lightning_pb2.PolicyUpdateResponse(
            failed_updates=[lightning_pb2.FailedUpdate(update_error="not yet confirmed")]
        )
        with pytest.raises(NodeRefusedError, match="not yet confirmed"):
            await node.set_channel_fees(POINT, base_fee_msat=2, parts_per_million=3)
