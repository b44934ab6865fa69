"""Requests and responses of the HTTP API, field for field as Rust 0.13 writes them: the gateway and its federations.

Those of payments, treasury, node and history are in the files beside this one, those of lnv2 in
`fedimint/lnv2/gateway_api.py`; answers that the gateway gives as they are written are in its `*views.py`.
Source: fedimint-gateway-common/src/lib.rs. Amounts are integers of msat unless the name says sats; hashes and keys are
lower-case hex; rates are parts per million.

`GatewayInfo` has four fields more than Rust: `open_payments`, `problems`, `frozen_until` and `exposures`. Rust decodes
that struct without refusing unknown fields, so the Rust gateway-cli still reads it.
"""

from typing import Annotated, Literal

import msgspec

from fedimint.codec.json_types import Hash256Hex, Unsigned
from gateway import views

# A bitcoin for a virtual byte is more than anybody means.
SatsPerVbyte = Annotated[int, msgspec.Meta(ge=0, le=100_000_000)]


class Connected(msgspec.Struct, frozen=True):
    """The variant `{"connected": …}` of `LightningInfo`; the other one is the string "not_connected"."""

    connected: views.NodeInfo


class OpenPaymentInfo(msgspec.Struct, frozen=True):
    """A payment that is not over. Ours alone; `last_error` is null while nothing went wrong.

    `age_secs` is the age of its state, `overdue` whether that is more than it should be; `federation_id` is null for
    what the operator asked of the node.
    """

    id: str
    kind: str
    federation_id: str | None
    state: str
    age_secs: int
    overdue: bool
    last_error: str | None


class GatewayInfo(msgspec.Struct, frozen=True):
    """Answer of GET `/info`.

    `federations` is empty and `federation_fake_scids` null unless `gateway_state` is Running, as in
    Rust. `lightning_mode` is one variant of Rust's enum of that name, as the kind of node writes it; the Rust CLI fails
    on a variant it does not know. `registrations` maps a protocol ("http") to the public URL and the gateway's key.
    `problems` are sentences for the operator, none when all is well. `frozen_until` names whom a gateway that was
    restored from a backup waits for, nobody when nothing is frozen.
    """

    version_hash: str
    federations: tuple[views.FederationInfo, ...]
    federation_fake_scids: dict[str, str] | None
    gateway_state: str
    lightning_info: Connected | Literal["not_connected"]
    lightning_mode: msgspec.Raw
    registrations: dict[str, tuple[str, str]]
    open_payments: tuple[OpenPaymentInfo, ...]
    problems: tuple[str, ...]
    frozen_until: tuple[str, ...]
    exposures: tuple[views.ExposureInfo, ...]


class ConnectFedPayload(msgspec.Struct, frozen=True):
    """Body of POST `/connect_fed`; `use_tor` true is refused, `recover` absent means false."""

    invite_code: str
    use_tor: bool | None = None
    recover: bool | None = None


class FederationPayload(msgspec.Struct, frozen=True):
    """Body of every route that needs nothing but a federation."""

    federation_id: Hash256Hex


class LeaveFedPayload(msgspec.Struct, frozen=True):
    """Body of POST `/leave_fed`.

    `give_up`, ours alone, leaves though things are under way: the refusal without it says what that costs.
    """

    federation_id: Hash256Hex
    give_up: bool | None = None


class ConfigPayload(msgspec.Struct, frozen=True):
    """Body of POST `/config`; without an id, every federation."""

    federation_id: Hash256Hex | None = None


class GatewayFedConfig(msgspec.Struct, frozen=True):
    """Answer of POST `/config`: by federation, its `JsonClientConfig`."""

    federations: dict[str, msgspec.Raw]


class SetFeesPayload(msgspec.Struct, frozen=True):
    """Body of POST `/set_fees`: what is absent stays as it is; without an id, in every federation."""

    federation_id: Hash256Hex | None = None
    lightning_base: Unsigned | None = None
    lightning_parts_per_million: Unsigned | None = None
    transaction_base: Unsigned | None = None
    transaction_parts_per_million: Unsigned | None = None


class SetPaymentPolicyPayload(msgspec.Struct, frozen=True):
    """Body of POST `/set_payment_policy`; without an id, in every federation."""

    federation_id: Hash256Hex | None = None
    receive_enabled: bool | None = None


class SetExposureCapPayload(msgspec.Struct, frozen=True):
    """Body of POST `/set_exposure_cap`: without an id, in every federation; without a cap, the default.

    Like `/trust_again` it answers how the federations stand then, a list of ExposureInfo. Both are ours alone.
    """

    federation_id: Hash256Hex | None = None
    cap_msat: Unsigned | None = None


class SetMnemonicPayload(msgspec.Struct, frozen=True):
    """Body of POST `/mnemonic`; without words, new ones are made."""

    words: str | None = None

    def __repr__(self) -> str:
        return "SetMnemonicPayload(…)"
