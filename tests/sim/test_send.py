"""The whole send, from the sender's contract to the claimed ecash, under seeds with a crash anywhere.

A seed decides the order in which tasks run, what the Lightning node does to calls, and where the gateway crashes.
Whatever happens, the payment ends once: paid and claimed, or forfeited and taken back.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from backends.simulated.node import Fault, InvoiceState
from devnet.embedded_world import CHANNEL_SIDE_MSAT, EmbeddedWorld
from devnet.users.user import EmbeddedUser, OutgoingPayment
from engine.chain import verified
from engine.fold import fold
from engine.machine import State
from engine.storage.reader import open_log
from errors import UnavailableError
from fedimint.lnv2 import HashImage
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo, parse_send_answer
from fuzz.simulation.virtual_time import (
    WORDS,
    CrashAt,
    SimulatedCrash,
    no_addresses,
    now_unix_s,
    ports,
    run_seeded,
    unground,
)
from gateway.application import Gateway, Outside, run_gateway
from gateway.federation_lifetimes import TWEAKS_PER_EVENT
from gateway.log import machines
from gateway.ports import Inline
from statemachines import accounts, ledger, send
from statemachines.transaction import wallet_of
from statemachines.wallet import TWEAK_POOL_SIZE, Wallet
from tests.gateway import calling

SEEDS = 200
#: A little more than the points that a send without trouble passes, so every point is some seed's crash.
POINTS = 80
USER_MSAT = 40_000 * 512
INVOICE_MSAT = 5_000_000
INVOICE_EXPIRY_S = 3_600
#: What the node may do to a call; most are sound.
FAULTS = (Fault.NONE,) * 5 + (Fault.REFUSED, Fault.LOST, Fault.DELAYED, Fault.TAKEN, Fault.CUT)


@dataclass
class Run:
    """One seed's world and what the gateway left on disk."""

    seed: int
    world: EmbeddedWorld
    directory: Path
    crashes: list[str] = field(default_factory=list)
    answer: Paid | Forfeited | None = None

    async def serve(self, crash: CrashAt, payment: OutgoingPayment, user: EmbeddedUser) -> None:
        """One life of the gateway in which the sender asks until it is answered and everything is over."""
        async with anyio.create_task_group() as tasks:
            gateway = await self._start(tasks, crash)
            while not await self._is_over(gateway, payment, user):  # noqa: ASYNC110 - as a client does
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    async def _is_over(
        self, gateway: Gateway, payment: OutgoingPayment, user: EmbeddedUser
    ) -> bool:
        """False when the gateway could not answer, as a client sees it that asks a dying one."""
        stream = send.stream_of(payment.contract.contract_id().hex())
        try:
            self.answer = parse_send_answer(await calling.send(gateway, user.body(payment)))
            await gateway.engine.wait(stream, _is_over)
            await gateway.engine.wait(self.wallet, _is_over)
        except UnavailableError:
            return False
        return True

    async def join(self) -> RoutingInfo:
        """The first life: join the federation and tell what a sender must know."""
        async with anyio.create_task_group() as tasks:
            gateway = await self._start(tasks, CrashAt())
            invite = self.world.federation.invite_code().to_text()
            joined = await gateway.federations.connect_federation(invite, recover=False)
            routing = await calling.routing_of(gateway, joined.federation_id)
            # Else what fills the pool of tweaks would be most of the points of the next life.
            await gateway.engine.wait(self.wallet, _has_all_tweaks)
            tasks.cancel_scope.cancel()
        return routing

    async def _start(self, tasks: TaskGroup, crash: CrashAt) -> Gateway:
        gateway: Gateway = await tasks.start(
            run_gateway, calling.settings_in(self.directory), WORDS, self._outside(crash)
        )
        return gateway

    def _outside(self, crash: CrashAt) -> Outside:
        own = ports(self.seed, crash)
        world = self.world
        return Outside(world.gateway_node, world.connect, Inline(), unground, no_addresses, own)

    @property
    def wallet(self) -> str:
        """The stream of the gateway's ecash."""
        return wallet_of(self.world.federation.federation_id.hex())


def _has_all_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) > TWEAK_POOL_SIZE - TWEAKS_PER_EVENT


