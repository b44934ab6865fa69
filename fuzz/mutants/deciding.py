"""Mutants that skip a condition: they fund, call or refuse when they must not."""

from contextlib import AbstractContextManager
from dataclasses import replace as replaced
from typing import Any
from unittest.mock import patch

import msgspec

from engine.effects import EffectContext
from engine.machine import Input
from fedimint.codec import wire_types
from fedimint.lnv2.gateway_api import PaymentFee
from fuzz.mutants.mutant import Mutant, both
from gateway import conditions, receive_requests, receivers, send_requests, transaction_effects
from gateway.transaction_effects import TransactionEffects
from statemachines import (
    bookings,
    completion,
    exposure,
    federation,
    receive,
    receive_rules,
    send,
    send_rules,
    transaction,
)
from statemachines.items import Reservation

_FREE = PaymentFee(0, 0)


def _refuse_every_receiver() -> AbstractContextManager[object]:
    return patch.object(receivers, "refusal_to_fund", lambda *_: "not today")


def _refuse_every_sender() -> AbstractContextManager[object]:
    return patch.object(send_rules, "refusal", lambda *_: (send_rules.INVOICE_EXPIRED, "not today"))


def _ask_senders_for_no_fee() -> AbstractContextManager[object]:
    verify = send_requests.verify

    def without_fee(*request: Any, **terms: Any) -> send.RequestSend:
        return verify(*request, **{**terms, "minimum_fee": _FREE})

    return patch.object(send_requests, "verify", without_fee)


def _ask_receivers_for_no_fee() -> AbstractContextManager[object]:
    verify = receive_requests.verify

    async def without_fee(*request: Any, **terms: Any) -> receive.RequestReceive:
        return await verify(*request, **{**terms, "receive_fee": _FREE})

    return patch.object(receive_requests, "verify", without_fee)


def _fund_without_looking_again() -> AbstractContextManager[object]:
    asks = {receive.HtlcHeld: lambda _context, _stream, input_: input_}
    return patch.dict(conditions._CONDITIONS, asks)  # noqa: SLF001 - a mutant changes what is inside


def _fund_in_the_last_block() -> AbstractContextManager[object]:
    return patch.object(receive_rules, "DEADLINE_BLOCKS_MIN", 0)


def _fund_until_the_last_second() -> AbstractContextManager[object]:
    return patch.object(receive_rules, "CONTRACT_MARGIN_S", 0)


def _keep_whatever_is_locked() -> AbstractContextManager[object]:
    return patch.object(receive_rules, "OVERPAID_MAX_FACTOR", 1_000)


def _book_no_overpayment() -> AbstractContextManager[object]:
    return patch.dict(bookings.BOOKINGS, {completion.CompletionSettling: lambda *_: {}})


def _build_what_has_aged() -> AbstractContextManager[object]:
    build = TransactionEffects.build

    async def anyway(self: Any, effect: Any, context: EffectContext) -> Input:
        return await build(self, effect, replaced(context, of_earlier_life=False))

    def never(_reservation: Reservation, _now_unix_s: int) -> bool:
        return False

    young = both(
        patch.object(transaction, "has_aged", never),
        patch.object(transaction_effects, "has_aged", never),
    )
    return both(patch.object(TransactionEffects, "build", anyway), young)


def _have_no_cap() -> AbstractContextManager[object]:
    return patch.object(exposure, "cap_msat", lambda _trust: 1 << 64)


def _believe_any_denomination() -> AbstractContextManager[object]:
    return patch.object(wire_types, "LARGEST_DENOMINATION", 255)


def _believe_any_amount() -> AbstractContextManager[object]:
    return patch.multiple(wire_types, MOST_MSAT=1 << 64, MOST_SAT=1 << 64)


def _trust_whoever_refused_a_claim() -> AbstractContextManager[object]:
    distrust = exposure.distrust

    def forgive(trust: federation.Trust, at_stake_msat: int, contract_msat: int) -> str | None:
        forgiven = msgspec.structs.replace(trust, refused_claim=None)
        return distrust(forgiven, at_stake_msat, contract_msat)

    return patch.object(exposure, "distrust", forgive)


MUTANTS = (
    Mutant("fund without looking again", 4, "", _fund_without_looking_again, (126,)),
    Mutant("fund in the last block", 4, "", _fund_in_the_last_block, (281,)),
    Mutant("fund until the last second", 4, "", _fund_until_the_last_second, (21, 85)),
    Mutant("keep whatever is locked", 4, "", _keep_whatever_is_locked, (21, 125)),
    Mutant("book no overpayment", 7, "", _book_no_overpayment, (7,)),
    Mutant("build what has aged", 4, "", _build_what_has_aged, (279,)),
    Mutant("have no cap", 9, "", _have_no_cap, (3,)),
    Mutant("believe any denomination", 9, "", _believe_any_denomination, (10, 30)),
    Mutant("believe any amount", 9, "", _believe_any_amount, (50, 90)),
    Mutant("trust who refused a claim", 9, "", _trust_whoever_refused_a_claim, (1,)),
    Mutant("refuse every receiver", 10, "", _refuse_every_receiver, (4,)),
    Mutant("refuse every sender", 10, "", _refuse_every_sender, (4,)),
    Mutant("ask senders for no fee", 3, "", _ask_senders_for_no_fee, (0,)),
    Mutant("ask receivers for no fee", 7, "", _ask_receivers_for_no_fee, (0,)),
)
