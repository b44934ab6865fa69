"""Handlers of the Lightning node against a canned gateway, on both event loops."""

import msgspec
import pytest

from api import operator_handlers as operator
from api import operator_structs as structs
from api.node_address import host_with_port, parse_node_address
from api.testing import canned
from api.testing.gateway import CannedGateway
from errors import InputError
from gateway import views
from tests.api.recorded import written

pytestmark = pytest.mark.anyio

KEY = "02" + "ab" * 32
CHANNEL = {
    "pubkey": KEY.upper(),
    "host": "bob",
    "channel_size_sats": 20_000,
    "push_amount_sats": 500,
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, None, None)),
        (
            {"fee_rate_sats_per_vbyte": "", "base_fee_msat": " ", "parts_per_million": None},
            (None,) * 3,
        ),
        (
            {"fee_rate_sats_per_vbyte": 2, "base_fee_msat": "3", "parts_per_million": " 4 "},
            (2, 3, 4),
        ),
    ],
)
async def test_only_one_route_pushes_and_numbers_may_be_text(
    fields: dict[str, object], expected: tuple[int | None, ...]
) -> None:
    payload = msgspec.convert({**CHANNEL, **fields}, structs.OpenChannelRequest)
    gateway = CannedGateway()
    assert await operator.open_channel(gateway, payload) == canned.TXID
    assert await operator.open_channel_with_push(gateway, payload) == canned.TXID
    assert gateway.calls == [
        ("open_channel", views.OpenChannel(KEY, "bob:9735", 20_000, 0, *expected)),
        ("open_channel", views.OpenChannel(KEY, "bob:9735", 20_000, 500, *expected)),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"pubkey": "04" + "ab" * 32},
        {"channel_size_sats": "20000"},
        {"push_amount_sats": -1},
        {"base_fee_msat": "one"},
        {"base_fee_msat": -1},
        {"parts_per_million": "1.5"},
    ],
)
def test_a_channel_of_the_wrong_shape(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(change))):
        msgspec.convert({**CHANNEL, **change}, structs.OpenChannelRequest)


async def test_invoices() -> None:
    gateway = CannedGateway()
    plain = structs.CreateInvoiceForOperatorPayload(amount_msats=5)
    assert await operator.create_invoice(gateway, plain) == canned.INVOICE
    told = structs.CreateInvoiceForOperatorPayload(amount_msats=5, expiry_secs=0, description="tea")
    await operator.create_invoice(gateway, told)
    pay = structs.PayInvoiceForOperatorPayload(invoice="lnbc1")
    assert await operator.pay_invoice(gateway, pay) == canned.PREIMAGE.hex()
    assert gateway.calls == [
        ("create_operator_invoice", views.OperatorInvoiceRequest(5, 3600, "")),
        ("create_operator_invoice", views.OperatorInvoiceRequest(5, 0, "tea")),
        ("pay_operator_invoice", "lnbc1"),
    ]


async def test_an_invoice_that_is_there_and_one_that_is_not() -> None:
    gateway = CannedGateway()
    request = structs.GetInvoiceRequest(payment_hash="AB" * 32)
    found = await operator.get_invoice(gateway, request)
    assert written(found) == {
        "preimage": canned.PREIMAGE.hex(),
        "payment_hash": "ab" * 32,
        "amount": 1_000_000,
        "created_at": {"secs_since_epoch": 1_795_372_380, "nanos_since_epoch": 0},
        "status": "Succeeded",
    }
    assert canned.PREIMAGE.hex() not in repr(found)
    gateway.answers["node_invoice"] = None
    assert await operator.get_invoice(gateway, request) is None
    assert gateway.calls == [("node_invoice", "ab" * 32)] * 2


async def test_transactions() -> None:
    gateway = CannedGateway()
    payload = structs.ListTransactionsPayload(start_secs=1, end_secs=2)
    answer = await operator.list_transactions(gateway, payload)
    inbound, outbound = written(answer)["transactions"]
    assert inbound == {
        "payment_hash": "ab" * 32,
        "preimage": canned.PREIMAGE.hex(),
        "payment_kind": "Bolt11",
        "amount": 1_000_000,
        "direction": "Inbound",
        "status": "Succeeded",
        "timestamp_secs": 1_795_372_381,
    }
    assert (outbound["payment_hash"], outbound["preimage"]) == (None, None)
    assert canned.PREIMAGE.hex() not in repr(answer)
    assert gateway.calls == [("node_transactions", 1, 2)]


