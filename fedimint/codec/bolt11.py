"""BOLT 11 invoices, read and signed.

Source: BOLT 11; what it leaves to readers follows the lightning-invoice crate that upstream uses
(exactly one payment hash, description and payment secret; the payment_secret feature required).
"""

import hashlib
import re
from collections.abc import Iterator

import coincurve
import coincurve.ecdsa
import msgspec

from fedimint.codec import bech32, secp
from fedimint.codec.errors import DecodeError, EncodeError
from fedimint.codec.wire_types import Network

VAR_ONION_REQUIRED = 1 << 8
PAYMENT_SECRET_REQUIRED = 1 << 14
BASIC_MPP_OPTIONAL = 1 << 17
DEFAULT_FEATURES = VAR_ONION_REQUIRED | PAYMENT_SECRET_REQUIRED | BASIC_MPP_OPTIONAL
"""Bits of BOLT 9 that every present node sets."""

_KNOWN_REQUIRED_BITS = (8, 14, 16, 48, 56)
_SIGNATURE_WORDS = 104
_TIMESTAMP_WORDS = 7
_HOP_BYTES = 51
_HRP = re.compile(r"ln(bcrt|bc|tbs|tb)(?:([0-9]+)([munp]?))?")
_NETWORKS: dict[str, Network] = {
    "bc": "bitcoin",
    "tb": "testnet",
    "tbs": "signet",
    "bcrt": "regtest",
}
_PREFIXES: dict[Network, str] = {
    "bitcoin": "bc",
    "testnet": "tb",
    "testnet4": "tb",
    "signet": "tbs",
    "regtest": "bcrt",
}
#: What one QR code holds, in upper case; LND takes no longer ones (lnd zpay32/invoice.go).
CHARACTERS_MAX = 7_089
_PICO_PER_UNIT = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}
# Types of tagged fields, as the values of their bech32 characters.
_P, _R, _9, _X, _F, _D, _S, _N, _H, _C, _M = 1, 3, 5, 6, 9, 13, 16, 19, 23, 24, 27
_EXACT_WORDS = {_P: 52, _H: 52, _S: 52, _N: 53}


class RouteHop(msgspec.Struct, frozen=True):
    """A channel to take towards the payee, from the node `node_id` (33 bytes)."""

    node_id: bytes
    short_channel_id: int
    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta_blocks: int


