"""The ln module (v1) and gateways: the record a gateway registers, its signatures, its JSON.

Source: fedimint-ln-common src/lib.rs, src/route_hints.rs.
"""

import hashlib

import msgspec

from fedimint.codec.encoding import (
    BOOL,
    BYTES32,
    STRING,
    U16,
    U32,
    U64,
    StructCodec,
    option,
    struct,
    vec,
)
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import G1, PEER_ID, PUBLIC_KEY, Duration, PeerId


class RouteHintHop(msgspec.Struct, frozen=True):
    """A channel to take towards the gateway's node, from `src_node_id` (33 bytes)."""

    src_node_id: bytes
    short_channel_id: int
    base_msat: int
    proportional_millionths: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int | None
    htlc_maximum_msat: int | None


class RoutingFees(msgspec.Struct, frozen=True):
    """What the gateway charges; both fit into 32 bits."""

    base_msat: int
    proportional_millionths: int


class LightningGateway(msgspec.Struct, frozen=True):
    """The record: keys have 33 bytes, `federation_index` is the short channel id of invoices."""

    federation_index: int
    gateway_redeem_key: bytes
    node_pub_key: bytes
    lightning_alias: str
    api: str
    route_hints: tuple[tuple[RouteHintHop, ...], ...]
    fees: RoutingFees
    gateway_id: bytes
    supports_private_payments: bool


_HOP: StructCodec[RouteHintHop] = struct(
    RouteHintHop,
    src_node_id=PUBLIC_KEY,
    short_channel_id=U64,
    base_msat=U32,
    proportional_millionths=U32,
    cltv_expiry_delta=U16,
    htlc_minimum_msat=option(U64),
    htlc_maximum_msat=option(U64),
)
LIGHTNING_GATEWAY: StructCodec[LightningGateway] = struct(
    LightningGateway,
    federation_index=U64,
    gateway_redeem_key=PUBLIC_KEY,
    node_pub_key=PUBLIC_KEY,
    lightning_alias=STRING,
    api=SAFE_URL,
    route_hints=vec(vec(_HOP)),
    fees=struct(RoutingFees, base_msat=U32, proportional_millionths=U32),
    gateway_id=PUBLIC_KEY,
    supports_private_payments=BOOL,
)


def registration_digest(threshold_pub_key: bytes, nonce: int, gateway: LightningGateway) -> bytes:
    """Return the 32 bytes signed by the gateway id's key; the threshold key has 48 bytes (G1)."""
    out = bytearray(b"register-gateway")
    G1.write(out, threshold_pub_key)
    U64.write(out, nonce)
    LIGHTNING_GATEWAY.write(out, gateway)
    return hashlib.sha256(out).digest()


def removal_digest(threshold_pub_key: bytes, peer: PeerId, challenge: bytes) -> bytes:
    """Return the 32 bytes signed by the gateway id's key to be removed from one guardian."""
    out = bytearray(b"remove-gateway")
    G1.write(out, threshold_pub_key)
    PEER_ID.write(out, peer)
    BYTES32.write(out, challenge)
    return hashlib.sha256(out).digest()


class RouteHintHopJson(msgspec.Struct, frozen=True):
    """JSON form of `RouteHintHop`."""

    src_node_id: str
    short_channel_id: int
    base_msat: int
    proportional_millionths: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int | None
    htlc_maximum_msat: int | None


class LightningGatewayJson(msgspec.Struct, frozen=True):
    """JSON form of `LightningGateway`."""

    mint_channel_id: int
    gateway_redeem_key: str
    node_pub_key: str
    lightning_alias: str
    api: str
    route_hints: tuple[tuple[RouteHintHopJson, ...], ...]
    fees: RoutingFees
    gateway_id: str
    supports_private_payments: bool

    def decode(self) -> LightningGateway:
        """Return the typed form. Raises `DecodeError` on keys off the curve."""
        return LightningGateway(
            self.mint_channel_id,
            PUBLIC_KEY.decode_hex(self.gateway_redeem_key),
            PUBLIC_KEY.decode_hex(self.node_pub_key),
            self.lightning_alias,
            self.api,
            tuple(tuple(_hop_of(hop) for hop in route) for route in self.route_hints),
            self.fees,
            PUBLIC_KEY.decode_hex(self.gateway_id),
            self.supports_private_payments,
        )

    @classmethod
    def of(cls, gateway: LightningGateway) -> "LightningGatewayJson":
        """Return the JSON form."""
        return cls(
            gateway.federation_index,
            gateway.gateway_redeem_key.hex(),
            gateway.node_pub_key.hex(),
            gateway.lightning_alias,
            gateway.api,
            tuple(tuple(_hop_json(hop) for hop in route) for route in gateway.route_hints),
            gateway.fees,
            gateway.gateway_id.hex(),
            gateway.supports_private_payments,
        )


class RegistrationAuthJson(msgspec.Struct, frozen=True):
    """The proof: a nonce that grows, and a signature (hex) over `registration_digest`."""

    nonce: int
    signature: str


class AnnouncementJson(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What `register_gateway` takes and `list_gateways` gives."""

    info: LightningGatewayJson
    vetted: bool
    ttl: Duration
    auth: RegistrationAuthJson | None = None


def _hop_of(hop: RouteHintHopJson) -> RouteHintHop:
    fields = msgspec.structs.asdict(hop)
    return RouteHintHop(**fields | {"src_node_id": PUBLIC_KEY.decode_hex(hop.src_node_id)})


def _hop_json(hop: RouteHintHop) -> RouteHintHopJson:
    fields = msgspec.structs.asdict(hop)
    return RouteHintHopJson(**fields | {"src_node_id": hop.src_node_id.hex()})
