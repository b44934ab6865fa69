"""An incoming payment over Lightning keeps promise 4."""

import pytest

from engine.events import Event
from engine.machine import Input, State
from errors import ConflictError
from fuzz.machines.scene import (
    CONTRACT_EXPIRES_UNIX_S,
    EXPIRES_UNIX_S,
    FEDERATION,
    PREIMAGE,
    Scene,
    note,
    opened,
    opened_both,
    receive_facts,
    txid_of,
)
from statemachines import accounts, completion, receive, receive_rules
from statemachines.items import FundedContract, IncomingRefund, SignedTransaction
from statemachines.receive import (
    CONTRACT_MARGIN_S,
    DEADLINE_BLOCKS_MIN,
    Decrypted,
    HtlcHeld,
    HtlcWaits,
    InvoiceCreated,
    InvoiceForgotten,
    InvoiceNotCreated,
    RequestReceive,
    Undecryptable,
)
from statemachines.transaction import SIGN_WITHIN_S, BuildAbandoned, Built, stream_of

FACTS = receive_facts()
STREAM = receive.stream_of(FACTS.payment_hash)
HTLCS = completion.stream_of(FACTS.payment_hash)
TX, REFUND = stream_of(FEDERATION, 1), stream_of(FEDERATION, 2)
INVOICED = InvoiceCreated(invoice="lnbcrt1")
KEY = "d0" * 48
SETTLE = {"settle": completion.SettleHtlcs(payment_hash=FACTS.payment_hash, preimage=PREIMAGE)}
CANCEL = {"cancel": completion.CancelHtlcs(payment_hash=FACTS.payment_hash)}


def htlc(
    amount_msat: int = FACTS.invoice_msat,
    *,
    deadline_blocks: int = 100,
    now_unix_s: int = 5_000,
    refusal: str | None = None,
) -> HtlcHeld:
    return HtlcHeld(
        amount_msat=amount_msat,
        deadline_blocks=deadline_blocks,
        now_unix_s=now_unix_s,
        refusal=refusal,
    )


def after(*inputs: Input, facts: receive.ReceiveFacts = FACTS, scene: Scene | None = None) -> Scene:
    """An invoice that was asked for, and to which this happened; the wallet holds 3,145,728 msat."""
    scene = scene or opened_both()
    scene.deliver(STREAM, RequestReceive(facts=facts))
    for input_ in inputs:
        scene.deliver(STREAM, input_)
    return scene


def decrypting(facts: receive.ReceiveFacts = FACTS) -> Scene:
    scene = after(INVOICED, htlc(), facts=facts)
    scene.accept(TX)
    return scene


def declined(scene: Scene) -> str:
    state = scene.receive()
    assert isinstance(state, receive.Declined), state
    return state.reason


# --- before anybody paid -----------------------------------------------------------------------------------------


def test_the_hash_is_taken_before_the_node_hears_of_it() -> None:
    scene = after()
    assert scene.receive() == receive.Registered(facts=FACTS)
    assert scene.wants(STREAM) == {"invoice": receive.CreateInvoice(facts=FACTS)}


def test_an_invoice_waits_for_its_payer_until_it_cannot_be_paid_any_more() -> None:
    scene = after(INVOICED)
    assert scene.receive() == receive.Invoiced(facts=FACTS, invoice="lnbcrt1")
    forget = receive.ForgetInvoice(payment_hash=FACTS.payment_hash, expires_unix_s=EXPIRES_UNIX_S)
    assert scene.wants(STREAM) == {"forget": forget}
    scene.deliver(STREAM, InvoiceForgotten())
    assert scene.receive() == receive.Expired(facts=FACTS)


def test_an_invoice_that_the_node_refuses_is_none() -> None:
    scene = after(InvoiceNotCreated(reason="the hash is known"))
    refused = receive.InvoiceRefused(facts=FACTS, reason="the hash is known")
    assert scene.receive() == refused
    scene.deliver(STREAM, INVOICED)
    assert scene.receive() == refused


