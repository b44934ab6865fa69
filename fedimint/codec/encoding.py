"""Consensus encoding: a codec for every wire type, built from a few combinators.

Rules from fedimint-core/src/encoding/mod.rs and fedimint-derive: integers wider than a byte are
Lightning BigSize (BOLT 1), collections are a count and their items, enum variants are an index and
a length-prefixed body. Decoding raises `DecodeError` and never allocates more than the input
justifies; encoding a value out of range raises `EncodeError`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NewType, TypeVar, cast

import msgspec

from fedimint.codec.errors import DecodeError, EncodeError

MAX_DECODE_BYTES = 16_000_000
"""A decode reads at most this many bytes (fedimint-core `MAX_DECODE_SIZE`)."""

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K", bound=int | bytes | str)
S = TypeVar("S", bound=msgspec.Struct)


class Reader:
    """A cursor over `data[position:end]`; every read past the end raises `DecodeError`."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    def remaining(self) -> int:
        """Return the number of bytes not read yet."""
        return self.end - self.position

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        start = self.position
        stop = start + size
        if stop > self.end:
            raise DecodeError(f"needs {size} bytes, only {self.end - start} are left")
        self.position = stop
        return self.data[start:stop]

    def big_size(self) -> int:
        """Return a BigSize integer; a longer form than necessary is refused (BOLT 1)."""
        if self.position >= self.end:
            raise DecodeError("needs an integer, no bytes are left")
        first = self.data[self.position]
        self.position += 1
        if first < 0xFD:
            return first
        width = 1 << (first - 0xFC)
        value = int.from_bytes(self.take(width), "big")
        if value < (0xFD if width == 2 else 1 << (4 * width)):
            raise DecodeError(f"the integer {value} is not in its shortest form")
        return value

    def frame(self) -> "Reader":
        """Return a reader over the next length-prefixed byte string, and step over it."""
        size = self.big_size()
        start = self.position
        if size > self.end - start:
            raise DecodeError(f"a frame of {size} bytes, only {self.end - start} are left")
        self.position = start + size
        return Reader(self.data, start, self.position)

    def count(self) -> int:
        """Return the count of a collection; one the rest cannot hold is refused at once."""
        count = self.big_size()
        if count > self.remaining():
            raise DecodeError(f"{count} items cannot fit into {self.remaining()} bytes")
        return count

    def finish(self) -> None:
        """Refuse bytes left over."""
        if self.position != self.end:
            raise DecodeError(f"{self.remaining()} bytes too many")


def write_big_size(out: bytearray, value: int) -> None:
    """Append `value` as BigSize. Raises `EncodeError` outside of 64 bits."""
    if not 0 <= value < 1 << 64:
        raise EncodeError(f"{value} does not fit into 64 bits")
    if value < 0xFD:
        out.append(value)
    elif value < 1 << 16:
        out += b"\xfd" + value.to_bytes(2, "big")
    elif value < 1 << 32:
        out += b"\xfe" + value.to_bytes(4, "big")
    else:
        out += b"\xff" + value.to_bytes(8, "big")


class Codec(Generic[T]):
    """How one type is written and read; composed by the functions of this module."""

    __slots__ = ("read", "write")

    def __init__(self, write: Callable[[bytearray, T], None], read: Callable[[Reader], T]) -> None:
        self.write = write
        self.read = read

    def encode(self, value: T) -> bytes:
        """Return the encoding. Raises `EncodeError`."""
        out = bytearray()
        self.write(out, value)
        return bytes(out)

    def decode(self, data: bytes) -> T:
        """Read a value that must fill `data` exactly. Raises `DecodeError`."""
        if len(data) > MAX_DECODE_BYTES:
            raise DecodeError(f"{len(data)} bytes are more than {MAX_DECODE_BYTES}")
        reader = Reader(data, 0, len(data))
        value = self.read(reader)
        reader.finish()
        return value

    def decode_hex(self, text: str) -> T:
        """Read a value from hex text. Raises `DecodeError`."""
        return self.decode(from_hex(text))


class StructCodec(Codec[S]):
    """The codec of a struct, which also knows its class so that an enum can tell variants."""

    __slots__ = ("struct_type",)

    def __init__(
        self,
        struct_type: type[S],
        write: Callable[[bytearray, S], None],
        read: Callable[[Reader], S],
    ) -> None:
        super().__init__(write, read)
        self.struct_type = struct_type


class UnknownVariant(msgspec.Struct, frozen=True, tag=True):
    """A variant of an extensible enum that this release does not know; re-encodes verbatim."""

    index: int
    body: bytes


