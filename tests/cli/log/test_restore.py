"""Restoring a backup: a new frozen data directory, or nothing when it is no backup."""

import json
import stat
from pathlib import Path

import apsw
import pytest

from engine.ports import SystemClock
from engine.storage import place
from engine.storage.head_file import HEAD_NAME
from engine.storage.lock import LOCK_NAME, DirectoryLock
from engine.storage.place import PLACE_NAME, WITNESS_NAME, check_place, note_place
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import ConfigError, FatalError, InputError, NotFoundError
from gateway import restoring
from gateway.log import read_models
from gateway.restoring import restore
from migrations import SchemaSteps
from tests.cli.log.histories import Tools, data_directory


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tools:
    """The tools on a backup of the demonstration's gateway."""
    directory = data_directory(tmp_path / "backup", "0.13.0-demo")
    (directory / "mnemonic").write_text("some words\n")
    (directory / "api-secret-fed").write_text("secret")
    (directory / "mnemonic.txt").write_text("somebody's note")
    note_place(directory)
    return Tools(directory, capsys)


def _bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_backup_becomes_a_frozen_data_directory(run: Tools, tmp_path: Path) -> None:
    before, new = _bytes(run.directory), tmp_path / "deep" / "data"
    found = run.document("restore", new)
    assert _bytes(run.directory) == before
    assert (found["data_dir"], found["position"], found["has_mnemonic"]) == (str(new), 139, True)
    assert found["backup_unix_s"] == 1795501446
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    for name in ("mnemonic", "api-secret-fed", LOG_NAME, PLACE_NAME):
        assert stat.S_IMODE((new / name).stat().st_mode) == 0o600
    assert (new / "mnemonic").read_text() == "some words\n"
    assert not (new / "mnemonic.txt").exists()
    check_place(new)
    run.directory = new
    assert run.document("verify")["problems"] == []
    kinds = [
        json.loads(line)["kind"] for line in run("show", "--after", 139, "--json").splitlines()
    ]
    assert kinds == ["gateway.restored", "wallet.tweaks_discarded"]


def test_what_people_are_told(run: Tools, tmp_path: Path) -> None:
    lines = run("restore", tmp_path / "data").splitlines()
    assert lines[0] == f"{tmp_path / 'data'} holds the backup, verified and frozen"
    assert lines[1].startswith("last event  position 139, 2026-11-24T06:24:06.000Z, ")
    assert lines[-1].startswith("never ")
    assert not any(line.startswith("mnemonic") for line in lines)


def test_a_log_alone_is_a_backup_too(run: Tools, tmp_path: Path) -> None:
    run.directory /= LOG_NAME
    lines = run("restore", tmp_path / "data").splitlines()
    assert lines[2].startswith("mnemonic    not in the backup")
    names = {path.name for path in (tmp_path / "data").iterdir()}
    (witness,) = names - {LOG_NAME, PLACE_NAME, HEAD_NAME, LOCK_NAME}
    assert witness.startswith(WITNESS_NAME)


def test_what_a_crash_left_in_the_wal_is_restored_too(run: Tools, tmp_path: Path) -> None:
    store = Store(run.directory, SchemaSteps(), read_models())
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (LOG_NAME, f"{LOG_NAME}-wal"):
        (copy / name).write_bytes((run.directory / name).read_bytes())
    store.close()
    assert (copy / f"{LOG_NAME}-wal").stat().st_size > 0
    restored = restore(copy, tmp_path / "data", SystemClock())
    assert restored.epoch == store.epoch + 1


def test_a_running_gateway_is_no_backup(run: Tools, tmp_path: Path) -> None:
    lock = DirectoryLock(run.directory)
    with pytest.raises(InputError, match="a gatewayd is running on"):
        run("restore", tmp_path / "data")
    lock.release()
    assert not (tmp_path / "data").exists()
    run("restore", tmp_path / "data")


