"""Faults of the real process: signals, killed children, no space, no descriptors, a second process, damage.

One gateway goes through all of it, one fault after another, and its books are compared in the end of each.
"""

import os
import resource
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from devnet.gatewayd import OurGatewayd
from devnet.processes import Program, until
from engine.storage.lock import LOCK_NAME
from engine.storage.place import PLACE_NAME
from engine.storage.rows import LOG_NAME
from errors import UnavailableError
from fedimint.mintv2 import Ecash
from gateway.secret_files import MNEMONIC_NAME
from tests.crash.process_stage import ProcessGateway, ProcessStage, process_stage
from tests.scenarios import books, flows
from tests.scenarios.calls import Calls, patiently
from tests.scenarios.stage import StagedFederation

pytestmark = [pytest.mark.anyio, pytest.mark.crash, pytest.mark.timeout(1_800)]

AMOUNT_MSAT = 1_000_000
FLOAT_MSAT = 20_000_000
USER_MSAT = 4_000_000
#: Who hand in ecash at once.
CROWD = 8
_PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The servers of the world are asyncio's."""
    return "asyncio"


@pytest.fixture(scope="module")
async def world(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProcessStage]:
    async with process_stage(tmp_path_factory.mktemp("process-faults")) as stage:
        await stage.process.start()
        await Calls(stage.process).join(stage.federations[0])
        await flows.hand_in(stage, stage.federations[0], FLOAT_MSAT)
        yield stage


@pytest.fixture
async def stage(
    world: ProcessStage, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ProcessStage]:
    """The gateway runs; whatever a test does to it, its books agree afterwards."""
    monkeypatch.setattr("tests.scenarios.calls.DEADLINE_S", _PATIENCE_S)
    monkeypatch.setattr("tests.scenarios.flows.DEADLINE_S", _PATIENCE_S)
    if not program_of(world.process).is_running:
        await world.process.start()
    yield world
    if not program_of(world.process).is_running:
        await world.process.start()
    await books.check(world)


def program_of(gateway: ProcessGateway) -> Program:
    return gateway.program.program


def pid_of(gateway: ProcessGateway) -> int:
    pid = program_of(gateway).process_id
    assert pid is not None
    return pid


async def ended(gateway: ProcessGateway) -> tuple[int | None, str]:
    """The exit code and the last sentence on stderr, or nothing, once it has ended."""
    await gateway.died()
    lines = program_of(gateway).log_tail().splitlines()
    sentences = [line for line in lines if line.startswith("gatewayd: ")]
    return program_of(gateway).exit_code, sentences[-1] if sentences else ""


async def trouble(stage: ProcessStage, federation: StagedFederation) -> None:
    """Ecash that is handed in, whatever becomes of the gateway; it is the gateway's in the end."""
    await flows.hand_in(stage, federation, AMOUNT_MSAT)


async def test_sigterm_amid_a_payment_ends_it_in_order_and_the_payment_later(
    stage: ProcessStage,
) -> None:
    federation = stage.federations[0]
    user = await federation.new_user(USER_MSAT)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
        os.kill(pid_of(stage.process), signal.SIGTERM)
        assert await ended(stage.process) == (0, "")
        assert '"stopped"' in program_of(stage.process).log_tail()
        await held.settle()
        await stage.process.start()


async def test_sigterm_amid_many_requests_closes_the_log_in_order(
    stage: ProcessStage,
) -> None:
    """A caller without an answer asks the next one; nobody's ecash is lost or taken twice."""
    log = stage.process.program.data_dir / LOG_NAME
    before = len(program_of(stage.process).log_path.read_text().splitlines())
    async with anyio.create_task_group() as tasks:
        for federation in [stage.federations[0]] * CROWD:
            tasks.start_soon(trouble, stage, federation)

        async def is_busy() -> bool:
            return '"reissue.requested"' in "\n".join(_lines_after(stage.process, before))

        await until("ecash is taken", is_busy, deadline_s=_PATIENCE_S)
        os.kill(pid_of(stage.process), signal.SIGTERM)
        assert await ended(stage.process) == (0, "")
        assert '"stopped"' in _lines_after(stage.process, before)[-1]
        assert not log.with_name(f"{LOG_NAME}-wal").exists()
        await stage.process.start()


def _lines_after(gateway: ProcessGateway, count: int) -> list[str]:
    return program_of(gateway).log_path.read_text().splitlines()[count:]


