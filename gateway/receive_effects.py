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
from statemachines import receive
from statemachines.completion import CancelHtlcs, NodeConfirmed, NodeContradicted, SettleHtlcs

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
            receive.CreateInvoice: self.create_invoice,
            receive.ForgetInvoice: self.forget_invoice,
            receive.DecryptPreimage: self.decrypt,
            SettleHtlcs: self.settle,
            CancelHtlcs: self.cancel,
        }

    async def create_invoice(
        self, effect: receive.CreateInvoice, _context: EffectContext
    ) -> receive.InvoiceCreated | receive.InvoiceNotCreated:
        """Ours is what an answered call made: a hash that is taken at the node may be somebody else's.

        So a receiver whose answer was lost asks for another invoice, with another hash; the first is out to nobody.
        """
        facts = effect.facts
        remaining_s = facts.invoice_expires_unix_s - self._now_unix_s()
        if remaining_s <= 0:
            return receive.InvoiceNotCreated(reason=NOT_ANSWERED)
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
            return receive.InvoiceNotCreated(reason=reason)
        return receive.InvoiceCreated(invoice=invoice)

    async def forget_invoice(
        self, effect: receive.ForgetInvoice, _context: EffectContext
    ) -> receive.InvoiceForgotten:
        """The node has closed the invoice, so nothing is held for it; or what is held was not for us for a whole day.

        HTLCs that come later are cancelled by the watch.
        """
        at_unix_s = effect.expires_unix_s + CLOSED_AFTER_EXPIRY_S
        while True:
            await self._clock.sleep(max(0, at_unix_s - self._now_unix_s()))
            if at_unix_s >= effect.expires_unix_s + receive.FORGET_AFTER_EXPIRY_S:
                return receive.InvoiceForgotten()
            async with self._looks:
                record = await self._node.invoice(bytes.fromhex(effect.payment_hash))
            if record is None or record.status == "Failed":
                return receive.InvoiceForgotten()
            at_unix_s = self._now_unix_s() + LOOK_PAUSE_S

    async def decrypt(
        self, effect: receive.DecryptPreimage, _context: EffectContext
    ) -> receive.Decrypted | receive.Undecryptable:
        """Only a key of the federation that verifies shows what the contract holds, or that it holds none."""
        lightning = self._federations.client(effect.federation_id).module(LnV2)
        opened = await lightning.opened(effect.contract, effect.txid, self._cpu)
        if opened.preimage is not None:
            return receive.Decrypted(preimage=opened.preimage.hex())
        return receive.Undecryptable(
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
