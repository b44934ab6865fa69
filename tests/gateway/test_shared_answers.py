"""Callers who ask the same question at about the same time share one answer."""

from pathlib import Path

import anyio
import pytest

from errors import PeerError
from gateway.federation_admin import STATUS_FRESH_S
from gateway.shared_answers import SharedAnswers
from tests.gateway.scene import ManualClock, Scene

pytestmark = pytest.mark.anyio


class Question:
    """Counts how often it is asked; waits while it is told to, and fails when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = anyio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.asked += 1
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.asked


async def test_many_who_ask_at_once_ask_once_and_an_answer_grows_old() -> None:
    clock, question, answers = ManualClock(), Question(), list[int]()
    shared = SharedAnswers[int](clock.now_unix_us, 5.0)

    async def ask() -> None:
        answers.append(await shared.of("one", question))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        question.open.set()
    clock.advance(4.9)
    assert await shared.of("one", question) == 1
    assert answers == [1] * 20
    assert await shared.of("other", question) == 2
    clock.advance(0.1)
    assert await shared.of("one", question) == 3
    clock.advance(-3600)
    assert await shared.of("one", question) == 4


async def test_who_asks_and_leaves_or_fails_leaves_the_question_to_the_next() -> None:
    question = Question()
    shared = SharedAnswers[int](ManualClock().now_unix_us, 5.0)
    answers = []

    async def ask() -> None:
        answers.append(await shared.of("one", question))

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(shared.of, "one", question)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        question.open.set()
    assert (answers, question.asked) == ([2], 2)
    question.failure = PeerError("no")
    with pytest.raises(PeerError):
        await shared.of("other", question)
    question.failure = None
    assert await shared.of("other", question) == question.asked


async def test_strangers_who_ask_for_a_federations_status_ask_its_guardians_once(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    async with scene.joined() as (gateway, _):
        asked: list[str] = []

        async def count(method: str) -> None:
            asked.append(method)

        scene.federation.faults(0).pause = count
        for _ in range(50):
            await gateway.federations.federation_status(scene.federation_id)
        assert asked.count("session_count") == 1
        scene.clock.advance(STATUS_FRESH_S)
        await gateway.federations.federation_status(scene.federation_id)
        assert asked.count("session_count") == 2
