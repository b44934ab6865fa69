"""One payment of each kind, from beginning to end, whatever happens to the gateway.

A caller of a gateway that dies asks again where that is safe, and otherwise first looks what became of it.
"""

import hashlib

import anyio

from devnet.processes import until
from devnet.users.receiving import Flaw, IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from errors import UnavailableError
from fedimint.lnv2.gateway_api import Forfeited
from fedimint.mintv2 import Ecash
from statemachines import receive as receive_machine
from statemachines import transaction
from tests.scenarios.calls import DEADLINE_S, Calls, RefusedError, patiently
from tests.scenarios.stage import HeldInvoice, Stage, StagedFederation

#: Blocks until a federation acts on a transaction of the chain: it waits for some on top, and one more for its vote.
BURIED_BLOCKS = 10
_CONFLICT = 409


# --- sending -----------------------------------------------------------------------------------------------------


async def pay(
    stage: Stage, federation: StagedFederation, user: EmbeddedUser, invoice: str
) -> bytes | None:
    """What comes of an invoice that the user wants paid: its preimage, or None and an immediate refund."""
    calls = Calls(stage.gateway)
    routing = await patiently(lambda: calls.routing_info(federation))
    payment = await user.fund(invoice, routing)
    answer = await patiently(lambda: calls.send(user.body(payment)))
    preimage = await user.settle(payment, answer)
    assert (preimage is None) == isinstance(answer, Forfeited)
    await patiently(calls.settled)
    return preimage


async def send(
    stage: Stage, federation: StagedFederation, user: EmbeddedUser, invoice: str
) -> None:
    """The user pays an invoice through the gateway and holds its preimage."""
    preimage = await pay(stage, federation, user, invoice)
    assert preimage is not None, "the gateway gave the payment up"


async def send_in_vain(
    stage: Stage, federation: StagedFederation, user: EmbeddedUser, invoice: str
) -> None:
    """The gateway cannot pay the invoice, and the user is refunded at once."""
    assert await pay(stage, federation, user, invoice) is None, "the gateway paid"


async def send_held(
    stage: Stage,
    federation: StagedFederation,
    user: EmbeddedUser,
    tasks: anyio.abc.TaskGroup,
    amount_msat: int,
) -> HeldInvoice:
    """A payment that has arrived at its payee, who holds it; `send` goes on in the tasks."""
    held = await stage.other_node.hold(amount_msat)
    tasks.start_soon(send, stage, federation, user, held.invoice)
    await held.accepted()
    return held


# --- receiving ---------------------------------------------------------------------------------------------------


async def ordered(
    stage: Stage,
    federation: StagedFederation,
    user: EmbeddedUser,
    amount_msat: int,
    flaw: Flaw | None = None,
) -> tuple[IncomingPayment, str]:
    """A contract of the user's and the gateway's invoice for it. An invoice that never came is ordered anew."""
    calls = Calls(stage.gateway)

    async def order() -> tuple[IncomingPayment, str]:
        routing = await calls.routing_info(federation)
        payment = user.receive(IncomingOrder(amount_msat, stage.now_unix_s()), routing, flaw)
        return payment, await calls.create_invoice(user.receive_body(payment))

    payment, invoice = await patiently(order)
    user.check_invoice(payment, invoice)
    return payment, invoice


async def claim(user: EmbeddedUser, payment: IncomingPayment) -> None:
    """The user takes what the gateway has funded."""
    out_point = await user.await_funded(payment)
    assert out_point is not None, "the gateway funded nothing"
    await user.claim(payment, out_point)


async def receive(
    stage: Stage, federation: StagedFederation, user: EmbeddedUser, amount_msat: int
) -> None:
    """Somebody pays the user over Lightning, and gets the user's preimage for it; after a death perhaps anew."""
    payment, invoice = await ordered(stage, federation, user, amount_msat)
    while (preimage := await stage.other_node.pay(invoice)) is None:
        assert _was_given_up(stage, payment), "the payer was refunded"
        payment, invoice = await ordered(stage, federation, user, amount_msat)
    assert preimage == payment.preimage
    await claim(user, payment)
    await patiently(Calls(stage.gateway).settled)


