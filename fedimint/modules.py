"""The wire types of every module kind in one table, for decoding items of a transaction."""

from typing import Any

import msgspec

from fedimint import ln, lnv2, mint, mintv2, wallet, walletv2
from fedimint.codec.encoding import Codec
from fedimint.codec.wire_types import ModuleError
from fedimint.transaction import DynItem

ModuleInput = ln.Input | lnv2.Input | mint.Input | mintv2.Input | wallet.Input | walletv2.Input
ModuleOutput = (
    ln.Output | lnv2.Output | mint.Output | mintv2.Output | wallet.Output | walletv2.Output
)


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


def decode_input(kind: str | None, item: DynItem) -> ModuleInput | DynItem:
    """Read an input of module `kind`; of an unknown kind it stays as it is. Raises `DecodeError`."""
    codecs = MODULE_CODECS.get(kind or "")
    return item if codecs is None else codecs.input.decode(item.body)


def decode_output(kind: str | None, item: DynItem) -> ModuleOutput | DynItem:
    """Read an output of module `kind`; of an unknown kind it stays as it is. Raises `DecodeError`."""
    codecs = MODULE_CODECS.get(kind or "")
    return item if codecs is None else codecs.output.decode(item.body)
