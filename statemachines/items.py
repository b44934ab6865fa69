"""Inputs and outputs of federation transactions, as plain facts that events can hold.

Ids, keys and scripts are hex. Structs with a field added later leave defaults out, so that old histories keep
their hashes.

`module` is the kind of module that each belongs to. Its tag says the same, so that another kind's stand beside it in
the same lists. Notes and issues are many: each is an array that begins with a short tag, "m2" for mintv2.
"""

from typing import ClassVar

import msgspec

# --- what goes in ------------------------------------------------------------------------------------------------


class ContractClaim(msgspec.Struct, frozen=True, tag="lnv2.outgoing"):
    """An outgoing lnv2 contract claimed with its preimage (hex). `amount_msat` is the contract's."""

    module: ClassVar[str] = "lnv2"
    txid: str
    out_idx: int
    amount_msat: int
    preimage: str


class IncomingRefund(msgspec.Struct, frozen=True, tag="lnv2.incoming"):
    """An incoming lnv2 contract of ours whose preimage was none, taken back with its decryption key."""

    module: ClassVar[str] = "lnv2"
    txid: str
    out_idx: int
    amount_msat: int
    decryption_key: str


class DepositClaim(msgspec.Struct, frozen=True, tag="walletv2.deposit"):
    """A walletv2 output on an address of ours, claimed at a fee for the miners."""

    module: ClassVar[str] = "walletv2"
    output_index: int
    address_index: int
    value_sat: int
    fee_sat: int

    @property
    def amount_msat(self) -> int:
        """What it brings into the transaction, before the module's fee."""
        return (self.value_sat - self.fee_sat) * 1_000


class ForeignNote(msgspec.Struct, frozen=True, tag="mintv2.note"):
    """A note that somebody gave us, reissued before they spend it again. Its key is in no event."""

    module: ClassVar[str] = "mintv2"
    denomination: int
    nonce: str

    @property
    def amount_msat(self) -> int:
        return 1 << self.denomination


Claim = ContractClaim | IncomingRefund | DepositClaim | ForeignNote


class HeldNote(msgspec.Struct, frozen=True, array_like=True, tag="m2"):
    """A mintv2 note of ours: its key follows from mnemonic, denomination and tweak. All fields but one are hex."""

    module: ClassVar[str] = "mintv2"
    denomination: int
    tweak: str
    nonce: str
    signature: str

    @property
    def amount_msat(self) -> int:
        return 1 << self.denomination


# --- what comes out ----------------------------------------------------------------------------------------------


class FundedContract(msgspec.Struct, frozen=True, tag="lnv2.incoming"):
    """An incoming lnv2 contract (hex of its consensus encoding), funded by us."""

    module: ClassVar[str] = "lnv2"
    contract: str
    amount_msat: int


class PegOut(msgspec.Struct, frozen=True, tag="walletv2.peg_out"):
    """Bitcoin to a scriptPubKey (hex), with a fee for the miners on top."""

    module: ClassVar[str] = "walletv2"
    script: str
    value_sat: int
    fee_sat: int

    @property
    def amount_msat(self) -> int:
        """What it takes out of the transaction, before the module's fee."""
        return (self.value_sat + self.fee_sat) * 1_000


Output = FundedContract | PegOut


class Issue(msgspec.Struct, frozen=True, array_like=True, tag="m2"):
    """A mintv2 note to be issued. An empty `tweak` (hex) means that the pool was empty: one is ground when building."""

    module: ClassVar[str] = "mintv2"
    denomination: int
    tweak: str


# --- the whole ---------------------------------------------------------------------------------------------------


class Reservation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that decides a transaction but its nonce and the notes that it spends.

    `tx` is the stream of the transaction, `parent` the stream that is told what becomes of it. The outputs come
    before the notes, in their order: the first one is output 0. `spends` are the denominations of the notes that it
    spends, in their order: its wallet keeps the notes for it. What somebody waits for must be signed until
    `sign_by_unix_s`, or is abandoned; 0 stands for no hurry.
    """

    tx: str
    parent: str
    federation_id: str
    claims: tuple[Claim, ...]
    spends: tuple[int, ...]
    issues: tuple[Issue, ...]
    input_fee_msat: int
    output_fee_msat: int
    outputs: tuple[Output, ...] = ()
    sign_by_unix_s: int = 0

    @property
    def in_msat(self) -> int:
        """What goes in, before fees."""
        return sum(claim.amount_msat for claim in self.claims) + self.spent_msat

    @property
    def spent_msat(self) -> int:
        """The worth of the notes that it spends."""
        return sum(1 << denomination for denomination in self.spends)


class SignedTransaction(msgspec.Struct, frozen=True):
    """The consensus encoding with signatures, its id (hex), and the issues with every tweak filled in."""

    txid: str
    encoded: bytes
    issues: tuple[Issue, ...]
