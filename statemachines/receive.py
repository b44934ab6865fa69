"""An incoming payment: somebody pays our invoice, and we fund its receiver's contract with ecash.

    registered → invoiced → funding(tx) → decrypting → received(preimage)
                     │          │              └─ verified, and no preimage → refunding → refunded
                     └─ declined└─ funding failed

Funding buys the preimage with which the payer's HTLC is settled, or the sender's contract of a direct swap is
claimed. From the commit of the funding transaction on, the payer's side is given up only when a threshold rejects
that transaction or a verified decryption gives no preimage.

The contract is funded once per payment hash, for an HTLC or a swap: stream `receive/<payment hash>`.
`statemachines/receive_rules.py` decides; this file names what can be.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Effect, Input, State
from statemachines.outlook import (
    ANSWER_S,
    NODE_AND_FEDERATION,
    TRANSACTION_S,
    OpenState,
    Outlook,
    awaits_guardians,
    by_facts,
    within,
)

#: Blocks that must be left until the HTLC's deadline when the contract is funded (fedimint-gwv2-client/src/lib.rs).
DEADLINE_BLOCKS_MIN = 2
#: Seconds that must be left until the receiver stops waiting for the contract: to sign its funding, and to order it.
CONTRACT_MARGIN_S = 60
#: An HTLC set of more than this many times the invoice's amount must be cancelled (BOLT 4, final node).
OVERPAID_MAX_FACTOR = 2
#: How long after an invoice's expiry its HTLCs may still be held and have to be known to us, at the longest.
FORGET_AFTER_EXPIRY_S = 24 * 60 * 60


class ReceiveFacts(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="module", tag="lnv2"):
    """What was agreed when the invoice was asked for. Ids are hex, `contract` is the hex of its consensus encoding.

    Exactly one of `description` and `description_hash` (hex) is given. `refund_worth_msat` is what would come back
    of the contract after the federation's fees, if its preimage is none.
    """

    federation_id: str
    contract_id: str
    contract: str
    payment_hash: str
    invoice_msat: int
    contract_msat: int
    contract_expires_unix_s: int
    invoice_expires_unix_s: int
    expiry_s: int
    refund_worth_msat: int
    description: str | None = None
    description_hash: str | None = None


#: A direct swap of which only lost events know: its sender asks again, and is given the preimage then.
UNKNOWN_PAYER = "lost"

# --- states ----------------------------------------------------------------------------------------------------


class New(State, frozen=True):
    """Nobody asked yet."""


class Registered(State, frozen=True):
    """The hash is taken; the node is asked for the invoice."""

    facts: ReceiveFacts


class Invoiced(State, frozen=True):
    """The invoice is out; nobody has paid it."""

    facts: ReceiveFacts
    invoice: str


class Held(OpenState, frozen=True):
    """It is paid: HTLCs are locked at our node, and nothing could be decided yet, for this reason."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_facts,
        waits_for=NODE_AND_FEDERATION,
        what_to_do=(
            "See that both answer: it is then paid on, or the payer is refunded. Without them they are refunded "
            "ten minutes after the gateway saw it, or at the HTLC's deadline."
        ),
        ended_by="nothing is decided on its HTLCs yet, and they are cancelled when that takes too long",
    )
    facts: ReceiveFacts
    invoice: str
    reason: str


class InvoiceRefused(State, frozen=True):
    """The node makes no such invoice."""

    facts: ReceiveFacts
    reason: str


class Expired(State, frozen=True):
    """Nobody paid in time."""

    facts: ReceiveFacts


class Declined(State, frozen=True):
    """It was paid, and nothing was funded: the payer is refunded."""

    facts: ReceiveFacts
    reason: str


class Funding(OpenState, frozen=True):
    """The contract's transaction is reserved. `payer` is the send of a direct swap, empty for an HTLC.

    Of a contract that a restored log found funded it may be UNKNOWN_PAYER.
    """

    outlook: ClassVar[Outlook] = awaits_guardians(TRANSACTION_S, by_facts)
    facts: ReceiveFacts
    payer: str
    tx: str = ""
    txid: str = ""


class FundingFailed(State, frozen=True):
    """A threshold rejected the funding, or it was not signed in time: nothing of ours left."""

    facts: ReceiveFacts
    payer: str
    error: str


class Decrypting(OpenState, frozen=True):
    """The contract is funded as output 0 of `txid`, by transaction `tx`; its preimage is asked for."""

    outlook: ClassVar[Outlook] = awaits_guardians(
        ANSWER_S, by_facts, also="The preimage must be known before the HTLC's deadline."
    )
    facts: ReceiveFacts
    payer: str
    tx: str
    txid: str


class Received(State, frozen=True):
    """We hold the preimage (hex): the payer's side is ours to claim."""

    facts: ReceiveFacts
    payer: str
    txid: str
    preimage: str


class Refunding(OpenState, frozen=True):
    """The contract held no preimage and is taken back. `tx` funded it: its change may still be collected."""

    outlook: ClassVar[Outlook] = awaits_guardians(TRANSACTION_S, by_facts)
    facts: ReceiveFacts
    payer: str
    tx: str
    txid: str


class Refunded(State, frozen=True):
    facts: ReceiveFacts
    payer: str
    received_msat: int


