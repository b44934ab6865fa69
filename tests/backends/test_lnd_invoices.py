"""Invoices of the LND backend against a server made of the same stubs: made, watched, completed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from lndgrpc.compiled import invoices_pb2, lightning_pb2

from backends.lightning import (
    HELD_FINAL_DELTA_BLOCKS,
    CompletionRejectedError,
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
)
from backends.lnd import LndNode
from backends.operations import InvoiceRecord, Node
from errors import InputError
from tests.backends.fake_lnd import (
    HASH,
    INVOICE,
    PREIMAGE,
    Answers,
    Context,
    FakeLnd,
    Refusal,
    aborts,
    answers,
    anyio_backend,  # noqa: F401  # a fixture
    one_event_loop,  # noqa: F401  # a fixture
    running,
)

pytestmark = pytest.mark.anyio

Invoice = lightning_pb2.Invoice
OTHER_HASH = b"\x22" * 32
UNKNOWN = Refusal(grpc.StatusCode.NOT_FOUND, "unable to locate invoice")


def htlc(
    expiry_height: int, *, total_msat: int = 100_000, state: int = lightning_pb2.ACCEPTED
) -> Any:
    return lightning_pb2.InvoiceHTLC(
        amt_msat=100_000, expiry_height=expiry_height, mpp_total_amt_msat=total_msat, state=state
    )


def invoice(state: int = Invoice.OPEN, payment_hash: bytes = HASH, **fields: Any) -> Any:
    terms = {"value_msat": 100_000, "cltv_expiry": HELD_FINAL_DELTA_BLOCKS}
    return Invoice(r_hash=payment_hash, state=state, **(terms | fields))


def accepted(payment_hash: bytes = HASH, *htlcs: Any) -> Any:
    found = htlcs or (htlc(800_144),)
    return invoice(Invoice.ACCEPTED, payment_hash, amt_paid_msat=100_000, htlcs=found)


def held(payment_hash: bytes = HASH) -> HeldPayment:
    return HeldPayment(payment_hash, 100_000, 800_144 - 36)


async def create(node: LndNode, **changes: Any) -> str:
    order: dict[str, Any] = {
        "payment_hash": HASH,
        "amount_msat": 100_000,
        "expiry_s": 600,
        "description": "coffee",
    }
    return await node.create_invoice(**(order | changes))


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


def has_already(lnd: FakeLnd, found: Any) -> None:
    lnd.replies["AddHoldInvoice"] = Refusal(
        grpc.StatusCode.UNKNOWN, "invoice with payment hash already exists"
    )
    lnd.replies["LookupInvoiceV2"] = found


async def test_the_same_invoice_again_is_the_one_there_is(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        has_already(lnd, invoice(payment_request=INVOICE))
        assert await create(node) == INVOICE


@pytest.mark.parametrize(
    "found",
    [
        invoice(value_msat=99_999),
        invoice(cltv_expiry=80),
        invoice(r_preimage=PREIMAGE),
        UNKNOWN,
    ],
)
async def test_another_invoice_of_the_hash_is_a_refusal(tmp_path: Path, found: Any) -> None:
    async with running(tmp_path) as (lnd, node):
        has_already(lnd, found)
        with pytest.raises(NodeRefusedError) as refusal:
            await create(node)
        assert refusal.value.code == "ALREADY_EXISTS"


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


# --- watched ---


def listing(*invoices: Any, newest: int = 7, page: int = 100) -> Any:
    """ListInvoices: the newest index, and the open invoices in pages, their indices from 1 on."""

    def reply(request: Any) -> Any:
        if request.reversed:
            assert (request.num_max_invoices, request.pending_only) == (1, False)
            return lightning_pb2.ListInvoiceResponse(last_index_offset=newest)
        assert request.pending_only
        shown = invoices[request.index_offset : request.index_offset + page]
        return lightning_pb2.ListInvoiceResponse(
            invoices=shown, last_index_offset=request.index_offset + len(shown) if shown else 0
        )

    return reply


def staying(*messages: Any) -> Answers:
    """A stream that LND keeps open."""

    async def stream(_request: Any, _context: Context) -> AsyncIterator[Any]:
        for message in messages:
            yield message
        await anyio.sleep_forever()

    return stream


def by_hash(**streams: Answers) -> Answers:
    """Streams of single invoices, chosen by the first byte of the hash in hex."""

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
        async for message in streams[f"x{request.r_hash[0]:02x}"](request, context):
            yield message

    return stream


def watched(lnd: FakeLnd) -> list[bytes]:
    requests = lnd.requests_of(invoices_pb2.SubscribeSingleInvoiceRequest)
    return [request.r_hash for request in requests]


async def test_held_payments_are_those_there_and_those_that_come(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(accepted())
        lnd.streams["SubscribeInvoices"] = staying(invoice(payment_hash=OTHER_HASH))
        lnd.streams["SubscribeSingleInvoice"] = by_hash(
            **{f"x{HASH[0]:02x}": staying(accepted())},
            x22=staying(invoice(payment_hash=OTHER_HASH), accepted(OTHER_HASH)),
        )
        async with node.held_payments() as payments:
            seen = {(await anext(payments)).payment_hash for _ in range(2)}
        assert seen == {HASH, OTHER_HASH}
        assert lnd.requests_of(lightning_pb2.InvoiceSubscription) == [
            lightning_pb2.InvoiceSubscription(add_index=7)
        ]


async def test_all_pages_of_open_invoices_are_watched_once_each(tmp_path: Path) -> None:
    hashes = [bytes([number]) * 32 for number in range(5)]
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(*map(accepted, hashes), page=2)
        lnd.streams["SubscribeInvoices"] = staying(*map(accepted, hashes))
        lnd.streams["SubscribeSingleInvoice"] = by_hash(
            **{f"x{one[0]:02x}": staying(accepted(one)) for one in hashes}
        )
        async with node.held_payments() as payments:
            seen = [await anext(payments) for _ in hashes]
        assert sorted(payment.payment_hash for payment in seen) == hashes
        assert sorted(watched(lnd)) == hashes


async def test_an_invoice_made_while_watching_is_watched_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(newest=0)
        lnd.streams["SubscribeInvoices"] = staying()
        lnd.streams["SubscribeSingleInvoice"] = staying(accepted())
        lnd.replies["AddHoldInvoice"] = invoices_pb2.AddHoldInvoiceResp(payment_request=INVOICE)
        async with node.held_payments() as payments:
            await create(node)
            assert await anext(payments) == held()
        await create(node)
        assert watched(lnd) == [HASH]


@pytest.mark.parametrize(
    "foreign",
    [
        invoice(payment_hash=OTHER_HASH, r_preimage=PREIMAGE),
        invoice(payment_hash=OTHER_HASH, is_amp=True),
        invoice(payment_hash=b""),
        invoice(Invoice.SETTLED, payment_hash=OTHER_HASH),
        invoice(Invoice.CANCELED, payment_hash=OTHER_HASH),
    ],
)
async def test_what_is_not_held_is_left_alone(tmp_path: Path, foreign: Any) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(foreign, accepted())
        lnd.streams["SubscribeInvoices"] = staying(foreign)
        lnd.streams["SubscribeSingleInvoice"] = staying(accepted())
        async with node.held_payments() as payments:
            assert await anext(payments) == held()
        assert watched(lnd) == [HASH]


@pytest.mark.parametrize(
    ("htlcs", "deadline_height"),
    [
        ([htlc(900), htlc(800)], 764),
        ([htlc(700, state=lightning_pb2.CANCELED), htlc(800)], 764),
        ([htlc(800, state=lightning_pb2.CANCELED)], 0),
        ([htlc(900), htlc(800, total_msat=0)], 0),
        ([htlc(36)], 0),
        ([htlc(10)], 0),
    ],
)
async def test_deadline_of_what_is_held(
    tmp_path: Path, htlcs: list[Any], deadline_height: int
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(invoice())
        lnd.streams["SubscribeInvoices"] = staying()
        lnd.streams["SubscribeSingleInvoice"] = staying(accepted(HASH, *htlcs))
        async with node.held_payments() as payments:
            assert await anext(payments) == HeldPayment(HASH, 100_000, deadline_height)


async def test_the_end_of_an_invoice_ends_only_its_own_stream(tmp_path: Path) -> None:
    for final in (Invoice.SETTLED, Invoice.CANCELED):
        async with running(tmp_path) as (lnd, node):
            lnd.replies["ListInvoices"] = listing(invoice(), invoice(payment_hash=OTHER_HASH))
            lnd.streams["SubscribeInvoices"] = staying()
            lnd.streams["SubscribeSingleInvoice"] = by_hash(
                **{f"x{HASH[0]:02x}": answers(invoice(), invoice(final))},
                x22=staying(accepted(OTHER_HASH)),
            )
            async with node.held_payments() as payments:
                assert await anext(payments) == held(OTHER_HASH)


async def end_of_watch(node: LndNode) -> None:
    async with node.held_payments() as payments:
        async for _ in payments:
            pass


@pytest.mark.parametrize("end", [answers(), aborts(grpc.StatusCode.UNAVAILABLE, "gone")])
async def test_the_end_of_any_stream_ends_the_watch_unanswered(
    tmp_path: Path, end: Answers
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(invoice())
        lnd.streams["SubscribeInvoices"] = end
        lnd.streams["SubscribeSingleInvoice"] = staying()
        with pytest.raises(NodeUnansweredError):
            await end_of_watch(node)
        lnd.streams["SubscribeInvoices"] = staying()
        lnd.streams["SubscribeSingleInvoice"] = end
        with pytest.raises(NodeUnansweredError):
            await end_of_watch(node)


async def test_a_watch_that_lnd_refuses_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = Refusal(grpc.StatusCode.UNKNOWN, "permission denied")
        with pytest.raises(NodeRefusedError, match="permission denied"):
            await end_of_watch(node)


async def test_what_is_raised_while_watching_comes_out_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing()
        lnd.streams["SubscribeInvoices"] = staying()
        with pytest.raises(InputError):
            async with node.held_payments():
                raise InputError("of the consumer")
        with anyio.CancelScope() as scope:
            async with node.held_payments() as payments:
                scope.cancel()
                await anext(payments)
        assert scope.cancelled_caught
