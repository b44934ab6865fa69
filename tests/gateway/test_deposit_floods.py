"""Guardians who list endless outputs and refuse every claim cause little work."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.effects import EffectContext
from fedimint.lnv2.gateway_api import Paid
from fedimint.walletv2 import OutputInfo
from fuzz.machines.scene import BITCOIN_FEES, FEDERATION
from fuzz.simulation.virtual_time import no_addresses
from gateway import bitcoin_effects
from gateway.bitcoin_effects import (
    CLAIM_PAUSES_MAX,
    FOUND_AT_ONCE,
    OPEN_DEPOSITS_MAX,
    POLL_PAUSE_REGTEST_S,
    REJECTED_MAX,
    BitcoinEffects,
    look_through,
)
from gateway.federation import FederationRegistry
from statemachines import deposits
from statemachines.deposit import DepositOutput, OutputGone, QuoteReceiveFee, ReceiveFeeQuoted
from statemachines.deposits import AddressGround, DepositAddress, Watching
from tests.gateway.lying import Lies, let_lie
from tests.gateway.scene import Scene, ask, kinds

pytestmark = pytest.mark.anyio
SCRIPT = "0020" + "ab" * 32
STEP_S = POLL_PAUSE_REGTEST_S


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def _listed(params: object, script: str, *, is_spent: bool = False) -> list[dict[str, Any]]:
    start, end = cast("Sequence[int]", params)
    return [
        {"index": n, "script": script, "value": 1_000, "spent": is_spent, "outpoint": None}
        for n in range(start, end)
    ]


async def _know_a_script(gateway: Any, scene: Scene) -> None:
    """One address that is paid to over and over, and two that nobody pays to."""
    stream = deposits.stream_of(scene.federation_id)
    for index, byte in enumerate(("ab", "01", "02")):
        ground = AddressGround(address=DepositAddress(index, "0020" + byte * 32))
        await gateway.engine.submit(stream, ground)


async def _pass(scene: Scene, steps: int) -> None:
    end_s = scene.clock.now_s + steps * STEP_S
    await scene.drive(lambda: scene.clock.now_s >= end_s, step_s=STEP_S)


async def test_endless_outputs_of_ours_are_a_few_open_deposits(scene: Scene) -> None:
    lies = let_lie(scene, scene.federation)
    lies["output_info_slice"] = lambda params: _listed(params, SCRIPT)
    lies["receive_fee"] = lambda _params: None
    async with scene.joined() as (gateway, routing):
        await _know_a_script(gateway, scene)
        await _pass(scene, 1)
        found = kinds(scene.directory).count("deposit.found")
        assert found <= 3 * FOUND_AT_ONCE, "a pause is between any two answers"
        await _pass(scene, 30)
        assert kinds(scene.directory).count("deposit.found") == OPEN_DEPOSITS_MAX
        user, payment = await scene.funded(routing)
        answer = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        assert isinstance(answer, Paid)
        scanning = deposits.stream_of(scene.federation_id)
        assert "scan" in {job.key for job in gateway.engine.jobs() if job.stream == scanning}


async def test_deposits_that_come_and_go_are_told_ten_a_pause(scene: Scene) -> None:
    """Unspent when they are found and spent when they are looked at: each is over at once."""
    lies = let_lie(scene, scene.federation)

    def outputs(params: object) -> object:
        start, end = cast("Sequence[int]", params)
        return _listed(params, SCRIPT, is_spent=end - start == 1)

    lies["output_info_slice"] = outputs
    async with scene.joined() as (gateway, _):
        await _know_a_script(gateway, scene)
        await _pass(scene, 1)
        before = kinds(scene.directory).count("deposit.found")
        await _pass(scene, 10)
        told = kinds(scene.directory).count("deposit.found") - before
        assert FOUND_AT_ONCE < told <= 11 * FOUND_AT_ONCE


async def test_an_endless_list_of_others_is_read_a_slice_a_second(scene: Scene) -> None:
    lies = let_lie(scene, scene.federation)
    asked: list[object] = []

    def outputs(params: object) -> object:
        asked.append(params)
        return _listed(params, "0020" + "cd" * 32)

    lies["output_info_slice"] = outputs
    async with scene.joined() as (gateway, _):
        await _know_a_script(gateway, scene)
        await _pass(scene, 1)
        before = len(asked)
        await _pass(scene, 25)
        assert 10 < len(asked) - before <= 26
        assert kinds(scene.directory).count("deposits.scanned") <= 3


def test_a_slice_is_looked_through_up_to_the_tenth_of_ours() -> None:
    script = bytes.fromhex(SCRIPT)
    watching = Watching(
        federation_id=FEDERATION,
        addresses=(DepositAddress(0, SCRIPT), DepositAddress(1, "0020" + "01" * 32)),
    )
    outputs = [OutputInfo(n, script, 1_000, is_spent=n % 2 == 0, out_point=None) for n in range(90)]
    scanned = look_through(watching, outputs, 0)
    assert [output.output_index for output in scanned.found] == list(range(1, 20, 2))
    assert scanned.next_output == 20
    later = look_through(watching, outputs[20:], 20)
    assert later.found[0].output_index == 21


# --- claims that are refused -----------------------------------------------------------------------------------------


class Sleeper:
    """A clock on which nobody waits; how long they would have."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def now_unix_us(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


