"""What goes wrong in a simulated run: each step does its harm and takes it back when its time is over."""

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
    disasters,
    dismissing,
    giving_up,
    misdeeds,
    mistakes,
    odd_payments,
)
from fuzz.simulation.plans import operator_steps, steps, time_steps, wrong_steps
from fuzz.simulation.stage import Stage

_LIES: Mapping[steps.Lie, faults.Lie] = {
    "wrong shares": faults.wrong_shares,
    "wrong errors": faults.wrong_errors,
    "garbage": faults.garbage,
}


async def make(stage: Stage, step: steps.AnyStep) -> None:
    """Begin this trouble, and end it after its time or when everything is to be calm."""
    stage.witness.counts[f"trouble {type(step).__name__}"] += 1
    await _TROUBLE[type(step)](stage, step)


# --- process and disk --------------------------------------------------------------------------------------------


async def _crash(stage: Stage, step: steps.Crash) -> None:
    stage.down_s = step.down_s
    stage.crash.probes = step.probes


async def _crash_at(stage: Stage, step: wrong_steps.CrashAt) -> None:
    stage.down_s, stage.blocks_away = step.down_s, step.blocks
    stage.crash.point, stage.crash.hits = step.point, step.hits


async def _slow_disk(stage: Stage, step: steps.SlowDisk) -> None:
    stage.disk.pause_s = step.pause_s
    await stage.lasts(step.for_s)
    stage.disk.pause_s = 0.0


async def _clock_jump(stage: Stage, step: steps.ClockJump) -> None:
    stage.clock.wrong_by_s = step.seconds


async def _crowd(stage: Stage, step: steps.Crowd) -> None:
    """Whoever comes is told to come again, or takes the place of one of these, who is told so."""
    async with anyio.create_task_group() as callers:
        for gate in stage.gateway.gates():
            for _ in range(gate.free):
                callers.start_soon(_stand_at, gate, stage, step.for_s)


async def _stand_at(gate: Gate, stage: Stage, for_s: float) -> None:
    with suppress(BusyError), gate.hold("a crowd"):
        await stage.lasts(for_s)


# --- the node ----------------------------------------------------------------------------------------------------


async def _call_fault(stage: Stage, step: steps.CallFault) -> None:
    stage.world.gateway_node.script(*step.faults, call=step.call)


async def _deliver_late(stage: Stage, _step: steps.DeliverLate) -> None:
    stage.world.gateway_node.deliver_delayed()


async def _node_down(stage: Stage, step: steps.NodeDown) -> None:
    stage.world.gateway_node.is_down = True
    await stage.lasts(step.for_s)
    stage.world.gateway_node.is_down = False


async def _node_streams_cut(stage: Stage, _step: steps.NodeStreamsCut) -> None:
    stage.world.gateway_node.cut_streams()


async def _node_repeats(stage: Stage, _step: steps.NodeRepeats) -> None:
    stage.world.gateway_node.repeat_held()


async def _node_behind(stage: Stage, step: steps.NodeBehind) -> None:
    stage.world.gateway_node.is_synced = False
    await stage.lasts(step.for_s)
    stage.world.gateway_node.is_synced = True


# --- guardians ---------------------------------------------------------------------------------------------------


async def _guardian_down(stage: Stage, step: steps.GuardianDown) -> None:
    guardian = stage.federation(step.federation).guardians[step.peer]
    guardian.stop()
    await stage.lasts(step.for_s)
    guardian.start()


async def _guardian_slow(stage: Stage, step: steps.GuardianSlow) -> None:
    async def pause(_method: str) -> None:
        await anyio.sleep(step.pause_s)

    guardian = stage.federation(step.federation).faults(step.peer)
    guardian.pause = pause
    await stage.lasts(step.for_s)
    guardian.pause = None


async def _guardian_lies(stage: Stage, step: steps.GuardianLies) -> None:
    liar = stage.world.federations[1].faults(0)
    liar.lie = _LIES[step.lie]
    await stage.lasts(step.for_s)
    liar.lie = None


async def _answers_lost(stage: Stage, step: steps.AnswersLost) -> None:
    asked = 0

    def loses(_method: str) -> bool:
        nonlocal asked
        asked += 1
        return asked % 2 == 0

    guardians = [guardian.faults for guardian in stage.federation(step.federation).guardians]
    for guardian in guardians:
        guardian.loses_answer = loses
    await stage.lasts(step.for_s)
    for guardian in guardians:
        guardian.loses_answer = faults.Faults().loses_answer


async def _partition(stage: Stage, step: steps.Partition) -> None:
    guardians = stage.federation(step.federation).guardians
    for guardian in guardians:
        guardian.stop()
    await stage.lasts(step.for_s)
    for guardian in guardians:
        guardian.start()


async def _slow_consensus(stage: Stage, step: steps.SlowConsensus) -> None:
    federation = stage.federation(step.federation)
    federation.set_acceptance_delay(partial(anyio.sleep, step.pause_s))
    await stage.lasts(step.for_s)
    federation.set_acceptance_delay(None)


# --- the chain ---------------------------------------------------------------------------------------------------


async def _mine(stage: Stage, step: steps.Mine) -> None:
    stage.mine(step.blocks)


async def _reorganise(stage: Stage, step: steps.Reorganise) -> None:
    stage.world.chain.reorganise(step.blocks)


_TROUBLE: Mapping[type[steps.AnyStep], Callable[[Stage, Any], Awaitable[None]]] = {
    steps.Crash: _crash,
    wrong_steps.CrashAt: _crash_at,
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
    wrong_steps.FederationRefuses: misdeeds.federation_refuses,
    wrong_steps.AbsurdGuardians: absurdities.absurd_guardians,
    wrong_steps.AbsurdClient: absurdities.absurd_client,
    wrong_steps.AbsurdFederation: absurdities.absurd_federation,
    wrong_steps.NeighbourCancels: odd_payments.cancel_as_neighbour,
    wrong_steps.NeighbourPays: odd_payments.pay_as_neighbour,
    wrong_steps.DepositsTaken: misdeeds.deposits_taken,
    wrong_steps.NodeGivesUp: misdeeds.node_gives_up,
    wrong_steps.NodeForgetsInvoices: misdeeds.node_forgets_invoices,
    wrong_steps.NodeForgetsPayments: misdeeds.node_forgets_payments,
    steps.DiskLost: disasters.lose_disk,
    steps.DirectoryLost: disasters.lose_everything,
}
