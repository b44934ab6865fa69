"""Handlers against a gateway of canned answers, without HTTP, on both event loops."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import federation_handlers as federations
from api import payment_handlers as payments
from api import structs
from api.testing import canned
from api.testing.gateway import CannedGateway
from errors import InputError
from fedimint.codec.wire_types import FederationId, OutPoint, TransactionId
from fedimint.lnv2 import HashImage, LightningInvoice, OutgoingContract
from fedimint.lnv2.gateway_api import Forfeited, SendPayment, SendPaymentOk, SendPaymentPayload
from tests.api.recorded import shape_of

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parents[1] / "vectors" / "http" / "rust-gateway-0.13.jsonl"


def recorded(path: str) -> dict[str, Any]:
    exchanges = map(json.loads, RECORDED.read_text().splitlines())
    found: dict[str, Any] = next(e for e in exchanges if e["path"] == path)
    return found


async def test_info_has_the_fields_of_rust() -> None:
    answer = msgspec.json.decode(
        msgspec.json.encode(await federations.info(CannedGateway(), canned.facts()))
    )
    theirs = recorded("/info")["response"]
    assert answer.pop("open_payments") == [
        {
            "id": "send/ab",
            "kind": "send",
            "federation_id": "01" * 32,
            "state": "in_flight",
            "age_secs": 7,
            "overdue": False,
            "last_error": None,
        }
    ]
    assert answer.pop("problems") == ["a guardian does not answer"]
    assert answer.pop("frozen_until") == ["the Lightning node"]
    assert answer.pop("exposures") == [
        {
            "federation_id": "01" * 32,
            "exposure_msat": 199_999_607_296,
            "cap_msat": 300_000_000_000,
            "cap_is_default": False,
            "refused_claim": None,
        }
    ]
    assert list(answer) == [  # the order in which serde writes them
        "version_hash",
        "federations",
        "federation_fake_scids",
        "gateway_state",
        "lightning_info",
        "lightning_mode",
        "registrations",
    ]
    assert answer["federation_fake_scids"] == {"1": "01" * 32}
    del answer["federation_fake_scids"], theirs["federation_fake_scids"]
    # No iroh endpoint and no backup at the federation here.
    del theirs["registrations"]["iroh"]
    for federation in theirs["federations"]:
        federation["last_backup_time"] = None
    assert shape_of(answer) == shape_of(theirs)
    assert answer["lightning_info"] == theirs["lightning_info"]
    assert answer["registrations"] == theirs["registrations"]


async def test_info_before_running_hides_federations_but_not_open_payments() -> None:
    gateway = CannedGateway()
    gateway.status = msgspec.structs.replace(
        gateway.status, state="Disconnected", lightning=None, public_url=None
    )
    answer = await federations.info(gateway, canned.facts())
    assert answer.gateway_state == "Disconnected"
    assert answer.federations == ()
    assert answer.federation_fake_scids is None
    assert answer.lightning_info == "not_connected"
    assert answer.registrations == {}
    assert len(answer.open_payments) == 1
    assert answer.problems == gateway.status.problems


async def test_balances_have_the_fields_of_rust() -> None:
    answer = msgspec.to_builtins(await federations.balances(CannedGateway()))
    assert shape_of(json.loads(json.dumps(answer))) == shape_of(recorded("/balances")["response"])


async def test_connect_fed_has_the_fields_of_rust_and_passes_recover_on() -> None:
    gateway = CannedGateway()
    plain = structs.ConnectFedPayload(invite_code="fed11a")
    answer = msgspec.json.decode(msgspec.json.encode(await federations.connect_fed(gateway, plain)))
    assert shape_of(answer) == shape_of(recorded("/connect_fed")["response"])
    await federations.connect_fed(
        gateway, structs.ConnectFedPayload(invite_code="fed11b", use_tor=False, recover=True)
    )
    assert gateway.joins == [("fed11a", False), ("fed11b", True)]


async def test_connect_fed_refuses_tor() -> None:
    gateway = CannedGateway()
    with pytest.raises(InputError, match="Tor"):
        await federations.connect_fed(
            gateway, structs.ConnectFedPayload(invite_code="fed11a", use_tor=True)
        )
    assert gateway.joins == []


async def test_routing_info_has_the_fields_of_rust() -> None:
    answer = await payments.routing_info(CannedGateway(), "01" * 32)
    written = msgspec.json.decode(msgspec.json.encode(answer))
    assert shape_of(written) == shape_of(recorded("/routing_info")["response"])


async def test_send_payment_passes_on_exactly_what_was_checked() -> None:
    gateway = CannedGateway()
    request = recorded("/send_payment")["request"]
    payload = msgspec.convert({**request, "unknown": 1}, SendPaymentPayload)
    answer = await payments.send_payment(gateway, payload)
    assert answer == SendPaymentOk(ok=tuple(range(32)))
    contract = request["contract"]
    assert gateway.sends == [
        SendPayment(
            federation_id=FederationId(bytes.fromhex(request["federation_id"])),
            out_point=OutPoint(
                TransactionId(bytes.fromhex(request["outpoint"]["txid"])),
                request["outpoint"]["out_idx"],
            ),
            contract=OutgoingContract(
                payment_image=HashImage(bytes.fromhex(contract["payment_image"]["Hash"])),
                amount_msat=contract["amount"],
                expiration_block_height=contract["expiration"],
                claim_pk=bytes.fromhex(contract["claim_pk"]),
                refund_pk=bytes.fromhex(contract["refund_pk"]),
                ephemeral_pk=bytes.fromhex(contract["ephemeral_pk"]),
            ),
            invoice=LightningInvoice(request["invoice"]["Bolt11"]),
            auth=bytes.fromhex(request["auth"]),
        )
    ]


async def test_send_payment_passes_hex_on_in_lower_case() -> None:
    gateway = CannedGateway()
    request = recorded("/send_payment")["request"]
    await payments.send_payment(gateway, msgspec.convert(request, SendPaymentPayload))
    request["auth"] = request["auth"].upper()
    request["federation_id"] = request["federation_id"].upper()
    request["outpoint"]["txid"] = request["outpoint"]["txid"].upper()
    for name in ("claim_pk", "refund_pk", "ephemeral_pk"):
        request["contract"][name] = request["contract"][name].upper()
    hash_hex = request["contract"]["payment_image"]["Hash"]
    request["contract"]["payment_image"]["Hash"] = hash_hex.upper()
    await payments.send_payment(gateway, msgspec.convert(request, SendPaymentPayload))
    lower, upper = gateway.sends
    assert upper == lower


async def test_send_payment_answers_a_forfeit_in_hex() -> None:
    gateway = CannedGateway()
    gateway.outcome = Forfeited(b"\xab" * 64)
    payload = msgspec.convert(recorded("/send_payment")["request"], SendPaymentPayload)
    answer = await payments.send_payment(gateway, payload)
    assert msgspec.to_builtins(answer) == {"Err": "ab" * 64}
