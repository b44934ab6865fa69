"""Transactions that a planted bug keeps the gateway from building, and how often it tries.

A mistake ends one stream: it is tried once, and again only when the operator says so, whatever process runs then.
"""

from collections import Counter
from dataclasses import dataclass, field

from engine import quarantine
from engine.machine import kind_of
from errors import FatalError
from fuzz.simulation.judging.auditor import Auditor
from statemachines.items import Reservation


@dataclass
class BrokenBuilds:
    """Of one run, over all lives of its gateway; asked before every build. Nothing is broken at first."""

    auditor: Auditor
    parent: str | None = None
    """The next transaction for a stream of this kind cannot be built; of any kind if it is empty."""
    streams: set[str] = field(default_factory=set)
    """Transactions that cannot be built by this program."""
    _tries: Counter[tuple[int, str, int]] = field(default_factory=Counter)

    def begins(self, reservation: Reservation, life: int) -> None:
        """A life of the gateway builds this. Raises FatalError, as `gateway.build` does for the impossible."""
        if self.parent is not None and self.parent in {"", kind_of(reservation.parent)}:
            self.parent = None
            self.streams.add(reservation.tx)
            self.auditor.wrongs.mistaken.add(reservation.tx)
        if reservation.tx not in self.streams:
            return
        self._judge(reservation.tx, life)
        raise FatalError("a mistake of this program, made for a simulation")

    def _judge(self, stream: str, life: int) -> None:
        record = self.auditor.state_of(quarantine.stream_of(stream))
        if isinstance(record, quarantine.Quarantined):
            self.auditor.problems.append(f"10: {stream} is built again while it is quarantined")
        attempt = life, stream, self.auditor.lifted[stream]
        if self._tries[attempt]:
            self.auditor.problems.append(f"10: {stream} is built again, and nobody asked for it")
        self._tries[attempt] += 1
