"""What people and time do, without waiting for the gateway: sender, payer, operator, blocks."""

from collections.abc import Iterator
from typing import NamedTuple

from backends.lightning import HeldPayment
from engine.machine import Input
from fuzz.explore import facts
from fuzz.explore.memory import Memories
from fuzz.explore.scenes import Scene
from fuzz.explore.script import Spec
from fuzz.explore.world import RECEIVERS, SENDERS, World
from gateway import client_payments
from statemachines import identity, receive, send
from statemachines.federation import Joined, Left, SetTerms
from statemachines.federation import stream_of as federation_stream

#: Work that is no effect of a stream, by its name.
WATCH, LEAVING = "the watch of HTLCs", "leaving"
RESTORING, RECONCILING = "restoring", "reconciling"
#: What payers pay: what is asked for, less, and more.
_PAID = (
    ("the invoice", facts.INVOICE_MSAT),
    ("too little", facts.INVOICE_MSAT - 1),
    ("too much", facts.INVOICE_MSAT + 1),
)


class Doing(NamedTuple):
    """One thing that somebody may do: the world after it, an input to the gateway, or work that it begins."""

    what: str
    world: World
    told: tuple[str, Input] | None = None
    work: Spec | None = None


class People:
    """Everybody of one scene."""

    def __init__(self, scene: Scene, memories: Memories) -> None:
        self._scene = scene
        self._memories = memories
        self._terms = federation_stream(RECEIVERS)

    def doings(self, memory: int, world: World, works: frozenset[str]) -> Iterator[Doing]:
        """Everything that somebody may do now."""
        if self._scene.received:
            yield from self._receiver(memory, world, works)
            if world.is_up and world.left.orders:
                yield from self._operator(memory, world, works)
        if self._scene.sent:
            yield from self._sender(memory, world)

    def _receiver(self, memory: int, world: World, works: frozenset[str]) -> Iterator[Doing]:
        scene = self._scene
        assert scene.received is not None
        state = self._memories.state(memory, scene.receive_stream)
        terms = self._memories.state(memory, self._terms)
        is_early = world.moment == 0
        if isinstance(state, receive.New):
            is_served = isinstance(terms, Joined) and terms.receive_enabled
            if world.is_up and is_served and RECEIVERS in world.served and is_early:
                request = receive.RequestReceive(facts=scene.received)
                yield Doing(
                    "the receiver asks for an invoice", world, (scene.receive_stream, request)
                )
        is_expired = scene.moments[world.moment].unix_s >= facts.INVOICE_EXPIRES_UNIX_S
        if scene.has_htlc and world.invoice == "open" and not is_expired:
            held = world._replace(invoice="held", htlc="locked")
            for what, paid_msat in _PAID:
                paid = held._replace(locked_msat=paid_msat)
                yield Doing(f"somebody pays {what}: the HTLC is locked at the node", paid)
        if world.invoice == "held" and world.is_up:
            told = HeldPayment(facts.payment_hash(), world.locked_msat, facts.HTLC_DEADLINE_HEIGHT)
            work = Spec(WATCH, "", "", (told, scene.moments[world.moment].unix_s))
            if WATCH not in works:
                yield Doing("the node tells of the HTLC", world, work=work)

    def _operator(self, memory: int, world: World, works: frozenset[str]) -> Iterator[Doing]:
        """What costs one of the operator's orders."""
        left = world._replace(left=world.left._replace(orders=world.left.orders - 1))
        terms = self._memories.state(memory, self._terms)
        if isinstance(terms, Joined) and RECEIVERS in world.served:
            work = Spec(LEAVING, "", "", RECEIVERS)
            if LEAVING not in works:
                yield Doing("the operator leaves the receiver's federation", left, work=work)
            change = SetTerms(
                lightning_fee=terms.facts.lightning_fee,
                transaction_fee=terms.facts.transaction_fee,
                receive_enabled=not terms.receive_enabled,
            )
            which = "off" if terms.receive_enabled else "on"
            yield Doing(f"the operator switches receiving {which}", left, (self._terms, change))
        elif isinstance(terms, Left):
            join = identity.JoinFederation(facts=facts.federation(RECEIVERS))
            served = left._replace(served=tuple(sorted({*world.served, RECEIVERS})))
            what = "the operator joins the receiver's federation again"
            yield Doing(what, served, (identity.STREAM, join))

    def _sender(self, memory: int, world: World) -> Iterator[Doing]:
        scene = self._scene
        assert scene.sent is not None
        state = self._memories.state(memory, scene.send_stream)
        is_new = isinstance(state, send.New) and world.contract == "locked" and world.moment == 0
        if is_new and SENDERS in world.served and self._may_ask(memory):
            request = send.RequestSend(facts=scene.sent, other_network=False)
            yield Doing("the sender asks to be paid for", world, (scene.send_stream, request))
        if world.is_up and not world.heard:
            yield from self._answer(state, world)
        if world.record == "flying":
            yield Doing("the payee takes the payment", world._replace(record="succeeded"))
            yield Doing("the payment fails", world._replace(record="failed"))
        is_over = scene.moments[world.moment].height + 1 >= facts.CONTRACT_ENDS_BLOCK
        if world.contract == "locked" and (is_over or world.heard == "forfeit"):
            how = "their contract has ended" if is_over else "they have a forfeit"
            back = world._replace(contract="back")
            yield Doing(f"the sender takes the money back: {how}", back)

    def _may_ask(self, memory: int) -> bool:
        """A swap is asked for once there is an invoice of ours."""
        if not self._scene.received:
            return True
        state = self._memories.state(memory, self._scene.receive_stream)
        return not isinstance(state, receive.New | receive.Registered)

    def _answer(self, state: object, world: World) -> Iterator[Doing]:
        """What the gateway tells callers who wait for the end of a send."""
        if not isinstance(state, client_payments._ANSWERABLE):  # noqa: SLF001 - when it answers is the question
            return
        heard = "forfeit" if isinstance(state, send.Cancelled) else "preimage"
        yield Doing(f"the sender hears the {heard}", world._replace(heard=heard))
