"""Following a log that grows: every event once and in order, and the states they lead to."""

from pathlib import Path

import anyio
import pytest

from cli.world.log_tail import LogTail
from engine.chain import StoredStep
from engine.storage.rows import LOG_NAME
from errors import FatalError
from tests.engine.toy import Arrived, Begin, Order, machines, open_engine, open_store, running

pytestmark = pytest.mark.anyio


async def test_a_log_is_followed_as_it_grows(tmp_path: Path) -> None:
    seen: list[StoredStep] = []
    arrived: dict[str, anyio.Event] = {"transfer/1": anyio.Event(), "transfer/2": anyio.Event()}

    def show(step: StoredStep) -> None:
        seen.append(step)
        if isinstance(step.state, Arrived):
            arrived[step.row.stream].set()

    store = open_store(tmp_path)
    engine = open_engine(store)
    tail = LogTail(tmp_path, machines(), show)
    assert tail.state("transfer/1") is None
    async with running(engine), anyio.create_task_group() as tasks:
        tasks.start_soon(tail.run)
        for stream, event in arrived.items():
            await engine.submit(stream, Begin(order=Order("a", "b", 10)))
            await event.wait()
        tasks.cancel_scope.cancel()
    store.close()
    assert [step.row.position for step in seen] == list(range(1, len(seen) + 1))
    assert isinstance(tail.state("transfer/1"), Arrived)
    assert tail.open_streams({"transfer"}) == []
    assert tail.open_streams({"account"}) != []


async def test_what_is_no_log_ends_the_watch(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).touch()
    with pytest.raises(FatalError):
        await LogTail(tmp_path, machines(), print).run()
