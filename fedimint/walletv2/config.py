"""The client config of a walletv2 module.

Source: src/config.rs of fedimint-walletv2-common.
"""

import msgspec

from fedimint.codec.encoding import U64, Codec, StructCodec, enum, mapping, struct
from fedimint.codec.wire_types import (
    AMOUNT_SAT,
    NETWORK,
    PEER_ID,
    PUBLIC_KEY,
    WALLET_FEE_CONSENSUS,
    FeeConsensus,
    Network,
    PeerId,
)


class WshDescriptor(msgspec.Struct, frozen=True, tag="wsh"):
    """Deposits are P2WSH of a sorted multisig; the only known variant."""


class WalletV2ClientConfig(msgspec.Struct, frozen=True):
    """walletv2: the guardians' keys (33 bytes), and what a transaction costs."""

    bitcoin_pks: dict[PeerId, bytes]
    descriptor: WshDescriptor
    send_tx_vbytes: int
    receive_tx_vbytes: int
    feerate_base: int
    dust_limit_sat: int
    fee_consensus: FeeConsensus
    network: Network


_DESCRIPTOR: Codec[WshDescriptor] = enum({0: struct(WshDescriptor)})

WALLET_V2: StructCodec[WalletV2ClientConfig] = struct(
    WalletV2ClientConfig,
    bitcoin_pks=mapping(PEER_ID, PUBLIC_KEY),
    descriptor=_DESCRIPTOR,
    send_tx_vbytes=U64,
    receive_tx_vbytes=U64,
    feerate_base=U64,
    dust_limit_sat=AMOUNT_SAT,
    fee_consensus=WALLET_FEE_CONSENSUS,
    network=NETWORK,
)
