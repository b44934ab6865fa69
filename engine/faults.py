"""Faults that one engine met: quarantined streams, and inputs at which machines failed."""

from collections.abc import Iterator, Mapping

from engine import quarantine
from engine.fold import Position
from engine.quarantine import THE_LOG, Quarantined, QuarantinedError, QuarantinedStream

#: Inputs of callers at which machines failed; of more only the latest are shown.
NOTED_MAX = 20


class Faults:
    """`live` are the streams in memory, which hold the records, too."""

    def __init__(self, live: Mapping[str, Position]) -> None:
        self._live = live
        #: The last inputs at which machines failed, by stream: nothing of them was done.
        self.noted: dict[str, str] = {}

    def note(self, stream: str, fault: Exception) -> None:
        """An input was given up."""
        self.noted.pop(stream, None)
        self.noted[stream] = str(fault)
        while len(self.noted) > NOTED_MAX:
            del self.noted[next(iter(self.noted))]

    def is_quarantined(self, stream: str) -> bool:
        """Whether a quarantine of a stream is on record."""
        record = self._live.get(quarantine.stream_of(stream))
        return record is not None and isinstance(record.state, Quarantined)

    def is_readable(self, stream: str) -> bool:
        """Whether the state of a stream is known."""
        live = self._live.get(stream)
        return live is None or live.fault is None

    def quarantined(self) -> list[QuarantinedStream]:
        """Every stream that waits for its operator, by name."""
        found: dict[str, QuarantinedStream] = {}
        for stream, position in self._live.items():
            if position.fault is not None:
                found[stream] = QuarantinedStream(
                    stream, THE_LOG, position.fault, is_readable=False
                )
            elif isinstance(state := position.state, Quarantined):
                subject = quarantine.subject_of(stream)
                if self.is_readable(subject):
                    found[subject] = QuarantinedStream(subject, state.where, state.fault)
        return [found[stream] for stream in sorted(found)]

    def unrecorded(self) -> Iterator[tuple[str, quarantine.Quarantine | quarantine.Lift]]:
        """What replay says and the records do not, as inputs to these: it is survived without them."""
        for stream, position in list(self._live.items()):
            state = position.state
            if position.fault is not None:
                record = quarantine.Quarantine(where=THE_LOG, fault=position.fault)
                yield quarantine.stream_of(stream), record
            elif isinstance(state, Quarantined) and self._is_over(stream, state):
                yield stream, quarantine.Lift()

    def _is_over(self, record: str, state: Quarantined) -> bool:
        """Whether this program reads what an older one could not."""
        return state.where == THE_LOG and self.is_readable(quarantine.subject_of(record))


def known(stream: str, position: Position) -> Position:
    """The position of a stream whose state is known. Raises QuarantinedError for others."""
    if position.fault is not None:
        raise QuarantinedError(
            f"the state of {stream} is not known ({position.fault}), so nothing is decided on it: "
            "start a version of this program that reads it"
        )
    return position
