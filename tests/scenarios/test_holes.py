"""The holes of the Rust gateway that cost money, each played with the whole gateway to the books.

They are those of its lnv2 and LND parts: fedimint-gateway-server src/lib.rs and events.rs, fedimint-gwv2-client
src/send_sm.rs, src/receive_sm.rs and src/complete_sm.rs, fedimint-lightning src/lnd.rs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import anyio
import pytest

from backends.lightning import HeldPayment, PaymentStatus, Tell
from backends.simulated.network import Outcome
from backends.simulated.node import Fault, InvoiceState
from backends.simulated.routes import Order
from devnet.guardians.faults import garbage, wrong_shares
from devnet.processes import until
from engine.chain import Row
from errors import UnavailableError
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import Paid
from gateway.held_payments import PAUSE_FIRST_S, PAUSE_LONGEST_S
from gateway.pinned_node import PinnedNode
from statemachines import send
from statemachines.deposit import DepositClaimRejected
from statemachines.receive import ReceiveFunded, ReceiveFunding
from tests.scenarios import books, flows
from tests.scenarios.calls import DEADLINE_S, Calls, patiently
from tests.scenarios.mishaps import (
    Mishap,
    a_contract_holds_no_preimage,
    lose_a_tiny_contract,
    refusing,
)
from tests.scenarios.scenarios import AMOUNT_MSAT, DEPOSIT_SAT, USER_MSAT, served
from tests.scenarios.simulated import SimulatedStage, play
from tests.scenarios.treasury_mishaps import is_deposit, pay_in

#: Longer than anybody keeps asking; shorter than an invoice lives.
LONG_S = 1_200.0
#: What a payment takes whose every peer answers at once.
VIRTUAL_MOMENT_S = 5.0


def played(scenario: Mishap, directory: Path) -> None:
    """On a fresh stage whose gateway runs."""

    async def from_the_start(stage: SimulatedStage) -> None:
        await stage.gateway.start()
        await scenario(stage)

    play(directory, from_the_start)


def _rows(stage: SimulatedStage, kind: str) -> list[Row]:
    return [row for row in stage.gateway.rows() if row.kind == kind]


async def _reached(stage: SimulatedStage, kind: str) -> None:
    async def is_there() -> bool:
        return bool(_rows(stage, kind))

    await until(f"{kind} is in the log", is_there, deadline_s=DEADLINE_S)


# --- paying ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TAKEN, Fault.CUT, Fault.DELAYED])
def test_a_connection_error_to_the_node_inside_pay_never_forfeits(
    fault: Fault, tmp_path: Path
) -> None:
    """Whether the call reached the node or not: the payment ends paid, once."""

    async def scenario(stage: SimulatedStage) -> None:
        federation, node = stage.federations[0], stage.world.gateway_node
        await served(stage, federation)
        user = await federation.new_user(USER_MSAT)
        node.script(fault)
        await flows.send(stage, federation, user, await stage.other_node.invoice(AMOUNT_MSAT))
        node.deliver_delayed()
        assert _rows(stage, send.SendCancelling.kind) == []
        await books.check(stage)

    played(scenario, tmp_path)


def test_a_node_that_is_away_for_long_inside_pay_never_forfeits(tmp_path: Path) -> None:
    """Upstream tries to connect ten times, and then the payment has failed."""

    async def scenario(stage: SimulatedStage) -> None:
        await _pay_through(stage, "effect PayInvoice", stage.stop_node, stage.start_node)

    played(scenario, tmp_path)


def test_a_federation_that_is_away_after_a_restart_never_forfeits(tmp_path: Path) -> None:
    """Upstream validates anew, and cancels when it cannot fetch the block count."""

    async def scenario(stage: SimulatedStage) -> None:
        federation = stage.federations[0]
        await _pay_through(
            stage,
            "after send.accepted",
            lambda: federation.stop_guardian(0),
            lambda: federation.start_guardian(0),
        )

    played(scenario, tmp_path)


def test_fees_that_were_raised_after_a_payment_was_accepted_never_forfeit(tmp_path: Path) -> None:
    async def scenario(stage: SimulatedStage) -> None:
        async def raise_fees() -> None:
            await Calls(stage.gateway).set_transaction_fee(stage.federations[0], 4_000)
            await stage.start_node()

        await _pay_through(stage, "after send.accepted", stage.stop_node, raise_fees)

    played(scenario, tmp_path)


async def _pay_through(
    stage: SimulatedStage,
    point: str,
    before: Callable[[], Awaitable[None]],
    after: Callable[[], Awaitable[None]],
) -> None:
    """A payment whose gateway dies at the point, and comes back to a world that changed, for long."""
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    routing = await Calls(stage.gateway).routing_info(federation)
    payment = await user.fund(await stage.other_node.invoice(AMOUNT_MSAT), routing)
    await stage.gateway.kill()
    await stage.gateway.start(crash_at=point)
    with pytest.raises(UnavailableError):
        await Calls(stage.gateway).send(user.body(payment))
    await stage.gateway.died()
    await before()
    await stage.gateway.start(node_is_down=True)
    await anyio.sleep(LONG_S)
    assert _rows(stage, send.SendCancelling.kind) == []
    await after()
    answer = await patiently(lambda: Calls(stage.gateway).send(user.body(payment)))
    assert isinstance(answer, Paid)
    await user.settle(payment, answer)
    await books.check(stage)


# --- being paid --------------------------------------------------------------------------------------------------


def test_funding_and_completion_are_one_append(tmp_path: Path) -> None:
    """So that no crash leaves a funded contract without its completion, for HTLCs and for swaps."""

    async def scenario(stage: SimulatedStage) -> None:
        first, second = stage.federations[:2]
        await served(stage, first, second)
        await flows.receive(stage, first, await first.new_user(0), AMOUNT_MSAT)
        sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
        await flows.swap(stage, (first, sender), (second, receiver), AMOUNT_MSAT)
        fundings = _rows(stage, ReceiveFunding.kind)
        assert len(fundings) == 2
        for funding in fundings:
            beside = [row.kind for row in stage.gateway.rows() if row.append == funding.append]
            assert {"completion.begun", "wallet.reserved", "tx.reserved"} <= set(beside)
        await books.check(stage)

    played(scenario, tmp_path)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TAKEN])
def test_an_answer_to_htlcs_that_was_lost_is_given_again(fault: Fault, tmp_path: Path) -> None:
    """Upstream takes an answer for given once it is queued."""

    async def scenario(stage: SimulatedStage) -> None:
        federation, node = stage.federations[0], stage.world.gateway_node
        await served(stage, federation)
        node.script(fault, fault, call="settle")
        await flows.receive(stage, federation, await federation.new_user(0), AMOUNT_MSAT)
        node.script(fault, fault, call="cancel")
        await a_contract_holds_no_preimage(stage)

    played(scenario, tmp_path)


def test_htlcs_that_are_shown_again_are_funded_once(tmp_path: Path) -> None:
    async def scenario(stage: SimulatedStage) -> None:
        federation, node = stage.federations[0], stage.world.gateway_node
        await served(stage, federation)
        user = await federation.new_user(0)
        faults = federation.embedded.faults(0)
        async with anyio.create_task_group() as tasks:
            faults.lie = wrong_shares
            tasks.start_soon(flows.receive, stage, federation, user, AMOUNT_MSAT)
            await _reached(stage, ReceiveFunding.kind)
            node.repeat_held()
            node.cut_streams()
            await anyio.sleep(LONG_S / 100)
            await stage.gateway.kill()
            await stage.gateway.start()
            node.repeat_held()
            faults.lie = None
        assert len(_rows(stage, ReceiveFunding.kind)) == 1
        await books.check(stage)

    played(scenario, tmp_path)


def test_shares_that_do_not_verify_never_cancel_an_htlc(tmp_path: Path) -> None:
    """The only guardian sends nonsense for long: the receiver may still decrypt, so the payer's HTLC stays."""

    async def scenario(stage: SimulatedStage) -> None:
        federation, node = stage.federations[0], stage.world.gateway_node
        await served(stage, federation)
        user = await federation.new_user(0)
        payment, invoice = await flows.ordered(stage, federation, user, AMOUNT_MSAT)
        faults = federation.embedded.faults(0)
        async with anyio.create_task_group() as tasks:
            faults.lie = wrong_shares
            tasks.start_soon(_paid, stage, invoice, payment.preimage)
            await _reached(stage, ReceiveFunded.kind)
            await anyio.sleep(LONG_S)
            payment_hash = bolt11.decode(invoice).payment_hash
            assert node.invoice_state(payment_hash) is InvoiceState.ACCEPTED
            faults.lie = None
        await flows.claim(user, payment)
        await books.check(stage)

    played(scenario, tmp_path)


