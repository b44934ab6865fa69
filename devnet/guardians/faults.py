"""Faults of one embedded guardian, which a test switches on and off."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fedimint.codec.encoding import to_module_json
from fedimint.crypto import bls
from fedimint.transaction import SUBMISSION_OUTCOME, InvalidWitnessLength, Rejected

LONG_POLL_LIMIT_S: Final = 60.0
"""A real guardian cuts every call after this time."""

Lie = Callable[[str, object], object]
"""From a method and the honest result, JSON builtins, to what the guardian says instead."""


def _never(method: str) -> bool:
    del method
    return False


@dataclass
class Faults:
    """Nothing is wrong at first. A fault acts on calls as long as it is set, also on those waiting.

    `pause` is awaited before a call is served. `loses_answer` is asked by method after the call was
    served: the effect stands and the caller learns nothing. A `long_poll_limit_s` of 0 cuts whatever
    cannot be answered at once.
    """

    is_down: bool = False
    pause: Callable[[str], Awaitable[None]] | None = None
    loses_answer: Callable[[str], bool] = _never
    long_poll_limit_s: float = LONG_POLL_LIMIT_S
    lie: Lie | None = None


def wrong_shares(method: str, result: object) -> object:
    """A lie: points of the curve that are nobody's shares."""
    share = bls.encode_g1(bls.g1_generator()).hex()
    if method.endswith("_signature_shares") and isinstance(result, list):
        return [share for _ in result]
    return share if method.endswith("_decryption_key_share") else result


def wrong_errors(method: str, result: object) -> object:
    """A lie: every transaction is refused."""
    if method == "submit_transaction":
        return to_module_json(SUBMISSION_OUTCOME, Rejected(InvalidWitnessLength()))
    return result


def garbage(method: str, result: object) -> object:
    """A lie: an answer of no shape that any method has."""
    del result
    return {"method": [method, None, -1]}
