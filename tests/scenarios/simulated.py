"""The stage in memory: embedded federations, a simulated Lightning network and chain, time that jumps."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc

from backends.lightning import Failed, Succeeded
from backends.simulated.chain import ChainOutput, SimulatedChain
from backends.simulated.node import InvoiceState, SimulatedNode
from devnet.embedded_world import EmbeddedWorld
from devnet.guardians.federation import EmbeddedFederation
from devnet.processes import until
from devnet.users.user import EmbeddedUser
from fedimint.codec import bolt11
from fedimint.codec.addresses import parse_address, segwit_address
from fedimint.mintv2.selection import round_up_msat
from fuzz.simulation.simulated_gateway import SimulatedGateway
from fuzz.simulation.virtual_time import now_unix_s, run_seeded
from tests.scenarios.calls import DEADLINE_S
from tests.scenarios.stage import Witness

#: One seed for every stage, so that keys and hence deposit addresses are always the same.
SEED = 7
#: More than anybody withdraws.
_ENDOWMENT_SAT = 10_000_000
_FEE_MAX_MSAT = 1_000_000
_DELAY_MAX_BLOCKS = 1_000


@dataclass(frozen=True)
class SimulatedHeldInvoice:
    """A `HeldInvoice` of a simulated node."""

    node: SimulatedNode
    invoice: str
    payment_hash: bytes
    preimage: bytes

    async def accepted(self) -> None:
        await until("the payment is held", self._is_accepted, deadline_s=DEADLINE_S)

    async def settle(self) -> None:
        self.node.settle_held(self.payment_hash, self.preimage)

    async def _is_accepted(self) -> bool:
        return self.node.invoice_state(self.payment_hash) is InvoiceState.ACCEPTED


class SimulatedOtherNode:
    """An `OtherNode`."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._held = 0

    async def invoice(self, amount_msat: int) -> str:
        return self._node.make_invoice(amount_msat).text

    async def hold(self, amount_msat: int) -> SimulatedHeldInvoice:
        self._held += 1
        preimage = hashlib.sha256(b"held %d" % self._held).digest()
        payment_hash = hashlib.sha256(preimage).digest()
        made = self._node.make_invoice(amount_msat, payment_hash=payment_hash)
        return SimulatedHeldInvoice(self._node, made.text, payment_hash, preimage)

    async def pay(self, invoice: str) -> bytes | None:
        async with self._node.pay(
            invoice,
            payment_hash=bolt11.decode(invoice).payment_hash,
            max_fee_msat=_FEE_MAX_MSAT,
            max_delay_blocks=_DELAY_MAX_BLOCKS,
        ) as statuses:
            async for status in statuses:
                if isinstance(status, Succeeded):
                    return status.preimage
                if isinstance(status, Failed):
                    return None
        raise AssertionError("a payment ends with a final status")


class SimulatedFederation:
    """A `StagedFederation`."""

    def __init__(self, world: EmbeddedWorld, federation: EmbeddedFederation) -> None:
        self.embedded = federation
        self._world = world
        self._users: list[EmbeddedUser] = []

    @property
    def federation_id(self) -> str:
        return self.embedded.federation_id.hex()

    @property
    def invite_code(self) -> str:
        return self.embedded.invite_code().to_text()

    async def new_user(self, amount_msat: int) -> EmbeddedUser:
        user = self._world.new_user(round_up_msat(amount_msat), self.embedded)
        self._users.append(user)
        return user

    async def ecash(self, amount_msat: int) -> str:
        return self.embedded.issue_ecash(round_up_msat(amount_msat)).to_text()

    async def stop_guardian(self, peer: int) -> None:
        self.embedded.faults(peer).is_down = True

    async def start_guardian(self, peer: int) -> None:
        self.embedded.faults(peer).is_down = False

    async def notes_msat(self) -> int:
        """What the federation owes, which it has, but for the fees it kept."""
        books = self.embedded.audit()
        assert books.is_balanced()
        return books.notes_msat

    async def contracts_msat(self) -> int:
        return sum(self.embedded.audit().contracts_msat.values())

    async def held_by_users_msat(self) -> int:
        return sum(user.balance_msat() for user in self._users)


class SimulatedBitcoin:
    """A `Chain`."""

    def __init__(self, chain: SimulatedChain) -> None:
        self._chain = chain
        self._first_height = chain.height
        self._addresses = 0

    async def mine(self, blocks: int) -> None:
        self._chain.mine(blocks)

    async def pay(self, address: str, amount_sat: int) -> None:
        self._chain.send(ChainOutput(parse_address(address).script_pubkey, amount_sat))

    async def new_address(self) -> str:
        self._addresses += 1
        program = hashlib.sha256(b"address %d" % self._addresses).digest()[:20]
        return segwit_address(b"\x00\x14" + program, "regtest")

    async def received_sat(self, address: str) -> int:
        script = parse_address(address).script_pubkey
        heights = range(self._first_height, self._chain.height + 1)
        outputs = [o for h in heights for tx in self._chain.block(h) for o in tx.outputs]
        return sum(output.value_sat for output in outputs if output.script == script)


class SimulatedStage:
    """A `Stage`."""

    def __init__(self, directory: Path, tasks: anyio.abc.TaskGroup) -> None:
        self.world = EmbeddedWorld(SEED, now_unix_s)
        self.world.add_federation("second")
        self.world.add_federation("quad", guardians=4)
        for federation in self.world.federations:
            federation.endow(_ENDOWMENT_SAT)  # what users hold was pegged in by somebody
        self.gateway = SimulatedGateway(self.world, directory, tasks, SEED)
        self.other_node = SimulatedOtherNode(self.world.payee)
        self.chain = SimulatedBitcoin(self.world.chain)
        self.federations = [SimulatedFederation(self.world, one) for one in self.world.federations]
        self.witness = Witness()

    def now_unix_s(self) -> int:
        return int(now_unix_s())

    async def stop_node(self) -> None:
        self.world.gateway_node.is_down = True

    async def start_node(self) -> None:
        self.world.gateway_node.is_down = False

    async def node_gain_msat(self) -> int:
        """The whole network's books are looked at, too."""
        self.world.network.audit()
        assert self.world.network.locked_msat() == 0
        return self.world.network.holdings_msat("gateway") - self.gateway.node_msat_at_first


def play(
    directory: Path, scenario: Callable[[SimulatedStage], Awaitable[None]], seed: int = SEED
) -> None:
    """Run a scenario on a fresh stage whose gateway is down; the seed decides the order of tasks."""

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            await scenario(SimulatedStage(directory, tasks))
            tasks.cancel_scope.cancel()

    run_seeded(run, seed)
