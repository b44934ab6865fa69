"""Mutants that decide without what a decision rests on: they fund, call or refuse when they must not."""

from contextlib import AbstractContextManager
from unittest.mock import patch

import msgspec

from fuzz.mutant import Mutant
from gateway import fees, receivers
from statemachines import exposure, federation, send_rules


def _refuse_every_receiver() -> AbstractContextManager[object]:
    return patch.object(receivers, "refusal_to_fund", lambda *_: "not today")


def _refuse_every_sender() -> AbstractContextManager[object]:
    return patch.object(send_rules, "refusal", lambda *_: (send_rules.INVOICE_EXPIRED, "not today"))


def _ask_senders_for_no_fee() -> AbstractContextManager[object]:
    return patch.object(fees, "add_to", lambda _fee, amount_msat: amount_msat)


def _ask_receivers_for_no_fee() -> AbstractContextManager[object]:
    return patch.object(fees, "subtract_from", lambda _fee, amount_msat: amount_msat)


def _have_no_cap() -> AbstractContextManager[object]:
    return patch.object(exposure, "cap_msat", lambda _trust: 1 << 64)


def _trust_whoever_refused_a_claim() -> AbstractContextManager[object]:
    distrust = exposure.distrust

    def forgive(trust: federation.Trust, at_stake_msat: int, contract_msat: int) -> str | None:
        forgiven = msgspec.structs.replace(trust, refused_claim=None)
        return distrust(forgiven, at_stake_msat, contract_msat)

    return patch.object(exposure, "distrust", forgive)


MUTANTS = (
    Mutant("have no cap", 9, "", _have_no_cap, (3,)),
    Mutant("trust who refused a claim", 9, "", _trust_whoever_refused_a_claim, (1,)),
    Mutant("refuse every receiver", 10, "", _refuse_every_receiver, (4,)),
    Mutant("refuse every sender", 10, "", _refuse_every_sender, (4,)),
    Mutant("ask senders for no fee", 3, "", _ask_senders_for_no_fee, (0,)),
    Mutant("ask receivers for no fee", 7, "", _ask_receivers_for_no_fee, (0,)),
)
