"""A bug in one stream stops that stream alone: nothing is half done, and nothing loops."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import pytest

from engine.effects import EffectContext, Effects, storage_in
from engine.engine import Engine, Ports
from engine.events import UnknownEventError
from engine.faults import NOTED_MAX
from engine.fold import Machines
from engine.machine import Decision, Handle, Input, Machine, State
from engine.ports import inline
from engine.quarantine import (
    CHARACTERS_MAX,
    THE_LOG,
    QuarantinedError,
    QuarantinedStream,
    StreamFaultError,
    fault_text,
)
from engine.storage.audit import verify
from engine.storage.errors import StorageError
from engine.storage.reader import open_log
from engine.storage.store import Store
from errors import FatalError, NotFoundError
from tests.engine.toy import (
    ACCOUNT,
    LIMITS,
    TRANSFER,
    Arrived,
    Begin,
    Bounced,
    Credit,
    Credited,
    Delivered,
    FixedRandomness,
    Gate,
    Noted,
    Open,
    Returned,
    Seen,
    Send,
    Sending,
    Sent,
    StepClock,
    balances,
    open_engine,
    open_store,
    order,
    read_models,
    running,
)

pytestmark = pytest.mark.anyio


def _broken(*_args: object) -> Any:
    raise ZeroDivisionError


def _fatal(*_args: object) -> Any:
    raise FatalError("an invariant is broken")


_RULES: dict[Any, Any] = dict(TRANSFER.rules)
_TO = (Arrived, Returned)
#: A transfer that fails once its effect has come back.
BAD_AT_RESULT = {
    "decide": replace(TRANSFER, rules={**_RULES, (Sending, Sent): Handle(_broken, to=_TO)}),
    "decide, fatal": replace(TRANSFER, rules={**_RULES, (Sending, Sent): Handle(_fatal, to=_TO)}),
    "evolve": replace(TRANSFER, evolvers={**TRANSFER.evolvers, Delivered: _broken}),
    "table": replace(
        TRANSFER,
        rules={**_RULES, (Sending, Sent): replace(_RULES[Sending, Sent], to=(Returned,))},
    ),
    "oversized": replace(
        TRANSFER,
        rules={
            **_RULES,
            (Sending, Sent): Handle(lambda *_: Decision((Seen(text="x" * 300_000),)), to=_TO),
        },
    ),
}


def _engine(store: Store, transfer: Machine = TRANSFER, **others: Machine) -> Engine:
    machines = Machines([others.get("account", ACCOUNT), LIMITS, transfer])
    return Engine(store, machines, Ports(StepClock(), FixedRandomness(), inline))


def _kinds(store: Store) -> list[str]:
    return [chained.row.kind for chained in store.rows()]


class Calls:
    """Counts what leaves; each is answered by `answer`, or raises it."""

    def __init__(self, answer: Input | Exception) -> None:
        self.answer = answer
        self.resumed: list[bool] = []

    async def __call__(self, _effect: Send, context: EffectContext) -> Input:
        self.resumed.append(context.resumed)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def _until_quarantined(engine: Engine, stream: str = "transfer/1") -> QuarantinedStream:
    with pytest.raises(QuarantinedError, match="waits for the operator"):
        await engine.wait(stream, lambda _state: False)
    found = {one.stream: one for one in engine.faults.quarantined()}
    return found[stream]


async def _others_go_on(engine: Engine) -> None:
    before = balances(engine)["c"]
    await engine.submit("account/c", Credit(amount=1))
    assert balances(engine)["c"] == before + 1


# --- an effect, or what it brings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", list(BAD_AT_RESULT))
async def test_a_result_that_machines_fail_at_is_quarantined_and_tried_once_a_life(
    tmp_path: Path, bad: str
) -> None:
    calls = Calls(Sent())
    store = open_store(tmp_path)
    engine = _engine(store, BAD_AT_RESULT[bad])
    async with running(engine, calls):
        await engine.submit("transfer/1", Begin(order=order()))
        found = await _until_quarantined(engine)
        assert (found.where, found.is_readable) == ("Send", True)
        await _others_go_on(engine)
        # What it held is held: nothing of the append that failed is there.
        assert balances(engine) == {"a": -10, "b": 0, "c": 1}
        assert engine.jobs() == []
    kinds = _kinds(store)
    assert kinds.count("stream.quarantined") == 1
    assert "transfer.delivered" not in kinds
    store.close()
    # Neither a start nor a second one brings it back, or writes anything.
    for _life in range(2):
        store = open_store(tmp_path)
        engine = _engine(store, BAD_AT_RESULT[bad])
        async with running(engine, calls):
            assert (await _until_quarantined(engine)).where == "Send"
            await anyio.wait_all_tasks_blocked()
        assert _kinds(store) == kinds
        store.close()
    assert len(calls.resumed) == 1


@pytest.mark.parametrize(
    "error", [FatalError("broken"), ExceptionGroup("", [FatalError("broken")])]
)
async def test_a_handler_that_says_fatal_ends_its_own_stream(
    store: Store, error: Exception
) -> None:
    calls = Calls(error)
    engine = open_engine(store)
    async with running(engine, calls):
        await engine.submit("transfer/1", Begin(order=order()))
        assert (await _until_quarantined(engine)).fault == "broken"
        await _others_go_on(engine)
    assert len(calls.resumed) == 1


async def test_an_effect_that_nothing_handles_ends_its_own_stream(store: Store) -> None:
    engine = _engine(store)
    async with running(engine, None):
        await engine.submit("transfer/1", Begin(order=order()))
        assert "nothing handles the effect Send" in (await _until_quarantined(engine)).fault


async def test_a_report_that_fails_ends_the_stream_also_when_its_handler_goes_on(
    store: Store,
) -> None:
    async def stubborn(_effect: Send, context: EffectContext) -> Input | None:
        for _ in range(2):
            try:
                context.report(Sent())
            except StreamFaultError:
                continue
        return None

    engine = _engine(store, BAD_AT_RESULT["decide"])
    async with running(engine, stubborn):
        await engine.submit("transfer/1", Begin(order=order()))
        await _until_quarantined(engine)
    assert _kinds(store).count("stream.quarantined") == 1


async def test_what_others_tell_a_quarantined_stream_is_decided_and_its_end_lifts_it(
    store: Store,
) -> None:
    engine = open_engine(store)
    async with running(engine, Calls(FatalError("broken"))):
        await engine.submit("transfer/1", Begin(order=order()))
        await _until_quarantined(engine)
        await engine.submit("transfer/1", Noted(text="still heard"))
        await engine.submit("transfer/1", Bounced(why="given back"))
        await anyio.wait_all_tasks_blocked()
        assert engine.faults.quarantined() == []
        assert (await engine.wait("transfer/1", lambda s: isinstance(s, Returned))).position
    assert balances(engine) == {"a": 0, "b": 0, "c": 0}
    assert _kinds(store)[-1] == "stream.quarantine_lifted"


async def test_a_quarantine_that_loops_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: effects go on. What the tests above rest on, that there is one call a life, is then broken."""
    monkeypatch.setattr(Effects, "stop", lambda _self, _stream: None)
    calls = Calls(FatalError("broken"))
    engine = open_engine(store)
    async with running(engine, calls):
        await engine.submit("transfer/1", Begin(order=order()))
        while len(calls.resumed) < 3:
            await anyio.lowlevel.checkpoint()
    assert _kinds(store).count("stream.quarantined") == 1


