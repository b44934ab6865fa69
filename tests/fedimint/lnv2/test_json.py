"""JSON forms of lnv2, over the requests that real clients sent."""

from typing import Any

import msgspec
import pytest

from fedimint import lnv2
from fedimint.codec import bolt11, secp
from fedimint.codec.encoding import bytes_of_integers
from fedimint.codec.errors import DecodeError
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    InvoiceDescriptionJson,
    SendPaymentPayload,
)
from fedimint.lnv2.json import IncomingContractJson, OutgoingContractJson, PaymentImageJson


def _requests(exchanges: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    return [exchange for exchange in exchanges if exchange["path"] == path]


def test_send_payment_is_authentic_and_answered_truly(
    gateway_exchanges: list[dict[str, Any]],
) -> None:
    answers = []
    for exchange in _requests(gateway_exchanges, "/send_payment"):
        json = msgspec.convert(exchange["request"], SendPaymentPayload)
        request = json.decode()
        assert SendPaymentPayload.of(request) == json
        assert msgspec.json.decode(msgspec.json.encode(json)) == exchange["request"]
        contract = request.contract
        assert secp.verify_schnorr(contract.refund_pk, request.invoice.auth_digest(), request.auth)
        invoice = bolt11.decode(request.invoice.bolt11)
        assert contract.payment_image == lnv2.HashImage(invoice.payment_hash)
        answer = exchange["response"]
        if "Ok" in answer:
            assert lnv2.is_preimage(contract.payment_image, bytes_of_integers(answer["Ok"]))
        else:
            signature = bytes.fromhex(answer["Err"])
            assert secp.verify_schnorr(contract.claim_pk, contract.contract_id(), signature)
        answers += list(answer)
    assert answers == ["Ok", "Ok", "Err", "Ok"]


def test_create_bolt11_invoice_reads(gateway_exchanges: list[dict[str, Any]]) -> None:
    exchanges = _requests(gateway_exchanges, "/create_bolt11_invoice")
    assert len(exchanges) == 4
    for exchange in exchanges:
        json = msgspec.convert(exchange["request"], CreateBolt11InvoicePayload)
        assert msgspec.json.decode(msgspec.json.encode(json)) == exchange["request"]
        contract = json.contract.decode()
        assert IncomingContractJson.of(contract) == json.contract
        assert lnv2.INCOMING_CONTRACT.decode(lnv2.INCOMING_CONTRACT.encode(contract)) == contract
        assert json.description.decode() == ""


def test_a_funded_contract_is_the_one_requested(
    gateway_exchanges: list[dict[str, Any]], sessions: dict[str, Any]
) -> None:
    contracts = {
        msgspec.convert(exchange["request"], CreateBolt11InvoicePayload)
        .contract.decode()
        .contract_id()
        for exchange in _requests(gateway_exchanges, "/create_bolt11_invoice")
    }
    asked = {
        bytes.fromhex(c.params[0]) for c in sessions["v2"].of("module_0_await_incoming_contract")
    }
    assert asked
    assert asked <= contracts


def test_preimages_open_hashes_and_points() -> None:
    secret = b"\x07" * 32
    image = lnv2.PointImage(secp.public_key(secret))
    assert lnv2.is_preimage(image, secret)
    assert not lnv2.is_preimage(image, b"\x08" * 32)
    assert not lnv2.is_preimage(image, bytes(32))
    assert not lnv2.is_preimage(lnv2.HashImage(bytes(32)), b"")
    assert PaymentImageJson.of(image).decode() == image


def test_malformed_forms_are_refused(gateway_exchanges: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="exactly one of `Hash` and `Point`"):
        PaymentImageJson()
    with pytest.raises(DecodeError):
        PaymentImageJson(hash="00").decode()
    with pytest.raises(ValueError, match="exactly one of `Direct` and `Hash`"):
        InvoiceDescriptionJson(direct="", hash="00" * 32)
    with pytest.raises(DecodeError):
        bytes_of_integers((256,) * 32)
    request = _requests(gateway_exchanges, "/send_payment")[0]["request"]["contract"]
    genuine = msgspec.convert(request, OutgoingContractJson)
    for change in ({"amount": -1}, {"amount": 2**64}, {"claim_pk": "05" * 33}, {"refund_pk": "x"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(request | change, OutgoingContractJson)
        with pytest.raises(DecodeError):
            msgspec.structs.replace(genuine, **change).decode()


def test_witnesses_do_not_show_what_they_reveal() -> None:
    preimage = b"\x11" * 32
    assert repr(preimage) not in repr(lnv2.Claim(preimage))
