"""The payee in a simulated node: its invoices, the HTLCs that arrive for them, and how a test acts on both."""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from backends.simulated.network import Htlcs, SimulatedNetwork
from backends.simulated.part import SimulatedPart
from errors import ConflictError, InputError
from fedimint.codec import bolt11

EARLY_CANCEL_BLOCKS = 18
"""How long before its timelock a held payment is cancelled. LND does so 12 blocks before, unless told otherwise."""


class InvoiceState(StrEnum):
    """States of an invoice, as LND names them."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"


@dataclass(eq=False)
class NodeInvoice:
    """An invoice of a node. `preimage` is what the node, or the test in its place, can claim with."""

    terms: bolt11.Bolt11Invoice
    is_held: bool
    preimage: bytes | None = field(repr=False)
    state: InvoiceState = InvoiceState.OPEN
    parts: list[Htlcs] = field(default_factory=list, repr=False)
    """What has arrived: one payment, in one part or several."""
    settled_unix_s: int = 0

    @property
    def amount_msat(self) -> int:
        """What the invoice asks for."""
        assert self.terms.amount_msat is not None
        return self.terms.amount_msat

    @property
    def paid_msat(self) -> int:
        """What was locked for it, 0 when nothing has arrived."""
        return sum(part.order.amount_msat for part in self.parts)

    @property
    def expiry_height(self) -> int:
        """The first timelock of what has arrived, which the node has to beat."""
        return min(part.expiry_height for part in self.parts)


@dataclass(eq=False)
class Watch:
    """The hashes that one open `held_payments` has still to report."""

    reports: deque[bytes]


class SimulatedPayee(SimulatedPart):
    """The part of `SimulatedNode` to which HTLCs come."""

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """A node without invoices."""
        super().__init__(network, name, now_s)
        self.invoices: dict[bytes, NodeInvoice] = {}
        self._held: dict[bytes, NodeInvoice] = {}
        self._watches: dict[Watch, None] = {}
        self._invoices_made = 0
        network.chain.on_block(self._catch_up)

    # --- what a test calls ---

    def make_invoice(
        self,
        amount_msat: int,
        *,
        payment_hash: bytes | None = None,
        is_held: bool = False,
        expiry_s: int = 3_600,
        final_delay_blocks: int = 18,
        description: str | bytes | None = None,
    ) -> bolt11.Bolt11Invoice:
        """Make an invoice. Held, or with a hash given, it waits to be settled."""
        self._invoices_made += 1
        number = self._invoices_made
        preimage = None
        if payment_hash is None:
            preimage = self._derived(f"preimage {number}")
            payment_hash = hashlib.sha256(preimage).digest()
        if description is None:
            description = f"invoice {number} of {self.name}"
        fields = bolt11.InvoiceFields(
            network="regtest",
            amount_msat=amount_msat,
            timestamp_unix_s=int(self._now_s()),
            payment_hash=payment_hash,
            payment_secret=self._derived(f"payment secret {number}"),
            description=description if isinstance(description, str) else None,
            description_hash=description if isinstance(description, bytes) else None,
            expiry_s=expiry_s,
            min_final_cltv_delta_blocks=final_delay_blocks,
        )
        terms = bolt11.sign(fields, self.secret)
        self.invoices[payment_hash] = NodeInvoice(terms, is_held or preimage is None, preimage)
        self._wake()
        return terms

    def settle_held(self, payment_hash: bytes, preimage: bytes | None = None) -> None:
        """Claim what a held invoice has accepted; ConflictError if nothing."""
        invoice = self.invoices[payment_hash]
        preimage = preimage or invoice.preimage
        if preimage is None or hashlib.sha256(preimage).digest() != payment_hash:
            raise InputError("this is not the preimage of the invoice")
        if not any(part.is_open for part in invoice.parts):
            raise ConflictError(f"nothing is held for the invoice: it is {invoice.state}")
        self._claim(invoice, preimage)

    def cancel_held(self, payment_hash: bytes) -> None:
        """Give up an invoice and what it has accepted; ConflictError if settled."""
        invoice = self.invoices[payment_hash]
        if invoice.state is InvoiceState.SETTLED:
            raise ConflictError("the invoice is settled")
        self._give_up(invoice)

    def give_up_parts(self, payment_hash: bytes) -> None:
        """Fail back what came of a payment that is not whole, as LND does after two minutes; nothing if it is."""
        invoice = self.invoices[payment_hash]
        if invoice.state not in {InvoiceState.ACCEPTED, InvoiceState.SETTLED}:
            parts, invoice.parts = invoice.parts, []
            for part in parts:
                if part.is_open:
                    self.network.fail(part, "the other parts did not come")

    def held(self) -> tuple[bytes, ...]:
        """Payment hashes of everything that is held."""
        return tuple(self._held)

    def forget_invoice(self, payment_hash: bytes) -> None:
        """Lose an invoice that nobody has paid; ConflictError for another."""
        invoice = self.invoices[payment_hash]
        if invoice.state is not InvoiceState.OPEN:
            raise ConflictError(f"the invoice is {invoice.state}")
        del self.invoices[payment_hash]

    def invoice_state(self, payment_hash: bytes) -> InvoiceState:
        """How an invoice of this node stands."""
        return self._up_to_date(self.invoices[payment_hash]).state

    def repeat_held(self) -> None:
        """Report everything that is held to every open `held_payments` once more."""
        for watch in self._watches:
            watch.reports.extend(self._held)
        self._wake()

    # --- the node itself ---

    def accept(self, htlcs: Htlcs) -> None:
        """Claim, keep or fail what arrives, as LND does (invoices/update.go): more than asked for is welcome."""
        payment_hash = htlcs.order.payment_hash
        invoice = self.invoices.get(payment_hash)
        if invoice is None or not self._is_wanted(invoice, htlcs):
            self.network.fail(htlcs, "the payee refused it")
            return
        invoice.parts = [*(part for part in invoice.parts if part.is_open), htlcs]
        if invoice.paid_msat < htlcs.order.whole_msat:
            return
        if invoice.is_held:
            invoice.state = InvoiceState.ACCEPTED
            self._held[payment_hash] = invoice
            for watch in self._watches:
                watch.reports.append(payment_hash)
            self._wake()
        else:
            assert invoice.preimage is not None, "an ordinary invoice is made with its preimage"
            self._claim(invoice, invoice.preimage)

    def _is_wanted(self, invoice: NodeInvoice, htlcs: Htlcs) -> bool:
        """Parts of one payment name the same whole; nothing is added to one that is accepted."""
        blocks_left = htlcs.expiry_height - self.network.chain.height
        wholes_msat = {part.order.whole_msat for part in (*invoice.parts, htlcs) if part.is_open}
        return (
            self._up_to_date(invoice).state is InvoiceState.OPEN
            and len(wholes_msat) == 1
            and htlcs.order.whole_msat >= invoice.amount_msat
            and blocks_left >= invoice.terms.min_final_cltv_delta_blocks
        )

    def _up_to_date(self, invoice: NodeInvoice) -> NodeInvoice:
        """The invoice, cancelled if it was never paid and has expired."""
        is_expired = invoice.terms.expires_unix_s < self._now_s()
        if invoice.state is InvoiceState.OPEN and is_expired:
            invoice.state = InvoiceState.CANCELED
        return invoice

    def _claim(self, invoice: NodeInvoice, preimage: bytes) -> None:
        assert invoice.parts, "only what has arrived is claimed"
        self._held.pop(invoice.terms.payment_hash, None)
        invoice.state = InvoiceState.SETTLED
        invoice.preimage = preimage
        invoice.settled_unix_s = int(self._now_s())
        for part in invoice.parts:
            self.network.claim(part, preimage)
        self._wake()

    def _give_up(self, invoice: NodeInvoice) -> None:
        self._held.pop(invoice.terms.payment_hash, None)
        invoice.state = InvoiceState.CANCELED
        for part in invoice.parts:
            if part.is_open:
                self.network.fail(part, "the payee refused it")
        self._wake()

    def _catch_up(self) -> None:
        """Fail back what comes too near to its timelock; a node that is down does so once it is up."""
        if self.is_down:
            return
        latest_height = self.network.chain.height + EARLY_CANCEL_BLOCKS
        for invoice in [*self._held.values()]:
            if invoice.expiry_height <= latest_height:
                self._give_up(invoice)
