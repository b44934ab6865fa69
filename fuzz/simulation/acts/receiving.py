"""How users are paid in a simulated run, over Lightning or by a swap, honestly or not."""

import contextlib
from collections.abc import Callable

import anyio
import msgspec

from backends.lightning import Failed, InFlight, NodeRefusedError, Succeeded
from backends.simulated.routes import Order
from devnet.users.receiving import Flaw, IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import TransactionRefused
from errors import InputError
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import Paid
from fuzz.simulation.acts import odd_payments
from fuzz.simulation.acts.paying import pay_invoice, routing_of
from fuzz.simulation.harness import Harness, Refused, persist
from fuzz.simulation.plans import steps

_BLOCKS_UNTIL_DEADLINE = 109
_FEE_MAX_MSAT = 1_000_000
_SWAP_EXPIRY_S = 600


async def _ordered(
    harness: Harness,
    at: tuple[int, EmbeddedUser],
    order: tuple[int, int],
    flaw: Flaw | None,
    asks: Callable[[IncomingPayment], None] = lambda _payment: None,
) -> tuple[IncomingPayment, str]:
    """A contract over so many msat for so many seconds, and the gateway's invoice for it.

    `asks` hears of every contract before the gateway does. Raises Refused, and InputError when fees take it all.
    """
    (federation, user), (amount_msat, expiry_s) = at, order

    async def ask() -> tuple[IncomingPayment, bytes]:
        routing = await routing_of(harness, federation)
        terms = IncomingOrder(amount_msat, harness.now_unix_s(), expiry_s)
        payment = user.receive(terms, routing, flaw)
        asks(payment)
        body = user.receive_body(payment)
        return payment, await harness.call("POST", "/create_bolt11_invoice", body)

    payment, answer = await persist(ask)
    invoice = msgspec.json.decode(answer, type=str)
    user.check_invoice(payment, invoice)
    may_pass = {None, Flaw.WRONG_PREIMAGE}
    if harness.clock.wrong_by_s < 0:  # the federation will refuse it
        may_pass.add(Flaw.EXPIRED)
    harness.expect(flaw in may_pass, f"a contract with {flaw} was taken for an invoice")
    return payment, invoice


async def receive(harness: Harness, step: steps.Receive) -> bool:
    """To the end: the user has what was paid for, and the payer a preimage or a refund. Returns whether they paid."""
    if step.payer == "pays early":
        await _receive_early(harness, step)
        return False
    if step.payer in {"pays another", "pays another in vain"}:
        await _receive_beside_another(harness, step)
        return False
    user = harness.new_user(step.federation)
    try:
        payment, invoice = await _ordered(
            harness, (step.federation, user), (step.amount_msat, step.expiry_s), step.flaw
        )
    except (Refused, InputError):
        return False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_await_contract, harness, user, payment)
        await anyio.sleep(step.pays_after_s)
        ended = await _pay(harness, payment, invoice, step.payer)
    return isinstance(ended, Succeeded)


async def _receive_early(harness: Harness, step: steps.Receive) -> None:
    """Somebody finds the invoice in the node's list and pays it, perhaps before the gateway knows of it."""
    user = harness.new_user(step.federation)
    order = step.amount_msat, step.expiry_s
    async with anyio.create_task_group() as tasks:

        def asks(payment: IncomingPayment) -> None:
            tasks.start_soon(_await_contract, harness, user, payment)
            tasks.start_soon(pay_early, payment)

        async def pay_early(payment: IncomingPayment) -> None:
            invoice = await odd_payments.found_at_node(harness, payment)
            if invoice is not None:
                await anyio.sleep(step.pays_after_s)
                await pay_over_lightning(harness, invoice, payment)

        with contextlib.suppress(Refused, InputError):
            await _ordered(harness, (step.federation, user), order, step.flaw, asks)


async def _receive_beside_another(harness: Harness, step: steps.Receive) -> None:
    """A receiver who wants to be paid twice for one payment asks for an invoice here and there, with one hash."""
    user = harness.new_user(step.federation)
    order = step.amount_msat, step.expiry_s
    async with anyio.create_task_group() as tasks:

        def asks(payment: IncomingPayment) -> None:
            tasks.start_soon(_await_contract, harness, user, payment)
            is_settled = step.payer == "pays another"
            tasks.start_soon(
                odd_payments.pay_another, harness, payment, step.pays_after_s, is_settled
            )

        with contextlib.suppress(Refused, InputError):
            await _ordered(harness, (step.federation, user), order, step.flaw, asks)


