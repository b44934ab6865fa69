"""Stored histories read by a later version that changed an event fold to the same states.

The later version is made here: `send.dispatching` has its intent spread over fields of its own, as version 2.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from engine.chain import verified
from engine.engine import Engine, Ports
from engine.events import Event
from engine.fold import Machines, fold, state_hash
from engine.machine import Decision, Handle
from engine.portable import write_rows
from engine.ports import SystemClock, SystemRandomness
from engine.storage.read_model import StreamIndex
from engine.storage.store import Store
from errors import FatalError
from gateway.log import machines
from migrations import SchemaSteps
from statemachines import ALL_MACHINES, send, send_rules
from tests.replay.stored_history import expected_state_hash, load

HISTORY = Path(__file__).parent / "0.13.0-embedded.jsonl"


class LaterDispatching(Event, frozen=True):
    kind: ClassVar[str] = send.SendDispatching.kind
    schema_version: ClassVar[int] = 2
    attempt: int
    max_fee_msat: int
    max_delay_blocks: int
    stray_call: bool


def _spread(body: dict[str, object]) -> dict[str, object]:
    intent = body["intent"]
    assert isinstance(intent, dict)
    return dict(intent)


def _dispatching(
    state: send.Accepted | send.Unanswered, event: LaterDispatching
) -> send.Dispatching:
    intent = send.Intent(
        event.attempt, event.max_fee_msat, event.max_delay_blocks, event.stray_call
    )
    return send.Dispatching(facts=state.facts, intent=intent)


def _dispatch(_state: send.Accepted, input_: send.BudgetMeasured) -> Decision:
    event = LaterDispatching(
        attempt=1,
        max_fee_msat=1,
        max_delay_blocks=input_.remaining_blocks,
        stray_call=False,
    )
    return Decision(events=(event,))


def _later(*, with_upcaster: bool = True) -> Machines:
    today = send_rules.MACHINE
    evolvers = {e: f for e, f in today.evolvers.items() if e is not send.SendDispatching}
    changed = replace(
        today,
        evolvers={**evolvers, LaterDispatching: _dispatching},
        rules={
            **today.rules,
            (send.Accepted, send.BudgetMeasured): Handle(_dispatch, to=(send.Dispatching,)),
        },
    )
    others = (machine for machine in ALL_MACHINES if machine is not today)
    upcasters = {(LaterDispatching.kind, 1): _spread} if with_upcaster else {}
    return Machines((*others, changed), upcasters)


def test_old_events_fold_to_the_states_they_always_did() -> None:
    rows = load(HISTORY)
    assert sum(one.row.kind == LaterDispatching.kind for one in rows) > 3
    later = _later()
    states = fold(later, verified(rows), keep_final=True)
    assert state_hash(later, states) == expected_state_hash(HISTORY)


def test_old_events_read_as_the_new_ones_and_stay_as_they_are() -> None:
    stored = next(one.row.event for one in load(HISTORY) if one.row.kind == LaterDispatching.kind)
    later, today = _later().codec, machines().codec
    read, was = later.decode(stored), today.decode(stored)
    assert isinstance(read, LaterDispatching)
    assert isinstance(was, send.SendDispatching)
    assert (read.attempt, read.max_fee_msat) == (was.intent.attempt, was.intent.max_fee_msat)
    written = later.encode(read)
    assert (written.schema_version, stored.schema_version) == (2, 1)
    assert later.decode(written) == read


def test_the_later_version_goes_on_with_an_old_log_and_the_older_refuses_it(tmp_path: Path) -> None:
    later = _later()
    store = Store(tmp_path, SchemaSteps(), [StreamIndex()])
    rows = load(HISTORY)
    write_rows(store, later, rows)
    engine = Engine(store, later, Ports(SystemClock(), SystemRandomness()))
    asked = next(
        engine_state.facts
        for engine_state in engine.open_streams().values()
        if isinstance(engine_state, send.InFlight)
    )
    facts = msgspec.structs.replace(asked, contract_id="c0" * 32, payment_hash="ab" * 32)
    stream = send.stream_of(facts.contract_id)
    engine.deliver(stream, send.RequestSend(facts=facts, other_network=False))
    engine.deliver(stream, send.BudgetMeasured(node=facts.node, remaining_blocks=500, now_unix_s=0))
    engine.write_decided()
    written = [one.row for one in store.rows(len(rows))]
    assert [(row.kind, row.event.schema_version) for row in written] == [
        ("send.accepted", 1),
        ("image.claimed", 1),
        ("send.dispatching", 2),
    ]
    again = fold(later, verified(store.rows()), keep_final=False)
    assert isinstance(again[stream].state, send.Dispatching)
    with pytest.raises(FatalError, match="in version 2, this program reads up to 1"):
        fold(machines(), verified(store.rows()), keep_final=False)
    store.close()


def test_an_upcaster_that_is_missing_is_told() -> None:
    with pytest.raises(FatalError, match=r"no upcaster takes send.dispatching from version 1 on"):
        fold(_later(with_upcaster=False), verified(load(HISTORY)), keep_final=True)
