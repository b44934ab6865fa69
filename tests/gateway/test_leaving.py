"""Requests that wait while their federation is left begin nothing."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import pytest

from errors import InputError
from gateway.application import Gateway
from statemachines.federation import Leave
from statemachines.federation import stream_of as federation_stream
from tests.gateway.scene import Hold, Scene, ask, kinds

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Args = TypeVarTuple("Args")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


class SlowCpu:
    """Workers that wait for a test before they begin."""

    def __init__(self) -> None:
        self.hold: Hold | None = None

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        if self.hold is not None:
            await self.hold("cpu")
        return function(*arguments)


async def refused(request: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(InputError, match="No federation available"):
        await request()


async def leave_decided(scene: Scene, gateway: Gateway) -> None:
    """The federation is left by the log, and its client is about to be closed."""
    await gateway.engine.submit(federation_stream(scene.federation_id), Leave())


async def test_a_payment_asked_for_meanwhile_is_not_accepted(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.federation.faults(0).pause = hold = Hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, lambda: ask(gateway, user.body(payment)))
            await hold.reached.wait()
            await leave_decided(scene, gateway)
            hold.release()
    assert "send.accepted" not in kinds(scene.directory)


async def test_ecash_handed_in_meanwhile_is_not_taken(scene: Scene) -> None:
    scene.cpu = cpu = SlowCpu()
    async with scene.joined() as (gateway, _):
        ecash = scene.federation.issue_ecash(512_000).to_text()
        cpu.hold = hold = Hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused, lambda: gateway.payments.receive_ecash(ecash))
            await hold.reached.wait()
            await leave_decided(scene, gateway)
            hold.release()
    assert "reissue.requested" not in kinds(scene.directory)


async def test_info_is_told_while_a_federation_is_being_left(scene: Scene) -> None:
    """Its end is decided, and its client not closed yet."""
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, _):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await leave_decided(scene, gateway)
        told = [one.federation_id for one in (await gateway.info()).federations]
        assert told == [other.federation_id.hex()]
        await refused(lambda: gateway.federations.leave_federation(scene.federation_id))


async def test_two_who_leave_at_once_leave_once(scene: Scene) -> None:
    """Found by seed 2725."""
    ends: list[str] = []

    async def leave(gateway: Gateway) -> None:
        try:
            left = await gateway.federations.leave_federation(scene.federation_id)
        except InputError as error:
            ends.append(str(error))
        else:
            ends.append(left.federation_id)

    async with scene.joined() as (gateway, _), anyio.create_task_group() as tasks:
        tasks.start_soon(leave, gateway)
        tasks.start_soon(leave, gateway)
    prefix = scene.federation_id[:8]
    assert sorted(ends) == sorted(
        [scene.federation_id, f"No federation available for prefix {prefix}"]
    )
    assert kinds(scene.directory).count("federation.left") == 1
