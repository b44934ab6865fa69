"""Random inputs to a receive in every state: none breaks promise 4, none is answered by an error but a refusal."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine import Input, State
from errors import ConflictError
from fuzz.machines.scene import CONTRACT_EXPIRES_UNIX_S, PREIMAGE, receive_facts, step
from statemachines import completion, receive, receive_rules, send
from statemachines.receive import (
    DEADLINE_BLOCKS_MIN,
    Decrypted,
    Decrypting,
    FundForSwap,
    Funding,
    HtlcHeld,
    InvoiceCreated,
    Invoiced,
    InvoiceForgotten,
    InvoiceNotCreated,
    ReceiveFunding,
    Registered,
    RequestReceive,
    Undecryptable,
)
from statemachines.transaction import (
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
)
from statemachines.wallet import FundingRefused, FundOutput

MACHINE = receive_rules.MACHINE
FACTS = receive_facts()
PAYER = "send/1"

_AMOUNTS = st.sampled_from(
    [
        *[FACTS.invoice_msat] * 3,
        *(FACTS.invoice_msat - 1, FACTS.invoice_msat + 1, 0),
        *(2 * FACTS.invoice_msat, 2 * FACTS.invoice_msat + 1),
    ]
)
_TIMES = st.sampled_from(
    [0, CONTRACT_EXPIRES_UNIX_S - 60, CONTRACT_EXPIRES_UNIX_S - 59, CONTRACT_EXPIRES_UNIX_S]
)
_TXS = st.sampled_from(["tx/funding", "tx/refund"])
_INPUTS: st.SearchStrategy[Input] = st.one_of(
    st.builds(RequestReceive, facts=st.sampled_from([FACTS, receive_facts(refund_worth_msat=0)])),
    st.just(InvoiceCreated(invoice="lnbcrt1")),
    st.just(InvoiceNotCreated(reason="no")),
    st.just(InvoiceForgotten()),
    st.builds(
        HtlcHeld,
        amount_msat=_AMOUNTS,
        deadline_blocks=st.sampled_from([0, DEADLINE_BLOCKS_MIN - 1, DEADLINE_BLOCKS_MIN, 100]),
        now_unix_s=_TIMES,
        refusal=st.none() | st.just("switched off"),
    ),
    st.builds(FundForSwap, payer=st.just(PAYER), amount_msat=_AMOUNTS, now_unix_s=_TIMES),
    st.just(FundingRefused(available_msat=1)),
    st.builds(TransactionSigned, tx=_TXS, txid=st.just("77")),
    st.builds(TransactionAccepted, tx=_TXS, txid=st.just("77")),
    st.builds(TransactionFinished, tx=_TXS, notes=st.just(()), lost_msat=st.just(0)),
    st.builds(TransactionRejected, tx=_TXS, error=st.just("no"), is_reissue=st.just(False)),
    st.builds(TransactionAbandoned, tx=_TXS),
    st.just(Decrypted(preimage=PREIMAGE)),
    st.just(Undecryptable(decryption_key="d0", now_unix_s=5_000)),
)
_PAYERS = st.sampled_from(["", PAYER])
_STATES: st.SearchStrategy[State] = st.one_of(
    st.just(receive.New()),
    st.just(Registered(facts=FACTS)),
    st.just(Invoiced(facts=FACTS, invoice="lnbcrt1")),
    st.builds(Funding, facts=st.just(FACTS), payer=_PAYERS, tx=st.just("tx/funding")),
    st.builds(
        Decrypting,
        facts=st.just(FACTS),
        payer=_PAYERS,
        tx=st.just("tx/funding"),
        txid=st.just("77"),
    ),
    st.builds(
        receive.Refunding,
        facts=st.just(FACTS),
        payer=_PAYERS,
        tx=st.just("tx/funding"),
        txid=st.just("77"),
    ),
)


def _may_fund(before: State, input_: Input) -> bool:
    """Promise 4, said once more in other words than the machine's."""
    match before, input_:
        case Invoiced(), HtlcHeld(refusal=None):
            in_time = input_.deadline_blocks > 1 and _is_in_time(input_.now_unix_s)
            paid = input_.amount_msat / FACTS.invoice_msat
            return in_time and 1 <= paid <= 2
        case Invoiced(), FundForSwap():
            return _is_in_time(input_.now_unix_s) and input_.amount_msat == FACTS.invoice_msat
        case _:
            return False


def _is_in_time(now_unix_s: int) -> bool:
    return now_unix_s + 60 <= CONTRACT_EXPIRES_UNIX_S


def _may_give_up(before: State, input_: Input) -> bool:
    """When the payer may be refunded."""
    match before, input_:
        case Invoiced(), HtlcHeld():
            return not _may_fund(before, input_)
        case Invoiced(), FundForSwap():
            return True  # to the swap what must not be funded, and to Lightning what is
        case Funding(), FundingRefused() | TransactionRejected() | TransactionAbandoned():
            return True
        case Decrypting(), Undecryptable():
            return True
        case _:
            return False


def _may_be_refused(before: State, input_: Input) -> bool:
    return isinstance(before, receive.New) or isinstance(input_, RequestReceive | FundForSwap)


@settings(max_examples=1_000, deadline=None)
@given(_STATES, st.lists(_INPUTS, min_size=1))
def test_any_inputs_in_any_order_keep_the_promise(state: State, inputs: list[Input]) -> None:
    funded = 0
    for input_ in inputs:
        before = state
        try:
            state, events, told = step(MACHINE, before, input_)
        except ConflictError:
            assert _may_be_refused(before, input_)
            continue
        funds = any(isinstance(event, ReceiveFunding) for event in events)
        funded += funds
        assert funds == _may_fund(before, input_)
        assert funds == any(isinstance(each, FundOutput) for each in told)
        if any(isinstance(each, completion.Cancel | send.SwapFailed) for each in told):
            assert _may_give_up(before, input_)
        if any(isinstance(each, completion.Settle | send.SwapSucceeded) for each in told):
            assert isinstance(before, Decrypting)
            assert isinstance(input_, Decrypted)
            assert isinstance(told[0], send.SwapSucceeded) == bool(before.payer)
    assert funded <= 1
