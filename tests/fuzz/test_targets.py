"""Every target of the fuzzer holds for some values of each run of the tests; `gatewayd fuzz` looks further."""

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.values)
    def holds(value: object) -> None:
        target.check(value)

    holds()
