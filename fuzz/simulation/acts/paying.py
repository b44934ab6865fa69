"""How users pay in a simulated run, honestly or not."""

import contextlib
import hashlib

import anyio
import msgspec

from backends.simulated.node import InvoiceState
from devnet.guardians.dealer import fresh_secret
from devnet.users.user import CONFIRMATION_BLOCKS, EmbeddedUser, OutgoingPayment
from devnet.users.wallet import TransactionRefused
from fedimint.codec import bolt11, secp
from fedimint.codec.wire_types import OutPoint, TransactionId
from fedimint.lnv2 import HashImage, OutgoingContract
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo, parse_send_answer
from fuzz.simulation.acts import odd_payments
from fuzz.simulation.harness import Harness, Refused, persist
from fuzz.simulation.plans import steps

#: Blocks of a contract that is about too short: 144 are the least that the gateway wants, counted at another moment.
_SHORT_BLOCKS = 145
_HANGS_UP_AFTER_S = 2.0


async def routing_of(harness: Harness, federation: int) -> RoutingInfo:
    """What the gateway asks for. Raises Refused while it does not serve the federation."""
    federation_id = harness.federation_id(federation)
    answer = await persist(lambda: harness.call("POST", "/routing_info", federation_id))
    found = msgspec.json.decode(answer, type=RoutingInfo | None)
    if found is None:
        raise Refused(404, "the federation is not served")
    return found


# --- sending -----------------------------------------------------------------------------------------------------


def payee_invoice(
    harness: Harness, amount_msat: int, payee: steps.Payee, hold_s: float, expiry_s: int
) -> str:
    """An invoice of the other node, which will treat its payment as the step says."""
    node = harness.world.payee
    if payee == "takes":
        return node.make_invoice(amount_msat, expiry_s=expiry_s).text
    preimage = harness.dice.randbytes(32)
    payment_hash = hashlib.sha256(preimage).digest()
    made = node.make_invoice(amount_msat, payment_hash=payment_hash, expiry_s=expiry_s)
    if payee == "knows nothing":
        del node.invoices[payment_hash]
    else:
        harness.tasks.start_soon(_hold, harness, payment_hash, preimage, payee, hold_s)
    return made.text


async def _hold(
    harness: Harness, payment_hash: bytes, preimage: bytes, payee: steps.Payee, hold_s: float
) -> None:
    node = harness.world.payee
    await anyio.sleep(hold_s)
    while (state := node.invoice_state(payment_hash)) is not InvoiceState.CANCELED:
        if state is InvoiceState.ACCEPTED and payee == "holds and takes":
            node.settle_held(payment_hash, preimage)
        elif state is InvoiceState.ACCEPTED:
            node.cancel_held(payment_hash)
        if state is InvoiceState.SETTLED:
            return
        await anyio.sleep(5)


async def send(harness: Harness, step: steps.Send) -> bool:
    """To the end: paid, given back by the gateway, or taken back when the contract has expired. Whether it was paid."""
    if step.twist == "other network":
        invoice = odd_payments.foreign_invoice(harness, step.amount_msat, step.expiry_s)
    else:
        invoice = payee_invoice(harness, step.amount_msat, step.payee, step.hold_s, step.expiry_s)
    async with anyio.create_task_group() as tasks:
        if step.twist == "two contracts":
            tasks.start_soon(pay_invoice, harness, harness.dice.randrange(2), invoice, step.twist)
        answer = await pay_invoice(harness, step.federation, invoice, step.twist)
    return isinstance(answer, Paid)


async def pay_invoice(
    harness: Harness, federation: int, invoice: str, twist: steps.SendTwist = "none"
) -> Paid | Forfeited | None:
    """None when the gateway refused and the sender has taken the contract back."""
    amount_msat = bolt11.decode(invoice).amount_msat
    assert amount_msat is not None
    user = harness.new_user(federation, amount_msat * 11 // 10 + 500_000)
    try:
        routing = await routing_of(harness, federation)
        payment = await _fund(harness, user, invoice, routing, twist)
    except (Refused, TransactionRefused):
        return None
    if twist == "paid by hand":
        odd_payments.pay_by_hand(harness, invoice)
    answer = await _ask(harness, user, payment, twist)
    if answer is None:
        await harness.height(payment.contract.expiration_block_height)
        if payment.out_point in harness.federation(federation).consensus.ledger.preimages:
            # Claimed by events that are lost: the guardians tell the preimage.
            harness.expect(
                harness.auditor.lost.states, "a contract was claimed and its sender refused"
            )
            return None
        await user.refund(payment)
        return None
    contract_id = payment.contract.contract_id().hex()
    if isinstance(answer, Paid):
        harness.auditor.preimage_leaves(contract_id)
    else:
        harness.auditor.forfeit_leaves(contract_id)
    await user.settle(payment, answer)
    harness.witness.counts[f"send {type(answer).__name__.lower()}"] += 1
    return answer


async def _fund(
    harness: Harness, user: EmbeddedUser, invoice: str, routing: RoutingInfo, twist: steps.SendTwist
) -> OutgoingPayment:
    """As an honest client does, but for the twist."""
    parsed = bolt11.decode(invoice)
    assert parsed.amount_msat is not None
    refund_secret, stranger = (fresh_secret(harness.dice.randbytes) for _ in range(2))
    blocks = routing.expiration_delta_blocks(parsed.payee) + CONFIRMATION_BLOCKS
    wanted_msat = routing.send_fee(parsed.payee).add_to(parsed.amount_msat)
    claim_pk = bytes.fromhex(routing.module_public_key)
    contract = OutgoingContract(
        HashImage(parsed.payment_hash),
        parsed.amount_msat + 1 if twist == "poor" else wanted_msat,
        harness.world.chain.height + 1 + (_SHORT_BLOCKS if twist == "short" else blocks),
        secp.public_key(stranger) if twist == "not ours" else claim_pk,
        secp.public_key(refund_secret),
        secp.public_key(stranger),
    )
    return await user.fund_contract(contract, refund_secret, invoice)


async def _ask(
    harness: Harness, user: EmbeddedUser, payment: OutgoingPayment, twist: steps.SendTwist
) -> Paid | Forfeited | None:
    async def ask() -> bytes:
        return await harness.call("POST", "/send_payment", user.body(payment))

    async def ask_beside() -> None:
        with contextlib.suppress(Refused):
            await persist(ask)

    if twist == "asks twice":
        harness.tasks.start_soon(ask_beside)
    if twist == "names another output":
        await _ask_for_nothing(harness, user, payment)
    if twist == "hangs up":
        with anyio.move_on_after(_HANGS_UP_AFTER_S):
            await ask_beside()
    try:
        return parse_send_answer(await persist(ask))
    except Refused:
        return None


async def _ask_for_nothing(harness: Harness, user: EmbeddedUser, payment: OutgoingPayment) -> None:
    """The same contract where no federation has it: what is answered with a forfeit there is paid for later."""
    elsewhere = OutPoint(TransactionId(harness.dice.randbytes(32)), 0)
    body = user.body(msgspec.structs.replace(payment, out_point=elsewhere))
    with contextlib.suppress(Refused):
        answer = parse_send_answer(
            await persist(lambda: harness.call("POST", "/send_payment", body))
        )
        harness.expect(False, f"2: a contract that does not exist was answered by {answer}")