def test_no_gateway_starts_on_a_backup_while_it_is_copied(
    run: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy would be of no moment, and two gateways would go on from one history."""
    copy = restoring._copy
    refused: list[ConfigError] = []

    def meanwhile(source: Path, target: Path) -> None:
        with pytest.raises(ConfigError, match="another gatewayd is running") as error:
            DirectoryLock(run.directory).release()
        refused.append(error.value)
        copy(source, target)

    DirectoryLock(run.directory).release()
    monkeypatch.setattr(restoring, "_copy", meanwhile)
    run("restore", tmp_path / "data")
    assert len(refused) == 3
    DirectoryLock(run.directory).release()


def test_nothing_is_restored_over_something(run: Tools, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    for target in (tmp_path / "data", tmp_path / "data" / "file"):
        with pytest.raises(InputError, match="is not empty"):
            run("restore", target)
    run.directory = tmp_path / "nothing"
    with pytest.raises(NotFoundError, match="there is no log"):
        run("restore", tmp_path / "new")


@pytest.mark.parametrize("existed", [False, True])
def test_a_damaged_backup_leaves_nothing(run: Tools, tmp_path: Path, existed: bool) -> None:
    connection = apsw.Connection(str(run.directory / LOG_NAME))
    connection.execute(
        "DROP TRIGGER log_is_never_updated; UPDATE log SET epoch = 9 WHERE position = 70"
    )
    connection.close()
    new = tmp_path / "data"
    if existed:
        new.mkdir()
    with pytest.raises(InputError, match="cannot be trusted: the log was changed: position 70"):
        run("restore", new)
    assert new.exists() == existed
    assert not existed or list(new.iterdir()) == []


def test_an_empty_log_is_no_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path / "empty", SchemaSteps(), read_models()).close()
    with pytest.raises(InputError, match="holds no events"):
        Tools(tmp_path / "empty", capsys)("restore", tmp_path / "data")
    assert not (tmp_path / "data").exists()


# --- copies --------------------------------------------------------------------------------------------------------


def test_a_copy_is_told_from_its_original(run: Tools, tmp_path: Path) -> None:
    check_place(run.directory)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in _bytes(run.directory).items():
        (copy / name).write_bytes(content)
    with pytest.raises(ConfigError, match="is a copy of a gateway's log"):
        check_place(copy)
    (copy / PLACE_NAME).unlink()
    with pytest.raises(ConfigError, match="log restore COPY NEW_DATA_DIR"):
        check_place(copy)


@pytest.mark.parametrize("when", ["before a start", "before a stop"])
def test_a_copy_that_is_written_back_into_its_original_is_told(
    run: Tools, tmp_path: Path, when: str
) -> None:
    """As `cp -a` and `rsync --inplace` do: the files stay those that they were."""
    if when == "before a stop":
        note_place(run.directory)
    before = _bytes(run.directory)
    note_place(run.directory)
    check_place(run.directory)
    number = (run.directory / LOG_NAME).stat().st_ino
    for name, content in before.items():
        (run.directory / name).write_bytes(content)
    assert (run.directory / LOG_NAME).stat().st_ino == number
    with pytest.raises(ConfigError, match="a history that is not the newest"):
        check_place(run.directory)


def test_owners_modes_and_links_make_no_copy(run: Tools, tmp_path: Path) -> None:
    for path in run.directory.iterdir():
        path.chmod(0o640)
        (tmp_path / path.name).hardlink_to(path)
    check_place(run.directory)


@pytest.mark.parametrize("dies_before", [1, 2])
def test_a_start_that_dies_while_it_notes_its_place_left_no_copy(
    run: Tools, monkeypatch: pytest.MonkeyPatch, dies_before: int
) -> None:
    written: list[object] = []
    write = place._write

    def dying(note: Path, *words: str) -> None:
        written.append(words)
        if len(written) == dies_before:
            raise KeyboardInterrupt
        write(note, *words)

    with monkeypatch.context() as patch:
        patch.setattr(place, "_write", dying)
        with pytest.raises(KeyboardInterrupt):
            note_place(run.directory)
    check_place(run.directory)
    note_place(run.directory)
    check_place(run.directory)


def test_a_directory_without_its_witness_is_a_copy(run: Tools) -> None:
    for witness in run.directory.glob(f"{WITNESS_NAME}*"):
        witness.unlink()
    with pytest.raises(ConfigError, match="is a copy"):
        check_place(run.directory)


def test_a_renamed_directory_is_no_copy(run: Tools, tmp_path: Path) -> None:
    moved = run.directory.rename(tmp_path / "moved")
    check_place(moved)
    note_place(moved)
    check_place(moved)


def test_a_note_that_cannot_be_read_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b"a log")
    (tmp_path / PLACE_NAME).mkdir()
    with pytest.raises(FatalError, match=r"gateway\.place was read or written"):
        check_place(tmp_path)


def test_a_new_directory_is_no_copy(tmp_path: Path) -> None:
    check_place(tmp_path)
    (tmp_path / LOG_NAME).touch()
    check_place(tmp_path)
    note_place(tmp_path)
    number, witness = (tmp_path / PLACE_NAME).read_text().split()
    assert number == str((tmp_path / LOG_NAME).stat().st_ino)
    assert (tmp_path / witness).exists()


def test_a_first_start_that_died_left_no_copy(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    note_place(data_dir)
    check_place(data_dir)
    Store(data_dir, SchemaSteps(), read_models()).close()
    check_place(data_dir)


def test_a_place_that_cannot_be_noted_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / f"{PLACE_NAME.removesuffix('.place')}.new").mkdir()
    with pytest.raises(FatalError, match=r"gateway\.place"):
        note_place(tmp_path)
