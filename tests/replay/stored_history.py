"""A stored history: a log as text, one row a line, and the hash of the states it folds to in a file beside it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.chain import ChainedRow, Row, verified
from engine.events import EncodedEvent
from engine.fold import fold, state_hash
from gateway.log import machines

SUFFIX = ".jsonl"
_HASH_SUFFIX = ".states"


class _Line(msgspec.Struct, frozen=True):
    """All columns of a row; `body` is the event's JSON as it stands in the log, `hash` is hex."""

    position: int
    append: int
    stream: str
    version: int
    kind: str
    schema_version: int
    epoch: int
    recorded_unix_us: int
    body: str
    hash: str


def load(path: Path) -> list[ChainedRow]:
    """The rows of a stored history."""
    lines = (msgspec.json.decode(line, type=_Line) for line in path.read_text("utf-8").splitlines())
    return [_chained(line) for line in lines]


def expected_state_hash(path: Path) -> str:
    """What `engine.fold.state_hash` gave over all streams, finished ones too, when the history was stored."""
    return path.with_suffix(_HASH_SUFFIX).read_text("ascii").strip()


def store(path: Path, rows: Iterable[ChainedRow]) -> None:
    """Write a history and its state hash. Raises FileExistsError for one that exists: histories never change."""
    chained = list(rows)
    program = machines()
    states = fold(program, verified(chained), keep_final=True)
    with path.open("x", encoding="utf-8") as file:
        for one in chained:
            file.write(msgspec.json.encode(_line(one)).decode() + "\n")
    with path.with_suffix(_HASH_SUFFIX).open("x", encoding="ascii") as file:
        file.write(state_hash(program, states) + "\n")


def _line(chained: ChainedRow) -> _Line:
    row = chained.row
    return _Line(
        position=row.position,
        append=row.append,
        stream=row.stream,
        version=row.version,
        kind=row.event.kind,
        schema_version=row.event.schema_version,
        epoch=row.epoch,
        recorded_unix_us=row.recorded_unix_us,
        body=row.event.body.decode(),
        hash=chained.hash.hex(),
    )


def _chained(line: _Line) -> ChainedRow:
    event = EncodedEvent(line.kind, line.schema_version, line.body.encode())
    row = Row(
        line.position,
        line.append,
        line.stream,
        line.version,
        event,
        line.epoch,
        line.recorded_unix_us,
    )
    return ChainedRow(row, bytes.fromhex(line.hash))
