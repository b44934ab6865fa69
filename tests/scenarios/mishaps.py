"""Failing payments of users on the simulated stage. Each ends with the books."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest

from backends.simulated.node import Fault
from devnet.users.receiving import Flaw, IncomingOrder
from errors import UnavailableError
from fedimint import lnv2
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import Paid
from statemachines.receive import FORGET_AFTER_EXPIRY_S
from tests.scenarios import books, flows
from tests.scenarios.calls import Calls, RefusedError, patiently
from tests.scenarios.scenarios import AMOUNT_MSAT, FLOAT_MSAT, USER_MSAT, served
from tests.scenarios.simulated import SimulatedFederation, SimulatedStage

Mishap = Callable[[SimulatedStage], Awaitable[None]]

#: Less than taking it back costs.
TINY_MSAT = 3_500
#: How long the node has no record of a payment.
AWAY_S = 60.0
#: More than any contract has until its payer may take it back.
ANY_EXPIRY_BLOCKS = 2_000


@contextmanager
def refusing(federation: SimulatedFederation, what: Callable[[object], bool]) -> Iterator[None]:
    """Let all guardians refuse every transaction with an input or output like this."""
    rules = federation.embedded.consensus.rules
    rules.refuses = lambda decoded: any(map(what, (*decoded.inputs, *decoded.outputs)))
    try:
        yield
    finally:
        rules.refuses = None


def is_claim(item: object) -> bool:
    """Of an outgoing contract by its gateway."""
    return (
        isinstance(item, lnv2.InputV0)
        and isinstance(item.inner, lnv2.OutgoingInput)
        and isinstance(item.inner.witness, lnv2.Claim)
    )


def is_funding(item: object) -> bool:
    return isinstance(item, lnv2.OutputV0) and isinstance(item.inner, lnv2.IncomingOutput)


def is_incoming(item: object) -> bool:
    """The end of an incoming contract: claimed, or taken back."""
    return isinstance(item, lnv2.InputV0) and isinstance(item.inner, lnv2.IncomingInput)


# --- sending -----------------------------------------------------------------------------------------------------


async def nobody_reaches_the_payee(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    network, payee = stage.world.network, stage.world.payee
    network.unreachable.add(payee.name)
    try:
        await flows.send_in_vain(
            stage, federation, user, await stage.other_node.invoice(AMOUNT_MSAT)
        )
    finally:
        network.unreachable.discard(payee.name)
    await books.check(stage)


async def a_payment_vanishes_from_the_node_and_comes_back(stage: SimulatedStage) -> None:
    """Its operator restores the node's database."""
    federation, node = stage.federations[0], stage.world.gateway_node
    await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
        payment_hash = bolt11.decode(held.invoice).payment_hash
        record = node.forget(payment_hash)
        node.cut_streams()
        await anyio.sleep(AWAY_S)
        node.restore(payment_hash, record)
        await held.settle()
    await books.check(stage)


async def the_claim_of_a_contract_is_refused(stage: SimulatedStage) -> None:
    """The sender has the preimage, and in the end the money too: that is the federation's fault.

    Nobody else is paid for there until the operator says so.
    """
    federation = stage.federations[0]
    calls = await served(stage, federation)
    user = await federation.new_user(USER_MSAT)
    routing = await patiently(lambda: calls.routing_info(federation))
    payment = await user.fund(await stage.other_node.invoice(AMOUNT_MSAT), routing)
    with refusing(federation, is_claim):
        assert isinstance(await patiently(lambda: calls.send(user.body(payment))), Paid)
        await patiently(calls.settled)
    stage.witness.lost_msat += payment.contract.amount_msat
    await stage.chain.mine(ANY_EXPIRY_BLOCKS)
    await user.refund(payment)
    later = await federation.new_user(USER_MSAT)
    await flows.send_in_vain(stage, federation, later, await stage.other_node.invoice(AMOUNT_MSAT))
    await calls.trust_again(federation)
    await books.check(stage)


# --- receiving ---------------------------------------------------------------------------------------------------


async def the_node_makes_no_invoice(stage: SimulatedStage) -> None:
    federation, node = stage.federations[0], stage.world.gateway_node
    calls = await served(stage, federation)
    user = await federation.new_user(0)
    node.script(Fault.REFUSED, call="create_invoice")
    routing = await patiently(lambda: calls.routing_info(federation))
    payment = user.receive(IncomingOrder(AMOUNT_MSAT, stage.now_unix_s()), routing)
    # The node's own refusal, or a gateway that dies meanwhile.
    with pytest.raises((RefusedError, UnavailableError)):
        await calls.create_invoice(user.receive_body(payment))
    await books.check(stage)


async def nobody_pays_an_invoice(stage: SimulatedStage) -> None:
    """The gateway is away when its time is over."""
    federation = stage.federations[0]
    await served(stage, federation)
    payment, _ = await flows.ordered(stage, federation, await federation.new_user(0), AMOUNT_MSAT)
    await stage.gateway.kill()
    await anyio.sleep(payment.order.expiry_s + FORGET_AFTER_EXPIRY_S)
    await stage.gateway.start()
    await books.check(stage)