# --- lifting it ----------------------------------------------------------------------------------------------------


async def test_lifted_it_is_tried_again_as_what_may_have_left_before(tmp_path: Path) -> None:
    calls = Calls(FatalError("broken"))
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine, calls):
        await engine.submit("transfer/1", Begin(order=order()))
        await _until_quarantined(engine)
        with pytest.raises(NotFoundError, match="account/a is not quarantined"):
            await engine.lift("account/a")
        # Still broken: quarantined again, once.
        await engine.lift("transfer/1")
        await _until_quarantined(engine)
    store.close()
    calls.answer = Sent()
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine, calls):
        await engine.lift("transfer/1")
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
    assert calls.resumed == [False, True, True]
    assert balances(engine) == {"a": -10, "b": 10, "c": 0}
    store.close()


async def test_lifted_amid_other_decisions_nothing_leaves_before_its_commit(tmp_path: Path) -> None:
    calls, gate = Calls(FatalError("broken")), Gate()
    gate.open()
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine, calls):
        await engine.submit("transfer/1", Begin(order=order()))
        await _until_quarantined(engine)
    store.close()
    calls.answer = Sent()
    durable: list[int] = []

    def look(point: str) -> None:
        if point == "effect Send":
            durable.append(store.head.position)

    store = open_store(tmp_path)
    engine = open_engine(store, run_blocking=gate, probe=look)
    async with running(engine, calls), anyio.create_task_group() as tasks:
        gate.close()
        tasks.start_soon(engine.lift, "transfer/1")
        await anyio.wait_all_tasks_blocked()
        engine.deliver("transfer/1", Noted(text="later"))
        gate.open()
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
    assert durable == [1 + _kinds(store).index("transfer.seen")]
    assert calls.resumed == [False, True]
    store.close()


