"""What may happen to invoices beside the gateway: of another network, paid at the node, found in its list."""

from contextlib import suppress

import anyio

from backends.lightning import HELD_FINAL_DELTA_BLOCKS, NodeRefusedError, NodeUnansweredError
from backends.simulated import InvoiceState
from backends.simulated_routes import Order
from devnet.receiving import IncomingPayment
from errors import ConflictError
from fedimint import bolt11
from fedimint.lnv2 import HashImage
from fuzz.stage import Stage

_FEE_MAX_MSAT = 1_000_000
_DELAY_MAX_BLOCKS = 1_000
_LOOK_PAUSE_S = 0.1
_ANOTHER_SETTLES_AFTER_S = 20.0


def foreign_invoice(stage: Stage, amount_msat: int, expiry_s: int) -> str:
    """An invoice of the other node's key for bitcoin proper."""
    terms = stage.world.payee.make_invoice(amount_msat, expiry_s=expiry_s)
    fields = bolt11.InvoiceFields(
        network="bitcoin",
        amount_msat=amount_msat,
        timestamp_unix_s=terms.timestamp_unix_s,
        payment_hash=terms.payment_hash,
        payment_secret=stage.dice.randbytes(32),
        description="of another network",
        expiry_s=expiry_s,
    )
    return bolt11.sign(fields, stage.world.payee.secret).text


def pay_by_hand(stage: Stage, invoice: str) -> None:
    """Somebody at the gateway's node pays this invoice; nobody will call there before him."""
    fields = bolt11.decode(invoice)
    assert fields.amount_msat is not None
    with suppress(NodeRefusedError, NodeUnansweredError):
        stage.world.gateway_node.pay_by_hand(
            invoice, max_fee_msat=_FEE_MAX_MSAT, max_delay_blocks=_DELAY_MAX_BLOCKS
        )
        stage.wrongs.paid_by_hand[fields.payment_hash.hex()] = fields.amount_msat


async def found_at_node(stage: Stage, payment: IncomingPayment) -> str | None:
    """The invoice of this contract as soon as the gateway's node has made it; None if it has expired before."""
    image = payment.contract.commitment.payment_image
    assert isinstance(image, HashImage)
    node = stage.world.gateway_node
    while stage.now_unix_s() < payment.contract.commitment.expiration_unix_s:
        made = node.invoices.get(image.digest)
        if made is not None and made.state is InvoiceState.OPEN:
            return made.terms.text
        await anyio.sleep(_LOOK_PAUSE_S)
    return None


async def pay_another(stage: Stage, payment: IncomingPayment, pays_after_s: float) -> None:
    """Another gateway of the same node makes an invoice for this contract's hash; it is paid, and settled there."""
    image = payment.contract.commitment.payment_image
    assert isinstance(image, HashImage)
    node, payment_hash = stage.world.gateway_node, image.digest
    if payment_hash in node.invoices:
        return
    stage.wrongs.of_another_gateway.add(payment_hash.hex())
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
    stage.world.network.send(order, lambda _outcome: None)
    await anyio.sleep(_ANOTHER_SETTLES_AFTER_S)
    with suppress(ConflictError):  # nobody could pay it, or somebody has failed it back
        node.settle_held(payment_hash, payment.preimage)
