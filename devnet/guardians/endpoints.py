"""What all groups of endpoints of an embedded guardian share: state, parameters, long polls."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import anyio
import msgspec

from devnet.guardians.consensus import Consensus
from devnet.guardians.dealer import GuardianSecrets
from fedimint.codec.errors import DecodeError

T = TypeVar("T")

Endpoint = Callable[[object], Awaitable[object]]
"""From the parameters to the result, both JSON builtins.

Raises DecodeError for bad parameters, GuardianRefused for what a guardian refuses otherwise.
"""
Methods = Mapping[str, Endpoint]
"""Endpoints by method name."""


@dataclass(frozen=True)
class GuardianState:
    """What all share, and what one guardian has for itself.

    `fail_if_down` is called whenever a long poll looks again.
    """

    consensus: Consensus
    secrets: GuardianSecrets
    fail_if_down: Callable[[], None]

    async def until(self, ready: Callable[[], T | None], recheck_s: float = math.inf) -> T:
        """Return what `ready` gives once it is not None; ask whenever something changed.

        With `recheck_s`, ask also after that time, for what changes with the clock alone.
        """
        while True:
            self.fail_if_down()
            value = ready()
            if value is not None:
                return value
            with anyio.move_on_after(recheck_s):
                await self.consensus.change()


def parameters(params: object, wanted: type[T]) -> T:
    """Read the parameters of a call. Raises DecodeError."""
    try:
        return msgspec.convert(params, wanted)
    except msgspec.ValidationError as error:
        raise DecodeError(f"parameters of another shape: {error}") from None