def _is_over(state: State) -> bool:
    if isinstance(state, Wallet):
        return not state.spending
    return isinstance(state, send.Claimed | send.Cancelled)


async def _deliver_delayed(world: EmbeddedWorld, after_s: float) -> None:
    """The network hands over, late, what it had kept back."""
    await anyio.sleep(after_s)
    world.gateway_node.deliver_delayed()


async def _send_with_crashes(seed: int, directory: Path) -> Run:
    world = EmbeddedWorld(seed, now_unix_s)
    chance = random.Random(seed)
    run = Run(seed, world, directory)
    routing = await run.join()
    user = world.new_user(USER_MSAT)
    invoice = world.payee.make_invoice(INVOICE_MSAT, expiry_s=INVOICE_EXPIRY_S)
    payment = await user.fund(invoice.text, routing)
    if seed >= POINTS:  # the first seeds crash at every point of a send without trouble
        world.gateway_node.script(*(chance.choice(FAULTS) for _ in range(4)))
    hits = [1 + seed % POINTS, chance.randrange(0, POINTS), 0]
    async with anyio.create_task_group() as network:
        network.start_soon(_deliver_delayed, world, chance.uniform(0, 2 * INVOICE_EXPIRY_S))
        for crash in (CrashAt(hit) for hit in hits):
            try:
                await run.serve(crash, payment, user)
                break
            except* SimulatedCrash:
                run.crashes.append(crash.points[crash.hit - 1])
            except* UnavailableError:
                pass  # what waits inside a gateway that crashes while it starts
        network.cancel_scope.cancel()
    await _check_end(run, user, payment)
    return run


async def _check_end(run: Run, user: EmbeddedUser, payment: OutgoingPayment) -> None:
    world, image = run.world, payment.contract.payment_image
    assert isinstance(image, HashImage)
    assert run.answer is not None
    preimage = await user.settle(payment, run.answer)
    world.network.audit()
    assert world.network.locked_msat() == 0
    assert world.federation.audit().is_balanced()
    assert not world.federation.audit().contracts_msat
    spent_msat = CHANNEL_SIDE_MSAT - world.network.holdings_msat("gateway")
    with open_log(run.directory) as log:
        rows = list(verified(log.rows()))
    report = ledger.audit(machines(), rows)
    assert report.problems == ()
    assert report.balances.get(accounts.NODE, 0) == -spent_msat
    states = fold(machines(), rows, keep_final=True)
    ended = states[send.stream_of(payment.contract.contract_id().hex())].state
    held = states[run.wallet].state
    assert isinstance(held, Wallet)
    assert not held.spending
    settled = world.payee.invoice_state(image.digest) is InvoiceState.SETTLED
    if preimage is not None:
        assert settled
        assert isinstance(ended, send.Claimed)
        assert spent_msat == INVOICE_MSAT + ended.routing_fee_msat
        assert held.balance_msat == ended.received_msat
        assert held.balance_msat > INVOICE_MSAT
    else:
        assert not settled
        assert isinstance(ended, send.Cancelled)
        assert spent_msat == 0
        assert held.balance_msat == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_send_ends_once_whatever_crashes_and_whatever_the_node_does(tmp_path: Path) -> None:
    crashes: set[str] = set()
    for seed in range(SEEDS):
        directory = tmp_path / str(seed)
        try:
            run = run_seeded(lambda: _send_with_crashes(seed, directory), seed)  # noqa: B023 - run at once
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        crashes.update(run.crashes)
    assert {
        point for kind in SEND_EVENTS for point in (f"before {kind}", f"after {kind}")
    } <= crashes
    assert {f"effect {name}" for name in SEND_EFFECTS} <= crashes


#: Commits and effects of a send that goes well: the crashes of all seeds together cover each of them.
SEND_EVENTS = (
    "send.accepted",
    "send.dispatching",
    "send.in_flight",
    "send.paid",
    "tx.signed",
    "tx.accepted",
    "tx.collected",
)
SEND_EFFECTS = (
    "MeasureBudget",
    "PayInvoice",
    "BuildTransaction",
    "SubmitTransaction",
    "CollectNotes",
)
