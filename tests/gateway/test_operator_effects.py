"""One try of the operator's payment, by the node's record and earlier calls."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from backends.lightning import InFlight, NodeUnansweredError, NotFound, PaymentStatus
from backends.simulated.node import Fault
from engine.effects import EffectContext
from engine.machine import Input
from errors import UnavailableError
from gateway.operator_effects import OperatorEffects
from statemachines.operator_payment import (
    OperatorPaymentFacts,
    OperatorPaymentFailed,
    OperatorPaymentSucceeded,
    PayForOperator,
)
from statemachines.send import EXPIRY_MARGIN_S
from tests.gateway.scene import INVOICE_MSAT, Scene

pytestmark = pytest.mark.anyio
ROUTING_MSAT = 1_500


class Asked:
    """An operator's payment of one invoice, and tries of its effect."""

    def __init__(self, scene: Scene, *, is_held: bool = False) -> None:
        self.node, self.payee = scene.world.gateway_node, scene.world.payee
        self.clock = scene.clock
        self.invoice = self.payee.make_invoice(INVOICE_MSAT, is_held=is_held)
        self.hash = self.invoice.payment_hash

    async def attempt(
        self,
        number: int,
        *,
        resumed: bool = False,
        of_earlier_life: bool = False,
        max_fee_msat: int = 50_000,
        max_delay_blocks: int = 1_008,
    ) -> Input:
        facts = OperatorPaymentFacts(
            payment_hash=self.hash.hex(),
            invoice=self.invoice.text,
            invoice_msat=INVOICE_MSAT,
            max_fee_msat=max_fee_msat,
            max_delay_blocks=max_delay_blocks,
            node=self.node.public_key.hex(),
        )
        context = EffectContext(
            "operator_payment/x", resumed, lambda _input: None, of_earlier_life=of_earlier_life
        )
        return await OperatorEffects(self.node, self.clock).pay(
            PayForOperator(facts=facts, attempt=number), context
        )

    async def begin_elsewhere(self) -> None:
        """A payment of the same invoice that this attempt did not make."""
        async with self.node.pay(
            self.invoice.text,
            payment_hash=self.hash,
            max_fee_msat=50_000,
            max_delay_blocks=1_008,
        ) as statuses:
            assert await anext(aiter(statuses)) == InFlight()

    async def fail_before(self) -> None:
        failed = await self.attempt(1, max_fee_msat=0)
        assert isinstance(failed, OperatorPaymentFailed)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def _is_success(ended: Input) -> bool:
    return isinstance(ended, OperatorPaymentSucceeded) and ended.routing_fee_msat == ROUTING_MSAT


def _refuses_calls(asked: Asked) -> None:
    """The next call shows itself by its refusal."""
    asked.node.script(Fault.REFUSED)


CALLED = OperatorPaymentFailed(reason="as the script says")


async def test_the_first_try_pays_and_a_later_one_finds_the_end(scene: Scene) -> None:
    asked = Asked(scene)
    first = await asked.attempt(1)
    assert _is_success(first)
    assert await asked.attempt(1, resumed=True) == first


async def test_a_failure_of_the_call_is_the_end(scene: Scene) -> None:
    await Asked(scene).fail_before()


@pytest.mark.parametrize(("number", "resumed"), [(1, False), (2, False), (2, True)])
async def test_a_failure_that_may_be_from_before_is_no_end(
    scene: Scene, number: int, resumed: bool
) -> None:
    asked = Asked(scene)
    await asked.fail_before()
    assert _is_success(await asked.attempt(number, resumed=resumed))


async def test_a_failure_found_after_a_first_call_is_its_end(scene: Scene) -> None:
    asked = Asked(scene)
    await asked.fail_before()
    _refuses_calls(asked)
    ended = await asked.attempt(1, resumed=True)
    assert isinstance(ended, OperatorPaymentFailed)
    assert ended != CALLED


@pytest.mark.parametrize(("number", "resumed"), [(1, True), (2, True), (1, False)])
async def test_what_is_in_flight_is_followed_to_its_preimage(
    scene: Scene, number: int, resumed: bool
) -> None:
    asked = Asked(scene, is_held=True)
    await asked.begin_elsewhere()
    _refuses_calls(asked)
    ended: list[Input] = []

    async def follow() -> None:
        ended.append(await asked.attempt(number, resumed=resumed))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.lowlevel.checkpoint()
        asked.payee.settle_held(asked.hash)
    assert _is_success(ended[0])


