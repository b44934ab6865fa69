"""The machines and read models of a gateway's log, for every program that opens one."""

import hashlib
import secrets
from functools import cache
from importlib import resources

import msgspec

from engine.fold import Machines
from engine.storage.open_states import OpenStates
from engine.storage.read_model import ReadModel, StreamIndex
from gateway.known_notes import KnownNotes
from gateway.payment_entries import PaymentEntries
from migrations import UPCASTERS
from statemachines import ALL_MACHINES

#: Where everything is that decides what a log folds to.
_FOLDING = ("engine", "fedimint", "migrations", "statemachines")


def machines() -> Machines:
    """Every machine of the gateway, with the upcasters of older events."""
    return Machines(ALL_MACHINES, UPCASTERS)


def read_models() -> tuple[ReadModel, ...]:
    """Every read model that is folded from this log."""
    return (StreamIndex(), OpenStates(machines(), _program()), PaymentEntries(), KnownNotes())


@cache
def _program() -> int:
    """A number of the program's source and decoder: states that another one has folded are folded anew.

    A program without its source is another one at each start.
    """
    # Events and states are decoded by msgspec.
    digest, is_known = hashlib.sha256(f"msgspec {msgspec.__version__}\n".encode()), True
    for package in _FOLDING:
        with resources.as_file(resources.files(package)) as folder:
            sources = sorted(folder.rglob("*.py"))
            is_known = is_known and bool(sources)
            for path in sources:
                digest.update(f"{package}/{path.relative_to(folder)}\n".encode())
                digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big") if is_known else secrets.randbits(56)
