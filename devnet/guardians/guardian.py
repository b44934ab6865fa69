"""One embedded guardian as a connection: the guardian API in this process, with faults.

Requests and results pass through JSON text, so that nothing is shared with the caller and only what
JSON can say arrives.
"""

from collections.abc import Mapping
from typing import Any, Final

import anyio
import anyio.lowlevel
import msgspec

from devnet.guardians.consensus import Consensus
from devnet.guardians.dealer import GuardianSecrets
from devnet.guardians.faults import Faults
from devnet.guardians.guardian_endpoints import Endpoints, constant_answers
from fedimint.client.transport import (
    METHOD_NOT_FOUND_CODE,
    TIMEOUT_CODE,
    GuardianRefused,
    GuardianUnreachable,
    error_from_code,
)
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PeerId
from fedimint.config import ClientConfig

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401


class EmbeddedGuardian:
    """A `fedimint.client.transport.GuardianConnection` to guardian `peer`, which answers by itself."""

    def __init__(
        self,
        peer: PeerId,
        config: ClientConfig,
        consensus: Consensus,
        secrets: GuardianSecrets,
        *,
        facts: Mapping[str, object],
        password: str,
    ) -> None:
        """`facts` are constant answers by method, besides those that the config gives."""
        self.peer = peer
        self.faults = Faults()
        self._consensus = consensus
        self._password = password
        self._constants = {**constant_answers(config), **facts}
        others = len(config.api_endpoints) - 1
        self._endpoints = Endpoints(consensus, secrets, others, self._fail_if_down)

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        """Answer as `GuardianConnection.request` says, with the faults set just now."""
        await anyio.lowlevel.checkpoint()
        self._fail_if_down()
        if self.faults.pause is not None:
            await self.faults.pause(method)
            self._fail_if_down()
        result = await self._serve(method, _through_json(params), auth)
        self._fail_if_down()
        if self.faults.loses_answer(method):
            raise GuardianUnreachable("the connection was lost before the answer")
        if self.faults.lie is not None:
            result = self.faults.lie(method, _through_json(result))
        return _through_json(result)

    async def aclose(self) -> None:
        """Do nothing: the guardian lives on, and other clients share it."""

    def stop(self) -> None:
        """Take the guardian down: new calls fail, and so do those that wait."""
        self.faults.is_down = True
        self._consensus.wake()

    def start(self) -> None:
        """Bring the guardian back."""
        self.faults.is_down = False

    async def _serve(self, method: str, params: object, auth: str | None) -> object:
        if method in self._constants:
            return self._constants[method]
        endpoint = self._endpoints.public.get(method)
        if method in self._endpoints.admin:
            if auth != self._password:
                raise GuardianRefused(UNAUTHORIZED, "Unauthorized")
            endpoint = self._endpoints.admin[method]
        if endpoint is None:
            raise GuardianRefused(METHOD_NOT_FOUND_CODE, "Method not found")
        with anyio.move_on_after(self.faults.long_poll_limit_s):
            try:
                return await endpoint(params)
            except DecodeError as error:
                raise GuardianRefused(BAD_REQUEST, str(error)) from error
        raise error_from_code(TIMEOUT_CODE, "Request timeout")

    def _fail_if_down(self) -> None:
        if self.faults.is_down:
            raise GuardianUnreachable("the guardian is down")


def _through_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
