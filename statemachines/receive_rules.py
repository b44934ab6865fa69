"""The rules of an incoming payment: the table over the states of `statemachines/receive.py`, and its fold."""

from collections.abc import Mapping

from engine.machine import Decision, Effect, Handle, Machine, Rules, Tell, table
from engine.machine import Input as AnyInput
from statemachines import completion, federation, receive, send
from statemachines.items import FundedContract, IncomingRefund
from statemachines.receive import (
    CONTRACT_MARGIN_S,
    DEADLINE_BLOCKS_MIN,
    OVERPAID_MAX_FACTOR,
    UNKNOWN_PAYER,
    Declined,
    Decrypted,
    Decrypting,
    Expired,
    FundForSwap,
    Funding,
    FundingFailed,
    FundingFound,
    GiveUpReceive,
    Held,
    HtlcHeld,
    HtlcWaits,
    InvoiceCreated,
    Invoiced,
    InvoiceForgotten,
    InvoiceNotCreated,
    InvoiceRefused,
    New,
    Received,
    ReceiveDeclined,
    ReceiveExpired,
    ReceiveFacts,
    ReceiveFoundFunded,
    ReceiveFunded,
    ReceiveFunding,
    ReceiveFundingFailed,
    ReceiveFundingSigned,
    ReceiveHtlcWaits,
    ReceiveInvoiced,
    ReceiveInvoiceRefused,
    ReceiveRefunded,
    ReceiveRefunding,
    ReceiveRefundLost,
    ReceiveRegistered,
    ReceiveSucceeded,
    Refunded,
    Refunding,
    RefundLost,
    Registered,
    RequestReceive,
    Undecryptable,
    stream_of,
)
from statemachines.receive_unhandled import UNHANDLED
from statemachines.transaction import (
    SIGN_WITHIN_S,
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    wallet_of,
)
from statemachines.wallet import ClaimInputs, FundingRefused, FundOutput

# Reasons that a sender sees when a direct swap fails (fedimint-gwv2-client/src/send_sm.rs).
REGISTRATION_ERROR = "RegistrationError"
REJECTED = "Rejected"
REFUNDED = "Refunded"
FAILURE = "Failure"


# --- before anybody paid -----------------------------------------------------------------------------------------


def _request(_state: New, input_: RequestReceive) -> Decision:
    return Decision(events=(ReceiveRegistered(facts=input_.facts),))


def _invoiced(_state: Registered, input_: InvoiceCreated) -> Decision:
    return Decision(events=(ReceiveInvoiced(invoice=input_.invoice),))


def _not_invoiced(_state: Registered, input_: InvoiceNotCreated) -> Decision:
    return Decision(events=(ReceiveInvoiceRefused(reason=input_.reason),))


def _forgotten(_state: Invoiced | Held, _input: InvoiceForgotten) -> Decision:
    return Decision(events=(ReceiveExpired(),))


# --- paid --------------------------------------------------------------------------------------------------------


def _htlc_held(state: Invoiced | Held, input_: HtlcHeld) -> Decision:
    """Fund for what the invoice asks for and keep what the payer gave beyond it, or cancel the HTLCs.

    Failing back hurts nobody else: the node holds one set of HTLCs for an invoice, and tells of it once it is whole.
    """
    facts = state.facts
    begin = completion.Begin(
        payment_hash=facts.payment_hash,
        federation_id=facts.federation_id,
        amount_msat=input_.amount_msat,
        overpaid_msat=max(0, input_.amount_msat - facts.invoice_msat),
    )
    begun = Tell(completion.stream_of(facts.payment_hash), begin)
    refusal = _another_amount(facts, input_.amount_msat) or input_.refusal
    refusal = refusal or _too_late(facts, input_.now_unix_s)
    if refusal is None and input_.deadline_blocks < DEADLINE_BLOCKS_MIN:
        refusal = f"only {input_.deadline_blocks} blocks are left until the HTLC's deadline"
    if refusal is not None:
        return Decision(
            events=(ReceiveDeclined(reason=refusal),),
            tells=(begun, *_answer(facts, "", _no_preimage(FAILURE, refusal))),
        )
    fund = _fund(facts, input_.now_unix_s)
    return Decision(events=(ReceiveFunding(payer=""),), tells=(begun, fund))


def _htlc_waits(_state: Invoiced, input_: HtlcWaits) -> Decision:
    """Say so once: it is shown, and nobody else may pay the invoice meanwhile."""
    return Decision(events=(ReceiveHtlcWaits(reason=input_.reason),))