async def test_coins() -> None:
    gateway = CannedGateway()
    assert await operator.get_ln_onchain_address(gateway) == canned.ADDRESS
    payload = structs.SendOnchainRequest(address="bc1qa", amount="all", fee_rate_sats_per_vbyte=3)
    assert await operator.send_onchain(gateway, payload) == canned.TXID
    assert gateway.calls == [
        ("onchain_address",),
        ("send_onchain", views.SendCoins("bc1qa", None, 3)),
    ]


async def test_channels() -> None:
    gateway = CannedGateway()
    known, unknown = written(await operator.list_channels(gateway))
    assert list(known) == [
        "remote_pubkey",
        "channel_size_sats",
        "outbound_liquidity_sats",
        "inbound_liquidity_sats",
        "is_active",
        "funding_outpoint",
        "remote_node_alias",
        "remote_address",
        "base_fee_msat",
        "parts_per_million",
    ]
    assert unknown["funding_outpoint"] is None
    close = structs.CloseChannelsWithPeerRequest(pubkey=KEY, sats_per_vbyte=2)
    closed = await operator.close_channels_with_peer(gateway, close)
    assert written(closed) == {"num_channels_closed": 1}
    fees = structs.SetChannelFeesRequest(f"{canned.TXID.upper()}:1", 2, 3)
    await operator.set_channel_fees(gateway, fees)
    assert gateway.calls[1:] == [
        ("close_channels", KEY, False, 2),
        ("set_channel_fees", f"{canned.TXID}:1", 2, 3),
    ]


@pytest.mark.parametrize(
    "out_point", ["ab:0", f"{'ab' * 32}", f"{'ab' * 32}:-1", f"{'ab' * 32}:01"]
)
def test_what_is_no_channel(out_point: str) -> None:
    request = {"funding_outpoint": out_point, "base_fee_msat": 1, "parts_per_million": 1}
    with pytest.raises(msgspec.ValidationError, match="funding_outpoint"):
        msgspec.convert(request, structs.SetChannelFeesRequest)


async def test_offers_are_refused() -> None:
    why = "^this node knows no BOLT12 offers; use a BOLT11 invoice$"
    with pytest.raises(InputError, match=why):
        await operator.create_offer(CannedGateway(), structs.CreateOfferPayload())
    with pytest.raises(InputError, match=why):
        await operator.pay_offer(CannedGateway(), structs.PayOfferPayload(offer="lno1"))


async def test_peers() -> None:
    gateway = CannedGateway()
    address = structs.ConnectPeerRequest(node_address=f" {KEY}@bob:1 ")
    await operator.connect_peer(gateway, address)
    assert gateway.calls == [("connect_peer", KEY, "bob:1")]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("bob", "bob:9735"),
        ("bob.example:9736", "bob.example:9736"),
        ("127.0.0.1", "127.0.0.1:9735"),
        ("[::1]", "[::1]:9735"),
        ("[2001:db8::1]:00080", "[2001:db8::1]:80"),
        (" abcdef.onion:65535", "abcdef.onion:65535"),
    ],
)
def test_hosts(host: str, expected: str) -> None:
    assert host_with_port(host) == expected
    for key in (KEY.upper(), f" {KEY[:30]}\n  {KEY[30:]} "):
        assert parse_node_address(f"{key}@{host}") == (KEY, expected)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":9735",
        "bob:",
        "bob:0",
        "bob:65536",
        "bob:1:2",
        "::1",
        "[::1",
        "[]",
        "[bob]:1",
        "[::1]x",
        "a b",
    ],
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(InputError, match=r"^The (host|port) of a node's address is "):
        host_with_port(host)


@pytest.mark.parametrize("address", ["", "bob", KEY, f"{KEY[1:]}@bob", "ab@bob", f"{KEY}@"])
def test_what_is_no_node_address(address: str) -> None:
    with pytest.raises(InputError, match="node's address"):
        parse_node_address(address)
