"""Coroutines that run one wait at a time, and their positions."""

import pytest

from errors import UnavailableError
from fuzz.explore.script import (
    TAKEN,
    Act,
    Ask,
    Ended,
    Failed,
    HandedIn,
    Raised,
    Read,
    Scripts,
    Spec,
    Work,
    later,
    now,
)

WORK = Spec("some work", "stream/1", "key", 7)


async def _work(subject: object) -> str:
    left: list[str] = []
    try:
        height = await later(Ask("height", (subject,)))
        if height > now(Read("limit")):
            now(Act("write", (height,)))
            return "late"
        await later(Ask("height", (subject,)))
    except UnavailableError as error:
        return str(error)
    finally:
        left.append("left")
    raise AssertionError("no such answer")


def _begin(spec: Spec) -> Work:
    return _work(spec.subject)


def test_a_job_is_at_the_operation_whose_answer_it_lacks() -> None:
    scripts = Scripts(_begin)
    root = scripts.root(WORK)
    assert scripts.operation(root) == Ask("height", (7,))
    told = scripts.after(root, 5)
    assert scripts.operation(told) == Read("limit")
    assert scripts.operation(scripts.after(told, 9)) == Ask("height", (7,))
    over = scripts.after(told, 4)
    assert scripts.operation(over) == Act("write", (5,))
    assert scripts.operation(scripts.after(over, None)) == Ended("late")


def test_equal_answers_lead_to_one_node_and_other_work_to_another() -> None:
    scripts = Scripts(_begin)
    root = scripts.root(WORK)
    assert scripts.after(root, 5) == scripts.after(scripts.root(WORK), 5) != scripts.after(root, 6)
    assert scripts.root(WORK._replace(resumed=True)) != root


def test_an_answer_may_be_an_error() -> None:
    scripts = Scripts(_begin)
    root = scripts.root(WORK)
    told = scripts.after(root, Raised(UnavailableError, ("nobody answers",)))
    assert scripts.operation(told) == Ended("nobody answers")


def test_what_a_coroutine_fails_with_is_an_operation() -> None:
    scripts = Scripts(_begin)
    told = scripts.after(scripts.after(scripts.after(scripts.root(WORK), 5), 9), 5)
    failed = scripts.operation(told)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, AssertionError)


def test_a_result_that_was_handed_in_is_not_handed_in_again() -> None:
    scripts = Scripts(_begin)
    over = scripts.after(scripts.root(WORK), Raised(UnavailableError, ("gone",)))
    assert scripts.operation(scripts.after(over, TAKEN)) == HandedIn()


def test_outside_of_a_job_nothing_can_be_asked() -> None:
    with pytest.raises(IndexError):
        now(Read("limit"))
