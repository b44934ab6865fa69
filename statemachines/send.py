"""An outgoing payment: ecash locked for us in an lnv2 contract, for a Lightning invoice that we pay.

    accepted → dispatching(attempt, budgets) → in flight → paid → claiming(bytes) → claimed
         │          └──── only what promise 2 allows ──┴→ cancelling → cancelled(reason, forfeit)
         └→ swapping, when the invoice is of a receiver that we serve: no Lightning, and the end is the receive's

The forfeit signature gives the sender everything back, so it exists only once the payment can never settle:
before any intent to dispatch, or on the node's own FAILED, or on "never heard of it" once no call can still be
under way. Whatever the node knows of the payment comes before every refusal: a record is followed, also one that
an earlier log or another program left there.

`statemachines/send_rules.py` decides; this file names what can be. Stream: `send/<contract id>`.
"""

from typing import Any, ClassVar

import msgspec

from engine.events import Event
from engine.machine import Effect, Input, State
from statemachines.outlook import (
    ANSWER_S,
    AT_ONCE_S,
    BLOCK_S,
    FEDERATION,
    GUARDIANS,
    GUARDIANS_END,
    LET,
    NODE,
    NODE_AND_FEDERATION,
    NODE_ENDS,
    OPERATOR,
    OURSELVES,
    RECEIVE,
    RECEIVE_ENDS,
    RECEIVE_S,
    TRANSACTION_S,
    OpenState,
    Outlook,
    by_facts,
    within,
)

#: Blocks kept between the end of the Lightning payment and the end of the contract (fedimint-gwv2-client/src/lib.rs).
EXPIRATION_DELTA_MINIMUM_BLOCKS = 144
#: How long after an invoice's expiry a node may still be answering a call it got before. Clocks differ by less.
EXPIRY_MARGIN_S = 60
#: Calls made for one payment while none is answered; after these only the invoice's expiry is waited for.
ATTEMPTS_MAX = 10


class SendFacts(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="module", tag="lnv2"):
    """What was agreed when the payment was accepted; later changes of fees or config do not touch it.

    Ids are hex, `contract` is the hex of its consensus encoding, amounts are msat. `is_swap` when our own node made
    the invoice. `max_delay_blocks` is what the contract had left when it was accepted; each call measures anew.
    `node` is the public key (hex) of the node that all of its calls go to: the record of another says nothing of them.
    """

    federation_id: str
    contract_id: str
    txid: str
    out_idx: int
    contract: str
    payment_hash: str
    invoice: str
    invoice_msat: int
    invoice_expires_unix_s: int
    contract_msat: int
    minimum_msat: int
    is_swap: bool = False
    max_delay_blocks: int = 0
    node: str = ""

    @property
    def max_fee_msat(self) -> int:
        """What routing may cost: all of the contract above what we must keep."""
        return self.contract_msat - self.minimum_msat


class Intent(msgspec.Struct, frozen=True):
    """The committed intention of one call to the node.

    `stray_call` says that an earlier call was never answered and may still be under way; until the invoice has
    expired nothing the node says then is final but success.
    """

    attempt: int
    max_fee_msat: int
    max_delay_blocks: int
    stray_call: bool


#: Why a payment that was held back is cancelled in the end.
HELD_BACK = "the gateway went on from a backup and could not know whether it had called the node"
#: Stands where the node shows a payment that no call of this log began: as little is known of it as of a stray call.
NOT_OURS = Intent(attempt=0, max_fee_msat=0, max_delay_blocks=0, stray_call=True)


# --- states ----------------------------------------------------------------------------------------------------


def _end_of_invoice(state: Any, since_unix_s: int) -> int:
    """A call without answer is over when no node takes the invoice any more."""
    end_unix_s: int = state.facts.invoice_expires_unix_s + EXPIRY_MARGIN_S
    return max(since_unix_s, end_unix_s) + ANSWER_S


def _end_of_htlcs(state: Any, since_unix_s: int) -> int:
    """A payment in flight is over when its HTLCs are; another program's has no intent of ours."""
    blocks: int = state.intent.max_delay_blocks or state.facts.max_delay_blocks
    return since_unix_s + blocks * BLOCK_S + ANSWER_S


class New(State, frozen=True):
    """Nobody asked yet."""


class Accepted(OpenState, frozen=True):
    """Ours to pay; no call was ever intended."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_facts,
        waits_for=NODE_AND_FEDERATION,
        what_to_do=LET,
        ended_by=f"nothing was called for it yet; node and guardians are asked, and {GUARDIANS_END}",
    )
    facts: SendFacts


class Swapping(OpenState, frozen=True):
    """The receiver's contract is being funded by us: only its end is the end of this payment."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(RECEIVE_S),
        federation_id=by_facts,
        waits_for=RECEIVE,
        what_to_do="Trace that one: its end is this one's.",
        ended_by=RECEIVE_ENDS,
    )
    facts: SendFacts


