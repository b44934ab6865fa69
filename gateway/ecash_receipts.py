"""Ecash that anybody hands in: what is checked before a worker or the log spends anything on it.

A holder of spent notes could hand them in again and again, each time in other company. So a note that we were given
already is refused at once, one that a reissue is under way for is waited for, and one that the federation refused in
many companies is not tried again: each note pays, once, for the few rows that it can make us write.
"""

import os
from collections.abc import Sequence

from engine.machine import State
from errors import BusyError, ConflictError, InputError
from fedimint import pasted
from fedimint.mintv2 import Ecash, SpendableNote, ecash
from gateway.context import GatewayContext
from gateway.federation import FederationClient
from gateway.known_notes import of_notes
from gateway.modules.mintv2 import MintV2
from statemachines import reissue
from statemachines.items import ForeignNote

#: Notes taken at once; each needs about 155 bytes of the 50,000 that a transaction may have.
REISSUED_NOTES_MAX = 200
#: How often a note is tried that the federation refuses in different company. A search by halves
#: for the one spent note of the most that may be handed in at once tries each note nine times.
REFUSALS_MAX = 10


class EcashReceipts:
    """Taking ecash into the wallets of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._engine = context.engine

    async def receive(self, text: str) -> int:
        """Reissue ecash; its face value in msat once that is final.

        The same ecash again joins the reissue that is under way; afterwards it is spent. Raises InputError for what is
        no ecash of ours to take, ConflictError for what is spent, BusyError for notes that are being reissued in other
        company.
        """
        given = pasted.ecash(text)
        federation = self._federation_of(given)
        self._context.refuse_new_work(federation.federation_id)
        reissue_id = given.operation_id().hex()
        self._check_notes(given.notes(), reissue_id)
        spendable = await self._context.outside.cpu.run(
            ecash.notes_to_reissue,
            given,
            federation.config.federation_id(),
            federation.module(MintV2).config,
            os.urandom,
        )
        facts = reissue.ReissueFacts(
            id=reissue_id,
            federation_id=federation.federation_id,
            notes=tuple(
                ForeignNote(note.denomination, note.note().nonce.hex()) for note in spendable
            ),
        )
        stream = reissue.stream_of(facts.id)
        await self._engine.read(stream)
        # Again, since others came while the worker looked at it.
        self._check_notes(spendable, reissue_id)
        self._context.foreign_notes.keep(spendable)
        try:
            await self._engine.submit(stream, reissue.RequestReissue(facts=facts))
            ended = await self._engine.wait(stream, _is_over)
        finally:
            if not isinstance(self._engine.peek(stream), reissue.Reissuing):
                self._context.foreign_notes.forget(facts.nonces)
        if isinstance(ended.state, reissue.Reissued):
            return facts.amount_msat
        raise ConflictError("the federation refuses this ecash, most likely because it is spent")

    def _check_notes(self, notes: Sequence[SpendableNote], reissue_id: str) -> None:
        """Costs no more than a look at each note."""
        if len(notes) > REISSUED_NOTES_MAX:
            raise InputError(f"ecash of more than {REISSUED_NOTES_MAX} notes: give it in parts")
        nonces = frozenset(note.note().nonce.hex() for note in notes)
        known = of_notes(self._context.store, nonces)
        if known.received:
            raise ConflictError(
                f"{known.received} of {len(nonces)} notes of this ecash were received before: they are spent"
            )
        if known.refusals >= REFUSALS_MAX:
            raise ConflictError(
                f"the federation refused a note of this ecash {known.refusals} times, most likely because it is spent"
            )
        for state in self._engine.open_streams().values():
            if (
                isinstance(state, reissue.Reissuing)
                and state.facts.id != reissue_id
                and not nonces.isdisjoint(state.facts.nonces)
            ):
                raise BusyError("notes of this ecash are being reissued just now; ask again later")

    def _federation_of(self, given: Ecash) -> FederationClient:
        federation_id = given.federation_id()
        if federation_id is None:
            raise InputError("the ecash does not name its federation")
        return self._context.served(federation_id.hex())[0]


def _is_over(state: State) -> bool:
    return isinstance(state, reissue.Reissued | reissue.ReissueRejected | reissue.Abandoned)
