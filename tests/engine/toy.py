"""Toy machines: money moves between accounts by transfers, under a limit.

A transfer begins by debiting its source, which tells the limit; then it wants `Send`, and what `Send` brings ends it:
`Sent` credits the target, `Bounced` gives the money back. The sum over accounts and open transfers is always zero.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.abc
import anyio.lowlevel
import msgspec

from engine.effects import Handler
from engine.engine import Engine, Observer, Ports
from engine.events import Event
from engine.fold import Machines
from engine.machine import (
    Decision,
    Effect,
    Handle,
    Input,
    Machine,
    State,
    Tell,
    ignored,
    refused,
    table,
)
from engine.ports import Clock, RunBlocking, inline, no_probe
from engine.storage.open_states import OpenStates
from engine.storage.read_model import ReadModel, StreamIndex
from engine.storage.store import Store
from errors import BusyError, FatalError, NotFoundError
from migrations import SchemaSteps

LIMIT = 1_000
#: Only processes crash in these tests, not machines: what the kernel has is safe, so memory is a disk.
DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (private folders in it)

# --- account ---------------------------------------------------------------------------------------------------


class Open(State, frozen=True):
    balance: int = 0


class Debit(Input, frozen=True):
    amount: int


class Credit(Input, frozen=True):
    amount: int


class Debited(Event, frozen=True):
    kind: ClassVar[str] = "account.debited"
    amount: int


class Credited(Event, frozen=True):
    kind: ClassVar[str] = "account.credited"
    amount: int


def _debit(_state: Open, input_: Debit) -> Decision:
    return Decision(
        (Debited(amount=input_.amount),), (Tell("limit/all", Spend(amount=input_.amount)),)
    )


ACCOUNT = Machine(
    kind="account",
    initial=Open(),
    states=(Open,),
    inputs=(Debit, Credit),
    rules={
        (Open, Debit): Handle(_debit, to=(Open,)),
        (Open, Credit): Handle(lambda _s, i: Decision((Credited(amount=i.amount),)), to=(Open,)),
    },
    evolvers={
        Debited: lambda state, event: Open(balance=state.balance - event.amount),
        Credited: lambda state, event: Open(balance=state.balance + event.amount),
    },
)

# --- limit -----------------------------------------------------------------------------------------------------


class Spending(State, frozen=True):
    total: int = 0


class Spend(Input, frozen=True):
    amount: int


class Spent(Event, frozen=True):
    kind: ClassVar[str] = "limit.spent"
    amount: int


def _spend(state: Spending, input_: Spend) -> Decision:
    if state.total + input_.amount > LIMIT:
        raise BusyError("the limit is reached")
    return Decision((Spent(amount=input_.amount),))


LIMITS = Machine(
    kind="limit",
    initial=Spending(),
    states=(Spending,),
    inputs=(Spend,),
    rules={(Spending, Spend): Handle(_spend, to=(Spending,))},
    evolvers={Spent: lambda state, event: Spending(total=state.total + event.amount)},
)

# --- transfer --------------------------------------------------------------------------------------------------


class Order(msgspec.Struct, frozen=True):
    source: str
    target: str
    amount: int


class Unborn(State, frozen=True):
    pass


class Sending(State, frozen=True):
    order: Order
    attempt: int = 1


class Arrived(State, frozen=True):
    order: Order


class Returned(State, frozen=True):
    order: Order
    why: str


class Begin(Input, frozen=True):
    order: Order


class Sent(Input, frozen=True):
    pass


class Bounced(Input, frozen=True):
    why: str


class Again(Input, frozen=True):
    """Give the running attempt up and send anew."""


class Noted(Input, frozen=True):
    """Something seen on the way, which changes nothing outside."""

    text: str


class Recall(Input, frozen=True):
    """A caller wants the money back, which is never possible."""


class Begun(Event, frozen=True):
    kind: ClassVar[str] = "transfer.begun"
    order: Order


class Retried(Event, frozen=True):
    kind: ClassVar[str] = "transfer.retried"


class Seen(Event, frozen=True):
    kind: ClassVar[str] = "transfer.seen"
    text: str


class Delivered(Event, frozen=True):
    kind: ClassVar[str] = "transfer.delivered"


class Reversed(Event, frozen=True):
    kind: ClassVar[str] = "transfer.reversed"
    why: str


class Send(Effect, frozen=True):
    may_pay_twice: ClassVar[bool] = False
    order: Order
    attempt: int


def begin(_state: Unborn, input_: Begin) -> Decision:
    order = input_.order
    tell = Tell(f"account/{order.source}", Debit(amount=order.amount))
    return Decision((Begun(order=order),), (tell,))


def _sent(state: Sending, _input: Sent) -> Decision:
    tell = Tell(f"account/{state.order.target}", Credit(amount=state.order.amount))
    return Decision((Delivered(),), (tell,))


def _bounced(state: Sending, input_: Bounced) -> Decision:
    tell = Tell(f"account/{state.order.source}", Credit(amount=state.order.amount))
    return Decision((Reversed(why=input_.why),), (tell,))


def _wants_send(state: Sending) -> Mapping[str, Effect]:
    return {"send": Send(order=state.order, attempt=state.attempt)}


TRANSFER = Machine(
    kind="transfer",
    initial=Unborn(),
    states=(Unborn, Sending, Arrived, Returned),
    inputs=(Begin, Sent, Bounced, Again, Noted, Recall),
    rules=table(
        {
            (Unborn, Begin): Handle(begin, to=(Sending,)),
            (Sending, Sent): Handle(_sent, to=(Arrived,)),
            (Sending, Bounced): Handle(_bounced, to=(Returned,)),
            (Sending, Again): Handle(lambda _s, _i: Decision((Retried(),)), to=(Sending,)),
            (Sending, Noted): Handle(lambda _s, i: Decision((Seen(text=i.text),)), to=(Sending,)),
        },
        refused((Sending,), (Recall,), "money on its way cannot be recalled"),
        refused(
            (Unborn,),
            (Sent, Bounced, Again, Noted, Recall),
            "there is no such transfer",
            NotFoundError,
        ),
        ignored((Sending,), (Begin,), "late or repeated"),
        ignored(
            (Arrived, Returned), (Begin, Sent, Bounced, Again, Noted, Recall), "late or repeated"
        ),
    ),
    evolvers={
        Begun: lambda _state, event: Sending(order=event.order),
        Retried: lambda state, _event: msgspec.structs.replace(state, attempt=state.attempt + 1),
        Seen: lambda state, _event: state,
        Delivered: lambda state, _event: Arrived(order=state.order),
        Reversed: lambda state, event: Returned(order=state.order, why=event.why),
    },
    wants_of={Sending: _wants_send},
    final=frozenset({Arrived, Returned}),
)

ALL = (ACCOUNT, LIMITS, TRANSFER)


class Crash(BaseException):
    """What a probe raises: no handler of errors may swallow it."""


class FixedRandomness:
    """The same bytes again and again."""

    def random_bytes(self, count: int) -> bytes:
        return b"\x80" * count


def machines() -> Machines:
    return Machines(ALL)


def read_models() -> tuple[ReadModel, ...]:
    return (StreamIndex(), OpenStates(machines(), 1))


def open_store(directory: Path) -> Store:
    """The log of a directory; a new one has its read models already."""
    store = Store(directory, SchemaSteps(), read_models())
    try:
        if store.head.position == 0:
            store.rebuild(store.outdated_read_models(), iter(()))
    except FatalError:
        store.close()
        raise
    return store


def order(amount: int = 10, source: str = "a", target: str = "b") -> Order:
    return Order(source, target, amount)


async def send_at_once(effect: Send, _context: object) -> Input:
    return Sent()


class StepClock:
    """Time stands still; every sleep ends at once, and is remembered."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def now_unix_us(self) -> int:
        return 1_700_000_000_000_000

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        await anyio.lowlevel.checkpoint()


