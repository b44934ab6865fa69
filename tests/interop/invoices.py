"""Invoices that real nodes do not make: an unreachable stranger's, and held ones of bob."""

import hashlib
import os
import time
from dataclasses import dataclass

from devnet.processes import until
from devnet.real.lnd_node import InvoiceState, LndNode
from fedimint.codec import bolt11
from fedimint.codec.wire_types import Network

_DEADLINE_S = 60
_STRANGER_SECRET = bytes(31) + b"\x07"


def stranger_invoice(
    amount_msat: int | None,
    *,
    payment_hash: bytes | None = None,
    network: Network = "regtest",
    age_s: int = 0,
    expiry_s: int = 3_600,
) -> str:
    """An invoice of a node that no channel leads to."""
    fields = bolt11.InvoiceFields(
        network=network,
        amount_msat=amount_msat,
        timestamp_unix_s=int(time.time()) - age_s,
        payment_hash=payment_hash or os.urandom(32),
        payment_secret=os.urandom(32),
        description="a stranger's",
        expiry_s=expiry_s,
    )
    return bolt11.sign(fields, _STRANGER_SECRET).text


@dataclass(frozen=True)
class HeldInvoice:
    """An invoice that its node does not settle by itself. Hash and preimage are hex."""

    node: LndNode
    payment_hash: str
    preimage: str
    payment_request: str

    async def accepted(self) -> None:
        """Wait until the payment has arrived and is held."""
        await until("the payment is held", self._is_accepted, deadline_s=_DEADLINE_S)

    async def _is_accepted(self) -> bool:
        status = await self.node.lookup(self.payment_hash)
        return status.state is InvoiceState.ACCEPTED

    async def settle(self) -> None:
        await self.node.settle_invoice(self.preimage)

    async def cancel(self) -> None:
        await self.node.cancel_invoice(self.payment_hash)


async def held_by(node: LndNode, amount_msat: int) -> HeldInvoice:
    """A hold invoice of a node."""
    preimage = os.urandom(32)
    payment_hash = hashlib.sha256(preimage).hexdigest()
    new = await node.add_hold_invoice(payment_hash, amount_msat)
    return HeldInvoice(node, payment_hash, preimage.hex(), new.payment_request)
