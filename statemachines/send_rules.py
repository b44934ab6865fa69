"""The rules of an outgoing payment: the table over the states of `statemachines/send.py`."""

from engine.events import Event
from engine.machine import Decision, Handle, Machine, Rules, State, Tell, table
from statemachines import federation, image, receive, send
from statemachines.items import ContractClaim
from statemachines.send import (
    ATTEMPTS_MAX,
    EXPIRATION_DELTA_MINIMUM_BLOCKS,
    EXPIRY_MARGIN_S,
    Accepted,
    BudgetMeasured,
    CallRefused,
    CallUnanswered,
    Cancelled,
    Cancelling,
    Claimed,
    Claiming,
    ClaimRejected,
    DismissSend,
    Dispatching,
    ForfeitSigned,
    HoldBack,
    InFlight,
    Intent,
    New,
    Paid,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    RequestSend,
    SeenInFlight,
    SendAccepted,
    SendCancelled,
    SendCancelling,
    SendClaimed,
    SendClaiming,
    SendClaimRejected,
    SendDispatching,
    SendFacts,
    SendHeldBack,
    SendInFlight,
    SendPaid,
    SendSwapping,
    SendUnanswered,
    SendVanished,
    SwapFailed,
    SwapFound,
    SwapMeasured,
    Swapping,
    SwapSucceeded,
    Unanswered,
    Vanished,
    stream_of,
)
from statemachines.send_fold import EVOLVERS, WANTS
from statemachines.send_unhandled import UNHANDLED
from statemachines.transaction import (
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    wallet_of,
)
from statemachines.wallet import ClaimInputs

# Reasons of a cancellation, in the words of upstream's enum (fedimint-gwv2-client/src/send_sm.rs).
INVOICE_EXPIRED = "InvoiceExpired"
TIMEOUT_TOO_CLOSE = "TimeoutTooClose"
UNDERFUNDED = "Underfunded"
LIGHTNING_ERROR = "LightningRpcError"
REGISTRATION_ERROR = "RegistrationError"
#: Ours alone: upstream leaves it to the node, which then finds no route.
WRONG_NETWORK = "WrongNetwork"
#: Ours alone: upstream refuses the request, and its sender waits until the contract expires.
IMAGE_TAKEN = "PaymentImageAlreadyClaimed"
#: Ours alone: upstream pays without a bound on the word of a federation.
UNTRUSTED = "FederationUntrusted"


def refusal(facts: SendFacts, remaining_blocks: int, now_unix_s: int) -> tuple[str, str] | None:
    """Why a new call must not leave, as reason and detail; None when it may."""
    if now_unix_s >= facts.invoice_expires_unix_s:
        return INVOICE_EXPIRED, f"the invoice expired at {facts.invoice_expires_unix_s}"
    if remaining_blocks <= EXPIRATION_DELTA_MINIMUM_BLOCKS:
        needed = EXPIRATION_DELTA_MINIMUM_BLOCKS
        detail = f"the contract has {remaining_blocks} blocks left, more than {needed} are needed"
        return TIMEOUT_TOO_CLOSE, detail
    return None


def may_decide(asked: Unanswered | send.LookUpRecord, record: RecordLookedUp) -> bool:
    """Whether a record found after an unanswered call allows a decision, or must be looked up again later.

    A node that took the place of the one called cannot know what that one does.
    """
    facts, intent = asked.facts, asked.intent
    if record.node != facts.node:
        return False
    if _stray_calls_are_over(facts, record):
        return True
    if record.failed_reason is not None:
        return not intent.stray_call  # the only call there ever was
    if asked.failed is not None or intent.attempt >= ATTEMPTS_MAX or record.untrusted is not None:
        return False
    return refusal(facts, record.remaining_blocks, record.looked_up_unix_s) is None


def _stray_calls_are_over(facts: SendFacts, record: RecordLookedUp) -> bool:
    """The node refuses an expired invoice, so no call of ours can begin a payment any more."""
    return record.looked_up_unix_s >= facts.invoice_expires_unix_s + EXPIRY_MARGIN_S


# --- deciding --------------------------------------------------------------------------------------------------


