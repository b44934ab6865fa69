"""What happens in the real history: real guardians, Lightning nodes and clients; every kind of payment, and a kill."""

import shutil
import tempfile
from pathlib import Path

import anyio

from devnet.fedimint_cli import SendOutcome
from devnet.real_world import real_world
from tests.interop.invoices import stranger_invoice
from tests.interop.parties import customers_of
from tests.interop.real_stage import RealStage
from tests.scenarios import books, flows
from tests.scenarios.scenarios import (
    AMOUNT_MSAT,
    DEPOSIT_SAT,
    USER_MSAT,
    WITHDRAWAL_SAT,
    served,
)


async def play(directory: Path) -> None:
    """Leave the gateway's data directory at `directory`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with real_world(folder) as world:
            federations = [
                await world.start_federation(name, guardians=1) for name in ("first", "second")
            ]
            async with (
                customers_of(world, federations[0]) as first,
                customers_of(world, federations[1]) as second,
            ):
                stage = RealStage(world, [first, second], folder / "gateway")
                await stage.begin()
                await stage.gateway.start()
                try:
                    await _pay(stage)
                    await _move_own_money(stage)
                finally:
                    await stage.gateway.kill()
                shutil.copytree(stage.gateway.program.data_dir, directory)


async def _pay(stage: RealStage) -> None:
    """A send, a forfeit, a receive with a kill in it, a swap."""
    first, second = stage.federations
    await served(stage, first, second)
    sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
    await flows.send(stage, first, sender, await stage.other_node.invoice(AMOUNT_MSAT))
    hopeless = stranger_invoice(AMOUNT_MSAT)
    url = stage.gateway.program.url
    refunded = await first.customers.cli.pay(hopeless, gateway_url=url)
    assert refunded.outcome is SendOutcome.REFUNDED
    await stage.gateway.kill()
    await stage.gateway.start(crash_at="after receive.funding")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flows.receive, stage, second, receiver, AMOUNT_MSAT)
        await stage.gateway.died()
        await stage.gateway.start()
    await flows.swap(stage, (first, sender), (second, receiver), AMOUNT_MSAT)
    await books.check(stage)


async def _move_own_money(stage: RealStage) -> None:
    """A deposit, two withdrawals, ecash given, leaving and coming back."""
    first = stage.federations[0]
    calls = await served(stage, first)
    address = await calls.deposit_address(first)
    await flows.deposit(stage, first, address, DEPOSIT_SAT)
    await flows.give(stage, first, AMOUNT_MSAT)
    await flows.withdraw(stage, first, WITHDRAWAL_SAT)
    await flows.withdraw(stage, first, None)
    await calls.leave(first)
    await calls.join(first)
    await books.check(stage)
