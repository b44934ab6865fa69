"""The fold from rows to states: the only way to memory, at start, in tools and in tests."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Union

import msgspec

from engine import quarantine
from engine.chain import Row, StoredStep
from engine.events import EventCodec, UnknownEventError, Unread, Upcaster
from engine.machine import Machine, State, kind_of
from engine.quarantine import fault_text
from engine.storage.errors import DamagedError
from errors import FatalError


class Position(msgspec.Struct, frozen=True):
    """Where one stream stands: its state after `version` events, the last of them at `position` of the log.

    With a `fault`, that is why the events from some point on cannot be folded: the state is the last before them.
    """

    state: State
    version: int
    position: int
    fault: str | None = None

    @classmethod
    def after(cls, step: StoredStep) -> "Position":
        """Where a step leads."""
        return cls(step.state, step.row.version, step.row.position, step.fault)


class Machines:
    """The machines of one program, with the codecs of their events and states.

    What the engine has on record of faults is a machine of every program (`engine/quarantine.py`).
    """

    def __init__(
        self,
        machines: Sequence[Machine],
        upcasters: Mapping[tuple[str, int], Upcaster] | None = None,
    ) -> None:
        every = (*machines, quarantine.MACHINE)
        self._by_kind = {machine.kind: machine for machine in every}
        if len(self._by_kind) != len(every):
            raise FatalError("two machines have the same kind")
        self.codec = EventCodec([e for machine in every for e in machine.events], upcasters)
        self._state_encoder = msgspec.json.Encoder(order="deterministic")
        self._state_decoders = {
            machine.kind: msgspec.json.Decoder(Union[machine.states])  # noqa: UP007 (made of a tuple)
            for machine in every
        }

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

    def decode_state(self, stream: str, encoded: bytes) -> State:
        """What `encode_state` made of a state of this stream. Raises FatalError when another program did."""
        try:
            state: State = self._state_decoders[self.of(stream).kind].decode(encoded)
        except (msgspec.MsgspecError, ValueError) as error:
            raise FatalError(f"a stored state of {stream} cannot be decoded: {error}") from error
        return state

    def step(self, known: Mapping[str, Position], row: Row) -> StoredStep:
        """Fold one row onto the states known so far.

        An event that cannot be folded is Unread, as is all that comes after it in its stream: a stream of which the
        state is not known must not keep the others from going on. Raises DamagedError for a version that is missing,
        UnknownEventError for the log of a newer program.
        """
        machine = self.of(row.stream)
        before = known.get(row.stream) or Position(machine.initial, 0, 0)
        if row.version != before.version + 1:
            raise DamagedError(f"version {row.version} of {row.stream} has nothing to rest on")
        if before.fault is not None:
            return StoredStep(row, Unread(why=before.fault), before.state, final=False)
        try:
            event = self.codec.decode(row.event)
            state = machine.evolve(before.state, event)
        except UnknownEventError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it is of this stream alone)
            why = f"{row.kind} at position {row.position} cannot be read: {fault_text(error)}"
            return StoredStep(row, Unread(why=why), before.state, final=False)
        return StoredStep(row, event, state, machine.is_final(state))


def fold(
    machines: Machines,
    rows: Iterable[Row],
    *,
    keep_final: bool,
    until: int | None = None,
    known: dict[str, Position] | None = None,
) -> dict[str, Position]:
    """The position of every stream after `rows` (those up to position `until`), `known` being what was before.

    `keep_final` as in `steps`.
    """
    known = {} if known is None else known
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
            known[row.stream] = Position.after(step)
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
