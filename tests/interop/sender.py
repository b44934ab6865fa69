"""A sender that makes any contract, also dishonest ones."""

import os

from devnet.gateway_client import HttpAnswer
from devnet.users.user import OutgoingPayment
from fedimint.codec import bolt11, secp
from fedimint.lnv2 import HashImage, OutgoingContract
from tests.interop.parties import Customers, Served

_ENOUGH_BLOCKS = 1_000


class Sender:
    """Sends through one gateway, with the money of our own client."""

    def __init__(self, served: Served, customers: Customers) -> None:
        self.served = served
        self.user = customers.user

    async def contract(
        self,
        payment_hash: bytes,
        refund_secret: bytes,
        *,
        amount_msat: int,
        blocks: int,
    ) -> OutgoingContract:
        """For the gateway, ending that many blocks from now."""
        routing = self.served.routing
        height = await self.served.joined.lnv2.consensus_block_count()
        return OutgoingContract(
            HashImage(payment_hash),
            amount_msat,
            height + blocks,
            bytes.fromhex(routing.module_public_key),
            secp.public_key(refund_secret),
            secp.public_key(os.urandom(32)),
        )

    async def fund(
        self, invoice: str, *, amount_msat: int | None = None, blocks: int = _ENOUGH_BLOCKS
    ) -> OutgoingPayment:
        """Put a contract for an invoice into the federation, by default on the gateway's terms but for its length."""
        if amount_msat is None:
            amount_msat = self.served.routing.send_fee_default.add_to(_amount_msat_of(invoice))
        refund_secret = os.urandom(32)
        contract = await self.contract(
            payment_hash_of(invoice), refund_secret, amount_msat=amount_msat, blocks=blocks
        )
        return await self.user.fund_contract(contract, refund_secret, invoice)

    async def ask(self, payment: OutgoingPayment) -> HttpAnswer:
        return await self.served.client.try_send(self.user.body(payment))


def payment_hash_of(invoice: str) -> bytes:
    return bolt11.decode(invoice).payment_hash


def _amount_msat_of(invoice: str) -> int:
    amount_msat = bolt11.decode(invoice).amount_msat
    assert amount_msat is not None
    return amount_msat
