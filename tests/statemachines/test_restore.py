"""A restored log calls, funds and spends nothing a second time."""

from collections.abc import Callable

import pytest

from errors import ConflictError
from fuzz.machines.scene import (
    EXPIRES_UNIX_S,
    FEDERATION,
    NODE,
    OTHER,
    PREIMAGE,
    WALLET,
    Scene,
    facts,
    note,
    opened,
    opened_both,
    request,
    txid_of,
)
from statemachines import completion, federation, identity, image, receive, send, send_rules
from statemachines.accounts import LOST, RECOVERED, ecash, incoming
from statemachines.identity import Founded, JoinFederation, Reconcile, Restoration, Restore
from statemachines.receive import FundingFound, RequestReceive
from statemachines.send import (
    EXPIRY_MARGIN_S,
    HELD_BACK,
    NOT_OURS,
    BudgetMeasured,
    CallUnanswered,
    HoldBack,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    SeenInFlight,
    SwapFound,
    SwapMeasured,
    Unanswered,
)
from statemachines.transaction import stream_of, wallet_of
from statemachines.wallet import AddTweaks, ForgetNotes, Wallet
from tests.statemachines.test_gateway import joined, of
from tests.statemachines.test_swaps import (
    FUNDING,
    HTLC,
    HTLCS,
    KEY,
    MEASURED,
    RECEIVE,
    RECEIVED,
    SENT,
    invoiced,
)
from tests.statemachines.test_swaps import SEND as SWAP

SEND = send.stream_of(facts().contract_id)
RESTORE = Restore(
    position=7, backup_unix_s=100, now_unix_s=200, federations=(FEDERATION,), sends=()
)
FOUND = FundingFound(txid="f0" * 32, tx="", payer="")
TOO_SOON = RecordLookedUp(
    node=NODE, failed_reason=None, remaining_blocks=500, looked_up_unix_s=EXPIRES_UNIX_S - 1
)
AT_LAST = RecordLookedUp(
    node=NODE,
    failed_reason=None,
    remaining_blocks=0,
    looked_up_unix_s=EXPIRES_UNIX_S + EXPIRY_MARGIN_S,
)

# --- the gateway ---------------------------------------------------------------------------------------------------


def test_a_restored_log_is_frozen_until_it_is_reconciled() -> None:
    scene = joined()
    scene.deliver(identity.STREAM, RESTORE)
    state = scene.state(identity.STREAM)
    assert isinstance(state, Founded)
    assert state.restoration == Restoration(position=7, backup_unix_s=100, restored_unix_s=200)
    assert state.is_frozen
    scene.deliver(identity.STREAM, Reconcile(unknown_payments=3))
    state = scene.state(identity.STREAM)
    assert isinstance(state, Founded)
    assert not state.is_frozen
    assert state.restoration == Restoration(7, 100, 200, is_frozen=False)
    rows = len(scene.rows)
    scene.deliver(identity.STREAM, Reconcile(unknown_payments=0))
    assert len(scene.rows) == rows


def test_a_log_may_be_restored_again() -> None:
    scene = joined()
    for _ in range(2):
        scene.deliver(identity.STREAM, RESTORE)
        scene.deliver(identity.STREAM, Reconcile(unknown_payments=0))
    assert scene.last_append() == ["gateway.reconciled"]


def test_what_else_the_gateway_knows_is_kept() -> None:
    scene = joined()
    scene.deliver(identity.STREAM, RESTORE)
    scene.deliver(identity.STREAM, JoinFederation(facts=of(OTHER)))
    state = scene.state(identity.STREAM)
    assert isinstance(state, Founded)
    assert (state.federations, state.is_frozen) == (2, True)
    assert isinstance(scene.state(federation.stream_of(OTHER)), federation.Joined)


def test_an_empty_log_is_not_restored() -> None:
    for input_ in (RESTORE, Reconcile(unknown_payments=0)):
        with pytest.raises(ConflictError, match="not started"):
            Scene().deliver(identity.STREAM, input_)


# --- tweaks and notes ----------------------------------------------------------------------------------------------


def test_tweaks_are_discarded_in_the_append_that_freezes() -> None:
    scene = joined()
    scene.deliver(WALLET, AddTweaks(tweaks=("a", "b")))
    scene.deliver(identity.STREAM, RESTORE)
    assert scene.last_append() == ["gateway.restored", "wallet.tweaks_discarded"]
    assert scene.wallet.tweaks == ()
    scene.deliver(identity.STREAM, RESTORE)
    assert scene.last_append() == ["gateway.restored"]


def test_notes_that_the_lost_events_spent_are_forgotten_once() -> None:
    scene = opened()
    scene.hold(note("a"), note("b"))
    forget = ForgetNotes(nonces=(note("a").nonce, note("a").nonce, note("z").nonce))
    scene.deliver(WALLET, forget)
    assert scene.wallet.notes == (note("b"),)
    rows = len(scene.rows)
    scene.deliver(WALLET, forget)
    assert len(scene.rows) == rows
    report = scene.audit()
    assert report.is_sound
    worth_msat = note("b").amount_msat
    assert report.balances == {ecash(FEDERATION): worth_msat, RECOVERED: -worth_msat}


