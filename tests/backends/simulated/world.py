"""A simulated network for tests: alice — bob — carol, and dave whom nobody knows."""

from collections.abc import Awaitable, Callable

from anyio.lowlevel import checkpoint

from backends.conformance.paying import AMOUNT_MSAT, FAR_DELAY_BLOCKS, FAR_FEE_MSAT
from backends.simulated.chain import ChainOutput, SimulatedChain
from backends.simulated.network import SimulatedNetwork
from backends.simulated.node import InvoiceState, SimulatedNode
from backends.simulated.routes import Policy
from fedimint.codec.addresses import parse_address
from fedimint.codec.bolt11 import Bolt11Invoice

NOW_S = 1_700_000_000
CHANNEL_MSAT = 1_000_000


class SimulatedWorld:
    """Alice is the node under test: she pays, and bob pays her."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.chain = SimulatedChain()
        self.network = SimulatedNetwork(self.chain)
        self.node, self.bob, self.carol, self.dave = (
            SimulatedNode(self.network, name, lambda: self.now_s)
            for name in ("alice", "bob", "carol", "dave")
        )
        policy = Policy(FAR_FEE_MSAT, 0, FAR_DELAY_BLOCKS)
        for first, second in (("alice", "bob"), ("bob", "carol")):
            self.network.open_channel(
                first,
                second,
                first_msat=CHANNEL_MSAT,
                second_msat=CHANNEL_MSAT,
                first_policy=policy,
            )

    @property
    def payer(self) -> SimulatedNode:
        return self.bob

    @property
    def stranger(self) -> SimulatedNode:
        return self.dave

    @property
    def stranger_host(self) -> str:
        return "dave.example:9735"

    async def invoice(self, *, is_held: bool = False) -> Bolt11Invoice:
        return self.bob.make_invoice(AMOUNT_MSAT, is_held=is_held)

    async def expired_invoice(self) -> Bolt11Invoice:
        invoice = self.bob.make_invoice(AMOUNT_MSAT, expiry_s=10)
        self.now_s += 11
        return invoice

    async def own_invoice(self) -> Bolt11Invoice:
        return self.node.make_invoice(AMOUNT_MSAT)

    async def lonely_invoice(self) -> Bolt11Invoice:
        return self.dave.make_invoice(AMOUNT_MSAT)

    async def far_invoice(self) -> Bolt11Invoice:
        return self.carol.make_invoice(AMOUNT_MSAT)

    async def accepted(self, payment_hash: bytes) -> None:
        assert self.bob.invoice_state(payment_hash) is InvoiceState.ACCEPTED

    async def settle(self, payment_hash: bytes) -> None:
        self.bob.settle_held(payment_hash)

    async def cancel(self, payment_hash: bytes) -> None:
        self.bob.cancel_held(payment_hash)

    async def reconnect(self) -> None:
        self.node.is_down = True
        await checkpoint()
        self.node.is_down = False

    async def give_coins(self, address: str, amount_sat: int) -> None:
        self.chain.send(ChainOutput(parse_address(address).script_pubkey, amount_sat))

    async def mine(self, blocks: int) -> None:
        self.chain.mine(blocks)

    async def until(self, what: str, question: Callable[[], Awaitable[bool]]) -> None:
        assert await question(), what
