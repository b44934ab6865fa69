"""The payments of the embedded history: the whole gateway in memory under virtual time, one payment after another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from backends.simulated.node import Fault
from devnet.embedded_world import EmbeddedWorld
from devnet.guardians.faults import wrong_errors
from devnet.users.user import EmbeddedUser, OutgoingPayment
from engine.machine import State
from engine.ports import Probe, no_probe
from errors import UnavailableError
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import RoutingInfo, parse_send_answer
from fuzz.simulation.virtual_time import (
    CrashAt,
    SimulatedCrash,
    now_unix_s,
    ports,
    run_seeded,
    unground,
)
from gateway.application import Gateway, Outside, run_gateway
from gateway.grinder import grind_address
from gateway.ports import Inline
from statemachines import send
from tests.gateway import calling

SEED = 13
WORDS = "abandon " * 11 + "about"
USER_MSAT = 400_000 * 512
INVOICE_MSAT = 5_000_000
EXPIRY_S = 3_600
_STRANGER_SECRET = bytes(31) + b"\x07"


def play(directory: Path) -> None:
    """Fill the data directory."""
    run_seeded(lambda: _play(directory), SEED)


@dataclass
class _Play:
    """One gateway over all its lives, and a user who pays through it."""

    world: EmbeddedWorld
    directory: Path
    user: EmbeddedUser
    routing: RoutingInfo | None = None
    lives: int = field(default=0)

    async def live(self, do: Callable[[Gateway], Awaitable[None]], probe: Probe = no_probe) -> None:
        """One life of the gateway, for as long as `do` takes or until the probe ends it."""
        self.lives += 1
        async with anyio.create_task_group() as tasks:
            gateway: Gateway = await tasks.start(
                run_gateway, calling.settings_in(self.directory), WORDS, self._outside(probe)
            )
            await do(gateway)
            tasks.cancel_scope.cancel()

    def _outside(self, probe: Probe) -> Outside:
        world, own = self.world, replace(ports(SEED + self.lives, CrashAt()), probe=probe)
        return Outside(
            world.gateway_node, world.federation.connect, Inline(), unground, grind_address, own
        )

    async def join(self, gateway: Gateway) -> None:
        joined = await gateway.federations.connect_federation(
            self.world.federation.invite_code().to_text(), recover=False
        )
        self.routing = await calling.routing_of(gateway, joined.federation_id)

    async def fund(self, invoice: str) -> OutgoingPayment:
        assert self.routing is not None
        return await self.user.fund(invoice, self.routing)

    def invoice(self, *, is_held: bool = False) -> bolt11.Bolt11Invoice:
        return self.world.payee.make_invoice(INVOICE_MSAT, is_held=is_held, expiry_s=EXPIRY_S)

    async def pay(self, payment: OutgoingPayment, probe: Probe = no_probe) -> None:
        """Ask until there is an answer, through a crash if the probe makes one; stay until all is over."""
        stream = send.stream_of(payment.contract.contract_id().hex())

        async def ask(gateway: Gateway) -> None:
            try:
                answer = await calling.send(gateway, self.user.body(payment))
                await gateway.engine.wait(stream, lambda state: isinstance(state, _ENDS))
            except UnavailableError:  # it crashes while we ask
                await anyio.sleep_forever()
            else:
                await self.user.settle(payment, parse_send_answer(answer))

        try:
            await self.live(ask, probe)
        except* SimulatedCrash:
            await self.live(ask)

    async def leave_in_flight(self, payment: OutgoingPayment, *states: type[State]) -> None:
        """Ask, and cut the gateway off once the payment has reached one of these states."""
        stream = send.stream_of(payment.contract.contract_id().hex())

        async def ask(gateway: Gateway) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(calling.send, gateway, self.user.body(payment))
                await gateway.engine.wait(stream, lambda state: isinstance(state, states))
                tasks.cancel_scope.cancel()

        await self.live(ask)


_ENDS = (send.Claimed, send.ClaimRejected, send.Cancelled)


async def _play(directory: Path) -> None:
    world = EmbeddedWorld(SEED, now_unix_s)
    play = _Play(world, directory, world.new_user(USER_MSAT))
    await play.live(play.join)
    await play.pay(await play.fund(play.invoice().text))
    for point in ("after send.in_flight", "before tx.signed", "effect SubmitTransaction"):
        await play.pay(await play.fund(play.invoice().text), _crash_at(point))
    await play.pay(await play.fund(_stranger_invoice()))
    late = await play.fund(play.invoice().text)
    await anyio.sleep(EXPIRY_S)
    await play.pay(late)
    for fault in (Fault.REFUSED, Fault.LOST, Fault.TAKEN, Fault.CUT):
        payment = await play.fund(play.invoice().text)
        world.gateway_node.script(fault)
        await play.pay(payment)
    await _lost_after_failed(play)
    await _claim_rejected(play)
    await play.leave_in_flight(await play.fund(play.invoice(is_held=True).text), send.InFlight)
    await _vanished(play)


async def _lost_after_failed(play: _Play) -> None:
    """The first call stays unanswered, the second fails: nothing is given back before the invoice has expired."""
    payment = await play.fund(play.invoice().text)
    play.world.gateway_node.script(Fault.DELAYED)
    play.world.network.unreachable.add(play.world.payee.name)
    await play.pay(payment)
    play.world.network.unreachable.discard(play.world.payee.name)
    play.world.gateway_node.deliver_delayed()


async def _claim_rejected(play: _Play) -> None:
    payment = await play.fund(play.invoice().text)
    guardian = play.world.federation.guardians[0]
    guardian.faults.lie = wrong_errors
    await play.pay(payment)
    guardian.faults.lie = None


async def _vanished(play: _Play) -> None:
    """The node loses the record of a payment that it has shown."""
    invoice = play.invoice(is_held=True)
    payment = await play.fund(invoice.text)
    await play.leave_in_flight(payment, send.InFlight)
    play.world.gateway_node.forget(invoice.payment_hash)
    await play.leave_in_flight(payment, send.Vanished)


def _crash_at(wanted: str) -> Probe:
    def probe(point: str) -> None:
        if point == wanted:
            raise SimulatedCrash(point)

    return probe


def _stranger_invoice() -> str:
    """An invoice of a node that no channel leads to."""
    fields = bolt11.InvoiceFields(
        network="regtest",
        amount_msat=INVOICE_MSAT,
        timestamp_unix_s=int(now_unix_s()),
        payment_hash=bytes(31) + b"\x01",
        payment_secret=bytes(31) + b"\x02",
        description="a stranger's",
        expiry_s=EXPIRY_S,
    )
    return bolt11.sign(fields, _STRANGER_SECRET).text
