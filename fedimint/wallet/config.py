"""The client config of a wallet module.

Source: src/config.rs of fedimint-wallet-common.
"""

import msgspec

from fedimint.codec.encoding import STRING, U32, StructCodec, struct
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import AMOUNT_MSAT, NETWORK_LEGACY, Network


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


WALLET: StructCodec[WalletClientConfig] = struct(
    WalletClientConfig,
    peg_in_descriptor=STRING,
    network=NETWORK_LEGACY,
    finality_delay_blocks=U32,
    fee_consensus=struct(WalletFees, peg_in_msat=AMOUNT_MSAT, peg_out_msat=AMOUNT_MSAT),
    default_bitcoin_rpc=struct(BitcoinRpc, kind=STRING, url=SAFE_URL),
)
