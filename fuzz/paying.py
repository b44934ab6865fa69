"""What users do in a simulated run: they pay and are paid through the gateway, honestly or not."""

import contextlib
import hashlib
from collections.abc import Callable

import anyio
import msgspec

from backends.lightning import Failed, InFlight, NodeRefusedError, Succeeded
from backends.simulated import InvoiceState
from backends.simulated_routes import Order
from devnet.dealer import fresh_secret
from devnet.gateway_messages import Forfeited, Paid, RoutingInfo, parse_send_answer
from devnet.receiving import Flaw, IncomingOrder, IncomingPayment
from devnet.user import CONFIRMATION_BLOCKS, EmbeddedUser, OutgoingPayment
from devnet.wallet import TransactionRefused
from errors import InputError
from fedimint import bolt11, secp
from fedimint.lnv2 import HashImage, OutgoingContract
from fuzz import odd_payments, steps
from fuzz.stage import Refused, Stage, persist

#: Blocks of a contract that is about too short: 144 are the least that the gateway wants, counted at another moment.
_SHORT_BLOCKS = 145
_HANGS_UP_AFTER_S = 2.0
_BLOCKS_UNTIL_DEADLINE = 109
_FEE_MAX_MSAT = 1_000_000
_SWAP_EXPIRY_S = 600


async def routing_of(stage: Stage, federation: int) -> RoutingInfo:
    """What the gateway asks for. Raises Refused while it does not serve the federation."""
    federation_id = stage.federation_id(federation)
    answer = await persist(lambda: stage.call("POST", "/routing_info", federation_id))
    found = msgspec.json.decode(answer, type=RoutingInfo | None)
    if found is None:
        raise Refused(404, "the federation is not served")
    return found


# --- sending -----------------------------------------------------------------------------------------------------


def payee_invoice(
    stage: Stage, amount_msat: int, payee: steps.Payee, hold_s: float, expiry_s: int
) -> str:
    """An invoice of the other node, which will treat its payment as the step says."""
    node = stage.world.payee
    if payee == "takes":
        return node.make_invoice(amount_msat, expiry_s=expiry_s).text
    preimage = stage.dice.randbytes(32)
    payment_hash = hashlib.sha256(preimage).digest()
    made = node.make_invoice(amount_msat, payment_hash=payment_hash, expiry_s=expiry_s)
    if payee == "knows nothing":
        del node.invoices[payment_hash]
    else:
        stage.tasks.start_soon(_hold, stage, payment_hash, preimage, payee, hold_s)
    return made.text


async def _hold(
    stage: Stage, payment_hash: bytes, preimage: bytes, payee: steps.Payee, hold_s: float
) -> None:
    node = stage.world.payee
    await anyio.sleep(hold_s)
    while (state := node.invoice_state(payment_hash)) is not InvoiceState.CANCELED:
        if state is InvoiceState.ACCEPTED and payee == "holds and takes":
            node.settle_held(payment_hash, preimage)
        elif state is InvoiceState.ACCEPTED:
            node.cancel_held(payment_hash)
        if state is InvoiceState.SETTLED:
            return
        await anyio.sleep(5)


async def send(stage: Stage, step: steps.Send) -> None:
    """To the end: paid, given back by the gateway, or taken back when the contract has expired."""
    if step.twist == "other network":
        invoice = odd_payments.foreign_invoice(stage, step.amount_msat, step.expiry_s)
    else:
        invoice = payee_invoice(stage, step.amount_msat, step.payee, step.hold_s, step.expiry_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_pay_invoice, stage, step.federation, invoice, step.twist)
        if step.twist == "two contracts":
            tasks.start_soon(_pay_invoice, stage, stage.dice.randrange(2), invoice, step.twist)


