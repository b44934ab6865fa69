"""Bodies and states as the file keeps them: JSON, deflated where that is shorter.

The chain is over the JSON, so this form is the file's alone. Most of a body are names of fields, ids in hex and
signatures: a dictionary takes the names away, and deflating turns hex into about the bytes that it stands for. The
dictionary lies in the file itself, so that every program reads every log.
"""

import zlib
from collections.abc import Iterable

import apsw
import msgspec
from msgspec import inspect

from engine.storage.errors import DamagedError

#: The first byte of what is deflated. JSON begins with no such byte.
_DEFLATED = b"\x01"
#: Bytes of JSON from which deflating is tried: shorter ones hardly become shorter.
_LEAST_BYTES = 64
#: No event is nearly as long (`engine/events.py`); a file from somebody else could unpack to more than memory holds.
_MOST_BYTES = 1 << 24
#: Of zlib's levels and strategies these made recorded logs smallest, faster than the highest level does. Filtered means
#: that short matches are not taken: in hex they are many, and cost more than they save.
_LEVEL, _STRATEGY = 6, zlib.Z_FILTERED
#: Raw deflate.
_WINDOW_BITS = -15
#: How deep a dictionary looks into structs.
_DEPTH_MAX = 6


class Packing:
    """One file's form, with its dictionary."""

    def __init__(self, dictionary: bytes) -> None:
        self._dictionary = dictionary

    @classmethod
    def of(cls, connection: apsw.Connection) -> "Packing":
        """The form of a file. Raises DamagedError when its dictionary is missing."""
        found = list(connection.execute("SELECT bytes FROM dictionary"))
        if len(found) != 1 or not isinstance(found[0][0], bytes):
            raise DamagedError(f"{connection.filename} has lost the dictionary of its rows")
        return cls(found[0][0])

    def pack(self, body: bytes) -> bytes:
        """What the file keeps of JSON."""
        if not _LEAST_BYTES <= len(body) <= _MOST_BYTES:
            return body
        deflater = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, _WINDOW_BITS, strategy=_STRATEGY, zdict=self._dictionary
        )
        packed = _DEFLATED + deflater.compress(body) + deflater.flush()
        return packed if len(packed) < len(body) else body

    def unpack(self, packed: bytes) -> bytes:
        """The JSON again. Raises DamagedError for bytes that were not packed here."""
        if not packed.startswith(_DEFLATED):
            return packed
        inflater = zlib.decompressobj(_WINDOW_BITS, zdict=self._dictionary)
        try:
            body = inflater.decompress(packed[1:], _MOST_BYTES + 1)
        except zlib.error as error:
            raise DamagedError(f"a body of the log cannot be unpacked ({error})") from error
        if not inflater.eof:
            raise DamagedError(
                "a body of the log cannot be unpacked (its end is missing, or far away)"
            )
        return body


def dictionary_of(classes: Iterable[type[msgspec.Struct]]) -> bytes:
    """The JSON of each class without its values, the common beginning of all their bodies."""
    seen = dict.fromkeys(_skeleton(inspect.type_info(cls), 0) for cls in classes)
    return "".join(seen).encode()


def _skeleton(type_: inspect.Type, depth: int) -> str:
    match type_:
        case inspect.StructType() if depth < _DEPTH_MAX:
            return _struct(type_, depth + 1)
        case inspect.UnionType(types=types):
            return "".join(_skeleton(one, depth) for one in types)
        case inspect.VarTupleType(item_type=item):
            return f"[{_skeleton(item, depth)}]"
        case inspect.StrType() | inspect.BytesType():
            return '""'
        case _:
            return ""


def _struct(type_: inspect.StructType, depth: int) -> str:
    values = [_skeleton(one.type, depth) for one in type_.fields]
    if type_.array_like:
        return "[" + ",".join([f'"{type_.tag}"', *values]) + "]"
    tagged = [f'"{type_.tag_field}":"{type_.tag}"'] if type_.tag_field else []
    named = zip(type_.fields, values, strict=True)
    return (
        "{" + ",".join([*tagged, *(f'"{one.encode_name}":{value}' for one, value in named)]) + "}"
    )
