"""One gateway on the embedded world, on either event loop: time moves only when a test moves it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import msgspec

from backends.operations import Node
from devnet.embedded_world import CHANNEL_SIDE_MSAT, EmbeddedWorld
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser, OutgoingPayment
from engine.engine import Ports
from engine.machine import State
from engine.ports import Probe, SystemRandomness, inline, no_probe
from engine.storage.reader import open_log
from engine.storage.store import Store
from errors import GatewayError
from fedimint.client.transport import GuardianConnection, GuardianUnreachable
from fedimint.codec.wire_types import Network
from fedimint.crypto.secrets import TWEAK_SIZE
from fedimint.lnv2.gateway_api import (
    Forfeited,
    Paid,
    RoutingInfo,
    SendPaymentPayload,
    parse_send_answer,
)
from fuzz.simulation.virtual_time import no_addresses
from gateway.application import Gateway, GatewaySettings, Outside
from gateway.log import read_models
from gateway.ports import Connect, Cpu, GrindAddress, GrindTweak, Inline
from migrations import SchemaSteps
from statemachines import send
from statemachines.transaction import wallet_of
from statemachines.wallet import TWEAK_POOL_SIZE, Wallet
from tests.gateway import calling
from tests.gateway.calling import FEE

START_UNIX_S = 1_800_000_000
WORDS = "abandon " * 11 + "about"
OTHER_WORDS = "zoo " * 11 + "wrong"
USER_MSAT = 40_000 * 512
INVOICE_MSAT = 5_000_000
#: A test that waits longer than this, in real time, waits for nothing that will happen.
PATIENCE_S = 120.0
T = TypeVar("T")


class ManualClock:
    """Stands still until `advance`; sleepers wake when their time has come."""

    def __init__(self) -> None:
        self.now_s = float(START_UNIX_S)
        self._moved = anyio.Event()

    def now_unix_us(self) -> int:
        return int(self.now_s * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        await anyio.lowlevel.checkpoint()
        while self.now_s < until_s:
            await self._moved.wait()

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        moved, self._moved = self._moved, anyio.Event()
        moved.set()


class Hold:
    """A pause of a guardian: calls wait from the first one on, until they are released."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self._released = anyio.Event()

    async def __call__(self, method: str) -> None:
        del method
        self.reached.set()
        await self._released.wait()

    def release(self) -> None:
        self._released.set()


