"""What each event moves between the accounts of `statemachines/accounts.py`, in msat; each event sums to zero."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.events import Event
from engine.quarantine import QuarantineLifted, StreamQuarantined
from statemachines import (
    completion,
    deposit,
    deposits,
    federation,
    gift,
    identity,
    image,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    transaction,
    wallet,
    withdrawal,
)
from statemachines.accounts import (
    CHAIN_FEES,
    DEPOSITED,
    DUST,
    ECASH_GIVEN,
    ECASH_RECEIVED,
    FEDERATION_FEES,
    FEES_EARNED,
    LOST,
    NODE,
    OPERATOR,
    OVERPAID,
    RECOVERED,
    ROUTING_FEES,
    SWAPS,
    WITHDRAWN,
    Amounts,
    contracts,
    deposited,
    ecash,
    given_up,
    htlcs,
    incoming,
    move,
    total,
    transit,
)
from statemachines.items import (
    Claim,
    DepositClaim,
    ForeignNote,
    FundedContract,
    HeldNote,
    Issue,
    Output,
)

Payable = (
    send.Accepted
    | send.Swapping
    | send.Dispatching
    | send.Unanswered
    | send.InFlight
    | send.Vanished
)


# --- wallets -------------------------------------------------------------------------------------------------------


def _recovered(before: wallet.Wallet, event: wallet.WalletRecovered) -> Amounts:
    return move(_worth(event.notes), RECOVERED, ecash(before.federation_id))


def _reserved(before: wallet.Wallet, event: wallet.WalletReserved) -> Amounts:
    promised_msat = _worth_of(before, event.nonces)
    return move(promised_msat, ecash(before.federation_id), transit(before.federation_id))


def _forgotten(before: wallet.Wallet, event: wallet.WalletForgotten) -> Amounts:
    """What it was spent on is lost with its events; what came of it is recovered from where it is now."""
    return move(_worth_of(before, event.nonces), ecash(before.federation_id), RECOVERED)


def _spent(before: wallet.Wallet, event: wallet.WalletSpent) -> Amounts:
    return move(_worth_of(before, event.nonces), ecash(before.federation_id), ECASH_GIVEN)


def _restored(before: wallet.Wallet, event: wallet.WalletRestored) -> Amounts:
    back_msat = _worth(before.spending[event.tx])
    return move(back_msat, transit(before.federation_id), ecash(before.federation_id))


def _credited(before: wallet.Wallet, event: wallet.WalletCredited) -> Amounts:
    new_msat = _worth(event.notes)
    return move(new_msat, transit(before.federation_id), ecash(before.federation_id))


# --- transactions --------------------------------------------------------------------------------------------------


def _brought_in(claim: Claim, federation_id: str) -> Amounts:
    """A claim's way into a transaction, from the account that held it."""
    if isinstance(claim, DepositClaim):
        return {
            deposited(federation_id): -claim.value_sat * 1_000,
            CHAIN_FEES: claim.fee_sat * 1_000,
            transit(federation_id): claim.amount_msat,
        }
    source = ECASH_RECEIVED if isinstance(claim, ForeignNote) else contracts(federation_id)
    return move(claim.amount_msat, source, transit(federation_id))


def _signed(before: transaction.Reserved, _event: transaction.TxSigned) -> Amounts:
    reservation = before.reservation
    return total(_brought_in(claim, reservation.federation_id) for claim in reservation.claims)


def _rejected(before: transaction.Signed, _event: transaction.TxRejected) -> Amounts:
    """Claims go back where they were; notes go back by the wallet's own events."""
    reservation = before.reservation
    brought = total(_brought_in(claim, reservation.federation_id) for claim in reservation.claims)
    return {account: -amount_msat for account, amount_msat in brought.items()}


def _taken_out(output: Output, federation_id: str) -> Amounts:
    if isinstance(output, FundedContract):
        return {incoming(federation_id): output.amount_msat}
    return {WITHDRAWN: output.value_sat * 1_000, CHAIN_FEES: output.fee_sat * 1_000}


