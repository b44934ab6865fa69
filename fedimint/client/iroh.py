"""The guardian API over iroh: a stream of a QUIC connection for each request, several connections where it needs them.

fedimint-connectors/src/iroh.rs and fedimint-server/src/consensus/iroh_api.rs. The QUIC is somebody else's, behind
`IrohNode`; without it nothing here is used. Runs on any event loop.
"""

import random
import re
import time
from collections.abc import Callable
from typing import Final, Protocol

import anyio
import msgspec

from errors import InputError
from fedimint.client.backoff import Backoff
from fedimint.client.inflow import max_answer_bytes
from fedimint.client.transport import (
    Envelope,
    GuardianError,
    GuardianProtocolError,
    GuardianTimeout,
    GuardianUnreachable,
    cut,
    error_from_code,
)

API_PROTOCOL: Final = b"FEDIMINT_API_ALPN"
MAX_IN_FLIGHT: Final = 512
REQUESTS_PER_LINK: Final = 40
"""A guardian works on 50 requests of a connection at once and lets more of them wait, short ones behind long polls."""
MAX_REQUEST_BYTES: Final = 100_000
"""A guardian reads no more of a request."""
DIAL_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_S: Final = 90.0
"""Guardians cut every call after 60 s; one silent for longer has forgotten the call."""
TIMED_OUT: Final = 1
BROKE_PROTOCOL: Final = 2
LEFT: Final = 0

_AROUND_BYTES: Final = 32
"""What an answer may have around its result."""
_MODULE_METHOD: Final = re.compile(r"module_([0-9]{1,5})_(.+)")


class IrohLink(Protocol):
    """An open connection to a guardian."""

    async def ask(self, request: bytes, max_answer_bytes: int) -> bytes:
        """Send a request on a stream of its own and return what comes back. Cancelling ends the stream.

        Raises GuardianUnreachable when the stream or the connection was lost, and GuardianProtocolError, whose text
        is a noun, for an answer of nothing or of more than `max_answer_bytes`.
        """
        ...

    def end(self) -> str | None:
        """Why the connection is over; None while it is not."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End it, and everything that is asked on it, with a code and a reason for the guardian."""
        ...