async def receiving_is_off_when_the_payment_comes(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    calls = await served(stage, federation)
    _, invoice = await flows.ordered(stage, federation, await federation.new_user(0), AMOUNT_MSAT)
    await calls.allow_receiving(federation, allowed=False)
    assert await stage.other_node.pay(invoice) is None
    await calls.allow_receiving(federation, allowed=True)
    await books.check(stage)


async def the_gateway_has_too_little_to_fund(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(0)
    _, invoice = await flows.ordered(stage, federation, user, 10 * FLOAT_MSAT)
    assert await stage.other_node.pay(invoice) is None
    await books.check(stage)


async def the_federation_refuses_to_fund(stage: SimulatedStage) -> None:
    """The notes meant for it are the gateway's again."""
    federation = stage.federations[0]
    await served(stage, federation)
    user = await federation.new_user(0)
    _, invoice = await flows.ordered(stage, federation, user, AMOUNT_MSAT)
    with refusing(federation, is_funding):
        assert await stage.other_node.pay(invoice) is None
        await patiently(Calls(stage.gateway).settled)
    await books.check(stage)


async def a_contract_holds_no_preimage(stage: SimulatedStage) -> None:
    """The payer is refunded, and the gateway has its own back, less fees."""
    federation = stage.federations[0]
    await served(stage, federation)
    await _in_vain(stage, federation, AMOUNT_MSAT)
    await books.check(stage)


async def a_contract_without_preimage_is_not_worth_its_fees(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    await lose_a_tiny_contract(stage, federation)
    await books.check(stage)


async def lose_a_tiny_contract(stage: SimulatedStage, federation: SimulatedFederation) -> None:
    """Fund one without preimage that is not worth taking back."""
    _lose(stage, federation, await _in_vain(stage, federation, TINY_MSAT))


async def taking_a_contract_back_is_refused(stage: SimulatedStage) -> None:
    federation = stage.federations[0]
    await served(stage, federation)
    with refusing(federation, is_incoming):
        contract_msat = await _in_vain(stage, federation, AMOUNT_MSAT)
        await patiently(Calls(stage.gateway).settled)
    _lose(stage, federation, contract_msat)
    await Calls(stage.gateway).trust_again(federation)
    await books.check(stage)


async def a_swap_whose_contract_holds_no_preimage(stage: SimulatedStage) -> None:
    """Its sender is refunded, and the gateway has its own back, less fees."""
    first, second = stage.federations[:2]
    await served(stage, first, second)
    sender, receiver = await first.new_user(USER_MSAT), await second.new_user(0)
    _, invoice = await flows.ordered(stage, second, receiver, AMOUNT_MSAT, Flaw.WRONG_PREIMAGE)
    await flows.send_in_vain(stage, first, sender, invoice)
    await books.check(stage)


async def the_node_gives_up_what_it_holds_while_its_receiver_is_funded(
    stage: SimulatedStage,
) -> None:
    """The preimage is bought and cannot be sold."""
    federation, node = stage.federations[0], stage.world.gateway_node
    await served(stage, federation)
    user = await federation.new_user(0)
    payment, invoice = await flows.ordered(stage, federation, user, AMOUNT_MSAT)
    given_up = anyio.Event()

    async def pause(method: str) -> None:
        if method.endswith("_decryption_key_share"):
            await given_up.wait()

    federation.embedded.faults(0).pause = pause
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flows.claim, user, payment)

        async def give_up() -> None:
            await user.await_funded(payment)
            node.cancel_held(bolt11.decode(invoice).payment_hash)
            given_up.set()

        tasks.start_soon(give_up)
        assert await stage.other_node.pay(invoice) is None
    federation.embedded.faults(0).pause = None
    stage.witness.lost_msat += AMOUNT_MSAT
    await books.check(stage)


async def _in_vain(stage: SimulatedStage, federation: SimulatedFederation, amount_msat: int) -> int:
    """A payment to a receiver who hides another preimage; the worth of that contract."""
    user = await federation.new_user(0)
    payment, invoice = await flows.ordered(
        stage, federation, user, amount_msat, Flaw.WRONG_PREIMAGE
    )
    assert await stage.other_node.pay(invoice) is None
    return payment.contract.commitment.amount_msat


def _lose(stage: SimulatedStage, federation: SimulatedFederation, contract_msat: int) -> None:
    name, witness = federation.federation_id, stage.witness
    witness.lost_msat += contract_msat
    witness.stuck_msat[name] = witness.stuck_msat.get(name, 0) + contract_msat


MISHAPS: tuple[Mishap, ...] = (
    nobody_reaches_the_payee,
    a_payment_vanishes_from_the_node_and_comes_back,
    the_claim_of_a_contract_is_refused,
    the_node_makes_no_invoice,
    nobody_pays_an_invoice,
    receiving_is_off_when_the_payment_comes,
    the_gateway_has_too_little_to_fund,
    the_federation_refuses_to_fund,
    a_contract_holds_no_preimage,
    a_contract_without_preimage_is_not_worth_its_fees,
    taking_a_contract_back_is_refused,
    a_swap_whose_contract_holds_no_preimage,
    the_node_gives_up_what_it_holds_while_its_receiver_is_funded,
)