def _request(_state: New, input_: RequestSend) -> Decision:
    """Accept, and in the same append refuse what no node of this network can ever have been asked to pay.

    A contract whose image is another operation's is refused in it, too: no image is ever freed, so it can never be
    paid. Other refusals wait until the node was asked: this log may be younger than a payment of the same contract.
    """
    facts = input_.facts
    events: tuple[Event, ...] = (SendAccepted(facts=facts),)
    if input_.image_owner:
        detail = f"the invoice's payment hash belongs to {input_.image_owner}: it is never paid for twice"
        return Decision(events=(*events, SendCancelling(reason=IMAGE_TAKEN, detail=detail)))
    if input_.other_network:
        detail = "the invoice is for another bitcoin network than this gateway's"
        events += (SendCancelling(reason=WRONG_NETWORK, detail=detail),)
    elif input_.may_be_lost:
        events += (SendHeldBack(),)
    claim = image.ClaimImage(operation=stream_of(facts.contract_id))
    return Decision(events=events, tells=(Tell(image.stream_of(facts.payment_hash), claim),))


def _measured(state: Accepted, input_: BudgetMeasured) -> Decision:
    facts = state.facts
    refused = _first_refusal(facts, input_)
    if refused is None and input_.node != facts.node:
        refused = LIGHTNING_ERROR, "the gateway's Lightning node was replaced before it was called"
    if refused is not None:
        return _cancel(*refused)
    return _dispatch(facts, input_.remaining_blocks, attempt=1, stray_call=False)


def _swap_measured(state: Accepted, input_: SwapMeasured) -> Decision:
    """Fund the receiver in this very append; it is told to the send, in the same one again, if that cannot be."""
    facts = state.facts
    refused = _first_refusal(facts, input_)
    if refused is None and input_.refusal is not None:
        refused = REGISTRATION_ERROR, input_.refusal
    if refused is not None:
        return _cancel(*refused)
    told = receive.FundForSwap(
        payer=stream_of(facts.contract_id),
        amount_msat=facts.invoice_msat,
        now_unix_s=input_.now_unix_s,
    )
    receiver = receive.stream_of(facts.payment_hash)
    return Decision(events=(SendSwapping(),), tells=(Tell(receiver, told),))


def _hold_back(state: Accepted | Dispatching | Unanswered, _input: HoldBack) -> Decision:
    """The lost events may have cancelled it, with a forfeit in its sender's hands: it must never be called again."""
    if isinstance(state, Unanswered) and state.failed is not None and state.intent.stray_call:
        return Decision()
    return Decision(events=(SendHeldBack(),))


def _swap_found(_state: Unanswered, _input: SwapFound) -> Decision:
    return Decision(events=(SendSwapping(),))


def _first_refusal(
    facts: SendFacts, measured: BudgetMeasured | SwapMeasured
) -> tuple[str, str] | None:
    if facts.max_fee_msat < 0:
        needed_msat = facts.minimum_msat
        return (
            UNDERFUNDED,
            f"the contract holds {facts.contract_msat} msat, {needed_msat} are needed",
        )
    if measured.untrusted is not None:
        return UNTRUSTED, measured.untrusted
    return refusal(facts, measured.remaining_blocks, measured.now_unix_s)


def _swapped(state: Swapping, input_: SwapSucceeded) -> Decision:
    return _succeed(state.facts, input_.preimage, routing_fee_msat=0)


def _swap_failed(_state: Swapping, input_: SwapFailed) -> Decision:
    return _cancel(input_.reason, input_.detail)


def _looked_up(state: Unanswered, input_: RecordLookedUp) -> Decision:
    facts = state.facts
    if not may_decide(state, input_):
        return Decision()
    failed = input_.failed_reason if input_.failed_reason is not None else state.failed
    if failed is not None:
        return _cancel(LIGHTNING_ERROR, failed)
    if _stray_calls_are_over(facts, input_):
        return _cancel(INVOICE_EXPIRED, "the node never took the payment and the invoice expired")
    return _dispatch(
        facts, input_.remaining_blocks, attempt=state.intent.attempt + 1, stray_call=True
    )


