"""Being paid over a simulated LND: ordinary and held invoices of a simulated node, listed, watched and ended."""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from itertools import islice

from lndgrpc.compiled import invoices_pb2, lightning_pb2

from backends.lightning import HELD_FINAL_DELTA_BLOCKS, NodeRefusedError
from backends.simulated.node import SimulatedNode
from backends.simulated.payee import InvoiceState, NodeInvoice
from devnet.lnd_server.rpc import Calls, Message, many_answers, one_answer
from errors import InputError
from fedimint.codec import bolt11

_DEFAULT_EXPIRY_S = 86_400
_DEFAULT_PAGE_ITEMS = 100

_Numbered = tuple[int, NodeInvoice]
"""An invoice with the index it was added at, from 1 on."""


class InvoiceCalls:
    """The calls about invoices in `lnrpc.Lightning` and `invoicesrpc.Invoices` (lnd's invoices/)."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._indices: dict[bytes, int] = {}

    def lightning_calls(self) -> Calls:
        """By name, as `lnrpc.Lightning` has them."""
        return {
            "AddInvoice": one_answer(self.add, lightning_pb2.Invoice),
            "ListInvoices": one_answer(self.page, lightning_pb2.ListInvoiceRequest),
            "SubscribeInvoices": many_answers(self.subscribe, lightning_pb2.InvoiceSubscription),
        }

    def invoices_calls(self) -> Calls:
        """By name, as `invoicesrpc.Invoices` has them."""
        return {
            "AddHoldInvoice": one_answer(self.add_held, invoices_pb2.AddHoldInvoiceRequest),
            "LookupInvoiceV2": one_answer(self.lookup, invoices_pb2.LookupInvoiceMsg),
            "SubscribeSingleInvoice": many_answers(
                self.subscribe_single, invoices_pb2.SubscribeSingleInvoiceRequest
            ),
            "SettleInvoice": one_answer(self.settle, invoices_pb2.SettleInvoiceMsg),
            "CancelInvoice": one_answer(self.cancel, invoices_pb2.CancelInvoiceMsg),
        }

    async def add(self, request: Message) -> Message:
        """Make an invoice that the node settles by itself."""
        text = await self._node.create_invoice(
            payment_hash=None,
            amount_msat=request.value_msat or request.value * 1000,
            expiry_s=request.expiry or _DEFAULT_EXPIRY_S,
            description=request.description_hash or request.memo,
        )
        return lightning_pb2.AddInvoiceResponse(
            r_hash=bolt11.decode(text).payment_hash,
            payment_request=text,
            add_index=len(self._node.invoices),
        )

    async def add_held(self, request: Message) -> Message:
        """Make a held invoice; a hash that has one already is refused, whatever its terms."""
        if request.hash in self._node.invoices:
            raise NodeRefusedError("UNKNOWN", "invoice with payment hash already exists")
        if request.cltv_expiry != HELD_FINAL_DELTA_BLOCKS:
            raise InputError(f"only final deltas of {HELD_FINAL_DELTA_BLOCKS} are simulated")
        text = await self._node.create_invoice(
            payment_hash=request.hash,
            amount_msat=request.value_msat or request.value * 1000,
            expiry_s=request.expiry or _DEFAULT_EXPIRY_S,
            description=request.description_hash or request.memo,
        )
        return invoices_pb2.AddHoldInvoiceResp(
            payment_request=text, add_index=len(self._node.invoices)
        )

    async def page(self, request: Message) -> Message:
        """A page forwards from an index, or backwards from an index or the end; always oldest first."""
        found = list(islice(self._chosen(request), request.num_max_invoices or _DEFAULT_PAGE_ITEMS))
        found.sort(key=lambda numbered: numbered[0])
        return lightning_pb2.ListInvoiceResponse(
            invoices=[_message(*numbered) for numbered in found],
            first_index_offset=found[0][0] if found else request.index_offset,
            last_index_offset=found[-1][0] if found else request.index_offset,
        )

    async def lookup(self, request: Message) -> Message:
        """One invoice. NOT_FOUND when there is none."""
        return _message(*self._find(request.payment_hash))

    async def settle(self, request: Message) -> Message:
        """Claim what is held."""
        payment_hash = hashlib.sha256(request.preimage).digest()
        self._find(payment_hash)
        await self._node.settle(payment_hash, request.preimage)
        return invoices_pb2.SettleInvoiceResp()

    async def cancel(self, request: Message) -> Message:
        """Fail back what is held, and close the invoice."""
        self._find(request.payment_hash)
        await self._node.cancel(request.payment_hash)
        return invoices_pb2.CancelInvoiceResp()

    async def subscribe(self, request: Message) -> AsyncGenerator[Message, None]:
        """Invoices added behind an index, 0 being the last there is; accepted ones are not told of."""
        told = request.add_index or len(self._node.invoices)
        while True:
            for invoice in islice(self._invoices(), told, None):
                told += 1
                yield _message(told, invoice)
            if told == len(self._node.invoices):
                await self._node.changed()

    async def subscribe_single(self, request: Message) -> AsyncGenerator[Message, None]:
        """One invoice as it is, and again at each change of its state."""
        index, invoice = self._find(request.r_hash)
        told: InvoiceState | None = None
        while True:
            if invoice.state is not told:
                told = invoice.state
                yield _message(index, invoice)
            else:
                await self._node.changed()

    def _invoices(self) -> list[NodeInvoice]:
        """All of them, in the order they were added."""
        return list(self._node.invoices.values())

    def _find(self, payment_hash: bytes) -> _Numbered:
        for known in islice(self._node.invoices, len(self._indices), None):
            self._indices[known] = len(self._indices) + 1
        if payment_hash not in self._indices:
            raise NodeRefusedError("NOT_FOUND", "unable to locate invoice")
        self._node.invoice_state(payment_hash)  # which cancels it if it has expired
        return self._indices[payment_hash], self._node.invoices[payment_hash]

    def _chosen(self, request: Message) -> Iterator[_Numbered]:
        offset = request.index_offset
        numbered = list(enumerate(self._invoices(), start=1))
        if request.reversed:
            numbered = list(reversed(numbered[: offset - 1] if offset else numbered))
        else:
            numbered = numbered[offset:]
        for index, invoice in numbered:
            state = self._node.invoice_state(invoice.terms.payment_hash)
            is_pending = state in (InvoiceState.OPEN, InvoiceState.ACCEPTED)
            if (is_pending or not request.pending_only) and _is_within(invoice, request):
                yield index, invoice


def _is_within(invoice: NodeInvoice, request: Message) -> bool:
    """Whether an invoice was made in the seconds asked for; an end of 0 is none."""
    end_unix_s = request.creation_date_end or invoice.terms.timestamp_unix_s
    return bool(request.creation_date_start <= invoice.terms.timestamp_unix_s <= end_unix_s)


def _message(index: int, invoice: NodeInvoice) -> Message:
    """Render as `lnrpc.Invoice`; the preimage of a held one shows once it is settled."""
    terms = invoice.terms
    is_told = invoice.state is InvoiceState.SETTLED or not invoice.is_held
    return lightning_pb2.Invoice(
        memo=terms.description or "",
        description_hash=terms.description_hash or b"",
        r_hash=terms.payment_hash,
        r_preimage=(invoice.preimage or b"") if is_told else b"",
        value=(terms.amount_msat or 0) // 1000,
        value_msat=terms.amount_msat or 0,
        creation_date=terms.timestamp_unix_s,
        settle_date=invoice.settled_unix_s,
        payment_request=terms.text,
        expiry=terms.expiry_s,
        cltv_expiry=terms.min_final_cltv_delta_blocks,
        add_index=index,
        amt_paid_msat=invoice.paid_msat,
        state=lightning_pb2.Invoice.InvoiceState.Value(invoice.state.value),
        htlcs=_htlcs(invoice),
    )


def _htlcs(invoice: NodeInvoice) -> list[Message]:
    is_settled = invoice.state is InvoiceState.SETTLED
    ended = lightning_pb2.SETTLED if is_settled else lightning_pb2.CANCELED
    return [
        lightning_pb2.InvoiceHTLC(
            amt_msat=part.order.amount_msat,
            mpp_total_amt_msat=part.order.whole_msat,
            expiry_height=part.expiry_height,
            state=lightning_pb2.ACCEPTED if part.is_open else ended,
        )
        for part in invoice.parts
    ]
