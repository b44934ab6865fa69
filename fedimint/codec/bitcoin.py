"""Bitcoin's own serialization, as far as federation types contain it.

Lengths are CompactSize, little-endian, unlike everything else of the federation protocol. Source:
fedimint-core/src/encoding/btc.rs, which bridges these types to Bitcoin's form.
"""

import hashlib

import msgspec

from fedimint.codec.encoding import BYTES32, Codec, Reader, fixed
from fedimint.codec.errors import DecodeError, EncodeError


def _write_compact_size(out: bytearray, value: int) -> None:
    if value < 0xFD:
        out.append(value)
    elif value < 1 << 16:
        out += b"\xfd" + value.to_bytes(2, "little")
    elif value < 1 << 32:
        out += b"\xfe" + value.to_bytes(4, "little")
    else:
        out += b"\xff" + value.to_bytes(8, "little")


def _read_compact_size(reader: Reader) -> int:
    first = reader.take(1)[0]
    if first < 0xFD:
        return first
    width = 1 << (first - 0xFC)
    value = int.from_bytes(reader.take(width), "little")
    if value < (0xFD if width == 2 else 1 << (4 * width)):
        raise DecodeError(f"the size {value} is not in its shortest form")
    return value


def _read_count(reader: Reader) -> int:
    count = _read_compact_size(reader)
    if count > reader.remaining():
        raise DecodeError(f"{count} items cannot fit into {reader.remaining()} bytes")
    return count


def _little_endian(width: int) -> Codec[int]:
    def write(out: bytearray, value: int) -> None:
        try:
            out += value.to_bytes(width, "little")
        except OverflowError:
            raise EncodeError(f"{value} does not fit into {width} bytes") from None

    return Codec(write, lambda reader: int.from_bytes(reader.take(width), "little"))


def _write_var_bytes(out: bytearray, value: bytes) -> None:
    _write_compact_size(out, len(value))
    out += value


_LE_U32 = _little_endian(4)
_LE_U64 = _little_endian(8)
_VAR_BYTES: Codec[bytes] = Codec(
    _write_var_bytes, lambda reader: reader.take(_read_compact_size(reader))
)
SCRIPT = _VAR_BYTES
"""`ScriptBuf`."""
TXID = BYTES32
"""`bitcoin::Txid` and `BlockHash` in internal byte order; texts show the bytes reversed."""
HEADER = fixed(80)


def display_hash(digest: bytes) -> str:
    """Return a txid or block hash (internal order) as people write it: reversed hex."""
    return digest[::-1].hex()


def hash_from_display(text: str) -> bytes:
    """Return a txid or block hash in internal order from the text of it. Raises `DecodeError`."""
    return BYTES32.decode_hex(text)[::-1]


def double_sha256(data: bytes) -> bytes:
    """Return sha256(sha256(data))."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class BitcoinOutPoint(msgspec.Struct, frozen=True):
    """An output on chain: txid (32 bytes, internal order) and index."""

    txid: bytes
    vout: int

    def __str__(self) -> str:
        return f"{display_hash(self.txid)}:{self.vout}"

    @classmethod
    def parse(cls, text: str) -> "BitcoinOutPoint":
        """Read the form that `str` gives, `txid:index`. Raises `DecodeError`."""
        txid, _, vout = text.partition(":")
        # The form of rust-bitcoin: no sign, no leading zeros, 32 bits.
        if not (vout.isascii() and vout.isdecimal() and str(int(vout[:11])) == vout):
            raise DecodeError("not an output of a bitcoin transaction: txid:index is expected")
        if int(vout) >= 1 << 32:
            raise DecodeError(f"an output index of {vout} does not fit into 32 bits")
        return cls(hash_from_display(txid), int(vout))


class TxOut(msgspec.Struct, frozen=True):
    """An output of a bitcoin transaction."""

    value_sat: int
    script_pubkey: bytes


class TxIn(msgspec.Struct, frozen=True):
    """An input of a bitcoin transaction."""

    previous_output: BitcoinOutPoint
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()


class BitcoinTransaction(msgspec.Struct, frozen=True):
    """A bitcoin transaction; segwit form on the wire when an input has a witness (BIP 144)."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int

    def txid(self) -> bytes:
        """Return the id, 32 bytes in internal order."""
        out = bytearray()
        _LE_U32.write(out, self.version)
        _write_body(out, self)
        _LE_U32.write(out, self.lock_time)
        return double_sha256(bytes(out))


