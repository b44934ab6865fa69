"""Every command of gateway-cli: what it asks the gateway, what it prints, what it never sends."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from api.testing import canned
from api.testing.gateway import CannedGateway
from gateway import views

pytestmark = pytest.mark.anyio

FED = "01" * 32
KEY = "02" + "ab" * 32
REPLACEMENT = {
    "old_node": canned.node_replacement().old_node,
    "new_node": canned.node_replacement().new_node,
    "is_replaced": False,
    "gives_up": list(canned.node_replacement().gives_up),
}
Run = Callable[..., Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("words", "asked", "printed"),
    [
        (
            "seed",
            ("mnemonic",),
            {"mnemonic": ["abandon"] * 11 + ["about"], "legacy_federations": []},
        ),
        (
            f"ecash pegin --federation-id {FED}",
            ("deposit_address", FED),
            {"address": canned.ADDRESS},
        ),
        (
            f"ecash pegin-recheck --address bc1qa --federation-id {FED}",
            ("recheck_address", FED, "bc1qa"),
            {},
        ),
        (
            f"ecash pegin-from-onchain --federation-id {FED} --amount all --fee-rate-sats-per-vbyte 3",
            ("pegin_from_onchain", views.PeginRequest(FED, None, 3)),
            {"txid": canned.TXID},
        ),
        (
            f"ecash pegout --federation-id {FED} --amount 7000 --address bc1qa",
            ("withdraw", views.WithdrawalRequest(FED, "bc1qa", 7, None)),
            {
                "txid": canned.TXID,
                "fees": {"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000},
                "amount_sats": 7,
            },
        ),
        (
            f"ecash pegout-to-onchain --federation-id {FED} --amount all",
            ("withdraw_to_onchain", FED, None),
            {
                "txid": canned.TXID,
                "fees": {"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000},
                "amount_sats": 7,
            },
        ),
        (
            f"ecash send --federation-id {FED} 1001",
            ("spend_ecash", FED, 1001),
            {"notes": canned.ECASH},
        ),
        (
            f"ecash list-sent --federation-id {FED} --limit 2",
            ("sent_ecash", FED, 2),
            [
                {
                    "id": "ab" * 16,
                    "federation_id": FED,
                    "amount_msats": 512,
                    "state": "Given",
                    "asked_unix_s": 1_800_000_000,
                    "reason": None,
                },
                {
                    "id": "cd" * 16,
                    "federation_id": FED,
                    "amount_msats": 1_024,
                    "state": "GiftRefused",
                    "asked_unix_s": 1_700_000_000,
                    "reason": "poor",
                },
            ],
        ),
        (
            f"ecash show-sent {'AB' * 16}",
            ("show_sent_ecash", "ab" * 16),
            {"notes": canned.ECASH},
        ),
        ("retry tx/AB-1", ("retry", "tx/ab-1"), {"stream": "tx/ab-1", "state": "Signed"}),
        (
            f"dismiss node_order/{'AB' * 16}",
            ("dismiss", f"node_order/{'ab' * 16}"),
            {"stream": f"node_order/{'ab' * 16}", "state": "Dismissed"},
        ),
        (
            "lightning replace-node",
            ("replace_node", None),
            REPLACEMENT,
        ),
        (
            f"lightning replace-node --old-node-is-gone {KEY.upper()}",
            ("replace_node", KEY),
            REPLACEMENT,
        ),
        ("ecash receive --notes fedimint1x", ("receive_ecash", "fedimint1x"), {"amount": 300_032}),
        ("onchain address", ("onchain_address",), {"address": canned.ADDRESS}),
        (
            "onchain send --amount all --address=bc1qa --fee-rate-sats-per-vbyte 3",
            ("send_onchain", views.SendCoins("bc1qa", None, 3)),
            {"txid": canned.TXID},
        ),
        (
            "onchain send --amount 5000 --bitcoin-address bc1qa --fee-rate-sats-per-vbyte 3",
            ("send_onchain", views.SendCoins("bc1qa", 5, 3)),
            {"txid": canned.TXID},
        ),
        (
            "lightning create-invoice 1000",
            ("create_operator_invoice", views.OperatorInvoiceRequest(1000, 3600, "")),
            {"invoice": canned.INVOICE},
        ),
        (
            "lightning create-invoice 1000 --expiry-secs 60 --description tea",
            ("create_operator_invoice", views.OperatorInvoiceRequest(1000, 60, "tea")),
            {"invoice": canned.INVOICE},
        ),
        (
            "lightning pay-invoice lnbc1",
            ("pay_operator_invoice", "lnbc1"),
            {"preimage": canned.PREIMAGE.hex()},
        ),
        (
            f"lightning open-channel --pubkey {KEY} --host bob --channel-size-sats 20000",
            (
                "open_channel",
                views.OpenChannel(KEY, "bob:9735", 20_000, 0, None, None, None),
            ),
            {"funding_txid": canned.TXID},
        ),
        (
            (
                f"lightning open-channel --pubkey {KEY} --host bob:1 --channel-size-sats 20000"
                " --push-amount-sats 5 --fee-rate-sats-per-vbyte 2 --base-fee-msat 3"
                " --parts-per-million 4"
            ),
            ("open_channel", views.OpenChannel(KEY, "bob:1", 20_000, 5, 2, 3, 4)),
            {"funding_txid": canned.TXID},
        ),
        (
            f"lightning close-channels-with-peer --pubkey {KEY} --force",
            ("close_channels", KEY, True, None),
            {"num_channels_closed": 1},
        ),
        (
            f"lightning close-channels-with-peer --pubkey {KEY} --sats-per-vbyte 2",
            ("close_channels", KEY, False, 2),
            {"num_channels_closed": 1},
        ),
        (
            "payment-summary --start 5 --end 6",
            ("payment_summary", 5, 6),
            {
                "outgoing": {
                    "average_latency": {"secs": 1, "nanos": 275_569_000},
                    "median_latency": {"secs": 0, "nanos": 199_399_000},
                    "total_fees": 158_000,
                    "total_success": 31,
                    "total_failure": 1,
                },
                "incoming": {
                    "average_latency": None,
                    "median_latency": None,
                    "total_fees": 0,
                    "total_success": 0,
                    "total_failure": 0,
                },
            },
        ),
        (
            f"withdraw --federation-id {FED} --amount 50000 --address bc1qa",
            ("withdraw", views.WithdrawalRequest(FED, "bc1qa", 50_000, None)),
            {
                "txid": canned.TXID,
                "fees": {"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000},
                "amount_sats": 7,
            },
        ),
        (f"address --federation-id {FED}", ("deposit_address", FED), canned.ADDRESS),
        (
            f"deposit --federation-id {FED}",
            ("deposit_address", FED),
            {
                "address": canned.ADDRESS,
                "note": "Deposits there are claimed without a command",
            },
        ),
        ("lightning get-funding-address", ("onchain_address",), canned.ADDRESS),
    ],
)
async def test_what_is_asked_and_printed(
    run: Run, gateway: CannedGateway, words: str, asked: tuple[object, ...], printed: object
) -> None:
    code, output = await run(*words.split())
    assert (code, json.loads(output)) == (0, printed)
    assert gateway.calls == [asked]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (f"ecash backup --federation-id {FED}", ("backup", FED)),
        (f"backup --federation-id {FED}", ("backup", FED)),
        (f"lightning connect-peer --node-address {KEY}@bob", ("connect_peer", KEY, "bob:9735")),
        (
            (
                f"lightning set-channel-fees --funding-outpoint {canned.TXID}:1"
                " --base-fee-msat 2 --parts-per-million 3"
            ),
            ("set_channel_fees", f"{canned.TXID}:1", 2, 3),
        ),
        ("cfg set-fees --ln-ppm 7", ("set_fees", views.FeeChange(None, None, 7, None, None))),
        (
            f"cfg set-fees --federation-id {FED} --ln-base 2sats --tx-base 5 --tx-ppm 6",
            ("set_fees", views.FeeChange(FED, 2000, None, 5, 6)),
        ),
        (
            "cfg set-payment-policy --receive-enabled false",
            ("set_payment_policy", None, False),
        ),
        (
            f"cfg set-payment-policy --federation-id {FED} --receive-enabled true",
            ("set_payment_policy", FED, True),
        ),
        ("cfg set-payment-policy", ("set_payment_policy", None, None)),
    ],
)
async def test_what_has_no_answer_prints_nothing(
    run: Run, gateway: CannedGateway, words: str, asked: tuple[object, ...]
) -> None:
    assert await run(*words.split()) == (0, "")
    assert gateway.calls == [asked]


@pytest.mark.parametrize(
    "words",
    [
        f"ecash pegout --federation-id {FED} --address bc1qa --amount 1001",
        f"ecash pegout --federation-id {FED} --address bc1qa --amount 1.5",
        f"withdraw --federation-id {FED} --address bc1qa --amount 0.5",
        f"withdraw --federation-id {FED} --address bc1qa --amount 1500msat",
        "onchain send --amount 10000 --address bc1qa --fee-rate-sats-per-vbyte 1.5",
        "cfg set-fees --ln-ppm 0.5",
        "cfg set-fees --ln-base 0x10",
        "lightning create-invoice 1000.4",
        "lightning create-invoice 0x10",
        f"ecash pegout --federation-id {FED} --address bc1qa --amount -1",
        f"ecash pegout --federation-id {FED} --address bc1qa",
        f"ecash send --federation-id {FED} all",
        f"lightning close-channels-with-peer --pubkey {KEY}",
        "lightning list-transactions --start-time 2025-03-14 --end-time 2025-03-14T15:30:00Z",
        "lightning list-transactions --start-time now --end-time 2025-03-14T15:30:00Z",
        "lightning list-transactions --start-time 1960-03-14T15:30:00Z --end-time now",
        "lightning create-invoice many",
        "lightning nonsense",
        "create-password-hash x --cost 3",
        f"create-password-hash {'x' * 73}",
        "completion tcsh",
    ],
)
async def test_what_cannot_be_meant_is_not_sent(
    run: Run, gateway: CannedGateway, words: str
) -> None:
    code, output = await run(*words.split())
    assert (code, json.loads(output)["code"]) == (4, "invalid_input"), output
    assert gateway.calls == []