def test_a_guardian_whose_shares_do_not_verify_is_done_without(tmp_path: Path) -> None:
    async def scenario(stage: SimulatedStage) -> None:
        federation = stage.federations[2]
        await served(stage, federation)
        federation.embedded.faults(0).lie = wrong_shares
        await flows.receive(stage, federation, await federation.new_user(0), AMOUNT_MSAT)
        federation.embedded.faults(0).lie = None
        await books.check(stage)

    played(scenario, tmp_path)


@pytest.mark.parametrize(
    ("held_msat", "state"),
    [
        (AMOUNT_MSAT + 1, InvoiceState.SETTLED),
        (2 * AMOUNT_MSAT, InvoiceState.SETTLED),
        (2 * AMOUNT_MSAT + 1, InvoiceState.CANCELED),
    ],
)
def test_a_payer_may_give_up_to_twice_the_amount_and_the_rest_is_booked(
    tmp_path: Path, held_msat: int, state: InvoiceState
) -> None:
    """Payers do so on purpose, to hide the amount from nodes on the way (BOLT 4)."""

    async def scenario(stage: SimulatedStage) -> None:
        federation, world = stage.federations[0], stage.world
        await served(stage, federation)
        user = await federation.new_user(0)
        payment, invoice = await flows.ordered(stage, federation, user, AMOUNT_MSAT)
        fields = bolt11.decode(invoice)
        ends: list[Outcome] = []
        order = Order(
            payer=world.payee.name,
            payee=world.gateway_node.name,
            payment_hash=fields.payment_hash,
            amount_msat=held_msat,
            final_delay_blocks=fields.min_final_cltv_delta_blocks,
            max_fee_msat=AMOUNT_MSAT,
            max_delay_blocks=1_000,
        )
        world.network.send(order, ends.append)

        async def has_ended() -> bool:
            return bool(ends)

        await until("the payment has ended", has_ended, deadline_s=DEADLINE_S)
        assert world.gateway_node.invoice_state(fields.payment_hash) is state
        if state is InvoiceState.SETTLED:
            await flows.claim(user, payment)
            await patiently(Calls(stage.gateway).settled)
        await books.check(stage)

    played(scenario, tmp_path)


