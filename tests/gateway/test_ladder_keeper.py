"""The ladder of notes is built by itself, when nothing is under way and the federation is served."""

from pathlib import Path
from typing import cast

import anyio
import pytest

from engine.engine import Engine
from errors import ConflictError, InputError, UnavailableError
from gateway.application import Gateway
from gateway.ladder_keeper import IDLE_MAX_S, IDLE_S, keep_ladder
from statemachines import ladder, send
from statemachines.federation import Leave
from statemachines.federation import stream_of as federation_stream
from statemachines.transaction import wallet_of
from statemachines.wallet import Rebalance, Wallet
from tests.gateway.scene import Scene, ask, until, wallet

pytestmark = pytest.mark.anyio

#: 65,536 sat.
ECASH_MSAT = 1 << 26


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def hold_few_notes(scene: Scene, gateway: Gateway) -> None:
    """The wallet comes by ecash and makes no rungs of it yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "RUNGS", 0)
        await gateway.payments.receive_ecash(scene.federation.issue_ecash(ECASH_MSAT).to_text())
    assert missing(await wallet(gateway, scene.federation_id))


def missing(held: Wallet) -> tuple[int, ...]:
    return ladder.missing(
        held.fees, held.remembered.paid, [note.denomination for note in held.notes]
    )


async def test_rungs_are_made_when_nothing_is_under_way(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await hold_few_notes(scene, gateway)
        before = await wallet(gateway, scene.federation_id)

        def is_built() -> bool:
            now = gateway.engine.peek(wallet_of(scene.federation_id))
            return isinstance(now, Wallet) and not now.spending and not missing(now)

        await scene.drive(is_built)
        after = await wallet(gateway, scene.federation_id)
    spent_msat = before.balance_msat - after.balance_msat
    assert 0 < spent_msat <= ladder.ALLOWANCE_AHEAD_MSAT


async def test_payments_under_way_keep_the_notes(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        invoice = scene.world.payee.make_invoice(1_000_000, is_held=True)
        user, payment = await scene.funded(routing, invoice.text)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.InFlight)
            with pytest.raises(ConflictError, match="under way and may need the notes"):
                await gateway.engine.submit(wallet_of(scene.federation_id), Rebalance())
            scene.world.payee.settle_held(invoice.payment_hash)


async def test_nothing_is_rebalanced_where_nothing_new_is_begun(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await gateway.halt()
        with pytest.raises(UnavailableError, match="is stopping"):
            await gateway.engine.submit(wallet_of(scene.federation_id), Rebalance())
        await gateway.engine.submit(federation_stream(scene.federation_id), Leave())
        with pytest.raises(InputError, match="No federation available"):
            await gateway.engine.submit(wallet_of(scene.federation_id), Rebalance())


async def test_rungs_are_made_once_a_payment_is_over(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        invoice = scene.world.payee.make_invoice(1_000_000, is_held=True)
        user, payment = await scene.funded(routing, invoice.text)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.InFlight)
            await hold_few_notes(scene, gateway)
            for _ in range(20):
                scene.clock.advance(5)
                await anyio.lowlevel.checkpoint()
            assert missing(await wallet(gateway, scene.federation_id))
            scene.world.payee.settle_held(invoice.payment_hash)
            await until(gateway, payment, send.Claimed)
        await scene.drive(
            lambda: (
                not missing(
                    gateway.engine.peek(wallet_of(scene.federation_id))  # type: ignore[arg-type]
                )
            )
        )


class NeverBuilt:
    """An engine whose wallet always misses rungs, whatever is made, and a clock that only it moves."""

    def __init__(self, asks_max: int) -> None:
        self.now_s = 0.0
        self.asked_s: list[float] = []
        self.quiet_s = {7: IDLE_MAX_S}
        self._asks_max = asks_max

    def now_unix_us(self) -> int:
        return int(self.now_s * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def wait(self, _stream: str, _until: object) -> None:
        """Rungs are missing at once, but for a time in which none were."""
        self.now_s += self.quiet_s.get(len(self.asked_s), 0.0)

    async def submit(self, _stream: str, _input: Rebalance) -> None:
        self.asked_s.append(self.now_s)
        if len(self.asked_s) == self._asks_max:
            raise StopAsyncIteration


async def test_a_ladder_that_is_never_built_is_asked_for_ever_less_often() -> None:
    asks = 20
    world = NeverBuilt(asks)
    with pytest.raises(StopAsyncIteration):
        await keep_ladder(cast("Engine", world), "00" * 32, world)
    gaps_s = [
        after - before for before, after in zip(world.asked_s, world.asked_s[1:], strict=False)
    ]
    assert world.asked_s[0] == IDLE_S
    assert gaps_s[:6] == [IDLE_S * 2**n for n in range(1, 7)]
    # After an hour in which nothing was asked for, it begins anew.
    assert gaps_s[6] == IDLE_MAX_S + IDLE_S
    assert gaps_s[7] == 2 * IDLE_S
    assert gaps_s[-1] == IDLE_MAX_S
