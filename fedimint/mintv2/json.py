"""The JSON form of a mintv2 module's history, which recovery from the mnemonic reads.

Source: fedimint-mintv2-common src/lib.rs (RecoveryItem, by serde's external tags).
"""

from collections.abc import Callable

import msgspec

from fedimint.client.shapes import shape
from fedimint.codec.encoding import bytes_of_integers
from fedimint.codec.errors import DecodeError
from fedimint.codec.json_types import json_denomination
from fedimint.codec.wire_types import HASH160
from fedimint.mintv2 import RecoveryInput, RecoveryItem, RecoveryOutput


class _Output(msgspec.Struct, frozen=True):
    denomination: int
    nonce_hash: str
    tweak: tuple[int, ...]


class _Input(msgspec.Struct, frozen=True):
    nonce_hash: str


class RecoveryItemJson(msgspec.Struct, frozen=True, omit_defaults=True):
    """`{"Output": {…}}` or `{"Input": {…}}`."""

    output: _Output | None = msgspec.field(default=None, name="Output")
    input: _Input | None = msgspec.field(default=None, name="Input")

    def decode(self) -> RecoveryItem:
        """Return the typed form. Raises `DecodeError`."""
        if self.output is not None and self.input is None:
            return RecoveryOutput(
                json_denomination(self.output.denomination),
                HASH160.decode_hex(self.output.nonce_hash),
                bytes_of_integers(self.output.tweak, 16),
            )
        if self.input is not None and self.output is None:
            return RecoveryInput(HASH160.decode_hex(self.input.nonce_hash))
        raise DecodeError("an item is either an Output or an Input")

    @classmethod
    def of(cls, item: RecoveryItem) -> "RecoveryItemJson":
        """Return the JSON form."""
        if isinstance(item, RecoveryInput):
            return cls(input=_Input(item.nonce_hash.hex()))
        return cls(output=_Output(item.denomination, item.nonce_hash.hex(), tuple(item.tweak)))


_items: Callable[[object], list[RecoveryItemJson]] = shape(list[RecoveryItemJson])


def recovery_items(answer: object) -> tuple[RecoveryItem, ...]:
    """Return the items of a slice. Raises `DecodeError` or GuardianProtocolError."""
    return tuple(item.decode() for item in _items(answer))
