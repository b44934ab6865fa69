"""Invoices of the LND backend against a server made of the same stubs: made, watched, completed."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from lndgrpc.compiled import invoices_pb2, lightning_pb2

from backends.lightning import (
    CompletionRejectedError,
    NodeRefusedError,
    NodeUnansweredError,
)
from backends.operations import InvoiceRecord, Node
from errors import InputError
from tests.backends.lnd.fake_lnd import (
    HASH,
    INVOICE,
    PREIMAGE,
    Invoice,
    Refusal,
    accepted,
    anyio_backend,  # noqa: F401  # a fixture
    create,
    invoice,
    one_event_loop,  # noqa: F401  # a fixture
    running,
)

pytestmark = pytest.mark.anyio

OTHER_HASH = b"\x22" * 32
UNKNOWN = Refusal(grpc.StatusCode.NOT_FOUND, "unable to locate invoice")


async def test_lnd_is_a_node_in_full(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, lnd):
        node: Node = lnd  # mypy compares them
        assert await node.info() == await lnd.info()


# --- made ---


async def test_held_invoice_has_the_final_delta_of_its_kind(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["AddHoldInvoice"] = invoices_pb2.AddHoldInvoiceResp(payment_request=INVOICE)
        assert await create(node) == INVOICE
        assert await create(node, description=bytes(32)) == INVOICE
        assert lnd.requests == [
            invoices_pb2.AddHoldInvoiceRequest(
                hash=HASH, value_msat=100_000, expiry=600, cltv_expiry=144, **description
            )
            for description in ({"memo": "coffee"}, {"description_hash": bytes(32)})
        ]


async def test_invoice_without_a_hash_is_an_ordinary_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["AddInvoice"] = lightning_pb2.AddInvoiceResponse(payment_request=INVOICE)
        assert await create(node, payment_hash=None) == INVOICE
        assert lnd.requests == [Invoice(memo="coffee", value_msat=100_000, expiry=600)]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_msat": 0},
        {"amount_msat": 2**63},
        {"expiry_s": 0},
        {"description": b"short"},
        {"payment_hash": None, "amount_msat": 2**63},
    ],
)
async def test_impossible_terms_never_leave(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with running(tmp_path) as (lnd, node):
        with pytest.raises(InputError):
            await create(node, **changes)
        assert lnd.requests == []


async def test_a_hash_that_has_an_invoice_is_refused_whoever_made_that(tmp_path: Path) -> None:
    """It is not even looked at: others use the node, and nothing in an invoice shows its maker."""
    async with running(tmp_path) as (lnd, node):
        lnd.replies["AddHoldInvoice"] = Refusal(
            grpc.StatusCode.UNKNOWN, "invoice with payment hash already exists"
        )
        with pytest.raises(NodeRefusedError, match="somebody else's") as refusal:
            await create(node)
        assert refusal.value.code == "ALREADY_EXISTS"
        assert len(lnd.requests) == 1


async def test_any_other_refusal_of_an_invoice_stays_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["AddHoldInvoice"] = Refusal(grpc.StatusCode.UNKNOWN, "memo too large")
        with pytest.raises(NodeRefusedError, match="memo too large"):
            await create(node)
        assert len(lnd.requests) == 1


# --- looked up ---


@pytest.mark.parametrize(
    ("state", "status", "preimage"),
    [
        (Invoice.OPEN, "Pending", None),
        (Invoice.ACCEPTED, "Pending", None),
        (99, "Pending", None),
        (Invoice.CANCELED, "Failed", None),
        (Invoice.SETTLED, "Succeeded", PREIMAGE),
    ],
)
async def test_record_of_an_invoice(
    tmp_path: Path, state: int, status: Any, preimage: bytes | None
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = invoice(state, creation_date=1_700, r_preimage=PREIMAGE)
        found = await node.invoice(HASH)
        assert found == InvoiceRecord(HASH, preimage, 100_000, 1_700, status)
        assert repr(PREIMAGE) not in repr(found)
        assert PREIMAGE.hex() not in repr(found)


@pytest.mark.parametrize(
    "answer", [UNKNOWN, Refusal(grpc.StatusCode.UNKNOWN, "there are no existing invoices")]
)
async def test_no_invoice_of_a_hash(tmp_path: Path, answer: Refusal) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = answer
        assert await node.invoice(HASH) is None


async def test_a_lookup_that_is_refused_finds_nothing_out(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = Refusal(grpc.StatusCode.UNKNOWN, "permission denied")
        for call in (node.invoice(HASH), node.settle(HASH, PREIMAGE), node.cancel(HASH)):
            with pytest.raises(NodeRefusedError, match="permission denied"):
                await call


# --- completed ---


async def test_settling_what_is_accepted(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = accepted()
        lnd.replies["SettleInvoice"] = invoices_pb2.SettleInvoiceResp()
        await node.settle(HASH, PREIMAGE)
        assert lnd.requests == [
            invoices_pb2.LookupInvoiceMsg(payment_hash=HASH),
            invoices_pb2.SettleInvoiceMsg(preimage=PREIMAGE),
        ]


@pytest.mark.parametrize("state", [Invoice.OPEN, Invoice.ACCEPTED, 99])
async def test_cancelling_what_is_not_over(tmp_path: Path, state: int) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = invoice(state)
        lnd.replies["CancelInvoice"] = invoices_pb2.CancelInvoiceResp()
        await node.cancel(HASH)
        assert lnd.requests[1:] == [invoices_pb2.CancelInvoiceMsg(payment_hash=HASH)]


async def test_what_is_done_is_done(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = invoice(Invoice.SETTLED)
        await node.settle(HASH, PREIMAGE)
        lnd.replies["LookupInvoiceV2"] = invoice(Invoice.CANCELED)
        await node.cancel(HASH)
        assert len(lnd.requests_of(invoices_pb2.LookupInvoiceMsg)) == len(lnd.requests) == 2


async def test_what_is_over_the_other_way_is_rejected_for_good(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        for found in (invoice(Invoice.CANCELED), UNKNOWN):
            lnd.replies["LookupInvoiceV2"] = found
            with pytest.raises(CompletionRejectedError):
                await node.settle(HASH, PREIMAGE)
        for found in (invoice(Invoice.SETTLED), UNKNOWN):
            lnd.replies["LookupInvoiceV2"] = found
            with pytest.raises(CompletionRejectedError):
                await node.cancel(HASH)


@pytest.mark.parametrize("state", [Invoice.OPEN, 99])
async def test_settling_before_the_payment_is_there_may_be_tried_again(
    tmp_path: Path, state: int
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = invoice(state)
        with pytest.raises(NodeUnansweredError):
            await node.settle(HASH, PREIMAGE)
        assert lnd.requests_of(invoices_pb2.SettleInvoiceMsg) == []


async def test_a_refused_settlement_may_be_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["LookupInvoiceV2"] = accepted()
        lnd.replies["SettleInvoice"] = Refusal(grpc.StatusCode.UNKNOWN, "invoice already canceled")
        with pytest.raises(NodeRefusedError) as refusal:
            await node.settle(HASH, PREIMAGE)
        assert not isinstance(refusal.value, CompletionRejectedError)


async def test_a_preimage_of_something_else_never_leaves(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        with pytest.raises(InputError):
            await node.settle(OTHER_HASH, PREIMAGE)
        assert lnd.requests == []
