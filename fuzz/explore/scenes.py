"""The scenes: one payment of each kind, with the order in which its deadlines come."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fuzz.explore import facts
from fuzz.explore.memory import Memories
from fuzz.explore.world import RECEIVERS, SENDERS, Bounds, Moment, World
from statemachines import identity, receive, send
from statemachines.receive import ReceiveFacts
from statemachines.send import SendFacts
from statemachines.transaction import wallet_of
from statemachines.wallet import RecoverNotes

_EARLY = Moment(10_100, 1_000, "early")
_EXPIRED = Moment(20_100, 1_160, "the invoices have expired more than a minute ago")
_FORGOTTEN = Moment(20_000 + 86_500, 1_300, "the invoices expired more than a day ago")


class Scene(NamedTuple):
    """One payment: of a sender, of a receiver, or of both when it is a swap."""

    name: str
    moments: tuple[Moment, ...]
    sent: SendFacts | None = None
    received: ReceiveFacts | None = None
    has_htlc: bool = True
    """Whether somebody may pay the receiver over Lightning."""

    @property
    def federations(self) -> tuple[str, ...]:
        sends, receives = (SENDERS,) * bool(self.sent), (RECEIVERS,) * bool(self.received)
        return sends + receives

    def begin(self, memories: Memories, bounds: Bounds) -> Iterator[tuple[int, World]]:
        """The beginnings: the federations are joined, and there is ecash to fund with."""
        memory = memories.decide(
            0, identity.STREAM, identity.Start(network="regtest", mnemonic_fingerprint="f1")
        ).memory
        met = identity.MeetNode(node=facts.NODE_KEY)
        memory = memories.decide(memory, identity.STREAM, met).memory
        for federation_id in self.federations:
            join = identity.JoinFederation(facts=facts.federation(federation_id))
            memory = memories.decide(memory, identity.STREAM, join).memory
        ours: frozenset[str] = frozenset()
        if self.received:
            notes = facts.notes()
            wallet = wallet_of(RECEIVERS)
            memory = memories.decide(memory, wallet, RecoverNotes(notes=notes)).memory
            ours = frozenset(note.nonce for note in notes)
        world = World(
            left=bounds,
            served=self.federations,
            ours=ours,
            contract="locked" if self.sent else "",
        )
        yield memory, world
        if self.received:
            yield memory, world._replace(is_flawed=True)

    @property
    def receive_stream(self) -> str:
        return receive.stream_of(facts.payment_hash().hex())

    @property
    def send_stream(self) -> str:
        return send.stream_of(self.sent.contract_id) if self.sent else ""


def _scenes() -> Iterator[Scene]:
    deadline = facts.HTLC_DEADLINE_HEIGHT
    htlc = (
        Moment(11_000, deadline - 2, "two blocks are left of the HTLC"),
        Moment(11_600, deadline - 1, "one block is left of the HTLC", is_near=True),
        Moment(12_200, deadline, "the HTLC is at its deadline", is_near=True),
    )
    yield Scene(
        "receive, the HTLC ends first",
        (_EARLY, *htlc, _EXPIRED, _FORGOTTEN),
        received=facts.received(facts.NEVER_UNIX_S),
    )
    contract = (
        Moment(10_499, 1_003, "the receiver's contract is about to end"),
        Moment(10_500, 1_003, "the receiver's contract has ended", is_near=True),
    )
    yield Scene(
        "receive, the contract ends first",
        (_EARLY, *contract, *htlc, _EXPIRED, _FORGOTTEN),
        received=facts.received(10_500),
    )
    end = facts.CONTRACT_ENDS_BLOCK
    kept = send.EXPIRATION_DELTA_MINIMUM_BLOCKS
    sender = (
        Moment(15_000, end - kept - 2, "the sender's contract has just enough blocks left"),
        Moment(
            15_600, end - kept - 1, "the sender's contract has too few blocks left", is_near=True
        ),
        Moment(19_000, end - 1, "the sender may take the contract back"),
    )
    yield Scene(
        "send, the invoice ends first",
        (
            _EARLY,
            _EXPIRED,
            *(moment._replace(unix_s=moment.unix_s + 90_000) for moment in sender),
        ),
        sent=facts.sent(is_swap=False),
    )
    yield Scene(
        "send, the contract ends first",
        (_EARLY, *sender, _EXPIRED._replace(height=end)),
        sent=facts.sent(is_swap=False),
    )
    swap = Scene(
        "swap",
        (_EARLY, *sender, _EXPIRED._replace(height=end), _FORGOTTEN._replace(height=end + 100)),
        sent=facts.sent(is_swap=True),
        received=facts.received(facts.NEVER_UNIX_S),
        has_htlc=False,
    )
    yield swap
    yield swap._replace(name="an HTLC beside a swap", has_htlc=True)


SCENES: Mapping[str, Scene] = {scene.name: scene for scene in _scenes()}
