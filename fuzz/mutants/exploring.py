"""Mutants that decide on what has changed since: random draws rarely catch them, a search of all orders does."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from unittest.mock import patch

from engine.machine import Tell
from gateway import conditions
from statemachines import receive, receive_rules
from statemachines.items import FundedContract
from statemachines.transaction import wallet_of
from statemachines.wallet import FundOutput


class ExploredMutant(NamedTuple):
    """A patch around a search of one scene, and the beginning of the promise that breaks first."""

    scene: str
    breaks: str
    apply: Callable[[], AbstractContextManager[object]]


def _decide_on_what_was_measured() -> AbstractContextManager[object]:
    """What was found out before is decided on, whatever happened since."""
    asked: Any = conditions._CONDITIONS  # noqa: SLF001 - a mutant changes what is inside
    believed = {receive.HtlcHeld: lambda _context, _stream, measured: measured}
    mutated: AbstractContextManager[object] = patch.dict(asked, believed)
    return mutated


def _build_what_has_aged() -> AbstractContextManager[object]:
    def fund(facts: receive.ReceiveFacts, _now_unix_s: int) -> Tell:
        told = FundOutput(
            parent=receive.stream_of(facts.payment_hash),
            output=FundedContract(facts.contract, facts.contract_msat),
            sign_by_unix_s=0,
        )
        return Tell(wallet_of(facts.federation_id), told)

    return patch.object(receive_rules, "_fund", fund)


MUTANTS: Mapping[str, ExploredMutant] = {
    "decide on what was measured": ExploredMutant(
        "receive, the HTLC ends first", "4: decides to fund", _decide_on_what_was_measured
    ),
    "decide on what was measured before the contract ended": ExploredMutant(
        "receive, the contract ends first", "4: decides to fund", _decide_on_what_was_measured
    ),
    "build what has aged": ExploredMutant(
        "receive, the HTLC ends first", "4: signs a funding", _build_what_has_aged
    ),
    "build what has aged for a swap": ExploredMutant(
        "swap", "1: signs a funding", _build_what_has_aged
    ),
}
