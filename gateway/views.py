"""What the gateway is asked and tells about itself, its federations and their payments.

Frozen structs: those of answers are made in `gateway/` and turned into JSON in `api/`, requests the other way round.
"""

from typing import Literal

import msgspec

from fedimint.lnv2_gateway_api import PaymentFee

Connectivity = Literal["disconnected", "degraded", "connected"]


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


class FederationExposure(msgspec.Struct, frozen=True):
    """What would be lost with a federation, and how much that may be (`statemachines/exposure.py`).

    `refused_claim` is the stream whose claim it refused; while there is one nothing more is paid out of it.
    """

    federation_id: str
    exposure_msat: int
    cap_msat: int
    cap_is_default: bool
    refused_claim: str | None


class OpenPayment(msgspec.Struct, frozen=True):
    """A payment that is not over: its state, how long it has been in it, and what last went wrong.

    `federation_id` is None for what is between the operator and his node. `overdue` when the state lasts longer than
    it should (`gateway/overdue.py`).
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
    lightning: LightningStatus | None
    federations: tuple[FederationStatus, ...]
    open_payments: tuple[OpenPayment, ...]
    problems: tuple[str, ...]
    frozen_until: tuple[str, ...]
    exposures: tuple[FederationExposure, ...]
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


class ModuleVersion(msgspec.Struct, frozen=True):
    """The consensus version of one module of a federation."""

    major: int
    minor: int


class Serving(msgspec.Struct, frozen=True):
    """How well a federation is served; `lnv2` is None when it has no such module."""

    connectivity: Connectivity
    lnv2: ModuleVersion | None


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


class Words(msgspec.Struct, frozen=True):
    """The mnemonic. Its repr shows none of it."""

    words: tuple[str, ...]

    def __repr__(self) -> str:
        return "Words(…)"


class Verification(msgspec.Struct, frozen=True):
    """How a registered invoice stands: settled with its preimage of 32 bytes, failed with a reason, or pending."""

    preimage: bytes | None
    failure: str | None

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"Verification(settled={self.preimage is not None}, failure={self.failure!r})"
