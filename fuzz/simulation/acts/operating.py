"""The operator in a simulated run: coins and ecash in and out, terms, leaving, payments of their own."""

import contextlib
import hashlib

import anyio
import msgspec

from backends.simulated.chain import ChainOutput
from devnet.users.wallet import TransactionRefused
from errors import InputError, UnavailableError
from fedimint.codec import secp
from fedimint.codec.addresses import parse_address
from fedimint.mintv2 import Ecash
from fedimint.mintv2.selection import round_up_msat
from fuzz.simulation.acts.paying import payee_invoice
from fuzz.simulation.harness import Harness, Refused, persist
from fuzz.simulation.plans import operator_steps, steps
from statemachines import reissue

#: What the gateway is given in a federation before anything happens.
FLOAT_MSAT = 512 * 120_000
_NODE_MET_S = 10.0


async def join(harness: Harness, federation: int) -> None:
    """Serve a federation, and have ecash there to pay receivers with."""
    await connect(harness, federation)
    harness.joined.append(federation)
    await _hand_in(harness, harness.federation(federation).issue_ecash(FLOAT_MSAT))


async def connect(harness: Harness, federation: int, *, recover: bool = False) -> None:
    """Have it served."""
    invite = harness.federation(federation).invite_code().to_text()
    body = {"invite_code": invite, "recover": recover}
    with contextlib.suppress(Refused):  # served already: an answer was lost
        await persist(lambda: harness.call("POST", "/connect_fed", body))


async def _hand_in(harness: Harness, ecash: Ecash) -> None:
    text = ecash.to_text()
    with contextlib.suppress(Refused):  # spent, or ours by now and the answer was lost
        await persist(lambda: harness.call("POST", "/receive_ecash", {"notes": text}))
        harness.expect(_counts(harness, ecash), "6: ecash was counted before it was the gateway's")


def _counts(harness: Harness, ecash: Ecash) -> bool:
    """Whether the gateway has made it its own."""
    state = harness.auditor.state_of(reissue.stream_of(ecash.operation_id().hex()))
    return isinstance(state, reissue.Reissued)


# --- coins -------------------------------------------------------------------------------------------------------


async def deposit(harness: Harness, step: steps.Deposit) -> bool:
    """Its end is the chain's affair: blocks bury it."""
    body = {"federation_id": harness.federation_id(step.federation)}
    with contextlib.suppress(Refused):
        answer = await persist(lambda: harness.call("POST", "/address", body))
        script = parse_address(msgspec.json.decode(answer, type=str)).script_pubkey
        harness.world.chain.send(ChainOutput(script, step.value_sat))
        harness.witness.paid_in_sat += step.value_sat
        return True
    return False


async def withdraw(harness: Harness, step: steps.Withdraw) -> bool:
    """Asked for once, since nothing says what became of a withdrawal without an answer; the chain shows it."""
    address, _script = harness.new_address()
    body = {
        "federation_id": harness.federation_id(step.federation),
        "amount": step.value_sat or "all",
        "address": address,
    }
    with contextlib.suppress(Refused, UnavailableError):
        await harness.call("POST", "/withdraw", body)
        harness.witness.counts["withdrawn"] += 1
        return True
    return False


# --- ecash -------------------------------------------------------------------------------------------------------


async def hand_in(harness: Harness, step: steps.HandIn) -> bool:
    """In the end the gateway has it, or somebody who was quicker."""
    ecash = harness.federation(step.federation).issue_ecash(round_up_msat(step.amount_msat))
    harness.witness.handed_in += [(step.federation, note) for note in ecash.notes()]
    async with anyio.create_task_group() as tasks:
        if step.spent_elsewhere:
            tasks.start_soon(_redeem, harness, step.federation, ecash)
        tasks.start_soon(_hand_in, harness, ecash)
    return _counts(harness, ecash)


