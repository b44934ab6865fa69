"""A freeze holds back the effects that send money out, and no others."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from errors import UnavailableError
from fuzz.machines.scene import FEDERATION, NODE, facts
from gateway import effects
from gateway.freeze import FEDERATIONS_OF, held_back
from statemachines.items import FundedContract, Output, PegOut, Reservation
from statemachines.operator_payment import OperatorPaymentFacts, PayForOperator
from statemachines.send import NOT_OURS, LookUpRecord, PayInvoice
from statemachines.transaction import BuildTransaction, SubmitTransaction
from tests.gateway.scene import Scene

pytestmark = pytest.mark.anyio

_EFFECTS = {one for one in Effect.__subclasses__() if one.__module__.startswith("statemachines.")}


def _building(*outputs: Output) -> BuildTransaction:
    reservation = Reservation(
        tx="tx/1",
        parent="parent/1",
        federation_id=FEDERATION,
        claims=(),
        spends=(),
        issues=(),
        input_fee_msat=0,
        output_fee_msat=0,
        outputs=outputs,
    )
    return BuildTransaction(reservation=reservation)


HELD = (
    PayInvoice(node=NODE, payment_hash="00", invoice="ln", intent=NOT_OURS),
    PayForOperator(facts=OperatorPaymentFacts("00", "ln", 1, 1, 1), attempt=1),
    _building(FundedContract("00", 1)),
    _building(PegOut("00", 1, 1)),
)
FREE = (
    LookUpRecord(facts=facts(), intent=NOT_OURS, failed=None),
    _building(),
    SubmitTransaction(federation_id=FEDERATION, txid="00", encoded=b""),
)


async def _handle(effect: Effect, *, is_frozen: bool) -> list[Effect]:
    handled: list[Effect] = []

    async def handler(effect: Effect, _context: EffectContext) -> Input | None:
        handled.append(effect)
        return None

    def refuse(*federation_ids: str) -> None:
        of_a_federation = isinstance(effect, BuildTransaction)
        assert federation_ids == ((FEDERATION,) if of_a_federation else ())
        if is_frozen:
            raise UnavailableError("frozen")

    guarded = held_back({type(effect): handler}, refuse)[type(effect)]
    await guarded(effect, EffectContext("stream/1", resumed=True, report=lambda _input: None))
    return handled


@pytest.mark.parametrize("effect", HELD, ids=lambda effect: type(effect).__name__)
async def test_what_sends_money_out_waits(effect: Effect) -> None:
    with pytest.raises(UnavailableError, match="frozen"):
        await _handle(effect, is_frozen=True)
    assert await _handle(effect, is_frozen=False) == [effect]


@pytest.mark.parametrize("effect", FREE, ids=lambda effect: type(effect).__name__)
async def test_everything_else_goes_on(effect: Effect) -> None:
    assert await _handle(effect, is_frozen=True) == [effect]


async def test_every_effect_has_a_handler_that_is_held_back_if_need_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: set[type[Effect]] = set()

    def spied(
        handlers: Mapping[type[Effect], Handler], refuse: Callable[..., None]
    ) -> Mapping[type[Effect], Handler]:
        handled.update(handlers)
        return held_back(handlers, refuse)

    monkeypatch.setattr(effects, "held_back", spied)
    async with Scene(tmp_path).serving():
        assert handled == _EFFECTS


def test_it_is_known_whom_each_effect_waits_for_that_may_pay_twice() -> None:
    assert {one for one in _EFFECTS if one.may_pay_twice} == set(FEDERATIONS_OF)
