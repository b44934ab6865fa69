"""Guardians played from a recorded session or by a script, for tests of the typed endpoints."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec

from fedimint.client.query import Guardians
from fedimint.client.transport import GuardianConnection, GuardianUnreachable
from fedimint.codec.wire_types import PeerId

VECTORS = Path(__file__).parent.parent / "vectors"
CAPTURE = VECTORS / "captures" / "ws-v2-rust-client-and-gateway-to-guardian.jsonl"
DEAD = GuardianUnreachable("down")


class Recorded:
    """A guardian that answers what the real one answered, and only to the very same requests."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.requests: dict[str, list[object]] = defaultdict(list)
        asked: dict[tuple[int, int], dict[str, object]] = {}
        for line in CAPTURE.read_text().splitlines():
            row = json.loads(line)
            message = row.get("msg")
            if message is None:
                continue
            at = row["conn"], message["id"]
            if row["dir"] == "request":
                asked[at] = message
            elif "result" in message:
                question = asked[at]
                envelope = question["params"][0]  # type: ignore[index] # one value, always
                method = str(question["method"])
                self.requests[method].append(envelope["params"])
                self.answers[key_of(method, envelope["params"])] = message["result"]

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        await anyio.lowlevel.checkpoint()
        return self.answers[key_of(method, params)]

    async def aclose(self) -> None:
        """Nothing is open."""


def key_of(method: str, params: object) -> str:
    builtins = json.loads(msgspec.json.encode(params))
    return method + json.dumps(builtins, sort_keys=True)


class Scripted:
    """A guardian whose answers are computed, per method, from the number of the call."""

    def __init__(self, **answers: Callable[[int], object]) -> None:
        self.answers = answers
        self.calls: dict[str, int] = defaultdict(int)
        self.closed = False

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        self.calls[method] += 1
        await anyio.lowlevel.checkpoint()
        answer = self.answers[method](self.calls[method])
        if answer is HANG:
            await anyio.sleep_forever()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True


HANG = object()


class Nap:
    def __init__(self) -> None:
        self.pauses_s: list[float] = []

    async def __call__(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        await anyio.lowlevel.checkpoint()


def guardians(*connections: GuardianConnection, nap: Nap | None = None) -> Guardians:
    numbered = {PeerId(number): guardian for number, guardian in enumerate(connections)}
    return Guardians(numbered, sleep_s=nap or Nap(), jitter=lambda: 0.5)
