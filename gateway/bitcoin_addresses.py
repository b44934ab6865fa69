"""What an address must be before coins are sent to it."""

from errors import InputError
from fedimint import addresses
from fedimint.wire_types import Network


def script_of(address: str, network: Network) -> bytes:
    """The scriptPubKey of an address. Raises InputError for no address, and for one of another network."""
    parsed = addresses.parse_address(address)
    if network not in parsed.networks:
        raise InputError(
            f"Gateway is running on network {network}, but provided withdraw address is for "
            f"network {parsed.networks[0]}"
        )
    return parsed.script_pubkey
