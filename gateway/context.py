"""What all parts of the application share: the log's engine, the federations, the node, the settings."""

from dataclasses import dataclass, field
from pathlib import Path

from backends.operations import Node
from engine.engine import Engine, Ports
from engine.storage.store import Store
from errors import UnavailableError
from fedimint.codec.wire_types import Network
from fedimint.crypto.secrets import DerivableSecret
from fedimint.lnv2.gateway_api import PaymentFee
from fedimint.mintv2 import tweaks
from gateway.federation import FederationClient, FederationRegistry, NotServedError
from gateway.foreign_notes import ForeignNotes
from gateway.freeze import Answered, Word
from gateway.funding_turns import FundingTurns
from gateway.node_watch import NodeWatch
from gateway.pinned_node import NodePin
from gateway.ports import Connect, Cpu, GrindAddress, GrindTweak
from gateway.resting import Resting
from statemachines import identity
from statemachines.federation import Joined
from statemachines.federation import stream_of as federation_stream
from statemachines.identity import Restoration

UNHEARD = (
    "the Lightning node has not said yet what was paid after the log's newest event: until then nothing is paid, no "
    "contract is funded and no HTLC is cancelled"
)


@dataclass(frozen=True)
class GatewaySettings:
    """What the operator decides at start. Fees are for federations joined from now on."""

    directory: Path
    network: Network
    public_url: str | None
    lightning_fee: PaymentFee
    transaction_fee: PaymentFee
    #: Whether others pay with the node, too: its payments then say nothing about this log.
    node_is_shared: bool = False


@dataclass(frozen=True)
class Outside:
    """Everything that a simulation replaces."""

    node: Node
    connect: Connect
    cpu: Cpu
    grind: GrindTweak
    grind_address: GrindAddress
    ports: Ports
    find_tweak: tweaks.FindTweak = tweaks.find


@dataclass
class Closing:
    """Whether the gateway is about to end: it begins nothing new then."""

    has_begun: bool = False


@dataclass(frozen=True)
class GatewayContext:
    """One running gateway. Its repr shows nothing, since it holds the root of all keys."""

    settings: GatewaySettings
    outside: Outside
    store: Store
    engine: Engine
    federations: FederationRegistry
    pin: NodePin
    watch: NodeWatch
    foreign_notes: ForeignNotes
    funding_turns: FundingTurns
    root: DerivableSecret
    answered: Answered
    word: Word
    resting: Resting
    closing: Closing = field(default_factory=Closing)

    def __repr__(self) -> str:
        return "GatewayContext(…)"

    def terms(self, federation_id: str) -> Joined | None:
        """The terms on which a federation is served now, None when it is not."""
        state = self.engine.peek(federation_stream(federation_id))
        return state if isinstance(state, Joined) else None

    def served(self, federation_id: str) -> tuple[FederationClient, Joined]:
        """A federation served now, and its terms; ask again after every wait, since it may be left meanwhile.

        Raises NotServedError when it is not served, as from the decision to leave it on.
        """
        federation, terms = self.federations.client(federation_id), self.terms(federation_id)
        if terms is None:
            raise NotServedError(federation_id)
        return federation, terms

    @property
    def restoration(self) -> Restoration | None:
        """The newest restore of this log from a backup, None when there was none."""
        state = self.engine.peek(identity.STREAM)
        return state.restoration if isinstance(state, identity.Founded) else None

    def waits_for(self) -> tuple[str, ...]:
        """Whom a frozen log waits for, in words; empty when it is not frozen."""
        if self.restoration is None or not self.restoration.is_frozen:
            return ()
        return self.answered.missing(*(one.federation_id for one in self.federations))

    def why_frozen(self) -> str:
        """What follows "the log", in words."""
        restoration = self.restoration
        if restoration is not None and restoration.evidence:
            return f"was taken for a backup, because {restoration.evidence}"
        return "was restored from a backup"

    def refuse_new_work(self, *federation_ids: str) -> None:
        """Raises UnavailableError while the gateway stops, or as `refuse_while_frozen`.

        Ask again before the work begins.
        """
        self.refuse_when_closing()
        self.refuse_while_frozen(*federation_ids)

    def refuse_when_closing(self) -> None:
        """Raises UnavailableError while the gateway stops."""
        if self.closing.has_begun:
            raise UnavailableError("the gateway is stopping; ask again when it is back")

    def refuse_while_frozen(self, *federation_ids: str) -> None:
        """Raises UnavailableError while a restored log waits for its node or for one of these federations.

        Nothing that needs them may leave then.
        """
        if not self.waits_for():
            return
        missing = self.answered.missing(*federation_ids)
        if missing:
            raise UnavailableError(
                f"this gateway's log {self.why_frozen()}: payments are frozen until "
                f"{' and '.join(missing)} have said what happened since; see `gatewayd log stuck`"
            )

    def refuse_unheard(self) -> None:
        """Raises UnavailableError until the node has told whether this log is the newest."""
        if not self.word.is_given:
            raise UnavailableError(UNHEARD)

    def now_unix_s(self) -> int:
        """The wall clock."""
        return self.outside.ports.clock.now_unix_us() // 1_000_000

    def new_id(self) -> str:
        """An id that is used once, 32 hex digits."""
        return self.outside.ports.randomness.random_bytes(16).hex()
