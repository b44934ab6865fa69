"""The world of one simulated run: federations, node, chain and users around one gateway, and its judges."""

import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.abc
import msgspec

from backends.simulated.chain import ChainOutput
from devnet.embedded_world import EmbeddedWorld
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser
from engine.chain import Row
from engine.engine import Observer, Ports
from engine.ports import Probe
from engine.storage.rows import LOG_NAME
from errors import BusyError, GatewayError, PeerError, UnavailableError
from fedimint.codec.addresses import segwit_address
from fedimint.mintv2 import SpendableNote
from fedimint.mintv2.selection import round_up_msat
from fuzz.simulation import watched_ports
from fuzz.simulation.acts.absurd_guardians import AbsurdGuardians
from fuzz.simulation.acts.broken_builds import BrokenBuilds
from fuzz.simulation.judging import absences
from fuzz.simulation.judging.auditor import Auditor
from fuzz.simulation.judging.moments import Moments
from fuzz.simulation.judging.recorded_faults import Wrongs
from fuzz.simulation.latency import Latency
from fuzz.simulation.simulated_gateway import SimulatedGateway
from fuzz.simulation.virtual_time import START_UNIX_S, SimulatedCrash, grind_address, now_unix_s
from gateway.application import Outside

#: One seed for the keys of every run, so that deposit addresses are always the same.
KEYS_SEED = 7
#: Blocks that may be found while people and faults are at work: fewer than a claim is sure to have left.
BLOCKS_MAX = 120
RETRY_PAUSE_S = 1.0
#: People ask ever less often, but after this time at the latest.
_PATIENCE, RETRY_PAUSE_LONGEST_S = 1.3, 60.0
_LOOK_PAUSE_S = 0.1
#: How the witness counts absences in which many blocks were found.
AWAY = "away for long"
NODE_COINS_SAT = 1_000_000
_ENDOWMENT_SAT = 10_000_000
T = TypeVar("T")


