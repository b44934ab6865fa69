"""Recorded sessions of real programs, as fixtures."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

# Speed is not asserted here: a busy machine must not fail a test.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

VECTORS = Path(__file__).parents[1] / "vectors"


class Call(msgspec.Struct, frozen=True):
    """A request to a guardian and its answer; `result` is None where none was recorded."""

    method: str
    params: Any
    result: Any


class Session(msgspec.Struct, frozen=True):
    """What was said between one guardian and its clients."""

    calls: list[Call]

    def of(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]


def _session(name: str) -> Session:
    requests: dict[tuple[int, int], tuple[str, Any]] = {}
    calls: list[Call] = []
    for line in (VECTORS / "captures" / name).read_text().splitlines():
        frame = json.loads(line)
        message = frame.get("msg", {})
        key = (frame["conn"], message.get("id"))
        if "method" in message:
            requests[key] = (message["method"], message["params"][0]["params"])
        elif key in requests:
            calls.append(Call(*requests.pop(key), message.get("result")))
    calls += [Call(method, params, None) for method, params in requests.values()]
    return Session(calls)


@pytest.fixture(scope="session")
def sessions() -> dict[str, Session]:
    """The session with a federation of v1 modules, and the one of v2 modules."""
    return {
        version: _session(f"ws-{version}-rust-client-and-gateway-to-guardian.jsonl")
        for version in ("v1", "v2")
    }


@pytest.fixture(scope="session")
def federations() -> dict[str, dict[str, Any]]:
    """What one guardian of a v1 and of a v2 federation answered."""
    return {
        version: json.loads((VECTORS / f"federation-{version}.json").read_text())
        for version in ("v1", "v2")
    }


@pytest.fixture(scope="session")
def gateway_exchanges() -> list[dict[str, Any]]:
    """Every HTTP exchange of real clients with the Rust gateway."""
    path = VECTORS / "captures" / "http-client-and-cli-to-rust-gateway.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def bolt11_examples() -> dict[str, list[str]]:
    """The examples of BOLT 11, valid and invalid."""
    examples: dict[str, list[str]] = json.loads((VECTORS / "bolt11.json").read_text())
    return examples