def _effects(clock: Sleeper, lies: Lies) -> BitcoinEffects:
    async def output_info_slice(*params: int) -> object:
        return lies["output_info_slice"](params)

    async def pending_transaction_chain() -> object:
        return ()

    async def receive_fee_sat() -> object:
        return 100

    api = SimpleNamespace(
        output_info_slice=output_info_slice,
        pending_transaction_chain=pending_transaction_chain,
        receive_fee_sat=receive_fee_sat,
    )
    federation = SimpleNamespace(
        module=lambda _wanted: SimpleNamespace(api=api),
        facts=SimpleNamespace(module_fees=BITCOIN_FEES),
    )
    federations = cast("FederationRegistry", SimpleNamespace(client=lambda _id: federation))
    return BitcoinEffects(federations, no_addresses, "regtest", clock, lambda _id: 0)


def _nothing(_input: object) -> None:
    """Handlers here report nothing before they end."""


async def test_a_claim_that_is_refused_each_time_is_tried_more_and_more_seldom() -> None:
    clock = Sleeper()
    effects = _effects(clock, {"output_info_slice": lambda _params: ()})
    output = DepositOutput(5, 40, 50_000, "aa:0")
    effect = QuoteReceiveFee(federation_id=FEDERATION, output=output)
    for resumed in (False, *[True] * 9):
        quoted = await effects.quote(effect, EffectContext("deposit/5", resumed, _nothing))
        assert isinstance(quoted, ReceiveFeeQuoted)
    assert clock.slept_s == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert clock.slept_s[-1] == CLAIM_PAUSES_MAX * POLL_PAUSE_REGTEST_S
    await effects.quote(effect, EffectContext("deposit/6", resumed=True, report=_nothing))
    assert clock.slept_s[-1] == 1


async def test_so_many_refused_claims_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitcoin_effects, "REJECTED_MAX", 3)
    assert REJECTED_MAX > OPEN_DEPOSITS_MAX
    clock = Sleeper()
    spent = OutputInfo(5, b"", 1, is_spent=True, out_point=None)
    effects = _effects(clock, {"output_info_slice": lambda _params: (spent,)})
    effect = QuoteReceiveFee(federation_id=FEDERATION, output=DepositOutput(5, 40, 50_000, "aa:0"))
    for number in (1, 2, 3, 4, 4, 1):
        gone = await effects.quote(effect, EffectContext(f"deposit/{number}", True, _nothing))
        assert gone == OutputGone()
    assert clock.slept_s == [1, 1, 1, 1, 2, 1]
    assert list(effects._rejections) == ["deposit/3", "deposit/4", "deposit/1"]
