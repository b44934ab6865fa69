"""Mutants that order twice for the operator, or keep his books wrongly."""

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import msgspec

from fuzz.mutant import Mutant
from statemachines import bookings, send


def _book_no_routing() -> AbstractContextManager[object]:
    paid: Any = bookings.BOOKINGS[send.SendPaid]

    def for_nothing(before: Any, event: send.SendPaid) -> Any:
        return paid(before, msgspec.structs.replace(event, routing_fee_msat=0))

    return patch.dict(bookings.BOOKINGS, {send.SendPaid: for_nothing})


MUTANTS = (Mutant("book no routing", 7, "", _book_no_routing, (1,)),)
