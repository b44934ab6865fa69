"""Guardians and nodes that do not answer: once in the log, and in `/info` as long as it lasts."""

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from fedimint.client.transport import GuardianRefused, GuardianTimeout, GuardianUnreachable
from fedimint.codec.wire_types import PeerId
from gateway.federation_admin import STATUS_FRESH_S
from gateway.guardian_health import GuardianHealth, WatchedConnection
from tests.gateway.scene import Scene

pytestmark = pytest.mark.anyio


class Scripted:
    """A guardian of which each request ends as told."""

    def __init__(self, *outcomes: object) -> None:
        self._outcomes = list(outcomes)
        self.closed = False

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        del method, params, auth
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        self.closed = True


def health(guardians: int) -> GuardianHealth:
    return GuardianHealth("ab" * 32, {PeerId(at): f"name {at}" for at in range(guardians)})


async def test_only_the_lack_of_a_connection_counts_and_any_answer_ends_it() -> None:
    of_one = health(1)
    guardian = Scripted(
        GuardianUnreachable("gone"), GuardianUnreachable("still"), GuardianTimeout("cut"), 7
    )
    connection = WatchedConnection(guardian, PeerId(0), of_one)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(GuardianUnreachable):
                await connection.request("session_count", None)
            assert of_one.lost == {PeerId(0): "gone"}
        with pytest.raises(GuardianTimeout):
            await connection.request("session_count", None)
        assert of_one.lost == {}
        assert await connection.request("session_count", None) == 7
    await connection.aclose()
    assert guardian.closed
    assert [(line["event"], line["enough_left"]) for line in logs] == [
        ("guardian_lost", False),
        ("guardian_back", True),
    ]
    assert logs[0]["error"] == "gone"
    assert logs[0]["name"] == "name 0"


async def test_a_refusal_is_an_answer() -> None:
    of_one = health(1)
    of_one.failed(PeerId(0), "gone")
    connection = WatchedConnection(Scripted(GuardianRefused(400, "no")), PeerId(0), of_one)
    with pytest.raises(GuardianRefused):
        await connection.request("session_count", None)
    assert of_one.problem(None) is None


def test_the_sentence_says_whether_the_others_are_enough() -> None:
    of_four = health(4)
    assert of_four.problem("Alpha") is None
    of_four.failed(PeerId(2), "gone")
    assert of_four.problem("Alpha") == (
        "guardians of Alpha (abababab) do not answer: 2 (name 2); the others are enough"
    )
    of_four.failed(PeerId(0), "gone")
    sentence = of_four.problem(None)
    assert sentence is not None
    assert "0 (name 0), 2 (name 2); without them nothing can be paid" in sentence


async def test_info_says_what_does_not_answer(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.joined() as (gateway, _):
        assert (await gateway.info()).problems == ()
        scene.federation.guardians[0].stop()
        await gateway.federations.federation_status(scene.federation_id)
        scene.world.gateway_node.is_down = True
        with capture_logs() as logs:
            node, guardians = (await gateway.info()).problems
            assert len((await gateway.info()).problems) == 2
        assert node.startswith("the Lightning node does not answer: ")
        assert guardians.startswith("guardians of ")
        lost = [line for line in logs if line["event"] == "lightning_node_lost"]
        assert len(lost) == 1
        scene.world.gateway_node.is_down = False
        scene.federation.guardians[0].start()
        with capture_logs() as logs:
            # The watch of HTLCs is opened anew, and an answer of guardians has grown old.
            scene.clock.advance(STATUS_FRESH_S)
            await anyio.wait_all_tasks_blocked()
            await gateway.federations.federation_status(scene.federation_id)
            assert (await gateway.info()).problems == ()
        assert "lightning_node" in [line["event"] for line in logs]