class Refused(PeerError):  # noqa: N818 - what the gateway did
    """The gateway said no; `status` says how."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(f"{status}: {sentence}")


@dataclass
class CrashSoon:
    """An `engine.ports.Probe` that kills the process when `probes` have passed, or `hits` of one point, if armed.

    And does `then` when `passing` have, of one point if it is named.
    """

    probes: int = 0
    point: str = ""
    hits: int = 0
    passing: int = 0
    passing_point: str = ""
    then: Callable[[], None] = field(default=lambda: None)

    def __call__(self, point: str) -> None:
        if self.passing and self.passing_point in {"", point}:
            self.passing -= 1
            if not self.passing:
                self.then()
        if self.probes:
            self.probes -= 1
            if not self.probes:
                raise SimulatedCrash(point)
        if self.hits and point == self.point:
            self.hits -= 1
            if not self.hits:
                raise SimulatedCrash(point)

    def disarm(self) -> None:
        """Let every life go on from here."""
        self.probes = self.hits = 0


@dataclass
class Witness:
    """What was done around the gateway, in the doers' own count."""

    paid_in_sat: int = 0
    payout_scripts: list[bytes] = field(default_factory=list)
    handed_in: list[tuple[int, SpendableNote]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Harness:
    """Everything together. `tasks` runs what outlives its step."""

    def __init__(self, seed: int, directory: Path, tasks: anyio.abc.TaskGroup) -> None:
        self.world = world = EmbeddedWorld(KEYS_SEED, now_unix_s, name="solo")
        world.add_federation("quad", guardians=4)
        world.random.seed(f"world {seed}")
        for federation in world.federations:
            federation.endow(_ENDOWMENT_SAT)
        world.chain.send(ChainOutput(world.gateway_node.fresh_script(), NODE_COINS_SAT))
        world.chain.mine(1)
        self.dice = random.Random(f"harness {seed}")
        self.tasks = tasks
        self.witness = Witness()
        self.wrongs = Wrongs()
        moments = Moments(world.gateway_node, now_unix_s)
        self.auditor = Auditor(world.gateway_node, moments, self.wrongs)
        self.clock = watched_ports.WrongClock(START_UNIX_S, moments.see)
        self.latency = Latency(random.Random(f"latency {seed}"))
        self.disk = watched_ports.SlowDisk(self.latency)
        self.crash = CrashSoon()
        self.absurd_guardians = AbsurdGuardians()
        self.broken_builds = BrokenBuilds(self.auditor)
        self.users: list[tuple[int, EmbeddedUser]] = []
        self.is_calm = anyio.Event()
        #: Numbers of the federations that the gateway was told to serve.
        self.joined: list[int] = []
        #: What happens once all is at rest, and ends at rest again.
        self.afterwards: list[Callable[[], Awaitable[None]]] = []
        self.gateway = SimulatedGateway(world, directory, tasks, seed)
        self.gateway.outside = self._outside
        self.gateway.observers = (Observer(committed=self.auditor.committed),)
        self.down_s = 0.0
        #: The key (hex) that the node has now, if it is not the one that it began with.
        self.node_key = ""
        #: Blocks that are found while it is dead for the next time.
        self.blocks_away = 0
        self.is_back = anyio.Event()
        self.is_back.set()
        self._tweaks = watched_ports.UngroundTweaks()
        self.wanted_height = 0
        self._mined = 0
        self._addresses = 0
        self._replaced: tuple[Callable[[], None], anyio.Event] | None = None

    # --- the gateway -------------------------------------------------------------------------------------------

    def _outside(self, own: Ports) -> Outside:
        node = watched_ports.watched_node(
            self.world.gateway_node, self.auditor, self.latency, self._known_as
        )
        connect = watched_ports.watched_guardians(
            self.world.connect, self.auditor, self.latency, self.absurd_guardians.heard
        )
        workers = watched_ports.QuickWorkers(
            self.latency, partial(self.broken_builds.begins, life=self.witness.counts["lives"])
        )
        outer = replace(own, clock=self.clock, run_blocking=self.disk)
        return Outside(
            node,
            connect,
            workers,
            self._tweaks,
            grind_address,
            outer,
            find_tweak=watched_ports.first_tweak,
        )

    def _known_as(self) -> str:
        return self.node_key or self.world.gateway_node.public_key.hex()

    async def keep_alive(self) -> None:
        """Start the gateway whenever it is dead."""
        while True:
            self._catch_up()
            self._replace_directory()
            try:
                await self.gateway.live(self._probe())
            except UnavailableError:
                pass  # it died while it started
            else:
                await self.gateway.died()
            self.witness.counts["lives"] += 1
            await self._be_away()

    async def _be_away(self) -> None:
        """What others may rightly end meanwhile, of what cannot be taken back any more, is nobody's fault."""
        blocks, self.blocks_away = self.blocks_away, 0
        if blocks:
            self._catch_up()
            bound = absences.bound_to(self.auditor.states())
            self.is_back = anyio.Event()
            await anyio.sleep(self.down_s / 2)
            self.world.chain.mine(blocks)
            await anyio.sleep(self.down_s / 2)
            absences.write_down(self.wrongs, bound, self.world.gateway_node)
            self.is_back.set()
            self.down_s = 0.0
            self.witness.counts[AWAY] += 1
        else:
            await anyio.sleep(self.down_s)

    def _probe(self) -> Probe:
        return self.crash

    def _catch_up(self) -> None:
        self.auditor.catch_up(self._durable_rows())

    def _durable_rows(self) -> Sequence[Row]:
        return self.gateway.rows() if (self.gateway.directory / LOG_NAME).exists() else ()

    async def replace_directory(self, fill: Callable[[], None]) -> None:
        """Kill the gateway, and before its next life let `fill` make its data directory, a new one."""
        filled = anyio.Event()
        self._replaced = fill, filled
        await self.gateway.kill()
        await filled.wait()

    def _replace_directory(self) -> None:
        """Everything durable in the lost directory is known by now."""
        if self._replaced is not None:
            (fill, filled), self._replaced = self._replaced, None
            self.gateway.move()
            fill()
            self.auditor.goes_on_from(self._durable_rows())
            filled.set()

    async def call(self, method: str, path: str, body: object = None) -> bytes:
        """Call the API. Raises Refused for refusals, UnavailableError when no answer comes or the gateway is busy."""
        encoded = None if body is None else msgspec.json.encode(body)
        status, answer = await self.latency.take(
            "client", lambda: self.gateway.call(method, path, encoded)
        )
        if status in {UnavailableError.http_status, BusyError.http_status}:
            raise UnavailableError(answer.decode())
        # Of what is somebody else's fault, or wrong in a request, every error says so by its status.
        mistake = answer.decode() if status == GatewayError.http_status else ""
        self.expect(not mistake, f"10: {path} met a mistake of the gateway's: {mistake}")
        if status != 200:
            self.witness.counts[f"refused {path}"] += 1
            raise Refused(status, answer.decode())
        return answer

    # --- others ------------------------------------------------------------------------------------------------

    def federation(self, number: int) -> EmbeddedFederation:
        return self.world.federations[number]

    def federation_id(self, number: int) -> str:
        return self.federation(number).federation_id.hex()

    def new_user(self, number: int, amount_msat: int = 0) -> EmbeddedUser:
        """A user of that federation with at least so much ecash."""
        rounded_msat = round_up_msat(amount_msat) if amount_msat else 0
        user = self.world.new_user(rounded_msat, self.federation(number))
        self.users.append((number, user))
        return user

    def mine(self, blocks: int) -> None:
        """Find blocks, as far as there is time for everybody."""
        if not self.is_calm.is_set():
            blocks = min(blocks, BLOCKS_MAX - self._mined)
            self._mined += blocks
        self.world.chain.mine(blocks)

    def new_address(self) -> tuple[str, bytes]:
        """Of somebody who is not the gateway: text and script."""
        self._addresses += 1
        program = hashlib.sha256(b"address %d" % self._addresses).digest()[:20]
        script = b"\x00\x14" + program
        self.witness.payout_scripts.append(script)
        return segwit_address(script, "regtest"), script

    async def height(self, height: int) -> None:
        """Wait for a block, which is found once nobody else minds."""
        self.wanted_height = max(self.wanted_height, height)
        while self.world.chain.height < height:  # noqa: ASYNC110 - as everybody looks at the chain
            await anyio.sleep(10)

    async def lasts(self, for_s: float) -> None:
        """Return after this time, or when everything is to be calm."""
        with anyio.move_on_after(for_s):
            await self.is_calm.wait()

    async def finds(self, look: Callable[[], T], for_s: float) -> T | None:
        """What is found once there is something; None after this time, or when everything is to be calm."""
        until_s = anyio.current_time() + for_s
        while anyio.current_time() <= until_s and not self.is_calm.is_set():
            found = look()
            if found:
                return found
            await anyio.sleep(_LOOK_PAUSE_S)
        return None

    def now_unix_s(self) -> int:
        """The wall clock of everybody but the gateway."""
        return int(now_unix_s())

    def expect(self, holds: object, problem: str) -> None:
        """Record a problem that somebody outside has."""
        if not holds:
            self.witness.problems.append(problem)


async def persist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, as one does who cannot lose by asking again; ever more patiently."""
    pause_s = RETRY_PAUSE_S
    while True:
        try:
            return await ask()
        except UnavailableError:
            await anyio.sleep(pause_s)
            pause_s = min(_PATIENCE * pause_s, RETRY_PAUSE_LONGEST_S)