class IrohNode(Protocol):
    """A guardian that can be dialled, and all that it may send a second."""

    async def dial(self) -> IrohLink:
        """Connect. Raises GuardianUnreachable."""
        ...


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A result or an error, not decoded yet: of a field that is missing, there are no bytes."""

    Ok: msgspec.Raw = msgspec.Raw()
    Err: msgspec.Raw = msgspec.Raw()


class _Request(msgspec.Struct, frozen=True):
    method: dict[str, str | tuple[int, str]]
    request: Envelope


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_result = msgspec.json.Decoder().decode
_decode_error = msgspec.json.Decoder(_Error).decode


class _Used:
    """A link, how many requests are on it, and how many it has answered."""

    def __init__(self, link: IrohLink) -> None:
        self.link = link
        self.asked = 0
        self.answers = 0


class IrohConnection:
    """A `GuardianConnection` that connects when first asked and again after a loss.

    A request fails at once with GuardianUnreachable while a lost connection backs off, as over WebSocket; callers
    retry. At most `max_in_flight` requests are out, more of them wait. A guardian that answers nothing, nonsense, or
    more than a method has to say loses its connection.
    """

    def __init__(
        self,
        url: str,
        node: IrohNode,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        monotonic_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare a connection to `node`, which `url` names in texts; nothing is sent yet."""
        self.url = url
        self._node = node
        self._slots = anyio.Semaphore(max_in_flight)
        self._request_timeout_s = request_timeout_s
        self._backoff = Backoff(monotonic_s, jitter)
        self._links: list[_Used] = []
        self._dialling = anyio.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"IrohConnection({self.url!r})"

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        """Ask the guardian once; see `GuardianConnection.request`."""
        request = msgspec.json.encode(_Request(_named(method), Envelope(auth, params)))
        if len(request) > MAX_REQUEST_BYTES:
            raise InputError(
                f"request {method} of {len(request)} bytes is too large for a guardian"
            )
        async with self._slots:
            used = await self._used()
            try:
                return await self._ask(used, method, request)
            finally:
                used.asked -= 1

    async def aclose(self) -> None:
        """Close the connections; later requests raise GuardianUnreachable."""
        self._closed = True
        for used in self._links:
            used.link.close(LEFT, "")
        self._links.clear()

    async def _ask(self, used: _Used, method: str, request: bytes) -> object:
        answers = used.answers
        try:
            with anyio.fail_after(self._request_timeout_s):
                answer = await used.link.ask(request, max_answer_bytes(method) + _AROUND_BYTES)
            outcome = _outcome(answer, max_answer_bytes(method))
        except TimeoutError as error:
            silent = GuardianTimeout(f"no answer to {method} from {self.url}")
            # Whatever it was asked meanwhile, too. Long polls alone are no sign: some guardians do not cut them.
            if used.answers == answers and not _is_long_poll(method):
                self._give_up(used, silent, TIMED_OUT, "request timeout")
            raise silent from error
        except GuardianUnreachable as failure:
            self._look_after(used, failure)
            raise
        except GuardianProtocolError as failure:
            wrong = GuardianProtocolError(f"{self.url} answered {method} with {failure}")
            # It has answered nothing, and must wait longer each time.
            used.answers = 0
            self._give_up(used, wrong, BROKE_PROTOCOL, "no answer of the protocol")
            raise wrong from failure
        used.answers += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _used(self) -> _Used:
        """A link with room for a request, which is counted. Raises GuardianUnreachable."""
        found = self._with_room()
        if found is None:
            async with self._dialling:
                found = self._with_room()
                if found is None:
                    found = await self._dialled()
                    self._links.append(found)
        found.asked += 1
        return found

    def _with_room(self) -> _Used | None:
        if self._closed:
            raise GuardianUnreachable(f"the connection to {self.url} was closed by us")
        # Those that ended while nothing was asked on them, as guardians do after five minutes, are no loss.
        self._links = [used for used in self._links if used.link.end() is None]
        return next((used for used in self._links if used.asked < REQUESTS_PER_LINK), None)

    async def _dialled(self) -> _Used:
        self._backoff.check()
        failure: GuardianUnreachable
        try:
            with anyio.fail_after(DIAL_TIMEOUT_S):
                link = await self._node.dial()
        except TimeoutError as error:
            failure = GuardianUnreachable(
                f"cannot connect to {self.url} within {DIAL_TIMEOUT_S:.0f} s"
            )
            self._backoff.begin(failure, answered=False)
            raise failure from error
        except GuardianUnreachable as error:
            failure = GuardianUnreachable(cut(f"cannot connect to {self.url}: {error}"))
            self._backoff.begin(failure, answered=False)
            raise failure from error
        if self._closed:
            link.close(LEFT, "")
            raise GuardianUnreachable(f"the connection to {self.url} was closed by us")
        return _Used(link)

    def _look_after(self, used: _Used, failure: GuardianUnreachable) -> None:
        """After a lost stream: where the connection is lost with it, wait before the next."""
        if used.link.end() is not None and used in self._links:
            self._links.remove(used)
            self._backoff.begin(failure, answered=used.answers > 0)

    def _give_up(self, used: _Used, failure: GuardianError, code: int, reason: str) -> None:
        if used in self._links:
            self._links.remove(used)
            self._backoff.begin(failure, answered=used.answers > 0)
        used.link.close(code, reason)


def _outcome(answer: bytes, max_bytes: int) -> object | GuardianError:
    """The result as builtins, or the guardian's error. Raises GuardianProtocolError."""
    try:
        decoded = _decode_answer(answer)
        encoded = decoded.Ok or decoded.Err
        if bool(decoded.Ok) == bool(decoded.Err):
            raise GuardianProtocolError("not just one of Ok and Err")
        if len(memoryview(encoded)) > max_bytes:
            raise GuardianProtocolError(f"more than {max_bytes} bytes")
        if decoded.Err:
            error = _decode_error(encoded)
            return error_from_code(error.code, error.message)
        result: object = _decode_result(encoded)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise GuardianProtocolError(f"nothing of the guardian API: {cut(str(error))}") from error
    return result


def _named(method: str) -> dict[str, str | tuple[int, str]]:
    module = _MODULE_METHOD.fullmatch(method)
    return {"Core": method} if module is None else {"Module": (int(module[1]), module[2])}


def _is_long_poll(method: str) -> bool:
    module = _MODULE_METHOD.fullmatch(method)
    return (method if module is None else module[2]).startswith(("await_", "wait_"))
