"""Bitcoin addresses: the text forms of a scriptPubKey on a network.

Source: BIP 173 and BIP 350 for segwit; Base58Check for the older two. Texts of testnet, signet and
(before segwit) regtest look alike, so an address says which networks it is valid on, not the one.
"""

import msgspec

from fedimint.codec import bech32
from fedimint.codec.bitcoin import double_sha256
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import Network

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_TEST: tuple[Network, ...] = ("testnet", "testnet4", "signet", "regtest")
_SEGWIT_NETWORKS: dict[str, tuple[Network, ...]] = {
    "bc": ("bitcoin",),
    "tb": ("testnet", "testnet4", "signet"),
    "bcrt": ("regtest",),
}
_P2PKH_NETWORKS: dict[int, tuple[Network, ...]] = {0x00: ("bitcoin",), 0x6F: _TEST}
_P2SH_NETWORKS: dict[int, tuple[Network, ...]] = {0x05: ("bitcoin",), 0xC4: _TEST}


class ParsedAddress(msgspec.Struct, frozen=True):
    """The script an address pays to, and the networks its text is valid on."""

    script_pubkey: bytes
    networks: tuple[Network, ...]


def parse_address(text: str) -> ParsedAddress:
    """Read an address. Raises `DecodeError`."""
    if text.lower().startswith(("bc1", "tb1", "bcrt1")):
        hrp, version, program = bech32.decode_segwit(text)
        opcode = 0x50 + version if version else 0
        return ParsedAddress(bytes([opcode, len(program)]) + program, _SEGWIT_NETWORKS[hrp])
    data = _base58check(text)
    version, digest = data[0], data[1:]
    if len(digest) == 20 and version in _P2PKH_NETWORKS:
        return ParsedAddress(b"\x76\xa9\x14" + digest + b"\x88\xac", _P2PKH_NETWORKS[version])
    if len(digest) == 20 and version in _P2SH_NETWORKS:
        return ParsedAddress(b"\xa9\x14" + digest + b"\x87", _P2SH_NETWORKS[version])
    raise DecodeError("not an address of a bitcoin network")


def segwit_address(script_pubkey: bytes, network: Network) -> str:
    """Return the text of a segwit script on `network`. Raises `DecodeError` for other scripts."""
    prefixes = [hrp for hrp, networks in _SEGWIT_NETWORKS.items() if network in networks]
    if not 4 <= len(script_pubkey) <= 42 or script_pubkey[1] != len(script_pubkey) - 2:
        raise DecodeError("not a segwit script")
    opcode = script_pubkey[0]
    if opcode and not 0x51 <= opcode <= 0x60:
        raise DecodeError("not a segwit script")
    return bech32.encode_segwit(prefixes[0], opcode - 0x50 if opcode else 0, script_pubkey[2:])


def _base58check(text: str) -> bytes:
    if not 26 <= len(text) <= 35:
        raise DecodeError("not a bitcoin address")
    number = 0
    for character in text:
        value = _ALPHABET.find(character)
        if value < 0:
            raise DecodeError("not a bitcoin address")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) < 5 or double_sha256(data[:-4])[:4] != data[-4:]:
        raise DecodeError("the checksum of the address is wrong; it may be mistyped")
    return data[:-4]
