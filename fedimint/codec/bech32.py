"""Bech32 and bech32m (BIP 173, BIP 350) without the limit of 90 characters; segwit addresses.

Invite codes and BOLT 11 invoices are longer than 90 characters; segwit addresses keep the limit.
"""

from typing import Literal

from fedimint.codec.errors import DecodeError

Spec = Literal["bech32", "bech32m"]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: dict[Spec, int] = {"bech32": 1, "bech32m": 0x2BC830A3}


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def encode(hrp: str, words: list[int], spec: Spec) -> str:
    """Return the text of a lower-case human readable part and 5-bit words."""
    polymod = _polymod([*_expand(hrp), *words, 0, 0, 0, 0, 0, 0]) ^ _CHECKSUM[spec]
    checksum = [polymod >> 5 * (5 - i) & 31 for i in range(6)]
    return hrp + "1" + "".join(_CHARSET[word] for word in words + checksum)


def decode(text: str) -> tuple[str, list[int], Spec]:
    """Return human readable part (lower case), 5-bit words without checksum, and which of the two.

    Raises `DecodeError`, also on mixed case.
    """
    if any(not 33 <= ord(character) <= 126 for character in text):
        raise DecodeError("bech32 text holds a character that is not printable ASCII")
    if text.lower() != text and text.upper() != text:
        raise DecodeError("bech32 text mixes upper and lower case")
    hrp, separator, data = text.lower().rpartition("1")
    if not separator or not hrp or len(data) < 6:
        raise DecodeError("bech32 text without separator, or too short")
    words = []
    for character in data:
        value = _VALUES.get(character)
        if value is None:
            raise DecodeError(f"{character!r} is not a bech32 character")
        words.append(value)
    checksum = _polymod(_expand(hrp) + words)
    for spec, constant in _CHECKSUM.items():
        if checksum == constant:
            return hrp, words[:-6], spec
    raise DecodeError("the bech32 checksum is wrong; a character may be mistyped or missing")


def to_words(data: bytes) -> list[int]:
    """Return the 5-bit words of `data`, high bits first, the last one filled up with zeros."""
    words = []
    buffer = bits = 0
    for byte in data:
        buffer = (buffer & 31) << 8 | byte
        bits += 8
        while bits >= 5:
            bits -= 5
            words.append(buffer >> bits & 31)
    if bits:
        words.append(buffer << (5 - bits) & 31)
    return words


def to_bytes(words: list[int]) -> bytes:
    """Return the bytes of 5-bit words. Raises `DecodeError` unless the filling is short and zero."""
    out = bytearray()
    buffer = bits = 0
    for word in words:
        buffer = (buffer & 0xFF) << 5 | word
        bits += 5
        if bits >= 8:
            bits -= 8
            out.append(buffer >> bits & 0xFF)
    if bits >= 5 or buffer & ((1 << bits) - 1):
        raise DecodeError("bech32 data does not end on a byte")
    return bytes(out)


def encode_segwit(hrp: str, version: int, program: bytes) -> str:
    """Return a segwit address; `hrp` is bc, tb or bcrt."""
    return encode(hrp, [version, *to_words(program)], "bech32" if version == 0 else "bech32m")


def decode_segwit(text: str) -> tuple[str, int, bytes]:
    """Return human readable part, witness version and program. Raises `DecodeError` (BIP 350)."""
    if len(text) > 90:
        raise DecodeError("a segwit address has at most 90 characters")
    hrp, words, spec = decode(text)
    if not words or words[0] > 16:
        raise DecodeError("a segwit address without a valid witness version")
    version, program = words[0], to_bytes(words[1:])
    if spec != ("bech32" if version == 0 else "bech32m"):
        raise DecodeError("the checksum is of the wrong kind for this witness version")
    if not 2 <= len(program) <= 40 or (version == 0 and len(program) not in (20, 32)):
        raise DecodeError(f"a witness program cannot have {len(program)} bytes")
    return hrp, version, program
