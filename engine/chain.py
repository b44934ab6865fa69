"""The row of the log and the hash chain over rows."""

import hashlib
import struct
from collections.abc import Iterable, Iterator

import msgspec

from engine.events import EncodedEvent, Event, Unread
from engine.machine import State
from engine.storage.errors import DamagedError

GENESIS_HASH = bytes(32)

_FIXED = struct.Struct(">QQQQQIHHI")


class Row(msgspec.Struct, frozen=True):
    """One stored event.

    `position` counts from 1 over the whole log without gaps, `version` from 1 within its stream. `append` is the
    position of the first row of the append it belongs to; `epoch` says which start of the process wrote it.
    """

    position: int
    append: int
    stream: str
    version: int
    event: EncodedEvent
    epoch: int
    recorded_unix_us: int

    @property
    def kind(self) -> str:
        return self.event.kind


class ChainedRow(msgspec.Struct, frozen=True):
    """A row with the hash that commits to it and to every row before it."""

    row: Row
    hash: bytes


class Head(msgspec.Struct, frozen=True):
    """The newest row: its position (0 when the log is empty) and hash."""

    position: int
    hash: bytes


class StoredStep(msgspec.Struct, frozen=True):
    """A row with its event and the state of its stream afterwards, as read models fold it."""

    row: Row
    event: Event
    state: State
    final: bool

    @property
    def fault(self) -> str | None:
        """Why the event could not be folded; the state is then the last that is known."""
        return self.event.why if isinstance(self.event, Unread) else None

    @property
    def state_name(self) -> str:
        """The name of the state for people, `Unread` where it is not known any more."""
        return state_name(self.state, self.fault)


def state_name(state: State, fault: str | None) -> str:
    """The name of a state for people; with a `fault` it is the last that is known, and not the one that is."""
    return type(state).__name__ if fault is None else Unread.__name__


class Moved(msgspec.Struct, frozen=True):
    """One step of the log with the state before it."""

    before: State
    step: StoredStep


EMPTY_HEAD = Head(0, GENESIS_HASH)


def chain_hash(previous_hash: bytes, row: Row) -> bytes:
    """sha256 over the previous hash, the fixed fields, and stream, kind and body with their lengths."""
    stream, kind = row.stream.encode(), row.event.kind.encode()
    body = row.event.body
    fixed = _FIXED.pack(
        row.position,
        row.append,
        row.version,
        row.epoch,
        row.recorded_unix_us,
        row.event.schema_version,
        len(stream),
        len(kind),
        len(body),
    )
    return hashlib.sha256(b"".join((previous_hash, fixed, stream, kind, body))).digest()


def verified(rows: Iterable[ChainedRow], head: Head = EMPTY_HEAD) -> Iterator[Row]:
    """The rows after `head`, each checked for position and hash; versions within streams are for the fold to check.

    Raises DamagedError at the first row that does not follow from the one before it.
    """
    for row, problem in checked(rows, head):
        if problem is not None:
            raise DamagedError(problem)
        yield row


def checked(
    rows: Iterable[ChainedRow], head: Head = EMPTY_HEAD
) -> Iterator[tuple[Row, str | None]]:
    """The rows after `head`, each with what is wrong with it; behind a wrong row its own position and hash count."""
    position, previous_hash = head.position, head.hash
    for chained in rows:
        row = chained.row
        problem = None
        if row.position != position + 1:
            problem = f"the log jumps from position {position} to {row.position}"
        elif _hash_or_nothing(previous_hash, row) != chained.hash:
            problem = f"the log was changed: position {row.position} breaks the hash chain"
        position, previous_hash = row.position, chained.hash
        yield row, problem


def _hash_or_nothing(previous_hash: bytes, row: Row) -> bytes | None:
    """None for a row that this program cannot have written, such as one with a negative number."""
    try:
        return chain_hash(previous_hash, row)
    except struct.error:
        return None
