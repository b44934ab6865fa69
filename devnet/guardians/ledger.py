"""What the embedded guardians agree on: notes spent and asked for, contracts, preimages, bitcoin.

A transaction is processed on a `Draft` over the `Ledger`, which then takes all of it or nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from devnet.guardians.chain_wallet import ChainWallet, WalletDraft
from fedimint.codec.wire_types import ContractId, OutPoint
from fedimint.lnv2 import IncomingContract, OutgoingContract
from fedimint.mintv2 import MintOutput, Note


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
    denominations: dict[bytes, int] = field(default_factory=dict)
    """By blinded nonce, of all notes ever issued."""
    mint_items: list[Note | MintOutput] = field(default_factory=list)
    """All notes spent and issued, in their order."""
    contracts: dict[OutPoint, OutgoingContract | IncomingContract] = field(default_factory=dict)
    incoming: dict[OutPoint, IncomingContract] = field(default_factory=dict)
    """All ever funded, also those spent: their decryption shares stay available."""
    incoming_out_points: dict[ContractId, OutPoint] = field(default_factory=dict)
    incoming_stream: list[OutPoint] = field(default_factory=list)
    """Of `incoming`, in their order."""
    preimages: dict[OutPoint, bytes] = field(default_factory=dict, repr=False)
    wallet: ChainWallet = field(default_factory=ChainWallet)
    faucet_owes_msat: int = 0
    """Notes the faucet gave, less the bitcoin it brought for them."""
    notes_msat: int = 0
    """Face value of all notes issued less all notes spent."""
    kept_msat: int = 0
    """Fees and overpayments of all transactions."""

    def give_notes(self, outputs: Iterable[MintOutput]) -> None:
        """Record notes that the faucet issues."""
        for output in outputs:
            self.record_issue(output)
            self.faucet_owes_msat += output.amount_msat()
            self.notes_msat += output.amount_msat()

    def record_issue(self, output: MintOutput) -> None:
        """Keep what recovery from the mnemonic needs of a note issued."""
        self.denominations[output.blinded_nonce] = output.denomination
        self.mint_items.append(output)


class Draft:
    """The changes of one transaction, seen on top of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.wallet = WalletDraft(ledger.wallet)
        self._ledger = ledger
        self._kept_msat = 0
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

    def keep(self, amount_msat: int) -> None:
        """Leave to the federation what an item neither brings nor takes."""
        self._kept_msat += amount_msat

    def commit(self, kept_msat: int) -> None:
        """Write everything to the ledger; the draft is used up.

        `kept_msat` is the fees and overpayments of the items.
        """
        ledger = self._ledger
        ledger.spent_nonces.update(self._spent)
        ledger.mint_items += self._spent.values()
        ledger.issued.update(self._issued)
        for output in self._issued.values():
            ledger.record_issue(output)
        for out_point in self._closed:
            del ledger.contracts[out_point]
        ledger.contracts.update(self._opened)
        for out_point, contract in self._opened.items():
            if isinstance(contract, IncomingContract):
                ledger.incoming[out_point] = contract
                ledger.incoming_out_points[contract.contract_id()] = out_point
                ledger.incoming_stream.append(out_point)
        ledger.preimages.update(self._preimages)
        ledger.notes_msat += _total_msat(self._issued) - _total_msat(self._spent)
        ledger.kept_msat += kept_msat + self._kept_msat
        self.wallet.commit()

    def _open_at(self, out_point: OutPoint) -> OutgoingContract | IncomingContract | None:
        # The outputs of a transaction come after its inputs, so none of its own can be spent by it.
        return None if out_point in self._closed else self._ledger.contracts.get(out_point)


def _total_msat(items: Mapping[OutPoint, MintOutput] | Mapping[bytes, Note]) -> int:
    return sum(item.amount_msat() for item in items.values())
