"""Bodies that anyone may send: every route answers, or refuses with an error whose status is below 500."""

from collections.abc import Mapping
from typing import Any

import anyio
import msgspec
from hypothesis import strategies as st

from api import body as bodies
from api.gates import RateLimit, TokenBucket
from api.routes import Route, routes
from api.testing import canned
from api.testing.gateway import CannedGateway
from errors import GatewayError
from fedimint.codec.json_types import OutPointJson
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    InvoiceDescriptionJson,
    LightningInvoiceJson,
    SendPaymentPayload,
)
from fedimint.lnv2.json import IncomingContractJson, OutgoingContractJson
from fuzz.inputs import strategies
from fuzz.inputs.mutations import mutated

_NO_LIMIT = RateLimit(burst=10**9, per_second=10**9)


def _table() -> Mapping[str, Route]:
    """The routes that read something, but `/stop`, over a gateway of canned answers."""
    gateway = CannedGateway()
    table = routes(gateway, canned.facts(), TokenBucket(_NO_LIMIT), gateway.stop)
    return {route.path: route for route in table if route.body is not None}


ROUTES = _table()

_SENDS = st.builds(
    SendPaymentPayload,
    federation_id=strategies.HASHES.map(bytes.hex),
    outpoint=strategies.OUT_POINTS.map(OutPointJson.of),
    contract=strategies.OUTGOING_CONTRACTS.map(OutgoingContractJson.of),
    invoice=strategies.invoices().map(lambda invoice: LightningInvoiceJson(invoice.text)),
    auth=strategies.SIGNATURES.map(bytes.hex),
)
_INVOICES = st.builds(
    CreateBolt11InvoicePayload,
    federation_id=strategies.HASHES.map(bytes.hex),
    contract=strategies.INCOMING_CONTRACTS.map(IncomingContractJson.of),
    amount=strategies.AMOUNTS_MSAT,
    description=st.text(max_size=40).map(lambda text: InvoiceDescriptionJson(direct=text)),
    expiry_secs=st.integers(0, 2**32 - 1),
)


def _objects(shape: Any) -> st.SearchStrategy[Any]:
    """Objects with the fields that a route knows, and anything in them."""
    if not (isinstance(shape, type) and issubclass(shape, msgspec.Struct)):
        return strategies.HASHES.map(bytes.hex)
    names = [field.encode_name for field in msgspec.structs.fields(shape)]
    values = strategies.JSON_VALUES | strategies.HASHES.map(bytes.hex)
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


def bodies_for(route: Route) -> st.SearchStrategy[bytes]:
    """What a route expects, then edited; or JSON of any shape."""
    known: dict[str, st.SearchStrategy[Any]] = {
        "/send_payment": _SENDS,
        "/create_bolt11_invoice": _INVOICES,
        "/receive_ecash": strategies.ecash().map(lambda ecash: {"notes": ecash.to_text()}),
    }
    good = known.get(route.path, _objects(route.body)) | _objects(route.body)
    return mutated(good.map(msgspec.json.encode)) | strategies.JSON_VALUES.map(msgspec.json.encode)


def check(route: Route, body: bytes) -> None:
    """Read the body and call the route. Raises what is no refusal of the caller."""

    async def call() -> None:
        try:
            await route.handle(bodies.decode(body, route.body))
        except GatewayError as error:
            if error.http_status >= 500:
                raise

    anyio.run(call)
