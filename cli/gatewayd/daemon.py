"""The process gatewayd: opens the data directory, connects the real ports, serves, stops cleanly."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import structlog

from api.auth import PasswordCheck
from api.callers import Callers
from api.federation_handlers import NodeFacts
from api.gates import TokenBucket
from api.http import create_app
from api.http_server import Listener, listening
from api.routes import Route, routes, setup_routes
from backends.operations import Node
from cli.error_groups import one_error
from cli.gatewayd.crash_points import crash_probe
from cli.gatewayd.first_setup import FirstSetup
from cli.gatewayd.grinding import tweak_grinder
from cli.gatewayd.guardians import guardian_connections
from cli.gatewayd.settings import Settings
from cli.version import version_hash
from engine.chain import StoredStep
from engine.effects import JobStatus
from engine.engine import Observer, Ports
from engine.ports import SystemClock, SystemRandomness
from engine.progress import Progress, told
from engine.storage.place import check_place, note_place, renew_place
from engine.storage.store import Store
from errors import FatalError, GatewayError
from fedimint.crypto import secrets
from fedimint.discovery import Connect
from fedimint.mintv2 import tweaks
from gateway import secret_files
from gateway.application import Gateway, GatewaySettings, Outside
from gateway.grinder import grind_address
from gateway.log import read_models
from gateway.ports import GrindTweak
from gateway.workers import WorkerProcesses
from migrations import SchemaSteps

_log = structlog.get_logger("gatewayd")


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigError for a start to refuse, FatalError when it must end.

    FatalError for whatever else ends it, too: an end that nobody asked for is never taken for one that was.
    """
    try:
        with one_error():
            anyio.run(_serve, settings, backend="asyncio")
    except GatewayError:
        raise
    except Exception as error:
        _log.critical("unexpected_end", exc_info=error)
        raise FatalError(
            f"unexpected error ({error!r}): start again, and report the log output"
        ) from error


async def _serve(settings: Settings) -> None:
    if not check_place(settings.data_dir):
        # Before anything is in the log: a first start that dies must leave nothing that looks like a copy.
        note_place(settings.data_dir)
    with told(_reading):
        store = Store(settings.data_dir, SchemaSteps(), read_models())
    try:
        # Not before the log was found whole: what a refused start leaves may be put back as it was.
        renew_place(settings.data_dir)
        async with (
            listening(settings.listen.host, settings.listen.port) as listener,
            anyio.create_task_group() as tasks,
        ):
            ending = Ending(tasks.cancel_scope)
            tasks.start_soon(ending.on_signals)
            setup = FirstSetup(settings.data_dir, SystemRandomness().random_bytes)
            # Under the store's lock, so that two first starts make one mnemonic.
            words = _mnemonic(settings) or await _set_up(settings, listener, setup)
            await _run_gateway(settings, store, words, listener, setup=setup, ending=ending)
            tasks.cancel_scope.cancel()
        # A copy that was made in this life is told from what it leaves.
        renew_place(settings.data_dir)
    finally:
        store.close()
        _log.info("stopped")


def _reading(progress: Progress) -> None:
    """A start after an upgrade reads the whole log; so does one whose files were put back."""
    _log.info("reading_log", events=progress.rows, of=progress.of)


async def _set_up(settings: Settings, listener: Listener, setup: FirstSetup) -> str:
    """Serve POST `/mnemonic` alone until it was called."""
    app = create_app(
        setup_routes(setup),
        _passwords(settings),
        callers=Callers(settings.trusted_proxies),
        debug=settings.debug,
        closing=True,
        no_route="This gateway first needs a mnemonic: gateway-cli cfg set-mnemonic",
    )
    await listener.serve(app)
    _log.info("listening", host=listener.host, port=listener.port, waits_for="POST /mnemonic")
    return await setup.words()


async def _run_gateway(
    settings: Settings,
    store: Store,
    words: str,
    listener: Listener,
    *,
    setup: FirstSetup,
    ending: "Ending",
) -> None:
    """Serve the whole gateway until `/stop`, or until it is ended."""
    passwords = _passwords(settings)
    with WorkerProcesses() as workers:
        async with (
            guardian_connections(settings.reach) as connect,
            tweak_grinder() as grind,
            _lightning_node(settings) as node,
        ):
            outside = _outside(settings, node, connect, grind, workers)
            with told(_reading):
                gateway = _gateway(settings, outside, store, words)
            async with anyio.create_task_group() as tasks:
                await tasks.start(gateway.run)
                ending.first = gateway.halt
                drain = Drain(gateway.stop)
                table = _routes(settings, gateway, drain)
                await listener.serve(
                    create_app(
                        table,
                        passwords,
                        callers=Callers(settings.trusted_proxies),
                        debug=settings.debug,
                    )
                )
                setup.started()
                _log.info(
                    "listening", host=listener.host, port=listener.port, network=settings.network
                )
                await drain.run()
                tasks.cancel_scope.cancel()


