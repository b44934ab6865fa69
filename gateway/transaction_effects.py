"""The effects of a federation transaction: build, submit, collect (`statemachines/transaction.py`)."""

import os
from collections.abc import Mapping
from functools import partial

from engine.effects import EffectContext, Handler
from engine.machine import Effect
from engine.ports import Randomness
from errors import GatewayError, PeerError
from fedimint import notes
from fedimint.federation_api import FinallyRejected
from fedimint.secrets import TWEAK_SIZE
from fedimint.wire_types import PeerId, TransactionId
from gateway.build import NONCE_SIZE, ModuleKeys, build, held_note, note_requests
from gateway.federation import FederationClient
from gateway.federations import Federations
from gateway.ports import Cpu
from statemachines.transaction import (
    BuildTransaction,
    Built,
    CollectNotes,
    NotesCollected,
    SubmissionAccepted,
    SubmissionRejected,
    SubmitTransaction,
)


class TransactionEffects:
    """Handlers over the open federations."""

    def __init__(self, federations: Federations, cpu: Cpu, randomness: Randomness) -> None:
        self._federations = federations
        self._cpu = cpu
        self._randomness = randomness

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect of the machine."""
        return {
            BuildTransaction: self.build,
            SubmitTransaction: self.submit,
            CollectNotes: self.collect,
        }

    async def build(self, effect: BuildTransaction, _context: EffectContext) -> Built:
        """Nothing leaves, so building again after a crash is harmless: the first committed bytes count."""
        reservation = effect.reservation
        federation = self._federations.needed(reservation.federation_id)
        missing = sum(1 for issue in reservation.issues if not issue.tweak)
        starts = [self._randomness.random_bytes(TWEAK_SIZE) for _ in range(missing)]
        nonce = self._randomness.random_bytes(NONCE_SIZE)
        keys = module_keys(federation)
        return Built(signed=await self._cpu.run(build, keys, reservation, nonce, starts))

    async def submit(
        self, effect: SubmitTransaction, _context: EffectContext
    ) -> SubmissionAccepted | SubmissionRejected:
        """Idempotent by txid at the federation."""
        federation = self._federations.needed(effect.federation_id)
        txid = TransactionId(bytes.fromhex(effect.txid))
        outcome = await federation.core.submit_until_final(effect.encoded, txid)
        if isinstance(outcome, FinallyRejected):
            return SubmissionRejected(error=_describe(outcome))
        return SubmissionAccepted()

    async def collect(self, effect: CollectNotes, _context: EffectContext) -> NotesCollected:
        """Believe a threshold of guardians first; when their notes fail, ask the others instead of the liars."""
        if not effect.issues:
            return NotesCollected(notes=(), lost_msat=0)
        federation = self._federations.needed(effect.federation_id)
        liars: set[int] = set()
        while True:
            finalised = await self._collect_from(federation, effect, liars)
            if finalised.missing_peers == 0:
                break
            liars.update(finalised.bad_peers)
            if len(liars) > federation.core.guardians.max_failures:
                raise PeerError(f"guardians {sorted(liars)} send wrong signature shares")
        lost_msat = sum(1 << effect.issues[index].denomination for index in finalised.invalid)
        return NotesCollected(notes=tuple(map(held_note, finalised.notes)), lost_msat=lost_msat)

    async def _collect_from(
        self, federation: FederationClient, effect: CollectNotes, liars: set[int]
    ) -> notes.Finalised:
        async def believed(peer: PeerId, shares: tuple[bytes, ...]) -> tuple[bytes, ...]:
            if peer in liars:
                raise PeerError(f"guardian {peer} sent wrong signature shares before")
            return shares

        txid = TransactionId(bytes.fromhex(effect.txid))
        shares = await federation.mint.signature_shares(txid, 0, len(effect.issues), believed)
        finalise = partial(
            notes.finalise,
            threshold=federation.core.guardians.threshold,
            random_bytes=os.urandom,
        )
        return await self._cpu.run(
            finalise,
            federation.mint_secret,
            note_requests(effect.issues),
            shares,
            federation.mint_keys,
        )


def module_keys(federation: FederationClient) -> ModuleKeys:
    """What a worker needs to build transactions of this federation."""
    return ModuleKeys(
        federation.lnv2.module_id,
        federation.mint.module_id,
        federation.gateway_secret,
        federation.mint_secret,
    )


def _describe(rejected: FinallyRejected) -> str:
    try:
        return repr(rejected.error())
    except GatewayError:
        return f"an error this version cannot read: {rejected.error_bytes.hex()}"
