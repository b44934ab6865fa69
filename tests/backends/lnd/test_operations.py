"""Operator functions of the LND backend against a server made of the same stubs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from lndgrpc.compiled import lightning_pb2

from backends.lnd.connection import ANSWER_TIMEOUT_S
from backends.operations import ChannelOrder, NodeTransaction, OnchainOrder
from errors import InputError, PeerError
from tests.backends.lnd.fake_lnd import (
    HASH,
    PREIMAGE,
    Payment,
    Refusal,
    anyio_backend,  # noqa: F401  # a fixture
    one_event_loop,  # noqa: F401  # a fixture
    payment,
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


# --- coins ---


def coins(**changes: Any) -> OnchainOrder:
    order: dict[str, Any] = {
        "address": "bcrt1q",
        "amount_sat": 5_000,
        "sat_per_vbyte": 2,
        "label": "order-1",
    }
    return OnchainOrder(**(order | changes))


async def test_address_is_taproot(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["NewAddress"] = lightning_pb2.NewAddressResponse(address="bcrt1p")
        assert await node.onchain_address() == "bcrt1p"
        assert lnd.requests == [lightning_pb2.NewAddressRequest(type=4)]


async def test_sending_an_amount_or_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["SendCoins"] = lightning_pb2.SendCoinsResponse(txid=TXID)
        assert await node.send_onchain(coins()) == TXID
        assert await node.send_onchain(coins(amount_sat=None)) == TXID
        assert lnd.requests == [
            lightning_pb2.SendCoinsRequest(
                addr="bcrt1q", sat_per_vbyte=2, label="order-1", spend_unconfirmed=True, **amount
            )
            for amount in ({"amount": 5_000}, {"send_all": True})
        ]


@pytest.mark.parametrize(
    "changes",
    [{"amount_sat": 0}, {"amount_sat": -1}, {"amount_sat": 2**63}, {"sat_per_vbyte": 0}],
)
async def test_impossible_orders_never_leave(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with running(tmp_path) as (lnd, node):
        with pytest.raises(InputError):
            await node.send_onchain(coins(**changes))
        assert lnd.requests == []


async def test_sent_coins_are_found_by_their_label(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["GetTransactions"] = lightning_pb2.TransactionDetails(
            transactions=[
                lightning_pb2.Transaction(tx_hash="00" * 32, label="order-10"),
                lightning_pb2.Transaction(tx_hash=TXID, label="order-1"),
            ]
        )
        assert await node.sent_onchain("order-1") == TXID
        assert await node.sent_onchain("order-2") is None


# --- books ---


def listed(items: str, kind: Any, *found: Any) -> Callable[[Any], Any]:
    """A listing with one item in a page."""

    def reply(request: Any) -> Any:
        shown = found[request.index_offset : request.index_offset + 1]
        last = request.index_offset + 1 if shown else 0
        return kind(**{items: shown}, last_index_offset=last)

    return reply


def payments(*found: Any) -> Callable[[Any], Any]:
    return listed("payments", lightning_pb2.ListPaymentsResponse, *found)


def invoices(*found: Any) -> Callable[[Any], Any]:
    return listed("invoices", lightning_pb2.ListInvoiceResponse, *found)


def settled(settle_date: int) -> Any:
    return Invoice(
        r_hash=HASH,
        r_preimage=PREIMAGE,
        state=Invoice.SETTLED,
        value_msat=1_000,
        amt_paid_msat=1_001,
        settle_date=settle_date,
    )


async def test_transactions_are_ordered_by_time_whichever_way_they_went(tmp_path: Path) -> None:
    paid = {"payment_preimage": PREIMAGE.hex(), "value_msat": 2_000}
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListPayments"] = payments(
            payment(Payment.SUCCEEDED, creation_date=20, **paid),
            payment(Payment.FAILED, creation_date=22, value_msat=3_000),
            payment(4, creation_date=24, **paid),
        )
        lnd.replies["ListInvoices"] = invoices(
            settled(19),
            settled(21),
            Invoice(r_hash=HASH, state=Invoice.OPEN),
            settled(30),
            Invoice(r_hash=HASH, state=Invoice.CANCELED),
            settled(31),
        )
        assert await node.transactions(20, 30) == (
            NodeTransaction(HASH, PREIMAGE, "Bolt11", 2_000, "Outbound", "Succeeded", 20),
            NodeTransaction(HASH, PREIMAGE, "Bolt11", 1_001, "Inbound", "Succeeded", 21),
            NodeTransaction(HASH, None, "Bolt11", 3_000, "Outbound", "Failed", 22),
            NodeTransaction(HASH, None, "Bolt11", 2_000, "Outbound", "Pending", 24),
            NodeTransaction(HASH, PREIMAGE, "Bolt11", 1_001, "Inbound", "Succeeded", 30),
        )
        first = lnd.requests_of(lightning_pb2.ListPaymentsRequest)[0]
        assert (first.creation_date_start, first.creation_date_end) == (20, 31)
        assert first.include_incomplete


async def test_transactions_of_all_time(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListPayments"] = payments()
        lnd.replies["ListInvoices"] = invoices(
            Invoice(r_hash=HASH, state=Invoice.CANCELED, value_msat=7)
        )
        assert await node.transactions(0, 2**64 - 1) == (
            NodeTransaction(HASH, None, "Bolt11", 7, "Inbound", "Failed", 0),
        )
        assert {
            request.creation_date_end
            for request in lnd.requests_of(lightning_pb2.ListInvoiceRequest)
        } == {2**63 - 1}
        with pytest.raises(InputError):
            await node.transactions(-1, 0)


async def test_no_page_of_a_listing_is_waited_for_without_an_end(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListPayments"] = payments(payment(Payment.FAILED, value_msat=3_000))
        lnd.replies["ListInvoices"] = invoices(settled(20))
        await node.transactions(0, 30)
        assert len(lnd.left_s) == 4
        longest_s = max(float("inf") if left_s is None else left_s for left_s in lnd.left_s)
        assert longest_s < ANSWER_TIMEOUT_S + 1


async def test_a_listed_payment_that_cannot_be_read(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListPayments"] = payments(Payment(payment_hash="no hex"))
        with pytest.raises(PeerError):
            await node.transactions(0, 1)
