"""Faults that no gateway can make good, each written down: the acts of `byzantine_steps.py`."""

from collections.abc import Mapping

import anyio

from devnet.guardians.dealer import WALLETV2_ID
from devnet.guardians.transaction_rules import DecodedTransaction
from devnet.users.onchain import OnchainUser
from devnet.users.wallet import TransactionRefused
from engine.machine import State
from errors import ConflictError, UnavailableError
from fedimint import lnv2, mintv2, walletv2
from fedimint.codec.wire_types import OutPoint
from fedimint.crypto import secrets
from fedimint.lnv2 import tpe
from fedimint.transaction import TRANSACTION
from fedimint.walletv2.deposits import GroundAddress
from fuzz.simulation.harness import RETRY_PAUSE_S, Harness
from fuzz.simulation.plans import byzantine_steps
from fuzz.simulation.virtual_time import WORDS
from statemachines import completion, deposit, send


async def federation_refuses(harness: Harness, step: byzantine_steps.FederationRefuses) -> None:
    """What was refused stays so when the federation has come to its senses."""
    federation = harness.federation(step.federation)
    rules = federation.consensus.rules
    left = step.times

    def is_meant(decoded: DecodedTransaction) -> bool:
        if step.kind == "gateway's":
            return harness.auditor.has_signed(TRANSACTION.encode(decoded.transaction).hex())
        return _is_of(step.kind, decoded, federation.consensus.ledger.incoming)

    def refuses(decoded: DecodedTransaction) -> bool:
        nonlocal left
        if not left or not is_meant(decoded):
            return False
        left -= 1
        harness.wrongs.refused.add(decoded.transaction.txid().hex())
        return True

    rules.refuses = refuses
    await harness.lasts(step.for_s)
    if rules.refuses is refuses:
        rules.refuses = None


def _is_of(
    kind: byzantine_steps.Kind,
    decoded: DecodedTransaction,
    incoming: Mapping[OutPoint, lnv2.IncomingContract],
) -> bool:
    """Whether a transaction is of this kind; `incoming` are all incoming contracts ever funded."""
    if kind == "ecash":
        items = (*decoded.inputs, *decoded.outputs)
        return all(isinstance(item, mintv2.MintInput | mintv2.MintOutput) for item in items)
    if kind == "claim":
        return any(_is_claim(item) for item in decoded.inputs)
    if kind == "taking back":
        return any(_is_taking_back(item, incoming) for item in decoded.inputs)
    if kind == "deposit":
        return any(isinstance(item, walletv2.WalletInput) for item in decoded.inputs)
    if kind == "withdrawal":
        return any(isinstance(item, walletv2.WalletOutput) for item in decoded.outputs)
    return any(
        isinstance(item, lnv2.OutputV0) and isinstance(item.inner, lnv2.IncomingOutput)
        for item in decoded.outputs
    )


def _is_claim(item: object) -> bool:
    match item:
        case lnv2.InputV0(lnv2.OutgoingInput(witness=lnv2.Claim())):
            return True
    return False


def _is_taking_back(item: object, incoming: Mapping[OutPoint, lnv2.IncomingContract]) -> bool:
    match item:
        case lnv2.InputV0(lnv2.IncomingInput(out_point=out_point, aggregate_decryption_key=key)):
            contract = incoming[out_point]
            preimage = tpe.decrypt(contract.ciphertext, key)
            return not lnv2.is_preimage(contract.commitment.payment_image, preimage)
    return False


async def deposits_taken(harness: Harness, step: byzantine_steps.DepositsTaken) -> None:
    """A second gateway of the same words, perhaps forgotten somewhere: it is quicker while ours is away or slow."""
    federation = harness.federation(step.federation)
    federation_id = harness.federation_id(step.federation)
    client = secrets.client_secret(secrets.root_secret(WORDS), bytes(federation.federation_id))
    rival = OnchainUser(
        federation.config,
        federation.asked_by(),
        secrets.module_secret(client, WALLETV2_ID),
        harness.new_user(step.federation).wallet,
    )
    while output := await harness.finds(lambda: _found(harness, federation_id), step.for_s):
        await _take(harness, rival, step.federation, output)
        await anyio.sleep(RETRY_PAUSE_S)


def _found(harness: Harness, federation_id: str) -> deposit.DepositOutput | None:
    """What the log says is found and not claimed yet, and nobody else has taken."""
    return next(
        (
            state.output
            for state in harness.auditor.states().values()
            if isinstance(state, deposit.Found | deposit.Claiming)
            and state.federation_id == federation_id
            and (federation_id, state.output.output_index) not in harness.wrongs.taken
        ),
        None,
    )


async def _take(
    harness: Harness, rival: OnchainUser, federation: int, output: deposit.DepositOutput
) -> None:
    name = harness.federation_id(federation), output.output_index
    (listed,) = harness.federation(federation).consensus.ledger.wallet.outputs(
        output.output_index, output.output_index + 1
    )
    harness.wrongs.taken.add(name)
    try:
        claimed_sat = await rival.claim_output(
            GroundAddress(output.address_index, listed.script_pubkey), listed
        )
    except (TransactionRefused, UnavailableError):  # ours was quicker, or too few guardians answer
        claimed_sat = 0
    if not claimed_sat:
        harness.wrongs.taken.discard(name)


async def node_gives_up(harness: Harness, step: byzantine_steps.NodeGivesUp) -> None:
    """Once, and of everything that is held then."""
    node = harness.world.gateway_node

    def held() -> list[str]:
        hashes = [payment_hash.hex() for payment_hash in node.held()]
        is_funded = any(isinstance(_answer_to(harness, h), completion.Waiting) for h in hashes)
        return hashes if is_funded else []

    for payment_hash in await harness.finds(held, step.for_s) or ():
        harness.wrongs.given_up.add(payment_hash)
        node.cancel_held(bytes.fromhex(payment_hash))


def _answer_to(harness: Harness, payment_hash: str) -> State:
    return harness.auditor.state_of(completion.stream_of(payment_hash))


async def node_forgets_invoices(
    harness: Harness, _step: byzantine_steps.NodeForgetsInvoices
) -> None:
    """The node refuses payers of these invoices; what was paid before it remembers from its channels."""
    node = harness.world.gateway_node
    for payment_hash in [*node.invoices]:
        if payment_hash.hex() in harness.wrongs.of_another_gateway:
            continue
        try:
            node.forget_invoice(payment_hash)
        except ConflictError:
            continue
        harness.wrongs.forgotten.add(payment_hash.hex())


async def node_forgets_payments(
    harness: Harness, step: byzantine_steps.NodeForgetsPayments
) -> None:
    """Of those alone that it has shown in flight, and that no call is on its way for: what is relied on it keeps."""
    node, lost = harness.world.gateway_node, harness.wrongs.lost_records
    forgotten = await harness.finds(lambda: _in_flight(harness), step.for_s) or []
    lost |= {name: node.forget(bytes.fromhex(name)) for name in forgotten}
    if forgotten:
        node.cut_streams()
        await harness.lasts(step.for_s)
    for name in forgotten:
        node.restore(bytes.fromhex(name), lost.pop(name))


def _in_flight(harness: Harness) -> list[str]:
    """Payment hashes."""
    if harness.world.gateway_node.has_delayed:
        return []
    return [
        state.facts.payment_hash
        for state in harness.auditor.states().values()
        if isinstance(state, send.InFlight)
        and state.facts.payment_hash not in harness.wrongs.lost_records
    ]
