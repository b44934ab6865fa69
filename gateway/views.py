"""Requests and answers of the parts of the gateway, for the API and for programs.

Answers have the names and units of the HTTP API where it shows them as they are (fedimint-gateway-common/src/lib.rs,
`PersistedLogEntry` of fedimint-eventlog), so that nothing is copied on the way out; `api/` forms only the others.
"""

from typing import Literal

import msgspec

# `as` names for the API what it shows of the node, and asks of it, as it is.
from backends.lightning import NodeInfo as NodeInfo  # noqa: PLC0414
from backends.operations import Channel as Channel  # noqa: PLC0414
from backends.operations import InvoiceRecord as InvoiceRecord  # noqa: PLC0414
from backends.operations import NodeTransaction as NodeTransaction  # noqa: PLC0414
from fedimint.codec.wire_types import Duration
from fedimint.config import Version
from fedimint.lnv2.gateway_api import PaymentFee
from statemachines.node_order import OpenChannel as OpenChannel  # noqa: PLC0414
from statemachines.node_order import SendCoins as SendCoins  # noqa: PLC0414

Connectivity = Literal["disconnected", "degraded", "connected"]


class SystemTime(msgspec.Struct, frozen=True):
    """A moment as serde writes Rust's `SystemTime`."""

    secs_since_epoch: int
    nanos_since_epoch: int


class FederationConfig(msgspec.Struct, frozen=True):
    """What the gateway decided about one federation; `payment_policies` is [] or ["ReceivesDisabled"]."""

    invite_code: str
    federation_index: int
    lightning_fee: PaymentFee
    transaction_fee: PaymentFee
    payment_policies: tuple[str, ...]
    connector: str = msgspec.field(name="_connector", default="Tcp")


class FederationInfo(msgspec.Struct, frozen=True):
    """One joined federation; `balance_msat` is the ecash free to spend in it. Also the answer of `/connect_fed`."""

    federation_id: str
    federation_name: str | None
    balance_msat: int
    config: FederationConfig
    last_backup_time: SystemTime | None


class ExposureInfo(msgspec.Struct, frozen=True):
    """What would be lost with a federation, and how much that may be (`statemachines/exposure.py`). Ours alone.

    `refused_claim` names the payment whose claim it refused; while there is one nothing more is paid out of it.
    """

    federation_id: str
    exposure_msat: int
    cap_msat: int
    cap_is_default: bool
    refused_claim: str | None


class OpenPayment(msgspec.Struct, frozen=True):
    """A payment that is not over: its state, how long it has been in it, and what last went wrong.

    `federation_id` is None for what is between the operator and their node. `overdue` when the state lasts longer than
    it should (`statemachines/outlook.py`).
    """

    stream: str
    kind: str
    federation_id: str | None
    state: str
    since_unix_s: int
    age_s: int
    overdue: bool
    last_error: str | None


class GatewayStatus(msgspec.Struct, frozen=True):
    """Everything `/info` shows. `state` is Disconnected, Syncing, Connected, Running or ShuttingDown.

    `problems` are sentences about what an operator should look at; none when all is well. `frozen_until` names whom a
    restored log waits for, nobody when it is not frozen.
    """

    state: str
    lightning: NodeInfo | None
    federations: tuple[FederationInfo, ...]
    open_payments: tuple[OpenPayment, ...]
    problems: tuple[str, ...]
    frozen_until: tuple[str, ...]
    exposures: tuple[ExposureInfo, ...]
    public_url: str | None
    gateway_id: str


class FederationBalanceInfo(msgspec.Struct, frozen=True):
    """Ecash held in one federation."""

    federation_id: str
    ecash_balance_msats: int


class GatewayBalances(msgspec.Struct, frozen=True):
    """Answer of GET `/balances`."""

    onchain_balance_sats: int
    lightning_balance_msats: int
    ecash_balances: tuple[FederationBalanceInfo, ...]
    inbound_lightning_liquidity_msats: int


class Serving(msgspec.Struct, frozen=True):
    """How well a federation is served; `lnv2` is None when it has no such module."""

    connectivity: Connectivity
    lnv2: Version | None


class GuardianInvite(msgspec.Struct, frozen=True):
    """An invite code that leads to one guardian; it carries the federation's API secret, if there is one."""

    peer_id: int
    name: str
    invite_code: str


class FederationInvites(msgspec.Struct, frozen=True):
    """One invite code for each guardian of a federation."""

    federation_id: str
    guardians: tuple[GuardianInvite, ...]


class StoredClientConfig(msgspec.Struct, frozen=True):
    """A client config as upstream's `JsonClientConfig`: `{"global", "modules": {"<id>": {"kind", …}}}` in JSON."""

    federation_id: str
    config_json: bytes


class FeeChange(msgspec.Struct, frozen=True):
    """New fees for one federation, or for all with None. A part that is None stays as it is."""

    federation_id: str | None
    lightning_base_msat: int | None
    lightning_parts_per_million: int | None
    transaction_base_msat: int | None
    transaction_parts_per_million: int | None


class Verification(msgspec.Struct, frozen=True):
    """How a registered invoice stands: settled with its preimage of 32 bytes, failed with a reason, or pending."""

    preimage: bytes | None
    failure: str | None

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"Verification(settled={self.preimage is not None}, failure={self.failure!r})"


class MnemonicResponse(msgspec.Struct, frozen=True):
    """Answer of GET `/mnemonic`; `legacy_federations` are those that it does not bring back: none."""

    mnemonic: tuple[str, ...]
    legacy_federations: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "MnemonicResponse(…)"


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


class OperatorInvoiceRequest(msgspec.Struct, frozen=True):
    """An invoice that pays the node itself, with no federation behind it."""

    amount_msat: int
    expiry_s: int
    description: str


class NodeReplacement(msgspec.Struct, frozen=True):
    """One node in the place of another (public keys, hex), or what that would mean; `gives_up` are sentences.

    The answer of POST `/replace_node`.
    """

    old_node: str
    new_node: str
    is_replaced: bool
    gives_up: tuple[str, ...]


class LogQuery(msgspec.Struct, frozen=True):
    """Entries of one federation, newest first: at most `limit` with an id up to `end_id` (None: the newest).

    `kinds` empty stands for every kind.
    """

    federation_id: str
    end_id: int | None
    limit: int
    kinds: tuple[str, ...]


class ModuleOfEntry(msgspec.Struct, frozen=True):
    """The module that an entry of the log is about."""

    kind: str
    id: int


class PaymentLogEntry(msgspec.Struct, frozen=True):
    """One entry in upstream's form: kinds and payloads of fedimint-gwv2-client/src/events.rs. Ids may have gaps."""

    id: int
    kind: str
    module: ModuleOfEntry | None
    ts_usecs: int
    payload: msgspec.Raw


class PaymentStats(msgspec.Struct, frozen=True):
    """Payments of one direction within the time: fees in msat, latencies None when none succeeded."""

    average_latency: Duration | None
    median_latency: Duration | None
    total_fees: int
    total_success: int
    total_failure: int


class PaymentSummary(msgspec.Struct, frozen=True):
    """Sums over every federation; the answer of POST `/payment_summary`."""

    outgoing: PaymentStats
    incoming: PaymentStats
