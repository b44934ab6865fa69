"""The tables of the payment log, and all SQL on them.

A log holds a million payments, so they take about sixty bytes for each: what an entry says is made of its event when
somebody looks at it (`payment_payloads.py`). A year's sums read one stretch of one table, while others are paid.
"""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from engine.chain import Row
from engine.storage.tables import COLUMN_MAX, COLUMN_MIN, TableReader, Tables
from gateway.payment_events import EntryKind

#: `payment` has the payments that are over, in the order of their beginnings; `position` is that of their ends.
#: `payment_under_way` has the others by contract id (outgoing) or payment hash, and those whose HTLCs are not answered.
NAMES = ("payment_federation", "payment_entry", "payment_under_way", "payment")
DDL = """
CREATE TABLE payment_federation (
    number          INTEGER PRIMARY KEY,
    federation_id   BLOB    NOT NULL UNIQUE
) STRICT;
CREATE TABLE payment_entry (
    federation      INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    kind            INTEGER NOT NULL,
    PRIMARY KEY (federation, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE payment_under_way (
    is_outgoing     INTEGER NOT NULL,
    id              BLOB    NOT NULL,
    federation      INTEGER NOT NULL,
    is_swap         INTEGER NOT NULL,
    is_over         INTEGER NOT NULL,
    fee_msat        INTEGER NOT NULL,
    began_unix_us   INTEGER NOT NULL,
    PRIMARY KEY (is_outgoing, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE payment (
    began_unix_us   INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    is_outgoing     INTEGER NOT NULL,
    succeeded       INTEGER NOT NULL,
    latency_us      INTEGER NOT NULL,
    fee_msat        INTEGER NOT NULL,
    PRIMARY KEY (began_unix_us, position)
) STRICT, WITHOUT ROWID;
"""

_BEGIN = "INSERT INTO payment_under_way VALUES (?, ?, ?, ?, 0, ?, ?)"
_END = """
    INSERT INTO payment SELECT began_unix_us, ?3, is_outgoing, ?4, ?5 - began_unix_us, fee_msat
    FROM payment_under_way WHERE is_outgoing = ?1 AND id = ?2 AND NOT is_over
"""
_MARK_OVER = "UPDATE payment_under_way SET is_over = 1 WHERE is_outgoing = ? AND id = ?"
# HTLCs are answered later, and only those of a payment that began have an entry of that.
_FORGET_UNLESS_HELD = """
    DELETE FROM payment_under_way WHERE is_outgoing = ? AND id = ? AND (is_outgoing OR is_swap)
"""
_HELD = """
    SELECT payment_federation.federation_id FROM payment_under_way JOIN payment_federation ON number = federation
    WHERE is_outgoing = 0 AND id = ? AND NOT is_swap
"""
_FORGET_IF_OVER = "DELETE FROM payment_under_way WHERE is_outgoing = 0 AND id = ? AND is_over"
_NUMBER = "SELECT number FROM payment_federation WHERE federation_id = ?"
_ADD_FEDERATION = "INSERT INTO payment_federation (federation_id) VALUES (?) ON CONFLICT DO NOTHING"
_ENTER = "INSERT INTO payment_entry VALUES (?, ?, ?)"

_PAGE = """
    SELECT position, kind FROM payment_entry
    WHERE federation = (SELECT number FROM payment_federation WHERE federation_id = ?)
    AND position <= ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY position DESC LIMIT ?
"""
# Both the beginning and the end of a payment must lie within the time.
_ENDED = """
    FROM payment WHERE is_outgoing = ?1 AND began_unix_us >= ?2 AND began_unix_us < ?3
    AND latency_us >= 0 AND began_unix_us + latency_us < ?3
"""
# Fees are summed by halves of 32 bits, since SQLite refuses a sum beyond 64, which few numbers that fit can make.
_SUMS = f"""
    SELECT succeeded, count(*), sum(fee_msat >> 32), sum(fee_msat & 4294967295), sum(latency_us)
    {_ENDED} GROUP BY succeeded
"""
_MIDDLE = f"SELECT latency_us {_ENDED} AND succeeded ORDER BY latency_us LIMIT ?4 OFFSET ?5"


