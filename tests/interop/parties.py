"""The parties of a payment: a federation, a gateway that serves it, and their users."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from devnet.gateway_client import GatewayClient
from devnet.gatewayd import OurGatewayd
from devnet.processes import until
from devnet.real.fedimint_cli import FedimintCli
from devnet.real.fedimintd import RealFederation
from devnet.real.world import RealWorld
from devnet.users.user import EmbeddedUser
from fedimint.lnv2.gateway_api import RoutingInfo
from fedimint.mintv2 import Ecash
from tests.devnet.joined import JoinedFederation
from tests.interop.books import Books, books_of
from tests.interop.gateway_log import GatewayLog

DEADLINE_S = 60
# More than the gateway's side of the channel, so that an invoice can be too large for it.
_DEPOSIT_SAT = 20_000_000
_OWN_USER_MSAT = 1 << 30


@dataclass(frozen=True)
class Customers:
    """A federation with money in it: in the hands of fedimint-cli, which holds most, and of our own client."""

    federation: RealFederation
    joined: JoinedFederation
    cli: FedimintCli
    user: EmbeddedUser

    async def give_user(self, amount_msat: int) -> None:
        """Move ecash from fedimint-cli to our own client."""
        await self.user.wallet.receive(Ecash.parse(await self.cli.send_ecash(amount_msat)))

    def new_user(self) -> EmbeddedUser:
        """Another client of our own, without money."""
        return EmbeddedUser(self.joined, os.urandom)


@asynccontextmanager
async def customers_of(world: RealWorld, federation: RealFederation) -> AsyncIterator[Customers]:
    """Let them join, and deposit."""
    joined = await JoinedFederation.join(federation.invite_code)
    try:
        cli = world.new_user()
        await cli.join(federation.invite_code)
        await cli.peg_in(_DEPOSIT_SAT)
        customers = Customers(federation, joined, cli, EmbeddedUser(joined, os.urandom))
        await customers.give_user(_OWN_USER_MSAT)
        yield customers
    finally:
        await joined.aclose()


@dataclass(frozen=True)
class Served:
    """A federation that a gateway serves."""

    gateway: OurGatewayd
    joined: JoinedFederation
    client: GatewayClient
    log: GatewayLog
    routing: RoutingInfo

    @property
    def federation_id(self) -> str:
        return self.joined.federation_id.hex()

    async def balance_msat(self) -> int:
        """The gateway's ecash in this federation."""
        return await self.gateway.balance_msat(self.federation_id)

    async def is_idle(self) -> bool:
        """Whether the gateway shows nothing that is not over."""
        return not (await self.gateway.info()).open_payments

    async def settled(self) -> None:
        """Wait until everything is over."""
        await until(
            "the gateway is done",
            self.is_idle,
            deadline_s=DEADLINE_S,
            programs=[self.gateway.program],
        )

    async def over(self, contract_id: bytes) -> None:
        """Wait for the end of one payment."""
        await until(
            "the payment is over",
            partial(self.log.is_over, contract_id),
            deadline_s=DEADLINE_S,
            programs=[self.gateway.program],
        )

    def books(self, *, after: int) -> list[Books]:
        """Of every transaction of the gateway that was finished after a position of its log."""
        contracts_msat = self.log.contracts_msat()
        finished = self.log.finished_transactions(self.joined.federation_id, after)
        return [books_of(encoded, self.joined.config, contracts_msat) for encoded in finished]


async def serve(gateway: OurGatewayd, joined: JoinedFederation, invite_code: str) -> Served:
    """Let a running gateway join."""
    await gateway.cli("connect-fed", invite_code)
    client = GatewayClient(gateway.url)
    return Served(
        gateway=gateway,
        joined=joined,
        client=client,
        log=GatewayLog(gateway.data_dir),
        routing=await client.routing_info(joined.federation_id),
    )
