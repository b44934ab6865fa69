"""Watching LND's held invoices: which there are, and when the HTLCs of one are all locked."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from lndgrpc.compiled import invoices_pb2, lightning_pb2

from backends.lightning import (
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
    Tell,
    within_bounds_msat,
)
from backends.lnd.connection import PAGE_ITEMS, LndConnection
from errors import GatewayError

_CLAIM_MARGIN_BLOCKS = 36
"""LND fails an HTLC of a held invoice back 12 blocks before its expiry, or what its operator set
(`holdexpirydelta`); it must have been settled long before (fedimint-lightning/src/lnd.rs)."""

LISTING_SLOW_S = 15.0
"""After this long the listing of open invoices is spoken of: LND reads through all there ever were."""

LISTING_PAUSE_S = 60.0
"""Before LND is asked again for a listing that it did not give."""

_Invoice = lightning_pb2.Invoice


class HeldWatch:
    """One look at everything held, through one stream per open invoice.

    LND tells of locked HTLCs only on the stream of the one invoice, and of new invoices only on
    another. Each stream that ends before its time ends the whole watch, for what it did not tell is
    found again only by asking anew. The listing of what is open ends nothing: with a large database it
    takes minutes, and those who ask for the watch know their own invoices without it.
    """

    def __init__(self, connection: LndConnection, tasks: TaskGroup, tell: Tell) -> None:
        """Watch as long as the tasks live."""
        self._connection = connection
        self._tasks = tasks
        self._tell = tell
        self._followed: set[bytes] = set()
        self._reports, self._seen = anyio.create_memory_object_stream[HeldPayment | GatewayError]()

    def start(self, own: Iterable[bytes]) -> None:
        """Watch these invoices, and ask for those there are and those to come."""
        for payment_hash in own:
            self.follow(payment_hash)
        self._tasks.start_soon(self._report_end_of, self._find_invoices)

    def follow(self, payment_hash: bytes) -> None:
        """Watch one invoice, once."""
        if payment_hash not in self._followed:
            self._followed.add(payment_hash)
            self._tasks.start_soon(self._report_end_of, partial(self._follow, payment_hash))

    async def payments(self) -> AsyncGenerator[HeldPayment, None]:
        """What is held, until a stream ends; its error is raised here."""
        async for report in self._seen:
            if isinstance(report, GatewayError):
                raise report
            yield report

    def close(self) -> None:
        """Refuse further reports."""
        self._reports.close()
        self._seen.close()

    async def _report_end_of(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except GatewayError as error:
            await self._reports.send(error)

    async def _find_invoices(self) -> None:
        # Read before the open ones are, so that an invoice made in between is among the open or the
        # new ones. Index 0, of a node without invoices, stands for "from now on".
        newest = await self._connection.call(
            lambda stubs: stubs.lightning.ListInvoices,
            lightning_pb2.ListInvoiceRequest(reversed=True, num_max_invoices=1),
            timeout_s=None,
        )
        self._tasks.start_soon(self._find_open)
        added = self._connection.stream(
            lambda stubs: stubs.lightning.SubscribeInvoices,
            lightning_pb2.InvoiceSubscription(add_index=newest.last_index_offset),
        )
        async with aclosing(added):
            async for invoice in added:
                self._follow_held([invoice])
        raise NodeUnansweredError("LND closed the stream of new invoices")

    async def _find_open(self) -> None:
        """List what is open until LND has done so once, and tell of it meanwhile."""
        while True:
            async with anyio.create_task_group() as telling:
                telling.start_soon(self._tell_of_slowness)
                problem = await self._failure_to_list()
                telling.cancel_scope.cancel()
            self._tell(problem)
            if problem is None:
                return
            await anyio.sleep(LISTING_PAUSE_S)

    async def _tell_of_slowness(self) -> None:
        await anyio.sleep(LISTING_SLOW_S)
        self._tell(
            f"LND has been listing its open invoices for more than {LISTING_SLOW_S:.0f} seconds: payments of this "
            "gateway's own invoices are answered meanwhile; LND's setting gc-canceled-invoices-on-startup makes it "
            "faster"
        )

    async def _failure_to_list(self) -> str | None:
        """Follow every open invoice; why LND did not list them, None when it did."""
        pages = self._connection.pages(
            lambda stubs: stubs.lightning.ListInvoices,
            lightning_pb2.ListInvoiceRequest(pending_only=True, num_max_invoices=PAGE_ITEMS),
            timeout_s=None,
        )
        try:
            async with aclosing(pages):
                async for page in pages:
                    self._follow_held(page.invoices)
        except GatewayError as error:
            return (
                f"LND does not list its open invoices ({error}): payments of this gateway's own are answered, and "
                "it is asked again"
            )
        return None

    def _follow_held(self, invoices: list[Any]) -> None:
        for invoice in invoices:
            if _is_held(invoice) and not _is_over(invoice):
                self.follow(invoice.r_hash)

    async def _follow(self, payment_hash: bytes) -> None:
        updates = self._connection.stream(
            lambda stubs: stubs.invoices.SubscribeSingleInvoice,
            invoices_pb2.SubscribeSingleInvoiceRequest(r_hash=payment_hash),
        )
        try:
            async with aclosing(updates):
                async for invoice in updates:
                    if _is_over(invoice):
                        self._followed.discard(payment_hash)
                        return
                    if invoice.state == _Invoice.ACCEPTED:
                        await self._reports.send(_payment(payment_hash, invoice))
        except NodeRefusedError as refusal:
            if refusal.code != "NOT_FOUND":
                raise
            # Ours by our log, and nothing that LND has: nobody can pay it, and the others are to be watched.
            self._followed.discard(payment_hash)
            return
        raise NodeUnansweredError("LND closed the stream of an invoice before its end")


@asynccontextmanager
async def watching(
    connection: LndConnection, own: Iterable[bytes], tell: Tell
) -> AsyncIterator[HeldWatch]:
    """Watch while the block lasts; what is raised inside comes out as it is, not in a group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        watch = HeldWatch(connection, tasks, tell)
        watch.start(own)
        try:
            yield watch
        except Exception as error:  # noqa: BLE001  # raised again, outside of the group
            failure = error
        finally:
            tasks.cancel_scope.cancel()
            watch.close()
    if failure is not None:
        raise failure


def _is_held(invoice: Any) -> bool:
    """Whether somebody else has the preimage. Not so of key-send, AMP, and invoices LND settles itself."""
    return len(invoice.r_hash) == 32 and not invoice.r_preimage and not invoice.is_amp


def _is_over(invoice: Any) -> bool:
    return invoice.state in (_Invoice.SETTLED, _Invoice.CANCELED)


def _payment(payment_hash: bytes, invoice: Any) -> HeldPayment:
    """Read an accepted invoice; HTLCs of earlier attempts, given back by now, may be listed too."""
    locked = [htlc for htlc in invoice.htlcs if htlc.state == lightning_pb2.ACCEPTED]
    # Key-send HTLCs name no total: their sender chose the expiry freely.
    is_timed = bool(locked) and all(htlc.mpp_total_amt_msat for htlc in locked)
    earliest = min((htlc.expiry_height for htlc in locked), default=0)
    return HeldPayment(
        payment_hash=payment_hash,
        amount_msat=within_bounds_msat(invoice.amt_paid_msat),
        deadline_height=max(earliest - _CLAIM_MARGIN_BLOCKS, 0) if is_timed else 0,
    )
