"""Wallets, claims and transactions in any order at a federation that knows its notes: none is lost or made."""

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from fedimint.mintv2 import selection
from fuzz.machines.scene import (
    FEES,
    FREE,
    NODE,
    PREIMAGE,
    WALLET,
    Scene,
    facts,
    note,
    opened,
    request,
)
from statemachines import ladder, send
from statemachines.items import HeldNote, Issue, SignedTransaction
from statemachines.reserving import FederationFees
from statemachines.send import BudgetMeasured, PaymentSucceeded
from statemachines.transaction import (
    Accepted,
    Built,
    NotesCollected,
    Reserved,
    Signed,
    SubmissionAccepted,
    SubmissionRejected,
    TxReserved,
    TxSigned,
)
from statemachines.wallet import AddTweaks, NotesLost, Rebalance, WalletCredited

RUNS, STEPS = 8, 60


class Federation:
    """`issued` and `spent` are what the federation knows; a stolen note is spent without our doing."""

    def __init__(self, choose: Random, fees: FederationFees) -> None:
        self.choose = choose
        self.scene: Scene = opened(fees)
        self.sends = 0
        self.ground = 0
        self.issued: set[str] = set()
        self.spent: set[str] = set()
        self.claimed_msat = 0

    def grind(self) -> None:
        """Batches come twice, and with a tweak twice in them."""
        tweaks = tuple(self._fresh_tweak() for _ in range(self.choose.randint(1, 8)))
        self.scene.deliver(WALLET, AddTweaks(tweaks=(*tweaks, tweaks[0])))
        self.scene.deliver(WALLET, AddTweaks(tweaks=tweaks))

    def earn(self) -> None:
        """A payment succeeds, so its contract is claimed."""
        amount_msat = self.choose.choice([1_000, 5_000, 20_000, 100_000, 1_100_000])
        self.sends += 1
        stream = send.stream_of(facts(self.sends).contract_id)
        asked = request(
            self.sends, contract_msat=amount_msat, invoice_msat=1_000, minimum_msat=1_000
        )
        self.scene.deliver(stream, asked)
        self.scene.deliver(stream, BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=1))
        self.scene.deliver(stream, PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=0))

    def rebalance(self) -> None:
        self.scene.deliver(WALLET, Rebalance())

    def build(self) -> None:
        """Missing tweaks are ground; the bytes are those of the reservation."""
        for stream in self._some(Reserved):
            self._build(stream)

    def _build(self, stream: str) -> None:
        state = self.scene.states[stream]
        assert isinstance(state, Reserved)
        issues = tuple(
            issue if issue.tweak else Issue(issue.denomination, self._fresh_tweak())
            for issue in state.reservation.issues
        )
        signed = SignedTransaction(f"txid of {stream}", b"bytes", issues)
        self.scene.deliver(stream, Built(signed=signed, now_unix_s=5_000))

    def submit(self) -> None:
        """The federation refuses spent notes, and what is out of balance, and decides all else by itself."""
        for stream in self._some(Signed):
            self._submit(stream)

    def _submit(self, stream: str) -> None:
        state = self.scene.states[stream]
        assert isinstance(state, Signed)
        reservation, issues = state.reservation, state.signed.issues
        nonces = {note.nonce for note in self.scene.wallet.spending.get(stream, ())}
        in_msat = reservation.in_msat
        out_msat = sum(1 << issue.denomination for issue in issues)
        fees_msat = reservation.input_fee_msat + reservation.output_fee_msat
        gone = bool(reservation.claims) and self.choose.random() < 0.1
        unbalanced = in_msat < out_msat + fees_msat
        assert not unbalanced or not (issues or reservation.spends), "more is issued than goes in"
        if gone or unbalanced or nonces & self.spent:
            self.scene.deliver(stream, SubmissionRejected(error="no"))
            return
        assert nonces <= self.issued
        self.spent |= nonces
        self.claimed_msat += sum(claim.amount_msat for claim in reservation.claims)
        new = {_note_of(issue).nonce for issue in issues}
        assert len(new) == len(issues)
        assert not new & self.issued, "a tweak was used twice"
        self.issued |= new
        self.scene.deliver(stream, SubmissionAccepted())

    def collect(self) -> None:
        for stream in self._some(Accepted):
            self._collect(stream)

    def _collect(self, stream: str) -> None:
        bad = self.choose.choice([0, 0, 0, 1])
        state = self.scene.states[stream]
        assert isinstance(state, Accepted)
        notes = tuple(map(_note_of, state.signed.issues))
        lost_msat = sum(note.amount_msat for note in notes[:bad])
        self.scene.deliver(stream, NotesCollected(notes=notes[bad:], lost_msat=lost_msat))

    def a_note_is_stolen(self) -> None:
        wallet = self.scene.wallet
        held = [note for notes in wallet.spending.values() for note in notes] + [*wallet.notes]
        if held:
            self.spent.add(self.choose.choice(held).nonce)

    def everything_under_way_ends(self) -> None:
        """Re-issues of re-issues come to an end as well."""
        rounds = 0
        while self._in(Reserved) or self._in(Signed) or self._in(Accepted):
            rounds += 1
            assert rounds < 200, "transactions follow from transactions without an end"
            self.build()
            self.submit()
            self.collect()
        assert not self.scene.wallet.spending

    def _in(self, kind: type) -> list[str]:
        return [stream for stream, state in self.scene.states.items() if isinstance(state, kind)]

    def _some(self, kind: type) -> list[str]:
        """Half of those that are so far, at least one."""
        found = self._in(kind)
        return self.choose.sample(found, (len(found) + 1) // 2)

    def a_note_is_in_one_place(self) -> None:
        wallet = self.scene.wallet
        held = [note.nonce for note in wallet.notes]
        held += [note.nonce for notes in wallet.spending.values() for note in notes]
        assert len(held) == len(set(held))
        credited = {
            note.nonce
            for _, event in self.scene.events
            if isinstance(event, WalletCredited)
            for note in event.notes
        }
        lost = {
            nonce
            for _, event in self.scene.events
            if isinstance(event, NotesLost)
            for nonce in event.nonces
        }
        # Every note that ever came is held, was spent in a transaction of ours, or is on record as lost.
        assert set(held) | lost <= credited
        assert credited - set(held) - lost <= self.spent
        # A small note that fees would eat is lost beside a bad one; no other good note ever is.
        assert {nonce for nonce in lost - self.spent if not nonce.endswith(" 9")} == set()

    def what_is_promised_is_promised_to_a_transaction_that_is_open(self) -> None:
        promised = {}
        for stream in self._in(Reserved) + self._in(Signed) + self._in(Accepted):
            state = self.scene.states[stream]
            assert isinstance(state, Reserved | Signed | Accepted)
            if state.reservation.spends:
                promised[stream] = state.reservation.spends
        spending = self.scene.wallet.spending
        assert {
            tx: tuple(note.denomination for note in spending[tx]) for tx in spending
        } == promised

    def no_tweak_serves_twice(self) -> None:
        used = list(self.scene.wallet.tweaks)
        for stream, event in self.scene.events:
            state = self.scene.states[stream]
            if isinstance(event, TxReserved) and isinstance(state, Reserved):
                used += [issue.tweak for issue in event.reservation.issues if issue.tweak]
            if isinstance(event, TxSigned):
                used += event.ground
        assert len(used) == len(set(used))

    def every_transaction_has_a_name_of_its_own(self) -> None:
        names = [stream for stream, event in self.scene.events if isinstance(event, TxReserved)]
        assert len(names) == len(set(names)) == self.scene.wallet.transactions

    def value_is_never_created(self) -> None:
        report = self.scene.audit()
        assert report.problems == ()
        assert self.scene.wallet.balance_msat <= self.claimed_msat

    def _fresh_tweak(self) -> str:
        self.ground += 1
        return f"t{self.ground}"


def _note_of(issue: Issue) -> HeldNote:
    return note(issue.tweak, issue.denomination)


def _play(federation: Federation) -> None:
    actions: list[Callable[[], None]] = [
        federation.grind,
        *[federation.earn] * 2,
        *[federation.build, federation.submit, federation.collect] * 2,
        federation.a_note_is_stolen,
        federation.rebalance,
    ]
    for _ in range(STEPS):
        federation.choose.choice(actions)()
        federation.a_note_is_in_one_place()
        federation.what_is_promised_is_promised_to_a_transaction_that_is_open()
        federation.no_tweak_serves_twice()
        federation.every_transaction_has_a_name_of_its_own()
    federation.everything_under_way_ends()
    federation.a_note_is_in_one_place()
    federation.value_is_never_created()


@pytest.mark.parametrize("fees", [FEES, FREE], ids=["fees", "no fees"])
@pytest.mark.parametrize("seed", range(4))
def test_no_note_is_lost_made_or_promised_twice(
    seed: int, fees: FederationFees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes are tidied up and made rungs of the ladder more eagerly than else, so that many transactions spend some."""
    monkeypatch.setattr(selection, "consolidate", partial(selection.consolidate, target=1))
    monkeypatch.setattr(ladder, "MISSING_MAX", 0)
    monkeypatch.setattr(ladder, "EVERYDAY_MSAT", 2_000)
    kinds = set()
    for run in range(RUNS):
        federation = Federation(Random(f"{seed} {run}"), fees)
        _play(federation)
        kinds |= {event.kind for _, event in federation.scene.events}
    assert kinds >= {"wallet.restored", "wallet.notes_lost", "send.claim_rejected", "send.claimed"}
