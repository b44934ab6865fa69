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
from errors import InputError, PeerError
from fedimint import lnv2
from fedimint.codec.wire_types import OutPoint, PeerId, TransactionId
from fedimint.lnv2.decryption import Decryption, DecryptionKeys, decrypt
from gateway.federation import FederationClient
from gateway.federation_registry import FederationRegistry
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

        HTLCs that come later are failed back by the watch.
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
        """Believe a threshold of guardians first; when their key fails, ask others instead of the liars.

        A share that does not verify decides nothing: only a key that verifies shows what the contract holds.
        """
        federation = self._federations.client(effect.federation_id)
        contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(effect.contract))
        out_point = OutPoint(TransactionId(bytes.fromhex(effect.txid)), 0)
        liars: set[PeerId] = set()
        while True:
            decryption = await self._decrypt_with(federation, contract, out_point, liars)
            if decryption.decrypted is not None:
                break
            if not decryption.missing_peers:
                raise PeerError("the guardians' keys contradict each other; ask the federation")
            liars.update(decryption.bad_peers)
            if len(liars) > federation.core.guardians.max_failures:
                raise PeerError(f"guardians {sorted(liars)} send wrong decryption shares")
        preimage = decryption.decrypted.preimage
        if lnv2.is_preimage(contract.commitment.payment_image, preimage):
            return Decrypted(preimage=preimage.hex())
        return Undecryptable(
            decryption_key=decryption.decrypted.decryption_key.hex(), now_unix_s=self._now_unix_s()
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

    async def _decrypt_with(
        self,
        federation: FederationClient,
        contract: lnv2.IncomingContract,
        out_point: OutPoint,
        liars: set[PeerId],
    ) -> Decryption:
        async def believed(peer: PeerId, share: bytes) -> bytes:
            if peer in liars:
                raise PeerError(f"guardian {peer} sent a wrong decryption share before")
            return share

        shares = await federation.lnv2.decryption_key_share(out_point, believed)
        return await self._cpu.run(
            decrypt_shares,
            contract,
            shares,
            federation.decryption_keys,
            federation.core.guardians.threshold,
        )

    def _now_unix_s(self) -> int:
        return self._clock.now_unix_us() // 1_000_000


def decrypt_shares(
    contract: lnv2.IncomingContract,
    shares: Mapping[PeerId, bytes],
    keys: DecryptionKeys,
    threshold: int,
) -> Decryption:
    """`fedimint.lnv2.decryption.decrypt`, as a worker is called."""
    return decrypt(contract, shares, keys, threshold=threshold)
