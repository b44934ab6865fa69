"""Mutants that repeat a fault, act on what the operator gave up, or keep wrong books."""

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import msgspec

from engine.effects import Effects
from engine.faults import Faults
from engine.machine import Ignore
from fuzz.mutants.mutant import Mutant, ruled
from statemachines import bookings, federation, send, transaction


def _book_no_routing() -> AbstractContextManager[object]:
    paid: Any = bookings.BOOKINGS[send.SendPaid]

    def for_nothing(before: Any, event: send.SendPaid) -> Any:
        return paid(before, msgspec.structs.replace(event, routing_fee_msat=0))

    return patch.dict(bookings.BOOKINGS, {send.SendPaid: for_nothing})


def _send_what_was_given_up() -> AbstractContextManager[object]:
    """The payer is refunded, and the guardians take it once they are back."""
    pair = (transaction.Signed, transaction.GiveUpTransaction)
    return ruled(transaction.MACHINE, (pair, Ignore("it rests, too")))


def _build_again_what_is_impossible() -> AbstractContextManager[object]:
    return patch.object(Effects, "_fault", lambda *_: None)


def _forget_quarantines() -> AbstractContextManager[object]:
    return patch.object(Faults, "is_quarantined", lambda *_: False)


def _write_nothing_off() -> AbstractContextManager[object]:
    return patch.dict(bookings.BOOKINGS, {federation.FederationGivenUp: lambda _before, _event: {}})


MUTANTS = (
    Mutant("book no routing", 7, "", _book_no_routing, (1,)),
    Mutant("send what was given up", 2, "", _send_what_was_given_up, (8, 38, 68)),
    Mutant("build again what is impossible", 10, "", _build_again_what_is_impossible, (2, 12)),
    Mutant("forget quarantines", 10, "", _forget_quarantines, (62, 152)),
    Mutant("write nothing off", 7, "", _write_nothing_off, (8, 18)),
)
