"""Watching held invoices with the LND backend, against a server made of the same stubs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from lndgrpc.compiled import invoices_pb2, lightning_pb2

from backends.lightning import (
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
)
from backends.lnd import held as lnd_held
from backends.lnd.node import LndNode
from errors import InputError
from tests.backends.lnd.fake_lnd import (
    HASH,
    INVOICE,
    PREIMAGE,
    Answers,
    Context,
    FakeLnd,
    Invoice,
    Refusal,
    aborts,
    accepted,
    answers,
    anyio_backend,  # noqa: F401  # a fixture
    create,
    held,
    htlc,
    invoice,
    one_event_loop,  # noqa: F401  # a fixture
    running,
)

pytestmark = pytest.mark.anyio

OTHER_HASH = b"\x22" * 32


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


def invoice_of(payment_hash: bytes) -> Any:
    return invoice(payment_hash=payment_hash)


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
    hashes = [bytes([number]) * 32 for number in range(6)]
    known = hashes[:-1]
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing(*map(accepted, known), page=2)
        lnd.streams["SubscribeInvoices"] = staying(*map(invoice_of, hashes))
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


async def test_our_own_invoices_are_watched_while_lnd_lists_the_open_ones_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lnd_held, "LISTING_SLOW_S", 0)
    told, is_told, listed = [], anyio.Event(), anyio.Event()

    def tell(problem: str | None) -> None:
        told.append(problem)
        is_told.set()

    async def slowly(request: Any) -> Any:
        if request.pending_only:
            await listed.wait()
        return listing(accepted(OTHER_HASH))(request)

    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = slowly
        lnd.streams["SubscribeInvoices"] = staying()
        lnd.streams["SubscribeSingleInvoice"] = by_hash(
            **{f"x{HASH[0]:02x}": staying(accepted())}, x22=staying(accepted(OTHER_HASH))
        )
        async with node.held_payments([HASH], tell) as payments:
            assert await anext(payments) == held()
            await is_told.wait()
            assert [str(one)[:34] for one in told] == ["LND has been listing its open invo"]
            listed.set()
            assert await anext(payments) == held(OTHER_HASH)
            while told[-1] is not None:
                await anyio.lowlevel.checkpoint()


async def test_a_listing_that_lnd_refuses_is_told_and_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lnd_held, "LISTING_PAUSE_S", 0)
    told: list[str | None] = []

    def refused_once(request: Any) -> Any:
        if request.pending_only and not told:
            return Refusal(grpc.StatusCode.UNKNOWN, "too many invoices")
        return listing(accepted())(request)

    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = refused_once
        lnd.streams["SubscribeInvoices"] = staying()
        lnd.streams["SubscribeSingleInvoice"] = staying(accepted())
        async with node.held_payments(tell=told.append) as payments:
            assert await anext(payments) == held()
        assert "too many invoices" in str(told[0])
        assert told[1:] == [None]


async def test_an_invoice_of_our_log_that_lnd_does_not_have_ends_no_watch(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.replies["ListInvoices"] = listing()
        lnd.streams["SubscribeInvoices"] = staying()
        lnd.streams["SubscribeSingleInvoice"] = by_hash(
            **{f"x{HASH[0]:02x}": staying(accepted())},
            x22=aborts(grpc.StatusCode.NOT_FOUND, "unable to locate invoice"),
        )
        async with node.held_payments([OTHER_HASH, HASH]) as payments:
            assert await anext(payments) == held()


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
