"""The error that leaves a group of errors."""

import pytest

from cli.error_groups import one_error
from errors import ConfigError, FatalError, InputError, UnavailableError


def test_one_error_of_ours_leaves_a_group_by_itself() -> None:
    first, second = ConfigError("first"), InputError("second")
    with pytest.raises(ConfigError) as raised, one_error():
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [first]), second])
    assert raised.value is first
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("beside", [UnavailableError("is stopping"), OSError("the disk")])
def test_a_fatal_error_is_the_cause_of_those_beside_it(beside: Exception) -> None:
    """Who waits for an engine that cannot write is told that it stops; the process must end with why it stops."""
    fatal = FatalError("the disk is full")
    with pytest.raises(FatalError) as raised, one_error():
        raise ExceptionGroup("outer", [beside, ExceptionGroup("inner", [fatal])])
    assert raised.value is fatal


def test_an_error_alone_leaves_as_it_came() -> None:
    with pytest.raises(ConfigError, match="alone"), one_error():
        raise ConfigError("alone")


def test_a_group_with_an_error_that_is_not_ours_stays_whole() -> None:
    group = ExceptionGroup("outer", [ConfigError("ours"), ValueError("a bug")])
    with pytest.raises(ExceptionGroup) as raised, one_error():
        raise group
    assert raised.value is group
