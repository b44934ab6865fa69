"""The wire types of every module kind in one table, for decoding items of a transaction."""

from typing import Any

import msgspec

from fedimint import ln, lnv2, mint, mintv2, wallet, walletv2
from fedimint.codec.encoding import Codec
from fedimint.codec.wire_types import ModuleError


class ModuleCodecs(msgspec.Struct, frozen=True):
    """The codecs of one module kind."""

    input: Codec[Any]
    output: Codec[Any]
    output_outcome: Codec[Any]
    input_error: Codec[ModuleError]
    output_error: Codec[ModuleError]


MODULE_CODECS: dict[str, ModuleCodecs] = {
    module.KIND: ModuleCodecs(
        module.INPUT,
        module.OUTPUT,
        module.OUTPUT_OUTCOME,
        module.INPUT_ERROR,
        module.OUTPUT_ERROR,
    )
    for module in (ln, lnv2, mint, mintv2, wallet, walletv2)
}
"""By kind. The meta module has no inputs or outputs."""
