"""When a program cannot read an event of a stored history, only its streams are lost, and the books balance."""

import pytest

from engine.chain import verified
from engine.fold import fold
from fuzz.mutants.mutant import evolved
from gateway.log import machines
from statemachines import ALL_MACHINES, accounts
from statemachines.ledger import audit
from tests.replay.stored_history import load
from tests.replay.test_histories import HISTORIES

EVENTS = [(machine, event) for machine in ALL_MACHINES for event in machine.events]


def _broken(*_args: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("machine", "event"), EVENTS, ids=[event.kind for _machine, event in EVENTS]
)
def test_the_books_balance_whatever_cannot_be_read(machine: object, event: object) -> None:
    program = machines()
    for path in HISTORIES:
        rows = list(verified(load(path)))
        whole = fold(program, rows, keep_final=True)
        with evolved(machine, event, _broken):  # type: ignore[arg-type] # of the table above
            found = fold(program, rows, keep_final=True)
            report = audit(program, rows)
        bad = {row.stream for row in rows if row.kind == event.kind}  # type: ignore[attr-defined] # an event
        assert {stream for stream, position in found.items() if position.fault} == bad
        assert all(found[stream] == whole[stream] for stream in found.keys() - bad)
        assert report.is_sound
        assert sum(report.balances.values()) == 0
        if not bad:
            assert accounts.UNREAD not in report.balances
