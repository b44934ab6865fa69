"""A stored history: a log as text, one row a line, and the hash of the states it folds to in a file beside it."""

from collections.abc import Iterable
from pathlib import Path

from engine.chain import ChainedRow, verified
from engine.fold import fold, state_hash
from engine.portable import from_line, to_line
from gateway.log import machines

SUFFIX = ".jsonl"
_HASH_SUFFIX = ".states"


def load(path: Path) -> list[ChainedRow]:
    """The rows of a stored history."""
    return [from_line(line) for line in path.read_text("utf-8").splitlines()]


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
            file.write(to_line(one) + "\n")
    with path.with_suffix(_HASH_SUFFIX).open("x", encoding="ascii") as file:
        file.write(state_hash(program, states) + "\n")
