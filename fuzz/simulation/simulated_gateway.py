"""A gateway that behaves like a process inside the test: starts, answers routes, dies at a point."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.abc
import msgspec

from api import body as bodies
from api.gates import Gate, RateLimit, TokenBucket
from api.routes import Route, routes
from api.testing import canned
from devnet.embedded_world import EmbeddedWorld
from engine.chain import Row, verified
from engine.engine import Observer, Ports
from engine.ports import Probe, no_probe
from engine.storage.reader import open_log
from engine.storage.rows import LOG_NAME
from errors import GatewayError, UnavailableError
from fedimint.lnv2.gateway_api import PaymentFee
from fuzz.simulation.virtual_time import (
    WORDS,
    SimulatedCrash,
    grind_address,
    grind_tweak,
    ports,
)
from gateway.application import Gateway, GatewaySettings, Outside, run_gateway
from gateway.ports import Inline
from gateway.restoring import restore


class Answer(NamedTuple):
    """What the gateway answered over HTTP, refusals included."""

    status: int
    body: bytes


_FEE = PaymentFee(2_000, 3_000)
_BACKUP = "backup"
#: Scenarios ask for more invoices than strangers may.
_NO_LIMIT = RateLimit(burst=1_000_000, per_second=1_000_000)


@dataclass
class DieAt:
    """Raises at the point of this name."""

    name: str

    def __call__(self, point: str) -> None:
        if point == self.name:
            raise SimulatedCrash(point)


@dataclass
class Life:
    """One life of the gateway."""

    probe: Probe
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    up: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)
    gateway: Gateway | None = None
    table: tuple[Route, ...] = ()
    callers: set[anyio.CancelScope] = field(default_factory=set)
    is_dead: bool = False

    def reach(self, point: str) -> None:
        """The probe, but that nobody inside goes on from the moment on in which it raises."""
        try:
            self.probe(point)
        except BaseException:
            self.die()
            raise

    def die(self) -> None:
        """Stop answering, even while the tasks of this life still unwind."""
        self.is_dead = True
        for caller in self.callers:
            caller.cancel()


class SimulatedGateway:
    """A `Host`. Its lives run in the task group, one at a time, and end without tidying up."""

    def __init__(
        self, world: EmbeddedWorld, directory: Path, tasks: anyio.abc.TaskGroup, seed: int
    ) -> None:
        #: Of every life that is not told another.
        self.probe: Probe = no_probe
        #: Whether a life that a probe ends is followed by the next one at once, as a supervisor sees to.
        self.comes_back = False
        #: The errors that a life may end with.
        self.deaths: tuple[type[BaseException], ...] = (SimulatedCrash,)
        #: Hears how a life ended, before the next one begins.
        self.buried: Callable[[Life, BaseExceptionGroup[BaseException]], None] = _forget
        #: What each life meets outside, given its own randomness and probe.
        self.outside: Callable[[Ports], Outside] = self._outside
        self.observers: tuple[Observer, ...] = ()
        #: What its node held when the log began.
        self.node_msat_at_first = world.network.holdings_msat("gateway")
        self._world = world
        self._base = directory
        self._tasks = tasks
        self._seed = seed
        self._lives = 0
        self._directories = 0
        self._life: Life | None = None

    @property
    def directory(self) -> Path:
        return self._base / f"data-{self._directories}"

    @property
    def gateway(self) -> Gateway:
        """The application that runs now, for tests that look inside."""
        assert self._life is not None
        assert self._life.gateway is not None
        return self._life.gateway

    async def start(self, *, crash_at: str | None = None, node_is_down: bool = False) -> None:
        """Start. A node that is down is no reason to wait here."""
        del node_is_down
        await self.live(self.probe if crash_at is None else DieAt(crash_at))

    async def live(self, probe: Probe) -> None:
        """Start with any probe. Raises UnavailableError when it dies while starting and does not come back."""
        life = self._begin(probe)
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(_wait_and_cancel, life.over, waiting.cancel_scope)
            await life.up.wait()
            waiting.cancel_scope.cancel()
        if life.over.is_set() and not self.comes_back:
            raise UnavailableError("the gateway died while it started")

    def _begin(self, probe: Probe) -> Life:
        assert self._life is None or self._life.over.is_set(), "the gateway runs already"
        life = self._life = Life(probe)
        self._lives += 1
        self._tasks.start_soon(self._live, life)
        return life

    async def kill(self) -> None:
        if self._life is not None:
            self._life.die()
            self._life.scope.cancel()
            await self._life.over.wait()

    async def died(self) -> None:
        assert self._life is not None
        await self._life.over.wait()

    def move(self) -> None:
        """Let the next life find another directory, which is for others to fill."""
        self._directories += 1

    async def start_over(self) -> None:
        self.move()
        self.node_msat_at_first = self._world.network.holdings_msat("gateway")

    async def back_up(self) -> None:
        shutil.copytree(self.directory, self._base / _BACKUP)

    async def restore(self) -> None:
        self.move()
        restore(self._base / _BACKUP / LOG_NAME, self.directory, ports(self._seed).clock)

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        life = self._life
        if life is None or not life.table or life.is_dead:
            raise UnavailableError("nobody listens")
        with anyio.CancelScope() as scope:
            life.callers.add(scope)
            try:
                answer = await _answer(life.table, method, path, body)
            finally:
                life.callers.discard(scope)
            if not life.is_dead:
                return answer
        raise UnavailableError("the gateway died before it answered")

    def gates(self) -> tuple[Gate, ...]:
        """What bounds the callers of this life, each gate once."""
        table = self._life.table if self._life is not None else ()
        return tuple(dict.fromkeys(route.gate for route in table))

    def rows(self) -> Sequence[Row]:
        with open_log(self.directory) as log:
            return list(verified(log.rows()))

    async def _live(self, life: Life) -> None:
        crashed = False
        try:
            with life.scope:
                await self._serve(life)
        except BaseExceptionGroup as ends:
            _, rest = ends.split((*self.deaths, UnavailableError))
            if rest is not None or ends.subgroup(self.deaths) is None:
                raise
            crashed = True  # and what waited inside a gateway that was starting was told so
            self.buried(life, ends)
        finally:
            life.die()
            life.over.set()
        if crashed and self.comes_back:
            self._begin(life.probe)

    async def _serve(self, life: Life) -> None:
        own = replace(ports(self._seed + self._lives), probe=life.reach)
        settings = GatewaySettings(self.directory, "regtest", None, _FEE, _FEE)
        start = partial(run_gateway, settings, WORDS, self.outside(own), self.observers)
        async with anyio.create_task_group() as tasks:
            life.gateway = await tasks.start(start)
            life.table = routes(
                life.gateway, canned.facts(), TokenBucket(_NO_LIMIT), life.gateway.stop
            )
            life.up.set()

    def _outside(self, own: Ports) -> Outside:
        world = self._world
        return Outside(world.gateway_node, world.connect, Inline(), grind_tweak, grind_address, own)


def _forget(_life: Life, _ends: BaseExceptionGroup[BaseException]) -> None:
    """Nobody wants to know."""


async def _answer(table: Sequence[Route], method: str, path: str, body: bytes | None) -> Answer:
    """As the HTTP adapter answers, without HTTP."""
    (route,) = (one for one in table if (one.method, one.path) == (method, path))
    try:
        read = None if route.body is None else bodies.decode(body or b"", route.body)
        with route.admitted("a simulated caller", read):
            with anyio.move_on_after(route.seconds):
                return Answer(200, msgspec.json.encode(await route.handle(read)))
            raise UnavailableError("not finished in time")
    except GatewayError as error:
        return Answer(error.http_status, str(error).encode())


async def _wait_and_cancel(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
