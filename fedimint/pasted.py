"""Pasted invoices, addresses, invite codes and ecash, cleaned of what mail, chats, wallets and shells add.

Line breaks, blanks, characters that nobody sees, quotes around, and the scheme of a URI are taken away. None of them is
a character of these texts, so one good text never becomes another. No error repeats what was pasted: it may be money.
What programs send, such as the invoice that a sender signed for, is read as it is and does not come here.
Sources: BIP 21 and BIP 321 for `bitcoin:`; wallets' custom for `lightning:` and `fedimint:`.
"""

import re
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from errors import InputError
from fedimint.codec import addresses, bolt11
from fedimint.codec.errors import DecodeError
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import Network
from fedimint.mintv2 import Ecash

_SAT_PER_BTC = 100_000_000
#: What stands around a text in a sentence, in JSON, or in a guide's example.
_AROUND = "\"'`<>.,;«»\u201c\u201d\u201e\u2018\u2019\u201a\u2039\u203a"
_SCHEME = re.compile(r"(lightning|bitcoin|fedimint):(?://)?", re.IGNORECASE)
_BTC = re.compile(r"[0-9]{1,8}(\.[0-9]{0,8})?|\.[0-9]{1,8}")
#: Parameters of a `bitcoin:` URI that change what is paid; whatever else it says is for people.
_AMOUNT, _INVOICE = "amount", "lightning"


class _Wanted(NamedTuple):
    """A form that is asked for: a pattern of the whole text in lower case, its name, and how it begins."""

    pattern: re.Pattern[str]
    name: str
    begins: str


_BOLT11 = _Wanted(
    re.compile(r"ln(bc|tb)[^@]*"),
    "invoice",
    "one begins with lnbc, on networks for tests with lntb or lnbcrt",
)
_ADDRESS = _Wanted(
    re.compile(r"(bc|tb|bcrt)1[^@]*|[123mn][1-9a-z]{25,34}"),
    "bitcoin address",
    "one begins with bc1, 1 or 3, on networks for tests with tb1, bcrt1, 2, m or n",
)
_INVITE = _Wanted(
    re.compile(r"fed1[^@]*|fedimint[^@]*"), "invite code", "one begins with fed11 or fedimint"
)
_ECASH = _Wanted(re.compile(r"fedimint[^@]*"), "ecash", "it begins with fedimint")
#: What is pasted instead, in the order in which it is tried: a name of 26 letters may look like an address.
_OTHERS = (
    (_BOLT11.pattern, "an invoice"),
    (re.compile(r"fed1[^@]*"), "an invite code"),
    (_ECASH.pattern, "an invite code or ecash"),
    (re.compile(r"0[23][0-9a-f]{64}@.+"), "the address of a Lightning node"),
    (re.compile(r".+@.+"), "a Lightning address, whose owner has to be asked for an invoice"),
    (re.compile(r"lnurl1.*"), "an LNURL, which has to be asked for an invoice"),
    (re.compile(r"ln[ori]1.*"), "something of BOLT 12, which this gateway's node does not know"),
    (re.compile(r"https?://.*"), "a web address"),
    (re.compile(r"cashu.*"), "ecash of Cashu"),
    (re.compile(r"[0-9a-f]{64}"), "a hash or an id"),
    (_ADDRESS.pattern, "a bitcoin address"),
)


class PastedAddress(msgspec.Struct, frozen=True):
    """A bitcoin address as text, and the amount that its URI asks for, if any."""

    address: str
    amount_sat: int | None


class Destination(msgspec.Struct, frozen=True):
    """Where coins go: an address as text, and its scriptPubKey."""

    address: str
    script: bytes


class _Uri(NamedTuple):
    """What a `bitcoin:` URI asks for; texts are empty when it lacks them."""

    address: str
    invoice: str
    amount_sat: int | None


def bare(text: str) -> str:
    """The text without blanks, line breaks, invisible characters and quotes around it."""
    joined = "".join(text.split())
    if not joined.isprintable():
        joined = "".join(filter(str.isprintable, joined))
    return joined.strip(_AROUND)


def invoice(text: str) -> bolt11.Bolt11Invoice:
    """Read a BOLT 11 invoice, also of a `lightning:` URI or of one for both ways to pay. Raises `DecodeError`."""
    scheme, rest = _without_scheme(text)
    if scheme != "bitcoin":
        return _decoded(rest)
    uri = _payment_uri(rest)
    if not uri.invoice:
        raise DecodeError("this URI asks for bitcoin on the chain and holds no Lightning invoice")
    found = _decoded(bare(uri.invoice))
    asked_sat, invoiced_msat = uri.amount_sat, found.amount_msat
    if asked_sat is not None and invoiced_msat not in {None, asked_sat * 1000}:
        raise DecodeError(
            f"this URI asks for {asked_sat} sat, but its invoice for {invoiced_msat} msat: "
            "give the invoice alone if it is the one that you mean"
        )
    return found