@pytest.mark.parametrize("way", [(), (INVOICED,), (INVOICED, htlc())])
def test_a_hash_is_given_out_once(way: tuple[Input, ...]) -> None:
    scene = after(*way)
    with pytest.raises(ConflictError, match="choose another preimage"):
        scene.deliver(STREAM, RequestReceive(facts=receive_facts(invoice_msat=2_000_000)))


# --- fund once, for an HTLC of the exact amount with enough time ------------------------------------------------


def test_funding_and_completion_are_born_in_one_append() -> None:
    """No crash leaves a funded contract whose HTLC nobody would settle."""
    scene = after(INVOICED, htlc())
    assert scene.last_append() == [
        *("receive.funding", "completion.begun"),
        *("wallet.reserved", "tx.reserved"),
    ]
    assert scene.receive() == receive.Funding(facts=FACTS, payer="")
    assert scene.state(HTLCS) == completion.Waiting(
        payment_hash=FACTS.payment_hash, federation_id=FEDERATION, amount_msat=FACTS.invoice_msat
    )
    assert scene.reservation(TX).parent == STREAM
    funded = FundedContract(FACTS.contract, FACTS.contract_msat)
    assert scene.reservation(TX).outputs == (funded,)


@pytest.mark.parametrize("more_msat", [1, FACTS.invoice_msat])
def test_what_a_payer_gives_beyond_the_invoice_is_kept_and_booked(more_msat: int) -> None:
    """Some do so to hide the amount from nodes on the way; up to twice it must be taken (BOLT 4)."""
    scene = after(INVOICED, htlc(FACTS.invoice_msat + more_msat))
    waiting = scene.state(HTLCS)
    assert isinstance(waiting, completion.Waiting)
    assert (waiting.amount_msat, waiting.overpaid_msat) == (
        FACTS.invoice_msat + more_msat,
        more_msat,
    )
    funded = FundedContract(FACTS.contract, FACTS.contract_msat)
    assert scene.reservation(TX).outputs == (funded,)
    scene.finish(TX)
    scene.deliver(STREAM, Decrypted(preimage=PREIMAGE))
    settling = scene.audit()
    assert settling.is_sound
    assert settling.balances[accounts.htlcs(FEDERATION)] == FACTS.invoice_msat + more_msat
    scene.deliver(HTLCS, completion.NodeConfirmed())
    settled = scene.audit()
    assert settled.is_sound
    assert settled.balances[accounts.NODE] == FACTS.invoice_msat + more_msat
    assert settled.balances[accounts.OVERPAID] == -more_msat


@pytest.mark.parametrize("held_msat", [0, FACTS.invoice_msat - 1, 2 * FACTS.invoice_msat + 1])
def test_less_than_the_invoice_and_more_than_twice_is_failed_back_at_once(held_msat: int) -> None:
    """The node tells of the one whole set of HTLCs that it holds for an invoice: nobody else is hurt."""
    scene = after(INVOICED, htlc(held_msat))
    assert declined(scene) == f"{held_msat} msat are held for an invoice of 1000000 msat"
    assert scene.wants(HTLCS) == CANCEL
    assert scene.wallet.transactions == 0


def test_nothing_is_done_with_htlcs_of_an_invoice_that_is_not_known_to_be_ours() -> None:
    """The node has not answered who made it: another program may wait for this very payment."""
    scene = after()
    rows = list(scene.rows)
    for held in (htlc(), htlc(5), htlc(refusal="no")):
        scene.deliver(STREAM, held)
    assert scene.rows == rows
    assert scene.state(HTLCS) == completion.Unborn()


