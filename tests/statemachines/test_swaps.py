"""A payment between two federations of this gateway: funded once, given up only when no preimage can follow."""

import msgspec
import pytest

from engine.machine import Input
from errors import ConflictError
from fuzz.machines.scene import (
    CONTRACT_EXPIRES_UNIX_S,
    EXPIRES_UNIX_S,
    FEDERATION,
    FEES,
    NODE,
    OTHER,
    PREIMAGE,
    WALLET,
    Scene,
    facts,
    opened_both,
    receive_facts,
    txid_of,
)
from statemachines import completion, image, receive, send, send_rules, transaction
from statemachines.items import ContractClaim, FundedContract
from statemachines.receive import (
    Decrypted,
    FundForSwap,
    HtlcHeld,
    InvoiceCreated,
    InvoiceForgotten,
    RequestReceive,
    Undecryptable,
)
from statemachines.send import (
    EXPIRATION_DELTA_MINIMUM_BLOCKS,
    RequestSend,
    SwapFailed,
    SwapMeasured,
    SwapSucceeded,
)
from statemachines.transaction import stream_of
from statemachines.wallet import OpenWallet

#: The sender is in FEDERATION, the receiver in OTHER.
SENT, RECEIVED = facts(is_swap=True), receive_facts(federation_id=OTHER)
SEND, RECEIVE = send.stream_of(SENT.contract_id), receive.stream_of(RECEIVED.payment_hash)
HTLCS = completion.stream_of(RECEIVED.payment_hash)
FUNDING, CLAIM = stream_of(OTHER, 1), stream_of(FEDERATION, 1)
KEY = "d0" * 48
MEASURED = SwapMeasured(remaining_blocks=500, now_unix_s=5_000, refusal=None)
HTLC = HtlcHeld(
    amount_msat=RECEIVED.invoice_msat, deadline_blocks=100, now_unix_s=5_000, refusal=None
)


def invoiced(received: receive.ReceiveFacts = RECEIVED, scene: Scene | None = None) -> Scene:
    scene = scene or opened_both()
    scene.deliver(RECEIVE, RequestReceive(facts=received))
    scene.deliver(RECEIVE, InvoiceCreated(invoice=SENT.invoice))
    return scene


def asked(scene: Scene, sent: send.SendFacts = SENT) -> Scene:
    scene.deliver(send.stream_of(sent.contract_id), RequestSend(facts=sent, other_network=False))
    return scene


def swapping() -> Scene:
    scene = asked(invoiced())
    scene.deliver(SEND, MEASURED)
    return scene


def cancelled(scene: Scene) -> tuple[str, str]:
    state = scene.send()
    assert isinstance(state, send.Cancelling), state
    return state.reason, state.detail


# --- the whole way -------------------------------------------------------------------------------------------------


def test_a_swap_is_measured_and_never_asked_of_the_node() -> None:
    scene = asked(invoiced())
    assert scene.wants(SEND) == {"swap": send.MeasureSwap(facts=SENT)}


def test_a_swap_funds_and_shuts_its_invoice_for_lightning_in_one_append() -> None:
    scene = swapping()
    assert scene.last_append() == [
        *("send.swapping", "receive.funding"),
        *("completion.begun", "completion.cancelling"),
        *("wallet.reserved", "tx.reserved"),
    ]
    assert scene.send() == send.Swapping(facts=SENT)
    assert scene.receive() == receive.Funding(facts=RECEIVED, payer=SEND)
    funded = FundedContract(RECEIVED.contract, RECEIVED.contract_msat)
    assert scene.reservation(FUNDING).outputs == (funded,)
    cancel = completion.CancelHtlcs(payment_hash=RECEIVED.payment_hash)
    assert scene.wants(HTLCS) == {"cancel": cancel}
    assert scene.wants(SEND) == {}


def test_the_preimage_of_the_receiver_claims_from_the_sender_in_one_append() -> None:
    scene = swapping()
    scene.accept(FUNDING)
    scene.deliver(RECEIVE, Decrypted(preimage=PREIMAGE))
    assert scene.last_append() == [
        *("receive.succeeded", "send.paid"),
        *("wallet.reserved", "tx.reserved"),
    ]
    claim = ContractClaim(SENT.txid, SENT.out_idx, SENT.contract_msat, PREIMAGE)
    assert scene.reservation(CLAIM).claims == (claim,)
    scene.finish(CLAIM)
    scene.collect(FUNDING)
    assert isinstance(scene.send(), send.Claimed)
    assert scene.receive() == receive.Received(
        facts=RECEIVED, payer=SEND, txid=txid_of(FUNDING), preimage=PREIMAGE
    )
    report = scene.audit()
    assert report.is_sound
    assert "node" not in report.balances
    assert "swaps" not in report.balances
    assert report.balances["fees_earned"] == RECEIVED.contract_msat - SENT.contract_msat