def address(text: str) -> PastedAddress:
    """Take the bitcoin address out of a text or a `bitcoin:` URI; it is not looked into. Raises `DecodeError`."""
    scheme, rest = _without_scheme(text)
    if scheme != "bitcoin":
        _require_form(rest, _ADDRESS)
        return PastedAddress(rest, None)
    uri = _payment_uri(rest)
    if not uri.address:
        raise DecodeError("this URI names no bitcoin address, only another way to be paid")
    _require_form(uri.address, _ADDRESS)
    return PastedAddress(uri.address, uri.amount_sat)


def destination(text: str, amount_sat: int | None, network: Network) -> Destination:
    """Where a pasted address or `bitcoin:` URI wants coins to go, when `amount_sat` (None: all) shall be sent.

    Raises InputError for no address, for one of another network, and for a URI that asks for another amount: one of the
    two numbers is a mistake, and nobody here knows which.
    """
    asked = address(text)
    if asked.amount_sat is not None and asked.amount_sat != amount_sat:
        given = "all there is was" if amount_sat is None else f"{amount_sat} sat were"
        raise InputError(
            f"the URI asks for {asked.amount_sat} sat, but {given} to be sent: "
            "give the amount that the URI names, or the address alone"
        )
    return Destination(asked.address, _script_of(asked.address, network))


def our_address(text: str, network: Network) -> Destination:
    """What `destination` gives, where nothing is sent: whatever amount a URI asks for. Raises InputError."""
    found = address(text).address
    return Destination(found, _script_of(found, network))


def invite_code(text: str) -> InviteCode:
    """Read an invite code, also behind `fedimint:`. Raises `DecodeError`."""
    _, rest = _without_scheme(text)
    _require_form(rest, _INVITE)
    return InviteCode.parse(rest)


def ecash(text: str) -> Ecash:
    """Read ecash, also behind `fedimint:`. Raises `DecodeError`."""
    _, rest = _without_scheme(text)
    _require_form(rest, _ECASH)
    return Ecash.parse(rest)


def _without_scheme(text: str) -> tuple[str, str]:
    """The scheme in lower case, empty without one, and what follows."""
    stripped = bare(text)
    found = _SCHEME.match(stripped)
    return (found[1].lower(), stripped[found.end() :]) if found else ("", stripped)


def _decoded(text: str) -> bolt11.Bolt11Invoice:
    _require_form(text, _BOLT11)
    try:
        return bolt11.decode(text)
    except DecodeError as error:
        raise DecodeError(f"this invoice cannot be read: {error}") from error


def _require_form(text: str, wanted: _Wanted) -> None:
    """Raises `DecodeError`, which says what the text is instead, when that can be told."""
    lower = text.lower()
    if wanted.pattern.fullmatch(lower):
        return
    other = next((name for pattern, name in _OTHERS if pattern.fullmatch(lower)), None)
    if other is None:
        raise DecodeError(f"this is no {wanted.name}: {wanted.begins}")
    raise DecodeError(f"this is no {wanted.name}, but {other}")


def _script_of(address: str, network: Network) -> bytes:
    parsed = addresses.parse_address(address)
    if network not in parsed.networks:
        raise InputError(
            f"Gateway is running on network {network}, but provided withdraw address is for "
            f"network {parsed.networks[0]}"
        )
    return parsed.script_pubkey


def _payment_uri(rest: str) -> _Uri:
    """What follows `bitcoin:`. Raises `DecodeError` for what would be paid otherwise than it asks."""
    address_text, _, query = rest.partition("?")
    fields: dict[str, str] = {}
    # Out of the source of a web page or a mail, where an ampersand is written so.
    for name, value in parse_qsl(query.replace("&amp;", "&"), keep_blank_values=True):
        key = name.lower()
        required = key.startswith("req-")
        key = key.removeprefix("req-")
        if key not in {_AMOUNT, _INVOICE}:
            if required:
                raise DecodeError("this URI requires something that this gateway does not know")
            continue
        if fields.setdefault(key, value) != value:
            raise DecodeError(f"this URI names two values for its {key}")
    amount = fields.get(_AMOUNT)
    return _Uri(
        address_text, fields.get(_INVOICE, ""), None if amount is None else _amount_sat(amount)
    )


def _amount_sat(text: str) -> int:
    if _BTC.fullmatch(text) is None:
        raise DecodeError("the amount of this URI is no number of bitcoin like 0.001")
    return int(Decimal(text) * _SAT_PER_BTC)