class RefundLost(State, frozen=True):
    """The contract held no preimage and taking it back costs more than it holds, or was rejected."""

    facts: ReceiveFacts
    payer: str
    reason: str


#: The states of an invoice that nobody has begun to pay.
UNPAID_STATES = (Registered, Invoiced)
#: The states in which the node made us an invoice and nothing is decided about who pays it.
UNDECIDED_STATES = (Invoiced, Held)
# --- inputs ----------------------------------------------------------------------------------------------------


class RequestReceive(Input, frozen=True):
    """A request whose contract was verified."""

    facts: ReceiveFacts


class InvoiceCreated(Input, frozen=True):
    invoice: str


class InvoiceNotCreated(Input, frozen=True):
    """The node refused; it has no such invoice."""

    reason: str


class InvoiceForgotten(Input, frozen=True):
    """The invoice expired long ago, and the node holds nothing for it."""


class HtlcHeld(Input, frozen=True):
    """HTLCs are locked at our node. `refusal` says why nothing may be funded now, if so; blocks are to the deadline.

    `now_unix_s` is when it was measured; the engine's conditions put the moment of the decision there.
    """

    amount_msat: int
    deadline_blocks: int
    now_unix_s: int
    refusal: str | None


class HtlcWaits(Input, frozen=True):
    """HTLCs are locked at our node, and for this reason it could not be measured for a while what to do with them."""

    reason: str


class FundForSwap(Input, frozen=True):
    """A send of ours wants to pay this invoice directly."""

    payer: str
    amount_msat: int
    now_unix_s: int


class FundingFound(Input, frozen=True):
    """The federation holds this contract, funded as output 0 of `txid` by events that a restored log lost.

    `tx` is the stream of a transaction reserved for it and not signed, or empty; `payer` is as in Funding.
    """

    txid: str
    tx: str
    payer: str


class Decrypted(Input, frozen=True):
    """`preimage` is hex; its sha256 is the payment hash."""

    preimage: str


class Undecryptable(Input, frozen=True):
    """The verified decryption key (hex) of the contract opens something that is no preimage, as was found just now."""

    decryption_key: str
    now_unix_s: int


class GiveUpReceive(Input, frozen=True):
    """The operator gave its federation up: no preimage comes from there any more."""


# --- events ----------------------------------------------------------------------------------------------------


class ReceiveRegistered(Event, frozen=True):
    kind: ClassVar[str] = "receive.registered"
    facts: ReceiveFacts


class ReceiveInvoiced(Event, frozen=True):
    kind: ClassVar[str] = "receive.invoiced"
    invoice: str


class ReceiveInvoiceRefused(Event, frozen=True):
    kind: ClassVar[str] = "receive.invoice_refused"
    reason: str


class ReceiveExpired(Event, frozen=True):
    kind: ClassVar[str] = "receive.expired"


class ReceiveDeclined(Event, frozen=True):
    kind: ClassVar[str] = "receive.declined"
    reason: str


class ReceiveHtlcWaits(Event, frozen=True):
    kind: ClassVar[str] = "receive.htlc_waits"
    reason: str


class ReceiveFunding(Event, frozen=True):
    """The decision to fund; `payer` as in Funding."""

    kind: ClassVar[str] = "receive.funding"
    payer: str


class ReceiveFundingSigned(Event, frozen=True):
    kind: ClassVar[str] = "receive.funding_signed"
    tx: str
    txid: str


class ReceiveFunded(Event, frozen=True):
    kind: ClassVar[str] = "receive.funded"


class ReceiveFoundFunded(Event, frozen=True):
    kind: ClassVar[str] = "receive.found_funded"
    txid: str
    tx: str
    payer: str


class ReceiveFundingFailed(Event, frozen=True):
    kind: ClassVar[str] = "receive.funding_failed"
    error: str


class ReceiveSucceeded(Event, frozen=True):
    kind: ClassVar[str] = "receive.succeeded"
    preimage: str


class ReceiveRefunding(Event, frozen=True):
    kind: ClassVar[str] = "receive.refunding"


class ReceiveRefunded(Event, frozen=True):
    kind: ClassVar[str] = "receive.refunded"
    received_msat: int


class ReceiveRefundLost(Event, frozen=True):
    kind: ClassVar[str] = "receive.refund_lost"
    reason: str


# --- effects ---------------------------------------------------------------------------------------------------


class CreateInvoice(Effect, frozen=True):
    """Ask the node for the held invoice with this hash; the same hash again is answered with the same invoice."""

    #: The lost events may have funded the receive: an invoice paid again would be funded again.
    may_pay_twice: ClassVar[bool] = True
    facts: ReceiveFacts


class ForgetInvoice(Effect, frozen=True):
    """Wait until the invoice can no longer be paid: the node closed it, or FORGET_AFTER_EXPIRY_S are over."""

    may_pay_twice: ClassVar[bool] = False
    payment_hash: str
    expires_unix_s: int


class DecryptPreimage(Effect, frozen=True):
    """Ask the guardians for decryption shares until they give a key that verifies."""

    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    contract: str
    txid: str


def stream_of(payment_hash: str) -> str:
    """The stream of a receive, given the payment hash in hex."""
    return f"receive/{payment_hash}"
