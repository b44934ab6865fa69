"""A Lightning node or guardian stops and returns during a payment. Each ends with the books.

Where its world has to change at a certain moment, the gateway dies then, and finds it changed when it is back.
"""

import anyio

from tests.scenarios import books, flows
from tests.scenarios.scenarios import AMOUNT_MSAT, USER_MSAT, Scenario, served
from tests.scenarios.stage import Stage


async def the_node_restarts_while_a_payment_is_held(stage: Stage) -> None:
    """Its payee settles while our node is away."""
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
        await stage.stop_node()
        await stage.start_node()
        await held.settle()
    await books.check(stage)


async def the_node_restarts_while_a_receiver_is_funded(stage: Stage) -> None:
    """The gateway comes back before its node: it buys the preimage, and settles once the node is there."""
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(0)
    await stage.gateway.kill()
    await stage.gateway.start(crash_at="after receive.funding_signed")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flows.receive, stage, federation, user, AMOUNT_MSAT)
        await stage.gateway.died()
        await stage.stop_node()
        await stage.gateway.start(node_is_down=True)
        await stage.start_node()
    await books.check(stage)


async def a_guardian_restarts_while_a_payment_is_held(stage: Stage) -> None:
    """It is paid while the federation is away: the sender has the preimage, the claim waits."""
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
        await federation.stop_guardian(0)
        await held.settle()
        await federation.start_guardian(0)
    await books.check(stage)


async def a_guardian_restarts_while_a_receiver_is_funded(stage: Stage) -> None:
    """The funding transaction is signed and waits for the federation."""
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(0)
    await stage.gateway.kill()
    await stage.gateway.start(crash_at="effect SubmitTransaction")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flows.receive, stage, federation, user, AMOUNT_MSAT)
        await stage.gateway.died()
        await federation.stop_guardian(0)
        await stage.gateway.start()
        await federation.start_guardian(0)
    await books.check(stage)


INTERRUPTIONS: tuple[Scenario, ...] = (
    the_node_restarts_while_a_payment_is_held,
    the_node_restarts_while_a_receiver_is_funded,
    a_guardian_restarts_while_a_payment_is_held,
    a_guardian_restarts_while_a_receiver_is_funded,
)