class Dispatching(OpenState, frozen=True):
    """A call is intended and may have left."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_facts,
        waits_for=NODE,
        what_to_do=LET,
        ended_by=NODE_ENDS,
    )
    facts: SendFacts
    intent: Intent


class Unanswered(OpenState, frozen=True):
    """A call may have left, and nothing final is known of it: it may still be under way.

    `failed` is set once the node gave an end to one call while an earlier one was still unanswered: no further call is
    made then, and what is waited for is the end of the stray one.
    """

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=_end_of_invoice,
        federation_id=by_facts,
        waits_for=NODE,
        what_to_do=(
            "Nothing: the call may still be under way. Its end is known at the latest a minute after "
            "the invoice has expired. If that is far off: gateway-cli dismiss, once the contract has."
        ),
        ended_by=None,
    )
    facts: SendFacts
    intent: Intent
    failed: str | None = None


class InFlight(OpenState, frozen=True):
    """The node has shown the payment."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=_end_of_htlcs,
        federation_id=by_facts,
        waits_for=NODE,
        what_to_do=(
            "Nothing: a hop or the payee holds the HTLCs until they time out. Never pay the invoice "
            "otherwise."
        ),
        ended_by=NODE_ENDS,
    )
    facts: SendFacts
    intent: Intent


class Vanished(OpenState, frozen=True):
    """The node showed the payment and now has no record of it: only an operator can judge. Nothing is given back."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(AT_ONCE_S),
        federation_id=by_facts,
        waits_for=OPERATOR,
        what_to_do=(
            "The node showed this payment and has no record of it now, or it was given up for another. "
            "Restore the node's database; nothing is given back until that node says how it ended. Once "
            "the contract has expired, gateway-cli dismiss."
        ),
        ended_by=None,
    )
    facts: SendFacts
    intent: Intent


class Paid(OpenState, frozen=True):
    """We hold the preimage (hex); the claim is reserved and not yet signed."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_facts,
        waits_for=OURSELVES,
        what_to_do=LET,
        ended_by=f"it is paid, and claimed now: {GUARDIANS_END}",
    )
    facts: SendFacts
    preimage: str
    routing_fee_msat: int


class Claiming(OpenState, frozen=True):
    """The claim's bytes are durable: the preimage may go to the sender."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(TRANSACTION_S),
        federation_id=by_facts,
        waits_for=FEDERATION,
        what_to_do=f"{GUARDIANS} The contract must be claimed before it expires.",
        ended_by=f"it is paid, and claimed now: {GUARDIANS_END}",
    )
    facts: SendFacts
    preimage: str
    routing_fee_msat: int
    tx: str


class Claimed(State, frozen=True):
    """The contract's money is ours, as notes."""

    facts: SendFacts
    preimage: str
    routing_fee_msat: int
    tx: str
    received_msat: int


class ClaimRejected(State, frozen=True):
    """Paid, and the federation refuses the claim for good: money is lost, an operator must look."""

    facts: SendFacts
    preimage: str
    routing_fee_msat: int
    tx: str
    error: str


class Cancelling(OpenState, frozen=True):
    """Given up for good; the forfeit is not signed yet. `reason` is one of the names of gateway.md's enum."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_facts,
        waits_for=OURSELVES,
        what_to_do=LET,
        ended_by="its signature is made now",
    )
    facts: SendFacts
    reason: str
    detail: str


class Cancelled(State, frozen=True):
    """Given up for good; `forfeit` (hex) returns the contract to its sender."""

    facts: SendFacts
    reason: str
    detail: str
    forfeit: str


# --- inputs ----------------------------------------------------------------------------------------------------


class RequestSend(Input, frozen=True):
    """A request whose signature, contract and out point were verified. `other_network` is a refusal on record.

    `may_be_lost`: a backup was restored since its invoice was made, so lost events may have paid or cancelled it.
    `image_owner` is the stream that has the payment's image already, if any: it is refused on record then, too.
    """

    facts: SendFacts
    other_network: bool
    may_be_lost: bool = False
    image_owner: str = ""


class HoldBack(Input, frozen=True):
    """This log is a backup: what the lost events did with the payment is unknown, so no call may leave."""


class BudgetMeasured(Input, frozen=True):
    """`node` has no record; `remaining_blocks` is what the federation said just now, 0 when the contract is gone.

    `untrusted` says why nothing more is paid on this federation's word, if so.
    """

    node: str
    remaining_blocks: int
    now_unix_s: int
    untrusted: str | None = None


class SwapMeasured(Input, frozen=True):
    """As BudgetMeasured; `refusal` says why the receiver's side cannot be funded, if so."""

    remaining_blocks: int
    now_unix_s: int
    refusal: str | None
    untrusted: str | None = None


