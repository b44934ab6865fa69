"""The interface to a Lightning node of any kind: what the gateway asks, and how to read the answers.

The rule all of this serves: money may be given back only when the payment can never settle any
more. So every answer is one of three kinds, and they are never mixed up:

* the node's record of the payment, a `PaymentStatus`;
* the node's refusal of this one call, `NodeRefusedError`;
* no answer at all, `NodeUnansweredError`: the call may or may not have been taken.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from errors import InputError, PeerError, UnavailableError
from fedimint.codec import bolt11
from fedimint.codec.wire_types import MOST_MSAT, Network

#: The final CLTV delta of held invoices: time for the federation to decrypt (fedimint-lightning/src/lnd.rs).
HELD_FINAL_DELTA_BLOCKS = 144
#: What a node says of an error is kept and shown to so many characters.
NODE_TEXT_CHARS_MAX = 500
#: Why a node makes no second invoice of a hash.
HASH_IS_TAKEN = (
    "this payment hash has an invoice at the Lightning node already, which may be somebody else's"
)

#: A tagged field of BOLT 11 has at most 1023 characters of 5 bits.
DESCRIPTION_BYTES_MAX = 639
#: 100,000 bitcoin: LND refuses invoices of more.
INVOICE_MSAT_MAX = 100_000 * 10**11


class NodeUnansweredError(UnavailableError):
    """The call ended without an answer: the node is unreachable, not ready, or the stream was cut.

    Nothing follows from it. A payment the call asked for may exist, or may still appear until its
    invoice has expired.
    """


class NodeRefusedError(PeerError):
    """The node itself answered this call with an error status.

    The call is over at the node: a later `NotFound` is final for it. A refusal alone says nothing
    about the payment, for an earlier call may have started it: look it up.
    """

    def __init__(self, code: str, text: str) -> None:
        """`code` is the backend's name of the status, `text` the node's own words."""
        self.code = code
        self.text = text[:NODE_TEXT_CHARS_MAX]
        super().__init__(f"the Lightning node refused the call: {self.text} ({code})")


class CompletionRejectedError(PeerError):
    """The node can never do what was asked of a held payment: it is over already, the other way.

    Every other error of `settle` and `cancel` means: try again.
    """


class NodeInfo(msgspec.Struct, frozen=True):
    """Who the node is and how far it follows the chain.

    `public_key` is 33 bytes in lowercase hex; `block_height` is the node's own view.
    """

    public_key: str
    alias: str
    network: Network
    block_height: int
    synced_to_chain: bool


class Balances(msgspec.Struct, frozen=True):
    """What the node holds: wallet, our side of open channels, and what it can receive."""

    onchain_sat: int
    lightning_msat: int
    inbound_msat: int


class InFlight(msgspec.Struct, frozen=True, tag=True):
    """The node has a record and it is not final. Any status number unknown to us reads so too."""


class Succeeded(msgspec.Struct, frozen=True, tag=True):
    """Final. sha256 of the 32 byte `preimage` is the payment hash, checked by the backend."""

    preimage: bytes
    fee_msat: int

    def __repr__(self) -> str:
        """Leave the preimage out: it is worth the payment."""
        return f"Succeeded(fee_msat={self.fee_msat})"


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Final, in the node's own word: nothing is in flight or will be. `reason` is for people."""

    reason: str


class NotFound(msgspec.Struct, frozen=True, tag=True):
    """The node says it has no record of this hash. Not `Failed`: a call may be under way."""


PaymentStatus = InFlight | Succeeded | Failed | NotFound


class HeldPayment(msgspec.Struct, frozen=True):
    """HTLCs that are locked for a held invoice of ours and wait for `settle` or `cancel`.

    `amount_msat` is what is locked, never what an onion says. `deadline_height` is the height by which
    we must have settled, 0 when it is not known or must not be relied on (then nothing may be funded).
    """

    payment_hash: bytes
    amount_msat: int
    deadline_height: int


HeldPayments = AbstractAsyncContextManager[AsyncIterator[HeldPayment]]
"""`async with node.held_payments() as held: async for payment in held: …`

First everything that is held now, then what comes; the same payment may come again. It never ends by
itself: it raises NodeUnansweredError or NodeRefusedError, and is then opened anew.
"""

Tell = Callable[[str | None], None]
"""Hears, in words for the operator, what a watch cannot tell of just now; None once it tells of everything."""

PaymentStatuses = AbstractAsyncContextManager[AsyncIterator[PaymentStatus]]
"""`async with node.pay(…) as statuses: async for status in statuses: …`

Entering sends nothing; the call leaves with the first step of the iteration and is abandoned, not
undone, when the block is left. The iteration ends by itself only after a final status; every other
end raises NodeUnansweredError or NodeRefusedError.
"""


def tell_nobody(_problem: str | None) -> None:
    """A `Tell` for callers who want the payments alone."""