def test_what_waits_for_a_decision_is_on_record_once_and_decided_as_ever() -> None:
    scene = after(INVOICED, HtlcWaits(reason="the node says nothing"))
    held = receive.Held(facts=FACTS, invoice="lnbcrt1", reason="the node says nothing")
    assert scene.receive() == held
    rows = list(scene.rows)
    scene.deliver(STREAM, HtlcWaits(reason="another one"))
    assert scene.rows == rows
    forget = receive.ForgetInvoice(payment_hash=FACTS.payment_hash, expires_unix_s=EXPIRES_UNIX_S)
    assert scene.wants(STREAM) == {"forget": forget}
    swap = receive.FundForSwap(payer="send/1", amount_msat=1_000_000, now_unix_s=5_000)
    with pytest.raises(ConflictError, match="no receiver waits"):
        scene.deliver(STREAM, swap)
    scene.deliver(STREAM, htlc())
    assert isinstance(scene.receive(), receive.Funding)


def test_what_waits_may_be_forgotten_or_found_funded() -> None:
    waits = HtlcWaits(reason="no")
    assert isinstance(after(INVOICED, waits, InvoiceForgotten()).receive(), receive.Expired)
    assert isinstance(after(INVOICED, waits, htlc(5)).receive(), receive.Declined)
    found = after(INVOICED, waits, receive.FundingFound(txid="ab", tx="", payer=""))
    assert isinstance(found.receive(), receive.Decrypting)
    assert found.audit().is_sound


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (htlc(deadline_blocks=DEADLINE_BLOCKS_MIN - 1), "only 1 blocks are left"),
        (
            htlc(now_unix_s=CONTRACT_EXPIRES_UNIX_S - CONTRACT_MARGIN_S + 1),
            "the receiver waits for this payment for 59 seconds more, too few to fund it",
        ),
        (htlc(now_unix_s=2 * CONTRACT_EXPIRES_UNIX_S), "for 0 seconds more"),
        (htlc(refusal="receives are switched off"), "receives are switched off"),
    ],
    ids=["too near its deadline", "near the contract's end", "after it", "switched off"],
)
def test_what_may_not_be_funded_is_failed_back_at_once(held: HtlcHeld, reason: str) -> None:
    scene = after(INVOICED, held)
    assert reason in declined(scene)
    assert scene.last_append() == [
        *("receive.declined", "completion.begun", "completion.cancelling"),
    ]
    assert scene.wants(HTLCS) == CANCEL
    assert scene.audit().is_sound


def test_the_last_block_and_the_last_second_of_the_margin_are_enough() -> None:
    last_unix_s = CONTRACT_EXPIRES_UNIX_S - CONTRACT_MARGIN_S
    last = htlc(deadline_blocks=DEADLINE_BLOCKS_MIN, now_unix_s=last_unix_s)
    assert isinstance(after(INVOICED, last).receive(), receive.Funding)


def test_an_htlc_that_the_wallet_cannot_pay_for_is_failed_back_in_the_same_append() -> None:
    scene = opened()
    scene.hold(note("small", 15))
    after(INVOICED, htlc(), scene=scene)
    state = scene.receive()
    assert isinstance(state, receive.FundingFailed)
    assert state.error == "the gateway's ecash brings 32668 msat, less than 980000 and fees"
    assert scene.last_append() == [
        *("receive.funding", "completion.begun"),
        *("receive.funding_failed", "completion.cancelling"),
    ]
    assert scene.wallet.notes == (note("small", 15),)
    assert scene.wallet.transactions == 0


# --- a decision that was not signed is given up, and its notes are free ---------------------------------------------


def test_a_funding_that_was_not_signed_gives_everybody_back_what_he_had() -> None:
    scene = after(INVOICED, htlc())
    assert scene.reservation(TX).sign_by_unix_s == 5_000 + SIGN_WITHIN_S
    before = scene.wallet
    scene.deliver(TX, BuildAbandoned())
    assert scene.last_append() == [
        *("tx.abandoned", "wallet.restored"),
        *("receive.funding_failed", "completion.cancelling"),
    ]
    state = scene.receive()
    assert isinstance(state, receive.FundingFailed)
    assert "not signed in time" in state.error
    assert scene.wants(HTLCS) == CANCEL
    assert set(scene.wallet.notes) == {*before.notes, *before.spending[TX]}
    assert scene.wallet.spending == {}
    # Tweaks are promised once, whatever became of the promise.
    assert scene.wallet.tweaks == before.tweaks
    assert scene.audit().is_sound


