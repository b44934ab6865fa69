"""The client config of each module kind, decoded from the hex of a federation's config.

Source: src/config.rs of each fedimint-*-common crate.
"""

from typing import Any

import msgspec

from fedimint.codec.encoding import (
    STRING,
    U16,
    U32,
    U64,
    Codec,
    StructCodec,
    enum,
    mapping,
    struct,
)
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import (
    AMOUNT_MSAT,
    AMOUNT_SAT,
    DENOMINATION,
    FEE_CONSENSUS,
    G1,
    G2,
    NETWORK,
    NETWORK_LEGACY,
    PEER_ID,
    PUBLIC_KEY,
    WALLET_FEE_CONSENSUS,
    FeeConsensus,
    Network,
    PeerId,
)


class MintClientConfig(msgspec.Struct, frozen=True):
    """mint: keys (G2) by tier in msat, aggregate and by guardian."""

    tbs_pks: dict[int, bytes]
    fee_consensus: FeeConsensus
    peer_tbs_pks: dict[PeerId, dict[int, bytes]]
    max_notes_per_denomination: int


class MintV2ClientConfig(msgspec.Struct, frozen=True):
    """mintv2: keys (G2) by denomination (a power of two, msat), aggregate and by guardian."""

    tbs_agg_pks: dict[int, bytes]
    tbs_pks: dict[int, dict[PeerId, bytes]]
    fee_consensus: FeeConsensus
    amount_unit: int


class WalletFees(msgspec.Struct, frozen=True):
    """Flat fees of the wallet module, msat."""

    peg_in_msat: int
    peg_out_msat: int


class BitcoinRpc(msgspec.Struct, frozen=True):
    """A bitcoin backend the federation suggests to clients."""

    kind: str
    url: str


class WalletClientConfig(msgspec.Struct, frozen=True):
    """wallet: the descriptor deposits are tweaked from."""

    peg_in_descriptor: str
    network: Network
    finality_delay_blocks: int
    fee_consensus: WalletFees
    default_bitcoin_rpc: BitcoinRpc


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


class LnFees(msgspec.Struct, frozen=True):
    """Flat fees of the ln module, msat."""

    contract_input_msat: int
    contract_output_msat: int


class LnClientConfig(msgspec.Struct, frozen=True):
    """ln: the threshold_crypto public key (G1)."""

    threshold_pub_key: bytes
    fee_consensus: LnFees
    network: Network


class LnV2ClientConfig(msgspec.Struct, frozen=True):
    """lnv2: threshold encryption keys (G1), aggregate and by guardian."""

    tpe_agg_pk: bytes
    tpe_pks: dict[PeerId, bytes]
    fee_consensus: FeeConsensus
    network: Network


class MetaClientConfig(msgspec.Struct, frozen=True):
    """meta: nothing."""


MINT: StructCodec[MintClientConfig] = struct(
    MintClientConfig,
    tbs_pks=mapping(AMOUNT_MSAT, G2),
    fee_consensus=FEE_CONSENSUS,
    peer_tbs_pks=mapping(PEER_ID, mapping(AMOUNT_MSAT, G2)),
    max_notes_per_denomination=U16,
)
MINT_V2: StructCodec[MintV2ClientConfig] = struct(
    MintV2ClientConfig,
    tbs_agg_pks=mapping(DENOMINATION, G2),
    tbs_pks=mapping(DENOMINATION, mapping(PEER_ID, G2)),
    fee_consensus=FEE_CONSENSUS,
    amount_unit=U64,
)
WALLET: StructCodec[WalletClientConfig] = struct(
    WalletClientConfig,
    peg_in_descriptor=STRING,
    network=NETWORK_LEGACY,
    finality_delay_blocks=U32,
    fee_consensus=struct(WalletFees, peg_in_msat=AMOUNT_MSAT, peg_out_msat=AMOUNT_MSAT),
    default_bitcoin_rpc=struct(BitcoinRpc, kind=STRING, url=SAFE_URL),
)
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
LN: StructCodec[LnClientConfig] = struct(
    LnClientConfig,
    threshold_pub_key=G1,
    fee_consensus=struct(LnFees, contract_input_msat=AMOUNT_MSAT, contract_output_msat=AMOUNT_MSAT),
    network=NETWORK_LEGACY,
)
LN_V2: StructCodec[LnV2ClientConfig] = struct(
    LnV2ClientConfig,
    tpe_agg_pk=G1,
    tpe_pks=mapping(PEER_ID, G1),
    fee_consensus=FEE_CONSENSUS,
    network=NETWORK,
)
META: StructCodec[MetaClientConfig] = struct(MetaClientConfig)

ModuleClientConfig = (
    MintClientConfig
    | MintV2ClientConfig
    | WalletClientConfig
    | WalletV2ClientConfig
    | LnClientConfig
    | LnV2ClientConfig
    | MetaClientConfig
)

CONFIG_CODECS: dict[str, StructCodec[Any]] = {
    "mint": MINT,
    "mintv2": MINT_V2,
    "wallet": WALLET,
    "walletv2": WALLET_V2,
    "ln": LN,
    "lnv2": LN_V2,
    "meta": META,
}
"""By module kind."""
