"""Handlers of the public routes against a canned gateway, in the shapes of a Rust one, on both event loops."""

import msgspec
import pytest

from api import payment_handlers as payments
from api import payment_structs as structs
from api.structs import FederationPayload
from api.testing import canned
from api.testing.gateway import CannedGateway
from errors import ConflictError
from fedimint.codec import secp
from fedimint.codec.wire_types import FederationId
from fedimint.lnv2 import CipherText, Commitment, HashImage, IncomingContract, PointImage
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    CreateInvoice,
    Paid,
    SendPaymentOk,
)
from gateway import views
from tests.api.recorded import exchanges, shape_of, written

pytestmark = pytest.mark.anyio

FED = "01" * 32
POINT = secp.public_key(b"\xab" * 32)


async def test_the_id_is_a_string_as_in_rust() -> None:
    (answer, *_) = exchanges("/id")
    assert await payments.gateway_id(CannedGateway()) == answer["response"]


async def test_a_served_federation_has_exactly_the_fields_of_rust() -> None:
    (recorded,) = exchanges("/federation_status")
    payload = msgspec.convert(recorded["request"], FederationPayload)
    gateway = CannedGateway()
    assert written(await payments.federation_status(gateway, payload)) == recorded["response"]
    assert gateway.calls == [("federation_status", recorded["request"]["federation_id"])]


async def test_other_federations() -> None:
    gateway = CannedGateway()
    payload = FederationPayload(federation_id="AB" * 32)
    gateway.answers["federation_status"] = views.Serving(connectivity="degraded", lnv2=None)
    assert written(await payments.federation_status(gateway, payload)) == {
        "federation_id": "ab" * 32,
        "federation_status": "served",
        "connectivity": "degraded",
        "lnv1": {"module_status": "absent"},
        "lnv2": {"module_status": "absent"},
    }
    gateway.answers["federation_status"] = None
    assert written(await payments.federation_status(gateway, payload)) == {
        "federation_id": "ab" * 32,
        "federation_status": "unserved",
    }


async def test_an_invoice_is_asked_for_with_exactly_what_was_checked() -> None:
    for recorded in exchanges("/create_bolt11_invoice"):
        gateway = CannedGateway()
        request = recorded["request"]
        payload = msgspec.convert(request, CreateBolt11InvoicePayload)
        assert written(payload) == request
        answer = await payments.create_bolt11_invoice(gateway, payload)
        assert (answer, type(recorded["response"])) == (canned.INVOICE, str)
        commitment = request["contract"]["commitment"]
        ciphertext = request["contract"]["ciphertext"]
        asked = CreateInvoice(
            federation_id=FederationId(bytes.fromhex(request["federation_id"])),
            contract=IncomingContract(
                Commitment(
                    payment_image=HashImage(bytes.fromhex(commitment["payment_image"]["Hash"])),
                    amount_msat=commitment["amount"],
                    expiration_unix_s=commitment["expiration"],
                    claim_pk=bytes.fromhex(commitment["claim_pk"]),
                    refund_pk=bytes.fromhex(commitment["refund_pk"]),
                    ephemeral_pk=bytes.fromhex(commitment["ephemeral_pk"]),
                ),
                CipherText(
                    encrypted_preimage=bytes(ciphertext["encrypted_preimage"]),
                    pk=bytes.fromhex(ciphertext["pk"]),
                    signature=bytes.fromhex(ciphertext["signature"]),
                ),
            ),
            amount_msat=request["amount"],
            description=request["description"]["Direct"],
            expiry_s=request["expiry_secs"],
        )
        assert gateway.calls == [("create_invoice", asked)]


async def test_an_invoice_with_a_point_and_a_hash_for_description_in_upper_case() -> None:
    request = exchanges("/create_bolt11_invoice")[0]["request"]
    request["description"] = {"Hash": "AB" * 32}
    request["contract"]["commitment"]["payment_image"] = {"Point": POINT.hex().upper()}
    gateway = CannedGateway()
    payload = msgspec.convert(request, CreateBolt11InvoicePayload)
    await payments.create_bolt11_invoice(gateway, payload)
    ((_, asked),) = gateway.calls
    assert isinstance(asked, CreateInvoice)
    assert asked.description == b"\xab" * 32
    assert asked.contract.commitment.payment_image == PointImage(POINT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("description",), {}),
        (("description",), {"Direct": "a", "Hash": "ab" * 32}),
        (("description",), {"Both": "a"}),
        (("expiry_secs",), 2**32),
        (("amount",), -1),
        (("contract", "commitment", "expiration"), None),
        (("contract", "commitment", "expiration"), -1),
        (("contract", "ciphertext", "encrypted_preimage"), [0] * 31),
        (("contract", "ciphertext", "encrypted_preimage"), [256] * 32),
        (("contract", "ciphertext", "pk"), "ab" * 47),
        (("contract", "ciphertext", "signature"), "ab" * 95),
    ],
)
def test_an_invoice_of_the_wrong_shape_is_refused(path: tuple[str, ...], value: object) -> None:
    request = exchanges("/create_bolt11_invoice")[0]["request"]
    inner = request
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(msgspec.ValidationError, match=path[-1]):
        msgspec.convert(request, CreateBolt11InvoicePayload)


async def test_verify_as_lud21_wants_it() -> None:
    gateway = CannedGateway()
    query = structs.VerifyQuery(payment_hash="AB" * 32)
    assert written(await payments.verify(gateway, query)) == {
        "status": "OK",
        "settled": True,
        "preimage": canned.PREIMAGE.hex(),
    }
    gateway.answers["verify"] = views.Verification(preimage=None, failure=None)
    waiting = structs.VerifyQuery(payment_hash="ab" * 32, wait=True)
    assert written(await payments.verify(gateway, waiting)) == {
        "status": "OK",
        "settled": False,
        "preimage": None,
    }
    gateway.answers["verify"] = views.Verification(None, "Payment has been refunded")
    with pytest.raises(ConflictError, match=r"^Payment has been refunded$"):
        await payments.verify(gateway, query)
    assert gateway.calls == [
        ("verify", "ab" * 32, False),
        ("verify", "ab" * 32, True),
        ("verify", "ab" * 32, False),
    ]


async def test_ecash_is_taken() -> None:
    (recorded,) = exchanges("/receive_ecash")
    payload = msgspec.convert(recorded["request"], structs.ReceiveEcashPayload)
    gateway = CannedGateway()
    assert written(await payments.receive_ecash(gateway, payload)) == recorded["response"]
    assert gateway.calls == [("receive_ecash", recorded["request"]["notes"])]


def test_reprs_show_no_secret() -> None:
    secret = "00010203"
    paid = SendPaymentOk(ok=tuple(range(32)))
    ecash = structs.ReceiveEcashPayload(notes=secret)
    settled = views.Verification(preimage=bytes.fromhex(secret), failure=None)
    shown = repr(
        (paid, ecash, settled, Paid(bytes.fromhex(secret)), views.MnemonicResponse((secret,)))
    )
    assert secret not in shown
    assert "1, 2, 3" not in shown
    assert "x00" not in shown
    assert shape_of(written(paid)) == {"Ok": ["int"]}
