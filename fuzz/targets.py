"""The fuzzer's targets by name: each is one property of one drawn value."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fuzz.inputs import decoders, guardian_answers, http_bodies
from fuzz.inputs.strategies import JSON_VALUES
from fuzz.machines import rule_based
from fuzz.simulation import seeds


class Target(NamedTuple):
    """`check` raises for a value that breaks the property."""

    values: st.SearchStrategy[Any]
    check: Callable[[Any], object]


TARGETS: Mapping[str, Target] = {
    **{
        f"decoder/{name}": Target(decoder.inputs, partial(decoders.check, decoder))
        for name, decoder in decoders.DECODERS.items()
    },
    **{
        f"guardian/{name}": Target(
            endpoint.near | JSON_VALUES, partial(guardian_answers.check, endpoint)
        )
        for name, endpoint in guardian_answers.ENDPOINTS.items()
    },
    "machines/all": Target(st.integers(0, 2**64 - 1), rule_based.walk),
    "simulation/whole gateway": Target(st.integers(0, 2**32 - 1), seeds.check),
    **{
        f"http{path}": Target(http_bodies.bodies_for(route), partial(http_bodies.check, route))
        for path, route in http_bodies.ROUTES.items()
    },
}
