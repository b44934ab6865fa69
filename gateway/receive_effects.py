"""The effects of an incoming payment and its completion: invoice, decryption, settling, cancelling.

Machines: `statemachines/receive.py`, `statemachines/completion.py`.
"""

from collections.abc import Mapping

import anyio
import structlog

from backends.lightning import CompletionRejectedError, NodeRefusedError
from backends.operations import Node
from engine.effects import EffectContext, Handler
from engine.machine import Effect
from engine.ports import Clock
from errors import InputError
from gateway.federation import FederationRegistry
from gateway.modules.lnv2 import LnV2
from gateway.ports import Cpu
from statemachines.completion import CancelHtlcs, NodeConfirmed, NodeContradicted, SettleHtlcs
from statemachines.receive import (
    FORGET_AFTER_EXPIRY_S,
    CreateInvoice,
    Decrypted,
    DecryptPreimage,
    ForgetInvoice,
    InvoiceCreated,
    InvoiceForgotten,
    InvoiceNotCreated,
    Undecryptable,
)

#: Why there is no invoice when it is the node's silence, and not what was asked for.
NOT_ANSWERED = "the node did not answer before the invoice's expiry"
#: When the node, whose clock is its own, will have closed an invoice that nobody pays.
CLOSED_AFTER_EXPIRY_S = 60
#: How often the node is asked about one that it still keeps open, and about how many at once.
LOOK_PAUSE_S = 600
LOOKS_AT_ONCE = 4

_log = structlog.get_logger("receive")


class ReceiveEffects:
    """Handlers over one Lightning node and the open federations."""

    def __init__(self, node: Node, federations: FederationRegistry, cpu: Cpu, clock: Clock) -> None:
        self._node = node
        self._federations = federations
        self._cpu = cpu
        self._clock = clock
        self._looks = anyio.Semaphore(LOOKS_AT_ONCE)

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect of both machines."""
        return {
            CreateInvoice: self.create_invoice,
            ForgetInvoice: self.forget_invoice,
            DecryptPreimage: self.decrypt,
            SettleHtlcs: self.settle,
            CancelHtlcs: self.cancel,
        }

    async def create_invoice(
        self, effect: CreateInvoice, _context: EffectContext
    ) -> InvoiceCreated | InvoiceNotCreated:
        """Ours is what an answered call made: a hash that is taken at the node may be somebody else's.

        So a receiver whose answer was lost asks for another invoice, with another hash; the first is out to nobody.
        """
        facts = effect.facts
        remaining_s = facts.invoice_expires_unix_s - self._now_unix_s()
        if remaining_s <= 0:
            return InvoiceNotCreated(reason=NOT_ANSWERED)
        description = (
            bytes.fromhex(facts.description_hash)
            if facts.description_hash is not None
            else facts.description or ""
        )
        try:
            invoice = await self._node.create_invoice(
                payment_hash=bytes.fromhex(facts.payment_hash),
                amount_msat=facts.invoice_msat,
                expiry_s=remaining_s,
                description=description,
            )
        except (NodeRefusedError, InputError) as refused:
            reason = refused.text if isinstance(refused, NodeRefusedError) else str(refused)
            _log.warning("invoice_refused", payment_hash=facts.payment_hash, reason=reason)
            return InvoiceNotCreated(reason=reason)
        return InvoiceCreated(invoice=invoice)

    async def forget_invoice(
        self, effect: ForgetInvoice, _context: EffectContext
    ) -> InvoiceForgotten:
        """The node has closed the invoice, so nothing is held for it; or what is held was not for us for a whole day.

        HTLCs that come later are cancelled by the watch.
        """
        at_unix_s = effect.expires_unix_s + CLOSED_AFTER_EXPIRY_S
        while True:
            await self._clock.sleep(max(0, at_unix_s - self._now_unix_s()))
            if at_unix_s >= effect.expires_unix_s + FORGET_AFTER_EXPIRY_S:
                return InvoiceForgotten()
            async with self._looks:
                record = await self._node.invoice(bytes.fromhex(effect.payment_hash))
            if record is None or record.status == "Failed":
                return InvoiceForgotten()
            at_unix_s = self._now_unix_s() + LOOK_PAUSE_S

    async def decrypt(
        self, effect: DecryptPreimage, _context: EffectContext
    ) -> Decrypted | Undecryptable:
        """Only a key of the federation that verifies shows what the contract holds, or that it holds none."""
        lightning = self._federations.client(effect.federation_id).module(LnV2)
        opened = await lightning.opened(effect.contract, effect.txid, self._cpu)
        if opened.preimage is not None:
            return Decrypted(preimage=opened.preimage.hex())
        return Undecryptable(
            decryption_key=opened.decryption_key.hex(), now_unix_s=self._now_unix_s()
        )

    async def settle(
        self, effect: SettleHtlcs, _context: EffectContext
    ) -> NodeConfirmed | NodeContradicted:
        """Until the node confirms; settled before is settled."""
        try:
            await self._node.settle(
                bytes.fromhex(effect.payment_hash), bytes.fromhex(effect.preimage)
            )
        except CompletionRejectedError as rejected:
            return NodeContradicted(error=str(rejected))
        return NodeConfirmed()

    async def cancel(
        self, effect: CancelHtlcs, _context: EffectContext
    ) -> NodeConfirmed | NodeContradicted:
        """Until the node confirms; cancelled before is cancelled."""
        try:
            await self._node.cancel(bytes.fromhex(effect.payment_hash))
        except CompletionRejectedError as rejected:
            return NodeContradicted(error=str(rejected))
        return NodeConfirmed()

    def _now_unix_s(self) -> int:
        return self._clock.now_unix_us() // 1_000_000