def _write_out_point(out: bytearray, value: BitcoinOutPoint) -> None:
    TXID.write(out, value.txid)
    _LE_U32.write(out, value.vout)


def _write_tx_out(out: bytearray, value: TxOut) -> None:
    _LE_U64.write(out, value.value_sat)
    _VAR_BYTES.write(out, value.script_pubkey)


def _read_tx_out(reader: Reader) -> TxOut:
    return TxOut(_LE_U64.read(reader), _VAR_BYTES.read(reader))


BITCOIN_OUT_POINT: Codec[BitcoinOutPoint] = Codec(
    _write_out_point, lambda reader: BitcoinOutPoint(TXID.read(reader), _LE_U32.read(reader))
)
TX_OUT: Codec[TxOut] = Codec(_write_tx_out, _read_tx_out)


def _write_body(out: bytearray, transaction: BitcoinTransaction) -> None:
    _write_compact_size(out, len(transaction.inputs))
    for tx_in in transaction.inputs:
        _write_out_point(out, tx_in.previous_output)
        _VAR_BYTES.write(out, tx_in.script_sig)
        _LE_U32.write(out, tx_in.sequence)
    _write_compact_size(out, len(transaction.outputs))
    for tx_out in transaction.outputs:
        _write_tx_out(out, tx_out)


def _read_inputs(reader: Reader, count: int) -> list[TxIn]:
    return [
        TxIn(BITCOIN_OUT_POINT.read(reader), _VAR_BYTES.read(reader), _LE_U32.read(reader))
        for _ in range(count)
    ]


def _write_transaction(out: bytearray, transaction: BitcoinTransaction) -> None:
    _LE_U32.write(out, transaction.version)
    # Without inputs the marker keeps the form apart from a witness-less one (rust-bitcoin).
    segwit = not transaction.inputs or any(tx_in.witness for tx_in in transaction.inputs)
    if segwit:
        out += b"\x00\x01"
    _write_body(out, transaction)
    if segwit:
        for tx_in in transaction.inputs:
            _write_compact_size(out, len(tx_in.witness))
            for item in tx_in.witness:
                _VAR_BYTES.write(out, item)
    _LE_U32.write(out, transaction.lock_time)


def _read_transaction(reader: Reader) -> BitcoinTransaction:
    version = _LE_U32.read(reader)
    count = _read_count(reader)
    segwit = count == 0
    if segwit:
        if reader.take(1) != b"\x01":
            raise DecodeError("an unknown segwit flag in a bitcoin transaction")
        count = _read_count(reader)
    inputs = _read_inputs(reader, count)
    outputs = tuple(_read_tx_out(reader) for _ in range(_read_count(reader)))
    if segwit:
        witnesses = [
            tuple(_VAR_BYTES.read(reader) for _ in range(_read_count(reader))) for _ in inputs
        ]
        if inputs and not any(witnesses):
            raise DecodeError("a segwit bitcoin transaction without witnesses")
        inputs = [
            msgspec.structs.replace(tx_in, witness=witness)
            for tx_in, witness in zip(inputs, witnesses, strict=True)
        ]
    return BitcoinTransaction(version, tuple(inputs), outputs, _LE_U32.read(reader))


BITCOIN_TRANSACTION: Codec[BitcoinTransaction] = Codec(_write_transaction, _read_transaction)


class PartialMerkleTree(msgspec.Struct, frozen=True):
    """Which transactions of a block are proven (BIP 37): hashes of 32 bytes, flag bits in bytes."""

    transaction_count: int
    hashes: tuple[bytes, ...]
    flag_bytes: bytes


def _write_merkle_tree(out: bytearray, tree: PartialMerkleTree) -> None:
    _LE_U32.write(out, tree.transaction_count)
    _write_compact_size(out, len(tree.hashes))
    for digest in tree.hashes:
        TXID.write(out, digest)
    _VAR_BYTES.write(out, tree.flag_bytes)


def _read_merkle_tree(reader: Reader) -> PartialMerkleTree:
    transaction_count = _LE_U32.read(reader)
    hashes = tuple(TXID.read(reader) for _ in range(_read_count(reader)))
    return PartialMerkleTree(transaction_count, hashes, _VAR_BYTES.read(reader))


PARTIAL_MERKLE_TREE: Codec[PartialMerkleTree] = Codec(_write_merkle_tree, _read_merkle_tree)