# --- outgoing payments ---------------------------------------------------------------------------------------------


def _accepted() -> Scene:
    scene = opened()
    scene.deliver(SEND, request())
    return scene


def _dispatching() -> Scene:
    scene = _accepted()
    scene.deliver(SEND, BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=0))
    return scene


def _unanswered() -> Scene:
    scene = _dispatching()
    scene.deliver(SEND, CallUnanswered())
    return scene


every_unknown = pytest.mark.parametrize("begin", [_accepted, _dispatching, _unanswered])


@every_unknown
def test_no_call_leaves_for_a_payment_that_is_held_back(begin: Callable[[], Scene]) -> None:
    scene = begin()
    scene.deliver(SEND, HoldBack())
    assert scene.last_append() == ["send.held_back"]
    state = scene.send()
    assert isinstance(state, Unanswered)
    assert state.failed == HELD_BACK
    assert state.intent.stray_call
    assert not send_rules.may_decide(state, TOO_SOON)
    for failed in ("no route", None):
        too_soon = RecordLookedUp(
            node=NODE, failed_reason=failed, remaining_blocks=500, looked_up_unix_s=EXPIRES_UNIX_S
        )
        scene.deliver(SEND, too_soon)
        assert isinstance(scene.send(), Unanswered)
    scene.deliver(SEND, AT_LAST)
    ended = scene.send()
    assert isinstance(ended, send.Cancelling)
    assert (ended.reason, ended.detail) == (send_rules.LIGHTNING_ERROR, HELD_BACK)


@every_unknown
def test_the_nodes_record_of_a_payment_that_is_held_back_counts(begin: Callable[[], Scene]) -> None:
    scene = begin()
    scene.deliver(SEND, HoldBack())
    scene.deliver(SEND, SeenInFlight())
    # What the node shows may be a call that the lost events made beside another: a failure of it is no end.
    scene.deliver(SEND, PaymentFailed(node=NODE, reason="no route"))
    assert isinstance(scene.send(), Unanswered)
    scene.deliver(SEND, PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=0))
    assert isinstance(scene.send(), send.Paid)


def test_holding_back_twice_is_holding_back_once() -> None:
    scene = _unanswered()
    scene.deliver(SEND, HoldBack())
    rows = len(scene.rows)
    scene.deliver(SEND, HoldBack())
    assert len(scene.rows) == rows


def test_a_failed_call_that_was_the_only_one_known_is_not_the_only_one() -> None:
    scene = _dispatching()
    scene.deliver(SEND, CallUnanswered())
    state = scene.send()
    assert isinstance(state, Unanswered)
    assert not state.intent.stray_call
    scene.deliver(SEND, HoldBack())
    state = scene.send()
    assert isinstance(state, Unanswered)
    assert state.intent.stray_call
    assert state.intent.attempt == 1


def test_the_restore_holds_back_what_it_names() -> None:
    scene = joined()
    scene.deliver(SEND, request())
    scene.deliver(
        identity.STREAM,
        Restore(
            position=9,
            backup_unix_s=1,
            now_unix_s=2,
            federations=(),
            sends=(facts().contract_id,),
        ),
    )
    assert scene.last_append() == ["gateway.restored", "send.held_back"]


def test_payments_that_are_seen_or_over_go_their_way() -> None:
    scene = _dispatching()
    scene.deliver(SEND, SeenInFlight())
    scene.deliver(SEND, HoldBack())
    assert isinstance(scene.send(), send.InFlight)


def test_a_new_request_for_an_older_invoice_is_never_called() -> None:
    """The lost events may have cancelled it, and its sender may hold the forfeit."""
    scene = opened()
    asked = request()
    scene.deliver(SEND, send.RequestSend(facts=asked.facts, other_network=False, may_be_lost=True))
    assert scene.last_append() == ["send.accepted", "send.held_back", "image.claimed"]
    assert scene.send() == Unanswered(facts=asked.facts, intent=NOT_OURS, failed=HELD_BACK)


# --- incoming payments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_invoiced", [False, True])
def test_a_contract_that_is_funded_already_is_not_funded_again(is_invoiced: bool) -> None:
    scene = opened_both()
    if is_invoiced:
        invoiced(scene=scene)
    else:
        scene.deliver(RECEIVE, RequestReceive(facts=RECEIVED))
    scene.deliver(RECEIVE, FOUND)
    assert scene.last_append() == ["receive.found_funded", "completion.begun"]
    state = scene.state(RECEIVE)
    assert state == receive.Decrypting(facts=RECEIVED, payer="", tx="", txid=FOUND.txid)
    scene.deliver(RECEIVE, HTLC)
    assert scene.state(RECEIVE) == state
    assert scene.audit().balances[incoming(OTHER)] == RECEIVED.contract_msat
    scene.deliver(RECEIVE, receive.Decrypted(preimage=PREIMAGE))
    assert isinstance(scene.state(HTLCS), completion.Settling)
    assert scene.audit().is_sound