def _fund_for_swap(state: Invoiced, input_: FundForSwap) -> Decision:
    """Fund for a send of ours; then nobody may pay the invoice over Lightning."""
    facts = state.facts
    refusal = _too_late(facts, input_.now_unix_s)
    if input_.amount_msat != facts.invoice_msat:
        refusal = "the invoice was made for another amount"
    if refusal is not None:
        told = send.SwapFailed(reason=REGISTRATION_ERROR, detail=refusal)
        return Decision(tells=(Tell(input_.payer, told),))
    close = (
        completion.Begin(
            payment_hash=facts.payment_hash,
            federation_id=facts.federation_id,
            amount_msat=facts.invoice_msat,
        ),
        completion.Cancel(),
    )
    closing = tuple(Tell(completion.stream_of(facts.payment_hash), told) for told in close)
    fund = _fund(facts, input_.now_unix_s)
    return Decision(events=(ReceiveFunding(payer=input_.payer),), tells=(*closing, fund))


def _another_amount(facts: ReceiveFacts, held_msat: int) -> str | None:
    """Payers may give up to twice the amount, such as to hide it from nodes on the way (BOLT 4)."""
    if facts.invoice_msat <= held_msat <= OVERPAID_MAX_FACTOR * facts.invoice_msat:
        return None
    return f"{held_msat} msat are held for an invoice of {facts.invoice_msat} msat"


def _too_late(facts: ReceiveFacts, now_unix_s: int) -> str | None:
    left_s = facts.contract_expires_unix_s - now_unix_s
    if left_s < CONTRACT_MARGIN_S:
        return f"the receiver waits for this payment for {max(0, left_s)} seconds more, too few to fund it"
    return None


def _fund(facts: ReceiveFacts, now_unix_s: int) -> Tell:
    output = FundedContract(facts.contract, facts.contract_msat)
    told = FundOutput(
        parent=stream_of(facts.payment_hash),
        output=output,
        sign_by_unix_s=now_unix_s + SIGN_WITHIN_S,
    )
    return Tell(wallet_of(facts.federation_id), told)


# --- funded or not -----------------------------------------------------------------------------------------------


def _funding_refused(state: Funding, input_: FundingRefused) -> Decision:
    facts = state.facts
    detail = (
        f"the gateway's ecash brings {input_.available_msat} msat, less than {facts.contract_msat}"
        " and fees"
    )
    return Decision(
        events=(ReceiveFundingFailed(error=detail),),
        tells=_answer(facts, state.payer, _no_preimage(REJECTED, detail)),
    )


def _funding_signed(_state: Funding, input_: TransactionSigned) -> Decision:
    return Decision(events=(ReceiveFundingSigned(tx=input_.tx, txid=input_.txid),))


def _funding_rejected(state: Funding, input_: TransactionRejected) -> Decision:
    return Decision(
        events=(ReceiveFundingFailed(error=input_.error),),
        tells=_answer(state.facts, state.payer, _no_preimage(REJECTED, input_.error)),
    )


def _funding_abandoned(state: Funding, _input: TransactionAbandoned) -> Decision:
    """Nothing has left, and the payer may be refunded by now: they are."""
    detail = "the funding was not signed in time: decided long ago, or by a process that ended"
    return Decision(
        events=(ReceiveFundingFailed(error=detail),),
        tells=_answer(state.facts, state.payer, _no_preimage(FAILURE, detail)),
    )


def _found_funded(state: Registered | Invoiced | Held | Funding, input_: FundingFound) -> Decision:
    """It is funded once: never again by us. The payer is answered as if this log had funded it."""
    facts = state.facts
    if isinstance(state, Funding) and state.txid:
        return Decision()
    found = ReceiveFoundFunded(txid=input_.txid, tx=input_.tx, payer=input_.payer)
    begin = completion.Begin(
        payment_hash=facts.payment_hash,
        federation_id=facts.federation_id,
        amount_msat=facts.invoice_msat,
    )
    htlcs = completion.stream_of(facts.payment_hash)
    tells = [Tell(htlcs, begin)]
    if input_.payer:
        tells.append(Tell(htlcs, completion.Cancel()))
    if input_.payer not in {"", UNKNOWN_PAYER}:
        tells.append(Tell(input_.payer, send.SwapFound()))
    return Decision(events=(found,), tells=tuple(tells))


def _funded(_state: Funding, _input: TransactionAccepted) -> Decision:
    return Decision(events=(ReceiveFunded(),))


def _decrypted(state: Decrypting, input_: Decrypted) -> Decision:
    payer = state.payer
    told: AnyInput = (
        send.SwapSucceeded(preimage=input_.preimage)
        if payer
        else completion.Settle(preimage=input_.preimage)
    )
    return Decision(
        events=(ReceiveSucceeded(preimage=input_.preimage),),
        tells=_answer(state.facts, payer, told),
    )


