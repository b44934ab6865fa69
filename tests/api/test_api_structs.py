"""The structs against what the Rust gateway 0.13 wrote and read."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import operator_structs, structs, treasury_structs
from api.body import BodyShapeError, decode
from fedimint.codec.json_types import Hash256Hex, PublicKeyHex
from fedimint.lnv2.gateway_api import RoutingInfo, SendPaymentErr, SendPaymentOk, SendPaymentPayload
from fedimint.lnv2.json import PaymentImageJson
from gateway import views

RECORDED = Path(__file__).parents[1] / "vectors" / "http" / "rust-gateway-0.13.jsonl"


def recorded(path: str) -> list[dict[str, Any]]:
    exchanges = map(json.loads, RECORDED.read_text().splitlines())
    return [exchange for exchange in exchanges if exchange["path"] == path]


def test_federation_answers_read_and_write_back_the_same() -> None:
    for path, shape in [
        ("/connect_fed", views.FederationInfo),
        ("/balances", views.GatewayBalances),
        ("/routing_info", RoutingInfo),
    ]:
        (exchange,) = recorded(path)
        answer = msgspec.convert(exchange["response"], shape)
        assert msgspec.json.decode(msgspec.json.encode(answer)) == exchange["response"]


def test_info_reads_and_writes_back_the_same_but_for_our_fields() -> None:
    (exchange,) = recorded("/info")
    names = ("open_payments", "problems", "frozen_until", "exposures")
    ours: dict[str, list[object]] = {name: [] for name in names}
    text = msgspec.json.encode({**exchange["response"], **ours})
    answer = msgspec.json.decode(text, type=structs.GatewayInfo)
    written = msgspec.json.decode(msgspec.json.encode(answer))
    assert {name: written.pop(name) for name in ours} == ours
    assert written == exchange["response"]


def test_requests_write_back_the_same() -> None:
    for exchange in recorded("/send_payment"):
        payload = msgspec.convert(exchange["request"], SendPaymentPayload)
        assert msgspec.to_builtins(payload) == exchange["request"]
    (join,) = recorded("/connect_fed")
    assert msgspec.convert(join["request"], structs.ConnectFedPayload).recover is None


def test_send_payment_outcomes() -> None:
    paid, forfeited = (exchange["response"] for exchange in recorded("/send_payment"))
    ok = msgspec.convert(paid, SendPaymentOk)
    assert msgspec.json.decode(msgspec.json.encode(ok)) == paid
    assert len(bytes(ok.ok)) == 32
    err = msgspec.convert(forfeited, SendPaymentErr)
    assert msgspec.to_builtins(err) == forfeited


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("federation_id",), "ab" * 31),
        (("federation_id",), "ab" * 32 + "\n"),
        (("federation_id",), 7),
        (("outpoint", "out_idx"), -1),
        (("outpoint", "out_idx"), 2**63),
        (("outpoint", "out_idx"), 0.5),
        (("outpoint", "txid"), "zz" * 32),
        (("contract", "amount"), True),
        (("contract", "amount"), None),
        (("contract", "claim_pk"), "04" + "ab" * 32),
        (("contract", "payment_image"), {}),
        (("contract", "payment_image"), {"Hash": "ab" * 32, "Point": "02" + "ab" * 32}),
        (("contract", "payment_image"), {"Other": "ab" * 32}),
        (("invoice",), {"Bolt12": "lno1"}),
        (("auth",), "ab" * 63),
    ],
)
def test_a_send_payment_of_the_wrong_shape_is_refused(path: tuple[str, ...], value: object) -> None:
    request = recorded("/send_payment")[0]["request"]
    inner = request
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(msgspec.ValidationError, match=path[-1] if len(path) > 1 else path[0]):
        msgspec.convert(request, SendPaymentPayload)


def test_a_payment_point_keeps_its_name() -> None:
    image = msgspec.convert({"Point": "02" + "ab" * 32}, PaymentImageJson)
    assert msgspec.to_builtins(image) == {"Point": "02" + "ab" * 32}


@pytest.mark.parametrize(
    ("wrong", "shape", "sentence"),
    [
        ("ab", Hash256Hex, "Expected 64 hex digits"),
        ("ab", PublicKeyHex, "Expected a public key of 66 hex digits"),
        ("ab", operator_structs.BitcoinOutPoint, "Expected an outpoint like TXID:0"),
        ("ab", operator_structs.OptionalNumber, "Expected a number"),
        ("ab", treasury_structs.AmountOrAll, "Expected an amount of satoshi, or all"),
        (
            {"id": "ab"},
            treasury_structs.ShowSentEcashPayload,
            "Expected 32 hex digits - at `$.id`",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_words(wrong: object, shape: Any, sentence: str) -> None:
    with pytest.raises(BodyShapeError) as told:
        decode(msgspec.json.encode(wrong), shape)
    assert str(told.value) == f"The body does not fit this route: {sentence}"