class InvoiceFields(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice says. Hash and secret have 32 bytes; one of the descriptions is given.

    `features` is the bit field of BOLT 9, bit 0 lowest. A fallback is a witness version (17 for
    P2PKH, 18 for P2SH) and a program or hash.
    """

    network: Network
    amount_msat: int | None = None
    timestamp_unix_s: int
    payment_hash: bytes
    payment_secret: bytes
    description: str | None = None
    description_hash: bytes | None = None
    expiry_s: int = 3600
    min_final_cltv_delta_blocks: int = 18
    features: int = DEFAULT_FEATURES
    route_hints: tuple[tuple[RouteHop, ...], ...] = ()
    fallbacks: tuple[tuple[int, bytes], ...] = ()
    metadata: bytes | None = None


class Bolt11Invoice(InvoiceFields, frozen=True, kw_only=True):
    """An invoice with a valid signature: `text` as it came, `payee` the signer (33 bytes)."""

    text: str
    payee: bytes

    @property
    def expires_unix_s(self) -> int:
        """The second from which on it should not be paid; one that no clock reaches is 2^63-1."""
        return min(self.timestamp_unix_s + self.expiry_s, (1 << 63) - 1)


def is_for(invoice: InvoiceFields, network: Network) -> bool:
    """Whether an invoice can be paid on `network`; testnet and testnet4 share a prefix."""
    return _PREFIXES[invoice.network] == _PREFIXES[network]


def decode(text: str) -> Bolt11Invoice:
    """Read and check an invoice, in either case. Raises `DecodeError`, at once for more than `CHARACTERS_MAX`."""
    if len(text) > CHARACTERS_MAX:
        raise DecodeError(f"an invoice has at most {CHARACTERS_MAX} characters, not {len(text)}")
    hrp, words, spec = bech32.decode(text)
    if spec != "bech32":
        raise DecodeError("an invoice has a bech32 checksum, this one is bech32m")
    network, amount_msat = _parse_hrp(hrp)
    if len(words) < _TIMESTAMP_WORDS + _SIGNATURE_WORDS:
        raise DecodeError("the invoice is too short")
    data = words[:-_SIGNATURE_WORDS]
    fields = _collect(data[_TIMESTAMP_WORDS:])
    signature = bech32.to_bytes(words[-_SIGNATURE_WORDS:])
    payee = _signer(_digest(hrp, data), signature, _payee_key(fields))
    return Bolt11Invoice(
        network=network,
        amount_msat=amount_msat,
        timestamp_unix_s=_integer(data[:_TIMESTAMP_WORDS]),
        payment_hash=_exactly_one(fields, _P, "payment hash"),
        payment_secret=_exactly_one(fields, _S, "payment secret"),
        description=_description(fields),
        description_hash=bech32.to_bytes(fields[_H][0]) if fields[_H] else None,
        expiry_s=_integer(fields[_X][0]) if fields[_X] else 3600,
        min_final_cltv_delta_blocks=_integer(fields[_C][0]) if fields[_C] else 18,
        features=_features(fields),
        route_hints=tuple(_route(bech32.to_bytes(words)) for words in fields[_R]),
        fallbacks=tuple((f[0], bech32.to_bytes(f[1:])) for f in fields[_F] if f and f[0] <= 18),
        metadata=bech32.to_bytes(fields[_M][0]) if fields[_M] else None,
        text=text,
        payee=payee,
    )


def sign(fields: InvoiceFields, secret_key: bytes) -> Bolt11Invoice:
    """Return the invoice signed by `secret_key` (32 bytes). Raises `EncodeError`."""
    if (fields.description is None) == (fields.description_hash is None):
        raise EncodeError("an invoice has a description or the hash of one")
    hrp = "ln" + _PREFIXES[fields.network] + _amount_text(fields.amount_msat)
    data = _padded(fields.timestamp_unix_s, _TIMESTAMP_WORDS)
    for tag, words in _tagged(fields):
        if len(words) > 1023:
            raise EncodeError("a field of the invoice has more than 1023 words")
        data += [tag, *_padded(len(words), 2), *words]
    key = coincurve.PrivateKey(bytes(secp.decode_secret(secret_key)))
    signature = key.sign_recoverable(_digest(hrp, data), hasher=None)
    return decode(bech32.encode(hrp, data + bech32.to_words(signature), "bech32"))


def _parse_hrp(hrp: str) -> tuple[Network, int | None]:
    match = _HRP.fullmatch(hrp)
    if match is None:
        raise DecodeError(f"an invoice cannot begin with {hrp[:40]!r}")
    prefix, digits, multiplier = match.groups()
    if digits is None:
        return _NETWORKS[prefix], None
    if len(digits) > 20:
        raise DecodeError("the amount of the invoice is too large")
    pico = int(digits) * _PICO_PER_UNIT[multiplier]
    if pico % 10:
        raise DecodeError("the amount of the invoice is not a whole number of millisatoshis")
    if pico >= 1 << 64:
        raise DecodeError("the amount of the invoice is too large")
    return _NETWORKS[prefix], pico // 10


def _amount_text(amount_msat: int | None) -> str:
    if amount_msat is None:
        return ""
    pico = amount_msat * 10
    if not 0 < pico < 1 << 64:
        raise EncodeError(f"an invoice cannot ask for {amount_msat} msat")
    for multiplier, unit in _PICO_PER_UNIT.items():
        if pico % unit == 0:
            return f"{pico // unit}{multiplier}"
    raise AssertionError


def _collect(words: list[int]) -> dict[int, list[list[int]]]:
    """Return the words of each known field by type; fields of a wrong length are skipped."""
    fields: dict[int, list[list[int]]] = {
        tag: [] for tag in (_P, _R, _9, _X, _F, _D, _S, _N, _H, _C, _M)
    }
    position = 0
    while position < len(words):
        if position + 3 > len(words):
            raise DecodeError("the invoice ends within a field")
        tag = words[position]
        start = position + 3
        size = words[position + 1] << 5 | words[position + 2]
        position = start + size
        if position > len(words):
            raise DecodeError("a field of the invoice is longer than the invoice")
        if tag in fields and _EXACT_WORDS.get(tag, size) == size:
            fields[tag].append(words[start:position])
    return fields


def _exactly_one(fields: dict[int, list[list[int]]], tag: int, name: str) -> bytes:
    if len(fields[tag]) != 1:
        raise DecodeError(f"an invoice has one {name}, this one has {len(fields[tag])}")
    return bech32.to_bytes(fields[tag][0])


def _description(fields: dict[int, list[list[int]]]) -> str | None:
    if len(fields[_D]) + len(fields[_H]) != 1:
        raise DecodeError("an invoice has one description or the hash of one")
    if not fields[_D]:
        return None
    try:
        return bech32.to_bytes(fields[_D][0]).decode()
    except UnicodeDecodeError:
        raise DecodeError("the description of the invoice is not UTF-8") from None


def _features(fields: dict[int, list[list[int]]]) -> int:
    # Fields have at most 1023 words, so the number stays small.
    features = 0
    for word in fields[_9][0] if fields[_9] else ():
        features = features << 5 | word
    if not features & (PAYMENT_SECRET_REQUIRED | PAYMENT_SECRET_REQUIRED << 1):
        raise DecodeError("the invoice does not set the payment_secret feature")
    unknown = features & ~sum(1 << bit for bit in _KNOWN_REQUIRED_BITS)
    for bit in range(0, unknown.bit_length(), 2):
        if unknown >> bit & 1:
            raise DecodeError(f"the invoice requires the unknown feature {bit}")
    return features


def _payee_key(fields: dict[int, list[list[int]]]) -> bytes | None:
    if not fields[_N]:
        return None
    return secp.decode_public_key(bech32.to_bytes(fields[_N][0]))


def _route(data: bytes) -> tuple[RouteHop, ...]:
    if len(data) % _HOP_BYTES:
        raise DecodeError("a route hint of the invoice is cut off")
    hops = []
    for start in range(0, len(data), _HOP_BYTES):
        hop = data[start : start + _HOP_BYTES]
        hops.append(
            RouteHop(
                secp.decode_public_key(hop[:33]),
                int.from_bytes(hop[33:41], "big"),
                int.from_bytes(hop[41:45], "big"),
                int.from_bytes(hop[45:49], "big"),
                int.from_bytes(hop[49:51], "big"),
            )
        )
    return tuple(hops)


def _integer(words: list[int]) -> int:
    value = 0
    for word in words:
        value = value << 5 | word
        if value >= 1 << 64:
            raise DecodeError("a number in the invoice does not fit into 64 bits")
    return value


def _digest(hrp: str, data: list[int]) -> bytes:
    # Zero bits fill the data up to a whole byte; to_words would refuse what is not filled so.
    padding = [0] * (-len(data) % 8)
    packed = bech32.to_bytes([*data, *padding])
    return hashlib.sha256(hrp.encode() + packed[: (len(data) * 5 + 7) // 8]).digest()


def _signer(digest: bytes, signature: bytes, payee: bytes | None) -> bytes:
    """Return who signed: `payee` when given (no recovery then, BOLT 11), else recovered."""
    try:
        if payee is None:
            recovered = coincurve.PublicKey.from_signature_and_message(
                signature, digest, hasher=None
            )
            return bytes(recovered.format(compressed=True))
        plain = coincurve.ecdsa.recoverable_convert(
            coincurve.ecdsa.deserialize_recoverable(signature)
        )
        der = coincurve.ecdsa.cdata_to_der(plain)
        valid = coincurve.PublicKey(payee).verify(der, digest, hasher=None)
    except Exception:  # noqa: BLE001 - coincurve raises bare Exception and ValueError alike
        raise DecodeError("the signature of the invoice is malformed") from None
    if not valid:
        raise DecodeError("the signature of the invoice is not by its payee")
    return payee


def _padded(value: int, size: int) -> list[int]:
    if not 0 <= value < 1 << 5 * size:
        raise EncodeError(f"{value} does not fit into {size} words of an invoice")
    return [value >> 5 * (size - 1 - i) & 31 for i in range(size)]


def _shortest(value: int) -> list[int]:
    return _padded(value, (value.bit_length() + 4) // 5)


def _tagged(fields: InvoiceFields) -> Iterator[tuple[int, list[int]]]:
    yield _S, bech32.to_words(fields.payment_secret)
    yield _P, bech32.to_words(fields.payment_hash)
    if fields.description is not None:
        yield _D, bech32.to_words(fields.description.encode())
    if fields.description_hash is not None:
        yield _H, bech32.to_words(fields.description_hash)
    if fields.metadata is not None:
        yield _M, bech32.to_words(fields.metadata)
    yield _X, _shortest(fields.expiry_s)
    yield _C, _shortest(fields.min_final_cltv_delta_blocks)
    for version, program in fields.fallbacks:
        yield _F, [version, *bech32.to_words(program)]
    for route in fields.route_hints:
        yield _R, bech32.to_words(b"".join(map(_hop_bytes, route)))
    yield _9, _shortest(fields.features)


def _hop_bytes(hop: RouteHop) -> bytes:
    try:
        return (
            hop.node_id
            + hop.short_channel_id.to_bytes(8, "big")
            + hop.fee_base_msat.to_bytes(4, "big")
            + hop.fee_proportional_millionths.to_bytes(4, "big")
            + hop.cltv_expiry_delta_blocks.to_bytes(2, "big")
        )
    except OverflowError:
        raise EncodeError("a number of a route hint is too large") from None
