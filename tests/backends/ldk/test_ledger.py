"""The ledger of the node inside: what is decided once stays so, and what LDK never took is forgotten."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from backends.ldk.ledger import LEDGER_NAME, Ledger
from errors import FatalError

HASH = hashlib.sha256(b"payment").digest()
OTHER = hashlib.sha256(b"other").digest()
PREIMAGE = b"payment"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def ldk_file(path: Path, *values: bytes) -> Path:
    """As LDK lays out its own (ldk-node src/io/sqlite_store/mod.rs)."""
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE ldk_node_data (primary_namespace TEXT NOT NULL, secondary_namespace TEXT NOT NULL, "
        "key TEXT NOT NULL, value BLOB, PRIMARY KEY (primary_namespace, secondary_namespace, key))"
    )
    for index, value in enumerate(values):
        connection.execute("INSERT INTO ldk_node_data VALUES ('', '', ?, ?)", (str(index), value))
    connection.close()
    return path


def test_it_is_for_this_user_alone_and_outlives_the_process(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    first.begin_call(HASH, 7, 5)
    first.close()
    assert (tmp_path / LEDGER_NAME).stat().st_mode & 0o777 == 0o600
    second = Ledger(tmp_path)
    call = second.call(HASH)
    assert call is not None
    assert (call.begun_unix_s, call.amount_msat, call.is_over) == (5, 7, False)
    assert second.open_calls() == [call]
    second.close()


def test_a_second_call_for_a_hash_is_a_fault(ledger: Ledger) -> None:
    ledger.begin_call(HASH, 7, 5)
    with pytest.raises(FatalError):
        ledger.begin_call(HASH, 7, 6)


def test_no_failure_takes_a_preimage_back(ledger: Ledger) -> None:
    ledger.begin_call(HASH, 7, 5)
    ledger.end_call(HASH, None, None)
    ledger.end_call(HASH, PREIMAGE, 3)
    ledger.end_call(HASH, None, None)
    call = ledger.call(HASH)
    assert call is not None
    assert (call.is_over, call.preimage, call.fee_msat) == (True, PREIMAGE, 3)
    assert PREIMAGE.hex() not in repr(call)
    assert ledger.open_calls() == []


def test_the_end_of_a_call_that_was_not_ours_is_nothing(ledger: Ledger) -> None:
    ledger.end_call(HASH, PREIMAGE, 3)
    assert ledger.call(HASH) is None


def test_only_a_call_without_a_trace_at_ldk_is_forgotten(ledger: Ledger, tmp_path: Path) -> None:
    ended = hashlib.sha256(b"ended").digest()
    for payment_hash in (HASH, OTHER, ended):
        ledger.begin_call(payment_hash, 7, 5)
    ledger.end_call(ended, None, None)
    ledger.forget_untaken_calls(ldk_file(tmp_path / "ldk", b"\x00\x01" + HASH + b"monitor", b""))
    assert ledger.call(HASH) is not None
    assert ledger.call(OTHER) is None
    assert ledger.call(ended) is not None
    ledger.forget_untaken_calls(tmp_path / "ldk")
    assert ledger.call(HASH) is not None


def test_without_a_file_of_ldk_nothing_is_forgotten(ledger: Ledger, tmp_path: Path) -> None:
    ledger.begin_call(HASH, 7, 5)
    ledger.forget_untaken_calls(tmp_path / "nowhere")
    assert ledger.call(HASH) is not None


def test_a_held_payment_is_decided_once(ledger: Ledger) -> None:
    assert ledger.begin_settling(HASH, PREIMAGE) is None
    assert ledger.hold(HASH, 7, 100) == "held"
    assert ledger.begin_settling(HASH, PREIMAGE) == "settling"
    assert ledger.begin_cancelling(HASH) == "settling"
    assert ledger.hold(HASH, 8, 101) == "settling"
    ledger.note_settled(HASH)
    assert ledger.begin_cancelling(HASH) == "settled"
    assert ledger.hold(HASH, 9, 102) == "settled"
    row = ledger.held(HASH)
    assert row is not None
    assert (row.state, row.amount_msat, row.deadline_height) == ("settled", 8, 101)
    assert PREIMAGE.hex() not in repr(row)


def test_what_is_cancelled_stays_so_whatever_comes(ledger: Ledger) -> None:
    assert ledger.begin_cancelling(HASH) == "cancelled"
    assert ledger.hold(HASH, 7, 100) == "cancelled"
    assert ledger.begin_settling(HASH, PREIMAGE) == "cancelled"
    (row,) = ledger.in_state("cancelled", "held")
    assert (row.deadline_height, row.preimage) == (100, None)
    assert ledger.in_state("held", "settling", "settled") == []


def test_coins_of_a_label_are_ordered_once(ledger: Ledger) -> None:
    assert ledger.begin_coins("order", 5, 1)
    assert not ledger.begin_coins("order", 5, 1)
    assert not ledger.is_known_transaction("ab")
    ledger.end_coins("order", "ab")
    assert ledger.is_known_transaction("ab")
    assert not ledger.begin_coins("order", 5, 1)
    row = ledger.coins("order")
    assert row is not None
    assert (row.txid, row.amount_sat) == ("ab", 5)
    assert ledger.begin_coins("all", None, 1)
    ledger.forget_coins("all")
    assert ledger.coins("all") is None


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"no database" * 1_000)
    with pytest.raises(FatalError, match="cannot be read or written"):
        Ledger(tmp_path)