class LightningNode(Protocol):
    """One Lightning node. Every method may raise NodeUnansweredError and NodeRefusedError."""

    async def info(self) -> NodeInfo:
        """Identity and chain view. PeerError if the answer cannot be read."""
        ...

    async def balances(self) -> Balances:
        """Balances now. They are compared with the log, never folded into it."""
        ...

    def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> PaymentStatuses:
        """Pay a BOLT11 invoice that names its amount, at most once per hash.

        `payment_hash` is the invoice's, 32 bytes. `max_delay_blocks` bounds the timelock of the
        first hop above the node's height, final delta included; more than the node's own cap is
        lowered to that cap. `max_fee_msat` 0 means that only free routes will do. The statuses
        are InFlight zero or more times, then Succeeded or Failed, never NotFound.

        A hash the node knows already, in flight or paid, is refused and not followed: use `track`.
        Raises InputError on entering, before anything is sent, for what `check_order` refuses.
        """
        ...

    def track(self, payment_hash: bytes) -> PaymentStatuses:
        """Follow the node's record from its state now to the end; never starts anything.

        The first status comes at once. NotFound, Succeeded and Failed are the last.
        """
        ...

    async def lookup(self, payment_hash: bytes) -> PaymentStatus:
        """Read the node's record as it is now."""
        ...

    async def create_invoice(
        self,
        *,
        payment_hash: bytes | None,
        amount_msat: int,
        expiry_s: int,
        description: str | bytes,
    ) -> str:
        """Make a BOLT11 invoice; `description` is a text, or the 32 byte hash of one.

        With a hash the invoice is held: its HTLCs wait for `settle` or `cancel`, and its final CLTV delta is
        HELD_FINAL_DELTA_BLOCKS, or a few blocks more. A hash that has an invoice at the node already is refused with
        NodeRefusedError, whatever its terms: others use the node, and nothing shows who made it. So only an answered
        call makes an invoice ours. Without a hash the node settles it by itself. Raises InputError for what
        `check_terms` refuses, before anything is sent.
        """
        ...

    def held_payments(self, own: Iterable[bytes] = (), tell: Tell = tell_nobody) -> HeldPayments:
        """Watch what is locked for all held invoices of this node, also those of others.

        The invoices of the hashes `own` are watched whatever becomes of the search for others. `tell` hears what that
        search lacks, and None once everything that is held is watched.
        """
        ...

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        """Claim a held payment, until the node confirms; done before is done.

        Raises CompletionRejectedError when the invoice is cancelled or unknown, InputError when the
        preimage is not the hash's, before anything is sent.
        """
        ...

    async def cancel(self, payment_hash: bytes) -> None:
        """Fail a held payment back and close its invoice; done before is done.

        Raises CompletionRejectedError when the invoice is settled or unknown.
        """
        ...

    async def aclose(self) -> None:
        """Leave the node. Calls still open end with NodeUnansweredError; payments go on."""
        ...


def within_bounds_msat(amount_msat: int) -> int:
    """An amount that a node tells, moved into 0 to all bitcoin there is.

    It is not refused: with a preimage beside it, an absurd fee must not keep the payment from being claimed.
    """
    return min(max(amount_msat, 0), MOST_MSAT)


def check_terms(amount_msat: int, expiry_s: int, description: str | bytes) -> None:
    """Refuse with InputError what no backend may be asked to make an invoice of.

    LND reads an amount of 0 as "any amount" and an expiry of 0 as an hour.
    """
    if not 0 < amount_msat <= INVOICE_MSAT_MAX:
        raise InputError(f"an invoice is for 1 to {INVOICE_MSAT_MAX} msat, not {amount_msat} msat")
    if expiry_s <= 0:
        raise InputError(f"an invoice is valid for some time, not {expiry_s} s")
    if isinstance(description, bytes):
        if len(description) != 32:
            raise InputError(f"the hash of a description has 32 bytes, not {len(description)}")
    elif (size := len(description.encode())) > DESCRIPTION_BYTES_MAX:
        raise InputError(
            f"a description has at most {DESCRIPTION_BYTES_MAX} bytes, this one {size}: shorten it, or give its hash"
        )


def check_order(
    invoice: str, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
) -> bolt11.Bolt11Invoice:
    """Read an invoice, refusing with InputError what no backend may be asked to pay.

    A delay of 0 blocks would be read as "no limit" by LND, the one thing it must never mean.
    """
    fields = bolt11.decode(invoice)
    if fields.payment_hash != payment_hash:
        raise InputError("the invoice has another payment hash than the payment")
    if not fields.amount_msat:
        raise InputError("the invoice names no amount")
    if max_fee_msat < 0:
        raise InputError(f"the fee budget is negative: {max_fee_msat} msat")
    if max_delay_blocks <= 0:
        raise InputError(f"no time is left for the payment: {max_delay_blocks} blocks")
    return fields
