"""The gateway itself: opens what the log says it serves, runs it, stops it; its parts answer the API."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import anyio
import anyio.abc

from engine.engine import Engine, Observer
from engine.machine import Input
from engine.storage.errors import StorageError
from engine.storage.store import Store
from errors import FatalError, InputError, UnavailableError
from fedimint.codec import secp
from fedimint.crypto import secrets
from gateway import conditions, status, trust
from gateway.build import warm_up
from gateway.client_payments import ClientPayments
from gateway.context import UNHEARD, GatewayContext, GatewaySettings, Outside
from gateway.effects import handlers
from gateway.federation import FederationRegistry
from gateway.federation_admin import FederationAdmin
from gateway.federation_lifetimes import FederationLifetimes
from gateway.foreign_notes import ForeignNotes
from gateway.freeze import Answered, Word
from gateway.funding_turns import FundingTurns
from gateway.held_payments import HeldPayments
from gateway.history import History
from gateway.log import machines, read_models
from gateway.node_watch import NodeWatch
from gateway.operator_node import OperatorNode
from gateway.pinned_node import NodePin, PinnedNode
from gateway.reconciliation import run_while_frozen
from gateway.resting import Resting
from gateway.treasury import Treasury
from gateway.views import GatewayStatus, MnemonicResponse
from gateway.witness import Opened, ask_witness
from migrations import SchemaSteps
from statemachines import completion, identity
from statemachines.federation import Joined

__all__ = ["Gateway", "GatewaySettings", "Outside", "run_gateway"]

#: How often the end of what is under way is looked for when the gateway drains.
DRAIN_PAUSE_S = 0.25
#: Upstream's patience with its tasks at the end (fedimint-gateway-server/src/lib.rs).
DRAIN_LIMIT_S = 180.0
#: SIGKILL follows SIGTERM soon, with docker after ten seconds: of them this much is for the disk.
HALT_LIMIT_S = 2.0


class Gateway:
    """One gateway over one open store. `run` must be running for anything to be answered."""

    def __init__(
        self,
        settings: GatewaySettings,
        outside: Outside,
        *,
        store: Store,
        words: str,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Replay the log. Raises FatalError when the log cannot be trusted."""
        engine = Engine(store, machines(), outside.ports, observers, conditions=self._asked_now)
        pin = NodePin(engine, settings.network)
        node = PinnedNode(outside.node, pin)
        self._opened = Opened.of(store)
        self._context = GatewayContext(
            settings=settings,
            outside=replace(outside, node=node),
            store=store,
            engine=engine,
            federations=FederationRegistry(),
            pin=pin,
            watch=NodeWatch(node, outside.ports.clock),
            foreign_notes=ForeignNotes(),
            funding_turns=FundingTurns(),
            root=secrets.root_secret(words),
            answered=Answered(),
            word=Word(),
            resting=Resting(),
        )
        self._served = FederationLifetimes(self._context)
        self._held = HeldPayments(self._context)
        self._words = words
        self.node = OperatorNode(self._context)
        self.treasury = Treasury(self._context, self.node)
        self.federations = FederationAdmin(self._context, self.treasury, self._served)
        self.payments = ClientPayments(self._context)
        self.history = History(self._context)
        self._start = identity.Start(
            network=settings.network, mnemonic_fingerprint=secrets.fingerprint(words)
        )
        identity.MACHINE.decide(self.engine.peek(identity.STREAM), self._start)

    def _asked_now(self, stream: str, input_: Input) -> Input:
        return conditions.asked_now(self._context, stream, input_)

    @property
    def engine(self) -> Engine:
        """The engine, for the tools that look into it."""
        return self._context.engine

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Open every federation of the log, resume what was under way, and serve until cancelled.

        Raises ConfigError when the Lightning node is on another network, FatalError when the log cannot be written.
        """
        context = self._context
        await context.watch.ask()
        for stream, state in self.engine.open_streams().items():
            if isinstance(state, Joined):
                self._open(stream, state)
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(self.engine.run, handlers(context))
                await self.engine.submit(identity.STREAM, self._start)
                await self._pin_node()
                self._served.start(tasks)
                tasks.start_soon(self._judge_log)
                tasks.start_soon(context.watch.run)
                tasks.start_soon(self._held.run)
                tasks.start_soon(
                    status.watch_overdue, self.engine, context.store, context.outside.ports.clock
                )
                tasks.start_soon(self._warm_up)
                task_status.started()
            raise FatalError("a background task stopped unexpectedly: start again")
        finally:
            context.closing.has_begun = True
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as closing:
                    for federation in context.federations:
                        closing.start_soon(federation.aclose)

    async def _judge_log(self) -> None:
        await ask_witness(self._context, self._opened)
        await run_while_frozen(self._context)

    def _open(self, stream: str, joined: Joined) -> None:
        """Serve a federation of the log; one whose stored facts are bad waits for its operator, alone.

        So does one whose config this program refuses, which an earlier release may have taken.
        """
        try:
            self._served.open(joined)
        except (FatalError, InputError) as error:
            if isinstance(error, StorageError):
                raise
            self.engine.quarantine(stream, "opening it", error)

    async def _pin_node(self) -> None:
        """The node that has answered is the gateway's from its first event on, if it has none yet."""
        if self._context.watch.info is not None:
            self._context.pin.check(self._context.watch.info)
            await self.engine.read(identity.STREAM)

    async def stop(self) -> None:
        """Take no new work, and return when every payment held at our node is answered, or after three minutes.

        Whatever is left goes on at the next start.
        """
        self._context.closing.has_begun = True
        clock, waited_s = self._context.outside.ports.clock, 0.0
        while waited_s < DRAIN_LIMIT_S and self._holds_payments():
            await clock.sleep(DRAIN_PAUSE_S)
            waited_s += DRAIN_PAUSE_S

    async def halt(self) -> None:
        """Take no new work, and return when all that was decided is in the log, or after two seconds.

        Payments under way go on at the next start.
        """
        self._context.closing.has_begun = True
        with anyio.move_on_after(HALT_LIMIT_S), contextlib.suppress(UnavailableError):
            await self.engine.read(identity.STREAM)

    def _holds_payments(self) -> bool:
        open_now = self.engine.open_streams().values()
        return any(isinstance(state, completion.OPEN_STATES) for state in open_now)

    async def info(self) -> GatewayStatus:
        """The state of everything; asks the node now."""
        context = self._context
        await context.watch.ask()
        open_now = status.open_payments(
            self.engine, context.store, context.outside.ports.clock.now_unix_us()
        )
        return GatewayStatus(
            state=status.state_name(context.watch.info, stopping=context.closing.has_begun),
            lightning=context.watch.info,
            federations=await self.federations.statuses(),
            open_payments=open_now,
            problems=status.problems(
                context.watch,
                context.federations,
                open_now,
                context.waits_for(),
                (
                    self._held.problem if context.watch.info is not None else None,
                    self._unheard(),
                    *status.own_mistakes(self.engine, context.store),
                    *trust.problems(context),
                ),
                why_frozen=context.why_frozen(),
            ),
            frozen_until=context.waits_for(),
            exposures=trust.exposures(context),
            public_url=context.settings.public_url,
            gateway_id=secp.public_key(secrets.gateway_identity_secret(context.root)).hex(),
        )

    def _unheard(self) -> str | None:
        if self._context.word.is_given or self._context.watch.info is None:
            return None
        return UNHEARD

    async def mnemonic(self) -> MnemonicResponse:
        """The words that bring back every key."""
        return MnemonicResponse(mnemonic=tuple(self._words.split()))

    async def _warm_up(self) -> None:
        with contextlib.suppress(UnavailableError):  # who needs a worker starts another
            await self._context.outside.cpu.run(warm_up)


async def run_gateway(
    settings: GatewaySettings,
    words: str,
    outside: Outside,
    observers: Sequence[Observer] = (),
    *,
    task_status: anyio.abc.TaskStatus[Gateway] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Open the data directory of `settings` and serve until cancelled.

    Raises as `Store` and `Gateway.run` do.
    """
    store = Store(settings.directory, SchemaSteps(), read_models())
    try:
        gateway = Gateway(settings, outside, store=store, words=words, observers=observers)
        async with anyio.create_task_group() as tasks:
            await tasks.start(gateway.run)
            task_status.started(gateway)
    finally:
        store.close()
