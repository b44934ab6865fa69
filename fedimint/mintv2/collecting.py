"""Collects mintv2 notes from a threshold of guardians, some of which may lie.

Source: fedimint-mintv2-client src/output.rs and src/api.rs, but that shares are judged together, and
one by one only when the notes are wrong (`notes.finalise`).
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, TypeVarTuple

from errors import PeerError
from fedimint.client.query import Guardians
from fedimint.codec.wire_types import PeerId
from fedimint.crypto.secrets import DerivableSecret
from fedimint.mintv2 import notes
from fedimint.mintv2.api import CheckShares
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.notes import Finalised, NoteRequest

T = TypeVar("T")
Args = TypeVarTuple("Args")

Shares = tuple[bytes, ...]
AskShares = Callable[[CheckShares[Shares]], Awaitable[dict[PeerId, Shares]]]
"""An endpoint of `Mintv2Api` that gives shares, with everything but its `check`."""


class RunCpu(Protocol):
    """Runs a pure function of plain data where it holds up nobody, as in a worker process."""

    async def __call__(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        """Return the function's result or raise its error."""
        ...


@dataclass(frozen=True)
class NoteCollector:
    """Collects notes for one client of a mintv2 module: its guardians and keys, the client's secret."""

    guardians: Guardians
    keys: MintV2ClientConfig
    module: DerivableSecret
    run_cpu: RunCpu

    async def collect(self, ask: AskShares, requests: Sequence[NoteRequest]) -> Finalised:
        """Make notes of what the guardians answer to `ask`, which is about these requests in order.

        Guardians that sent wrong shares are not believed when the others are asked again. Raises
        PeerError when more of them lie than a federation can bear.
        """
        liars: set[PeerId] = set()

        async def believed(peer: PeerId, shares: Shares) -> Shares:
            if peer in liars:
                raise PeerError(f"guardian {peer} sent wrong signature shares before")
            return shares

        finalise = partial(
            notes.finalise, threshold=self.guardians.threshold, random_bytes=os.urandom
        )
        while True:
            shares = await ask(believed)
            finalised = await self.run_cpu(finalise, self.module, requests, shares, self.keys)
            if finalised.missing_peers == 0:
                return finalised
            liars.update(finalised.bad_peers)
            if len(liars) > self.guardians.max_failures:
                raise PeerError(f"guardians {sorted(liars)} send wrong signature shares")