def _undecryptable(state: Decrypting, input_: Undecryptable) -> Decision:
    """Give the payer's side up, and take the contract back if that is worth its fees. Its federation counts it."""
    facts = state.facts
    counted = federation.FruitlessFunding(now_unix_s=input_.now_unix_s)
    answered = (
        *_answer(facts, state.payer, _no_preimage(REFUNDED, "the contract has no preimage")),
        Tell(federation.stream_of(facts.federation_id), counted),
    )
    if facts.refund_worth_msat <= 0:
        why = f"{facts.contract_msat} msat do not pay for taking them back"
        return Decision(events=(ReceiveRefundLost(reason=why),), tells=answered)
    refund = IncomingRefund(
        txid=state.txid,
        out_idx=0,
        amount_msat=facts.contract_msat,
        decryption_key=input_.decryption_key,
    )
    claim = ClaimInputs(parent=stream_of(facts.payment_hash), claims=(refund,))
    return Decision(
        events=(ReceiveRefunding(),),
        tells=(*answered, Tell(wallet_of(facts.federation_id), claim)),
    )


def _refunded(state: Refunding, input_: TransactionFinished) -> Decision:
    """Of two transactions of this receive only the refund's end is the end."""
    if input_.tx == state.tx:
        return Decision()
    received_msat = sum(note.amount_msat for note in input_.notes)
    return Decision(events=(ReceiveRefunded(received_msat=received_msat),))


def _refund_rejected(state: Refunding, input_: TransactionRejected) -> Decision:
    """A second funding that a restored log had reserved is rejected too, and says nothing of the refund."""
    if input_.tx == state.tx:
        return Decision()
    refused = federation.ClaimRefused(
        stream=stream_of(state.facts.payment_hash), error=input_.error
    )
    return Decision(
        events=(ReceiveRefundLost(reason=input_.error),),
        tells=(Tell(federation.stream_of(state.facts.federation_id), refused),),
    )


#: Why nothing is bought where the operator no longer waits for guardians.
GIVEN_UP = "the operator gave the receiver's federation up"


def _give_up_funding(state: Funding, _input: GiveUpReceive) -> Decision:
    """Its transaction is given up in the same append."""
    return Decision(
        events=(ReceiveFundingFailed(error=GIVEN_UP),),
        tells=_answer(state.facts, state.payer, _no_preimage(FAILURE, GIVEN_UP)),
    )


def _give_up_contract(state: Decrypting, _input: GiveUpReceive) -> Decision:
    """It was paid for out of our own pocket."""
    return Decision(
        events=(ReceiveRefundLost(reason=GIVEN_UP),),
        tells=_answer(state.facts, state.payer, _no_preimage(FAILURE, GIVEN_UP)),
    )


def _answer(facts: ReceiveFacts, payer: str, told: AnyInput) -> tuple[Tell, ...]:
    """To the send of a swap, or to the HTLCs at our node."""
    if payer == UNKNOWN_PAYER:
        return ()
    if payer:
        return (Tell(payer, told),)
    htlcs = completion.Cancel() if isinstance(told, send.SwapFailed) else told
    return (Tell(completion.stream_of(facts.payment_hash), htlcs),)


def _no_preimage(reason: str, detail: str) -> send.SwapFailed:
    return send.SwapFailed(reason=reason, detail=detail)


# --- wanting -----------------------------------------------------------------------------------------------------


def _wants_invoice(state: Registered) -> Mapping[str, Effect]:
    return {"invoice": receive.CreateInvoice(facts=state.facts)}


def _wants_end(state: Invoiced | Held) -> Mapping[str, Effect]:
    facts = state.facts
    forget = receive.ForgetInvoice(
        payment_hash=facts.payment_hash, expires_unix_s=facts.invoice_expires_unix_s
    )
    return {"forget": forget}


def _wants_preimage(state: Decrypting) -> Mapping[str, Effect]:
    facts = state.facts
    return {
        "decrypt": receive.DecryptPreimage(
            federation_id=facts.federation_id, contract=facts.contract, txid=state.txid
        )
    }


# --- the table ---------------------------------------------------------------------------------------------------