@pytest.mark.parametrize(("late_s", "end"), [(0, "Signed"), (1, "Abandoned")])
def test_bytes_count_only_when_they_become_durable_in_time(late_s: int, end: str) -> None:
    """The build took long: the check is made once more with the bytes in hand."""
    scene = after(INVOICED, htlc())
    signed = SignedTransaction(txid_of(TX), b"bytes", scene.reservation(TX).issues)
    scene.deliver(TX, Built(signed=signed, now_unix_s=5_000 + SIGN_WITHIN_S + late_s))
    assert type(scene.state(TX)).__name__ == end


def test_what_lost_events_funded_stays_funded_when_its_reservation_is_given_up() -> None:
    scene = after(INVOICED, htlc())
    scene.deliver(STREAM, receive.FundingFound(txid="ab", tx=TX, payer=""))
    scene.deliver(TX, BuildAbandoned())
    assert isinstance(scene.receive(), receive.Decrypting)
    assert isinstance(scene.state(HTLCS), completion.Waiting)
    assert scene.wallet.spending == {}


# --- from the commit of the funding on, it is given up on a rejection or a verified decryption only ------------------


def test_funding_that_a_threshold_rejects_gives_the_payer_his_money_back() -> None:
    scene = after(INVOICED, htlc())
    scene.reject(TX)
    assert scene.receive() == receive.FundingFailed(facts=FACTS, payer="", error="no")
    assert scene.wants(HTLCS) == CANCEL
    assert "completion.cancelling" in scene.last_append()
    assert scene.audit().is_sound


def test_nothing_is_answered_while_the_funding_is_not_decided() -> None:
    scene = after(INVOICED, htlc())
    waiting = scene.state(HTLCS)
    scene.build(TX)
    assert scene.receive() == receive.Funding(facts=FACTS, payer="", tx=TX, txid=txid_of(TX))
    late: list[Input] = [
        *(InvoiceForgotten(), INVOICED, InvoiceNotCreated(reason="no")),
        *(htlc(refusal="switched off"), htlc(deadline_blocks=0), htlc(5)),
        *(
            htlc(now_unix_s=CONTRACT_EXPIRES_UNIX_S),
            Undecryptable(decryption_key=KEY, now_unix_s=5_000),
        ),
    ]
    for input_ in late:
        scene.deliver(STREAM, input_)
    assert scene.state(HTLCS) == waiting
    assert scene.wants(HTLCS) == {}


def test_a_funded_contract_is_decrypted() -> None:
    scene = decrypting()
    txid = txid_of(TX)
    assert scene.receive() == receive.Decrypting(facts=FACTS, payer="", tx=TX, txid=txid)
    decrypt = receive.DecryptPreimage(federation_id=FEDERATION, contract=FACTS.contract, txid=txid)
    assert scene.wants(STREAM) == {"decrypt": decrypt}
    assert scene.audit().balances[f"incoming/{FEDERATION}"] == FACTS.contract_msat


def test_the_preimage_settles_the_htlc_in_its_own_append() -> None:
    scene = decrypting()
    scene.deliver(STREAM, Decrypted(preimage=PREIMAGE))
    assert scene.receive() == receive.Received(
        facts=FACTS, payer="", txid=txid_of(TX), preimage=PREIMAGE
    )
    assert scene.last_append() == ["receive.succeeded", "completion.settling"]
    assert scene.wants(HTLCS) == SETTLE
    scene.deliver(HTLCS, completion.NodeConfirmed())
    scene.collect(TX)
    report = scene.audit()
    assert report.is_sound
    assert report.balances["node"] == FACTS.invoice_msat
    assert report.balances["fees_earned"] == FACTS.contract_msat - FACTS.invoice_msat