def test_a_second_funding_says_nothing_of_the_refund() -> None:
    """A reservation that the lost events built otherwise is rejected in the end, since its notes are spent."""
    scene = invoiced()
    scene.deliver(RECEIVE, HTLC)
    scene.deliver(RECEIVE, FundingFound(txid="f0" * 32, tx=FUNDING, payer=""))
    scene.deliver(RECEIVE, receive.Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    assert isinstance(scene.state(RECEIVE), receive.Refunding)
    scene.reject(FUNDING)
    assert isinstance(scene.state(RECEIVE), receive.Refunding)
    refund = next(
        row.stream
        for row in scene.rows
        if row.kind == "tx.reserved"
        and RECEIVE in row.event.body.decode()
        and row.stream != FUNDING
    )
    scene.finish(refund)
    assert isinstance(scene.state(RECEIVE), receive.Refunded)
    assert scene.audit().is_sound


def test_a_funding_whose_bytes_are_known_is_submitted_as_it_is() -> None:
    scene = invoiced()
    scene.deliver(RECEIVE, HTLC)
    scene.build(FUNDING)
    rows = len(scene.rows)
    scene.deliver(RECEIVE, FOUND)
    assert len(scene.rows) == rows
    state = scene.state(RECEIVE)
    assert isinstance(state, receive.Funding)
    assert state.txid == txid_of(FUNDING)


# --- swaps ---------------------------------------------------------------------------------------------------------


def _held_back_swap() -> Scene:
    scene = invoiced()
    scene.deliver(SWAP, send.RequestSend(facts=SENT, other_network=False))
    scene.deliver(SWAP, HoldBack())
    return scene


def test_a_swap_that_the_lost_events_funded_goes_on() -> None:
    scene = _held_back_swap()
    scene.deliver(RECEIVE, FundingFound(txid="f0" * 32, tx="", payer=SWAP))
    assert scene.last_append() == [
        "receive.found_funded",
        "completion.begun",
        "completion.cancelling",
        "send.swapping",
    ]
    scene.deliver(RECEIVE, receive.Decrypted(preimage=PREIMAGE))
    paid = scene.state(SWAP)
    assert isinstance(paid, send.Paid)
    assert paid.preimage == PREIMAGE
    assert scene.audit().is_sound


def test_a_swap_that_was_not_funded_is_not_begun_again() -> None:
    scene = _held_back_swap()
    rows = len(scene.rows)
    scene.deliver(SWAP, MEASURED)
    assert len(scene.rows) == rows
    scene.deliver(SWAP, AT_LAST)
    assert isinstance(scene.state(SWAP), send.Cancelling)


def test_a_swap_that_goes_on_by_itself_is_not_found_again() -> None:
    scene = invoiced()
    scene.deliver(SWAP, send.RequestSend(facts=SENT, other_network=False))
    scene.deliver(SWAP, SwapMeasured(remaining_blocks=500, now_unix_s=5_000, refusal=None))
    scene.deliver(RECEIVE, FundingFound(txid="f0" * 32, tx=FUNDING, payer=SWAP))
    assert isinstance(scene.state(RECEIVE), receive.Decrypting)
    scene.deliver(SWAP, SwapFound())
    assert isinstance(scene.state(SWAP), send.Swapping)
    scene.deliver(RECEIVE, receive.Decrypted(preimage=PREIMAGE))
    assert isinstance(scene.state(SWAP), send.Paid)
    assert scene.state(image.stream_of(SENT.payment_hash)) == image.Claimed(operation=SWAP)
    # The funding that this log reserved would be a second one: it is rejected, and its notes are looked at.
    scene.reject(FUNDING)
    assert isinstance(scene.state(RECEIVE), receive.Received)
    wallet = scene.state(wallet_of(OTHER))
    assert isinstance(wallet, Wallet)
    assert stream_of(OTHER, 1) not in wallet.spending
    assert scene.audit().is_sound


def test_a_swap_that_only_lost_events_know_waits_for_its_sender() -> None:
    scene = invoiced()
    before_msat = scene.audit().balances[RECOVERED]
    scene.deliver(RECEIVE, FundingFound(txid="f0" * 32, tx="", payer=receive.UNKNOWN_PAYER))
    assert scene.last_append() == [
        "receive.found_funded",
        "completion.begun",
        "completion.cancelling",
    ]
    scene.deliver(RECEIVE, receive.Decrypted(preimage=PREIMAGE))
    assert scene.last_append() == ["receive.succeeded"]
    scene.deliver(SWAP, send.RequestSend(facts=SENT, other_network=False, may_be_lost=True))
    scene.deliver(SWAP, PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=0))
    paid = scene.state(SWAP)
    assert isinstance(paid, send.Paid)
    report = scene.audit()
    assert report.is_sound
    # What was paid for the receiver is found again in the sender's contract, and nothing is lost.
    found_msat = RECEIVED.contract_msat - RECEIVED.invoice_msat + SENT.invoice_msat
    assert report.balances[RECOVERED] == before_msat - found_msat
    assert LOST not in report.balances