def test_a_refund_worth_less_than_its_fees_ends_its_own_machine_and_nothing_else(
    tmp_path: Path,
) -> None:
    """Upstream raises inside the executor, and all machines of the federation die at each restart."""

    async def scenario(stage: SimulatedStage) -> None:
        federation = stage.federations[0]
        await served(stage, federation)
        user = await federation.new_user(USER_MSAT)
        async with anyio.create_task_group() as tasks:
            held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
            await lose_a_tiny_contract(stage, federation)
            await stage.gateway.kill()
            await stage.gateway.start()
            payment, invoice = await flows.ordered(stage, federation, user, AMOUNT_MSAT)
            await _paid(stage, invoice, payment.preimage)
            await flows.claim(user, payment)
            await held.settle()
        await books.check(stage)

    played(scenario, tmp_path)


# --- swaps and several federations -------------------------------------------------------------------------------


def test_a_swap_whose_receiver_is_away_is_not_cancelled(tmp_path: Path) -> None:
    """Upstream cancels the outer contract when the inner federation is not loaded."""

    async def scenario(stage: SimulatedStage) -> None:
        first, second = stage.federations[:2]
        await served(stage, first, second)
        sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
        await stage.gateway.kill()
        await stage.gateway.start(crash_at="after receive.funding_signed")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flows.swap, stage, (first, sender), (second, receiver), AMOUNT_MSAT)
            await stage.gateway.died()
            await second.stop_guardian(0)
            await stage.gateway.start()
            await anyio.sleep(DEADLINE_S / 2)
            assert _rows(stage, send.SendCancelling.kind) == []
            await second.start_guardian(0)
        await books.check(stage)

    played(scenario, tmp_path)


