"""The scenarios with real peers, same code as in memory; kills of receives and swaps; fedimint-cli as everybody."""

import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine

import anyio
import pytest

from devnet.real.fedimint_cli import ReceiveOutcome, SendOutcome
from devnet.real.world import RealWorld
from fedimint.codec import bolt11
from tests.interop.parties import Customers
from tests.interop.real_stage import RealStage
from tests.interop.stages import RealStages
from tests.scenarios import books, flows
from tests.scenarios.interruptions import INTERRUPTIONS
from tests.scenarios.restoring import a_lost_log_goes_on_from_its_backup
from tests.scenarios.scenarios import (
    AMOUNT_MSAT,
    SCENARIOS,
    USER_MSAT,
    Scenario,
    served,
    the_words_bring_the_ecash_back,
)

LOGS_ARE_LOST = (the_words_bring_the_ecash_back, a_lost_log_goes_on_from_its_backup)
Flow = Callable[[RealStage], Coroutine[None, None, None]]

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def stages(
    world: RealWorld,
    solo_customers: Customers,
    second_customers: Customers,
    quad_customers: Customers,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RealStages]:
    customers = (solo_customers, second_customers, quad_customers)
    opened = RealStages(world, customers, tmp_path_factory.mktemp("stages"))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "scenario",
    [*SCENARIOS, *INTERRUPTIONS, a_lost_log_goes_on_from_its_backup],
    ids=lambda one: one.__name__,
)
async def test_scenario(scenario: Scenario, stages: RealStages) -> None:
    async with stages.stage(is_shared=scenario not in LOGS_ARE_LOST) as stage:
        await scenario(stage)


# --- fedimint-cli ------------------------------------------------------------------------------------------------


async def test_fedimint_cli_is_paid_over_lightning(stages: RealStages) -> None:
    async with stages.stage() as stage:
        federation, url = stage.federations[0], stage.gateway.program.url
        await served(stage, federation)
        cli = federation.customers.cli
        before_msat = await cli.balance_msat()
        pending = await cli.receive(AMOUNT_MSAT, gateway_url=url)
        preimage = await stage.other_node.pay(pending.payment_request)
        assert preimage is not None
        assert await cli.await_receipt(pending.operation_id) is ReceiveOutcome.CLAIMED
        await cli.settle()
        assert await cli.balance_msat() > before_msat
        await books.check(stage)


async def test_fedimint_cli_of_one_federation_pays_that_of_another(stages: RealStages) -> None:
    """No payment reaches the node."""
    async with stages.stage() as stage:
        (first, second), url = stage.federations[:2], stage.gateway.program.url
        await served(stage, first, second)
        gain_msat = await stage.node_gain_msat()
        receiver = second.customers.cli
        pending = await receiver.receive(AMOUNT_MSAT, gateway_url=url)
        result = await first.customers.cli.pay(pending.payment_request, gateway_url=url)
        assert result.outcome is SendOutcome.SUCCESS
        assert result.preimage is not None
        image = hashlib.sha256(bytes.fromhex(result.preimage)).digest()
        assert image == bolt11.decode(pending.payment_request).payment_hash
        assert await receiver.await_receipt(pending.operation_id) is ReceiveOutcome.CLAIMED
        assert await stage.node_gain_msat() == gain_msat
        await books.check(stage)


# --- killed ------------------------------------------------------------------------------------------------------


async def receives(stage: RealStage) -> None:
    """Bob pays a user."""
    federation = stage.federations[0]
    await flows.receive(stage, federation, await federation.new_user(0), AMOUNT_MSAT)


async def swaps(stage: RealStage) -> None:
    """A user pays one of another federation."""
    first, second = stage.federations[:2]
    sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
    await flows.swap(stage, (first, sender), (second, receiver), AMOUNT_MSAT)


@pytest.mark.parametrize(
    ("flow", "point"),
    [
        (receives, "after receive.registered"),
        (receives, "result CreateInvoice"),
        (receives, "before receive.funding"),
        (receives, "result DecryptPreimage"),
        (receives, "after receive.succeeded"),
        (receives, "result SettleHtlcs"),
        (swaps, "before send.swapping"),
        (swaps, "after send.swapping"),
        (swaps, "before receive.succeeded"),
        (swaps, "after send.claiming"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
async def test_a_killed_gateway_goes_on(flow: Flow, point: str, stages: RealStages) -> None:
    async with stages.stage() as stage:
        await served(stage, *stage.federations[:2])
        await stage.gateway.kill()
        await stage.gateway.start(crash_at=point)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flow, stage)
            await stage.gateway.died()
            await stage.gateway.start()
        await books.check(stage)