class SwapFound(Input, frozen=True):
    """The lost events of a restored log have funded the receive of our swap."""


class SwapSucceeded(Input, frozen=True):
    """The receive of our swap holds the preimage (hex)."""

    preimage: str


class SwapFailed(Input, frozen=True):
    """The receive of our swap ended without preimage, or was not begun; `reason` is of gateway.md's enum."""

    reason: str
    detail: str


class RecordLookedUp(Input, frozen=True):
    """After a call without answer: `node` has no record, or a FAILED that may be another call's.

    `looked_up_unix_s` is when the question was asked; `remaining_blocks` and `untrusted` as in BudgetMeasured.
    """

    node: str
    failed_reason: str | None
    remaining_blocks: int
    looked_up_unix_s: int
    untrusted: str | None = None


class DismissSend(Input, frozen=True):
    """The operator's word, after node and federation were asked (`gateway/dismissing.py`).

    The node has no record, or a FAILED, and the contract can no longer be claimed, whatever becomes of the call.
    """


class SeenInFlight(Input, frozen=True):
    """The node has a record of the payment that is not final."""


class PaymentSucceeded(Input, frozen=True):
    """`preimage` is hex, its sha256 was checked."""

    preimage: str
    routing_fee_msat: int


class PaymentFailed(Input, frozen=True):
    """The final FAILED of `node`."""

    node: str
    reason: str


class CallRefused(Input, frozen=True):
    """The node answered this very call with a refusal and, asked afterwards, has no record."""

    reason: str


class CallUnanswered(Input, frozen=True):
    """The call's answer is lost and the node has no record now; nothing follows from that."""


class ForfeitSigned(Input, frozen=True):
    forfeit: str


# --- events ----------------------------------------------------------------------------------------------------


class SendAccepted(Event, frozen=True):
    kind: ClassVar[str] = "send.accepted"
    facts: SendFacts


class SendSwapping(Event, frozen=True):
    kind: ClassVar[str] = "send.swapping"


class SendDispatching(Event, frozen=True):
    kind: ClassVar[str] = "send.dispatching"
    intent: Intent


class SendUnanswered(Event, frozen=True):
    kind: ClassVar[str] = "send.unanswered"
    failed: str | None = None


class SendHeldBack(Event, frozen=True):
    """Nothing is called any more; the node's record, or the invoice's expiry, is the end."""

    kind: ClassVar[str] = "send.held_back"


class SendInFlight(Event, frozen=True):
    kind: ClassVar[str] = "send.in_flight"


class SendVanished(Event, frozen=True):
    kind: ClassVar[str] = "send.vanished"


class SendPaid(Event, frozen=True):
    kind: ClassVar[str] = "send.paid"
    preimage: str
    routing_fee_msat: int


class SendClaiming(Event, frozen=True):
    kind: ClassVar[str] = "send.claiming"
    tx: str
    txid: str


class SendClaimed(Event, frozen=True):
    kind: ClassVar[str] = "send.claimed"
    received_msat: int


class SendClaimRejected(Event, frozen=True):
    kind: ClassVar[str] = "send.claim_rejected"
    tx: str
    error: str


class SendCancelling(Event, frozen=True):
    kind: ClassVar[str] = "send.cancelling"
    reason: str
    detail: str


class SendCancelled(Event, frozen=True):
    kind: ClassVar[str] = "send.cancelled"
    forfeit: str


# --- effects ---------------------------------------------------------------------------------------------------


class MeasureBudget(Effect, frozen=True):
    """Wait for the node and look its record up; only if it has none, ask how many blocks the contract has left.

    A record is reported as what it is. A FAILED that is older than our first call can so never be taken for its end.
    """

    may_pay_twice: ClassVar[bool] = False
    facts: SendFacts


class MeasureSwap(Effect, frozen=True):
    """Ask how many blocks the contract has left, and whether the receiver's side can be funded."""

    may_pay_twice: ClassVar[bool] = False
    facts: SendFacts


class PayInvoice(Effect, frozen=True):
    """Call `node` with this intent, once; when resumed, only look its record up."""

    may_pay_twice: ClassVar[bool] = True
    node: str
    payment_hash: str
    invoice: str
    intent: Intent


class LookUpRecord(Effect, frozen=True):
    """Find out what became of a call without answer; report once `send_rules.may_decide` says so."""

    may_pay_twice: ClassVar[bool] = False
    facts: SendFacts
    intent: Intent
    failed: str | None


class FollowPayment(Effect, frozen=True):
    """Follow the record of `node` to its end. `vanished` says that it is missing, which is then no news."""

    may_pay_twice: ClassVar[bool] = False
    node: str
    payment_hash: str
    vanished: bool


class SignForfeit(Effect, frozen=True):
    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    contract_id: str


def stream_of(contract_id: str) -> str:
    """The stream of a send, given the contract id in hex."""
    return f"send/{contract_id}"
