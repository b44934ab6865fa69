"""What LDK forgets and money depends on: calls made, payments held, coins sent. A file of its own beside the node's.

Every change is durable when its call returns; everything may be called from any thread.
"""

import threading
from pathlib import Path
from typing import Any, Literal

import apsw
from msgspec import Struct, json

from errors import FatalError

LEDGER_NAME = "ldk-ledger.sqlite"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    payment_hash BLOB PRIMARY KEY,
    begun_unix_s INTEGER NOT NULL,
    amount_msat INTEGER NOT NULL,
    is_over INTEGER NOT NULL DEFAULT 0,
    preimage BLOB,
    fee_msat INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS held (
    payment_hash BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    amount_msat INTEGER NOT NULL,
    deadline_height INTEGER NOT NULL,
    preimage BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS coins (
    label TEXT PRIMARY KEY,
    begun_unix_s INTEGER NOT NULL,
    amount_sat INTEGER,
    txid TEXT
) STRICT;
"""

# A hash that is nowhere in LDK's file was never taken by LDK: it stores what it sends before a peer hears of it.
_WITHOUT_TRACE = """
SELECT payment_hash FROM calls WHERE is_over = 0
AND NOT EXISTS (SELECT 1 FROM ldk.ldk_node_data WHERE instr(value, calls.payment_hash) > 0)
"""

_Value = bytes | str | int | None

HeldState = Literal["held", "settling", "settled", "cancelled"]


class Call(Struct, frozen=True):
    """A call to pay that LDK took, or perhaps took. `is_over` is an end that LDK told of."""

    payment_hash: bytes
    begun_unix_s: int
    amount_msat: int
    is_over: bool
    preimage: bytes | None
    fee_msat: int | None

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"Call({self.payment_hash.hex()}, is_over={self.is_over})"


class HeldRow(Struct, frozen=True):
    """A payment that was held once, and what we decided. `deadline_height` is LDK's, 0 when it told none."""

    payment_hash: bytes
    state: HeldState
    amount_msat: int
    deadline_height: int
    preimage: bytes | None

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"HeldRow({self.payment_hash.hex()}, {self.state})"


class CoinsRow(Struct, frozen=True):
    """Coins that were ordered; no `txid` when the call was never answered."""

    label: str
    begun_unix_s: int
    amount_sat: int | None
    txid: str | None


class Ledger:
    """The file. Raises FatalError whenever it cannot be read or written."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LEDGER_NAME
        self._lock = threading.Lock()
        try:
            self._path.touch(mode=0o600)
            self._connection = apsw.Connection(str(self._path))
            self._connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
        except (OSError, apsw.Error) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Nothing may be asked any more."""
        with self._lock:
            self._connection.close()

    # --- calls to pay ---

    def forget_untaken_calls(self, database: Path) -> None:
        """Delete every call that LDK never took, by LDK's file. Nobody may have that open."""
        if not database.exists() or not self._read("SELECT 1 FROM calls WHERE is_over = 0 LIMIT 1"):
            return
        self._write("ATTACH ? AS ldk", str(database))
        try:
            for row in self._read(_WITHOUT_TRACE):
                self.forget_call(row[0])
        finally:
            self._write("DETACH ldk")

    def begin_call(self, payment_hash: bytes, amount_msat: int, now_unix_s: int) -> None:
        """Note a call that is about to be made."""
        self._write(
            "INSERT INTO calls (payment_hash, begun_unix_s, amount_msat) VALUES (?, ?, ?)",
            payment_hash,
            now_unix_s,
            amount_msat,
        )

    def forget_call(self, payment_hash: bytes) -> None:
        """LDK did not take it."""
        self._write("DELETE FROM calls WHERE payment_hash = ?", payment_hash)

    def end_call(self, payment_hash: bytes, preimage: bytes | None, fee_msat: int | None) -> None:
        """Note the end that LDK told, with a preimage if it was paid, which no later failure takes back."""
        self._write(
            "UPDATE calls SET is_over = 1, preimage = coalesce(preimage, ?), fee_msat = coalesce(fee_msat, ?) "
            "WHERE payment_hash = ?",
            preimage,
            fee_msat,
            payment_hash,
        )

    def call(self, payment_hash: bytes) -> Call | None:
        """The call for a hash."""
        rows = self._read(
            "SELECT payment_hash, begun_unix_s, amount_msat, is_over, preimage, fee_msat FROM calls "
            "WHERE payment_hash = ?",
            payment_hash,
        )
        return _call(rows[0]) if rows else None

    def open_calls(self) -> list[Call]:
        """All whose end LDK has not told."""
        rows = self._read(
            "SELECT payment_hash, begun_unix_s, amount_msat, is_over, preimage, fee_msat FROM calls "
            "WHERE is_over = 0"
        )
        return [_call(row) for row in rows]

    # --- payments held ---

    def hold(self, payment_hash: bytes, amount_msat: int, deadline_height: int) -> HeldState:
        """Note HTLCs that LDK holds, unless their invoice is over, and return what is decided of them."""
        self._write(
            "INSERT INTO held (payment_hash, state, amount_msat, deadline_height) VALUES (?, 'held', ?, ?) "
            "ON CONFLICT DO UPDATE SET amount_msat = excluded.amount_msat, "
            "deadline_height = excluded.deadline_height WHERE state IN ('held', 'settling', 'cancelled')",
            payment_hash,
            amount_msat,
            deadline_height,
        )
        row = self.held(payment_hash)
        assert row is not None
        return row.state

    def begin_settling(self, payment_hash: bytes, preimage: bytes) -> HeldState | None:
        """Decide to claim what is held, and return what is decided now; None when nothing was ever held."""
        self._write(
            "UPDATE held SET state = 'settling', preimage = ? WHERE payment_hash = ? AND state = 'held'",
            preimage,
            payment_hash,
        )
        row = self.held(payment_hash)
        return row.state if row else None

    def note_settled(self, payment_hash: bytes) -> None:
        """LDK has claimed it."""
        self._write("UPDATE held SET state = 'settled' WHERE payment_hash = ?", payment_hash)

    def begin_cancelling(self, payment_hash: bytes) -> HeldState:
        """Decide to give back what is held or will come, and return what is decided now."""
        self._write(
            "INSERT INTO held (payment_hash, state, amount_msat, deadline_height) VALUES (?, 'cancelled', 0, 0) "
            "ON CONFLICT DO UPDATE SET state = 'cancelled' WHERE state = 'held'",
            payment_hash,
        )
        row = self.held(payment_hash)
        assert row is not None
        return row.state

    def held(self, payment_hash: bytes) -> HeldRow | None:
        """What is known of a hash."""
        rows = self._read(
            "SELECT payment_hash, state, amount_msat, deadline_height, preimage FROM held WHERE payment_hash = ?",
            payment_hash,
        )
        return HeldRow(*rows[0]) if rows else None

    def in_state(self, *states: HeldState) -> list[HeldRow]:
        """All in one of these states."""
        rows = self._read(
            "SELECT payment_hash, state, amount_msat, deadline_height, preimage FROM held "
            "WHERE state IN (SELECT value FROM json_each(?))",
            json.encode(states).decode(),
        )
        return [HeldRow(*row) for row in rows]

    # --- coins sent ---

    def begin_coins(self, label: str, amount_sat: int | None, now_unix_s: int) -> bool:
        """Note an order that is about to be given; False when there was one of this label."""
        if self.coins(label) is not None:
            return False
        self._write(
            "INSERT INTO coins (label, begun_unix_s, amount_sat) VALUES (?, ?, ?)",
            label,
            now_unix_s,
            amount_sat,
        )
        return True

    def forget_coins(self, label: str) -> None:
        """Nothing was sent."""
        self._write("DELETE FROM coins WHERE label = ?", label)

    def end_coins(self, label: str, txid: str) -> None:
        """Note the transaction of an order."""
        self._write("UPDATE coins SET txid = ? WHERE label = ?", txid, label)

    def coins(self, label: str) -> CoinsRow | None:
        """The order of a label."""
        rows = self._read(
            "SELECT label, begun_unix_s, amount_sat, txid FROM coins WHERE label = ?", label
        )
        return CoinsRow(*rows[0]) if rows else None

    def is_known_transaction(self, txid: str) -> bool:
        """Whether a transaction is that of an order."""
        return bool(self._read("SELECT 1 FROM coins WHERE txid = ?", txid))

    # --- the file ---

    def _read(self, sql: str, *values: _Value) -> list[Any]:
        with self._lock:
            try:
                return list(self._connection.execute(sql, values))
            except apsw.Error as error:
                raise self._failed(error) from error

    def _write(self, sql: str, *values: _Value) -> None:
        """Run one statement, which is a transaction of its own."""
        with self._lock:
            try:
                self._connection.execute(sql, values)
            except apsw.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: Exception) -> FatalError:
        return FatalError(
            f"{self._path} cannot be read or written ({error}): see that the disk works and has room, and start again"
        )


def _call(row: Any) -> Call:
    payment_hash, begun_unix_s, amount_msat, is_over, preimage, fee_msat = row
    return Call(payment_hash, begun_unix_s, amount_msat, bool(is_over), preimage, fee_msat)
