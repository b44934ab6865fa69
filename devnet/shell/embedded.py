"""Shell commands of an embedded world: find blocks, send coins, pay and be paid as its users and as Carol."""

import logging
import time
from collections.abc import Mapping, Sequence

from anyio.abc import TaskGroup

from backends.lightning import Succeeded
from backends.simulated.chain import ChainOutput
from devnet.embedded_world import EmbeddedWorld
from devnet.gateway_client import GatewayClient
from devnet.shell.server import Command
from devnet.users.receiving import IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from errors import GatewayError, InputError, PeerError
from fedimint import pasted
from fedimint.codec.addresses import parse_address
from fedimint.codec.wire_types import FederationId

_FEE_MAX_MSAT = 1_000_000
_DELAY_MAX_BLOCKS = 1_000
#: At most all satoshi, and as many blocks as are found while one waits.
_MOST_SAT = 21_000_000 * 100_000_000
_MOST_BLOCKS = 10_000

USER_HELP = "balance | pay INVOICE | receive SATS"
CAROL_HELP = "balance | pay INVOICE | invoice SATS | address"

_log = logging.getLogger("shell")


class UserShell:
    """The hands of one user, who reaches the gateway over HTTP. What is received is claimed once it is funded."""

    def __init__(
        self,
        user: EmbeddedUser,
        federation_id: FederationId,
        gateway: GatewayClient,
        tasks: TaskGroup,
    ) -> None:
        self._user = user
        self._federation_id = federation_id
        self._gateway = gateway
        self._tasks = tasks

    async def __call__(self, words: Sequence[str]) -> str:
        """Run one command. Raises InputError for another one."""
        match words:
            case ["balance"]:
                return f"{self._user.balance_msat()} msat"
            case ["pay", invoice]:
                return await self._pay(invoice)
            case ["receive", sats]:
                return await self._receive(_number(sats, _MOST_SAT) * 1000)
            case _:
                raise InputError(f"a user can: {USER_HELP}")

    async def _pay(self, invoice: str) -> str:
        routing = await self._gateway.routing_info(self._federation_id)
        payment = await self._user.fund(pasted.invoice(invoice).text, routing)
        answer = await self._gateway.send(self._user.body(payment))
        preimage = await self._user.settle(payment, answer)
        return f"paid, preimage {preimage.hex()}" if preimage else "not paid, and the money is back"

    async def _receive(self, amount_msat: int) -> str:
        routing = await self._gateway.routing_info(self._federation_id)
        order = IncomingOrder(amount_msat, int(time.time()))
        payment = self._user.receive(order, routing)
        invoice = await self._gateway.create_invoice(self._user.receive_body(payment))
        self._user.check_invoice(payment, invoice)
        self._tasks.start_soon(claim_once_funded, self._user, payment)
        return invoice


async def claim_once_funded(user: EmbeddedUser, payment: IncomingPayment) -> None:
    """Take what the gateway funds. What goes wrong is told, and ends nothing but this payment."""
    try:
        out_point = await user.await_funded(payment)
        if out_point is not None:
            await user.claim(payment, out_point)
    except GatewayError as error:
        _log.warning("a payment was not received: %s", error)


class EmbeddedShell:
    """The hands of everybody else."""

    def __init__(self, world: EmbeddedWorld) -> None:
        self._world = world
        self._carol = world.payee

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        return {"mine": self.mine, "coins": self.coins, "carol": self.carol}

    async def mine(self, words: Sequence[str]) -> str:
        """Find blocks, one unless told otherwise."""
        match words:
            case []:
                self._world.chain.mine()
            case [blocks]:
                self._world.chain.mine(_number(blocks, _MOST_BLOCKS))
            case _:
                raise InputError("mine takes a number of blocks")
        return f"height {self._world.chain.height}"

    async def coins(self, words: Sequence[str]) -> str:
        """Send coins from nowhere; they are confirmed by the next block."""
        match words:
            case [sats, address]:
                # As gateway-cli prints it, a string of JSON, or from wherever else it was copied.
                script = parse_address(pasted.address(address).address).script_pubkey
                return self._world.chain.send(ChainOutput(script, _number(sats, _MOST_SAT)))
            case _:
                raise InputError("coins takes a number of sats and an address")

    async def carol(self, words: Sequence[str]) -> str:
        """The node at the other end of the Lightning network."""
        match words:
            case ["balance"]:
                return f"{self._world.network.holdings_msat(self._carol.name)} msat"
            case ["invoice", sats]:
                return self._carol.make_invoice(_number(sats, _MOST_SAT) * 1000).text
            case ["pay", invoice]:
                return await self._pay(invoice)
            case ["address"]:
                return await self._carol.onchain_address()
            case _:
                raise InputError(f"Carol can: {CAROL_HELP}")

    async def _pay(self, invoice: str) -> str:
        wanted = pasted.invoice(invoice)
        paying = self._carol.pay(
            wanted.text,
            payment_hash=wanted.payment_hash,
            max_fee_msat=_FEE_MAX_MSAT,
            max_delay_blocks=_DELAY_MAX_BLOCKS,
        )
        async with paying as statuses:
            last = [status async for status in statuses][-1]
        if not isinstance(last, Succeeded):
            raise PeerError(f"not paid: {last}")
        return f"paid, preimage {last.preimage.hex()}"


def _number(text: str, most: int) -> int:
    if not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise InputError(f"{text!r} is no number from 1 to {most}")
    return int(text)
