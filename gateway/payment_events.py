"""Upstream's names for what happens to payments, ecash and coins: kinds, modules and payloads.

Sources: src/events.rs of fedimint-gwv2-client and fedimint-walletv2-client, src/event.rs of fedimint-mintv2-client.
Amounts of lnv2 and mintv2 are msat, of walletv2 satoshi; ids and hashes are hex. Contracts and addresses, which are
long to write and seldom read, are added to a payload when somebody looks at it.
"""

import msgspec

from fedimint import lnv2
from fedimint.codec import addresses
from fedimint.codec.wire_types import Network
from fedimint.lnv2.json import CommitmentJson, OutgoingContractJson, PaymentImageJson

OUTGOING_STARTED = "outgoing-payment-started"
OUTGOING_SUCCEEDED = "outgoing-payment-succeeded"
OUTGOING_FAILED = "outgoing-payment-failed"
INCOMING_STARTED = "incoming-payment-started"
INCOMING_SUCCEEDED = "incoming-payment-succeeded"
INCOMING_FAILED = "incoming-payment-failed"
COMPLETED = "complete-lightning-payment-succeeded"
SEND = "payment-send"
SEND_UPDATE = "payment-send-update"
RECEIVE = "payment-receive"
RECEIVE_UPDATE = "payment-receive-update"

#: What a query without kinds asks for: every kind there is. Of ecash and coins, upstream's list
#: (fedimint-gateway-server/src/lib.rs) has the kinds of older modules alone, so that nothing of the present ones would
#: show. The updates tell of a deposit or withdrawal that it failed.
DEFAULT_KINDS = (
    OUTGOING_STARTED,
    OUTGOING_SUCCEEDED,
    OUTGOING_FAILED,
    INCOMING_STARTED,
    INCOMING_SUCCEEDED,
    INCOMING_FAILED,
    COMPLETED,
    SEND,
    SEND_UPDATE,
    RECEIVE,
    RECEIVE_UPDATE,
)

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
    """`outpoint` is "txid:vout" on the chain."""

    operation_id: str
    value: int
    fee: int
    outpoint: str


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


def with_subject(
    module: str, kind: str, payload: bytes, subject: bytes | None, network: Network
) -> bytes:
    """A stored payload (JSON) as it is shown: with the contract, or the address of the script, that it is about."""
    if subject is None:
        return payload
    fields: dict[str, object] = msgspec.json.decode(payload)
    if module != lnv2.KIND:
        fields["address"] = addresses.segwit_address(subject, network)
    elif kind == OUTGOING_STARTED:
        contract = lnv2.OUTGOING_CONTRACT.decode(subject)
        fields["outgoing_contract"] = OutgoingContractJson.of(contract)
    else:
        commitment = lnv2.INCOMING_CONTRACT.decode(subject).commitment
        fields["incoming_contract_commitment"] = CommitmentJson.of(commitment)
    return msgspec.json.encode(fields)
