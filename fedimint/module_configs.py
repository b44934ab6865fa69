"""The client config of every module kind in one table, decoded from the hex of a federation's config."""

from typing import Any

import msgspec

from fedimint.codec.encoding import StructCodec, struct
from fedimint.ln.config import LN, LnClientConfig
from fedimint.lnv2.config import LN_V2, LnV2ClientConfig
from fedimint.mint.config import MINT, MintClientConfig
from fedimint.mintv2.config import MINT_V2, MintV2ClientConfig
from fedimint.wallet.config import WALLET, WalletClientConfig
from fedimint.walletv2.config import WALLET_V2, WalletV2ClientConfig


class MetaClientConfig(msgspec.Struct, frozen=True):
    """meta: nothing."""


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
