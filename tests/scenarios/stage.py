"""What scenarios are played on: one gateway and its world, all simulated or all of real peers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from devnet.users.user import EmbeddedUser
from engine.chain import Row
from fuzz.simulation.simulated_gateway import Answer

__all__ = [
    "Answer",
    "Chain",
    "HeldInvoice",
    "Host",
    "OtherNode",
    "Stage",
    "StagedFederation",
    "Witness",
]


class Host(Protocol):
    """The gateway's process and its data directory. It is down at first."""

    async def start(self, *, crash_at: str | None = None, node_is_down: bool = False) -> None:
        """Start it and wait until it serves and, unless the node is down, sees its node.

        It kills itself at the point of that name (`engine/ports.py`).
        """
        ...

    async def kill(self) -> None:
        """End it at once, as a power cut does. It may be down."""
        ...

    async def died(self) -> None:
        """Wait until it has killed itself."""
        ...

    async def start_over(self) -> None:
        """Lose the data directory of a gateway that is down; the next start has the same words."""
        ...

    async def back_up(self) -> None:
        """Copy its log as it is now; it may run meanwhile."""
        ...

    async def restore(self) -> None:
        """Lose the data directory of a gateway that is down; the restored backup takes its place."""
        ...

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Call its API as its operator may. Raises UnavailableError when no answer comes."""
        ...

    def rows(self) -> Sequence[Row]:
        """Every row of its log, verified; it may run meanwhile."""
        ...


class HeldInvoice(Protocol):
    """An invoice that its node settles only when told."""

    @property
    def invoice(self) -> str: ...

    async def accepted(self) -> None:
        """Wait until the payment has arrived."""
        ...

    async def settle(self) -> None: ...


class OtherNode(Protocol):
    """Any Lightning node but the gateway's."""

    async def invoice(self, amount_msat: int) -> str:
        """A BOLT 11 invoice that is settled when paid."""
        ...

    async def hold(self, amount_msat: int) -> HeldInvoice: ...

    async def pay(self, invoice: str) -> bytes | None:
        """The preimage, or None once the money is back. However long that takes."""
        ...


class StagedFederation(Protocol):
    """A federation, its guardians and those who use it. Amounts are msat."""

    @property
    def federation_id(self) -> str:
        """Hex."""
        ...

    @property
    def invite_code(self) -> str: ...

    async def new_user(self, amount_msat: int) -> EmbeddedUser:
        """A user with about this much ecash: all of it, or less the fees of reissuing it."""
        ...

    async def ecash(self, amount_msat: int) -> str:
        """Ecash of somebody else, as text."""
        ...

    async def stop_guardian(self, peer: int) -> None: ...
    async def start_guardian(self, peer: int) -> None: ...

    async def notes_msat(self) -> int:
        """What all notes out are worth by the guardians' books."""
        ...

    async def contracts_msat(self) -> int:
        """What all open Lightning contracts hold by the guardians' books."""
        ...

    async def held_by_users_msat(self) -> int:
        """What everybody but the gateway holds. Users must be at rest."""
        ...


class Chain(Protocol):
    """Bitcoin."""

    async def mine(self, blocks: int) -> None: ...

    async def pay(self, address: str, amount_sat: int) -> None:
        """Send coins; they wait for a block."""
        ...

    async def new_address(self) -> str:
        """Of somebody who is not the gateway."""
        ...

    async def received_sat(self, address: str) -> int:
        """What such an address has got in confirmed transactions."""
        ...


@dataclass
class Witness:
    """What the scenarios did around the gateway since its log began, in their own count."""

    paid_in_sat: int = 0
    handed_in_msat: int = 0
    given_back_msat: dict[str, int] = field(default_factory=dict)
    """Worth of the gateway's ecash that others made theirs, by federation."""
    payout_addresses: list[str] = field(default_factory=list)
    lost_msat: int = 0
    """What the gateway has lost by the fault of others."""
    stuck_msat: dict[str, int] = field(default_factory=dict)
    """Contracts that nobody will ever take, by federation."""

    def begin_anew(self) -> None:
        """The log was lost."""
        self.paid_in_sat = self.handed_in_msat = self.lost_msat = 0
        self.given_back_msat.clear()
        self.payout_addresses.clear()


class Stage(Protocol):
    """Everything together."""

    @property
    def gateway(self) -> Host: ...
    @property
    def other_node(self) -> OtherNode: ...
    @property
    def chain(self) -> Chain: ...
    @property
    def federations(self) -> Sequence[StagedFederation]:
        """Two of one guardian, then one of four."""
        ...

    @property
    def witness(self) -> Witness: ...

    def now_unix_s(self) -> int:
        """The wall clock of this world."""
        ...

    async def stop_node(self) -> None:
        """Stop the gateway's Lightning node."""
        ...

    async def start_node(self) -> None:
        """Start it again and wait until it reaches the other one."""
        ...

    async def node_gain_msat(self) -> int:
        """What the gateway's node has won or lost in its channels since the gateway's log began."""
        ...
