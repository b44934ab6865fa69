"""Streams in which a bug of this program was met: their effects wait, everything else goes on.

The stream `quarantine/<stream>` has it on record until the operator, or the end of the stream, lifts it. The state of a
quarantined stream is known and good, so what others tell it is still decided. Of a stream with an event that this
program cannot read it is not known: nothing is decided on that one, whatever is on record.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Ignore, Input, Machine, State
from errors import FaultError, GatewayError, UnavailableError

KIND = "quarantine"
#: Where an event that cannot be read was met.
THE_LOG = "the log"
#: Of an error; most of what is longer comes from others.
CHARACTERS_MAX = 500


class StreamFaultError(FaultError):
    """A machine of this program failed at an input: nothing of it is in the log."""


class QuarantinedError(UnavailableError):
    """Nothing can be decided on a stream now, or it waits for its operator."""


class Clear(State, frozen=True):
    """Nothing was met, or it was lifted."""


class Quarantined(State, frozen=True):
    """`where` names the effect, or what else it was met in."""

    where: str
    fault: str


class Quarantine(Input, frozen=True):
    """A mistake was met."""

    where: str
    fault: str


class Lift(Input, frozen=True):
    """Try again."""


class StreamQuarantined(Event, frozen=True):
    kind: ClassVar[str] = "stream.quarantined"
    where: str
    fault: str


class QuarantineLifted(Event, frozen=True):
    kind: ClassVar[str] = "stream.quarantine_lifted"


class QuarantinedStream(msgspec.Struct, frozen=True):
    """A stream that waits for the operator, as they see it; `is_readable` is false when only a newer version helps."""

    stream: str
    where: str
    fault: str
    is_readable: bool = True


def stream_of(stream: str) -> str:
    """The stream that has the record of this one."""
    return f"{KIND}/{stream}"


def subject_of(stream: str) -> str:
    """The stream that this record is about."""
    return stream.removeprefix(f"{KIND}/")


def fault_text(error: Exception) -> str:
    """An error as the log may have it: our own sentences, and of everything else the class alone."""
    if isinstance(error, GatewayError):
        return str(error)[:CHARACTERS_MAX]
    return type(error).__name__


def _quarantine(_state: State, input_: Quarantine) -> Decision:
    return Decision((StreamQuarantined(where=input_.where, fault=input_.fault),))


MACHINE = Machine(
    kind=KIND,
    initial=Clear(),
    states=(Clear, Quarantined),
    inputs=(Quarantine, Lift),
    rules={
        (Clear, Quarantine): Handle(_quarantine, to=(Quarantined,)),
        (Clear, Lift): Ignore("nothing to lift"),
        (Quarantined, Quarantine): Ignore("on record already"),
        (Quarantined, Lift): Handle(lambda _s, _i: Decision((QuarantineLifted(),)), to=(Clear,)),
    },
    evolvers={
        StreamQuarantined: lambda _state, event: Quarantined(where=event.where, fault=event.fault),
        QuarantineLifted: lambda _state, _event: Clear(),
    },
)
