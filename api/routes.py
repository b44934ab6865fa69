"""The table of routes: path, who may call it, its bounds, the shape of its body, and its handler."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from api import handlers, limits, structs
from api.handlers import Gateway, NodeFacts
from api.limits import Gate

LN_FAILED = "Lightning Network operation failed"
LNV2_FAILED = "LNv2 operation failed, please contact gateway operator"


class Route(msgspec.Struct, frozen=True):
    """One route. `body` is None where no body is read; `seconds` None waits as long as it takes.

    On a public route the caller sees `failure` instead of any sentence of a 5xx; an admin route has
    None there, since its caller is the operator.
    """

    method: str
    path: str
    handle: Callable[[Any], Awaitable[object]]
    gate: Gate
    body: Any = None
    body_bytes: int = limits.ADMIN_BODY_BYTES
    seconds: float | None = limits.ADMIN_SECONDS
    failure: str | None = None

    @property
    def is_public(self) -> bool:
        return self.failure is not None


def routes(gateway: Gateway, facts: NodeFacts) -> tuple[Route, ...]:
    """Every route of this gateway, without the `/v1` under which each is mounted once more."""
    admin = Gate("requests", limits.ADMIN_REQUESTS)
    public = Gate("requests", limits.PUBLIC_REQUESTS)
    send = Gate("payments", limits.SEND_PAYMENTS)
    return (
        Route("GET", "/info", lambda _: handlers.info(gateway, facts), admin),
        Route("GET", "/balances", lambda _: handlers.balances(gateway), admin),
        Route(
            "POST",
            "/connect_fed",
            lambda payload: handlers.connect_fed(gateway, payload),
            admin,
            body=structs.ConnectFedPayload,
        ),
        Route(
            "POST",
            "/routing_info",
            lambda federation_id: handlers.routing_info(gateway, federation_id),
            public,
            body=structs.Hash256Hex,
            body_bytes=limits.PUBLIC_BODY_BYTES,
            seconds=limits.PUBLIC_SECONDS,
            failure=LN_FAILED,
        ),
        Route(
            "POST",
            "/send_payment",
            lambda payload: handlers.send_payment(gateway, payload),
            send,
            body=structs.SendPaymentPayload,
            body_bytes=limits.PUBLIC_BODY_BYTES,
            seconds=None,
            failure=LNV2_FAILED,
        ),
    )
