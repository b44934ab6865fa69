"""What was true outside in the moment of a decision, found again by the time in its rows.

Whatever decides reads the clock, so the clock tells the observer; rows are durable, and judged, only later.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backends.simulated.node import SimulatedNode

#: What was measured may be so old when it is decided on: two calls to the node, and guardians that are asked.
MEASURED_S = 60.0


class Held(NamedTuple):
    """HTLCs at the node for one invoice, and the height of their timelock."""

    amount_msat: int
    timelock_height: int


class Moment(NamedTuple):
    """The world as it was: unix time as it is for others, whatever the gateway's clock said."""

    unix_s: float
    height: int
    new_blocks: int
    """How many of the blocks are younger than what was measured."""
    held: dict[str, Held]
    """By payment hash."""


@dataclass
class Moments:
    """Of one run, over all lives of its gateway."""

    node: SimulatedNode
    now_unix_s: Callable[[], float]
    _blocks_unix_s: list[float] = field(default_factory=list)
    _seen: defaultdict[int, list[Moment]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.node.network.chain.on_block(lambda: self._blocks_unix_s.append(self.now_unix_s()))

    def see(self, told_unix_us: int) -> None:
        """The gateway reads its clock, which tells it this."""
        now, seen = self._now(), self._seen[told_unix_us]
        if not seen or seen[-1] != now:
            seen.append(now)

    def of(self, recorded_unix_us: int) -> Sequence[Moment]:
        """What was seen at that time: more than one when things happened at once, and each may have been the one."""
        return self._seen[recorded_unix_us]

    def _now(self) -> Moment:
        unix_s = self.now_unix_s()
        return Moment(
            unix_s,
            self.node.network.chain.height,
            sum(found_s >= unix_s - MEASURED_S for found_s in self._blocks_unix_s[-200:]),
            {
                name.hex(): Held(invoice.paid_msat, invoice.expiry_height)
                for name in self.node.held()
                for invoice in (self.node.invoices[name],)
            },
        )
