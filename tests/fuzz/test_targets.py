"""Every target of the fuzzer holds for some values of each run of the tests; `gatewayd fuzz` looks further."""

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz.targets import TARGETS

EXAMPLES = 40
#: A whole gateway takes its time, and `tests/sim` plays many.
FEWER = {"simulation/whole gateway": 2}


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=FEWER.get(name, EXAMPLES),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.values)
    def holds(value: object) -> None:
        target.check(value)

    holds()