async def test_what_is_quarantined_again_or_over_before_the_lifting_is_written_begins_nothing(
    store: Store,
) -> None:
    calls, gate = Calls(FatalError("broken")), Gate()
    gate.open()
    engine = open_engine(store, run_blocking=gate)
    async with running(engine, calls):
        for name in ("1", "2"):
            await engine.submit(f"transfer/{name}", Begin(order=order()))
            await _until_quarantined(engine, f"transfer/{name}")
        async with anyio.create_task_group() as tasks:
            gate.close()
            for name in ("1", "2"):
                tasks.start_soon(engine.lift, f"transfer/{name}")
            await anyio.wait_all_tasks_blocked()
            engine.quarantine("transfer/1", "a test", ValueError())
            engine.deliver("transfer/2", Bounced(why="over"))
            gate.open()
        await anyio.wait_all_tasks_blocked()
        assert [one.where for one in engine.faults.quarantined()] == ["a test"]
    assert len(calls.resumed) == 2


# --- inputs of callers ---------------------------------------------------------------------------------------------


async def test_a_fault_at_a_callers_input_is_his_error_and_quarantines_nothing(
    store: Store,
) -> None:
    rules = {**_RULES, (Sending, Noted): Handle(_broken, to=(Sending,))}
    engine = _engine(store, replace(TRANSFER, rules=rules))
    async with running(engine, Calls(ValueError())):
        for number in range(NOTED_MAX + 2):
            await engine.submit(f"transfer/{number}", Begin(order=order(1)))
            with pytest.raises(StreamFaultError, match="nothing was done: ZeroDivisionError"):
                await engine.submit(f"transfer/{number}", Noted(text="x"))
        assert engine.faults.quarantined() == []
        assert len(engine.faults.noted) == NOTED_MAX
        assert "transfer/0" not in engine.faults.noted


def test_of_errors_our_own_sentences_are_kept_and_cut() -> None:
    assert fault_text(FatalError("x" * 9_999)) == "x" * CHARACTERS_MAX
    assert fault_text(ValueError("something of somebody")) == "ValueError"
    assert storage_in(FatalError("x")) is None
    full = StorageError("full")
    assert storage_in(ExceptionGroup("", [FatalError("x"), full])) is full


# --- the log -------------------------------------------------------------------------------------------------------


class Small(Credited, frozen=True):
    """What a later version of the program takes for a credit."""

    amount: Annotated[int, msgspec.Meta(le=5)]


def _later(evolve: Callable[[Any, Any], State] | None = None) -> Machine:
    """An account that cannot read large credits any more, or fails at them."""
    event: Any = Small if evolve is None else Credited
    credit = evolve or ACCOUNT.evolvers[Credited]
    evolvers: Any = {
        **{e: f for e, f in ACCOUNT.evolvers.items() if e is not Credited},
        event: credit,
    }
    rules: Any = dict(ACCOUNT.rules)
    rules[Open, Credit] = Handle(lambda _s, i: Decision((event(amount=i.amount),)), to=(Open,))
    return replace(ACCOUNT, evolvers=evolvers, rules=rules)


async def _filled(directory: Path) -> None:
    store = open_store(directory)
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("account/a", Credit(amount=3))
        await engine.submit("account/a", Credit(amount=50))
        await engine.submit("account/a", Credit(amount=1))
        await engine.submit("account/b", Credit(amount=2))
    store.close()


def _picky(state: Open, event: Credited) -> State:
    if event.amount > 5:
        raise ZeroDivisionError
    return Open(balance=state.balance + event.amount)


