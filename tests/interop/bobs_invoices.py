"""What a node under test pays: invoices of bob, a real LND, and of strangers, who sign theirs here."""

import hashlib
import os
import time
from functools import partial

from backends.conformance.paying import AMOUNT_MSAT, FAR_DELAY_BLOCKS, FAR_FEE_MSAT
from devnet.processes import until
from devnet.real.lnd_node import InvoiceState, LndNode
from fedimint.codec import bolt11

STRANGER_SECRET = bytes(31) + b"\x05"


class BobsInvoices:
    """The part of a `backends.conformance.paying.World` that is the same whoever pays."""

    def __init__(self, bob: LndNode, deadline_s: int) -> None:
        self.bob = bob
        self._deadline_s = deadline_s
        self._preimages: dict[bytes, bytes] = {}

    async def invoice(self, *, is_held: bool = False) -> bolt11.Bolt11Invoice:
        if not is_held:
            new = await self.bob.add_invoice(AMOUNT_MSAT)
            return bolt11.decode(new.payment_request)
        preimage = os.urandom(32)
        payment_hash = hashlib.sha256(preimage).digest()
        self._preimages[payment_hash] = preimage
        new = await self.bob.add_hold_invoice(payment_hash.hex(), AMOUNT_MSAT)
        return bolt11.decode(new.payment_request)

    async def expired_invoice(self) -> bolt11.Bolt11Invoice:
        return self.strangers_invoice(age_s=100, expiry_s=10)

    async def lonely_invoice(self) -> bolt11.Bolt11Invoice:
        return self.strangers_invoice()

    async def far_invoice(self) -> bolt11.Bolt11Invoice:
        bob = bytes.fromhex(await self.bob.pubkey())
        hint = bolt11.RouteHop(bob, 1 << 40, FAR_FEE_MSAT, 0, FAR_DELAY_BLOCKS)
        return self.strangers_invoice(hint)

    def strangers_invoice(
        self, *hints: bolt11.RouteHop, age_s: int = 0, expiry_s: int = 3_600
    ) -> bolt11.Bolt11Invoice:
        fields = bolt11.InvoiceFields(
            network="regtest",
            amount_msat=AMOUNT_MSAT,
            timestamp_unix_s=int(time.time()) - age_s,
            payment_hash=os.urandom(32),
            payment_secret=os.urandom(32),
            description="a stranger's",
            expiry_s=expiry_s,
            route_hints=(hints,) if hints else (),
        )
        return bolt11.sign(fields, STRANGER_SECRET)

    async def accepted(self, payment_hash: bytes) -> None:
        await until(
            "bob holds the payment",
            partial(self._is_accepted, payment_hash),
            deadline_s=self._deadline_s,
        )

    async def _is_accepted(self, payment_hash: bytes) -> bool:
        status = await self.bob.lookup(payment_hash.hex())
        return status.state is InvoiceState.ACCEPTED

    async def settle(self, payment_hash: bytes) -> None:
        await self.bob.settle_invoice(self._preimages[payment_hash].hex())

    async def cancel(self, payment_hash: bytes) -> None:
        await self.bob.cancel_invoice(payment_hash.hex())
