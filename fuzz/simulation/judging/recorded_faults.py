"""Recorded faults of others and of the program around one gateway, by which losses are judged."""

from dataclasses import dataclass, field

from backends.lightning import NotFound, PaymentStatus, Succeeded
from backends.simulated.node import InvoiceState, SimulatedNode
from backends.simulated.payments import PaymentRecord


@dataclass
class Wrongs:
    """Ids and hashes are hex; federations are named by their ids."""

    refused: set[str] = field(default_factory=set)
    """Txids of good transactions that a federation refused."""
    taken: set[tuple[str, int]] = field(default_factory=set)
    """Deposits that somebody else claimed, by federation and index of the output."""
    given_up: set[str] = field(default_factory=set)
    """Payment hashes of HTLCs that the node cancelled by itself."""
    outlived: set[str] = field(default_factory=set)
    """Senders' contracts that ended while the gateway was away for long."""
    mistaken: set[str] = field(default_factory=set)
    """Streams of transactions that the program cannot build."""
    forgotten: set[str] = field(default_factory=set)
    """Payment hashes of invoices that the node has lost."""
    of_another_gateway: set[str] = field(default_factory=set)
    """Payment hashes of invoices that another gateway of the same node has made."""
    lost_records: dict[str, PaymentRecord] = field(default_factory=dict)
    """What the node knew of payments that it knows nothing of now."""
    paid_by_hand: dict[str, int] = field(default_factory=dict)
    """What the invoices ask for that somebody paid at the node by hand, msat by payment hash."""

    def payment(self, node: SimulatedNode, payment_hash: str) -> PaymentStatus:
        """How a payment stands, whatever the node knows of it."""
        known = node.payment(bytes.fromhex(payment_hash))
        lost = self.lost_records.get(payment_hash)
        return lost.status if isinstance(known, NotFound) and lost is not None else known

    def spent_by_hand_msat(self, node: SimulatedNode, payment_hash: str) -> int:
        """What left the node for an invoice that somebody paid by hand, routing included."""
        status = self.payment(node, payment_hash)
        if not isinstance(status, Succeeded):
            return 0
        return self.paid_by_hand[payment_hash] + status.fee_msat

    def paid_to_another_msat(self, node: SimulatedNode) -> int:
        """What came to the node for another gateway."""
        theirs = (node.invoices[bytes.fromhex(name)] for name in self.of_another_gateway)
        return sum(one.paid_msat for one in theirs if one.state is InvoiceState.SETTLED)
