"""The gateway put together over stand-ins, without its event loop."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast
from unittest.mock import patch

import anyio

from backends.lightning import NodeInfo
from backends.operations import Node
from engine.effects import EffectContext
from engine.engine import Conditions, Ports, no_conditions
from engine.machine import Effect, Input
from errors import GatewayError, OutdatedError
from fedimint.lnv2.gateway_api import PaymentFee
from fuzz.explore import facts
from fuzz.explore.memory import Memories
from fuzz.explore.script import Act, Ask, Spec, later, now
from fuzz.explore.stand_ins import (
    OverdueError,
    StandInAnswered,
    StandInClock,
    StandInCpu,
    StandInEngine,
    StandInFederations,
    StandInNode,
    StandInRandomness,
    StandInServed,
)
from gateway import application, held_payments, reconciliation, restoring
from gateway.application import Gateway
from gateway.context import GatewaySettings, Outside
from gateway.effects import handlers
from gateway.federation_lifetimes import FederationLifetimes
from gateway.ports import Cpu
from statemachines import identity

NODE_INFO = NodeInfo(
    public_key=facts.NODE_KEY, alias="node", network="regtest", block_height=1, synced_to_chain=True
)
#: Of a log: nothing was given away, and its end was written when the payment was made.
_NO_STORE: Any = SimpleNamespace(
    rows=lambda *_: iter(()),
    query=lambda *_: ((facts.MADE_UNIX_S * 1_000_000,),),
    head=SimpleNamespace(position=1),
)
WORDS = "abandon " * 11 + "about"


class _Scope(AbstractContextManager["_Scope"]):
    """A limit of time: its end is an answer of the one that was asked."""

    def __init__(self, *_limit: object, **_options: object) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> bool:
        return kind is not None and issubclass(kind, OverdueError)


class _Group:
    """Tasks one after the other, each once the one before is over."""

    async def __aenter__(self) -> Self:
        self._tasks: list[tuple[Callable[..., Awaitable[None]], tuple[Any, ...]]] = []
        return self

    def start_soon(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self._tasks.append((task, arguments))

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        for task, arguments in self._tasks if kind is None else ():
            await task(*arguments)


class _Unlimited:
    """A lock or a semaphore that nobody else holds."""

    def __init__(self, *_places: int) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_error: object) -> None: ...


@contextmanager
def without_event_loop() -> Iterator[None]:
    """What the gateway's parts take from anyio, so that no loop has to run."""
    with ExitStack() as stack:
        for name in ("move_on_after", "fail_after", "CancelScope"):
            stack.enter_context(patch.object(anyio, name, _Scope))
        for name in ("Lock", "Semaphore", "CapacityLimiter"):
            stack.enter_context(patch.object(anyio, name, _Unlimited))
        stack.enter_context(patch.object(anyio, "create_task_group", _Group))
        stack.enter_context(patch.object(held_payments, "contain", _contain))
        yield


def _contain(_log: object, _event: str, error: Exception, **_facts: str) -> None:
    """What the watch of HTLCs may meet are errors of ours; anything else is no answer of a node, but a fault."""
    if not isinstance(error, GatewayError):
        raise FaultError(repr(error)) from error


class FaultError(BaseException):
    """A part of the gateway failed as no part may."""


class Parts:
    """The parts of a gateway over stand-ins, and the work that they do."""

    def __init__(self, memories: Memories, clients: Mapping[str, Any]) -> None:
        federations = StandInFederations(clients)
        self._memories = memories

        def engine(
            _store: object, _machines: object, *_rest: object, conditions: Conditions
        ) -> Any:
            return StandInEngine(memories, conditions)

        clock = StandInClock()
        outside = Outside(
            node=cast("Node", StandInNode()),
            connect=cast("Any", None),
            cpu=cast("Cpu", StandInCpu()),
            grind=cast("Any", None),
            grind_address=cast("Any", None),
            ports=Ports(clock, StandInRandomness()),
        )
        free = PaymentFee(0, 0)
        settings = GatewaySettings(Path(), "regtest", None, free, free)
        with (
            patch.object(application, "Engine", engine),
            patch.object(application, "FederationRegistry", lambda: federations),
            patch.object(application, "Answered", StandInAnswered),
            patch.object(application, "PinnedNode", lambda node, _pin: node),
            patch.object(identity, "MACHINE", SimpleNamespace(decide=lambda *_: None)),
            patch.object(StandInEngine, "peek", lambda *_: None),
        ):
            self.gateway = Gateway(settings, outside, store=_NO_STORE, words=WORDS)
        desk = self.gateway.federations
        desk._served = cast("FederationLifetimes", StandInServed(federations))  # noqa: SLF001
        self.context = self.gateway._context  # noqa: SLF001
        self.context.watch._info = NODE_INFO  # noqa: SLF001 - as seen last
        # An older log is explored by its own restore; here the node has told that the log is the newest.
        self.context.word.give()
        self._handlers = handlers(self.context)
        self._engine = cast("StandInEngine", self.gateway.engine)

    async def submit(self, stream: str, input_: Input) -> None:
        """Somebody's request."""
        await self._engine.submit(stream, input_)

    async def restore(self) -> None:
        """What `gatewayd log restore` writes."""
        engine = StandInEngine(self._memories, no_conditions)
        with patch.object(restoring, "Engine", lambda *_: engine):
            restoring.freeze(_NO_STORE, facts.MACHINES, self.context.outside.ports)

    async def reconcile(self, federation_id: str) -> None:
        """The part of `reconciliation.run_while_frozen` that the node answers, or one federation if one is named."""
        context, restoration = self.context, self.context.restoration
        assert restoration is not None
        if federation_id:
            federation = context.federations.client(federation_id)
            await reconciliation.reconcile_federation(context, federation)
        else:
            await reconciliation.unknown_payments(context, restoration.backup_unix_s)
            context.answered.node = True
        self._thaw()

    def _thaw(self) -> None:
        if not self.context.waits_for():
            self._engine.deliver(identity.STREAM, identity.Reconcile(unknown_payments=0))

    async def handle(self, spec: Spec) -> Input | None:
        """The handler of an effect at work, up to a result that can be decided on.

        While conditions refuse the result it is handed in again; what is outdated is an error, as to the engine.
        """
        effect = cast("Effect", spec.subject)
        result = await self._handlers[type(effect)](effect, self._context_of(spec, effect))
        while result is not None:
            try:
                return self._engine.conditions(spec.stream, result)
            except OutdatedError:
                raise
            except GatewayError:
                await later(Ask("engine.again", patient=True))
        return None

    def _context_of(self, spec: Spec, effect: Effect) -> EffectContext:
        def report(input_: Input) -> None:
            asked = self._engine.conditions(spec.stream, input_)
            now(Act("report", (spec.stream, spec.key, effect, asked)))

        return EffectContext(spec.stream, spec.resumed, report, spec.of_earlier_life)
