"""Calls a gateway over HTTP as clients and operators do, with the standard library."""

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass

import anyio.to_thread
import msgspec

from errors import PeerError, UnavailableError
from fedimint.codec.wire_types import FederationId
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    Forfeited,
    Paid,
    RoutingInfo,
    SendPaymentPayload,
    parse_routing_info,
    parse_send_answer,
)

# A payment may be held by its payee for as long as a test wants.
_CALL_DEADLINE_S = 180

# Whatever proxy the environment names, these calls stay on this machine.
_open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class HttpAnswer:
    """A status and a body, whatever they are."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class GatewayClient:
    """Calls one gateway, by the URL that guardians vet; with a password, as its operator."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._credentials = {} if password is None else {"Authorization": f"Bearer {password}"}

    async def post(
        self, path: str, body: bytes, *, content_type: str = "application/json"
    ) -> HttpAnswer:
        """Raises UnavailableError when the connection fails or is lost before the answer."""
        return await self.call("POST", path, body, content_type=content_type)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
    ) -> HttpAnswer:
        """Raises UnavailableError when the connection fails or is lost before the answer."""
        headers = dict(self._credentials)
        if body is not None:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(  # noqa: S310 - the URL is the harness's own
            self._url + path, data=body, headers=headers, method=method
        )
        return await anyio.to_thread.run_sync(_call, request, abandon_on_cancel=True)

    async def routing_info(self, federation_id: FederationId) -> RoutingInfo:
        """The gateway's terms. Raises PeerError when it does not serve the federation."""
        answer = await self.post("/routing_info", msgspec.json.encode(federation_id.hex()))
        routing = parse_routing_info(_success(answer))
        if routing is None:
            raise PeerError("the gateway has no terms for this federation")
        return routing

    async def create_invoice(self, body: CreateBolt11InvoicePayload) -> str:
        """Ask for an invoice over an incoming contract. Raises PeerError for a refusal."""
        answer = await self.post("/create_bolt11_invoice", msgspec.json.encode(body))
        return msgspec.json.decode(_success(answer), type=str)

    async def give_ecash(self, notes: str) -> None:
        """Give the gateway ecash of a federation that it has joined. Raises PeerError for a refusal."""
        _success(await self.post("/receive_ecash", msgspec.json.encode({"notes": notes})))

    async def send(self, body: SendPaymentPayload) -> Paid | Forfeited:
        """Ask for a payment and wait for its end. Raises PeerError for a refusal."""
        return parse_send_answer(_success(await self.try_send(body)))

    async def try_send(self, body: SendPaymentPayload) -> HttpAnswer:
        """Ask for a payment; a refusal is an answer like any other."""
        return await self.post("/send_payment", msgspec.json.encode(body))


def _call(request: urllib.request.Request) -> HttpAnswer:
    try:
        with _open_directly(request, timeout=_CALL_DEADLINE_S) as response:
            return HttpAnswer(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return HttpAnswer(error.code, error.read())
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{request.full_url}: {error}") from error


def _success(answer: HttpAnswer) -> bytes:
    if answer.status != http.client.OK:
        raise PeerError(f"the gateway answered with status {answer.status}: {answer.text}")
    return answer.body