@pytest.mark.parametrize("evolve", [None, _picky])
async def test_a_stream_that_cannot_be_read_is_kept_apart_until_it_can_be(
    tmp_path: Path, evolve: Callable[[Any, Any], State] | None
) -> None:
    await _filled(tmp_path)
    store = open_store(tmp_path)
    engine = _engine(store, account=_later(evolve))
    # Known from the log alone, before anything is written.
    (found,) = engine.faults.quarantined()
    assert (found.stream, found.where, found.is_readable) == ("account/a", THE_LOG, False)
    assert found.fault.startswith("account.credited at position 2 cannot be read: ")
    assert store.head.position == 4
    async with running(engine, Calls(Sent())):
        for ask in (engine.read, engine.lift):
            with pytest.raises(QuarantinedError, match="start a version of this program"):
                await ask("account/a")
        with pytest.raises(QuarantinedError, match="is not known"):
            engine.peek("account/a")
        # Who tells it is refused as a whole, and may ask again.
        with pytest.raises(QuarantinedError):
            await engine.submit("transfer/1", Begin(order=order(1)))
        assert "transfer/1" not in engine.open_streams()
        assert engine.open_streams()["account/a"] == Open(balance=3)
        await engine.submit("transfer/2", Begin(order=order(1, source="b", target="c")))
        await engine.wait("transfer/2", lambda state: isinstance(state, Arrived))
    store.close()
    # A version that reads it again goes on where the log ends.
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine):
        assert (await engine.read("account/a")).state == Open(balance=54)
        await anyio.wait_all_tasks_blocked()
        assert engine.faults.quarantined() == []
    assert _kinds(store)[-1] == "stream.quarantine_lifted"
    store.close()


async def test_it_is_put_on_record_once_however_often_it_is_started(tmp_path: Path) -> None:
    await _filled(tmp_path)
    for _life in range(3):
        store = open_store(tmp_path)
        engine = _engine(store, account=_later())
        async with running(engine, None):
            await anyio.wait_all_tasks_blocked()
            assert [one.is_readable for one in engine.faults.quarantined()] == [False]
        assert _kinds(store)[4:] == ["stream.quarantined"]
        store.close()


async def test_verify_tells_of_it_and_goes_on(tmp_path: Path) -> None:
    await _filled(tmp_path)
    with open_log(tmp_path) as log:
        found = verify(log, Machines([_later(), LIMITS, TRANSFER]), read_models())
    (unread,) = found.unread
    assert unread.startswith("account/a: account.credited at position 2 cannot be read")
    assert found.problems == ()
    assert found.states is not None


async def test_a_newer_programs_log_is_no_fault_of_a_stream(tmp_path: Path) -> None:
    await _filled(tmp_path)
    store = open_store(tmp_path)
    unknown = replace(
        ACCOUNT,
        rules={key: Handle(_broken, to=()) for key in ACCOUNT.rules},
        evolvers={},
    )
    with pytest.raises(UnknownEventError, match="start the newer program"):
        _engine(store, account=unknown)
    store.close()


async def test_a_state_whose_wants_fail_at_start_is_quarantined(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine, Calls(ValueError())):
        await engine.submit("transfer/1", Begin(order=order()))
    store.close()
    store = open_store(tmp_path)
    engine = _engine(store, replace(TRANSFER, wants_of={Sending: _broken}))
    async with running(engine, Calls(Sent())):
        found = await _until_quarantined(engine)
        assert (found.where, found.fault) == ("what it wants done", "ZeroDivisionError")
        await _others_go_on(engine)
    store.close()


async def test_what_is_quarantined_between_opening_and_running_begins_nothing(
    tmp_path: Path,
) -> None:
    calls = Calls(ValueError())
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine, calls):
        await engine.submit("transfer/1", Begin(order=order()))
    store.close()
    before = len(calls.resumed)
    store = open_store(tmp_path)
    engine = open_engine(store)
    engine.quarantine("transfer/1", "opening", FatalError("bad facts"))
    async with running(engine, calls):
        assert (await _until_quarantined(engine)).where == "opening"
        await anyio.wait_all_tasks_blocked()
    assert len(calls.resumed) == before
    store.close()
