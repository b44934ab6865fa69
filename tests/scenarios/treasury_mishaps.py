"""Failures of the gateway's own money and of the operator's orders, on the simulated stage."""

import contextlib
from collections.abc import Awaitable, Callable

import anyio
import pytest

from backends.operations import ChannelOrder, OnchainOrder
from backends.simulated.channels import FUNDING_CONFIRMATIONS
from backends.simulated.node import Fault
from devnet.processes import until
from engine.chain import Row
from errors import UnavailableError
from fedimint import walletv2
from fedimint.mintv2 import Ecash
from statemachines.deposit import DepositClaimRejected
from statemachines.node_order import OpenChannel, Ordered, SendCoins
from tests.scenarios import books, flows
from tests.scenarios.calls import DEADLINE_S, Calls, RefusedError, patiently
from tests.scenarios.mishaps import Mishap, refusing
from tests.scenarios.scenarios import AMOUNT_MSAT, DEPOSIT_SAT, WITHDRAWAL_SAT, served
from tests.scenarios.simulated import SimulatedStage

#: Less than claiming it costs.
DUST_SAT = 250
NODE_COINS_SAT = 1_000_000
ORDER_SAT = 50_000
#: The least of ecash: after a few of them the gateway has no note so small.
LEAST_MSAT = 512
GIFTS = 12
#: Within this a trace is found that is there.
TRACE_S = 60.0
#: More than a call may be on its way to the node.
ASTRAY_S = 3_700.0


def is_withdrawal(item: object) -> bool:
    return isinstance(item, walletv2.WalletOutput)


def is_deposit(item: object) -> bool:
    return isinstance(item, walletv2.WalletInput)


# --- bitcoin -----------------------------------------------------------------------------------------------------


#: Of the other node's invoices.
_INVOICE_EXPIRY_S = 3_600


