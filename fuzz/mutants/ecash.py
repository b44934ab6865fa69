"""Mutants that lose ecash, or give it away."""

from contextlib import AbstractContextManager
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import msgspec

from engine.effects import EffectContext
from engine.machine import Decision, Handle, Input, State
from fedimint.client import query
from fedimint.codec.wire_types import PeerId, TransactionId
from fedimint.crypto import tbs
from fedimint.federation_api import FederationApi, FinallyRejected
from fedimint.mintv2 import notes
from fuzz.mutants.mutant import Mutant, Pair, decided, evolved, ruled
from gateway import ecash_receipts
from gateway.transaction_effects import TransactionEffects
from statemachines import (
    identity,
    reissue,
    transaction,
    wallet,
    wallet_rules,
)


def _keep_what_is_reserved(part: Literal["notes", "tweaks"]) -> AbstractContextManager[object]:
    """This part of the wallet stays as it was before the reservation."""
    evolve = wallet_rules.MACHINE.evolvers[wallet.WalletReserved]

    def keep(state: Any, event: Any) -> State:
        after = evolve(state, event)
        assert isinstance(after, wallet.Wallet)
        return msgspec.structs.replace(after, **{part: getattr(state, part)})

    return evolved(wallet_rules.MACHINE, wallet.WalletReserved, keep)


def _give_one_index_to_all() -> AbstractContextManager[object]:
    pair: Pair = (identity.Founded, identity.JoinFederation)
    rule = decided(identity.MACHINE, pair)

    def join(state: Any, input_: Any) -> Decision:
        return rule.decide(msgspec.structs.replace(state, federations=0), input_)

    return ruled(identity.MACHINE, (pair, Handle(join, rule.to)))


def _submit_while_building() -> AbstractContextManager[object]:
    build = TransactionEffects.build

    async def build_and_submit(self: Any, effect: Any, context: EffectContext) -> Input:
        built = await build(self, effect, context)
        if isinstance(built, transaction.Built):
            federation = self._federations.client(effect.reservation.federation_id)
            txid = TransactionId(bytes.fromhex(built.signed.txid))
            await federation.core.submit_transaction(built.signed.encoded, txid)
        return built

    return patch.object(TransactionEffects, "build", build_and_submit)


def _believe_the_first_guardian() -> AbstractContextManager[object]:
    submit = TransactionEffects.submit

    async def ask_one(self: Any, effect: Any, context: EffectContext) -> Input:
        guardians = self._federations.client(effect.federation_id).core.guardians
        first = {PeerId(0): guardians.connections[PeerId(0)]}
        one = FederationApi(query.Guardians(first, guardians.sleep_s, guardians.jitter))
        txid = TransactionId(bytes.fromhex(effect.txid))
        if isinstance(await one.submit_transaction(effect.encoded, txid), FinallyRejected):
            return transaction.SubmissionRejected(error="one guardian says no")
        return await submit(self, effect, context)

    return patch.object(TransactionEffects, "submit", ask_one)


def _believe_every_share() -> AbstractContextManager[object]:
    """Of clients; guardians go on to judge notes."""
    mutant = type(
        "Tbs", (), {**vars(tbs), "verify_all": staticmethod(lambda _batch, _random: True)}
    )
    return patch.object(notes, "tbs", mutant)


def _count_ecash_before_its_reissue() -> AbstractContextManager[object]:
    hasty = SimpleNamespace(**{**vars(reissue), "Reissued": reissue.Reissued | reissue.Reissuing})
    return patch.object(ecash_receipts, "reissue", hasty)


MUTANTS = (
    Mutant("keep used tweaks", 5, "10.4.29", partial(_keep_what_is_reserved, "tweaks"), (11,)),
    Mutant("give one index to all", 5, "10.4.29", _give_one_index_to_all, (0,)),
    Mutant("submit while building", 8, "10.1.5", _submit_while_building, (11,)),
    Mutant("believe the first guardian", 6, "", _believe_the_first_guardian, (73, 338)),
    Mutant("believe every share", 6, "", _believe_every_share, (449,)),
    Mutant("count ecash before its reissue", 6, "10.4.24", _count_ecash_before_its_reissue, (1,)),
    Mutant("spend notes twice", 7, "", partial(_keep_what_is_reserved, "notes"), (0,)),
)
