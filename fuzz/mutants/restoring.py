"""Mutants that continue from a backup as if nothing had happened since."""

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from fuzz.mutants.mutant import Mutant
from gateway import reconciliation
from gateway.context import GatewayContext


def _do_not_freeze() -> AbstractContextManager[object]:
    return patch.object(GatewayContext, "refuse_while_frozen", lambda *_: None)


def _keep_notes_that_lost_events_spent() -> AbstractContextManager[object]:
    async def ask_nobody(*_: Any) -> bool:
        return True

    return patch.object(reconciliation, "_find_notes", ask_nobody)


MUTANTS = (
    Mutant("do not freeze", 3, "10.3.22", _do_not_freeze, (286,)),
    Mutant("keep spent notes", 6, "", _keep_notes_that_lost_events_spent, (26, 16)),
)