def test_sender_and_receiver_may_be_in_one_federation() -> None:
    scene = asked(invoiced(receive_facts()))
    scene.deliver(SEND, MEASURED)
    scene.finish(stream_of(FEDERATION, 1))
    scene.deliver(RECEIVE, Decrypted(preimage=PREIMAGE))
    scene.finish(stream_of(FEDERATION, 2))
    assert isinstance(scene.send(), send.Claimed)
    assert scene.audit().is_sound


# --- refused before anything is funded -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (
            SwapMeasured(remaining_blocks=500, now_unix_s=EXPIRES_UNIX_S, refusal=None),
            send_rules.INVOICE_EXPIRED,
        ),
        (
            SwapMeasured(
                remaining_blocks=EXPIRATION_DELTA_MINIMUM_BLOCKS, now_unix_s=5_000, refusal=None
            ),
            send_rules.TIMEOUT_TOO_CLOSE,
        ),
        (
            SwapMeasured(remaining_blocks=500, now_unix_s=5_000, refusal="nobody waits"),
            send_rules.REGISTRATION_ERROR,
        ),
    ],
    ids=["expired", "too near the contract's end", "no receiver"],
)
def test_a_swap_that_cannot_be_is_refused_before_anything_is_funded(
    measured: SwapMeasured, reason: str
) -> None:
    scene = asked(invoiced())
    scene.deliver(SEND, measured)
    assert cancelled(scene)[0] == reason
    assert isinstance(scene.receive(), receive.Invoiced)


def test_a_contract_that_pays_too_little_is_not_swapped() -> None:
    scene = asked(invoiced(), facts(is_swap=True, contract_msat=1_009_999))
    scene.deliver(SEND, MEASURED)
    assert cancelled(scene)[0] == send_rules.UNDERFUNDED
    assert isinstance(scene.receive(), receive.Invoiced)


@pytest.mark.parametrize(
    ("received", "now_unix_s", "detail"),
    [
        (
            receive_facts(federation_id=OTHER, invoice_msat=999_999),
            5_000,
            "the invoice was made for another amount",
        ),
        (
            RECEIVED,
            CONTRACT_EXPIRES_UNIX_S - receive.CONTRACT_MARGIN_S + 1,
            "the receiver waits for this payment for 59 seconds more, too few to fund it",
        ),
    ],
    ids=["another amount", "near the contract's end"],
)
def test_a_receiver_that_refuses_stays_as_he_is(
    received: receive.ReceiveFacts, now_unix_s: int, detail: str
) -> None:
    late = msgspec.structs.replace(SENT, invoice_expires_unix_s=2 * CONTRACT_EXPIRES_UNIX_S)
    scene = asked(invoiced(received), late)
    scene.deliver(SEND, SwapMeasured(remaining_blocks=500, now_unix_s=now_unix_s, refusal=None))
    assert cancelled(scene) == (send_rules.REGISTRATION_ERROR, detail)
    assert isinstance(scene.receive(), receive.Invoiced)
    assert scene.state(HTLCS) == completion.Unborn()


# --- given up only when the inner receive ended without preimage -----------------------------------------------------


def test_a_receiver_that_the_wallet_cannot_pay_ends_the_swap_in_its_first_append() -> None:
    scene = Scene()
    for federation_id in (FEDERATION, OTHER):
        opening = OpenWallet(federation_id=federation_id, fees=FEES)
        scene.deliver(WALLET.replace(FEDERATION, federation_id), opening)
    asked(invoiced(scene=scene))
    scene.deliver(SEND, MEASURED)
    assert cancelled(scene)[0] == "Rejected"
    assert isinstance(scene.receive(), receive.FundingFailed)
    assert scene.last_append()[-2:] == ["receive.funding_failed", "send.cancelling"]


def test_a_funding_that_a_threshold_rejects_ends_the_swap() -> None:
    scene = swapping()
    scene.reject(FUNDING)
    assert cancelled(scene) == ("Rejected", "no")
    assert scene.audit().is_sound


