"""Checks a bitcoin address before coins are sent to it."""

import msgspec

from errors import InputError
from fedimint import pasted
from fedimint.codec import addresses
from fedimint.codec.wire_types import Network


class Destination(msgspec.Struct, frozen=True):
    """Where coins go: an address as text, and its scriptPubKey."""

    address: str
    script: bytes


def destination(text: str, amount_sat: int | None, network: Network) -> Destination:
    """Where a pasted address or `bitcoin:` URI wants coins to go, when `amount_sat` (None: all) shall be sent.

    Raises InputError for no address, for one of another network, and for a URI that asks for another amount: one of the
    two numbers is a mistake, and nobody here knows which.
    """
    asked = pasted.address(text)
    if asked.amount_sat is not None and asked.amount_sat != amount_sat:
        given = "all there is was" if amount_sat is None else f"{amount_sat} sat were"
        raise InputError(
            f"the URI asks for {asked.amount_sat} sat, but {given} to be sent: "
            "give the amount that the URI names, or the address alone"
        )
    return Destination(asked.address, _script_of(asked.address, network))


def our_address(text: str, network: Network) -> Destination:
    """What `destination` gives, where nothing is sent: whatever amount a URI asks for. Raises InputError."""
    found = pasted.address(text).address
    return Destination(found, _script_of(found, network))


def _script_of(address: str, network: Network) -> bytes:
    parsed = addresses.parse_address(address)
    if network not in parsed.networks:
        raise InputError(
            f"Gateway is running on network {network}, but provided withdraw address is for "
            f"network {parsed.networks[0]}"
        )
    return parsed.script_pubkey
