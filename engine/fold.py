"""The fold: rows to states. The only way memory comes to be, at start, in tools and in tests."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

import msgspec

from engine.chain import Row
from engine.events import Event, EventCodec, Upcaster
from engine.machine import Machine, State, kind_of
from engine.storage_errors import DamagedError
from engine.store import StoredStep
from errors import FatalError


class Position(msgspec.Struct, frozen=True):
    """Where one stream stands: its state after `version` events, the last of them at `position` of the log."""

    state: State
    version: int
    position: int


class Machines:
    """The machines of one program, with the codecs of their events and states."""

    def __init__(
        self,
        machines: Sequence[Machine],
        upcasters: Mapping[tuple[str, int], Upcaster] | None = None,
    ) -> None:
        self._by_kind = {machine.kind: machine for machine in machines}
        if len(self._by_kind) != len(machines):
            raise FatalError("two machines have the same kind")
        self.codec = EventCodec([e for machine in machines for e in machine.events], upcasters)
        self._state_encoder = msgspec.json.Encoder(order="deterministic")

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._by_kind.values())

    def of(self, stream: str) -> Machine:
        """The machine of a stream. Raises FatalError for a kind this program does not have."""
        machine = self._by_kind.get(kind_of(stream))
        if machine is None:
            raise FatalError(f"this program has no machine for the stream {stream}")
        return machine

    def encode_state(self, state: State) -> bytes:
        """JSON of a state with its tag, the same bytes for the same state."""
        return self._state_encoder.encode(state)

    def step(self, known: Mapping[str, Position], row: Row) -> StoredStep:
        """Fold one row onto the states known so far."""
        machine = self.of(row.stream)
        event: Event = self.codec.decode(row.event)
        before = known.get(row.stream)
        if row.version != (before.version if before else 0) + 1:
            raise DamagedError(f"version {row.version} of {row.stream} has nothing to rest on")
        state = machine.evolve(before.state if before else machine.initial, event)
        return StoredStep(row, event, state, machine.is_final(state))


def fold(
    machines: Machines, rows: Iterable[Row], *, keep_final: bool, until: int | None = None
) -> dict[str, Position]:
    """The position of every stream after `rows` (those up to position `until`).

    `keep_final` as in `steps`.
    """
    known: dict[str, Position] = {}
    wanted = rows if until is None else takewhile(lambda row: row.position <= until, rows)
    for _ in steps(machines, wanted, known, keep_final=keep_final):
        pass
    return known


def steps(
    machines: Machines,
    rows: Iterable[Row],
    known: dict[str, Position] | None = None,
    *,
    keep_final: bool = True,
) -> Iterator[StoredStep]:
    """Every row with its event and the state it leads to; `known` is kept current on the way.

    With `keep_final` false, finished streams are dropped as they end, so memory holds only what is open. That such a
    stream begins anew is then not noticed here; the log's unique index on stream and version does not let it happen.
    """
    known = {} if known is None else known
    for row in rows:
        step = machines.step(known, row)
        if step.final and not keep_final:
            known.pop(row.stream, None)
        else:
            known[row.stream] = Position(step.state, row.version, row.position)
        yield step


def state_hash(machines: Machines, states: Mapping[str, Position]) -> str:
    """`hash_of_states` of states in memory."""
    return hash_of_states(
        (stream, states[stream].version, machines.encode_state(states[stream].state))
        for stream in sorted(states)
    )


def hash_of_states(states: Iterable[tuple[str, int, bytes]]) -> str:
    """sha256 (hex) over every stream's name, version and encoded state, which come in the order of names.

    Stored histories are compared by this: a later version must fold an old log to the same states.
    """
    digest = hashlib.sha256()
    for stream, version, state in states:
        digest.update(f"{stream}\n{version}\n".encode())
        digest.update(state + b"\n")
    return digest.hexdigest()