async def give(harness: Harness, step: steps.Give) -> bool:
    """Asked for once; ecash whose text was lost on the way stays nobody's."""
    body = {
        "federation_id": harness.federation_id(step.federation),
        "amount": round_up_msat(step.amount_msat),
    }
    try:
        answer = await harness.call("POST", "/spend_ecash", body)
    except (Refused, UnavailableError):
        return False
    ecash = Ecash.parse(msgspec.json.decode(answer, type=dict[str, str])["notes"])
    harness.auditor.ecash_leaves(note.note().nonce.hex() for note in ecash.notes())
    harness.witness.counts["ecash given"] += 1
    if step.redeemed:
        await _redeem(harness, step.federation, ecash)
    return True


async def _redeem(harness: Harness, federation: int, ecash: Ecash) -> None:
    with contextlib.suppress(TransactionRefused, InputError):  # spent by another; not worth its fee
        await harness.new_user(federation).wallet.receive(ecash)


# --- the rest ----------------------------------------------------------------------------------------------------


async def leave(harness: Harness, step: steps.Leave) -> bool:
    """Refused while payments are under way; else the ecash is there on the return. Whether it was left."""
    body = {"federation_id": harness.federation_id(step.federation)}
    is_left = False
    with contextlib.suppress(Refused, UnavailableError):
        await harness.call("POST", "/leave_fed", body)
        is_left = True
    harness.witness.counts["left"] += is_left
    await anyio.sleep(step.away_s)
    await connect(harness, step.federation)
    return is_left


async def set_terms(harness: Harness, step: steps.SetTerms) -> bool:
    """Payments under way keep the terms on which they were accepted."""
    federation_id = harness.federation_id(step.federation)
    fees = {"federation_id": federation_id, "transaction_base": step.transaction_base_msat}
    policy = {"federation_id": federation_id, "receive_enabled": step.receive_enabled}
    with contextlib.suppress(Refused):
        await persist(lambda: harness.call("POST", "/set_fees", fees))
        await persist(lambda: harness.call("POST", "/set_payment_policy", policy))
        return True
    return False


async def set_cap(harness: Harness, step: operator_steps.SetCap) -> bool:
    """What is at stake already stays so."""
    body = {"federation_id": harness.federation_id(step.federation), "cap_msat": step.cap_msat}
    with contextlib.suppress(Refused):
        await persist(lambda: harness.call("POST", "/set_exposure_cap", body))
        return True
    return False


async def trust_again(harness: Harness, step: operator_steps.TrustAgain) -> bool:
    """Refused where there is nothing to forgive."""
    body = {"federation_id": harness.federation_id(step.federation)}
    with contextlib.suppress(Refused):
        await persist(lambda: harness.call("POST", "/trust_again", body))
        return True
    return False


async def replace_node(harness: Harness, _step: operator_steps.ReplaceNode) -> bool:
    """What the old one was called for it alone could tell, though its channels are the same here."""
    gone = harness.world.gateway_node.public_key.hex()
    harness.node_key = secp.public_key(hashlib.sha256(b"another node").digest()).hex()
    await harness.gateway.kill()
    await anyio.sleep(_NODE_MET_S)
    with contextlib.suppress(Refused):
        await persist(lambda: harness.call("POST", "/replace_node", {"gone_node": gone}))
        return True
    return False


async def operator_pays(harness: Harness, step: steps.OperatorPays) -> bool:
    """The same request again joins a payment that is under way, and begins anew one that failed."""
    invoice = payee_invoice(harness, step.amount_msat, step.payee, step.hold_s, 600)
    body = {"invoice": invoice}
    is_paid = False
    for _ in range(2 if step.again else 1):
        with contextlib.suppress(Refused):
            await persist(lambda: harness.call("POST", "/pay_invoice_for_operator", body))
            is_paid = True
    return is_paid


async def operator_sends(harness: Harness, step: steps.OperatorSends) -> bool:
    """Ordered once."""
    address, _script = harness.new_address()
    harness.witness.payout_scripts.pop()  # it is paid by the node and not by a federation
    body = {"address": address, "amount": step.value_sat, "fee_rate_sats_per_vbyte": 1}
    with contextlib.suppress(Refused, UnavailableError):
        await harness.call("POST", "/send_onchain", body)
        return True
    return False