async def a_deposit_is_not_worth_its_fees(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    calls = await served(stage, federation)
    address = await patiently(lambda: calls.deposit_address(federation))
    await pay_in(stage, address, DUST_SAT)
    stage.witness.lost_msat += 1_000 * DUST_SAT
    await flows.deposit(
        stage, federation, await patiently(lambda: calls.deposit_address(federation)), DEPOSIT_SAT
    )
    await books.check(stage)


async def a_withdrawal_is_refused(stage: SimulatedStage) -> None:
    """By the federation; its notes are the gateway's again."""
    federation = stage.federations[0]
    calls = await served(stage, federation)
    await flows.hand_in(stage, federation, 2_000 * WITHDRAWAL_SAT)
    address = await stage.chain.new_address()
    with refusing(federation, is_withdrawal):
        with pytest.raises((RefusedError, UnavailableError)):
            await calls.withdraw(federation, address, WITHDRAWAL_SAT)
        await patiently(calls.settled)
    await books.check(stage)


async def more_is_withdrawn_than_there_is(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    calls = await served(stage, federation)
    held_sat = await patiently(lambda: calls.balance_msat(federation)) // 1_000
    address = await stage.chain.new_address()
    with pytest.raises(RefusedError):
        await patiently(lambda: calls.withdraw(federation, address, held_sat))
    await books.check(stage)


async def the_claim_of_a_deposit_is_refused_at_first(stage: SimulatedStage) -> None:
    """It is claimed again, at the fee of then."""
    federation = stage.federations[0]
    calls = await served(stage, federation)
    before_msat = await patiently(lambda: calls.balance_msat(federation))
    rejected = len(_of_kind(stage, DepositClaimRejected.kind))
    with refusing(federation, is_deposit):
        address = await patiently(lambda: calls.deposit_address(federation))
        await pay_in(stage, address, DEPOSIT_SAT)

        async def is_rejected() -> bool:
            return len(_of_kind(stage, DepositClaimRejected.kind)) > rejected

        await until("the claim is rejected", is_rejected, deadline_s=DEADLINE_S)
    await patiently(calls.settled)
    assert await patiently(lambda: calls.balance_msat(federation)) > before_msat
    await books.check(stage)


def _of_kind(stage: SimulatedStage, kind: str) -> list[Row]:
    return [row for row in stage.gateway.rows() if row.kind == kind]


async def pay_in(stage: SimulatedStage, address: str, value_sat: int) -> None:
    """Coins of somebody's to an address of the gateway's, buried as deep as the federation wants."""
    await stage.chain.pay(address, value_sat)
    stage.witness.paid_in_sat += value_sat
    await stage.chain.mine(flows.BURIED_BLOCKS)


# --- ecash -------------------------------------------------------------------------------------------------------


async def more_ecash_is_asked_for_than_there_is(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    calls = await served(stage, federation)
    held_msat = await patiently(lambda: calls.balance_msat(federation))
    with pytest.raises(RefusedError):
        await patiently(lambda: calls.spend_ecash(federation, 2 * held_msat))
    await books.check(stage)


async def ecash_that_no_notes_fit_is_made_first(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    for _ in range(GIFTS):
        await flows.give(stage, federation, LEAST_MSAT)
    await books.check(stage)


async def ecash_is_spent_already(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    calls = await served(stage, federation)
    text = await federation.ecash(AMOUNT_MSAT)
    user = await federation.new_user(0)
    await user.wallet.receive(Ecash.parse(text))
    with pytest.raises(RefusedError):
        await patiently(lambda: calls.receive_ecash(text))
    await books.check(stage)


# --- the operator ------------------------------------------------------------------------------------------------


async def the_operator_pays_invoices(stage: SimulatedStage) -> None:
    """One whose payee nobody reaches at first."""
    federation = stage.federations[0]
    calls = await served(stage, federation)
    network, payee = stage.world.network, stage.world.payee
    invoice = await stage.other_node.invoice(AMOUNT_MSAT)
    network.unreachable.add(payee.name)
    # One whose gateway died before it called the node has no end until its invoice has expired.
    with pytest.raises((RefusedError, TimeoutError)):
        await calls.pay(invoice)
    network.unreachable.discard(payee.name)
    while not await _is_paid(calls, invoice):
        await anyio.sleep(2 * _INVOICE_EXPIRY_S)
        invoice = await stage.other_node.invoice(AMOUNT_MSAT)
    await books.check(stage)


async def _is_paid(calls: Calls, invoice: str) -> bool:
    try:
        await calls.pay(invoice)
    except (RefusedError, TimeoutError):
        return False
    return True


async def the_operator_sends_coins_and_opens_a_channel(stage: SimulatedStage) -> None:
    """An operator who hears nothing of an order looks at the node, and does it by hand."""
    calls = await served(stage, stage.federations[0])
    node = stage.world.gateway_node
    node.fund_onchain(NODE_COINS_SAT)
    await stage.chain.mine(1)
    address = await stage.chain.new_address()
    peer = stage.world.payee.public_key.hex()
    await _ordered(stage, lambda: calls.send_onchain(address, ORDER_SAT))
    await _ordered(stage, lambda: calls.open_channel(peer, "payee.invalid:9735", ORDER_SAT))
    node.script(Fault.REFUSED, call="send_onchain")
    with pytest.raises((RefusedError, UnavailableError)):
        await calls.send_onchain(address, ORDER_SAT)
    await stage.chain.mine(FUNDING_CONFIRMATIONS)
    stage.gateway.node_msat_at_first += 1_000 * ORDER_SAT  # coins of the node's wallet
    await books.check(stage)


def _by_hand(order: OpenChannel) -> ChannelOrder:
    return ChannelOrder(
        public_key=order.public_key,
        host=order.host,
        capacity_sat=order.capacity_sat,
        push_sat=order.push_sat,
        sat_per_vbyte=order.sat_per_vbyte,
        base_fee_msat=order.base_fee_msat,
        parts_per_million=order.parts_per_million,
    )


async def _ordered(stage: SimulatedStage, order: Callable[[], Awaitable[str]]) -> None:
    """Order it; without an answer wait for its trace, and without one do it by hand, under the order's label."""
    with contextlib.suppress(UnavailableError):
        await order()
        return
    node, engine = stage.world.gateway_node, stage.gateway.gateway.engine
    await anyio.sleep(TRACE_S)
    for state in engine.open_streams().values():
        if isinstance(state, Ordered):
            match state.order:
                case SendCoins(address, amount_sat, rate):
                    await node.send_onchain(OnchainOrder(address, amount_sat, rate, state.id))
                case OpenChannel() as channel:
                    await node.open_channel(_by_hand(channel))


async def the_operator_dismisses_an_order(stage: SimulatedStage) -> None:
    """Its call never reached the node, which shows no trace of it an hour later."""
    calls = await served(stage, stage.federations[0])
    node = stage.world.gateway_node
    node.fund_onchain(NODE_COINS_SAT)
    await stage.chain.mine(1)
    address = await stage.chain.new_address()
    node.script(Fault.LOST, call="send_onchain")

    async def order() -> None:
        with contextlib.suppress(RefusedError, UnavailableError):
            await calls.send_onchain(address, ORDER_SAT)

    async def is_dismissed() -> bool:
        orders = await patiently(calls.open_payments)
        for stream in orders:
            with contextlib.suppress(RefusedError, UnavailableError):
                await calls.dismiss(stream)
        return not orders

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(order)
        await anyio.sleep(ASTRAY_S)
        node.forgive()  # a gateway that died before its call does not make it any more
        await until("the order is dismissed", is_dismissed, deadline_s=DEADLINE_S)
    assert await stage.chain.received_sat(address) == 0
    await books.check(stage)


MISHAPS: tuple[Mishap, ...] = (
    a_deposit_is_not_worth_its_fees,
    the_claim_of_a_deposit_is_refused_at_first,
    a_withdrawal_is_refused,
    more_is_withdrawn_than_there_is,
    more_ecash_is_asked_for_than_there_is,
    ecash_that_no_notes_fit_is_made_first,
    ecash_is_spent_already,
    the_operator_pays_invoices,
    the_operator_sends_coins_and_opens_a_channel,
    the_operator_dismisses_an_order,
)
