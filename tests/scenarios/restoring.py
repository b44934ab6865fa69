"""A gateway continues from a backup: nothing is paid twice, no user loses, and its ecash is found."""

from collections import Counter
from functools import partial

import anyio

from devnet.processes import until
from statemachines import accounts
from tests.scenarios import books, flows
from tests.scenarios.calls import DEADLINE_S, Calls, patiently
from tests.scenarios.scenarios import AMOUNT_MSAT, FLOAT_MSAT, USER_MSAT, served
from tests.scenarios.stage import Stage, StagedFederation


async def a_lost_log_goes_on_from_its_backup(stage: Stage) -> None:
    """Everything that can happen after a backup, also what is under way when the disk is lost."""
    first, second = stage.federations[:2]
    await served(stage, first, second)
    sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
    late = await first.new_user(0)
    order, paid_after = await flows.ordered(stage, first, late, AMOUNT_MSAT)
    lost_order, paid_before = await flows.ordered(stage, second, receiver, AMOUNT_MSAT)
    swapped_order, swapped = await flows.ordered(stage, second, receiver, AMOUNT_MSAT)
    await stage.gateway.back_up()

    # What the backup has never heard of, or not to the end.
    gained_msat = await stage.node_gain_msat()
    await flows.send(stage, first, sender, await stage.other_node.invoice(AMOUNT_MSAT))
    unknown_msat = await stage.node_gain_msat() - gained_msat
    assert await stage.other_node.pay(paid_before) == lost_order.preimage
    await flows.claim(receiver, lost_order)
    await flows.send(stage, first, sender, swapped)
    await flows.claim(receiver, swapped_order)
    await flows.hand_in(stage, second, FLOAT_MSAT)
    balances_msat = await _balances_msat(stage, first, second)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, first, sender, tasks, AMOUNT_MSAT)
        await stage.gateway.kill()
        await stage.gateway.restore()
        restored_unix_s = stage.now_unix_s()
        await stage.gateway.start()
        await _thawed(stage)
        assert await _balances_msat(stage, first, second) == balances_msat
        await held.settle()
    # An invoice that the backup knows is paid as if nothing had happened.
    assert await stage.other_node.pay(paid_after) == order.preimage
    await flows.claim(late, order)
    # And so is one that is younger than the restore, by the seconds that an invoice counts.
    await until("invoices are younger", lambda: _is_over(stage, restored_unix_s), deadline_s=10)
    await flows.send(stage, first, sender, await stage.other_node.invoice(AMOUNT_MSAT))
    await _check_books(stage, unknown_msat)


async def _balances_msat(stage: Stage, *federations: StagedFederation) -> list[int]:
    calls = Calls(stage.gateway)
    return [await patiently(partial(calls.balance_msat, one)) for one in federations]


async def _is_over(stage: Stage, unix_s: int) -> bool:
    return stage.now_unix_s() > unix_s


async def _thawed(stage: Stage) -> None:
    """Nothing new is begun before."""

    async def is_reconciled() -> bool:
        return any(row.kind == "gateway.reconciled" for row in stage.gateway.rows())

    await until("node and federations were asked", is_reconciled, deadline_s=DEADLINE_S)


async def _check_books(stage: Stage, unknown_msat: int) -> None:
    """Of what only the lost events knew, the node's payment is the one thing that the books cannot show."""
    assert unknown_msat < 0
    report = await books.at_rest(stage)
    booked = Counter(report.balances)
    assert not booked[accounts.LOST]
    assert booked[accounts.NODE] + unknown_msat == await stage.node_gain_msat()
    for federation in stage.federations:
        await books.agrees(stage, federation, report)
