"""More work than the disk takes: the excess is refused whole, the rest is written and answered."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from devnet.users.user import EmbeddedUser, OutgoingPayment
from engine.chain import verified
from engine.engine import Ports
from engine.journal import QUEUE_ROWS_MAX
from engine.storage.store import Store
from errors import BusyError
from fedimint.crypto import bls
from fedimint.lnv2.gateway_api import Paid
from fuzz.simulation.stand_in_curve import STAND_IN
from gateway.application import Outside
from statemachines.send import SendAccepted
from tests.crash.faulty_disk import FaultyDisk
from tests.crash.test_toy_on_faulty_disk import bench_on
from tests.engine.toy import (
    Begin,
    Credit,
    Gate,
    Open,
    Sending,
    open_engine,
    open_store,
    order,
    running,
)
from tests.scenarios import books
from tests.scenarios.calls import Calls, RefusedError
from tests.scenarios.scenarios import AMOUNT_MSAT, USER_MSAT, served
from tests.scenarios.simulated import SimulatedStage, play

pytestmark = pytest.mark.crash
ACCOUNTS = 50
SENDERS = 16
_BUSY = 429


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: `tests/engine` tries both on a shorter queue."""
    return "asyncio"


@pytest.mark.anyio
async def test_the_queue_takes_as_many_rows_as_it_says_and_loses_none() -> None:
    gate = Gate()
    with bench_on(FaultyDisk()) as bench:
        store = open_store(bench.directory)
        await _fill(store, gate)
        again = open_store(_closed(store, bench.directory))
        rows = list(verified(again.rows()))
        again.close()
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > QUEUE_ROWS_MAX


def _closed(store: Store, directory: Path) -> Path:
    store.close()
    return directory


async def _fill(store: Store, gate: Gate) -> None:
    engine = open_engine(store, run_blocking=gate)
    answered = 0

    async def credit(number: int) -> None:
        nonlocal answered
        await engine.submit(f"account/{number % ACCOUNTS}", Credit(amount=1))
        answered += 1

    engine.deliver("transfer/1", Begin(order=order()))  # three rows
    async with running(engine):
        async with anyio.create_task_group() as callers:
            for number in range(QUEUE_ROWS_MAX - 2):
                callers.start_soon(credit, number)
            await anyio.wait_all_tasks_blocked()
            for _ in range(10):
                with pytest.raises(BusyError, match="nothing was begun, try again"):
                    await engine.submit("account/late", Credit(amount=1))
            assert (answered, engine.peek("account/late")) == (0, Open())
            assert isinstance(engine.peek("transfer/1"), Sending)
            gate.open()
        await engine.submit("account/late", Credit(amount=1))
        held = [engine.peek(f"account/{number}") for number in range(ACCOUNTS)]
        assert answered == sum(one.balance for one in held if isinstance(one, Open))
        assert answered == QUEUE_ROWS_MAX - 2
        assert engine.peek("account/late") == Open(balance=1)


class Sender:
    """A user who asks again when told to."""

    def __init__(self, user: EmbeddedUser, payment: OutgoingPayment) -> None:
        self.refusals = 0
        self._user = user
        self._payment = payment

    async def send(self, calls: Calls) -> None:
        while True:
            try:
                answer = await calls.send(self._user.body(self._payment))
            except RefusedError as refused:
                if refused.status != _BUSY:
                    raise
                self.refusals += 1
                await anyio.sleep(1)
                continue
            assert isinstance(answer, Paid)
            await self._user.settle(self._payment, answer)
            return


def test_a_gateway_whose_disk_stands_refuses_new_payments_and_ends_those_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    gate.open()

    async def crowd(stage: SimulatedStage) -> None:
        outside = stage.gateway.outside

        def on_this_disk(own: Ports) -> Outside:
            return outside(replace(own, run_blocking=gate))

        stage.gateway.outside = on_this_disk
        await stage.gateway.start()
        federation = stage.federations[0]
        calls = await served(stage, federation)
        routing = await calls.routing_info(federation)
        senders: list[Sender] = []
        for _ in range(SENDERS):
            user = await federation.new_user(USER_MSAT)
            invoice = await stage.other_node.invoice(AMOUNT_MSAT)
            senders.append(Sender(user, await user.fund(invoice, routing)))
        monkeypatch.setattr("engine.journal.QUEUE_ROWS_MAX", SENDERS // 2)
        gate.close()
        async with anyio.create_task_group() as tasks:
            for sender in senders:
                tasks.start_soon(sender.send, calls)
            await anyio.sleep(10)
            refused = [sender for sender in senders if sender.refusals]
            taken = [
                s for s in stage.gateway.gateway.engine.open_streams() if s.startswith("send/")
            ]
            assert len(taken) == SENDERS - len(refused)
            assert 0 < len(taken) < SENDERS
            assert not [row for row in stage.gateway.rows() if row.kind == SendAccepted.kind]
            gate.open()
        await calls.settled()
        paid = [row for row in stage.gateway.rows() if row.kind == SendAccepted.kind]
        assert len(paid) == SENDERS
        await books.check(stage)

    with bls.using(STAND_IN):
        play(tmp_path, crowd)
