"""A payment at a node that loses answers and reads calls late: no forfeit beside a settlement, and an end."""

from collections.abc import Callable
from random import Random

import pytest

from engine.machine import Effect, Input
from fuzz.machines.scene import EXPIRES_UNIX_S, NODE, PREIMAGE, Scene, facts, opened, request
from statemachines import send, send_rules
from statemachines.send import (
    EXPIRY_MARGIN_S,
    BudgetMeasured,
    CallRefused,
    CallUnanswered,
    ForfeitSigned,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    SeenInFlight,
)

STREAM = send.stream_of(facts().contract_id)
OVER_UNIX_S = EXPIRES_UNIX_S + EXPIRY_MARGIN_S
RUNS, STEPS = 100, 25


class Node:
    """A Lightning node: one record for the hash, and calls that it has not read yet."""

    def __init__(self, record: str | None) -> None:
        self.record = record
        self.unread = 0

    def read_call(self, now_unix_s: int) -> bool:
        """True when the call begins a payment; a known hash and an expired invoice are refused, as LND does."""
        if now_unix_s >= EXPIRES_UNIX_S or self.record in {"in flight", "succeeded"}:
            return False
        self.record = "in flight"
        return True

    def known(self) -> Input | None:
        match self.record:
            case "in flight":
                return SeenInFlight()
            case "failed":
                return PaymentFailed(node=NODE, reason="no route")
            case "succeeded":
                return PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1_000)
            case _:
                return None


class Gateway:
    """The handlers of the gateway in short, one step at a time."""

    def __init__(self, choose: Random) -> None:
        self.choose = choose
        # The node may know the hash already, from a log that is gone.
        self.node = Node(choose.choice([None, None, None, "in flight", "failed", "succeeded"]))
        self.now_unix_s = 0
        self.remaining_blocks = 500
        self.called: list[int] = []
        self.scene: Scene = opened()
        self.scene.deliver(STREAM, request())

    def effect(self) -> Effect | None:
        return next(iter(self.scene.wants(STREAM).values()), None)

    def time_passes(self) -> None:
        steps = [600, EXPIRES_UNIX_S - 1, EXPIRES_UNIX_S, OVER_UNIX_S - 2, OVER_UNIX_S]
        self.now_unix_s = max(self.now_unix_s, self.choose.choice(steps))
        self.remaining_blocks = max(0, self.remaining_blocks - self.choose.choice([0, 1, 400]))

    def a_late_call_is_read(self) -> None:
        """By a node whose clock is behind ours by less than the margin."""
        if self.node.unread:
            self.node.unread -= 1
            self.node.read_call(self.now_unix_s - EXPIRY_MARGIN_S + 1)

    def the_payment_ends(self) -> None:
        if self.node.record == "in flight":
            self.node.record = self.choose.choice(["succeeded", "failed"])

    def work(self) -> None:
        """Run what the payment wants, once."""
        match self.effect():
            case send.MeasureBudget():
                measured = BudgetMeasured(
                    node=NODE, remaining_blocks=self.remaining_blocks, now_unix_s=self.now_unix_s
                )
                self.scene.deliver(STREAM, self.node.known() or measured)
            case send.PayInvoice(intent=intent):
                self._pay(intent.attempt)
            case send.LookUpRecord() as wanted:
                self._look_up(wanted)
            case send.FollowPayment():
                known = self.node.known()
                assert known is not None
                if not isinstance(known, SeenInFlight):
                    self.scene.deliver(STREAM, known)
            case send.SignForfeit():
                self.scene.deliver(STREAM, ForfeitSigned(forfeit="f0"))
            case _:
                pass

    def _pay(self, attempt: int) -> None:
        """A call leaves at most once; when its answer is lost, the record alone counts."""
        fates = ["answered", "refused", "crashed before", "lost", "late", "late", "cut"]
        fate = self.choose.choice(fates)
        if fate != "crashed before":
            assert attempt not in self.called
            self.called.append(attempt)
        if fate == "late":
            self.node.unread += 1
        taken = fate in {"answered", "cut"} and self.node.read_call(self.now_unix_s)
        answer: Input = CallUnanswered()
        if fate in {"answered", "refused"}:
            answer = SeenInFlight() if taken else CallRefused(reason="no")
        self.scene.deliver(STREAM, self.node.known() or answer)

    def _look_up(self, wanted: send.LookUpRecord) -> None:
        known = self.node.known()
        if isinstance(known, SeenInFlight | PaymentSucceeded):
            self.scene.deliver(STREAM, known)
            return
        record = RecordLookedUp(
            node=NODE,
            failed_reason=known.reason if isinstance(known, PaymentFailed) else None,
            remaining_blocks=self.remaining_blocks,
            looked_up_unix_s=self.now_unix_s,
        )
        if send_rules.may_decide(wanted, record):
            rows = len(self.scene.rows)
            self.scene.deliver(STREAM, record)
            assert len(self.scene.rows) > rows, "the effect ended and nothing follows from it"

    def check(self) -> None:
        if isinstance(self.scene.send(), send.Cancelling | send.Cancelled):
            assert self.node.record in {None, "failed"}, "given back, and it may settle"
        intents = [
            event.intent.attempt
            for _, event in self.scene.events
            if isinstance(event, send.SendDispatching)
        ]
        assert intents == list(range(1, len(intents) + 1))
        assert set(self.called) <= set(intents)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_given_back_that_may_settle_and_everything_ends(seed: int) -> None:
    ends = set()
    for run in range(RUNS):
        choose = Random(f"{seed} {run}")
        gateway = Gateway(choose)
        steps: list[Callable[[], None]] = [
            *[gateway.work] * 4,
            gateway.time_passes,
            gateway.a_late_call_is_read,
            gateway.the_payment_ends,
        ]
        for _ in range(STEPS):
            choose.choice(steps)()
            gateway.check()
        # Faults end, late calls are read, and time goes on: now everything must come to its end.
        while gateway.node.unread:
            gateway.a_late_call_is_read()
        gateway.now_unix_s = OVER_UNIX_S
        while gateway.effect() is not None:
            gateway.the_payment_ends()
            gateway.work()
            gateway.check()
        ends.add(type(gateway.scene.send()))
        assert gateway.scene.audit().is_sound
    assert ends == {send.Paid, send.Cancelled}
