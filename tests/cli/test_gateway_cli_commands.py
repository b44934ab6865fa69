"""Every command of gateway-cli over real HTTP: what the gateway is asked, what is printed."""

import io
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio.to_thread
import bcrypt
import msgspec
import pytest
from structlog.testing import capture_logs

from api import canned
from api.auth import PasswordCheck
from api.http_server import serving
from api.http_testing import canned_app
from api.testing import CannedGateway
from cli.gateway_cli import main
from errors import UnavailableError
from gateway import history_views, operator_views, treasury_views, views

pytestmark = pytest.mark.anyio

PASSWORD = "theresnosecondbest"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
FED = "01" * 32
KEY = "02" + "ab" * 32
Run = Callable[..., Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gateway() -> CannedGateway:
    return CannedGateway()


@pytest.fixture
async def run(
    gateway: CannedGateway,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Run]:
    monkeypatch.setenv("FM_RPC_PASSWORD", PASSWORD)

    with capture_logs():
        async with serving(canned_app(gateway, PasswordCheck(HASH)), "127.0.0.1", 0) as (
            host,
            port,
        ):

            async def run(*words: str) -> tuple[int, str]:
                """The exit code and stdout."""
                given = ["-a", f"http://{host}:{port}", *words]
                code = await anyio.to_thread.run_sync(main, given)
                captured = capsys.readouterr()
                assert captured.err == ""
                return code, captured.out

            yield run


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
            ("pegin_from_onchain", treasury_views.PeginRequest(FED, None, 3)),
            {"txid": canned.TXID},
        ),
        (
            f"ecash pegout --federation-id {FED} --amount 7000 --address bc1qa",
            ("withdraw", treasury_views.WithdrawalRequest(FED, "bc1qa", 7, None)),
            {
                "txid": canned.TXID,
                "fees": {"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000},
            },
        ),
        (
            f"ecash pegout-to-onchain --federation-id {FED} --amount all",
            ("withdraw_to_onchain", FED, None),
            {
                "txid": canned.TXID,
                "fees": {"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000},
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
        ("ecash receive --notes fedimint1x", ("receive_ecash", "fedimint1x"), {"amount": 300_032}),
        ("onchain address", ("onchain_address",), {"address": canned.ADDRESS}),
        (
            "onchain send --amount all --address=bc1qa --fee-rate-sats-per-vbyte 3",
            ("send_onchain", operator_views.OnchainRequest("bc1qa", None, 3)),
            {"txid": canned.TXID},
        ),
        (
            "onchain send --amount 5000 --bitcoin-address bc1qa --fee-rate-sats-per-vbyte 3",
            ("send_onchain", operator_views.OnchainRequest("bc1qa", 5, 3)),
            {"txid": canned.TXID},
        ),
        (
            "lightning create-invoice 1000",
            ("create_operator_invoice", operator_views.OperatorInvoiceRequest(1000, 3600, "")),
            {"invoice": canned.INVOICE},
        ),
        (
            "lightning create-invoice 1000 --expiry-secs 60 --description tea",
            ("create_operator_invoice", operator_views.OperatorInvoiceRequest(1000, 60, "tea")),
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
                operator_views.ChannelOrder(KEY, "bob:9735", 20_000, 0, None, None, None),
            ),
            {"funding_txid": canned.TXID},
        ),
        (
            (
                f"lightning open-channel --pubkey {KEY} --host bob:1 --channel-size-sats 20000"
                " --push-amount-sats 5 --fee-rate-sats-per-vbyte 2 --base-fee-msat 3"
                " --parts-per-million 4"
            ),
            ("open_channel", operator_views.ChannelOrder(KEY, "bob:1", 20_000, 5, 2, 3, 4)),
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
            f"withdraw --federation-id {FED} --amount 7sats --address bc1qa",
            ("withdraw", treasury_views.WithdrawalRequest(FED, "bc1qa", 7, None)),
            {
                "txid": canned.TXID,
                "fees": {"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000},
            },
        ),
        (f"address --federation-id {FED}", ("deposit_address", FED), canned.ADDRESS),
        (
            f"deposit --federation-id {FED}",
            ("deposit_address", FED),
            {
                "address": canned.ADDRESS,
                "note": "Coins that arrive there are claimed without any command",
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


async def test_federations(run: Run, gateway: CannedGateway) -> None:
    code, output = await run("leave-fed", "--federation-id", FED)
    left = json.loads(output)
    assert (code, left["federation_id"]) == (0, FED)
    assert await run("cfg", "display") == (0, json.dumps([left["config"]], indent=2) + "\n")
    assert await run("cfg", "display", "--federation-id", FED) == await run("cfg", "display")
    assert await run("cfg", "display", "--federation-id", "02" * 32) == (0, "[]\n")
    config = {
        "federations": {
            FED: {
                "global": {"meta": {"federation_name": "fed1"}},
                "modules": {"0": {"kind": "lnv2"}},
            }
        }
    }
    for words in ("cfg client-config", "config", f"config --federation-id {FED}"):
        code, output = await run(*words.split())
        assert (code, json.loads(output)) == (0, config)
    code, output = await run("invite-codes")
    assert [name for name, _ in json.loads(output)[FED].values()] == ["Guardian 0", "Guardian 1"]
    code, output = await run("restore", "fed11abc")
    assert (code, gateway.joins) == (0, [("fed11abc", True)])


async def test_a_federation_that_is_not_served_is_bad_input(run: Run) -> None:
    code, output = await run("ecash", "pegin", "--federation-id", "0b" * 32)
    assert (code, json.loads(output)) == (
        4,
        {
            "error": "No federation available for prefix 0b0b0b0b",
            "code": "invalid_input",
            "cause": "HTTP status 400",
        },
    )


async def test_payment_log(run: Run, gateway: CannedGateway) -> None:
    code, output = await run("payment-log", "--federation-id", FED)
    succeeded, other = json.loads(output)
    assert (code, succeeded["id"], succeeded["module"]) == (0, 25, {"id": 0, "kind": "lnv2"})
    assert succeeded["payload"]["payment_image"] == {"Hash": "ab" * 32}
    assert succeeded["ts_usecs"] == 1_795_372_392_452_734
    assert (other["module"], other["payload"]) == (None, {})
    kinds = ("--event-kinds", "a", "--event-kinds", "b")
    more = ("--end-position", "9", "--pagination-size", "3", *kinds)
    await run("payment-log", "--federation-id", FED, *more)
    assert gateway.calls == [
        ("payment_log", history_views.LogQuery(FED, None, 25, ())),
        ("payment_log", history_views.LogQuery(FED, 9, 3, ("a", "b"))),
    ]


async def test_the_summary_is_of_the_last_day(run: Run, gateway: CannedGateway) -> None:
    code, _ = await run("payment-summary")
    ((_, start, end),) = gateway.calls
    assert code == 0
    assert isinstance(start, int)
    assert isinstance(end, int)
    assert end - start == 24 * 60 * 60 * 1000


async def test_channels(run: Run) -> None:
    code, output = await run("lightning", "list-channels")
    both = json.loads(output)
    assert code == 0
    assert both[0] == {
        "remote_pubkey": canned.channels()[0].remote_public_key,
        "channel_size_sats": 1_000_000,
        "outbound_liquidity_sats": 600_000,
        "inbound_liquidity_sats": 396_530,
        "is_active": True,
        "funding_outpoint": f"{canned.TXID}:1",
        "remote_node_alias": "bob",
        "remote_address": "127.0.0.1:9735",
        "base_fee_msat": 1000,
        "parts_per_million": 1,
    }
    assert set(both[1]) == set(both[0])
    code, output = await run("lightning", "list-active-channels")
    assert (code, json.loads(output)) == (0, both[:1])


async def test_invoices_and_transactions_of_the_node(run: Run, gateway: CannedGateway) -> None:
    code, output = await run("lightning", "get-invoice", "--payment-hash", "AB" * 32)
    assert (code, json.loads(output)) == (
        0,
        {
            "preimage": canned.PREIMAGE.hex(),
            "payment_hash": "ab" * 32,
            "amount": 1_000_000,
            "created_at": {"secs_since_epoch": 1_795_372_380, "nanos_since_epoch": 0},
            "status": "Succeeded",
        },
    )
    gateway.answers["node_invoice"] = None
    assert await run("lightning", "get-invoice", "--payment-hash", "ab" * 32) == (0, "null\n")
    times = ("--start-time", "2025-03-14T15:30:00Z", "--end-time", "2025-03-14T17:30:00+01:00")
    code, output = await run("lightning", "list-transactions", *times)
    inbound, outbound = json.loads(output)["transactions"]
    assert gateway.calls[-1] == ("node_transactions", 1_741_966_200, 1_741_969_800)
    assert (inbound["payment_kind"], inbound["direction"]) == ("Bolt11", "Inbound")
    assert outbound == {
        "payment_hash": None,
        "preimage": None,
        "payment_kind": "Onchain",
        "amount": 2_000_000,
        "direction": "Outbound",
        "status": "Pending",
        "timestamp_secs": 1_795_372_382,
    }


async def test_offers_are_refused_with_a_sentence(run: Run) -> None:
    for words in ("create-offer --amount-msat 1", "pay-offer --offer lno1"):
        code, output = await run("lightning", *words.split())
        answer = json.loads(output)
        assert (code, answer["code"]) == (4, "invalid_input")
        assert "BOLT12" in answer["error"]


async def test_stop_says_nothing_and_waits_for_the_end(run: Run, gateway: CannedGateway) -> None:
    gateway.stopped.set()
    assert await run("stop") == (0, "")
    assert gateway.calls == [("stop",)]


async def test_wait_for_chain_sync(run: Run, gateway: CannedGateway) -> None:
    wait = ("lightning", "wait-for-chain-sync", "--retry-delay-seconds", "0")
    assert await run(*wait, "--block-height", "240") == (0, "")
    code, output = await run(*wait, "--block-height", "241", "--max-retries", "2")
    assert (code, json.loads(output)["code"]) == (6, "timeout")
    assert gateway.calls == [("info",)] * 4
    gateway.status = msgspec.structs.replace(gateway.status, lightning=None)
    code, _ = await run(*wait, "--block-height", "1", "--max-retries", "0")
    assert code == 6


async def test_set_mnemonic_on_a_gateway_that_has_one(run: Run) -> None:
    code, output = await run("cfg", "set-mnemonic")
    answer = json.loads(output)
    assert (code, answer["code"]) == (1, "invalid_state")
    assert "has its mnemonic already" in answer["error"]


async def test_ecash_may_come_from_stdin(
    run: Run, gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("fedimint1y\n"))
    code, _ = await run("ecash", "receive", "--notes", "-")
    assert (code, gateway.calls) == (0, [("receive_ecash", "fedimint1y")])


async def test_deposit_without_a_federation_says_where_to_look(run: Run) -> None:
    code, output = await run("deposit")
    assert code == 0
    assert "ecash pegin" in json.loads(output)["note"]


@pytest.mark.parametrize(
    "words",
    [
        f"ecash pegout --federation-id {FED} --address bc1qa --amount 1001",
        f"ecash pegout --federation-id {FED} --address bc1qa --amount 1.5",
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


async def test_a_failure_of_the_gateway_is_told(run: Run, gateway: CannedGateway) -> None:
    gateway.failure = UnavailableError("the Lightning node does not answer")
    code, output = await run("onchain", "address")
    assert (code, json.loads(output)) == (
        6,
        {
            "error": "the Lightning node does not answer",
            "code": "timeout",
            "cause": "HTTP status 503",
        },
    )
