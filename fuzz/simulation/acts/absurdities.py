"""Numbers that no honest guardian or client sends: all are refused, and none is in the log.

Drawn apart from everything else, in every twentieth seed, so that all other seeds stay what they are.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from unittest.mock import patch

import msgspec

from devnet.guardians import dealer
from devnet.guardians.dealer import fresh_secret
from devnet.users.receiving import IncomingOrder
from devnet.users.user import OutgoingPayment
from errors import UnavailableError
from fedimint import lnv2
from fedimint.codec import bolt11, secp, wire_types
from fedimint.codec.wire_types import FeeConsensus, OutPoint, TransactionId
from fedimint.crypto import bls
from fedimint.lnv2 import HashImage, OutgoingContract
from fedimint.mintv2 import Ecash, SpendableNote
from fuzz.simulation.acts.absurd_guardians import Absurdity
from fuzz.simulation.acts.paying import routing_of
from fuzz.simulation.harness import Harness, Refused
from fuzz.simulation.plans import byzantine_steps, steps
from fuzz.simulation.plans.story_steps import depositing, in_turn, receiving, sending
from statemachines import federation

#: Seeds that leave this rest of so many have them.
_EVERY, _REST = 20, 10
#: More than there is of anything, and what 64 bits hold.
NUMBERS = ((1 << 62), (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
#: A note of more than all bitcoin.
_DENOMINATION = 62
_EXPIRY_S = 600


def draw(seed: int) -> tuple[steps.AnyStep, ...]:
    """Payments during which guardians become absurd, a client who is, and a federation that is from the beginning."""
    if seed % _EVERY != _REST:
        return ()
    dice = random.Random(f"absurd {seed}")
    number, turn = dice.randrange(2), seed // _EVERY
    wanted: tuple[steps.AnyStep, ...] = in_turn(
        turn,
        (*depositing(number), steps.Withdraw(at_s=40.0, federation=number, value_sat=10_000)),
        (receiving(dice, number), sending(dice, number, "holds and takes")),
    )
    return (
        *wanted,
        byzantine_steps.AbsurdGuardians(
            at_s=dice.choice((0.0, 5.0, dice.uniform(0, 40))),
            federation=number,
            all_of_them=dice.random() < 0.7,
            number=dice.choice(NUMBERS),
            field=in_turn(turn // 2, "", "value"),
            for_s=dice.choice((10.0, 40.0, 90.0)),
        ),
        byzantine_steps.AbsurdClient(
            at_s=dice.uniform(0, 60), federation=number, number=dice.choice(NUMBERS)
        ),
        byzantine_steps.AbsurdFederation(
            at_s=dice.uniform(0, 60), kind=in_turn(turn // 2, "denomination", "fees")
        ),
    )


async def absurd_guardians(harness: Harness, step: byzantine_steps.AbsurdGuardians) -> None:
    """All of a federation, or the first alone."""
    endpoints = harness.federation(step.federation).config.api_endpoints
    urls = [endpoints[peer].url for peer in sorted(endpoints)]
    absurd = urls if step.all_of_them else urls[:1]
    said = harness.absurd_guardians.said
    said.update(dict.fromkeys(absurd, Absurdity(step.number, step.field)))
    await harness.lasts(step.for_s)
    for url in absurd:
        del said[url]


async def absurd_client(harness: Harness, step: byzantine_steps.AbsurdClient) -> None:
    """One request after the other."""
    with suppress(Refused):
        for path, body in [*await _requests(harness, step)]:
            await _is_refused(harness, path, body)


async def _is_refused(harness: Harness, path: str, body: object) -> None:
    """Or nobody answers just then; a mistake of the gateway's is told by the harness."""
    try:
        await harness.call("POST", path, body)
    except UnavailableError:
        harness.witness.counts["absurd requests unheard"] += 1
    except Refused:
        harness.witness.counts["absurd requests refused"] += 1
    else:
        harness.expect(False, f"9: {path} was answered to absurd numbers")


async def _requests(
    harness: Harness, step: byzantine_steps.AbsurdClient
) -> Iterator[tuple[str, object]]:
    routing = await routing_of(harness, step.federation)
    user, federation_id = harness.new_user(step.federation), harness.federation_id(step.federation)
    invoice = bolt11.decode(harness.world.payee.make_invoice(1_000, expiry_s=_EXPIRY_S).text)
    refund_secret = fresh_secret(harness.dice.randbytes)
    contract = OutgoingContract(
        HashImage(invoice.payment_hash),
        step.number,
        harness.world.chain.height + 1_000,
        bytes.fromhex(routing.module_public_key),
        secp.public_key(refund_secret),
        secp.public_key(refund_secret),
    )
    out_point = OutPoint(TransactionId(harness.dice.randbytes(32)), 0)
    payment = OutgoingPayment(
        contract, out_point, lnv2.LightningInvoice(invoice.text), refund_secret
    )
    ordered = user.receive(IncomingOrder(1_000_000, harness.now_unix_s(), _EXPIRY_S), routing)
    order = msgspec.to_builtins(user.receive_body(ordered))
    order["amount"] = order["contract"]["commitment"]["amount"] = step.number
    address, script = harness.new_address()
    harness.witness.payout_scripts.remove(script)
    note = SpendableNote(
        _DENOMINATION, harness.dice.randbytes(32), bls.encode_g1(bls.g1_generator())
    )
    ecash = Ecash.of(harness.federation(step.federation).federation_id, (note,))
    return iter(
        (
            ("/send_payment", user.body(payment)),
            ("/create_bolt11_invoice", order),
            ("/spend_ecash", {"federation_id": federation_id, "amount": step.number}),
            (
                "/withdraw",
                {"federation_id": federation_id, "amount": step.number, "address": address},
            ),
            ("/receive_ecash", {"notes": ecash.to_text()}),
            (
                "/send_onchain",
                {"address": address, "amount": step.number, "fee_rate_sats_per_vbyte": 1},
            ),
        )
    )


async def absurd_federation(harness: Harness, step: byzantine_steps.AbsurdFederation) -> None:
    """One that is not joined, whatever its operator says."""
    most = FeeConsensus((1 << 64) - 1, 0)
    what, how = {
        "denomination": ("DENOMINATIONS", (*dealer.DENOMINATIONS, _DENOMINATION)),
        "fees": ("LNV2_FEE", most),
    }[step.kind]
    believing = patch.multiple(wire_types, MOST_MSAT=1 << 64, LARGEST_DENOMINATION=_DENOMINATION)
    with patch.object(dealer, what, how), believing:  # its guardians believe themselves
        made = harness.world.add_federation(f"absurd in {step.kind}")
    body = {"invite_code": made.invite_code().to_text(), "recover": False}
    await _is_refused(harness, "/connect_fed", body)
    state = harness.auditor.state_of(federation.stream_of(made.federation_id.hex()))
    harness.expect(not isinstance(state, federation.Joined), "9: an absurd federation is joined")
