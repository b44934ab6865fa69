"""Requests and answers about ecash and coins: withdrawals, deposits, notes."""

import msgspec


class WithdrawalRequest(msgspec.Struct, frozen=True):
    """Pay `amount_sat` out of a federation to a bitcoin address; None sends all there is after fees.

    `quoted_fee_sat` is the highest on-chain fee the operator agreed to, None takes the current one.
    """

    federation_id: str
    address: str
    amount_sat: int | None
    quoted_fee_sat: int | None


class Withdrawal(msgspec.Struct, frozen=True):
    """A withdrawal the federation accepted: the bitcoin txid as wallets write it, what it pays, the on-chain fee."""

    txid: str
    amount_sat: int
    fee_sat: int


class SentEcash(msgspec.Struct, frozen=True):
    """Ecash that the operator asked for as text: `Preparing`, `Given`, or `GiftRefused` with its reason.

    One element of the answer of POST `/list_sent_ecash`.
    """

    id: str
    federation_id: str
    amount_msat: int = msgspec.field(name="amount_msats")
    state: str
    asked_unix_s: int
    reason: str | None


class PeginRequest(msgspec.Struct, frozen=True):
    """Send coins of the Lightning node to a federation; `amount_sat` None sends all."""

    federation_id: str
    amount_sat: int | None
    sat_per_vbyte: int
