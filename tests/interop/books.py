"""What a transaction of the gateway moved, by its signed bytes and the federation's fees."""

from collections.abc import Mapping
from typing import NamedTuple

from fedimint import lnv2, mintv2
from fedimint.config import ClientConfig
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.selection import SMALLEST_DENOMINATION, cost_msat
from fedimint.transaction import TRANSACTION


class Books(NamedTuple):
    """All in msat. `smallest_msat` is what it would have cost to issue one more smallest note."""

    contracts_msat: int
    spent_notes_msat: int
    issued_notes_msat: int
    fees_msat: int
    smallest_msat: int

    @property
    def dust_msat(self) -> int:
        """What no note was small enough for, left to the federation."""
        came_in = self.contracts_msat + self.spent_notes_msat
        return came_in - self.issued_notes_msat - self.fees_msat

    @property
    def gain_msat(self) -> int:
        """How the gateway's ecash changed."""
        return self.issued_notes_msat - self.spent_notes_msat

    def is_exact(self) -> bool:
        """Whether everything that came in became notes, but for fees and unavoidable dust."""
        return 0 <= self.dust_msat < self.smallest_msat


def books_of(
    encoded: bytes, config: ClientConfig, contracts_msat: Mapping[tuple[str, int], int]
) -> Books:
    """The books of one transaction, given what each contract holds by txid (hex) and index."""
    lightning, mint = config.find(LnV2ClientConfig), config.find(MintV2ClientConfig)
    assert lightning is not None
    assert mint is not None
    lightning_fee, mint_fee = lightning[1].fee_consensus, mint[1].fee_consensus
    transaction = TRANSACTION.decode(encoded)
    claimed_msat = spent_msat = issued_msat = fees_msat = 0
    for item in transaction.inputs:
        if item.module_instance_id == lightning[0]:
            claim = lnv2.INPUT.decode(item.body)
            assert isinstance(claim, lnv2.InputV0)
            assert isinstance(claim.inner, lnv2.OutgoingInput)
            point = claim.inner.out_point
            amount_msat = contracts_msat[point.txid.hex(), point.out_idx]
            claimed_msat += amount_msat
            fees_msat += lightning_fee.fee_msat(amount_msat)
        else:
            spent = mintv2.INPUT.decode(item.body)
            assert isinstance(spent, mintv2.MintInput)
            spent_msat += spent.note.amount_msat()
            fees_msat += mint_fee.fee_msat(spent.note.amount_msat())
    for item in transaction.outputs:
        issued = mintv2.OUTPUT.decode(item.body)
        assert isinstance(issued, mintv2.MintOutput)
        issued_msat += issued.amount_msat()
        fees_msat += mint_fee.fee_msat(issued.amount_msat())
    smallest_msat = cost_msat(SMALLEST_DENOMINATION, mint_fee)
    return Books(claimed_msat, spent_msat, issued_msat, fees_msat, smallest_msat)
