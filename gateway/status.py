"""The gateway's state for its operator: names of states, what is open, and what is overdue."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby

import structlog

from backends.lightning import NodeInfo
from engine.engine import Engine
from engine.machine import State, kind_of
from engine.ports import Clock
from engine.storage import streams
from engine.storage.store import Store
from gateway.federation import FederationClient
from gateway.node_watch import BEHIND_LIMIT_S, NodeWatch
from gateway.views import OpenPayment
from statemachines import deposit, federation
from statemachines.outlook import OpenState

#: How often what is overdue is looked for.
LOOK_PAUSE_S = 60.0

#: Stream, state, and since when.
Told = AbstractSet[tuple[str, str, int]]

_log = structlog.get_logger("payments")


def state_name(node: NodeInfo | None, *, stopping: bool) -> str:
    """The `gateway_state` of `/info`."""
    if stopping:
        return "ShuttingDown"
    if node is None:
        return "Disconnected"
    return "Running" if node.synced_to_chain else "Syncing"


def problems(
    watch: NodeWatch,
    federations: Iterable[FederationClient],
    open_now: Iterable[OpenPayment],
    frozen_until: Sequence[str],
    others: Iterable[str | None],
    *,
    why_frozen: str,
) -> tuple[str, ...]:
    """A sentence for everything that an operator should look at; `others` are found elsewhere."""
    found: list[str | None] = []
    if frozen_until:
        found.append(
            f"the log {why_frozen}, and what needs them is frozen until "
            f"{' and '.join(frozen_until)} have said what happened since"
        )
    if watch.is_other:
        found.append(watch.last_error)
    elif watch.info is None:
        found.append(f"the Lightning node does not answer: {watch.last_error}")
    elif not watch.info.synced_to_chain:
        found.append(
            f"the Lightning node is at block {watch.info.block_height}, behind the chain: until it has caught up no "
            f"invoices are given out, and HTLCs are cancelled after {BEHIND_LIMIT_S:.0f} seconds"
        )
    found += [one.health.problem(one.config.federation_name()) for one in federations]
    overdue = sum(payment.overdue for payment in open_now)
    if overdue:
        found.append(f"{overdue} of open_payments are overdue")
    return tuple(problem for problem in (*found, *others) if problem is not None)


def own_mistakes(engine: Engine, store: Store) -> Iterator[str]:
    """A sentence for each kind of mistake of this program that was contained."""
    for one in engine.faults.quarantined():
        lift = f"gateway-cli retry {one.stream}" if one.is_readable else "a version that reads it"
        yield (
            f"{one.stream} is quarantined because {one.where} met a bug of this gateway: {one.fault}. What it holds "
            f"is safe and booked, and the rest continues; report the bug, and then: {lift}"
        )
    for stream, fault in engine.faults.noted.items():
        yield f"an input to {stream} was given up: {fault}"
    if engine.observer_error is not None:
        yield f"an observer of events failed: {engine.observer_error}"
    for name, gaps in groupby(store.gaps(), key=lambda gap: gap.name):
        first, *others = gaps
        yield (
            f"the table {name} could not take the event at position {first.position} ({first.why}), "
            f"nor {len(others)} others: what it shows lacks them; payments continue"
        )


def open_payments(engine: Engine, store: Store, now_unix_us: int) -> tuple[OpenPayment, ...]:
    """Every payment, transaction and order that is not over, by the age of its state, oldest first."""
    errors = {job.stream: job.last_error for job in engine.jobs() if job.last_error is not None}
    states = _open_states(engine)
    since = _since_unix_us(store, states)
    left = {
        state.facts.federation_id
        for state in engine.open_streams().values()
        if isinstance(state, federation.Left)
    }
    open_now = [
        _open_payment(stream, state, since.get(stream, now_unix_us), now_unix_us, errors, left=left)
        for stream, state in states.items()
    ]
    return tuple(sorted(open_now, key=lambda payment: (payment.since_unix_s, payment.stream)))


def _open_payment(
    stream: str,
    state: OpenState,
    since_unix_us: int,
    now_unix_us: int,
    errors: Mapping[str, str],
    *,
    left: AbstractSet[str],
) -> OpenPayment:
    """Of a federation in `left` it rests, and nobody expects an end."""
    federation_id = state.whose()
    since_unix_s = since_unix_us // 1_000_000
    return OpenPayment(
        stream=stream,
        kind=kind_of(stream),
        federation_id=federation_id,
        state=type(state).__name__,
        since_unix_s=since_unix_s,
        age_s=max(0, now_unix_us - since_unix_us) // 1_000_000,
        overdue=federation_id not in left
        and now_unix_us // 1_000_000 >= state.due_unix_s(since_unix_s),
        last_error=errors.get(stream),
    )


def _open_states(engine: Engine) -> dict[str, OpenState]:
    return {
        stream: state
        for stream, state in engine.open_streams().items()
        if isinstance(state, OpenState)
    }


def _since_unix_us(store: Store, states: Mapping[str, State]) -> dict[str, int]:
    """When each of these states began; a state that is decided and not durable yet begins now, and is left out."""
    return {
        name: one.since_unix_us
        for name, one in streams.named(store, states).items()
        if one.state_name == type(states[name]).__name__
    }


def open_streams_of(engine: Engine, federation_id: str) -> list[str]:
    """The streams of a federation in which money is under way."""
    return sorted(
        stream for stream, state in _open_states(engine).items() if state.whose() == federation_id
    )


def open_deposits(engine: Engine, federation_id: str) -> int:
    """How many deposits of a federation are neither claimed nor dropped."""
    return sum(
        isinstance(state, deposit.OPEN_STATES) and state.whose() == federation_id
        for state in _open_states(engine).values()
    )


async def watch_overdue(engine: Engine, store: Store, clock: Clock) -> None:
    """Warn once for each state that becomes overdue, without end."""
    told: Told = frozenset()
    while True:
        try:
            told = _tell_overdue(open_payments(engine, store, clock.now_unix_us()), told)
        except Exception as error:  # noqa: BLE001 (nobody's payment may end for want of a warning)
            _log.error("overdue_unknown", exc_info=error)
        await clock.sleep(LOOK_PAUSE_S)


def _tell_overdue(open_now: Iterable[OpenPayment], told: Told) -> Told:
    """Warn of what is overdue and not in `told`; all that is overdue."""
    overdue = {
        (payment.stream, payment.state, payment.since_unix_s): payment
        for payment in open_now
        if payment.overdue
    }
    for key in sorted(overdue.keys() - told):
        payment = overdue[key]
        _log.warning(
            "payment_overdue",
            stream=payment.stream,
            state=payment.state,
            age_s=payment.age_s,
            error=payment.last_error,
        )
    return overdue.keys()
