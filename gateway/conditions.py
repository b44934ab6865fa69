"""The conditions of committing money, checked in the very step that decides.

A measurement waits for the node or for guardians, and meanwhile the federation is left, receiving is switched off, time
runs out. So what a caller found out before does not count: the engine asks this of every input, and nothing can happen
between the answer and the decision. What only others know is measured before, says when that began, and is measured
again once it is older than MEASURED_LIMIT_S.

A condition on taking new work, or on committing money, belongs into this table and nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.machine import Input
from engine.quarantine import QuarantinedError
from errors import ConflictError, InputError, OutdatedError, UnavailableError
from fedimint.codec import bolt11
from gateway import status, trust
from gateway.context import GatewayContext
from gateway.receivers import (
    check_places,
    is_from_our_node,
    refusal_of_swap,
    refusal_to_fund,
)
from statemachines import (
    exposure,
    federation,
    gift,
    image,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    send_rules,
    transaction,
    wallet,
    withdrawal,
)

#: Ends of an operation from which follows that no other contract of its payment hash has to be claimed.
_ENDED = (send.Claimed, send.Cancelled, operator_payment.Paid, operator_payment.Failed)
#: What is measured takes at most two answers of the node and one of the guardians; the margins in blocks are for that.
MEASURED_LIMIT_S = 60


def asked_now(context: GatewayContext, stream: str, input_: Input) -> Input:
    """The input with what holds now. Raises the error that refuses it: nothing is decided then."""
    ask = _CONDITIONS.get(type(input_))
    return ask(context, stream, input_) if ask is not None else input_


def is_recent(age_s: int) -> bool:
    """Whether what began so many seconds ago may be acted on: neither too long ago, nor by another clock."""
    return 0 <= age_s <= MEASURED_LIMIT_S


def check_recent(context: GatewayContext, measured_unix_s: int) -> None:
    """Raises OutdatedError for what was measured too long ago, or by another clock."""
    age_s = context.now_unix_s() - measured_unix_s
    if not is_recent(age_s):
        raise OutdatedError(
            f"node or guardians took {age_s} s to answer, and only answers of the last {MEASURED_LIMIT_S} s "
            "are decided on: they are asked again"
        )


# --- new work ------------------------------------------------------------------------------------------------------


def _takes_work(context: GatewayContext, federation_id: str) -> None:
    """Raises InputError for a federation that is not served, UnavailableError while nothing new is begun."""
    context.served(federation_id)
    context.refuse_new_work(federation_id)


def _send_requested(
    context: GatewayContext, _stream: str, input_: send.RequestSend
) -> send.RequestSend:
    """What this log knows of the invoice.

    One that is older than the newest restore may be of a payment that the lost events paid or cancelled, at the node
    of the backup, whichever took its place since. Of two contracts for it nobody knows which one they had accepted: the
    second is refused with nothing written until the first has ended, since the node's record of that hash decides for
    both. Raises ConflictError then.
    """
    facts, restoration = input_.facts, context.restoration
    _takes_work(context, facts.federation_id)
    owner = _owner_of(context, facts.payment_hash)
    is_second = owner not in {"", send.stream_of(facts.contract_id)}
    if is_second:
        context.refuse_unheard()
    may_be_lost = restoration is not None and (
        bolt11.decode(facts.invoice).timestamp_unix_s <= restoration.restored_unix_s
    )
    if may_be_lost and is_second and not isinstance(context.engine.peek(owner), _ENDED):
        raise ConflictError(
            "this payment hash belongs to another operation, and since the gateway's log was restored from a "
            "backup nobody knows yet which of both was paid: ask again when the other one is over"
        )
    node = context.pin.public_key or facts.node
    if may_be_lost and restoration is not None and restoration.node:
        node = restoration.node
    return msgspec.structs.replace(
        input_,
        facts=msgspec.structs.replace(facts, node=node),
        may_be_lost=may_be_lost,
        image_owner=owner,
    )


def _owner_of(context: GatewayContext, payment_hash: str) -> str:
    """The stream that has this payment image; empty when none has it."""
    owner = context.engine.peek(image.stream_of(payment_hash))
    return owner.operation if isinstance(owner, image.Claimed) else ""


def _receive_requested(
    context: GatewayContext, _stream: str, input_: receive.RequestReceive
) -> receive.RequestReceive:
    _takes_work(context, input_.facts.federation_id)
    context.watch.synced()
    refusal = refusal_to_fund(context, input_.facts)
    if refusal is not None:
        raise InputError(refusal)
    return input_


def _ecash_asked_for(
    context: GatewayContext, _stream: str, input_: gift.RequestGift | reissue.RequestReissue
) -> Input:
    _takes_work(context, input_.facts.federation_id)
    return input_


def _withdrawal_requested(
    context: GatewayContext, _stream: str, input_: withdrawal.RequestWithdrawal
) -> withdrawal.RequestWithdrawal:
    _takes_work(context, input_.facts.federation_id)
    check_recent(context, input_.now_unix_s)
    return msgspec.structs.replace(input_, now_unix_s=context.now_unix_s())


def _notes_rebalanced(
    context: GatewayContext, stream: str, input_: wallet.Rebalance
) -> wallet.Rebalance:
    """Raises ConflictError while anything is under way that may need the notes."""
    federation_id = stream.partition("/")[2]
    _takes_work(context, federation_id)
    under_way = status.open_streams_of(context.engine, federation_id)
    if under_way:
        raise ConflictError(f"{under_way[0]} is under way and may need the notes")
    return input_


def _operator_payment_requested(
    context: GatewayContext, _stream: str, input_: operator_payment.RequestOperatorPayment
) -> operator_payment.RequestOperatorPayment:
    context.refuse_new_work()
    context.refuse_unheard()
    if bolt11.decode(input_.facts.invoice).expires_unix_s <= context.now_unix_s():
        raise InputError("the invoice has expired; ask its payee for another")
    owner = _owner_of(context, input_.facts.payment_hash)
    is_given_up = bool(owner) and isinstance(context.engine.peek(owner), send.Cancelled)
    return msgspec.structs.replace(input_, given_up=owner if is_given_up else "")


def _order_requested(
    context: GatewayContext, _stream: str, input_: node_order.RequestOrder
) -> node_order.RequestOrder:
    context.refuse_new_work()
    return input_


def _given_up(
    context: GatewayContext, stream: str, _input: federation.GiveUpFederation
) -> federation.GiveUpFederation:
    """What is under way in the moment of giving up, and how much is held."""
    federation_id = stream.partition("/")[2]
    context.served(federation_id)
    open_now = context.engine.open_streams()
    bought = {
        one: state
        for one, state in open_now.items()
        if isinstance(state, receive.Funding | receive.Decrypting)
        and state.facts.federation_id == federation_id
        and _is_known(context, one)
    }
    funding = tuple(
        one
        for one, state in open_now.items()
        if isinstance(state, transaction.Reserved | transaction.Signed)
        and state.reservation.parent in bought
        and _is_known(context, one)
    )
    held_msat = sum(exposure.held_msat(state, federation_id) for state in open_now.values())
    # What these bought is lost by their own end, once.
    lost_msat = sum(exposure.held_msat(state, federation_id) for state in bought.values())
    return federation.GiveUpFederation(
        receives=tuple(sorted(bought)),
        transactions=funding,
        written_off_msat=held_msat - lost_msat,
    )


def _is_known(context: GatewayContext, stream: str) -> bool:
    """Whether anything can be decided on it: what this program cannot read waits for another one."""
    try:
        context.engine.peek(stream)
    except QuarantinedError:
        return False
    return True


# --- what was measured ---------------------------------------------------------------------------------------------


def _htlc_held(context: GatewayContext, stream: str, input_: receive.HtlcHeld) -> receive.HtlcHeld:
    state = context.engine.peek(stream)
    if not isinstance(state, receive.UNDECIDED_STATES):
        return input_
    if not is_from_our_node(context, state.invoice):
        raise UnavailableError("another Lightning node made this invoice: its HTLCs are not ours")
    context.refuse_new_work(state.facts.federation_id)
    context.refuse_unheard()
    check_recent(context, input_.now_unix_s)
    refusal = refusal_to_fund(context, state.facts) or input_.refusal
    if refusal is None:
        check_places(context, state.facts)
    return msgspec.structs.replace(input_, now_unix_s=context.now_unix_s(), refusal=refusal)


def _swap_measured(
    context: GatewayContext, stream: str, input_: send.SwapMeasured
) -> send.SwapMeasured:
    state = context.engine.peek(stream)
    if not isinstance(state, send.Accepted):
        return input_
    context.refuse_unheard()
    check_recent(context, input_.now_unix_s)
    facts = state.facts
    refusal = refusal_of_swap(context, facts.payment_hash, facts.invoice_msat) or input_.refusal
    receiver = context.engine.peek(receive.stream_of(facts.payment_hash))
    if refusal is None and isinstance(receiver, receive.Invoiced):
        check_places(context, receiver.facts)
    return msgspec.structs.replace(
        input_,
        now_unix_s=context.now_unix_s(),
        refusal=refusal,
        untrusted=trust.distrust(context, facts, is_new=True),
    )


def _budget_measured(
    context: GatewayContext, stream: str, input_: send.BudgetMeasured
) -> send.BudgetMeasured:
    state = context.engine.peek(stream)
    if not isinstance(state, send.Accepted):
        return input_
    context.refuse_unheard()
    check_recent(context, input_.now_unix_s)
    return msgspec.structs.replace(
        input_,
        now_unix_s=context.now_unix_s(),
        untrusted=trust.distrust(context, state.facts, is_new=True),
    )


def _built(context: GatewayContext, _stream: str, input_: transaction.Built) -> transaction.Built:
    return msgspec.structs.replace(input_, now_unix_s=context.now_unix_s())


def _record_looked_up(
    context: GatewayContext, stream: str, input_: send.RecordLookedUp
) -> send.RecordLookedUp:
    """The time stays that of the question: a call may have reached the node since.

    Where only another call could follow and none may leave any more, it is looked up again. Raises OutdatedError then.
    """
    state = context.engine.peek(stream)
    if not isinstance(state, send.Unanswered):
        return input_
    context.refuse_unheard()
    check_recent(context, input_.looked_up_unix_s)
    untrusted = trust.distrust(context, state.facts, is_new=False)
    judged = msgspec.structs.replace(input_, untrusted=untrusted)
    if untrusted is not None and not send_rules.may_decide(state, judged):
        raise OutdatedError(untrusted)
    return judged


_CONDITIONS: Mapping[type[Input], Callable[[GatewayContext, str, Any], Input]] = {
    send.RequestSend: _send_requested,
    send.BudgetMeasured: _budget_measured,
    send.SwapMeasured: _swap_measured,
    send.RecordLookedUp: _record_looked_up,
    receive.RequestReceive: _receive_requested,
    receive.HtlcHeld: _htlc_held,
    transaction.Built: _built,
    gift.RequestGift: _ecash_asked_for,
    reissue.RequestReissue: _ecash_asked_for,
    withdrawal.RequestWithdrawal: _withdrawal_requested,
    operator_payment.RequestOperatorPayment: _operator_payment_requested,
    wallet.Rebalance: _notes_rebalanced,
    node_order.RequestOrder: _order_requested,
    federation.GiveUpFederation: _given_up,
}