@pytest.mark.parametrize("worth_msat", [0, 979_000], ids=["worth nothing", "taken back"])
def test_a_contract_without_preimage_ends_the_swap(worth_msat: int) -> None:
    scene = asked(invoiced(receive_facts(federation_id=OTHER, refund_worth_msat=worth_msat)))
    scene.deliver(SEND, MEASURED)
    scene.accept(FUNDING)
    scene.deliver(RECEIVE, Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    assert cancelled(scene) == ("Refunded", "the contract has no preimage")
    assert scene.audit().is_sound


def test_nothing_else_ends_a_swap() -> None:
    """Whatever is heard late, repeated or of Lightning: the sender's contract waits for the receive."""
    scene = swapping()
    heard: list[Input] = [
        *(MEASURED, SwapMeasured(remaining_blocks=0, now_unix_s=EXPIRES_UNIX_S, refusal="no")),
        *(send.BudgetMeasured(node=NODE, remaining_blocks=0, now_unix_s=0), send.CallUnanswered()),
        *(send.PaymentFailed(node=NODE, reason="no route"), send.CallRefused(reason="no")),
        *(RequestSend(facts=SENT, other_network=True), send.ForfeitSigned(forfeit="f0")),
    ]
    for _ in range(2):
        rows = list(scene.rows)
        for input_ in heard:
            scene.deliver(SEND, input_)
        for input_ in (InvoiceForgotten(), HTLC):
            scene.deliver(RECEIVE, input_)
        assert scene.rows == rows
        assert scene.send() == send.Swapping(facts=SENT)
        if isinstance(scene.state(FUNDING), transaction.Reserved):
            scene.build(FUNDING)


def test_a_swap_that_failed_is_given_back_for_ever() -> None:
    scene = swapping()
    scene.reject(FUNDING)
    rows = list(scene.rows)
    scene.deliver(SEND, SwapSucceeded(preimage=PREIMAGE))
    scene.deliver(RECEIVE, Decrypted(preimage=PREIMAGE))
    assert scene.rows == rows


def test_a_swap_that_succeeded_is_never_given_back() -> None:
    scene = swapping()
    scene.accept(FUNDING)
    scene.deliver(RECEIVE, Decrypted(preimage=PREIMAGE))
    rows = list(scene.rows)
    scene.deliver(SEND, SwapFailed(reason="Refunded", detail="no"))
    scene.deliver(RECEIVE, Undecryptable(decryption_key=KEY, now_unix_s=5_000))
    assert scene.rows == rows


# --- a second payer of one invoice never funds twice -----------------------------------------------------------------


def test_a_swap_after_an_htlc_is_refused_whole() -> None:
    scene = asked(invoiced())
    scene.deliver(RECEIVE, HTLC)
    rows = list(scene.rows)
    with pytest.raises(ConflictError, match="no receiver waits"):
        scene.deliver(SEND, MEASURED)
    assert scene.rows == rows
    assert scene.send() == send.Accepted(facts=SENT)
    scene.deliver(SEND, SwapMeasured(remaining_blocks=500, now_unix_s=5_000, refusal="funded"))
    assert cancelled(scene) == (send_rules.REGISTRATION_ERROR, "funded")


def test_an_htlc_after_a_swap_is_failed_back_by_what_is_recorded() -> None:
    scene = swapping()
    rows = list(scene.rows)
    scene.deliver(RECEIVE, HTLC)
    assert scene.rows == rows
    assert isinstance(scene.state(HTLCS), completion.Cancelling)
    scene.accept(FUNDING)
    scene.deliver(RECEIVE, Decrypted(preimage=PREIMAGE))
    assert isinstance(scene.state(HTLCS), completion.Cancelling), "a swap settles no HTLC"


def test_a_second_swap_for_one_invoice_is_refused_with_its_image() -> None:
    scene = swapping()
    same_hash = msgspec.structs.replace(facts(2, is_swap=True), payment_hash=SENT.payment_hash)
    rows = list(scene.rows)
    with pytest.raises(ConflictError, match="never paid for twice"):
        asked(scene, same_hash)
    assert scene.rows == rows
    assert scene.state(image.stream_of(SENT.payment_hash)) == image.Claimed(operation=SEND)


def test_a_receive_is_funded_for_one_payer_whoever_asks() -> None:
    scene = swapping()
    for payer in (SEND, "send/other"):
        again = FundForSwap(payer=payer, amount_msat=RECEIVED.invoice_msat, now_unix_s=5_000)
        with pytest.raises(ConflictError, match="no receiver waits"):
            scene.deliver(RECEIVE, again)
    funded = [event for _, event in scene.events if isinstance(event, receive.ReceiveFunding)]
    assert funded == [receive.ReceiveFunding(payer=SEND)]
