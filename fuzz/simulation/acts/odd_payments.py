"""Odd invoices and payments: for another network, paid at the node by hand, found in the node's list."""

from contextlib import suppress
from functools import partial

import anyio

from backends.lightning import HELD_FINAL_DELTA_BLOCKS, NodeRefusedError, NodeUnansweredError
from backends.simulated.network import Outcome, Settled
from backends.simulated.node import InvoiceState
from backends.simulated.routes import Order
from devnet.users.receiving import IncomingPayment
from errors import ConflictError
from fedimint.codec import bolt11
from fedimint.lnv2 import HashImage
from fuzz.simulation.harness import Harness
from fuzz.simulation.plans import byzantine_steps
from statemachines import receive, send

_FEE_MAX_MSAT = 1_000_000
_DELAY_MAX_BLOCKS = 1_000
_LOOK_PAUSE_S = 0.1
_ANOTHER_SETTLES_AFTER_S = 20.0
#: As LND waits for the rest of a payment.
_PARTS_WAIT_S = 120.0
_ABOUT_TO_BE_PAID = (send.Accepted, send.Dispatching, send.Unanswered, send.InFlight)


def foreign_invoice(harness: Harness, amount_msat: int, expiry_s: int) -> str:
    """An invoice of the other node's key for bitcoin proper."""
    terms = harness.world.payee.make_invoice(amount_msat, expiry_s=expiry_s)
    fields = bolt11.InvoiceFields(
        network="bitcoin",
        amount_msat=amount_msat,
        timestamp_unix_s=terms.timestamp_unix_s,
        payment_hash=terms.payment_hash,
        payment_secret=harness.dice.randbytes(32),
        description="of another network",
        expiry_s=expiry_s,
    )
    return bolt11.sign(fields, harness.world.payee.secret).text


def pay_by_hand(harness: Harness, invoice: str) -> None:
    """Somebody at the gateway's node pays this invoice; nobody will call there before them."""
    fields = bolt11.decode(invoice)
    assert fields.amount_msat is not None
    with suppress(NodeRefusedError, NodeUnansweredError):
        harness.world.gateway_node.pay_by_hand(
            invoice, max_fee_msat=_FEE_MAX_MSAT, max_delay_blocks=_DELAY_MAX_BLOCKS
        )
        harness.wrongs.paid_by_hand[fields.payment_hash.hex()] = fields.amount_msat


async def found_at_node(harness: Harness, payment: IncomingPayment) -> str | None:
    """The invoice of this contract as soon as the gateway's node has made it; None if it has expired before."""
    image = payment.contract.commitment.payment_image
    assert isinstance(image, HashImage)
    node = harness.world.gateway_node
    while harness.now_unix_s() < payment.contract.commitment.expiration_unix_s:
        made = node.invoices.get(image.digest)
        if made is not None and made.state is InvoiceState.OPEN:
            return made.terms.text
        await anyio.sleep(_LOOK_PAUSE_S)
    return None


async def pay_another(
    harness: Harness, payment: IncomingPayment, pays_after_s: float, is_settled: bool
) -> None:
    """Another gateway of the same node makes an invoice for this contract's hash; it is paid, and settled there.

    Or cancelled, when that gateway refuses its receiver.
    """
    image = payment.contract.commitment.payment_image
    assert isinstance(image, HashImage)
    node, payment_hash = harness.world.gateway_node, image.digest
    if payment_hash in node.invoices:
        return
    harness.wrongs.of_another_gateway.add(payment_hash.hex())
    made = node.make_invoice(
        payment.order.amount_msat,
        payment_hash=payment_hash,
        expiry_s=payment.order.expiry_s,
        final_delay_blocks=HELD_FINAL_DELTA_BLOCKS,
    )
    await anyio.sleep(pays_after_s)
    order = Order(
        payer="payee",
        payee="gateway",
        payment_hash=payment_hash,
        amount_msat=payment.order.amount_msat,
        final_delay_blocks=made.min_final_cltv_delta_blocks,
        max_fee_msat=_FEE_MAX_MSAT,
        max_delay_blocks=_DELAY_MAX_BLOCKS,
    )
    harness.world.network.send(order, lambda _outcome: None)
    await anyio.sleep(_ANOTHER_SETTLES_AFTER_S)
    with suppress(ConflictError):  # nobody could pay it, or somebody has cancelled it
        if is_settled:
            node.settle_held(payment_hash, payment.preimage)
        else:
            node.cancel_held(payment_hash)


async def pay_in_parts(harness: Harness, payment: IncomingPayment, *, is_whole: bool) -> None:
    """Parts with timelocks of their own come one after the other; what is not whole by then is given back."""
    image = payment.contract.commitment.payment_image
    assert isinstance(image, HashImage)
    asked_msat = payment.order.amount_msat
    total_msat = asked_msat + harness.dice.choice((0, 0, asked_msat // 3))
    parts = harness.dice.randint(2, 4)
    first_msat = total_msat // parts
    rest_msat = total_msat - first_msat * (parts - 1)
    for number, amount_msat in enumerate([first_msat] * (parts - 1) + [rest_msat] * is_whole):
        order = Order(
            payer="payee",
            payee="gateway",
            payment_hash=image.digest,
            amount_msat=amount_msat,
            final_delay_blocks=HELD_FINAL_DELTA_BLOCKS + harness.dice.choice((0, 1, 40)),
            max_fee_msat=_FEE_MAX_MSAT,
            max_delay_blocks=_DELAY_MAX_BLOCKS,
            total_msat=total_msat,
        )
        if number:
            await anyio.sleep(harness.dice.choice((0.0, 0.5, 5.0)))
        harness.world.network.send(order, partial(_part_ended, harness, payment))
    await anyio.sleep(_PARTS_WAIT_S)
    harness.world.gateway_node.give_up_parts(image.digest)


def _part_ended(harness: Harness, payment: IncomingPayment, outcome: Outcome) -> None:
    harness.witness.counts[f"part {type(outcome).__name__.lower()}"] += 1
    if isinstance(outcome, Settled):
        is_good = outcome.preimage == payment.preimage
        harness.expect(is_good, "a payer in parts got a preimage of nobody's")


async def cancel_as_neighbour(harness: Harness, step: byzantine_steps.NeighbourCancels) -> None:
    """What the gateway funds for an HTLC that another took from it meanwhile is that one's fault."""
    node = harness.world.gateway_node
    wanted = InvoiceState.ACCEPTED if step.is_held else InvoiceState.OPEN

    def found() -> list[str]:
        return [
            state.facts.payment_hash
            for state in harness.auditor.states().values()
            if isinstance(state, receive.Invoiced | receive.Held)
            and (made := node.invoices.get(bytes.fromhex(state.facts.payment_hash))) is not None
            and made.state is wanted
        ]

    for payment_hash in (await harness.finds(found, step.for_s) or [])[:1]:
        harness.wrongs.given_up.add(payment_hash)
        node.cancel_held(bytes.fromhex(payment_hash))
        harness.witness.counts["cancelled by a neighbour"] += 1


async def pay_as_neighbour(harness: Harness, step: byzantine_steps.NeighbourPays) -> None:
    """Whichever of the two is first, the node pays once."""

    def found() -> list[str]:
        return [
            state.facts.invoice
            for state in harness.auditor.states().values()
            if isinstance(state, _ABOUT_TO_BE_PAID) and not state.facts.is_swap
        ]

    for invoice in (await harness.finds(found, step.for_s) or [])[:1]:
        pay_by_hand(harness, invoice)
        harness.witness.counts["paid by a neighbour"] += 1
