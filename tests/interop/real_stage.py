"""The stage of real peers: bitcoind, two LND nodes, fedimintd, and fedimint-cli with everybody's money."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devnet.processes import ProcessError, until
from devnet.real.bitcoind import Bitcoind
from devnet.real.fedimintd import Liabilities
from devnet.real.lnd_node import LndNode
from devnet.real.world import RealWorld
from devnet.users.user import EmbeddedUser
from errors import PeerError
from fedimint.codec import bolt11
from fedimint.mintv2 import Ecash
from fedimint.mintv2.selection import round_up_msat
from tests.interop import invoices
from tests.interop.parties import DEADLINE_S, Customers
from tests.interop.real_gateway import RealGateway
from tests.scenarios.stage import Witness

#: A payment waits for a gateway that is killed, and for a node that restarts.
_PAYMENT_DEADLINE_S = 180


@dataclass(frozen=True)
class RealHeldInvoice:
    """A `HeldInvoice`."""

    held: invoices.HeldInvoice

    @property
    def invoice(self) -> str:
        return self.held.payment_request

    async def accepted(self) -> None:
        await self.held.accepted()

    async def settle(self) -> None:
        await self.held.settle()


@dataclass(frozen=True)
class RealOtherNode:
    """An `OtherNode`."""

    node: LndNode

    async def invoice(self, amount_msat: int) -> str:
        return (await self.node.add_invoice(amount_msat)).payment_request

    async def hold(self, amount_msat: int) -> RealHeldInvoice:
        return RealHeldInvoice(await invoices.held_by(self.node, amount_msat))

    async def pay(self, invoice: str) -> bytes | None:
        try:
            paid = await self.node.pay(invoice, deadline_s=_PAYMENT_DEADLINE_S)
        except (PeerError, ProcessError):
            # The command may have failed for any reason: only the record tells.
            records = await self.node.payments_of(bolt11.decode(invoice).payment_hash.hex())
            if [record.status for record in records] == ["FAILED"]:
                return None
            raise
        return bytes.fromhex(paid.preimage)


class RealStagedFederation:
    """A `StagedFederation`. Its books begin anew with every log of a gateway: what stood in them is others'."""

    def __init__(self, customers: Customers) -> None:
        self.customers = customers
        self._users: list[EmbeddedUser] = []
        self._others = Liabilities(0, 0)

    async def begin_anew(self) -> None:
        """Take whatever is in the books and not fedimint-cli's as somebody's who does not move."""
        self._users.clear()
        owed = await self.customers.federation.liabilities()
        held_msat = await self.held_by_users_msat()
        self._others = Liabilities(owed.notes_msat - held_msat, owed.contracts_msat)

    @property
    def federation_id(self) -> str:
        return self.customers.joined.federation_id.hex()

    @property
    def invite_code(self) -> str:
        return self.customers.federation.invite_code

    async def new_user(self, amount_msat: int) -> EmbeddedUser:
        user = self.customers.new_user()
        if amount_msat:
            await user.wallet.receive(Ecash.parse(await self.ecash(amount_msat)))
        self._users.append(user)
        return user

    async def ecash(self, amount_msat: int) -> str:
        return await self.customers.cli.send_ecash(round_up_msat(amount_msat))

    async def stop_guardian(self, peer: int) -> None:
        await self.customers.federation.guardians[peer].program.stop()

    async def start_guardian(self, peer: int) -> None:
        await self.customers.federation.guardians[peer].restart()

    async def notes_msat(self) -> int:
        owed = await self.customers.federation.liabilities()
        return owed.notes_msat - self._others.notes_msat

    async def contracts_msat(self) -> int:
        owed = await self.customers.federation.liabilities()
        return owed.contracts_msat - self._others.contracts_msat

    async def held_by_users_msat(self) -> int:
        await self.customers.cli.settle()
        of_cli_msat = await self.customers.cli.balance_msat()
        return of_cli_msat + sum(user.balance_msat() for user in self._users)


@dataclass(frozen=True)
class RealBitcoin:
    """A `Chain`."""

    bitcoind: Bitcoind

    async def mine(self, blocks: int) -> None:
        await self.bitcoind.mine(blocks)

    async def pay(self, address: str, amount_sat: int) -> None:
        await self.bitcoind.send(address, amount_sat)

    async def new_address(self) -> str:
        return await self.bitcoind.new_address()

    async def received_sat(self, address: str) -> int:
        return await self.bitcoind.received_sat(address)


class RealStage:
    """A `Stage`. Alice is the gateway's node and bob the other one."""

    def __init__(self, world: RealWorld, customers: Sequence[Customers], folder: Path) -> None:
        self._world = world
        self._first_msat = 0
        self.gateway = RealGateway(folder, world.alice)
        self.other_node = RealOtherNode(world.bob)
        self.chain = RealBitcoin(world.bitcoind)
        self.federations = [RealStagedFederation(one) for one in customers]
        self.witness = Witness()

    async def begin(self) -> None:
        """Note how everything stands before the gateway's log begins."""
        self._first_msat = await self._bobs_msat()
        for federation in self.federations:
            await federation.begin_anew()

    def now_unix_s(self) -> int:
        return int(time.time())

    async def stop_node(self) -> None:
        await self._world.alice.program.stop()

    async def start_node(self) -> None:
        alice, bob = self._world.alice, self._world.bob
        await alice.start()
        for node, other in ((alice, bob), (bob, alice)):
            await until(
                f"{node.alias} reaches {other.alias}",
                partial(node.can_reach, await other.pubkey()),
                deadline_s=DEADLINE_S,
            )

    async def node_gain_msat(self) -> int:
        """Bob's loss, who pays no fees of the channel; nobody else is there."""
        return self._first_msat - await self._bobs_msat()

    async def _bobs_msat(self) -> int:
        return await until(
            "no payment is under way", self._world.bob.settled_msat, deadline_s=DEADLINE_S
        )
