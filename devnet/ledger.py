"""What the embedded guardians agree on: notes spent and asked for, contracts open, preimages shown.

A transaction is processed on a `Draft` over the `Ledger`, which then takes all of it or nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedimint.lnv2 import IncomingContract, OutgoingContract
from fedimint.mintv2 import MintOutput, Note
from fedimint.wire_types import ContractId, OutPoint


def contract_amount_msat(contract: OutgoingContract | IncomingContract) -> int:
    """Return what the contract holds."""
    if isinstance(contract, OutgoingContract):
        return contract.amount_msat
    return contract.commitment.amount_msat


@dataclass
class Ledger:
    """The committed state. Nonces have 33 bytes, preimages 32."""

    spent_nonces: set[bytes] = field(default_factory=set)
    issued: dict[OutPoint, MintOutput] = field(default_factory=dict)
    contracts: dict[OutPoint, OutgoingContract | IncomingContract] = field(default_factory=dict)
    incoming: dict[OutPoint, IncomingContract] = field(default_factory=dict)
    """All ever funded, also those spent: their decryption shares stay available."""
    incoming_out_points: dict[ContractId, OutPoint] = field(default_factory=dict)
    preimages: dict[OutPoint, bytes] = field(default_factory=dict, repr=False)
    pegged_in_msat: int = 0
    """Bitcoin that came in from outside."""
    notes_msat: int = 0
    """Face value of all notes issued less all notes spent."""
    kept_msat: int = 0
    """Fees and overpayments of all transactions."""

    def peg_in_notes(self, amount_msat: int) -> None:
        """Record notes issued against bitcoin from outside."""
        self.pegged_in_msat += amount_msat
        self.notes_msat += amount_msat


class Draft:
    """The changes of one transaction, seen on top of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._spent: dict[bytes, Note] = {}
        self._issued: dict[OutPoint, MintOutput] = {}
        self._opened: dict[OutPoint, OutgoingContract | IncomingContract] = {}
        self._closed: set[OutPoint] = set()
        self._preimages: dict[OutPoint, bytes] = {}

    def spend_note(self, note: Note) -> bool:
        """Return False when the nonce is spent already, by whatever note."""
        if note.nonce in self._spent or note.nonce in self._ledger.spent_nonces:
            return False
        self._spent[note.nonce] = note
        return True

    def issue_note(self, out_point: OutPoint, output: MintOutput) -> None:
        self._issued[out_point] = output

    def open_contract(
        self, out_point: OutPoint, contract: OutgoingContract | IncomingContract
    ) -> None:
        self._opened[out_point] = contract

    def close_outgoing(self, out_point: OutPoint) -> OutgoingContract | None:
        """Take an outgoing contract out; None when there is none open."""
        contract = self._open_at(out_point)
        if not isinstance(contract, OutgoingContract):
            return None
        self._closed.add(out_point)
        return contract

    def close_incoming(self, out_point: OutPoint) -> IncomingContract | None:
        """Take an incoming contract out; None when there is none open."""
        contract = self._open_at(out_point)
        if not isinstance(contract, IncomingContract):
            return None
        self._closed.add(out_point)
        return contract

    def show_preimage(self, out_point: OutPoint, preimage: bytes) -> None:
        self._preimages[out_point] = preimage

    def commit(self, kept_msat: int) -> None:
        """Write everything to the ledger; the draft is used up."""
        ledger = self._ledger
        ledger.spent_nonces.update(self._spent)
        ledger.issued.update(self._issued)
        for out_point in self._closed:
            del ledger.contracts[out_point]
        ledger.contracts.update(self._opened)
        for out_point, contract in self._opened.items():
            if isinstance(contract, IncomingContract):
                ledger.incoming[out_point] = contract
                ledger.incoming_out_points[contract.contract_id()] = out_point
        ledger.preimages.update(self._preimages)
        ledger.notes_msat += _total_msat(self._issued) - _total_msat(self._spent)
        ledger.kept_msat += kept_msat

    def _open_at(self, out_point: OutPoint) -> OutgoingContract | IncomingContract | None:
        # The outputs of a transaction come after its inputs, so none of its own can be spent by it.
        return None if out_point in self._closed else self._ledger.contracts.get(out_point)


def _total_msat(items: Mapping[OutPoint, MintOutput] | Mapping[bytes, Note]) -> int:
    return sum(item.amount_msat() for item in items.values())