def _accepted(before: transaction.Signed, _event: transaction.TxAccepted) -> Amounts:
    """The inputs are gone: what is not issued or paid out went to the federation, or was too little for a note."""
    reservation = before.reservation
    in_msat = reservation.in_msat
    out_msat = sum(output.amount_msat for output in reservation.outputs)
    issued_msat = _issued(before.signed.issues)
    fees_msat = reservation.input_fee_msat + reservation.output_fee_msat
    taken = [_taken_out(output, reservation.federation_id) for output in reservation.outputs]
    rest = {
        transit(reservation.federation_id): issued_msat - in_msat,
        FEDERATION_FEES: fees_msat,
        DUST: in_msat - out_msat - issued_msat - fees_msat,
    }
    return total([*taken, rest])


# --- payments ------------------------------------------------------------------------------------------------------


def _paid(before: Payable, event: send.SendPaid) -> Amounts:
    facts = before.facts
    source = NODE
    if facts.is_swap:  # held back, it learns the preimage of a receive that lost events funded
        source = RECOVERED if isinstance(before, send.Unanswered) else SWAPS
    return {
        source: -facts.invoice_msat - event.routing_fee_msat,
        contracts(facts.federation_id): facts.contract_msat,
        FEES_EARNED: facts.invoice_msat - facts.contract_msat,
        ROUTING_FEES: event.routing_fee_msat,
    }


def _received(before: receive.Decrypting, _event: receive.ReceiveSucceeded) -> Amounts:
    facts = before.facts
    payers = {"": htlcs(facts.federation_id), receive.UNKNOWN_PAYER: RECOVERED}
    return {
        incoming(facts.federation_id): -facts.contract_msat,
        payers.get(before.payer, SWAPS): facts.invoice_msat,
        FEES_EARNED: facts.contract_msat - facts.invoice_msat,
    }


def _found_funded(
    before: receive.Registered | receive.Invoiced | receive.Held | receive.Funding, _event: object
) -> Amounts:
    facts = before.facts
    return move(facts.contract_msat, RECOVERED, incoming(facts.federation_id))


def _refunding(before: receive.Decrypting, _event: receive.ReceiveRefunding) -> Amounts:
    facts = before.facts
    return move(facts.contract_msat, incoming(facts.federation_id), contracts(facts.federation_id))


def _refund_lost(
    before: receive.Decrypting | receive.Refunding, _event: receive.ReceiveRefundLost
) -> Amounts:
    facts = before.facts
    account = incoming if isinstance(before, receive.Decrypting) else contracts
    return move(facts.contract_msat, account(facts.federation_id), LOST)


def _settling(before: completion.Waiting, _event: completion.CompletionSettling) -> Amounts:
    """What the payer gave beyond the invoice; the rest is booked with the preimage, in the same append."""
    return move(before.overpaid_msat, OVERPAID, htlcs(before.federation_id))


def _settled(before: completion.Settling, _event: completion.CompletionSettled) -> Amounts:
    return move(before.amount_msat, htlcs(before.federation_id), NODE)


def _contradicted(
    before: completion.Settling | completion.Cancelling, _event: completion.CompletionRejected
) -> Amounts:
    if isinstance(before, completion.Settling):
        return move(before.amount_msat, htlcs(before.federation_id), LOST)
    return {}


def _operator_paid(
    before: operator_payment.Paying, event: operator_payment.OperatorPaymentPaid
) -> Amounts:
    invoice_msat, fee_msat = before.facts.invoice_msat, event.routing_fee_msat
    return {NODE: -invoice_msat - fee_msat, OPERATOR: invoice_msat, ROUTING_FEES: fee_msat}


# --- tools ---------------------------------------------------------------------------------------------------------


def _worth(notes: Iterable[HeldNote]) -> int:
    return sum(note.amount_msat for note in notes)


def _worth_of(before: wallet.Wallet, nonces: Iterable[str]) -> int:
    wanted = set(nonces)
    return _worth(note for note in before.notes if note.nonce in wanted)


def _issued(issues: Iterable[Issue]) -> int:
    return sum(1 << issue.denomination for issue in issues)


def _given_up(before: federation.Joined, event: federation.FederationGivenUp) -> Amounts:
    return move(event.written_off_msat, given_up(before.facts.federation_id), LOST)


