"""Possible results of every effect of the machines, the ordinary one first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from engine.machine import Effect, Input
from fuzz.machines.scene import EXPIRES_UNIX_S, NODE, OTHER_NODE, PREIMAGE, Scene, note, txid_of
from statemachines import (
    completion,
    deposit,
    deposits,
    node_order,
    operator_payment,
    receive,
    reserving,
    send,
    transaction,
    withdrawal,
)
from statemachines.items import ForeignNote, Issue, SignedTransaction
from statemachines.wallet import Wallet

OVER_UNIX_S = EXPIRES_UNIX_S + send.EXPIRY_MARGIN_S

_SEEN = send.SeenInFlight()
_SUCCEEDED = send.PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1_000)
_FAILED = send.PaymentFailed(node=NODE, reason="no route")
_FAILED_ELSEWHERE = send.PaymentFailed(node=OTHER_NODE, reason="no route")
_CONFIRMED = completion.NodeConfirmed()
_CONTRADICTED = completion.NodeContradicted(error="never")


def results_of(scene: Scene, effect: Effect) -> Sequence[Input]:
    """Every kind of result that a handler may have for `effect` now."""
    return _RESULTS[type(effect)](scene, effect)


def _budget(_scene: Scene, _effect: send.MeasureBudget) -> Sequence[Input]:
    measured = [
        send.BudgetMeasured(node=NODE, remaining_blocks=blocks, now_unix_s=now_unix_s)
        for blocks, now_unix_s in ((500, 5_000), (144, 5_000), (500, EXPIRES_UNIX_S))
    ]
    replaced = send.BudgetMeasured(node=OTHER_NODE, remaining_blocks=500, now_unix_s=5_000)
    return *measured, replaced, _SEEN, _SUCCEEDED, _FAILED


def _swap(scene: Scene, effect: send.MeasureSwap) -> Sequence[Input]:
    """The receiver is judged by its state at this moment, as the gateway's handler does."""
    receiver = scene.state(receive.stream_of(effect.facts.payment_hash))
    refusal = None if isinstance(receiver, receive.Invoiced) else "nobody waits for this"
    return [
        send.SwapMeasured(remaining_blocks=blocks, now_unix_s=5_000, refusal=refusal)
        for blocks in (500, 144)
    ]


def _record(_scene: Scene, _effect: send.LookUpRecord) -> Sequence[Input]:
    """Once the invoice is long expired; before that `send_rules.may_decide` is asked, which test_send_node.py does."""
    records = [
        send.RecordLookedUp(
            node=NODE, failed_reason=failed, remaining_blocks=0, looked_up_unix_s=OVER_UNIX_S
        )
        for failed in (None, "no route")
    ]
    return *records, _SEEN, _SUCCEEDED


def _follow(_scene: Scene, effect: send.FollowPayment) -> Sequence[Input]:
    ends: list[Input] = [_SUCCEEDED, _FAILED]
    return [*ends, _SEEN] if effect.vanished else [*ends, send.CallUnanswered(), _FAILED_ELSEWHERE]


def _build(_scene: Scene, effect: transaction.BuildTransaction) -> Sequence[Input]:
    reservation = effect.reservation
    issues = tuple(
        issue if issue.tweak else Issue(issue.denomination, f"ground {number} of {reservation.tx}")
        for number, issue in enumerate(reservation.issues)
    )
    signed = SignedTransaction(txid_of(reservation.tx), b"bytes", issues)
    built = transaction.Built(signed=signed, now_unix_s=5_000)
    late = msgspec.structs.replace(built, now_unix_s=reservation.sign_by_unix_s + 1)
    foreign = any(isinstance(claim, ForeignNote) for claim in reservation.claims)
    given_up = [transaction.BuildAbandoned()] * (foreign or bool(reservation.sign_by_unix_s))
    return [built, late, *given_up]