# --- written -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaymentTables:
    """The tables, at the row of one event."""

    tables: Tables
    row: Row

    def enter(self, federation_id: str, kind: EntryKind) -> None:
        """Add the event's entry to a federation's log."""
        entry = (self._federation(federation_id), self.row.position, kind.number)
        self.tables.execute(_ENTER, entry)

    def begin(self, federation_id: str, *, is_outgoing: bool, is_swap: bool, fee_msat: int) -> None:
        """The payment of this stream begins; it brings us `fee_msat` if it succeeds.

        A fee that does not fit its column, which no request brings about, must not keep the payment out of the log.
        """
        fee = min(max(fee_msat, COLUMN_MIN), COLUMN_MAX)
        key = (is_outgoing, _id_of(self.row.stream), self._federation(federation_id))
        self.tables.execute(_BEGIN, (*key, is_swap, fee, self.row.recorded_unix_us))

    def end(self, *, is_outgoing: bool, succeeded: bool) -> bool:
        """The payment of this stream is over; False when it never began, or was over before."""
        row, key = self.row, (is_outgoing, _id_of(self.row.stream))
        self.tables.execute(_END, (*key, row.position, succeeded, row.recorded_unix_us))
        if not self.tables.changes():
            return False
        self.tables.execute(_MARK_OVER, key)
        self.tables.execute(_FORGET_UNLESS_HELD, key)
        return True

    def answered(self) -> str | None:
        """The HTLCs of this stream's payment hash are answered; the federation that received them, None when none."""
        key = (_id_of(self.row.stream),)
        found = [msgspec.convert(one, bytes).hex() for (one,) in self.tables.execute(_HELD, key)]
        self.tables.execute(_FORGET_IF_OVER, key)
        return found[0] if found else None

    def _federation(self, federation_id: str) -> int:
        key = (bytes.fromhex(federation_id),)
        self.tables.execute(_ADD_FEDERATION, key)
        ((number,),) = self.tables.execute(_NUMBER, key)
        return msgspec.convert(number, int)


def _id_of(stream: str) -> bytes:
    """A contract id or a payment hash, which are hex in names."""
    return bytes.fromhex(stream.partition("/")[2])


# --- read ----------------------------------------------------------------------------------------------------------


_KIND_OF = {kind.number: kind for kind in EntryKind}


class Entry(msgspec.Struct, frozen=True):
    """An entry of the payment log: the position of its event, and what upstream calls that."""

    position: int
    kind: EntryKind


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """Payments that ended alike."""

    succeeded: bool
    count: int
    fees_upper: int
    fees_lower: int
    latency_us: int

    @property
    def fees_msat(self) -> int:
        """The sum; it saturates at 63 bits, the most that JSON holds."""
        sum_msat = (self.fees_upper << 32) + self.fees_lower
        return max(-COLUMN_MAX, min(sum_msat, COLUMN_MAX))


class Ended(msgspec.Struct, frozen=True):
    """Payments of one direction that began at or after `start_unix_us` and ended before `end_unix_us`."""

    is_outgoing: bool
    start_unix_us: int
    end_unix_us: int


def page(
    reader: TableReader, federation_id: str, end_position: int, kinds: Collection[str], limit: int
) -> list[Entry]:
    """Entries of a federation, newest first, from `end_position` down."""
    numbers = [one.number for one in EntryKind if one.kind in kinds]
    asked = (bytes.fromhex(federation_id), min(end_position, COLUMN_MAX))
    rows = reader.query(
        _PAGE, (*asked, msgspec.json.encode(numbers).decode(), min(limit, COLUMN_MAX))
    )
    found = (msgspec.convert(row, tuple[int, int]) for row in rows)
    return [Entry(position, _KIND_OF[number]) for position, number in found]


def sums(reader: TableReader, which: Ended) -> dict[bool, Sum]:
    """Sums by success; those that nothing ended with are left out."""
    rows = reader.query(_SUMS, _bindings(which))
    return {one.succeeded: one for one in (msgspec.convert(r, Sum, strict=False) for r in rows)}


def middle_latencies_us(reader: TableReader, which: Ended, count: int) -> list[int]:
    """Of the `count` payments that succeeded the one or two latencies in the middle."""
    rows = reader.query(_MIDDLE, (*_bindings(which), 2 - count % 2, (count - 1) // 2))
    return [msgspec.convert(latency_us, int) for (latency_us,) in rows]


def _bindings(which: Ended) -> tuple[int, int, int]:
    return which.is_outgoing, which.start_unix_us, which.end_unix_us