def _joined(before: federation.NotJoined | federation.Left, _event: object) -> Amounts:
    """What was given up is there again, as far as the federation is."""
    if not isinstance(before, federation.Left):
        return {}
    return move(before.written_off_msat, LOST, given_up(before.facts.federation_id))


BOOKINGS: Mapping[type[Event], Callable[[Any, Any], Amounts]] = {
    wallet.WalletRecovered: _recovered,
    wallet.WalletForgotten: _forgotten,
    wallet.WalletReserved: _reserved,
    wallet.WalletSpent: _spent,
    wallet.WalletRestored: _restored,
    wallet.WalletCredited: _credited,
    wallet.NotesLost: lambda before, event: move(
        event.amount_msat, transit(before.federation_id), LOST
    ),
    transaction.TxSigned: _signed,
    transaction.TxAccepted: _accepted,
    transaction.TxRejected: _rejected,
    transaction.TxGivenUp: _rejected,
    transaction.TxCollected: lambda before, event: move(
        event.lost_msat, transit(before.reservation.federation_id), LOST
    ),
    federation.FederationGivenUp: _given_up,
    federation.FederationJoined: _joined,
    deposit.DepositFound: lambda _before, event: move(
        event.output.value_sat * 1_000, DEPOSITED, deposited(event.federation_id)
    ),
    deposit.DepositDropped: lambda before, _event: move(
        before.output.value_sat * 1_000, deposited(before.federation_id), LOST
    ),
    send.SendPaid: _paid,
    send.SendClaimRejected: lambda before, _event: move(
        before.facts.contract_msat, contracts(before.facts.federation_id), LOST
    ),
    receive.ReceiveFoundFunded: _found_funded,
    receive.ReceiveSucceeded: _received,
    receive.ReceiveRefunding: _refunding,
    receive.ReceiveRefundLost: _refund_lost,
    completion.CompletionSettling: _settling,
    completion.CompletionSettled: _settled,
    completion.CompletionRejected: _contradicted,
    operator_payment.OperatorPaymentPaid: _operator_paid,
}

#: Events that move nothing, named so that a new event is never forgotten.
MOVES_NOTHING: frozenset[type[Event]] = frozenset(
    {
        StreamQuarantined,
        QuarantineLifted,
        identity.GatewayFounded,
        identity.IndexTaken,
        identity.GatewayRestored,
        identity.GatewayReconciled,
        identity.NodePinned,
        identity.NodeReplaced,
        federation.TermsSet,
        federation.ExposureCapSet,
        federation.FederationDistrusted,
        federation.ContractWithoutPreimage,
        federation.FederationTrusted,
        federation.FederationLeft,
        image.ImageClaimed,
        wallet.WalletOpened,
        wallet.TweaksAdded,
        wallet.TweaksDiscarded,
        transaction.TxReserved,  # its wallet's `wallet.reserved` stands in the same append
        transaction.TxAbandoned,
        deposits.DepositsWatched,
        deposits.DepositsPaused,
        deposits.DepositsAddressGround,
        deposits.DepositsScanned,
        deposit.DepositClaiming,
        deposit.DepositClaimed,
        deposit.DepositClaimRejected,
        send.SendAccepted,
        send.SendSwapping,
        send.SendDispatching,
        send.SendUnanswered,
        send.SendHeldBack,
        send.SendInFlight,
        send.SendVanished,
        send.SendClaiming,
        send.SendClaimed,
        send.SendCancelling,
        send.SendCancelled,
        receive.ReceiveRegistered,
        receive.ReceiveInvoiced,
        receive.ReceiveInvoiceRefused,
        receive.ReceiveExpired,
        receive.ReceiveDeclined,
        receive.ReceiveHtlcWaits,
        receive.ReceiveFunding,
        receive.ReceiveFundingSigned,
        receive.ReceiveFunded,
        receive.ReceiveFundingFailed,
        receive.ReceiveRefunded,
        completion.CompletionBegun,
        completion.CompletionCancelling,
        completion.CompletionCancelled,
        *withdrawal.MACHINE.events,
        *gift.MACHINE.events,
        *reissue.MACHINE.events,
        *node_order.MACHINE.events,
        operator_payment.OperatorPaymentRequested,
        operator_payment.OperatorPaymentRefused,
    }
)
