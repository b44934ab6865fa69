"""What can be fuzzed, by name: each target is one property of one drawn value."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fuzz import decoders, gateway_machines, guardian_answers, http_bodies, simulated
from fuzz.strategies import JSON_VALUES


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
    "machines/all": Target(st.integers(0, 2**64 - 1), gateway_machines.walk),
    "simulation/whole gateway": Target(st.integers(0, 2**32 - 1), simulated.check),
    **{
        f"http{path}": Target(http_bodies.bodies_for(route), partial(http_bodies.check, route))
        for path, route in http_bodies.ROUTES.items()
    },
}
