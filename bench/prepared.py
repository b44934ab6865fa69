"""Users of an embedded world who have done their part, so that a bench measures the gateway's alone."""

import time
from collections.abc import Awaitable, Callable

import anyio

from backends.lightning import Succeeded
from devnet.embedded_world import EmbeddedWorld
from devnet.gateway_client import GatewayClient
from devnet.users.receiving import IncomingOrder
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import Paid, RoutingInfo, SendPaymentPayload

#: Makes one prepared payment, and fails if it does not succeed.
Payment = Callable[[], Awaitable[None]]

SENT_MSAT = 1_234_567
RECEIVED_MSAT = 1_000_000
#: Ecash of one sender, a multiple of 512 msat.
_USER_MSAT = 4_096 * 512
_PAYERS_FEE_MSAT, _PAYERS_DELAY_BLOCKS = 100_000, 1_000
#: Slower than the gateway's limit of invoices per second.
_INVOICE_PAUSE_S = 0.22


class Users:
    """Senders and receivers of the first federation; the payee's node pays the invoices of receivers."""

    def __init__(self, world: EmbeddedWorld, client: GatewayClient, routing: RoutingInfo) -> None:
        self._world = world
        self._client = client
        self._routing = routing

    @classmethod
    async def of(cls, world: EmbeddedWorld, gateway_url: str) -> "Users":
        """Users of a gateway that has joined."""
        client = GatewayClient(gateway_url)
        return cls(world, client, await client.routing_info(world.federation.federation_id))

    async def sends(self, count: int) -> list[Payment]:
        """Contracts are funded; what is left is `/send_payment`."""
        return [await self._send() for _ in range(count)]

    async def receives(self, count: int) -> list[Payment]:
        """Invoices are made; what is left is to pay them."""
        return [await self._receive() for _ in range(count)]

    async def _send(self) -> Payment:
        user = self._world.new_user(_USER_MSAT)
        invoice = self._world.payee.make_invoice(SENT_MSAT).text
        body = user.body(await user.fund(invoice, self._routing))
        return lambda: self._have_paid(body)

    async def _have_paid(self, body: SendPaymentPayload) -> None:
        answer = await self._client.send(body)
        assert isinstance(answer, Paid), "a send was given back"

    async def _receive(self) -> Payment:
        user = self._world.new_user(0)
        payment = user.receive(IncomingOrder(RECEIVED_MSAT, int(time.time())), self._routing)
        invoice = await self._client.create_invoice(user.receive_body(payment))
        await anyio.sleep(_INVOICE_PAUSE_S)
        return lambda: self._pay(invoice)

    async def _pay(self, invoice: str) -> None:
        paying = self._world.payee.pay(
            invoice,
            payment_hash=bolt11.decode(invoice).payment_hash,
            max_fee_msat=_PAYERS_FEE_MSAT,
            max_delay_blocks=_PAYERS_DELAY_BLOCKS,
        )
        async with paying as statuses:
            last = [status async for status in statuses][-1]
        assert isinstance(last, Succeeded), "a receive was given back"