class Unground:
    """Unique tweaks without the 65,536 hashes; recovery would not find the notes."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self, tweak_filter: bytes) -> bytes:
        del tweak_filter
        await anyio.lowlevel.checkpoint()
        self.made += 1
        return self.made.to_bytes(TWEAK_SIZE)


class Scene:
    """A world, a data directory, and the lives of a gateway in it, one after another."""

    def __init__(self, directory: Path, *, guardians: int = 1) -> None:
        self.directory = directory / "gateway"
        self.clock = ManualClock()
        self.world = EmbeddedWorld(7, lambda: self.clock.now_s, guardians=guardians)
        self.federations = [self.world.federation]
        self.grind: GrindTweak = Unground()
        self.grind_address: GrindAddress = no_addresses
        self.cpu: Cpu = Inline()
        self.connect: Connect = self._connect
        self.node: Node = self.world.gateway_node
        self.network: Network = "regtest"
        self.words = WORDS
        self.probe: Probe = no_probe

    @property
    def federation(self) -> EmbeddedFederation:
        return self.world.federation

    @property
    def federation_id(self) -> str:
        return self.federation.federation_id.hex()

    def add_federation(self, name: str, *, network: Network = "regtest") -> EmbeddedFederation:
        """A second federation on the same chain, reachable beside the first."""
        federation = EmbeddedFederation(
            self.world.chain,
            self.world.random.randbytes,
            name=name,
            network=network,
            unix_time_s=lambda: int(self.clock.now_s),
        )
        self.federations.append(federation)
        return federation

    def _connect(self, url: str, api_secret: str | None = None) -> GuardianConnection:
        for federation in self.federations:
            try:
                return federation.connect(url, api_secret)
            except GuardianUnreachable:
                continue
        raise GuardianUnreachable(f"no guardian at {url}")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Gateway]:
        """One life of the gateway, from opening the directory to closing it."""
        store = Store(self.directory, SchemaSteps(), read_models())
        try:
            gateway = Gateway(
                GatewaySettings(self.directory, self.network, None, FEE, FEE),
                Outside(
                    self.node,
                    self.connect,
                    self.cpu,
                    self.grind,
                    self.grind_address,
                    Ports(self.clock, SystemRandomness(), inline, self.probe),
                ),
                store=store,
                words=self.words,
            )
            async with anyio.create_task_group() as tasks:
                await tasks.start(gateway.run)
                await _until_heard(gateway)
                with anyio.fail_after(PATIENCE_S):
                    yield gateway
                tasks.cancel_scope.cancel()
        finally:
            store.close()

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[tuple[Gateway, RoutingInfo]]:
        """A life that begins by joining the first federation."""
        async with self.serving() as gateway:
            await gateway.federations.connect_federation(self.invite(), recover=False)
            await gateway.engine.wait(wallet_of(self.federation_id), _has_tweaks)
            yield gateway, await calling.routing_of(gateway, self.federation_id)

    def invite(self) -> str:
        return self.federation.invite_code().to_text()

    async def drive(self, until: Callable[[], bool], *, step_s: float = 1.0) -> None:
        """Let time pass in steps until something holds; a hundred thousand of them do not bring it about."""
        for _ in range(100_000):
            if until():
                return
            self.clock.advance(step_s)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        raise AssertionError("it never came to hold")

    async def while_time_passes(self, work: Callable[[], Awaitable[T]]) -> T:
        """Let time pass for as long as `work` takes."""
        done: list[T] = []

        async def run() -> None:
            done.append(await work())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await self.drive(lambda: bool(done))
        return done[0]

    # --- paying ---

    def invoice(self, amount_msat: int = INVOICE_MSAT, *, expiry_s: int = 3_600) -> str:
        return self.world.payee.make_invoice(amount_msat, expiry_s=expiry_s).text

    async def funded(
        self, routing: RoutingInfo, invoice: str | None = None
    ) -> tuple[EmbeddedUser, OutgoingPayment]:
        """A new user with a contract that pays `invoice`, on the gateway's terms."""
        user = self.world.new_user(USER_MSAT)
        return user, await user.fund(invoice or self.invoice(), routing)

    def spent_msat(self) -> int:
        """What our node has lost to the network, routing fees included."""
        return CHANNEL_SIDE_MSAT - self.world.network.holdings_msat("gateway")


async def ask(gateway: Gateway, body: SendPaymentPayload | bytes) -> Paid | Forfeited:
    """POST `/send_payment` with everything but the HTTP; raw bytes are taken as the body."""
    if isinstance(body, bytes):
        body = msgspec.json.decode(body, type=SendPaymentPayload)
    return parse_send_answer(await calling.send(gateway, body))


@asynccontextmanager
async def asking(gateway: Gateway, *bodies: SendPaymentPayload) -> AsyncIterator[list[object]]:
    """Ask in the background for the length of the block; holds answers and errors once it is left."""
    answers: list[object] = []

    async def one(body: SendPaymentPayload) -> None:
        try:
            answers.append(await ask(gateway, body))
        except GatewayError as error:
            answers.append(error)

    async with anyio.create_task_group() as tasks:
        for body in bodies:
            tasks.start_soon(one, body)
        yield answers


def stream_of(payment: OutgoingPayment) -> str:
    return send.stream_of(payment.contract.contract_id().hex())


async def until(gateway: Gateway, payment: OutgoingPayment, *states: type[State]) -> State:
    """The payment's state once it is one of these."""
    answer = await gateway.engine.wait(
        stream_of(payment), lambda state: isinstance(state, tuple(states))
    )
    return answer.state


async def wallet(gateway: Gateway, federation_id: str) -> Wallet:
    state = (await gateway.engine.read(wallet_of(federation_id))).state
    assert isinstance(state, Wallet)
    return state


def kinds(directory: Path) -> list[str]:
    """The kinds of all events on disk, in order, without the tweaks that come when they come."""
    with open_log(directory) as log:
        rows = [chained.row.kind for chained in log.rows()]
    return [kind for kind in rows if kind != "wallet.tweaks_added"]


def _has_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) == TWEAK_POOL_SIZE


async def _until_heard(gateway: Gateway) -> None:
    """Until the node has told whether the log is the newest, unless it is down or slow: no time passes here."""
    for _ in range(300):
        if gateway._context.word.is_given:
            return
        await anyio.lowlevel.checkpoint()
