"""Requests and responses of the HTTP API, field for field as Rust 0.13 writes them.

Only the standard library and msgspec are imported, so that every client can use these types. Sources:
fedimint-gateway-common/src/lib.rs and fedimint-lnv2-common/src/gateway_api.rs. Amounts are integers of
msat unless the name says sats; hashes and keys are lower-case hex; rates are parts per million.

`GatewayInfo` has one field more than Rust: `open_payments`. Rust decodes that struct without refusing
unknown fields, so the Rust gateway-cli still reads it.
"""

from typing import Annotated, Literal

import msgspec

# Rust reads hex of either case. `\Z`, since `$` would let a newline through.
Hash256Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}\\Z")]
PublicKeyHex = Annotated[str, msgspec.Meta(pattern="^0[23][0-9a-fA-F]{64}\\Z")]
SchnorrSignatureHex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{128}\\Z")]
# Rust has u64. No amount of bitcoin and no block height needs the highest bit.
Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PaymentFee(msgspec.Struct, frozen=True):
    """`base` in msat plus a share of the amount."""

    base: int
    parts_per_million: int


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
    """One joined federation; also the answer of `/connect_fed`."""

    federation_id: str
    federation_name: str | None
    balance_msat: int
    config: FederationConfig
    last_backup_time: SystemTime | None


class ConnectedLightning(msgspec.Struct, frozen=True):
    """`network` is one of bitcoin, testnet, testnet4, signet, regtest."""

    public_key: str
    alias: str
    network: str
    block_height: int
    synced_to_chain: bool


class Connected(msgspec.Struct, frozen=True):
    """The variant `{"connected": …}` of `LightningInfo`; the other one is the string "not_connected"."""

    connected: ConnectedLightning


class LndModeSettings(msgspec.Struct, frozen=True):
    """How LND is reached: an address and two file paths, never the files' contents."""

    lnd_rpc_addr: str
    lnd_tls_cert: str
    lnd_macaroon: str
    lnd_time_pref: float
    lnd_payment_timeout_secs: int


class LndMode(msgspec.Struct, frozen=True):
    """The variant `{"Lnd": …}` of `LightningMode`. The Rust CLI fails on a variant it does not know."""

    lnd: LndModeSettings = msgspec.field(name="Lnd")


class OpenPaymentInfo(msgspec.Struct, frozen=True):
    """A payment that is not over. Ours alone; `last_error` is null while nothing went wrong."""

    id: str
    kind: str
    federation_id: str
    state: str
    age_secs: int
    last_error: str | None


class GatewayInfo(msgspec.Struct, frozen=True):
    """Answer of GET `/info`.

    `federations` is empty and `federation_fake_scids` null unless `gateway_state` is Running, as in
    Rust. `registrations` maps a protocol ("http") to the public URL and the gateway's key.
    """

    version_hash: str
    federations: tuple[FederationInfo, ...]
    federation_fake_scids: dict[str, str] | None
    gateway_state: str
    lightning_info: Connected | Literal["not_connected"]
    lightning_mode: LndMode
    registrations: dict[str, tuple[str, str]]
    open_payments: tuple[OpenPaymentInfo, ...]


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


class ConnectFedPayload(msgspec.Struct, frozen=True):
    """Body of POST `/connect_fed`; `use_tor` true is refused, `recover` absent means false."""

    invite_code: str
    use_tor: bool | None = None
    recover: bool | None = None


class RoutingInfo(msgspec.Struct, frozen=True):
    """Answer of POST `/routing_info`, whose body is the federation id as a JSON string.

    The deltas are in blocks. The answer is null when the federation has no lnv2 module.
    """

    lightning_public_key: str
    lightning_alias: str
    module_public_key: str
    send_fee_minimum: PaymentFee
    send_fee_default: PaymentFee
    expiration_delta_minimum: int
    expiration_delta_default: int
    receive_fee: PaymentFee
    receive_enabled: bool


class OutPoint(msgspec.Struct, frozen=True):
    """Where the contract was funded; `txid` is a federation transaction, not reversed."""

    txid: Hash256Hex
    out_idx: Unsigned


class PaymentImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`{"Hash": …}` or `{"Point": …}`, never both; no Lightning payment has a point today."""

    hash: Hash256Hex | None = msgspec.field(name="Hash", default=None)
    point: PublicKeyHex | None = msgspec.field(name="Point", default=None)

    def __post_init__(self) -> None:
        if (self.hash is None) == (self.point is None):
            raise ValueError("Expected exactly one of `Hash` and `Point`")


class OutgoingContract(msgspec.Struct, frozen=True):
    """The lnv2 contract that the sender funded; `amount` in msat, `expiration` a block height."""

    payment_image: PaymentImage
    amount: Unsigned
    expiration: Unsigned
    claim_pk: PublicKeyHex
    refund_pk: PublicKeyHex
    ephemeral_pk: PublicKeyHex


class Bolt11Invoice(msgspec.Struct, frozen=True):
    """The variant `{"Bolt11": …}` of `LightningInvoice`, the only one there is."""

    bolt11: str = msgspec.field(name="Bolt11")


class SendPaymentPayload(msgspec.Struct, frozen=True):
    """Body of POST `/send_payment`; `auth` is a BIP-340 signature of the contract's refund key."""

    federation_id: Hash256Hex
    outpoint: OutPoint
    contract: OutgoingContract
    invoice: Bolt11Invoice
    auth: SchnorrSignatureHex


class SendPaymentOk(msgspec.Struct, frozen=True):
    """The preimage as Rust writes `[u8; 32]`: 32 integers."""

    ok: tuple[int, ...] = msgspec.field(name="Ok")


class SendPaymentErr(msgspec.Struct, frozen=True):
    """The forfeit signature, 128 hex characters."""

    err: str = msgspec.field(name="Err")
