"""The steps of `gatewayd demo`: payments of every kind, during one of which the gateway is killed.

The gateway is a process of its own and sees guardians and LND over sockets. Ann is a user of the first
federation, Ben of the second; Carol runs the node at the other end of the Lightning network.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec

from backends.lightning import Succeeded
from backends.simulated.chain import ChainOutput
from cli.world.log_tail import LogTail
from cli.world.screen import Screen
from devnet.gateway_client import GatewayClient
from devnet.gatewayd import OurGatewayd
from devnet.guardians.chain_wallet import BLOCK_COUNT_DELAY
from devnet.guardians.federation import EmbeddedFederation
from devnet.processes import until
from devnet.served_world import ServedWorld
from devnet.users.receiving import IncomingOrder
from devnet.users.user import EmbeddedUser, OutgoingPayment
from engine.machine import State
from errors import FatalError, UnavailableError
from fedimint.codec import bolt11
from fedimint.codec.addresses import parse_address
from fedimint.codec.bolt11 import Bolt11Invoice
from statemachines import receive, send
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet

NAMES = ("Alpha", "Beta")

ANN_SAT = 512_000
DEPOSIT_SAT = 1_000_000
PAID_MSAT = 80_000_000
HELD_MSAT = 50_000_000
RECEIVED_MSAT = 20_000_000
SWAPPED_MSAT = 30_000_000
WITHDRAWN_SAT = 100_000

_STEP_DEADLINE_S = 120
_CAROLS_FEE_MSAT = 100_000
_CAROLS_DELAY_BLOCKS = 1_000


_KINDS_OF_MONEY = frozenset({"send", "receive", "completion", "tx", "deposit", "withdrawal"})


class Story:
    """The acts, in the order in which they are played; each returns when the log says that it is over."""

    def __init__(
        self, served: ServedWorld, gateway: OurGatewayd, tail: LogTail, screen: Screen
    ) -> None:
        self.world = served.world
        self.gateway = gateway
        self.client = GatewayClient(gateway.url)
        self.alpha, self.beta = self.world.federations
        self.carol = self.world.payee
        self.ann = self.world.new_user(ANN_SAT * 1000, self.alpha)
        self.ben = self.world.new_user(0, self.beta)
        self.deposited_sat = 0
        self.withdrawals: dict[str, bytes] = {}
        """By txid the script that was to be paid."""
        self._tail = tail
        self._screen = screen

    async def play(self) -> None:
        """Raises FatalError when something ends in another way than it has to, UnavailableError when it does not."""
        await self._join()
        await self._pay()
        await self._pay_through_a_crash()
        await self._receive()
        await self._deposit()
        await self._swap()
        await self._withdraw()
        await self._leave()

    async def _join(self) -> None:
        for federation, name in zip(self.world.federations, NAMES, strict=True):
            invite = federation.invite_code().to_text()
            self._screen.tell(f"The gateway joins {name}: gateway-cli connect-fed {invite[:24]}…")
            await self.gateway.cli("connect-fed", invite)

    async def _pay(self) -> None:
        self._screen.tell(f"Ann pays {_sat(PAID_MSAT)} to Carol over Lightning.")
        await self._send(self.ann, self.alpha, self.carol.make_invoice(PAID_MSAT))

    async def _pay_through_a_crash(self) -> None:
        self._screen.tell(f"Ann pays {_sat(HELD_MSAT)} more; Carol keeps the money waiting.")
        invoice = self.carol.make_invoice(HELD_MSAT, is_held=True)
        payment = await self._fund(self.ann, self.alpha, invoice)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask_in_vain, self.ann, payment)
            await self._until_state(_send_stream(payment), send.InFlight)
            self.gateway.program.kill()
        self._screen.tell("The gateway was killed (SIGKILL). Carol takes the money meanwhile.")
        self.carol.settle_held(invoice.payment_hash)
        self._screen.tell("The gateway starts again from its log, and Ann asks again.")
        await self.gateway.start()
        await self._finish(self.ann, payment)

    async def _receive(self) -> None:
        self._screen.tell(f"Ann receives {_sat(RECEIVED_MSAT)} from Carol over Lightning.")
        async with self._received(self.ann, self.alpha, RECEIVED_MSAT) as invoice:
            await self._carol_pays(invoice)

    async def _deposit(self) -> None:
        for federation, name in zip(self.world.federations, NAMES, strict=True):
            self._screen.tell(f"{_sat(DEPOSIT_SAT * 1000)} for {name}: gateway-cli ecash pegin")
            answer = await self._ecash("pegin", federation)
            address = msgspec.convert(answer, _Address).address
            self._screen.detail(f"the address, ground since the gateway joined: {address}")
            script = parse_address(address).script_pubkey
            self.world.chain.send(ChainOutput(script, DEPOSIT_SAT))
            self.deposited_sat += DEPOSIT_SAT
        had_msat = [self._balance_msat(federation) for federation in self.world.federations]
        self._screen.tell("Blocks are found, and the gateway claims both deposits.")
        self._mine()
        for federation, before_msat in zip(self.world.federations, had_msat, strict=True):
            await self._until_richer(federation, before_msat)
        self._mine()

    async def _swap(self) -> None:
        self._screen.tell(f"Ann in Alpha pays {_sat(SWAPPED_MSAT)} to Ben in Beta: a direct swap.")
        async with self._received(self.ben, self.beta, SWAPPED_MSAT) as invoice:
            await self._send(self.ann, self.alpha, invoice)

    async def _withdraw(self) -> None:
        for federation, amount in ((self.alpha, f"{WITHDRAWN_SAT} sats"), (self.beta, "all")):
            name = federation.config.meta["federation_name"]
            self._screen.tell(f"{amount} of {name} to Carol: gateway-cli ecash pegout")
            address = await self.carol.onchain_address()
            answer = await self._ecash(
                "pegout", federation, f"--amount={amount}", f"--address={address}"
            )
            txid = msgspec.convert(answer, _Withdrawal).txid
            self._screen.detail(f"paid by {txid}")
            self.withdrawals[txid] = parse_address(address).script_pubkey
            self._mine()

    async def _leave(self) -> None:
        self._screen.tell("The gateway leaves Beta: gateway-cli leave-fed")
        await self._until("nothing is open", self._is_quiet)
        await self.gateway.cli("leave-fed", f"--federation-id={self.beta.federation_id.hex()}")

    # --- the steps of acts ---

    async def _send(
        self, user: EmbeddedUser, federation: EmbeddedFederation, invoice: Bolt11Invoice
    ) -> None:
        await self._finish(user, await self._fund(user, federation, invoice))

    async def _fund(
        self, user: EmbeddedUser, federation: EmbeddedFederation, invoice: Bolt11Invoice
    ) -> OutgoingPayment:
        routing = await self.client.routing_info(federation.federation_id)
        return await user.fund(invoice.text, routing)

    async def _finish(self, user: EmbeddedUser, payment: OutgoingPayment) -> None:
        """Have it paid, and wait until the gateway has its money too."""
        answer = await self.client.send(user.body(payment))
        if await user.settle(payment, answer) is None:
            raise FatalError("a payment of the demonstration was refunded")
        await self._until_state(_send_stream(payment), send.Claimed)

    async def _ask_in_vain(self, user: EmbeddedUser, payment: OutgoingPayment) -> None:
        with contextlib.suppress(UnavailableError):
            await self.client.send(user.body(payment))
            raise FatalError("the gateway of the demonstration answered before it was killed")

    @asynccontextmanager
    async def _received(
        self, user: EmbeddedUser, federation: EmbeddedFederation, amount_msat: int
    ) -> AsyncIterator[Bolt11Invoice]:
        """An invoice of the gateway for the user, to be paid in the block, then claimed by the user."""
        routing = await self.client.routing_info(federation.federation_id)
        order = IncomingOrder(amount_msat, int(time.time()), description="for the demonstration")
        payment = user.receive(order, routing)
        invoice = await self.client.create_invoice(user.receive_body(payment))
        user.check_invoice(payment, invoice)
        parsed = bolt11.decode(invoice)
        yield parsed
        out_point = await user.await_funded(payment)
        if out_point is None:
            raise FatalError("the gateway of the demonstration funded no incoming contract")
        await user.claim(payment, out_point)
        stream = receive.stream_of(parsed.payment_hash.hex())
        await self._until_state(stream, receive.Received)

    async def _carol_pays(self, invoice: Bolt11Invoice) -> None:
        paying = self.carol.pay(
            invoice.text,
            payment_hash=invoice.payment_hash,
            max_fee_msat=_CAROLS_FEE_MSAT,
            max_delay_blocks=_CAROLS_DELAY_BLOCKS,
        )
        async with paying as statuses:
            last = [status async for status in statuses][-1]
        if not isinstance(last, Succeeded):
            raise FatalError(f"Carol could not pay the gateway of the demonstration: {last}")

    async def _ecash(self, command: str, federation: EmbeddedFederation, *more: str) -> object:
        chosen = f"--federation-id={federation.federation_id.hex()}"
        return await self.gateway.cli("ecash", command, chosen, *more)

    def _mine(self) -> None:
        """Bury everything as deep as federations want it."""
        self.world.chain.mine(BLOCK_COUNT_DELAY + 1)

    def _balance_msat(self, federation: EmbeddedFederation) -> int:
        wallet = self._tail.state(wallet_of(federation.federation_id.hex()))
        return wallet.balance_msat if isinstance(wallet, Wallet) else 0

    def _is_quiet(self) -> bool:
        return not self._tail.open_streams(_KINDS_OF_MONEY)

    async def _until_state(self, stream: str, wanted: type[State]) -> None:
        await self._until(
            f"{stream} is {wanted.__name__}", lambda: isinstance(self._tail.state(stream), wanted)
        )

    async def _until_richer(self, federation: EmbeddedFederation, before_msat: int) -> None:
        await self._until(
            "a deposit is claimed", lambda: self._balance_msat(federation) > before_msat
        )

    async def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        async def ask() -> bool:
            return is_so()

        await until(
            what, ask, deadline_s=_STEP_DEADLINE_S, programs=[self.gateway.program], pause_s=0.02
        )


def _send_stream(payment: OutgoingPayment) -> str:
    return send.stream_of(payment.contract.contract_id().hex())


def _sat(amount_msat: int) -> str:
    return f"{amount_msat // 1000:,} sat"


class _Withdrawal(msgspec.Struct, frozen=True):
    """What `gateway-cli ecash pegout` prints."""

    txid: str


class _Address(msgspec.Struct, frozen=True):
    """What `gateway-cli ecash pegin` prints."""

    address: str
