"""Crash at any point, reopen, continue: money is conserved, answers are kept, nothing leaves twice or too early."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.engine.crash_bench import Bench
from tests.engine.toy import DISK, Order


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_crash_at_every_single_point(backend: str) -> None:
    orders = [(f"transfer/{n}", Order("a", "b", amount)) for n, amount in enumerate((1, 2, 3, 6))]
    crashes = 0
    crashed = True
    while crashed:
        with tempfile.TemporaryDirectory(dir=DISK) as directory:
            bench = Bench(Path(directory), backend)
            crashed = bench.session([*orders, orders[0]], crash_at=crashes + 1)
            bench.check()
            bench.session([])
            bench.check_settled()
        crashes += crashed
    # Every event has a point before and after its commit, every effect one before and after its call.
    assert crashes >= 2 * (4 * 3 + 4 * 2) + 2 * 4


class Transfers(RuleBasedStateMachine):
    """Sessions with new and repeated orders, crashes anywhere in them, crashes while recovering."""

    backend = "trio"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=DISK)
        self.bench = Bench(Path(self._folder.name), self.backend)

    orders = st.lists(
        st.tuples(
            st.sampled_from([f"transfer/{n}" for n in range(8)]),
            st.builds(Order, st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 300)),
        ),
        max_size=6,
    )

    @rule(orders=orders, crash_at=st.none() | st.integers(1, 40))
    def work(self, orders: list[tuple[str, Order]], crash_at: int | None) -> None:
        crashed = self.bench.session(orders, crash_at)
        assert not crashed or crash_at is not None

    @precondition(lambda self: self.bench.asked)
    @rule(crash_at=st.integers(1, 10))
    def recover_and_crash_again(self, crash_at: int) -> None:
        self.bench.session([], crash_at)

    @rule()
    def settle(self) -> None:
        assert not self.bench.session([])
        self.bench.check_settled()

    @invariant()
    def money_is_conserved(self) -> None:
        self.bench.check()

    def teardown(self) -> None:
        self.settle()
        self._folder.cleanup()


class TransfersOnAsyncio(Transfers):
    backend = "asyncio"


_SETTINGS = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestTransfers = Transfers.TestCase
TestTransfers.settings = _SETTINGS
TestTransfersOnAsyncio = TransfersOnAsyncio.TestCase
TestTransfersOnAsyncio.settings = _SETTINGS