class Gate:
    """Runs the journal's calls inline, but only while it is open; it begins closed."""

    def __init__(self) -> None:
        self._open = anyio.Event()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open = anyio.Event()

    async def __call__(self, call: Callable[[], None]) -> None:
        await self._open.wait()
        call()


def open_engine(
    store: Store,
    *,
    clock: Clock | None = None,
    run_blocking: RunBlocking = inline,
    probe: Callable[[str], None] = no_probe,
    observers: Sequence[Observer] = (),
) -> Engine:
    """An engine that writes inline, on a clock that stands still."""
    ports = Ports(clock or StepClock(), FixedRandomness(), run_blocking, probe)
    return Engine(store, machines(), ports, observers)


@asynccontextmanager
async def running(engine: Engine, send: Handler | None = send_at_once) -> AsyncIterator[None]:
    """The engine runs while the block does; its errors leave as they are. Without `send` it handles no effect."""
    handlers: dict[type[Effect], Handler] = {} if send is None else {Send: send}
    failed: list[BaseException] = []

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            await engine.run(handlers, task_status=task_status)
        except FatalError as error:
            failed.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        yield
        tasks.cancel_scope.cancel()
    if failed:
        raise failed[0]


def write_transfers(directory: Path) -> None:
    """A log of two transfers, sent and credited; closed."""

    async def write() -> None:
        engine = open_engine(store)
        async with running(engine):
            for name in "12":
                await engine.submit(f"transfer/{name}", Begin(order=order()))
                await engine.wait(f"transfer/{name}", lambda state: isinstance(state, Arrived))

    store = open_store(directory)
    anyio.run(write)
    store.close()


def balances(engine: Engine, names: str = "abc") -> dict[str, int]:
    """What every account holds, as decided."""
    found = {}
    for name in names:
        state = engine.peek(f"account/{name}")
        assert isinstance(state, Open)
        found[name] = state.balance
    return found
