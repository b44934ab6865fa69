"""What the application needs besides its node and its log: guardians, CPU, tweaks."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, TypeVarTuple

from fedimint.client.transport import GuardianConnection
from fedimint.crypto.secrets import DerivableSecret
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: Opens the connection to one guardian: API URL as the config names it, API secret or None.
Connect = Callable[[str, str | None], GuardianConnection]


class Cpu(Protocol):
    """Runs a pure, module-level function that would hold up the event loop."""

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        """The function's result or error. Raises UnavailableError when its worker died; run it again."""
        ...


class Inline:
    """On the event loop itself, for simulations."""

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        return function(*arguments)


#: Grinds one mintv2 tweak (16 bytes) for a filter (32 bytes); cancelled when the gateway stops.
GrindTweak = Callable[[bytes], Awaitable[bytes]]

#: Finds the first walletv2 address index from a start on: module secret, guardians' keys, start. Takes seconds.
GrindAddress = Callable[[DerivableSecret, WalletV2ClientConfig, int], Awaitable[GroundAddress]]