async def _pay(
    harness: Harness, payment: IncomingPayment, invoice: str, payer: steps.Payer
) -> Succeeded | Failed | None:
    world = harness.world
    if payer == "does not pay":
        return None
    if payer in {"pays in parts", "pays in part"}:
        await odd_payments.pay_in_parts(harness, payment, is_whole=payer == "pays in parts")
        return None
    if payer in {"locks more", "pays twice"}:
        more_msat = _more_msat(harness, payment) if payer == "locks more" else 0
        order = Order(
            payer="payee",
            payee="gateway",
            payment_hash=bolt11.decode(invoice).payment_hash,
            amount_msat=payment.order.amount_msat + more_msat,
            final_delay_blocks=144,
            max_fee_msat=_FEE_MAX_MSAT,
            max_delay_blocks=1_000,
        )
        world.network.send(order, lambda _outcome: None)
    if payer == "locks more":
        return None
    if payer == "pays late":
        harness.tasks.start_soon(_mine_to_deadline, harness)
    return await pay_over_lightning(harness, invoice, payment)


def _more_msat(harness: Harness, payment: IncomingPayment) -> int:
    """A little more; as much again, which a payer may; or beyond that."""
    asked_msat = payment.order.amount_msat
    return harness.dice.choice((1, asked_msat // 2, asked_msat, asked_msat + 1))


async def _mine_to_deadline(harness: Harness) -> None:
    harness.mine(_BLOCKS_UNTIL_DEADLINE)


async def pay_over_lightning(
    harness: Harness, invoice: str, payment: IncomingPayment
) -> Succeeded | Failed | None:
    """The other node pays; a preimage that it gets is one that the receiver was paid for. None: it was too late."""
    payment_hash = bolt11.decode(invoice).payment_hash
    ended: Succeeded | Failed | None = None
    try:
        async with harness.world.payee.pay(
            invoice,
            payment_hash=payment_hash,
            max_fee_msat=_FEE_MAX_MSAT,
            max_delay_blocks=1_000,
        ) as statuses:
            async for status in statuses:
                if not isinstance(status, InFlight):
                    assert isinstance(status, Succeeded | Failed)
                    ended = status
    except NodeRefusedError:  # the invoice has expired
        return None
    harness.witness.counts[f"receive {type(ended).__name__.lower()}"] += 1
    if isinstance(ended, Succeeded):
        harness.expect(ended.preimage == payment.preimage, "a payer got a preimage of nobody's")
        funded = any(
            contract.commitment.payment_image == payment.contract.commitment.payment_image
            for federation in harness.world.federations
            for contract in federation.consensus.ledger.incoming.values()
        )
        harness.expect(funded, "a payer got the preimage of a receiver who was not paid")
    return ended


async def _await_contract(harness: Harness, user: EmbeddedUser, payment: IncomingPayment) -> None:
    """The user takes what the gateway has funded, if it is worth its fee to claim."""
    out_point = await user.await_funded(payment)
    if out_point is None:
        return
    try:
        await user.claim(payment, out_point)
    except TransactionRefused:  # its preimage was none, and the gateway has taken it back
        harness.witness.counts["claim refused"] += 1


# --- between federations -----------------------------------------------------------------------------------------


async def swap(harness: Harness, step: steps.Swap) -> bool:
    """The node knows nothing of it, unless somebody pays over Lightning, too."""
    receiver = harness.new_user(step.target)
    try:
        payment, invoice = await _ordered(
            harness, (step.target, receiver), (step.amount_msat, _SWAP_EXPIRY_S), step.flaw
        )
    except (Refused, InputError):
        return False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_await_contract, harness, receiver, payment)
        if step.pays_after_s:
            await anyio.sleep(step.pays_after_s)
        if step.lightning_too:
            tasks.start_soon(pay_over_lightning, harness, invoice, payment)
        answer = await pay_invoice(harness, step.source, invoice)
    return isinstance(answer, Paid)
