"""The machines and read models of a gateway's log, for every program that opens one."""

from engine.fold import Machines
from engine.read_model import ReadModel, StreamIndex
from gateway.known_notes import KnownNotes
from gateway.payment_entries import PaymentEntries
from migrations import UPCASTERS
from statemachines import ALL_MACHINES


def machines() -> Machines:
    """Every machine of the gateway, with the upcasters of older events."""
    return Machines(ALL_MACHINES, UPCASTERS)


def read_models() -> tuple[ReadModel, ...]:
    """Every read model that is folded from this log."""
    return (StreamIndex(), PaymentEntries(), KnownNotes())