class Ending:
    """Ends the process at SIGINT or SIGTERM: in order at the first of them, at once at the second."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self._has_begun = False
        self.first: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
        """What comes before the end."""

    async def on_signals(self) -> None:
        """Wait for signals."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as tasks:
                async for received in signals:
                    _log.info("stopping", signal=signal.Signals(received).name)
                    if self._has_begun:
                        self._scope.cancel()
                    else:
                        self._has_begun = True
                        tasks.start_soon(self._end)

    async def _end(self) -> None:
        await self.first()
        self._scope.cancel()


class Drain:
    """Stops the gateway once somebody asks for it, whether they wait for the end or not."""

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self._stop = stop
        self._asked = anyio.Event()
        self._over = anyio.Event()

    async def ask(self) -> None:
        """Return when the gateway has ended what was under way."""
        self._asked.set()
        await self._over.wait()

    async def run(self) -> None:
        """Wait until it is asked for, and stop the gateway."""
        await self._asked.wait()
        _log.info("stopping", request="/stop")
        await self._stop()
        self._over.set()


@asynccontextmanager
async def _lightning_node(settings: Settings) -> AsyncIterator[Node]:
    node = settings.node.open()
    try:
        yield node
    finally:
        with anyio.CancelScope(shield=True):
            await node.aclose()


def _mnemonic(settings: Settings) -> str | None:
    """The words of this data directory; None when it has none and nothing says where to get them."""
    given = settings.mnemonic.reveal() if settings.mnemonic is not None else None
    stored = (settings.data_dir / secret_files.MNEMONIC_NAME).exists()
    if given is None and not stored and not settings.skip_setup:
        return None
    return secret_files.load_or_create_mnemonic(
        settings.data_dir, given, SystemRandomness().random_bytes(secrets.ENTROPY_SIZE)
    )


def _outside(
    settings: Settings,
    node: Node,
    connect: Connect,
    grind: GrindTweak,
    workers: WorkerProcesses,
) -> Outside:
    ports = Ports(
        clock=SystemClock(),
        randomness=SystemRandomness(),
        probe=crash_probe(os.environ, settings.network),
    )
    return Outside(
        node=node,
        connect=connect,
        cpu=workers,
        grind=grind,
        grind_address=grind_address,
        ports=ports,
        find_tweak=tweaks.quickest(),
    )


def _gateway(settings: Settings, outside: Outside, store: Store, words: str) -> Gateway:
    return Gateway(
        GatewaySettings(
            directory=settings.data_dir,
            network=settings.network,
            public_url=settings.public_url,
            lightning_fee=settings.default_routing_fees,
            transaction_fee=settings.default_transaction_fees,
            node_is_shared=settings.node_is_shared,
        ),
        outside,
        store=store,
        words=words,
        observers=(Observer(_log_step, _log_failure),),
    )


def _routes(settings: Settings, gateway: Gateway, drain: Drain) -> tuple[Route, ...]:
    facts = NodeFacts(version_hash=version_hash(), lightning_mode=settings.node.mode())
    return routes(gateway, facts, TokenBucket(settings.invoice_rate_limit), drain.ask)


def _passwords(settings: Settings) -> PasswordCheck:
    return PasswordCheck(settings.bcrypt_password_hash, settings.manager_bcrypt_password_hash)


def _log_step(step: StoredStep) -> None:
    """One line a transition. Kinds and states only: preimages and signatures stay in the log file."""
    _log.info(
        step.event.kind,
        stream=step.row.stream,
        position=step.row.position,
        state=type(step.state).__name__,
    )


def _log_failure(status: JobStatus, error: Exception) -> None:
    expected = isinstance(error, GatewayError)
    _log.warning(
        "effect_failed",
        stream=status.stream,
        effect=status.effect,
        tries=status.tries,
        error=str(error) if expected else type(error).__name__,
        exc_info=None if expected else error,
    )