def _notes(_scene: Scene, effect: transaction.CollectNotes) -> Sequence[Input]:
    notes = tuple(note(issue.tweak, issue.denomination) for issue in effect.issues)
    return [
        transaction.NotesCollected(
            notes=notes[bad:], lost_msat=sum(lost.amount_msat for lost in notes[:bad])
        )
        for bad in (0, 1)
    ]


def _scan(_scene: Scene, effect: deposits.ScanOutputs) -> Sequence[Input]:
    """Nothing of ours, or payments to the address given away: one, or one of two that is unspent."""
    watching = effect.watching
    index, address = watching.next_output + 3, watching.unused[0]
    found = deposit.DepositOutput(index, address.index, 60_000, f"{index}:0")
    return [
        deposits.OutputsScanned(next_output=index + 1, used=watching.used + used, found=outputs)
        for used, outputs in ((0, ()), (1, (found,)), (1, ()))
    ]


def _quote(scene: Scene, effect: deposit.QuoteReceiveFee) -> Sequence[Input]:
    wallet = scene.state(transaction.wallet_of(effect.federation_id))
    assert isinstance(wallet, Wallet)
    quotes = [
        deposit.ReceiveFeeQuoted(
            fee_sat=fee_sat,
            worth_msat=reserving.claim_worth_msat(
                wallet.fees, deposit.claim_of(effect.output, fee_sat)
            ),
        )
        for fee_sat in (1_000, 59_950, 70_000)
    ]
    return *quotes, deposit.OutputGone()


def _address(_scene: Scene, effect: deposits.GrindAddress) -> Sequence[Input]:
    address = deposits.DepositAddress(effect.start + 7, f"script {effect.start}")
    return [deposits.AddressGround(address=address)]


def _always(*results: Input) -> Callable[[Scene, Any], Sequence[Input]]:
    return lambda _scene, _effect: results


_RESULTS: Mapping[type[Effect], Callable[[Scene, Any], Sequence[Input]]] = {
    send.MeasureBudget: _budget,
    send.MeasureSwap: _swap,
    send.PayInvoice: _always(
        *(_SEEN, _SUCCEEDED, _FAILED, _FAILED_ELSEWHERE),
        *(send.CallRefused(reason="no"), send.CallUnanswered()),
    ),
    send.LookUpRecord: _record,
    send.FollowPayment: _follow,
    send.SignForfeit: _always(send.ForfeitSigned(forfeit="f0")),
    receive.CreateInvoice: _always(
        receive.InvoiceCreated(invoice="lnbcrt"), receive.InvoiceNotCreated(reason="no")
    ),
    receive.ForgetInvoice: _always(receive.InvoiceForgotten()),
    receive.DecryptPreimage: _always(
        receive.Decrypted(preimage=PREIMAGE),
        receive.Undecryptable(decryption_key="d0", now_unix_s=5_000),
    ),
    completion.SettleHtlcs: _always(_CONFIRMED, _CONTRADICTED),
    completion.CancelHtlcs: _always(_CONFIRMED, _CONTRADICTED),
    transaction.BuildTransaction: _build,
    transaction.SubmitTransaction: _always(
        transaction.SubmissionAccepted(),
        transaction.SubmissionAccepted(),
        transaction.SubmissionRejected(error="no"),
    ),
    transaction.CollectNotes: _notes,
    deposits.GrindAddress: _address,
    deposits.ScanOutputs: _scan,
    deposit.QuoteReceiveFee: _quote,
    withdrawal.AskBitcoinTxid: _always(withdrawal.BitcoinTxidKnown(bitcoin_txid="b7")),
    operator_payment.PayForOperator: _always(
        operator_payment.OperatorPaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=7),
        operator_payment.OperatorPaymentFailed(reason="no route"),
    ),
    node_order.PlaceOrder: _always(
        node_order.OrderPlaced(txid="aa"), node_order.NodeRefusedOrder(reason="no")
    ),
}