def test_a_dead_federation_delays_no_other_and_not_the_api(tmp_path: Path) -> None:
    """Its guardian takes calls and answers none."""

    async def scenario(stage: SimulatedStage) -> None:
        first, second = stage.federations[:2]
        await served(stage, first, second)
        stuck, user = await second.new_user(USER_MSAT), await first.new_user(USER_MSAT)
        is_back = anyio.Event()

        async def pause(_method: str) -> None:
            await is_back.wait()

        async with anyio.create_task_group() as tasks:
            held = await flows.send_held(stage, second, stuck, tasks, AMOUNT_MSAT)
            second.embedded.faults(0).pause = pause
            await held.settle()
            began_s = anyio.current_time()
            routing = await Calls(stage.gateway).routing_info(first)
            payment = await user.fund(await stage.other_node.invoice(AMOUNT_MSAT), routing)
            answer = await Calls(stage.gateway).send(user.body(payment))
            assert isinstance(answer, Paid)
            await Calls(stage.gateway).open_payments()
            assert anyio.current_time() - began_s < VIRTUAL_MOMENT_S
            second.embedded.faults(0).pause = None
            is_back.set()
        await books.check(stage)

    played(scenario, tmp_path)


# --- trouble that stays where it is ------------------------------------------------------------------------------


def test_an_error_that_nobody_foresaw_stays_with_its_payment(tmp_path: Path) -> None:
    """A handler that raises what it should not, again and again, and a guardian that sends nonsense."""

    async def scenario(stage: SimulatedStage) -> None:
        federation, node = stage.federations[2], stage.world.gateway_node
        await served(stage, federation)
        user, other = await federation.new_user(USER_MSAT), await federation.new_user(0)
        federation.embedded.faults(0).lie = garbage
        looked_up = node.lookup
        bad = await stage.other_node.invoice(AMOUNT_MSAT)

        async def lookup(payment_hash: bytes) -> PaymentStatus:
            if payment_hash == bolt11.decode(bad).payment_hash:
                raise ZeroDivisionError
            return await looked_up(payment_hash)

        async with anyio.create_task_group() as tasks:
            with patch.object(node, "lookup", lookup):
                tasks.start_soon(flows.send, stage, federation, user, bad)
                await _reached(stage, send.SendAccepted.kind)
                payment, invoice = await flows.ordered(stage, federation, other, AMOUNT_MSAT)
                await _paid(stage, invoice, payment.preimage)
                await flows.claim(other, payment)
                assert _rows(stage, send.SendDispatching.kind) == []
        federation.embedded.faults(0).lie = None
        await books.check(stage)

    played(scenario, tmp_path)


def test_a_federation_that_refuses_a_claim_again_and_again_does_not_fill_the_log(
    tmp_path: Path,
) -> None:
    """It is claimed once in each pause, and goes on when that helps."""

    async def scenario(stage: SimulatedStage) -> None:
        federation = stage.federations[0]
        calls = await served(stage, federation)
        address = await calls.deposit_address(federation)
        with refusing(federation, is_deposit):
            await pay_in(stage, address, DEPOSIT_SAT)
            await anyio.sleep(DEADLINE_S)
            assert 2 < len(_rows(stage, DepositClaimRejected.kind)) <= DEADLINE_S
        await books.check(stage)

    played(scenario, tmp_path)


def test_the_watch_of_htlcs_is_opened_again_ever_more_slowly(tmp_path: Path) -> None:
    async def scenario(stage: SimulatedStage) -> None:
        federation, node = stage.federations[0], stage.world.gateway_node
        await served(stage, federation)
        opened_s: list[float] = []
        watch = PinnedNode.held_payments

        @asynccontextmanager
        async def held_payments(
            pinned: PinnedNode, own: Iterable[bytes], tell: Tell
        ) -> AsyncIterator[AsyncIterator[HeldPayment]]:
            opened_s.append(anyio.current_time())
            async with watch(pinned, own, tell) as payments:
                yield payments

        with patch.object(PinnedNode, "held_payments", held_payments):
            node.is_down = True
            await anyio.sleep(LONG_S)
            node.is_down = False
        pauses_s = [later - earlier for earlier, later in pairwise(opened_s)]
        assert pauses_s == sorted(pauses_s)
        assert (pauses_s[0], pauses_s[-1]) == (2 * PAUSE_FIRST_S, PAUSE_LONGEST_S)
        node.script(Fault.CUT, Fault.LOST, Fault.CUT, call="held_payments")
        await flows.receive(stage, federation, await federation.new_user(0), AMOUNT_MSAT)
        await books.check(stage)

    played(scenario, tmp_path)


async def _paid(stage: SimulatedStage, invoice: str, preimage: bytes) -> None:
    assert await stage.other_node.pay(invoice) == preimage
