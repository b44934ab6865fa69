"""A Lightning node in memory, with LND's habits and scripted faults; it runs on every event loop.

Time stands still between calls and nothing is random: a held payment moves when somebody settles
or cancels it, a block comes when the test mines it, and a call dies where the test says so.
"""

from collections.abc import Callable

from backends.abilities import Abilities
from backends.lightning import Balances, Failed, InFlight, NodeInfo, PaymentStatus, Succeeded
from backends.operations import InvoiceStatus, NodeTransaction
from backends.simulated.channels import SimulatedChannels
from backends.simulated.invoices import STATUSES as INVOICE_STATUSES
from backends.simulated.invoices import SimulatedInvoices
from backends.simulated.network import SimulatedNetwork
from backends.simulated.part import Fault
from backends.simulated.payee import InvoiceState, NodeInvoice
from backends.simulated.payments import MAX_DELAY_CAP_BLOCKS, PaymentRecord, SimulatedPayments

__all__ = ["MAX_DELAY_CAP_BLOCKS", "Fault", "InvoiceState", "SimulatedNode"]

_PAYMENT_STATUSES: dict[type[PaymentStatus], InvoiceStatus] = {
    InFlight: "Pending",
    Succeeded: "Succeeded",
    Failed: "Failed",
}


class SimulatedNode(SimulatedPayments, SimulatedInvoices, SimulatedChannels):
    """A `backends.operations.Node` of the simulated network, of one part per job, with a test's hands on it."""

    abilities = Abilities(
        kind="The simulated node",
        offers=False,
        interception=False,
        splicing=False,
        pending_channel_fees=False,
    )

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """A node of this name, whose key follows from it; `now_s` is the wall clock, unix time."""
        super().__init__(network, name, now_s)
        self.is_synced = True
        network.join(self)

    async def info(self) -> NodeInfo:
        """Identity and chain view."""
        await self._answer()
        return NodeInfo(
            public_key=self.public_key.hex(),
            alias=self.name,
            network="regtest",
            block_height=self.network.chain.height,
            synced_to_chain=self.is_synced,
        )

    async def balances(self) -> Balances:
        """What wallet and network say; coins on their way, in either, are in none of the three."""
        await self._answer()
        return Balances(
            onchain_sat=self.onchain_sat,
            lightning_msat=self.network.holdings_msat(self.name),
            inbound_msat=self.network.receivable_msat(self.name),
        )

    async def transactions(self, start_unix_s: int, end_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments by the time they were begun, invoices by settling; a cancelled one counts as of time 0."""
        await self._answer()
        found = [_outbound(*item) for item in self._records.items()]
        ended = (self._up_to_date(invoice) for invoice in self.invoices.values())
        found += [_inbound(one) for one in ended if INVOICE_STATUSES[one.state] != "Pending"]
        within = [one for one in found if start_unix_s <= one.unix_s <= end_unix_s]
        return tuple(sorted(within, key=lambda one: one.unix_s))

    async def payments_since(self, start_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments by the time they were begun."""
        await self._answer()
        found = [_outbound(*item) for item in self._records.items()]
        within = [one for one in found if one.unix_s >= start_unix_s]
        return tuple(sorted(within, key=lambda one: one.unix_s))

    async def aclose(self) -> None:
        """Do nothing: there is no connection. The node stays for the next gateway."""


def _outbound(payment_hash: bytes, record: PaymentRecord) -> NodeTransaction:
    status = record.status
    return NodeTransaction(
        payment_hash=payment_hash,
        preimage=status.preimage if isinstance(status, Succeeded) else None,
        kind="Bolt11",
        amount_msat=record.amount_msat,
        direction="Outbound",
        status=_PAYMENT_STATUSES[type(status)],
        unix_s=record.begun_unix_s,
    )


def _inbound(invoice: NodeInvoice) -> NodeTransaction:
    status = INVOICE_STATUSES[invoice.state]
    is_settled = status == "Succeeded"
    return NodeTransaction(
        payment_hash=invoice.terms.payment_hash,
        preimage=invoice.preimage if is_settled else None,
        kind="Bolt11",
        amount_msat=invoice.paid_msat if is_settled else invoice.amount_msat,
        direction="Inbound",
        status=status,
        unix_s=invoice.settled_unix_s,
    )