async def test_children_that_are_killed_are_replaced(stage: ProcessStage) -> None:
    """The workers for signatures and the grinder, twice, the second time amid a payment."""
    federation = stage.federations[0]
    pid = pid_of(stage.process)
    killed = kill_children(pid)
    user = await federation.new_user(USER_MSAT)
    async with anyio.create_task_group() as tasks:
        held = await flows.send_held(stage, federation, user, tasks, AMOUNT_MSAT)
        killed += kill_children(pid)
        await held.settle()
    await flows.receive(stage, federation, user, AMOUNT_MSAT // 2)
    assert killed > 0
    assert pid_of(stage.process) == pid
    assert program_of(stage.process).is_running


def kill_children(pid: int) -> int:
    children = {
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    }
    for child in children:
        os.kill(child, signal.SIGKILL)
    return len(children)


async def test_a_log_that_cannot_grow_ends_the_gateway_with_a_sentence(stage: ProcessStage) -> None:
    """A limit on the size of its files, which root cannot exceed either; without it the payment goes on."""
    pid, log = pid_of(stage.process), stage.process.program.data_dir / LOG_NAME
    wal_bytes = log.with_name(f"{LOG_NAME}-wal").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal_bytes + 10_000, resource.RLIM_INFINITY))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trouble, stage, stage.federations[0])
        code, sentence = await ended(stage.process)
        assert code == 70
        assert sentence.startswith("gatewayd: the disk ")
        assert "start again" in sentence
        await stage.process.start()


async def test_without_descriptors_it_waits_and_goes_on(stage: ProcessStage) -> None:
    pid = pid_of(stage.process)
    in_use = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())  # noqa: ASYNC240 (no disk is behind it)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use, before[1]))
    opened = [await anyio.connect_tcp("127.0.0.1", stage.process.program.port) for _ in range(20)]

    async def is_out_of_them() -> bool:
        return "out of system resource" in program_of(stage.process).log_path.read_text()

    await until("no connection is accepted", is_out_of_them, deadline_s=_PATIENCE_S)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    for connection in opened:
        await connection.aclose()
    await flows.hand_in(stage, stage.federations[0], AMOUNT_MSAT)
    assert pid_of(stage.process) == pid


async def test_an_overtaken_process_ends_at_its_first_write(stage: ProcessStage) -> None:
    """Somebody removes the lock and starts a second gateway; that one alone goes on."""
    first = stage.process
    (first.program.data_dir / LOCK_NAME).unlink()
    program = OurGatewayd(first.program.folder / "second", stage.lnd)
    program.data_dir = first.program.data_dir
    second = ProcessGateway(program)
    await second.start()
    try:
        text = await stage.federations[0].ecash(AMOUNT_MSAT)
        with pytest.raises(UnavailableError):
            await Calls(first).receive_ecash(text)
        code, sentence = await ended(first)
        assert code == 70
        assert "gatewayd: another process opened this log" in sentence
        await patiently(lambda: Calls(second).receive_ecash(text))
        stage.witness.handed_in_msat += Ecash.parse(text).amount_msat()
    finally:
        await second.kill()


async def test_a_damaged_log_is_refused_until_it_is_whole_again(stage: ProcessStage) -> None:
    await stage.process.kill()
    directory = stage.process.program.data_dir
    kept = {path: path.read_bytes() for path in sorted(directory.iterdir())}
    content = bytearray(kept[directory / LOG_NAME])
    content[4_096 : 4_096 + 200] = bytes(200)
    (directory / LOG_NAME).write_bytes(content)
    (directory / f"{LOG_NAME}-wal").unlink(missing_ok=True)
    stage.process.program.begin()
    code, sentence = await ended(stage.process)
    assert code == 70
    assert "keep this data directory as it is, and continue from a backup" in sentence
    for path, before in kept.items():
        path.write_bytes(before)
    await stage.process.start()
    await patiently(Calls(stage.process).settled)


async def test_a_first_start_that_is_killed_is_simply_made_again(stage: ProcessStage) -> None:
    """At the moments that its files appear: none of them is taken for the rest of something lost."""
    newcomer = OurGatewayd(stage.process.program.folder / "newcomer", stage.lnd)
    for name in (PLACE_NAME, LOCK_NAME, LOG_NAME, MNEMONIC_NAME):
        path = newcomer.data_dir / name
        newcomer.begin()
        program = newcomer.program
        await until(
            f"there is {name}",
            partial(_exists, path),
            deadline_s=_PATIENCE_S,
            programs=[program],
            pause_s=0.001,
        )
        program.kill()
    await newcomer.start()
    assert (await newcomer.info()).gateway_state == "Running"
    newcomer.program.kill()


async def _exists(path: Path) -> bool:
    return path.exists()  # noqa: ASYNC240 (a look)