_HANDLED: Rules = {
    (New, RequestReceive): Handle(_request, to=(Registered,)),
    (Registered, InvoiceCreated): Handle(_invoiced, to=(Invoiced,)),
    (Registered, InvoiceNotCreated): Handle(_not_invoiced, to=(InvoiceRefused,)),
    (Invoiced, InvoiceForgotten): Handle(_forgotten, to=(Expired,)),
    (Invoiced, HtlcHeld): Handle(_htlc_held, to=(Funding, Declined)),
    (Invoiced, HtlcWaits): Handle(_htlc_waits, to=(Held,)),
    (Held, HtlcHeld): Handle(_htlc_held, to=(Funding, Declined)),
    (Held, InvoiceForgotten): Handle(_forgotten, to=(Expired,)),
    (Held, FundingFound): Handle(_found_funded, to=(Decrypting,)),
    (Invoiced, FundForSwap): Handle(_fund_for_swap, to=(Funding,)),
    (Registered, FundingFound): Handle(_found_funded, to=(Decrypting,)),
    (Invoiced, FundingFound): Handle(_found_funded, to=(Decrypting,)),
    (Funding, FundingFound): Handle(_found_funded, to=(Decrypting,)),
    (Funding, FundingRefused): Handle(_funding_refused, to=(FundingFailed,)),
    (Funding, TransactionSigned): Handle(_funding_signed, to=(Funding,)),
    (Funding, TransactionAccepted): Handle(_funded, to=(Decrypting,)),
    (Funding, TransactionRejected): Handle(_funding_rejected, to=(FundingFailed,)),
    (Funding, TransactionAbandoned): Handle(_funding_abandoned, to=(FundingFailed,)),
    (Funding, GiveUpReceive): Handle(_give_up_funding, to=(FundingFailed,)),
    (Decrypting, GiveUpReceive): Handle(_give_up_contract, to=(RefundLost,)),
    (Decrypting, Decrypted): Handle(_decrypted, to=(Received,)),
    (Decrypting, Undecryptable): Handle(_undecryptable, to=(Refunding, RefundLost)),
    (Refunding, TransactionFinished): Handle(_refunded, to=(Refunded,)),
    (Refunding, TransactionRejected): Handle(_refund_rejected, to=(RefundLost,)),
}


def _funding_signed_in(state: Funding, event: ReceiveFundingSigned) -> Funding:
    return Funding(facts=state.facts, payer=state.payer, tx=event.tx, txid=event.txid)


def _refund_lost(state: Decrypting | Refunding, event: ReceiveRefundLost) -> RefundLost:
    return RefundLost(facts=state.facts, payer=state.payer, reason=event.reason)


MACHINE = Machine(
    kind="receive",
    initial=New(),
    states=(
        New,
        Registered,
        Invoiced,
        Held,
        InvoiceRefused,
        Expired,
        Declined,
        Funding,
        FundingFailed,
        Decrypting,
        Received,
        Refunding,
        Refunded,
        RefundLost,
    ),
    inputs=(
        RequestReceive,
        InvoiceCreated,
        InvoiceNotCreated,
        InvoiceForgotten,
        HtlcHeld,
        HtlcWaits,
        FundForSwap,
        FundingRefused,
        TransactionSigned,
        TransactionAccepted,
        TransactionFinished,
        TransactionRejected,
        TransactionAbandoned,
        FundingFound,
        GiveUpReceive,
        Decrypted,
        Undecryptable,
    ),
    rules=table(_HANDLED, UNHANDLED),
    evolvers={
        ReceiveRegistered: lambda _state, event: Registered(facts=event.facts),
        ReceiveInvoiced: lambda state, event: Invoiced(facts=state.facts, invoice=event.invoice),
        ReceiveInvoiceRefused: lambda state, event: InvoiceRefused(
            facts=state.facts, reason=event.reason
        ),
        ReceiveExpired: lambda state, _event: Expired(facts=state.facts),
        ReceiveDeclined: lambda state, event: Declined(facts=state.facts, reason=event.reason),
        ReceiveHtlcWaits: lambda state, event: Held(
            facts=state.facts, invoice=state.invoice, reason=event.reason
        ),
        ReceiveFunding: lambda state, event: Funding(facts=state.facts, payer=event.payer),
        ReceiveFundingSigned: _funding_signed_in,
        ReceiveFoundFunded: lambda state, event: Decrypting(
            facts=state.facts, payer=event.payer, tx=event.tx, txid=event.txid
        ),
        ReceiveFunded: lambda state, _event: Decrypting(
            facts=state.facts, payer=state.payer, tx=state.tx, txid=state.txid
        ),
        ReceiveFundingFailed: lambda state, event: FundingFailed(
            facts=state.facts, payer=state.payer, error=event.error
        ),
        ReceiveSucceeded: lambda state, event: Received(
            facts=state.facts, payer=state.payer, txid=state.txid, preimage=event.preimage
        ),
        ReceiveRefunding: lambda state, _event: Refunding(
            facts=state.facts, payer=state.payer, tx=state.tx, txid=state.txid
        ),
        ReceiveRefunded: lambda state, event: Refunded(
            facts=state.facts, payer=state.payer, received_msat=event.received_msat
        ),
        ReceiveRefundLost: _refund_lost,
    },
    wants_of={
        Registered: _wants_invoice,
        Invoiced: _wants_end,
        Held: _wants_end,
        Decrypting: _wants_preimage,
    },
    final=frozenset(
        {InvoiceRefused, Expired, Declined, FundingFailed, Received, Refunded, RefundLost}
    ),
)
