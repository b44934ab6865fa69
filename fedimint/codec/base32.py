"""Fedimint's base32: the `fedimint…` texts of invite codes and ecash.

Source: fedimint-core/src/base32.rs. The alphabet is that of RFC 4648 base32hex, but bits are
packed from the low end, so other base32 decoders give wrong bytes.
"""

from fedimint.codec.errors import DecodeError

PREFIX = "fedimint"
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


def encode(data: bytes) -> str:
    """Return the text: five bits a character, low bits first, no padding."""
    out = []
    buffer = bits = 0
    for byte in data:
        buffer |= byte << bits
        bits += 8
        while bits >= 5:
            out.append(_ALPHABET[buffer & 31])
            buffer >>= 5
            bits -= 5
    if bits:
        out.append(_ALPHABET[buffer])
    return "".join(out)


def decode(text: str) -> bytes:
    """Return the bytes; bits left over are dropped. Raises `DecodeError`."""
    out = bytearray()
    buffer = bits = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise DecodeError("a character outside of the base32 alphabet")
        buffer |= value << bits
        bits += 5
        if bits >= 8:
            out.append(buffer & 0xFF)
            buffer >>= 8
            bits -= 8
    return bytes(out)


def encode_prefixed(data: bytes) -> str:
    """Return `fedimint` ‖ base32."""
    return PREFIX + encode(data)


def has_prefix(text: str) -> bool:
    """Tell whether `text` claims to be of this form, in either case."""
    return text[: len(PREFIX)].lower() == PREFIX


def decode_prefixed(text: str) -> bytes:
    """Read `fedimint` ‖ base32, in either case as QR codes have it. Raises `DecodeError`."""
    if not has_prefix(text):
        raise DecodeError(f"the text does not begin with {PREFIX}")
    return decode(text[len(PREFIX) :].lower())