def _dismissed(_state: Unanswered | Vanished, _input: DismissSend) -> Decision:
    detail = "the outcome of the call is unknown, and the contract can no longer be claimed: dismissed by the operator"
    return _cancel(LIGHTNING_ERROR, detail)


def _dispatch(
    facts: SendFacts, remaining_blocks: int, *, attempt: int, stray_call: bool
) -> Decision:
    intent = Intent(
        attempt=attempt,
        max_fee_msat=facts.max_fee_msat,
        max_delay_blocks=remaining_blocks - EXPIRATION_DELTA_MINIMUM_BLOCKS,
        stray_call=stray_call,
    )
    return Decision(events=(SendDispatching(intent=intent),))


def _failed_before(_state: Accepted, input_: PaymentFailed) -> Decision:
    return _cancel(LIGHTNING_ERROR, input_.reason)


def _failed(
    state: Dispatching | InFlight | Vanished, input_: PaymentFailed | CallRefused
) -> Decision:
    """An end is final for the call it belongs to; with a stray call about it says nothing of that one."""
    if isinstance(input_, PaymentFailed) and input_.node != state.facts.node:
        return _failed_elsewhere(state)
    if state.intent.stray_call:
        return Decision(events=(SendUnanswered(failed=input_.reason),))
    return _cancel(LIGHTNING_ERROR, input_.reason)


def _failed_elsewhere(state: Dispatching | InFlight | Vanished) -> Decision:
    """The record of a node that was never called for this payment: of the one that was, nothing is known."""
    if isinstance(state, Dispatching):
        return Decision(events=(SendUnanswered(),))
    if isinstance(state, InFlight):
        return Decision(events=(SendVanished(),))
    return Decision()


def _cancel(reason: str, detail: str) -> Decision:
    return Decision(events=(SendCancelling(reason=reason, detail=detail),))


def _unanswered(_state: Dispatching, _input: CallUnanswered) -> Decision:
    return Decision(events=(SendUnanswered(),))


def _vanished(_state: InFlight, _input: CallUnanswered) -> Decision:
    return Decision(events=(SendVanished(),))


def _in_flight(_state: State, _input: SeenInFlight) -> Decision:
    return Decision(events=(SendInFlight(),))


def _succeeded(
    state: Accepted | Dispatching | Unanswered | InFlight | Vanished, input_: PaymentSucceeded
) -> Decision:
    return _succeed(state.facts, input_.preimage, input_.routing_fee_msat)


def _succeed(facts: SendFacts, preimage: str, routing_fee_msat: int) -> Decision:
    """The claim is reserved in the append that records the preimage."""
    claim = ContractClaim(facts.txid, facts.out_idx, facts.contract_msat, preimage)
    paid = SendPaid(preimage=preimage, routing_fee_msat=routing_fee_msat)
    told = ClaimInputs(parent=stream_of(facts.contract_id), claims=(claim,))
    return Decision(events=(paid,), tells=(Tell(wallet_of(facts.federation_id), told),))


def _claim_signed(_state: Paid, input_: TransactionSigned) -> Decision:
    return Decision(events=(SendClaiming(tx=input_.tx, txid=input_.txid),))


def _claim_finished(_state: Claiming, input_: TransactionFinished) -> Decision:
    received_msat = sum(note.amount_msat for note in input_.notes)
    return Decision(events=(SendClaimed(received_msat=received_msat),))


def _claim_rejected(state: Claiming, input_: TransactionRejected) -> Decision:
    """Nothing more is paid on the word of a federation that does not keep it, until the operator has looked."""
    refused = federation.ClaimRefused(stream=stream_of(state.facts.contract_id), error=input_.error)
    return Decision(
        events=(SendClaimRejected(tx=input_.tx, error=input_.error),),
        tells=(Tell(federation.stream_of(state.facts.federation_id), refused),),
    )


def _forfeit_signed(_state: Cancelling, input_: ForfeitSigned) -> Decision:
    return Decision(events=(SendCancelled(forfeit=input_.forfeit),))


# --- the table -------------------------------------------------------------------------------------------------

_PAY_TO = (Paid,)
_FAIL_TO = (Cancelling, Unanswered)
_FAIL_SEEN_TO = (Cancelling, Unanswered, Vanished)

