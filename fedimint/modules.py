"""The client config and the wire types of every module kind in one table."""

from typing import Any

import msgspec

from fedimint import ln, lnv2, mint, mintv2, wallet, walletv2
from fedimint.codec.encoding import Codec, StructCodec, struct
from fedimint.codec.wire_types import ModuleError
from fedimint.ln.config import LN
from fedimint.lnv2.config import LN_V2
from fedimint.mint.config import MINT
from fedimint.mintv2.config import MINT_V2
from fedimint.wallet.config import WALLET
from fedimint.walletv2.config import WALLET_V2


class ModuleCodecs(msgspec.Struct, frozen=True):
    """The codecs of one module kind."""

    config: StructCodec[Any]
    input: Codec[Any]
    output: Codec[Any]
    output_outcome: Codec[Any]
    input_error: Codec[ModuleError]
    output_error: Codec[ModuleError]


MODULE_CODECS: dict[str, ModuleCodecs] = {
    module.KIND: ModuleCodecs(
        config,
        module.INPUT,
        module.OUTPUT,
        module.OUTPUT_OUTCOME,
        module.INPUT_ERROR,
        module.OUTPUT_ERROR,
    )
    for module, config in (
        (ln, LN),
        (lnv2, LN_V2),
        (mint, MINT),
        (mintv2, MINT_V2),
        (wallet, WALLET),
        (walletv2, WALLET_V2),
    )
}
"""By kind. The meta module has no inputs or outputs."""


class MetaClientConfig(msgspec.Struct, frozen=True):
    """meta: nothing."""


CONFIG_CODECS: dict[str, StructCodec[Any]] = {
    **{kind: codecs.config for kind, codecs in MODULE_CODECS.items()},
    "meta": struct(MetaClientConfig),
}
"""By kind."""