async def swap(
    stage: Stage,
    sender: tuple[StagedFederation, EmbeddedUser],
    receiver: tuple[StagedFederation, EmbeddedUser],
    amount_msat: int,
) -> None:
    """A user of one federation pays a user of another; no payment reaches the node."""
    assert await try_to_swap(stage, sender, receiver, amount_msat), "the gateway gave the swap up"


async def try_to_swap(
    stage: Stage,
    sender: tuple[StagedFederation, EmbeddedUser],
    receiver: tuple[StagedFederation, EmbeddedUser],
    amount_msat: int,
) -> bool:
    """As `swap`; False when the gateway gave it up, which leaves everybody their money."""
    payment, invoice = await ordered(stage, *receiver, amount_msat)
    while await pay(stage, *sender, invoice) is None:
        if not _was_given_up(stage, payment):
            return False
        payment, invoice = await ordered(stage, *receiver, amount_msat)
    await claim(receiver[1], payment)
    return True


def _was_given_up(stage: Stage, payment: IncomingPayment) -> bool:
    """Whether the gateway gave its funding up: it was decided, and not signed at once by the same process."""
    stream = receive_machine.stream_of(hashlib.sha256(payment.preimage).hexdigest())
    rows = stage.gateway.rows()
    failed = {
        row.append
        for row in rows
        if (row.stream, row.kind) == (stream, receive_machine.ReceiveFundingFailed.kind)
    }
    return any(row.append in failed and row.kind == transaction.TxAbandoned.kind for row in rows)


# --- bitcoin -----------------------------------------------------------------------------------------------------


async def deposit(stage: Stage, federation: StagedFederation, address: str, value_sat: int) -> None:
    """Coins to an address of the gateway's become its ecash."""
    calls = Calls(stage.gateway)
    before_msat = await patiently(lambda: calls.balance_msat(federation))
    await stage.chain.pay(address, value_sat)
    stage.witness.paid_in_sat += value_sat
    await stage.chain.mine(BURIED_BLOCKS)

    async def has_grown() -> bool:
        return await calls.balance_msat(federation) > before_msat

    await until("the deposit is ecash", has_grown, deadline_s=DEADLINE_S)
    await patiently(calls.settled)


async def withdraw(stage: Stage, federation: StagedFederation, amount_sat: int | None) -> str:
    """Ecash of the gateway's becomes coins of somebody's, at the address returned; None is all of it."""
    calls = Calls(stage.gateway)
    address = await stage.chain.new_address()
    stage.witness.payout_addresses.append(address)

    async def is_paid() -> bool:
        """Nothing says whether a withdrawal without an answer was begun: the chain shows it."""
        await stage.chain.mine(1)
        return await stage.chain.received_sat(address) > 0

    while True:
        try:
            await calls.withdraw(federation, address, amount_sat)
        except UnavailableError:
            await patiently(calls.settled)
            await stage.chain.mine(1)
            if not await is_paid():
                continue
        await until("the withdrawal is on the chain", is_paid, deadline_s=DEADLINE_S)
        await patiently(calls.settled)
        return address


# --- ecash -------------------------------------------------------------------------------------------------------


async def hand_in(stage: Stage, federation: StagedFederation, amount_msat: int) -> None:
    """Somebody's ecash becomes the gateway's."""
    text = await federation.ecash(amount_msat)
    calls = Calls(stage.gateway)
    try:
        await patiently(lambda: calls.receive_ecash(text))
    except RefusedError as refused:
        # The answer was lost, and by now it is the gateway's.
        if refused.status != _CONFLICT:
            raise
    stage.witness.handed_in_msat += Ecash.parse(text).amount_msat()
    await patiently(calls.settled)


async def give(stage: Stage, federation: StagedFederation, amount_msat: int) -> None:
    """Ecash of the gateway's becomes a user's. Ecash whose text was lost on the way stays nobody's."""
    user = await federation.new_user(0)
    calls = Calls(stage.gateway)
    text = await patiently(lambda: calls.spend_ecash(federation, amount_msat))
    given = Ecash.parse(text)
    await user.wallet.receive(given)
    back_msat = stage.witness.given_back_msat
    name = federation.federation_id
    back_msat[name] = back_msat.get(name, 0) + given.amount_msat()
    await patiently(calls.settled)
