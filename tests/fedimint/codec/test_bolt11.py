"""BOLT 11: the published examples, invoices of real nodes, and our own."""

from typing import Any

import coincurve
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedimint.codec import bech32, bolt11, secp
from fedimint.codec.errors import DecodeError, EncodeError

PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
SECRET = bytes.fromhex("e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734")
HASH = bytes.fromhex("0001020304050607080900010203040506070809000102030405060708090102")


def test_the_valid_examples_say_what_bolt_11_says(bolt11_examples: dict[str, list[str]]) -> None:
    invoices = [bolt11.decode(text) for text in bolt11_examples["valid"]]
    # The last one has a high-S signature, from which another key recovers.
    assert [invoice.payee.hex() == PAYEE for invoice in invoices] == [True] * 15 + [False]
    assert [invoice.amount_msat for invoice in invoices] == [
        None, 250_000_000, 250_000_000, *[2_000_000_000] * 6, 967_878_534,
        *[2_500_000_000] * 3, 1_000_000_000, 1_000_000_000, None,
    ]  # fmt: skip
    assert all(i.payment_hash == HASH for i in invoices if i.amount_msat != 967_878_534)
    assert all(i.payment_secret == b"\x11" * 32 for i in invoices)
    assert {i.network for i in invoices} == {"bitcoin", "testnet"}
    assert invoices[1].description == "1 cup coffee"
    assert invoices[1].expires_unix_s == 1_496_314_658 + 60
    assert invoices[2].description == "ナンセンス 1杯"
    assert invoices[3].description is None
    assert invoices[3].description_hash is not None
    assert [i.fallbacks[0][0] for i in invoices[4:9]] == [17, 17, 18, 0, 0]
    assert invoices[9].min_final_cltv_delta_blocks == 10
    assert invoices[9].route_hints[0][0].short_channel_id == 589390 << 40 | 3312 << 16 | 1
    assert invoices[13].metadata == b"\x01\xfa\xfa\xf0"


def test_route_hints_keep_their_order(bolt11_examples: dict[str, list[str]]) -> None:
    key = "9e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255"
    assert bolt11.decode(bolt11_examples["valid"][5]).route_hints == (
        (
            bolt11.RouteHop(bytes.fromhex("02" + key), 0x0102030405060708, 1, 20, 3),
            bolt11.RouteHop(bytes.fromhex("03" + key), 0x030405060708090A, 2, 30, 4),
        ),
    )


def test_the_invalid_examples_are_refused(bolt11_examples: dict[str, list[str]]) -> None:
    complaints = []
    for text in bolt11_examples["invalid"]:
        with pytest.raises(DecodeError) as refusal:
            bolt11.decode(text)
        complaints.append(str(refusal.value))
    expected = [
        "unknown feature 100", "checksum", "separator", "mixes", "signature", "too short",
        "cannot begin", "whole number of millisatoshis",
    ]  # fmt: skip
    for part, complaint in zip(expected, complaints, strict=True):
        assert part in complaint


def test_recorded_invoices_read(gateway_exchanges: list[dict[str, Any]]) -> None:
    seen = 0
    for exchange in gateway_exchanges:
        if exchange["path"] == "/create_bolt11_invoice":
            invoice = bolt11.decode(exchange["response"])
            assert invoice.amount_msat == exchange["request"]["amount"]
            image = exchange["request"]["contract"]["commitment"]["payment_image"]
            assert invoice.payment_hash.hex() == image["Hash"]
            assert invoice.network == "regtest"
            assert invoice.expiry_s == exchange["request"]["expiry_secs"]
            seen += 1
    assert seen == 4


FIELDS = bolt11.InvoiceFields(
    network="regtest",
    amount_msat=1,
    timestamp_unix_s=1_700_000_000,
    payment_hash=HASH,
    payment_secret=b"\x11" * 32,
    description="",
)

