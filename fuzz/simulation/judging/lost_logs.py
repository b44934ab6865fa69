"""What only lost logs know: the events after a backup, and their effects that the books cannot hold.

Whatever the log that goes on knows of is judged as strictly as ever. What began after the backup is unknown to it:
what that moved is asked of node, chain and federations, so that the rest of the books must still agree to the msat.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.lightning import Succeeded
from backends.simulated.node import InvoiceState, SimulatedNode
from devnet.guardians.federation import EmbeddedFederation
from devnet.guardians.ledger import contract_amount_msat
from engine.machine import State, kind_of
from fedimint.lnv2 import HashImage, IncomingContract, OutgoingContract
from statemachines import deposit, image, receive, send, transaction, wallet
from statemachines.items import FundedContract

_CLAIMED = (
    *(send.Claiming, send.Claimed, receive.Refunding, receive.Refunded),
    *(deposit.Claiming, deposit.Claimed),
)


@dataclass
class LostLogs:
    """Of all lost logs together; empty as long as none is lost."""

    states: dict[str, State] = field(default_factory=dict)
    """Every stream as its log had it last."""
    given: set[str] = field(default_factory=set)
    """The nonces of ecash given away."""
    withdrawn_msat: dict[str, int] = field(default_factory=dict)
    """What signed transactions take out of their federation for an address, by txid."""
    spent: set[str] = field(default_factory=set)
    """The nonces that their transactions may have spent."""
    _signed: set[str] = field(default_factory=set)

    def remember(self, states: Mapping[str, State], given: Mapping[str, Mapping[str, int]]) -> None:
        """A log is lost that ended with these states and had given this ecash."""
        self.states |= states
        self.given.update(*given.values())
        self.spent |= self._signed

    def signed(
        self,
        event: transaction.TxSigned,
        before: transaction.Reserved,
        state_of: Callable[[str], State],
    ) -> None:
        """Some log, lost later or not, holds these bytes."""
        reservation = before.reservation
        keeper = state_of(transaction.wallet_of(reservation.federation_id))
        assert isinstance(keeper, wallet.Wallet)
        self._signed.update(note.nonce for note in keeper.spending.get(reservation.tx, ()))
        for output in reservation.outputs:
            if not isinstance(output, FundedContract):
                self.withdrawn_msat[event.txid] = output.value_sat * 1_000

    def have_claimed(self, stream: str) -> bool:
        """Whether bytes of a lost log may have claimed a contract, or taken it back, or claimed a deposit.

        Claimed again it is refused, and booked as lost beside the notes that are recovered.
        """
        return isinstance(self.states.get(stream), _CLAIMED)

    def spent_msat(self, event: wallet.NotesLost, before: wallet.Wallet) -> int:
        """How much of these notes lost logs may have spent, or given to somebody who has."""
        gone = (self.spent | self.given).intersection(event.nonces)
        return sum(note.amount_msat for note in before.spending[event.tx] if note.nonce in gone)

    # --- what no book can hold, `now` being the states of the log that goes on ---

    def node_msat(self, node: SimulatedNode, now: Mapping[str, State]) -> int:
        """What the node gained, or lost, by payments that only lost logs know."""
        gained_msat = 0
        # Of two contracts for one invoice, or an operator beside them, the node pays once.
        paying = self._unknown(now, "send", "operator_payment")
        for payment_hash, invoice_msat in {
            state.facts.payment_hash: state.facts.invoice_msat for state in paying
        }.items():
            record = node.payment(bytes.fromhex(payment_hash))
            if isinstance(record, Succeeded) and image.stream_of(payment_hash) not in now:
                gained_msat -= invoice_msat + record.fee_msat
        for state in self._unknown(now, "receive"):
            invoice = node.invoices.get(bytes.fromhex(state.facts.payment_hash))
            if invoice is not None and invoice.state is InvoiceState.SETTLED:
                gained_msat += invoice.paid_msat
        return gained_msat

    def deposited_msat(self, now: Mapping[str, State]) -> int:
        """Deposits that were claimed before the log that goes on could see them."""
        return sum(1_000 * state.output.value_sat for state in self._unknown(now, "deposit"))

    def paid_out_msat(self, federation: EmbeddedFederation, now: Mapping[str, State]) -> int:
        """Withdrawals that only lost logs know to be accepted."""
        known = {_txid(state) for stream, state in now.items() if kind_of(stream) == "tx"}
        accepted = {txid.hex() for txid in federation.consensus.accepted}
        return sum(
            amount_msat
            for txid, amount_msat in self.withdrawn_msat.items()
            if txid in accepted - known
        )

    def contracts_msat(self, federation: EmbeddedFederation, now: Mapping[str, State]) -> int:
        """Contracts that stay open since only lost logs know that they are the gateway's to claim."""
        return sum(
            contract_amount_msat(contract)
            for contract in federation.consensus.ledger.contracts.values()
            if (stream := _stream_of(contract)) in self.states and stream not in now
        )

    def _unknown(self, now: Mapping[str, State], *kinds: str) -> Iterator[Any]:
        for stream, state in self.states.items():
            if kind_of(stream) in kinds and stream not in now:
                yield state


def _txid(state: State) -> str:
    match state:
        case transaction.Signed(signed=signed) | transaction.Accepted(signed=signed):
            return signed.txid
        case transaction.Finished(txid=txid) | transaction.Rejected(txid=txid):
            return txid
        case _:
            return ""


def _stream_of(contract: OutgoingContract | IncomingContract) -> str:
    if isinstance(contract, OutgoingContract):
        return send.stream_of(contract.contract_id().hex())
    payment_image = contract.commitment.payment_image
    return receive.stream_of(
        payment_image.digest.hex() if isinstance(payment_image, HashImage) else ""
    )