@pytest.mark.parametrize(
    ("number", "resumed", "is_called"),
    [(1, True, False), (2, True, False), (1, False, True), (2, False, True)],
)
async def test_what_was_in_flight_and_failed_is_the_end_of_a_call_that_may_have_left(
    scene: Scene, number: int, resumed: bool, is_called: bool
) -> None:
    asked = Asked(scene, is_held=True)
    await asked.begin_elsewhere()
    _refuses_calls(asked)
    ended: list[Input] = []

    async def follow() -> None:
        ended.append(await asked.attempt(number, resumed=resumed))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        asked.payee.cancel_held(asked.hash)
    assert isinstance(ended[0], OperatorPaymentFailed)
    assert (ended[0] == CALLED) is is_called


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TAKEN, Fault.CUT, Fault.DELAYED])
async def test_no_answer_is_no_end_and_the_next_try_pays_once(scene: Scene, fault: Fault) -> None:
    asked = Asked(scene)
    asked.node.script(fault)
    with pytest.raises(NodeUnansweredError):
        await asked.attempt(1)
    assert _is_success(await asked.attempt(1, resumed=True))
    asked.node.deliver_delayed()
    assert scene.spent_msat() == INVOICE_MSAT + ROUTING_MSAT


@pytest.mark.parametrize("is_held", [False, True])
async def test_a_refused_call_ends_as_the_payment_that_was_faster(
    scene: Scene, is_held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier call that reaches the node between our question and our call."""
    asked = Asked(scene, is_held=is_held)
    lookup = asked.node.lookup

    async def just_before(payment_hash: bytes) -> PaymentStatus:
        monkeypatch.setattr(asked.node, "lookup", lookup)
        found = await lookup(payment_hash)
        assert found == NotFound()
        await asked.begin_elsewhere()
        return found

    monkeypatch.setattr(asked.node, "lookup", just_before)
    ended: list[Input] = []

    async def call() -> None:
        ended.append(await asked.attempt(1, resumed=True))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        if is_held:
            asked.payee.settle_held(asked.hash)
    assert _is_success(ended[0])


async def test_a_refused_call_without_a_payment_is_the_end(scene: Scene) -> None:
    asked = Asked(scene)
    _refuses_calls(asked)
    assert await asked.attempt(1) == CALLED


async def test_a_failure_beside_a_call_that_is_astray_is_no_end(scene: Scene) -> None:
    """Seed 296 of the simulation: the operator heard of a failure, and the first call paid afterwards."""
    asked = Asked(scene)
    asked.node.script(Fault.DELAYED, Fault.REFUSED, Fault.REFUSED)
    with pytest.raises(NodeUnansweredError):
        await asked.attempt(1)
    with pytest.raises(UnavailableError, match="may still be on its way"):
        await asked.attempt(1, resumed=True)
    asked.node.deliver_delayed()
    assert _is_success(await asked.attempt(1, resumed=True))


async def test_a_failure_is_the_end_once_no_call_can_begin_a_payment(scene: Scene) -> None:
    asked = Asked(scene)
    asked.node.script(Fault.DELAYED, Fault.REFUSED)
    with pytest.raises(NodeUnansweredError):
        await asked.attempt(1)
    scene.clock.advance(3_600 + EXPIRY_MARGIN_S)
    assert await asked.attempt(1, resumed=True) == CALLED
    asked.node.deliver_delayed()
    assert scene.spent_msat() == 0


async def test_what_no_node_may_be_asked_is_never_sent(scene: Scene) -> None:
    asked = Asked(scene)
    ended = await asked.attempt(1, max_delay_blocks=0)
    assert isinstance(ended, OperatorPaymentFailed)
    assert "no time is left" in ended.reason
    assert await asked.node.lookup(asked.hash) == NotFound()


async def test_a_payment_that_the_node_loses_from_sight_is_asked_for_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(scene, is_held=True)
    await asked.begin_elsewhere()

    async def in_flight(_payment_hash: bytes) -> PaymentStatus:
        asked.node.forget(asked.hash)
        return InFlight()

    monkeypatch.setattr(asked.node, "lookup", in_flight)
    with pytest.raises(UnavailableError, match="stopped reporting"):
        await asked.attempt(1, resumed=True)


async def test_another_process_than_the_one_asked_never_pays(scene: Scene) -> None:
    """Its operator may have paid with another wallet since; what left before is followed to its end."""
    asked = Asked(scene)
    with pytest.raises(UnavailableError, match="has ended, and an earlier call may still be"):
        await asked.attempt(1, resumed=True, of_earlier_life=True)
    assert await asked.node.lookup(asked.hash) == NotFound()
    await asked.begin_elsewhere()
    ended = await asked.attempt(1, resumed=True, of_earlier_life=True)
    assert isinstance(ended, OperatorPaymentSucceeded)


async def test_what_no_process_pays_any_more_ends_with_its_invoice(scene: Scene) -> None:
    asked = Asked(scene)
    scene.clock.now_s = asked.invoice.expires_unix_s + EXPIRY_MARGIN_S
    ended = await asked.attempt(1, resumed=True, of_earlier_life=True)
    assert ended == OperatorPaymentFailed(reason="the process that was asked to pay it has ended")
    assert await asked.node.lookup(asked.hash) == NotFound()