def test_a_contract_without_preimage_gives_the_payer_his_money_back_and_is_taken_back() -> None:
    scene = decrypting()
    scene.deliver(STREAM, Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    assert scene.receive() == receive.Refunding(facts=FACTS, payer="", tx=TX, txid=txid_of(TX))
    assert scene.last_append() == [
        *("receive.refunding", "completion.cancelling"),
        *("wallet.reserved", "tx.reserved"),
    ]
    assert scene.wants(HTLCS) == CANCEL
    refund = IncomingRefund(txid_of(TX), 0, FACTS.contract_msat, KEY)
    assert scene.reservation(REFUND).claims == (refund,)
    scene.finish(REFUND)
    state = scene.receive()
    assert isinstance(state, receive.Refunded)
    assert 0 < state.received_msat < FACTS.contract_msat
    assert scene.audit().is_sound


def test_the_change_of_the_funding_is_not_taken_for_the_refund() -> None:
    """It may be collected after the refund began, and the refund may still be rejected."""
    scene = decrypting()
    scene.deliver(STREAM, Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    scene.collect(TX)
    assert isinstance(scene.receive(), receive.Refunding)
    scene.reject(REFUND)
    assert scene.receive() == receive.RefundLost(facts=FACTS, payer="", reason="no")
    report = scene.audit()
    assert report.is_sound
    assert report.balances["lost"] == FACTS.contract_msat


def test_a_refund_worth_less_than_its_fees_ends_its_own_machine_and_nothing_else() -> None:
    scene = decrypting(receive_facts(refund_worth_msat=0))
    before = scene.wallet
    scene.deliver(STREAM, Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    state = scene.receive()
    assert isinstance(state, receive.RefundLost)
    assert state.reason == "980000 msat do not pay for taking them back"
    assert scene.last_append() == ["receive.refund_lost", "completion.cancelling"]
    assert scene.wallet == before
    scene.collect(TX)
    assert scene.receive() == state
    assert scene.audit().is_sound
    assert scene.audit().balances["lost"] == FACTS.contract_msat


# --- the same HTLC again, and everything that was ever written ------------------------------------------------------


def _every_state() -> list[Scene]:
    scenes = [after(InvoiceNotCreated(reason="no")), after(INVOICED, InvoiceForgotten())]
    scenes += [after(INVOICED, htlc(refusal="no")), after(INVOICED, htlc()), decrypting()]
    rejected, received, refunding, refunded, lost = (
        after(INVOICED, htlc()),
        decrypting(),
        decrypting(),
        decrypting(),
        decrypting(),
    )
    rejected.reject(TX)
    received.deliver(STREAM, Decrypted(preimage=PREIMAGE))
    for scene in (refunding, refunded, lost):
        scene.deliver(STREAM, Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    refunded.finish(REFUND)
    lost.reject(REFUND)
    waited = after(INVOICED, HtlcWaits(reason="no"), htlc(refusal="no"))
    return [*scenes, waited, rejected, received, refunding, refunded, lost]


def test_an_htlc_that_the_node_shows_again_is_funded_no_second_time() -> None:
    seen: set[type[State]] = set()
    for scene in _every_state():
        seen.add(type(scene.receive()))
        rows = list(scene.rows)
        for held in (htlc(), htlc(5), htlc(refusal="no")):
            scene.deliver(STREAM, held)
        assert scene.rows == rows
    unpaid = {receive.New, receive.Registered, *receive.UNDECIDED_STATES}
    assert seen == set(receive_rules.MACHINE.states) - unpaid


def test_every_event_of_a_receive_can_be_stored() -> None:
    stored: set[type[Event]] = set()
    for scene in _every_state():
        assert scene.audit().is_sound
        stored |= {type(event) for stream, event in scene.events if stream == STREAM}
    assert stored == set(receive_rules.MACHINE.events) - {receive.ReceiveFoundFunded}, (
        "test_restore.py"
    )


def test_an_htlc_of_an_unknown_invoice_is_refused() -> None:
    with pytest.raises(ConflictError, match="no such invoice"):
        opened().deliver(STREAM, htlc())
