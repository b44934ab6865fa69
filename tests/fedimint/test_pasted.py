"""Pasted text: read when its meaning is unambiguous, named when it is something else."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedimint import pasted
from fedimint.codec import addresses, bolt11
from fedimint.codec.errors import DecodeError
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import FederationId, PeerId
from fedimint.mintv2 import Ecash
from fedimint.pasted import PastedAddress

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
LEGACY = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
INVITE = InviteCode.of({PeerId(0): "wss://guardian.example/"}, FederationId(bytes(32)))
ECASH = Ecash.of(FederationId(bytes(32)), ())
WANTED = ("invoice", "bitcoin address", "invite code", "ecash")


def _invoice(amount_msat: int | None = 1_000_000) -> str:
    fields = bolt11.InvoiceFields(
        network="regtest",
        amount_msat=amount_msat,
        timestamp_unix_s=1_800_000_000,
        payment_hash=bytes(32),
        payment_secret=bytes(32),
        description="",
    )
    return bolt11.sign(fields, b"\x01" * 32).text


INVOICE = _invoice()


def _invoice_text(text: str) -> str:
    return pasted.invoice(text).text


def _address_text(text: str) -> str:
    return pasted.address(text).address


READERS: list[tuple[str, Callable[[str], object]]] = [
    (INVOICE, _invoice_text),
    (INVOICE.upper(), _invoice_text),
    (ADDRESS, _address_text),
    (ADDRESS.upper(), _address_text),
    (LEGACY, _address_text),
    (INVITE.to_text(), pasted.invite_code),
    (INVITE.to_base32(), pasted.invite_code),
    (ECASH.to_text(), pasted.ecash),
]


@pytest.mark.parametrize(("text", "read"), READERS)
@pytest.mark.parametrize(
    "around", [" {}", "{}\r\n", '"{}"', "'{}',", "“{}”.", "<{}>", "\ufeff{}\u200b", "\u00a0`{}`\t"]
)
def test_what_stands_around_is_taken_away(
    text: str, read: Callable[[str], object], around: str
) -> None:
    assert read(around.format(text)) == read(text)


@pytest.mark.parametrize(("text", "read"), READERS)
@given(data=st.data())
def test_line_breaks_and_blanks_inside_are_taken_away(
    text: str, read: Callable[[str], object], data: st.DataObject
) -> None:
    broken = list(text)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(broken)))
        broken.insert(
            place, data.draw(st.sampled_from(["\n", "\r\n    ", " ", "\u00ad", "\u2028"]))
        )
    assert read("".join(broken)) == read(text)


@pytest.mark.parametrize(
    "uri",
    [
        f"lightning:{INVOICE}",
        f"LIGHTNING:{INVOICE.upper()}",
        f"Lightning://{INVOICE}",
        f"bitcoin:{ADDRESS}?amount=0.00001&lightning={INVOICE}",
        f"BITCOIN:{ADDRESS.upper()}?AMOUNT=.00001&LIGHTNING={INVOICE.upper()}",
        f"bitcoin:?lightning={INVOICE}",
    ],
)
def test_an_invoice_in_a_uri(uri: str) -> None:
    assert pasted.invoice(uri).payment_hash == bytes(32)
    assert pasted.invoice(uri).text.lower() == INVOICE


def test_a_uri_with_an_invoice_that_names_no_amount_is_that_invoice() -> None:
    found = pasted.invoice(f"bitcoin:?amount=1&lightning={_invoice(None)}")
    assert found.amount_msat is None


@pytest.mark.parametrize(
    ("uri", "amount_sat"),
    [
        (f"bitcoin:{ADDRESS}", None),
        (f" Bitcoin:{ADDRESS}\n", None),
        (f"bitcoin://{ADDRESS}?label=a%20shop&message=x", None),
        (f"bitcoin:{ADDRESS}?amount=0.001", 100_000),
        (f"bitcoin:{ADDRESS}?label=x&amp;amount=0.001", 100_000),
        (f"bitcoin:{ADDRESS}?amount=20.3&lightning={INVOICE}", 2_030_000_000),
        (f"bitcoin:{ADDRESS}?req-amount=1.", 100_000_000),
        (f"bitcoin:{ADDRESS}?amount=1&amount=1", 100_000_000),
        (f"bitcoin:{ADDRESS}?amount=0.00000001", 1),
    ],
)
def test_an_address_in_a_uri(uri: str, amount_sat: int | None) -> None:
    assert pasted.address(uri) == PastedAddress(ADDRESS, amount_sat)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("amount=1&amount=2", "two values for its amount"),
        ("amount=0,001", "no number of bitcoin"),
        ("amount=", "no number of bitcoin"),
        ("amount=.", "no number of bitcoin"),
        ("amount=-1", "no number of bitcoin"),
        ("amount=1e3", "no number of bitcoin"),
        ("amount=0.000000001", "no number of bitcoin"),
        ("req-pop=x", "requires something"),
    ],
)
def test_a_uri_that_would_be_paid_otherwise_than_it_asks_is_refused(query: str, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        pasted.address(f"bitcoin:{ADDRESS}?{query}")


def test_a_uri_whose_two_amounts_differ_is_refused() -> None:
    with pytest.raises(DecodeError, match="asks for 1001 sat, but its invoice for 1000000 msat"):
        pasted.invoice(f"bitcoin:{ADDRESS}?amount=0.00001001&lightning={INVOICE}")


def test_a_uri_without_what_is_wanted() -> None:
    with pytest.raises(DecodeError, match="holds no Lightning invoice"):
        pasted.invoice(f"bitcoin:{ADDRESS}")
    with pytest.raises(DecodeError, match="names no bitcoin address"):
        pasted.address(f"bitcoin:?lightning={INVOICE}")


def test_an_invite_and_ecash_behind_a_scheme() -> None:
    for text in (INVITE.to_text(), INVITE.to_base32(), INVITE.to_text().upper()):
        assert pasted.invite_code(f"fedimint:{text}") == INVITE
    assert pasted.ecash(f"FEDIMINT:{ECASH.to_text().upper()}") == ECASH


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("user@example.org", "a Lightning address"),
        ("lightning:user@example.org", "a Lightning address"),
        ("02" + "ab" * 32 + "@127.0.0.1:9735", "the address of a Lightning node"),
        ("LNURL1DP68GURN8GHJ7", "an LNURL"),
        ("lno1pqps7sjqpgt", "something of BOLT 12"),
        ("https://example.org/pay", "a web address"),
        ("cashuAeyJ0", "ecash of Cashu"),
        ("ab" * 32, "a hash or an id"),
        (INVOICE, "an invoice"),
        (INVITE.to_text(), "an invite code"),
        (ADDRESS, "a bitcoin address"),
        (LEGACY, "a bitcoin address"),
    ],
)
def test_something_else_is_told_as_such(text: str, name: str) -> None:
    readers = (pasted.invoice, pasted.address, pasted.invite_code, pasted.ecash)
    for wanted, read in zip(WANTED, readers, strict=True):
        if name.endswith(wanted):
            continue
        with pytest.raises(DecodeError, match=f"^this is no {wanted}, but {name}"):
            read(text)


@pytest.mark.parametrize("text", ["", " \n", "nonsense", "äöü", "@", "fed", "1" * 20])
def test_what_is_nothing_known_is_told_how_the_right_text_begins(text: str) -> None:
    for read in (pasted.invoice, pasted.address, pasted.invite_code, pasted.ecash):
        with pytest.raises(DecodeError, match="begins with"):
            read(text)


def test_a_mistyped_invoice_is_still_an_invoice() -> None:
    last = "p" if INVOICE.endswith("q") else "q"
    with pytest.raises(DecodeError, match="this invoice cannot be read: the bech32 checksum"):
        pasted.invoice(f"{INVOICE[:-1]}{last}")


def test_no_error_repeats_what_was_pasted() -> None:
    secret = f"{ECASH.to_text()}zzz9"
    with pytest.raises(DecodeError) as refused:
        pasted.ecash(secret)
    assert secret not in str(refused.value)


def test_addresses_are_looked_into_elsewhere() -> None:
    assert "regtest" in addresses.parse_address(pasted.address(f" {LEGACY}").address).networks