def from_hex(text: str) -> bytes:
    """Return the bytes of strict hex text (no spaces). Raises `DecodeError`."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise DecodeError("not hex text") from None
    if len(data) * 2 != len(text):
        raise DecodeError("hex text with spaces in it")
    return data


def bytes_of_integers(integers: Sequence[int], size: int = 32) -> bytes:
    """Return `size` bytes from their JSON form as integers. Raises `DecodeError`."""
    if len(integers) != size or not all(0 <= integer <= 0xFF for integer in integers):
        raise DecodeError(f"needs {size} integers of one byte each")
    return bytes(integers)


def unsigned(bits: int) -> Codec[int]:
    """Return the codec of a Rust unsigned integer wider than a byte."""

    def write(out: bytearray, value: int) -> None:
        if value >> bits:
            raise EncodeError(f"{value} does not fit into {bits} bits")
        write_big_size(out, value)

    def read(reader: Reader) -> int:
        value = reader.big_size()
        if value >> bits:
            raise DecodeError(f"{value} does not fit into {bits} bits")
        return value

    return Codec(write, read)


def fixed(size: int) -> Codec[bytes]:
    """Return the codec of a byte array of fixed size, written without its length."""

    def write(out: bytearray, value: bytes) -> None:
        if len(value) != size:
            raise EncodeError(f"needs exactly {size} bytes, has {len(value)}")
        out += value

    return Codec(write, lambda reader: reader.take(size))


def _write_u8(out: bytearray, value: int) -> None:
    if not 0 <= value <= 0xFF:
        raise EncodeError(f"{value} does not fit into 8 bits")
    out.append(value)


def _read_bool(reader: Reader) -> bool:
    value = reader.take(1)[0]
    if value > 1:
        raise DecodeError(f"a boolean is 0 or 1, not {value}")
    return value == 1


def _write_bytes(out: bytearray, value: bytes) -> None:
    write_big_size(out, len(value))
    out += value


def _read_bytes(reader: Reader) -> bytes:
    frame = reader.frame()
    return frame.take(frame.remaining())


def _read_string(reader: Reader) -> str:
    try:
        return _read_bytes(reader).decode()
    except UnicodeDecodeError:
        raise DecodeError("a string that is not UTF-8") from None


def _write_string(out: bytearray, value: str) -> None:
    try:
        _write_bytes(out, value.encode())
    except UnicodeEncodeError:
        raise EncodeError("a string that has no UTF-8 form") from None


U8: Codec[int] = Codec(_write_u8, lambda reader: reader.take(1)[0])
U16 = unsigned(16)
U32 = unsigned(32)
U64 = unsigned(64)
BOOL: Codec[bool] = Codec(lambda out, value: out.append(1 if value else 0), _read_bool)
BYTES: Codec[bytes] = Codec(_write_bytes, _read_bytes)
STRING: Codec[str] = Codec(_write_string, _read_string)
BYTES32 = fixed(32)


def newtype(codec: Codec[Any], constructor: Callable[[Any], U]) -> Codec[U]:
    """Return `codec` under the static type of a `NewType`; nothing changes at run time."""
    assert isinstance(constructor, NewType)
    return cast("Codec[U]", codec)


def converted(codec: Codec[T], to_wire: Callable[[U], T], from_wire: Callable[[T], U]) -> Codec[U]:
    """Return a codec of U carried as T; `from_wire` raises `DecodeError` on what it refuses."""
    return Codec(
        lambda out, value: codec.write(out, to_wire(value)),
        lambda reader: from_wire(codec.read(reader)),
    )


def checked(codec: Codec[T], check: Callable[[T], None]) -> Codec[T]:
    """Return `codec` with `check`, which raises `DecodeError`, run on every value read."""

    def read(reader: Reader) -> T:
        value = codec.read(reader)
        check(value)
        return value

    return Codec(codec.write, read)


def vec(item: Codec[T]) -> Codec[tuple[T, ...]]:
    """Return the codec of a Rust Vec of anything but bytes (for those use `BYTES`)."""

    def write(out: bytearray, values: tuple[T, ...]) -> None:
        write_big_size(out, len(values))
        for value in values:
            item.write(out, value)

    def read(reader: Reader) -> tuple[T, ...]:
        values = []
        for _ in range(reader.count()):
            start = reader.position
            values.append(item.read(reader))
            if reader.position == start:
                raise DecodeError("a list of items without size")
        return tuple(values)

    return Codec(write, read)


def option(item: Codec[T]) -> Codec[T | None]:
    """Return the codec of a Rust Option."""

    def write(out: bytearray, value: T | None) -> None:
        if value is None:
            out.append(0)
        else:
            out.append(1)
            item.write(out, value)

    def read(reader: Reader) -> T | None:
        return item.read(reader) if _read_bool(reader) else None

    return Codec(write, read)


def mapping(key: Codec[K], value: Codec[T]) -> Codec[dict[K, T]]:
    """Return the codec of a Rust BTreeMap: strictly ascending keys, numeric or bytewise."""

    def write(out: bytearray, values: dict[K, T]) -> None:
        write_big_size(out, len(values))
        for item_key in sorted(values):
            key.write(out, item_key)
            value.write(out, values[item_key])

    def read(reader: Reader) -> dict[K, T]:
        values: dict[K, T] = {}
        previous: Any = None  # keys of one type compare; the bound on K cannot say it
        for _ in range(reader.count()):
            item_key = key.read(reader)
            if previous is not None and item_key <= previous:
                raise DecodeError("the keys of a map are not in ascending order")
            values[item_key] = value.read(reader)
            previous = item_key
        return values

    return Codec(write, read)


def pair(first: Codec[T], second: Codec[U]) -> Codec[tuple[T, U]]:
    """Return the codec of a tuple of two."""

    def write(out: bytearray, value: tuple[T, U]) -> None:
        first.write(out, value[0])
        second.write(out, value[1])

    return Codec(write, lambda reader: (first.read(reader), second.read(reader)))


def framed(item: Codec[T]) -> Codec[T]:
    """Return the codec of `item` as a length-prefixed byte string that it must fill."""

    def write(out: bytearray, value: T) -> None:
        _write_bytes(out, item.encode(value))

    def read(reader: Reader) -> T:
        frame = reader.frame()
        value = item.read(frame)
        frame.finish()
        return value

    return Codec(write, read)


def struct(struct_type: type[S], **fields: Codec[Any]) -> StructCodec[S]:
    """Return the codec of a struct: its fields one after another, in declaration order."""
    assert tuple(fields) == struct_type.__struct_fields__, struct_type.__name__
    items = tuple(fields.items())

    def write(out: bytearray, value: S) -> None:
        for name, codec in items:
            codec.write(out, getattr(value, name))

    def read(reader: Reader) -> S:
        values: list[Any] = []
        try:
            for _, codec in items:
                values.append(codec.read(reader))  # its length names the field
        except DecodeError as error:
            name = items[len(values)][0]
            raise DecodeError(f"{struct_type.__name__}.{name}: {error}") from None
        return struct_type(*values)

    return StructCodec(struct_type, write, read)


def enum(variants: Mapping[int, StructCodec[Any]], *, extensible: bool = False) -> Codec[Any]:
    """Return the codec of a Rust enum, a union of structs told apart by their class.

    Annotate the result with the union. With `extensible`, an unknown index reads as
    `UnknownVariant` (`#[encodable_default]`), else it raises `DecodeError`.
    """
    index_of = {codec.struct_type: (index, codec) for index, codec in variants.items()}

    def write(out: bytearray, value: msgspec.Struct) -> None:
        if isinstance(value, UnknownVariant):
            write_big_size(out, value.index)
            _write_bytes(out, value.body)
            return
        index, codec = index_of[type(value)]
        write_big_size(out, index)
        _write_bytes(out, codec.encode(value))

    def read(reader: Reader) -> msgspec.Struct:
        index = reader.big_size()
        frame = reader.frame()
        codec = variants.get(index)
        if codec is None:
            if extensible:
                return UnknownVariant(index, frame.take(frame.remaining()))
            raise DecodeError(f"unknown variant {index}")
        value: msgspec.Struct = codec.read(frame)
        frame.finish()
        return value

    return Codec(write, read)


def to_module_json(codec: Codec[T], value: T) -> list[str]:
    """Return the JSON form of encoded values: a list of one hex text, of length ‖ encoding.

    Upstream's `SerdeModuleEncoding` is a tuple struct, hence the list (seen on the wire, both ways).
    """
    return [framed(codec).encode(value).hex()]


def from_module_json(codec: Codec[T], json: object) -> T:
    """Read what `to_module_json` makes from decoded JSON. Raises `DecodeError`."""
    if not isinstance(json, list | tuple) or len(json) != 1 or not isinstance(json[0], str):
        raise DecodeError("an encoded value is a list of one hex text")
    return framed(codec).decode_hex(json[0])
