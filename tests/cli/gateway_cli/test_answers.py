"""Commands of gateway-cli with longer answers: pages, lists, time, stdin, failures."""

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from api.testing import canned
from api.testing.gateway import CannedGateway
from errors import UnavailableError
from gateway import views

pytestmark = pytest.mark.anyio

FED = "01" * 32
Run = Callable[..., Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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


async def test_what_may_be_at_stake_in_a_federation(run: Run, gateway: CannedGateway) -> None:
    cap = ("cfg", "set-exposure-cap", "--cap")
    code, output = await run(*cap, "2000000 sats", "--federation-id", FED)
    assert (code, json.loads(output)[0]["cap_msat"]) == (0, 300_000_000_000)
    assert await run(*cap, "default") == (0, output)
    assert await run("cfg", "trust-again", "--federation-id", FED) == (0, output)
    assert gateway.calls == [
        ("set_exposure_cap", FED, 2_000_000_000),
        ("set_exposure_cap", None, None),
        ("trust_again", FED),
    ]
    code, output = await run(*cap, "a lot")
    assert (code, "is not an amount" in output) == (4, True)


async def test_a_federation_is_given_up_by_a_word_of_its_own(
    run: Run, gateway: CannedGateway
) -> None:
    words = ("leave-fed", "--federation-id", FED)
    assert await run(*words, "--give-up") == await run(*words)
    assert gateway.calls == [
        ("leave_federation", FED, True),
        ("leave_federation", FED, False),
    ]


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


@pytest.mark.parametrize("around", ["{}\n", " {}", '"{}",', "'{}'"])
async def test_an_id_may_be_copied_out_of_json(
    run: Run, gateway: CannedGateway, around: str
) -> None:
    code, _ = await run("ecash", "pegin", "--federation-id", around.format(FED))
    assert (code, gateway.calls) == (0, [("deposit_address", FED)])
    code, _ = await run("balance", f"--federation-id={around.format(FED)}")
    assert code == 0


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
        ("payment_log", views.LogQuery(FED, None, 25, ())),
        ("payment_log", views.LogQuery(FED, 9, 3, ("a", "b"))),
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
    assert "already has a mnemonic" in answer["error"]


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