hops = st.builds(
    bolt11.RouteHop,
    st.just(secp.public_key(SECRET)),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
)
invoices = st.builds(
    bolt11.InvoiceFields,
    network=st.sampled_from(["bitcoin", "testnet", "signet", "regtest"]),
    amount_msat=st.none() | st.integers(1, 2_100_000_000_000_000),
    timestamp_unix_s=st.integers(0, 2**35 - 1),
    payment_hash=st.binary(min_size=32, max_size=32),
    payment_secret=st.binary(min_size=32, max_size=32),
    description=st.text(st.characters(codec="ascii"), max_size=60),
    expiry_s=st.integers(0, 2**64 - 1),
    min_final_cltv_delta_blocks=st.integers(0, 2**64 - 1),
    route_hints=st.lists(st.lists(hops, min_size=1, max_size=3).map(tuple), max_size=2).map(tuple),
    metadata=st.none() | st.binary(max_size=20),
)


@given(invoices)
def test_what_is_signed_reads_back(fields: bolt11.InvoiceFields) -> None:
    invoice = bolt11.sign(fields, SECRET)
    assert invoice.payee.hex() == PAYEE
    for name in bolt11.InvoiceFields.__struct_fields__:
        assert getattr(invoice, name) == getattr(fields, name)
    assert bolt11.decode(invoice.text.upper()).payee == invoice.payee


def _with_payee(words: list[int]) -> str:
    """Return an invoice whose `n` field claims a payee, still signed by SECRET."""
    text = bolt11.sign(FIELDS, SECRET).text
    hrp, data, _ = bech32.decode(text)
    tagged = [*data[:-104], 19, 1, 21, *words]
    digest = bolt11._digest(hrp, tagged)
    signature = coincurve.PrivateKey(SECRET).sign_recoverable(digest, hasher=None)
    return bech32.encode(hrp, tagged + bech32.to_words(signature), "bech32")


def test_a_named_payee_must_be_the_signer() -> None:
    own = bech32.to_words(secp.public_key(SECRET))
    assert bolt11.decode(_with_payee(own)).payee.hex() == PAYEE
    other = bech32.to_words(secp.public_key(b"\x07" * 32))
    with pytest.raises(DecodeError, match="not by its payee"):
        bolt11.decode(_with_payee(other))
    with pytest.raises(DecodeError, match="public key"):
        bolt11.decode(_with_payee([0] * 53))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"features": 0}, "payment_secret feature"),
        ({"features": bolt11.DEFAULT_FEATURES | 1 << 20}, "unknown feature 20"),
    ],
)
def test_features_are_checked(change: dict[str, int], complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        bolt11.sign(msgspec.structs.replace(FIELDS, **change), SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"amount_msat": 0}, {"amount_msat": 2**64}, {"description": None},
        {"description": "x" * 1000}, {"timestamp_unix_s": 2**35}, {"description_hash": HASH},
        {"route_hints": ((bolt11.RouteHop(b"", 2**64, 0, 0, 0),),)},
    ],
)  # fmt: skip
def test_what_an_invoice_cannot_say_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        bolt11.sign(msgspec.structs.replace(FIELDS, **change), SECRET)


@given(st.data())
def test_mutated_invoices_are_refused_in_our_words(data: st.DataObject) -> None:
    hrp, words, _ = bech32.decode(bolt11.sign(FIELDS, SECRET).text)
    position = data.draw(st.integers(0, len(words) - 1))
    words[position] = data.draw(st.integers(0, 31))
    cut = data.draw(st.integers(0, len(words)))
    for text in (
        bech32.encode(hrp, words, "bech32"),
        bech32.encode(hrp, words[:cut], "bech32"),
        bech32.encode(hrp, words[cut:], "bech32"),
    ):
        try:
            bolt11.decode(text)
        except DecodeError:
            continue


def test_a_text_longer_than_any_invoice_is_not_looked_at() -> None:
    """Its checksum is right: what must be cheap is what costs its sender nothing."""
    short = bolt11.sign(FIELDS, SECRET).text
    hrp, words, _ = bech32.decode(short)
    unknown = [2, 31, 31, *[0] * 1023]

    def with_unknown(fields: int) -> str:
        return bech32.encode(hrp, [*words[:7], *unknown * fields, *words[7:]], "bech32")

    assert bolt11.decode(with_unknown(6)).payment_hash == FIELDS.payment_hash
    with pytest.raises(DecodeError, match="at most 7089 characters, not 7"):
        bolt11.decode(with_unknown(7))