async def _pay_invoice(
    stage: Stage, federation: int, invoice: str, twist: steps.SendTwist = "none"
) -> Paid | Forfeited | None:
    """None when the gateway refused and the sender has taken the contract back."""
    amount_msat = bolt11.decode(invoice).amount_msat
    assert amount_msat is not None
    user = stage.new_user(federation, amount_msat * 11 // 10 + 500_000)
    try:
        routing = await routing_of(stage, federation)
        payment = await _fund(stage, user, invoice, routing, twist)
    except (Refused, TransactionRefused):
        return None
    if twist == "paid by hand":
        odd_payments.pay_by_hand(stage, invoice)
    answer = await _ask(stage, user, payment, twist)
    if answer is None:
        await stage.height(payment.contract.expiration_block_height)
        if payment.out_point in stage.federation(federation).consensus.ledger.preimages:
            # Claimed by events that are lost: the guardians tell the preimage.
            stage.expect(stage.auditor.lost.states, "a contract was claimed and its sender refused")
            return None
        await user.refund(payment)
        return None
    contract_id = payment.contract.contract_id().hex()
    if isinstance(answer, Paid):
        stage.auditor.preimage_leaves(contract_id)
    else:
        stage.auditor.forfeit_leaves(contract_id)
    await user.settle(payment, answer)
    stage.witness.counts[f"send {type(answer).__name__.lower()}"] += 1
    return answer


async def _fund(
    stage: Stage, user: EmbeddedUser, invoice: str, routing: RoutingInfo, twist: steps.SendTwist
) -> OutgoingPayment:
    """As an honest client does, but for the twist."""
    parsed = bolt11.decode(invoice)
    assert parsed.amount_msat is not None
    refund_secret, stranger = (fresh_secret(stage.dice.randbytes) for _ in range(2))
    blocks = routing.expiration_delta_blocks(parsed.payee) + CONFIRMATION_BLOCKS
    wanted_msat = routing.send_fee(parsed.payee).add_to(parsed.amount_msat)
    claim_pk = bytes.fromhex(routing.module_public_key)
    contract = OutgoingContract(
        HashImage(parsed.payment_hash),
        parsed.amount_msat + 1 if twist == "poor" else wanted_msat,
        stage.world.chain.height + 1 + (_SHORT_BLOCKS if twist == "short" else blocks),
        secp.public_key(stranger) if twist == "not ours" else claim_pk,
        secp.public_key(refund_secret),
        secp.public_key(stranger),
    )
    return await user.fund_contract(contract, refund_secret, invoice)


async def _ask(
    stage: Stage, user: EmbeddedUser, payment: OutgoingPayment, twist: steps.SendTwist
) -> Paid | Forfeited | None:
    async def ask() -> bytes:
        return await stage.call("POST", "/send_payment", user.body(payment))

    async def ask_beside() -> None:
        with contextlib.suppress(Refused):
            await persist(ask)

    if twist == "asks twice":
        stage.tasks.start_soon(ask_beside)
    if twist == "hangs up":
        with anyio.move_on_after(_HANGS_UP_AFTER_S):
            await ask_beside()
    try:
        return parse_send_answer(await persist(ask))
    except Refused:
        return None


# --- receiving ---------------------------------------------------------------------------------------------------


async def _ordered(
    stage: Stage,
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
        routing = await routing_of(stage, federation)
        terms = IncomingOrder(amount_msat, stage.now_unix_s(), expiry_s)
        payment = user.receive(terms, routing, flaw)
        asks(payment)
        body = user.receive_body(payment)
        return payment, await stage.call("POST", "/create_bolt11_invoice", body)

    payment, answer = await persist(ask)
    invoice = msgspec.json.decode(answer, type=str)
    user.check_invoice(payment, invoice)
    may_pass = {None, Flaw.WRONG_PREIMAGE}
    if stage.clock.wrong_by_s < 0:  # the federation will refuse it
        may_pass.add(Flaw.EXPIRED)
    stage.expect(flaw in may_pass, f"a contract with {flaw} was taken for an invoice")
    return payment, invoice


async def receive(stage: Stage, step: steps.Receive) -> None:
    """To the end: the user has what was paid for, and the payer his preimage or his money."""
    if step.payer == "pays early":
        await _receive_early(stage, step)
        return
    user = stage.new_user(step.federation)
    try:
        payment, invoice = await _ordered(
            stage, (step.federation, user), (step.amount_msat, step.expiry_s), step.flaw
        )
    except (Refused, InputError):
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_await_contract, stage, user, payment)
        await anyio.sleep(step.pays_after_s)
        await _pay(stage, payment, invoice, step.payer)


async def _receive_early(stage: Stage, step: steps.Receive) -> None:
    """Whoever finds the invoice in the node's list pays it, perhaps before the gateway knows of it."""
    user = stage.new_user(step.federation)
    order = step.amount_msat, step.expiry_s
    async with anyio.create_task_group() as tasks:

        def asks(payment: IncomingPayment) -> None:
            tasks.start_soon(_await_contract, stage, user, payment)
            tasks.start_soon(pay_early, payment)

        async def pay_early(payment: IncomingPayment) -> None:
            invoice = await odd_payments.found_at_node(stage, payment)
            if invoice is not None:
                await anyio.sleep(step.pays_after_s)
                await pay_over_lightning(stage, invoice, payment)

        with contextlib.suppress(Refused, InputError):
            await _ordered(stage, (step.federation, user), order, step.flaw, asks)


async def _pay(stage: Stage, payment: IncomingPayment, invoice: str, payer: steps.Payer) -> None:
    world = stage.world
    if payer == "does not pay":
        return
    if payer in {"locks more", "pays twice"}:
        more_msat = 1_000_000 if payer == "locks more" else 0
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
        return
    if payer == "pays late":
        stage.tasks.start_soon(_mine_to_deadline, stage)
    await pay_over_lightning(stage, invoice, payment)


async def _mine_to_deadline(stage: Stage) -> None:
    stage.mine(_BLOCKS_UNTIL_DEADLINE)


async def pay_over_lightning(stage: Stage, invoice: str, payment: IncomingPayment) -> None:
    """The other node pays; a preimage that it gets is one that the receiver was paid for."""
    payment_hash = bolt11.decode(invoice).payment_hash
    ended: Succeeded | Failed | None = None
    try:
        async with stage.world.payee.pay(
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
        return
    stage.witness.counts[f"receive {type(ended).__name__.lower()}"] += 1
    if isinstance(ended, Succeeded):
        stage.expect(ended.preimage == payment.preimage, "a payer got a preimage of nobody's")
        funded = any(
            contract.commitment.payment_image == payment.contract.commitment.payment_image
            for federation in stage.world.federations
            for contract in federation.consensus.ledger.incoming.values()
        )
        stage.expect(funded, "a payer got the preimage of a receiver who was not paid")


async def _await_contract(stage: Stage, user: EmbeddedUser, payment: IncomingPayment) -> None:
    """The user takes what the gateway has funded, if it is worth its fee to claim."""
    out_point = await user.await_funded(payment)
    if out_point is None:
        return
    try:
        await user.claim(payment, out_point)
    except TransactionRefused:  # its preimage was none, and the gateway has taken it back
        stage.witness.counts["claim refused"] += 1


# --- between federations -----------------------------------------------------------------------------------------


async def swap(stage: Stage, step: steps.Swap) -> None:
    """The node knows nothing of it, unless somebody pays over Lightning, too."""
    receiver = stage.new_user(step.target)
    try:
        payment, invoice = await _ordered(
            stage, (step.target, receiver), (step.amount_msat, _SWAP_EXPIRY_S), step.flaw
        )
    except (Refused, InputError):
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_await_contract, stage, receiver, payment)
        if step.pays_after_s:
            await anyio.sleep(step.pays_after_s)
        tasks.start_soon(_pay_invoice, stage, step.source, invoice)
        if step.lightning_too:
            tasks.start_soon(pay_over_lightning, stage, invoice, payment)
