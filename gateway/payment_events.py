"""Upstream's names for what happens to payments, ecash and coins: kinds, modules and payloads.

Sources: src/events.rs of fedimint-gwv2-client and fedimint-walletv2-client, src/event.rs of fedimint-mintv2-client.
Amounts of lnv2 and mintv2 are msat, of walletv2 satoshi; ids and hashes are hex.
"""

from enum import Enum
from typing import Final

import msgspec

from fedimint import lnv2, mintv2, walletv2
from fedimint.lnv2.json import CommitmentJson, OutgoingContractJson, PaymentImageJson


class EntryKind(Enum):
    """A kind of entry: its number in our tables, the kind of module it is about, and what upstream calls it."""

    OUTGOING_STARTED = 0, lnv2.KIND, "outgoing-payment-started"
    OUTGOING_SUCCEEDED = 1, lnv2.KIND, "outgoing-payment-succeeded"
    OUTGOING_FAILED = 2, lnv2.KIND, "outgoing-payment-failed"
    INCOMING_STARTED = 3, lnv2.KIND, "incoming-payment-started"
    INCOMING_SUCCEEDED = 4, lnv2.KIND, "incoming-payment-succeeded"
    INCOMING_FAILED = 5, lnv2.KIND, "incoming-payment-failed"
    COMPLETED = 6, lnv2.KIND, "complete-lightning-payment-succeeded"
    ECASH_SENT = 7, mintv2.KIND, "payment-send"
    ECASH_RECEIVED = 8, mintv2.KIND, "payment-receive"
    ECASH_DECIDED = 9, mintv2.KIND, "payment-receive-update"
    COINS_SENT = 10, walletv2.KIND, "payment-send"
    COINS_LEFT = 11, walletv2.KIND, "payment-send-update"
    COINS_RECEIVED = 12, walletv2.KIND, "payment-receive"
    COINS_CLAIMED = 13, walletv2.KIND, "payment-receive-update"

    def __init__(self, number: int, module: str, kind: str) -> None:
        self.number = number
        self.module = module
        self.kind = kind


#: What a query without kinds asks for: every kind there is. Of ecash and coins, upstream's list
#: (fedimint-gateway-server/src/lib.rs) has the kinds of older modules alone, so that nothing of the present ones would
#: show. The updates tell of a deposit or withdrawal that it failed.
DEFAULT_KINDS: Final = frozenset(one.kind for one in EntryKind)

#: Cancellations that upstream's enum has with a text and without (fedimint-gwv2-client/src/send_sm.rs).
_REASONS_WITH_TEXT = ("RegistrationError", "FinalizationError", "LightningRpcError")
_REASONS_ALONE = (
    "InvoiceExpired",
    "TimeoutTooClose",
    "Underfunded",
    "Rejected",
    "Refunded",
    "Failure",
    "DuplicatePayment",
)


class OutgoingStarted(msgspec.Struct, frozen=True):
    """Ours to pay; `operation_start` in Unix milliseconds, `max_delay` in blocks."""

    operation_start: int
    min_contract_amount: int
    invoice_amount: int
    max_delay: int
    outgoing_contract: OutgoingContractJson


class OutgoingSucceeded(msgspec.Struct, frozen=True):
    """`target_federation` is the receiver's when no Lightning was used."""

    payment_image: PaymentImageJson
    target_federation: str | None


class OutgoingFailed(msgspec.Struct, frozen=True):
    """`error` is a name, or a name with a text."""

    payment_image: PaymentImageJson
    error: str | dict[str, str]


class IncomingStarted(msgspec.Struct, frozen=True):
    """The receiver's contract is signed for; `operation_start` in Unix milliseconds."""

    operation_start: int
    invoice_amount: int
    incoming_contract_commitment: CommitmentJson


class Imaged(msgspec.Struct, frozen=True):
    """All that is told of an incoming payment that succeeded, and of HTLCs that are answered."""

    payment_image: PaymentImageJson


class IncomingFailed(msgspec.Struct, frozen=True):
    payment_image: PaymentImageJson
    error: str


class EcashSent(msgspec.Struct, frozen=True):
    """Upstream has the text in `ecash`, which is money to every reader: here it is empty."""

    operation_id: str
    amount: int
    ecash: str = ""


class EcashReceived(msgspec.Struct, frozen=True):
    operation_id: str
    amount: int


class CoinsSent(msgspec.Struct, frozen=True):
    operation_id: str
    address: str
    value: int
    fee: int


class CoinsReceived(msgspec.Struct, frozen=True):
    """`outpoint` is "txid:vout" on the chain; there is no address for one that this log does not know."""

    operation_id: str
    value: int
    fee: int
    outpoint: str
    address: str | msgspec.UnsetType = msgspec.UNSET


class Updated(msgspec.Struct, frozen=True):
    """How a `payment-send` or `payment-receive` ended: a name, or `{"Success": txid}`."""

    operation_id: str
    status: str | dict[str, str]


Payload = (
    OutgoingStarted
    | OutgoingSucceeded
    | OutgoingFailed
    | IncomingStarted
    | Imaged
    | IncomingFailed
    | EcashSent
    | EcashReceived
    | CoinsSent
    | CoinsReceived
    | Updated
)


def image_of(payment_hash: str) -> PaymentImageJson:
    """The image of a payment hash in hex."""
    return PaymentImageJson(hash=payment_hash)


def cancellation(reason: str, detail: str) -> str | dict[str, str]:
    """A reason as serde writes upstream's enum; one that is ours alone is shown as an error of Lightning."""
    if reason in _REASONS_ALONE:
        return reason
    return {reason if reason in _REASONS_WITH_TEXT else "LightningRpcError": detail}