_HANDLED: Rules = {
    (New, RequestSend): Handle(_request, to=(Accepted, Cancelling, Unanswered)),
    (Accepted, HoldBack): Handle(_hold_back, to=(Unanswered,)),
    (Dispatching, HoldBack): Handle(_hold_back, to=(Unanswered,)),
    (Unanswered, HoldBack): Handle(_hold_back, to=(Unanswered,)),
    (Unanswered, SwapFound): Handle(_swap_found, to=(Swapping,)),
    (Accepted, BudgetMeasured): Handle(_measured, to=(Dispatching, Cancelling)),
    (Accepted, SwapMeasured): Handle(_swap_measured, to=(Swapping, Cancelling)),
    (Swapping, SwapSucceeded): Handle(_swapped, to=_PAY_TO),
    (Swapping, SwapFailed): Handle(_swap_failed, to=(Cancelling,)),
    (Accepted, SeenInFlight): Handle(_in_flight, to=(InFlight,)),
    (Accepted, PaymentSucceeded): Handle(_succeeded, to=_PAY_TO),
    (Accepted, PaymentFailed): Handle(_failed_before, to=(Cancelling,)),
    (Dispatching, SeenInFlight): Handle(_in_flight, to=(InFlight,)),
    (Dispatching, PaymentSucceeded): Handle(_succeeded, to=_PAY_TO),
    (Dispatching, PaymentFailed): Handle(_failed, to=_FAIL_TO),
    (Dispatching, CallRefused): Handle(_failed, to=_FAIL_TO),
    (Dispatching, CallUnanswered): Handle(_unanswered, to=(Unanswered,)),
    (Unanswered, RecordLookedUp): Handle(_looked_up, to=(Dispatching, Cancelling)),
    (Unanswered, DismissSend): Handle(_dismissed, to=(Cancelling,)),
    (Unanswered, SeenInFlight): Handle(_in_flight, to=(InFlight,)),
    (Unanswered, PaymentSucceeded): Handle(_succeeded, to=_PAY_TO),
    (InFlight, PaymentSucceeded): Handle(_succeeded, to=_PAY_TO),
    (InFlight, PaymentFailed): Handle(_failed, to=_FAIL_SEEN_TO),
    (InFlight, CallUnanswered): Handle(_vanished, to=(Vanished,)),
    (Vanished, SeenInFlight): Handle(_in_flight, to=(InFlight,)),
    (Vanished, PaymentSucceeded): Handle(_succeeded, to=_PAY_TO),
    # Another node's word leaves it as it is, and is not even asked for.
    (Vanished, PaymentFailed): Handle(_failed, to=_FAIL_TO),
    (Vanished, DismissSend): Handle(_dismissed, to=(Cancelling,)),
    (Paid, TransactionSigned): Handle(_claim_signed, to=(Claiming,)),
    (Claiming, TransactionFinished): Handle(_claim_finished, to=(Claimed,)),
    (Claiming, TransactionRejected): Handle(_claim_rejected, to=(ClaimRejected,)),
    (Cancelling, ForfeitSigned): Handle(_forfeit_signed, to=(Cancelled,)),
}


MACHINE = Machine(
    kind="send",
    initial=New(),
    states=(
        New,
        Accepted,
        Swapping,
        Dispatching,
        Unanswered,
        InFlight,
        Vanished,
        Paid,
        Claiming,
        Claimed,
        ClaimRejected,
        Cancelling,
        Cancelled,
    ),
    inputs=(
        RequestSend,
        HoldBack,
        BudgetMeasured,
        SwapMeasured,
        SwapFound,
        SwapSucceeded,
        SwapFailed,
        RecordLookedUp,
        DismissSend,
        SeenInFlight,
        PaymentSucceeded,
        PaymentFailed,
        CallRefused,
        CallUnanswered,
        TransactionSigned,
        TransactionAccepted,
        TransactionFinished,
        TransactionRejected,
        ForfeitSigned,
    ),
    rules=table(_HANDLED, UNHANDLED),
    evolvers=EVOLVERS,
    wants_of=WANTS,
    final=frozenset({Claimed, ClaimRejected, Cancelled}),
)
