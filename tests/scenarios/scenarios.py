"""Scenarios for any stage. Each ends with the books."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.scenarios import books, flows
from tests.scenarios.calls import Calls, RefusedError, patiently
from tests.scenarios.stage import Stage, StagedFederation

Scenario = Callable[[Stage], Awaitable[None]]

AMOUNT_MSAT = 1_234_567
USER_MSAT = 10_000_000
#: What the gateway is given to pay receivers with.
FLOAT_MSAT = 20_000_000
DEPOSIT_SAT = 100_000
WITHDRAWAL_SAT = 20_000
_CONFLICT = 409


async def served(stage: Stage, *federations: StagedFederation) -> Calls:
    """The gateway serves these federations and has enough ecash in each to pay receivers."""
    calls = Calls(stage.gateway)
    for federation in federations:
        await calls.join(federation)
        if await _held_msat(calls, federation) < FLOAT_MSAT // 2:
            await flows.hand_in(stage, federation, FLOAT_MSAT)
    return calls


async def _held_msat(calls: Calls, federation: StagedFederation) -> int:
    return await patiently(lambda: calls.balance_msat(federation))


# --- payments ----------------------------------------------------------------------------------------------------


async def a_user_pays(stage: Stage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    await flows.send(stage, federation, user, await stage.other_node.invoice(AMOUNT_MSAT))
    await books.check(stage)


async def a_user_is_paid(stage: Stage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    await flows.receive(stage, federation, await federation.new_user(0), AMOUNT_MSAT)
    await books.check(stage)


async def a_user_of_one_federation_pays_one_of_another(stage: Stage) -> None:
    """The node knows nothing of it."""
    first, second = stage.federations[:2]
    await served(stage, first, second)
    sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
    gain_msat = await stage.node_gain_msat()
    await flows.swap(stage, (first, sender), (second, receiver), AMOUNT_MSAT)
    assert await stage.node_gain_msat() == gain_msat
    await books.check(stage)


async def one_of_four_guardians_is_down(stage: Stage) -> None:
    federation = stage.federations[2]
    await federation.stop_guardian(3)
    try:
        await served(stage, federation)
        user = await federation.new_user(USER_MSAT)
        await flows.send(stage, federation, user, await stage.other_node.invoice(AMOUNT_MSAT))
        await flows.receive(stage, federation, user, AMOUNT_MSAT)
        await flows.give(stage, federation, AMOUNT_MSAT)
        await books.check(stage)
    finally:
        await federation.start_guardian(3)


# --- the gateway's own money -------------------------------------------------------------------------------------


async def coins_become_ecash_and_coins_again(stage: Stage) -> None:
    """Some of it first, then all there is, which leaves less than a withdrawal costs."""
    federation = stage.federations[0]
    calls = await served(stage, federation)
    before_msat = await _held_msat(calls, federation)
    address = await patiently(lambda: calls.deposit_address(federation))
    await flows.deposit(stage, federation, address, DEPOSIT_SAT)
    assert await patiently(lambda: calls.deposit_address(federation)) != address
    gained_msat = await _held_msat(calls, federation) - before_msat
    assert DEPOSIT_SAT * 1_000 * 99 // 100 < gained_msat < DEPOSIT_SAT * 1_000
    paid_to = await flows.withdraw(stage, federation, WITHDRAWAL_SAT)
    assert await stage.chain.received_sat(paid_to) == WITHDRAWAL_SAT
    left_msat = await _held_msat(calls, federation)
    paid_to = await flows.withdraw(stage, federation, None)
    received_msat = await stage.chain.received_sat(paid_to) * 1_000
    assert left_msat * 95 // 100 < received_msat < left_msat
    with pytest.raises(RefusedError):
        await patiently(lambda: calls.withdraw(federation, paid_to, WITHDRAWAL_SAT))
    await books.check(stage)


async def ecash_comes_in_and_goes_out(stage: Stage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    await flows.hand_in(stage, federation, AMOUNT_MSAT)
    await flows.give(stage, federation, AMOUNT_MSAT)
    await books.check(stage)


async def nothing_is_left_behind_by_leaving(stage: Stage) -> None:
    """A federation is not left while a payment of it is under way, and its ecash is there on the return."""
    federation = stage.federations[0]
    calls = await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
        with pytest.raises(RefusedError) as refusal:
            await calls.leave(federation)
        assert refusal.value.status == _CONFLICT
        await held.settle()
    await patiently(calls.settled)
    balance_msat = await _held_msat(calls, federation)
    await calls.leave(federation)
    with pytest.raises(RefusedError):
        await patiently(lambda: calls.routing_info(federation))
    await calls.join(federation)
    assert await _held_msat(calls, federation) == balance_msat
    await flows.send(stage, federation, user, await stage.other_node.invoice(AMOUNT_MSAT))
    await books.check(stage)


async def the_words_bring_the_ecash_back(stage: Stage) -> None:
    """Into an empty directory, after the old one is lost; nothing may go on with the old one afterwards."""
    federation = stage.federations[0]
    calls = await served(stage, federation)
    await flows.give(stage, federation, AMOUNT_MSAT)
    await books.check(stage)
    balance_msat = await _held_msat(calls, federation) + books.unclaimed_msat(stage, federation)
    await stage.gateway.kill()
    await stage.gateway.start_over()
    stage.witness.begin_anew()
    await stage.gateway.start()
    await calls.join(federation, recover=True)
    assert await _held_msat(calls, federation) == balance_msat
    user = await federation.new_user(USER_MSAT)
    await flows.send(stage, federation, user, await stage.other_node.invoice(AMOUNT_MSAT))
    await flows.receive(stage, federation, user, AMOUNT_MSAT)
    await books.check(stage)


SCENARIOS: tuple[Scenario, ...] = (
    a_user_pays,
    a_user_is_paid,
    a_user_of_one_federation_pays_one_of_another,
    one_of_four_guardians_is_down,
    coins_become_ecash_and_coins_again,
    ecash_comes_in_and_goes_out,
    nothing_is_left_behind_by_leaving,
    the_words_bring_the_ecash_back,
)
