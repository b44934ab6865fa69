"""What the gateway tells about itself: frozen structs, made in `gateway/`, turned into JSON in `api/`."""

import msgspec


class PaymentFee(msgspec.Struct, frozen=True):
    """A fee of `base` msat plus a share of the amount (fedimint-lnv2-common/src/gateway_api.rs)."""

    base: int
    parts_per_million: int

    def __add__(self, other: "PaymentFee") -> "PaymentFee":
        return PaymentFee(self.base + other.base, self.parts_per_million + other.parts_per_million)


class LightningStatus(msgspec.Struct, frozen=True):
    """The Lightning node as last seen; `network` is one of bitcoin, testnet, testnet4, signet, regtest."""

    public_key: str
    alias: str
    network: str
    block_height: int
    synced_to_chain: bool


class FederationStatus(msgspec.Struct, frozen=True):
    """One joined federation; `balance_msat` is the ecash free to spend in it."""

    federation_id: str
    name: str | None
    balance_msat: int
    invite_code: str
    federation_index: int
    lightning_fee: PaymentFee
    transaction_fee: PaymentFee
    receive_enabled: bool


class OpenPayment(msgspec.Struct, frozen=True):
    """A payment that is not over: where it stands, since when, and what last went wrong."""

    stream: str
    kind: str
    federation_id: str
    state: str
    since_unix_s: int
    age_s: int
    last_error: str | None


class GatewayStatus(msgspec.Struct, frozen=True):
    """Everything `/info` shows. `state` is Disconnected, Syncing, Connected, Running or ShuttingDown."""

    state: str
    lightning: LightningStatus | None
    federations: tuple[FederationStatus, ...]
    open_payments: tuple[OpenPayment, ...]
    public_url: str | None
    gateway_id: str


class EcashBalance(msgspec.Struct, frozen=True):
    federation_id: str
    ecash_balance_msats: int


class GatewayBalances(msgspec.Struct, frozen=True):
    """Balances of chain, channels and each federation (gateway-common `GatewayBalances`)."""

    onchain_balance_sats: int
    lightning_balance_msats: int
    ecash_balances: tuple[EcashBalance, ...]
    inbound_lightning_liquidity_msats: int


class RoutingInfo(msgspec.Struct, frozen=True):
    """What an lnv2 client must know before it funds a contract (fedimint-lnv2-common `RoutingInfo`)."""

    lightning_public_key: str
    lightning_alias: str
    module_public_key: str
    send_fee_minimum: PaymentFee
    send_fee_default: PaymentFee
    expiration_delta_minimum: int
    expiration_delta_default: int
    receive_fee: PaymentFee
    receive_enabled: bool


class ContractRequest(msgspec.Struct, frozen=True):
    """The outgoing contract a sender says it funded; hex texts. Exactly one of hash and point is given."""

    payment_hash: str | None
    payment_point: str | None
    amount_msat: int
    expiration_block_height: int
    claim_pk: str
    refund_pk: str
    ephemeral_pk: str


class SendPaymentRequest(msgspec.Struct, frozen=True):
    """A request to pay `invoice` (BOLT11) for the contract at an out point; `auth` is signed by the refund key."""

    federation_id: str
    txid: str
    out_idx: int
    contract: ContractRequest
    invoice: str
    auth: str


class Paid(msgspec.Struct, frozen=True):
    """The invoice is paid and the claim durable: 32 bytes."""

    preimage: bytes


class Forfeited(msgspec.Struct, frozen=True):
    """The payment is cancelled for ever; the 64-byte signature returns the contract to its sender at once."""

    forfeit_signature: bytes
