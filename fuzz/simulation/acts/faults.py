"""Faults of a simulated run: each step causes one and ends it when its time is over."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from api.gates import Gate
from devnet.guardians import faults
from errors import BusyError
from fuzz.simulation import paces
from fuzz.simulation.acts import (
    absurdities,
    byzantine_faults,
    data_loss,
    dismissing,
    giving_up,
    mistakes,
    odd_payments,
)
from fuzz.simulation.harness import Harness
from fuzz.simulation.plans import byzantine_steps, operator_steps, steps, time_steps

_LIES: Mapping[steps.Lie, faults.Lie] = {
    "wrong shares": faults.wrong_shares,
    "wrong errors": faults.wrong_errors,
    "garbage": faults.garbage,
}


async def make(harness: Harness, step: steps.AnyStep) -> None:
    """Begin this trouble, and end it after its time or when everything is to be calm."""
    harness.witness.counts[f"trouble {type(step).__name__}"] += 1
    await _TROUBLE[type(step)](harness, step)


# --- process and disk --------------------------------------------------------------------------------------------


async def _crash(harness: Harness, step: steps.Crash) -> None:
    harness.down_s = step.down_s
    harness.crash.probes = step.probes


async def _crash_at(harness: Harness, step: byzantine_steps.CrashAt) -> None:
    harness.down_s, harness.blocks_away = step.down_s, step.blocks
    harness.crash.point, harness.crash.hits = step.point, step.hits


async def _slow_disk(harness: Harness, step: steps.SlowDisk) -> None:
    harness.disk.pause_s = step.pause_s
    await harness.lasts(step.for_s)
    harness.disk.pause_s = 0.0


async def _clock_jump(harness: Harness, step: steps.ClockJump) -> None:
    harness.clock.wrong_by_s = step.seconds


async def _crowd(harness: Harness, step: steps.Crowd) -> None:
    """A caller is told to come again, or takes the place of one of these, which is told so."""
    async with anyio.create_task_group() as callers:
        for gate in harness.gateway.gates():
            for _ in range(gate.free):
                callers.start_soon(_stand_at, gate, harness, step.for_s)


async def _stand_at(gate: Gate, harness: Harness, for_s: float) -> None:
    with suppress(BusyError), gate.hold("a crowd"):
        await harness.lasts(for_s)


# --- the node ----------------------------------------------------------------------------------------------------


async def _call_fault(harness: Harness, step: steps.CallFault) -> None:
    harness.world.gateway_node.script(*step.faults, call=step.call)


async def _deliver_late(harness: Harness, _step: steps.DeliverLate) -> None:
    harness.world.gateway_node.deliver_delayed()


async def _node_down(harness: Harness, step: steps.NodeDown) -> None:
    harness.world.gateway_node.is_down = True
    await harness.lasts(step.for_s)
    harness.world.gateway_node.is_down = False


async def _node_streams_cut(harness: Harness, _step: steps.NodeStreamsCut) -> None:
    harness.world.gateway_node.cut_streams()


async def _node_repeats(harness: Harness, _step: steps.NodeRepeats) -> None:
    harness.world.gateway_node.repeat_held()


async def _node_behind(harness: Harness, step: steps.NodeBehind) -> None:
    harness.world.gateway_node.is_synced = False
    await harness.lasts(step.for_s)
    harness.world.gateway_node.is_synced = True


# --- guardians ---------------------------------------------------------------------------------------------------


async def _guardian_down(harness: Harness, step: steps.GuardianDown) -> None:
    guardian = harness.federation(step.federation).guardians[step.peer]
    guardian.stop()
    await harness.lasts(step.for_s)
    guardian.start()


async def _guardian_slow(harness: Harness, step: steps.GuardianSlow) -> None:
    async def pause(_method: str) -> None:
        await anyio.sleep(step.pause_s)

    guardian = harness.federation(step.federation).faults(step.peer)
    guardian.pause = pause
    await harness.lasts(step.for_s)
    guardian.pause = None


async def _guardian_lies(harness: Harness, step: steps.GuardianLies) -> None:
    liar = harness.world.federations[1].faults(0)
    liar.lie = _LIES[step.lie]
    await harness.lasts(step.for_s)
    liar.lie = None


async def _answers_lost(harness: Harness, step: steps.AnswersLost) -> None:
    asked = 0

    def loses(_method: str) -> bool:
        nonlocal asked
        asked += 1
        return asked % 2 == 0

    guardians = [guardian.faults for guardian in harness.federation(step.federation).guardians]
    for guardian in guardians:
        guardian.loses_answer = loses
    await harness.lasts(step.for_s)
    for guardian in guardians:
        guardian.loses_answer = faults.Faults().loses_answer


async def _partition(harness: Harness, step: steps.Partition) -> None:
    guardians = harness.federation(step.federation).guardians
    for guardian in guardians:
        guardian.stop()
    await harness.lasts(step.for_s)
    for guardian in guardians:
        guardian.start()


async def _slow_consensus(harness: Harness, step: steps.SlowConsensus) -> None:
    federation = harness.federation(step.federation)
    federation.set_acceptance_delay(partial(anyio.sleep, step.pause_s))
    await harness.lasts(step.for_s)
    federation.set_acceptance_delay(None)


# --- the chain ---------------------------------------------------------------------------------------------------


async def _mine(harness: Harness, step: steps.Mine) -> None:
    harness.mine(step.blocks)


async def _reorganise(harness: Harness, step: steps.Reorganise) -> None:
    harness.world.chain.reorganise(step.blocks)


_TROUBLE: Mapping[type[steps.AnyStep], Callable[[Harness, Any], Awaitable[None]]] = {
    steps.Crash: _crash,
    byzantine_steps.CrashAt: _crash_at,
    steps.SlowDisk: _slow_disk,
    steps.ClockJump: _clock_jump,
    steps.Crowd: _crowd,
    time_steps.Paces: paces.keep,
    steps.CallFault: _call_fault,
    steps.DeliverLate: _deliver_late,
    steps.NodeDown: _node_down,
    steps.NodeStreamsCut: _node_streams_cut,
    steps.NodeRepeats: _node_repeats,
    steps.NodeBehind: _node_behind,
    steps.GuardianDown: _guardian_down,
    steps.GuardianSlow: _guardian_slow,
    steps.GuardianLies: _guardian_lies,
    steps.AnswersLost: _answers_lost,
    steps.Partition: _partition,
    steps.SlowConsensus: _slow_consensus,
    steps.Mine: _mine,
    steps.Reorganise: _reorganise,
    steps.Dismiss: dismissing.dismiss,
    operator_steps.GiveUp: giving_up.give_up,
    operator_steps.CannotBuild: mistakes.cannot_build,
    byzantine_steps.FederationRefuses: byzantine_faults.federation_refuses,
    byzantine_steps.AbsurdGuardians: absurdities.absurd_guardians,
    byzantine_steps.AbsurdClient: absurdities.absurd_client,
    byzantine_steps.AbsurdFederation: absurdities.absurd_federation,
    byzantine_steps.NeighbourCancels: odd_payments.cancel_as_neighbour,
    byzantine_steps.NeighbourPays: odd_payments.pay_as_neighbour,
    byzantine_steps.DepositsTaken: byzantine_faults.deposits_taken,
    byzantine_steps.NodeGivesUp: byzantine_faults.node_gives_up,
    byzantine_steps.NodeForgetsInvoices: byzantine_faults.node_forgets_invoices,
    byzantine_steps.NodeForgetsPayments: byzantine_faults.node_forgets_payments,
    steps.DiskLost: data_loss.lose_disk,
    steps.DirectoryLost: data_loss.lose_everything,
}
