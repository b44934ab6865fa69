"""A damaged log: the start refuses and says what to do, or nothing that counts is lost."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import anyio
import pytest

from engine.chain import verified
from engine.fold import Position, fold
from engine.storage.errors import DamagedError
from engine.storage.head_file import HEAD_NAME
from engine.storage.lock import LOCK_NAME
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import FatalError, UnavailableError
from tests.engine.crash_bench import Bench
from tests.engine.toy import DISK, Begin, Credit, machines, open_engine, open_store, order, running

WAL_NAME = f"{LOG_NAME}-wal"
SHM_NAME = f"{LOG_NAME}-shm"
ORDERS = [(f"transfer/{number}", order(number)) for number in range(1, 20)]
FLIPS = 150
PAGE_BYTES = 4_096


@pytest.fixture(scope="module")
def left() -> Iterator[Path]:
    """What a killed process has left, some of it in the file and the rest in the WAL."""
    with tempfile.TemporaryDirectory(dir=DISK) as folder:
        bench = Bench(Path(folder), "asyncio")
        assert not bench.session(ORDERS[:15])
        assert bench.session(ORDERS[15:], crash_at=40)
        assert (bench.directory / WAL_NAME).stat().st_size > 10 * PAGE_BYTES
        yield bench.directory


@pytest.fixture
def copy(left: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=DISK) as folder:
        yield Path(shutil.copytree(left, Path(folder) / "copy"))


def states(directory: Path) -> dict[str, Position]:
    """What a gateway started on the directory would decide on: what is open from memory, the rest by its rows."""
    with closing(open_store(directory)) as store:
        engine = open_engine(store)
        everything = fold(machines(), verified(store.rows()), keep_final=True)
        assert {s: engine.peek(s) for s in everything} == {
            s: p.state for s, p in everything.items()
        }
        return everything


@pytest.mark.parametrize("name", [LOG_NAME, WAL_NAME])
def test_a_flipped_byte_is_refused_or_does_not_count(left: Path, name: str) -> None:
    expected = states(Path(shutil.copytree(left, left.parent / f"expected-{name}")))
    random = Random(name)
    sentences: list[str] = []
    for _ in range(FLIPS):
        with tempfile.TemporaryDirectory(dir=DISK) as folder:
            directory = Path(shutil.copytree(left, Path(folder) / "copy"))
            content = bytearray((directory / name).read_bytes())
            content[random.randrange(len(content))] ^= random.randrange(1, 256)
            (directory / name).write_bytes(content)
            try:
                assert states(directory) == expected
            except FatalError as error:
                sentences.append(str(error).replace(str(directory), ""))
    for sentence in sentences:
        assert "continue from a backup" in sentence
    assert len(sentences) > FLIPS // 20


@pytest.mark.parametrize("name", [LOG_NAME, WAL_NAME])
def test_a_file_cut_short_is_refused(left: Path, name: str) -> None:
    whole = Path(shutil.copytree(left, left.parent / f"whole-{name}"))
    if name == LOG_NAME:
        states(whole)  # which leaves no WAL, from which a page could come instead
    for kept in range(0, (whole / name).stat().st_size, PAGE_BYTES):
        with tempfile.TemporaryDirectory(dir=DISK) as folder:
            directory = Path(shutil.copytree(whole, Path(folder) / "copy"))
            with (directory / name).open("r+b") as file:
                file.truncate(kept)
            with pytest.raises(FatalError, match=r"keep this data directory as it is, .*backup"):
                states(directory)


@pytest.mark.parametrize("name", [LOG_NAME, WAL_NAME])
def test_a_file_that_is_gone_is_refused_until_it_is_back(copy: Path, name: str) -> None:
    aside = copy.parent / name
    (copy / name).rename(aside)
    kept = {path.name: path.read_bytes() for path in copy.iterdir() if path.name != LOCK_NAME}
    with pytest.raises(DamagedError, match=r"its end is missing\. Put back what was removed"):
        states(copy)
    assert (copy / HEAD_NAME).read_bytes() == kept[HEAD_NAME]
    (copy / name).unlink(missing_ok=True)
    if name == LOG_NAME:  # SQLite has thrown away a WAL that it found without its file
        (copy / WAL_NAME).write_bytes(kept[WAL_NAME])
    aside.rename(copy / name)
    assert states(copy)


@pytest.mark.parametrize("name", [SHM_NAME, HEAD_NAME, LOCK_NAME])
def test_what_can_be_made_anew_is(copy: Path, left: Path, name: str) -> None:
    expected = states(Path(shutil.copytree(left, left.parent / f"expected-{name}")))
    (copy / name).unlink(missing_ok=True)
    assert states(copy) == expected


def test_a_copy_of_a_running_log_is_refused_or_whole_up_to_a_position() -> None:
    """As a careless backup is: file by file, with commits in between."""
    with tempfile.TemporaryDirectory(dir=DISK) as folder:
        directory, copies = Path(folder) / "live", Path(folder)
        store = open_store(directory)
        over = threading.Event()
        writer = threading.Thread(target=_write_until, args=(store, over))
        writer.start()
        names = [LOG_NAME, WAL_NAME, HEAD_NAME]
        random = Random(3)
        for number in range(20):
            target = copies / str(number)
            target.mkdir()
            for name in random.sample(names, len(names)):
                shutil.copy2(directory / name, target / name)
        over.set()
        writer.join()
        rows = [chained.row for chained in store.rows()]
        store.close()
        for number in range(20):
            try:
                copied = open_store(copies / str(number))
            except FatalError:
                continue
            with closing(copied):
                found = list(verified(copied.rows()))
                assert found == rows[: len(found)]


def _write_until(store: Store, over: threading.Event) -> None:
    async def write() -> None:
        engine = open_engine(store)
        async with running(engine):
            number = 0
            while not over.is_set():
                number += 1
                await engine.submit(f"account/{number % 50}", Credit(amount=1))

    anyio.run(write)


def test_the_overtaken_process_decides_but_nothing_of_it_is_written_or_leaves(copy: Path) -> None:
    """Somebody removed the lock and started a second gateway on the directory."""
    sent: list[str] = []

    async def send(effect: object, context: object) -> None:
        del context
        sent.append(str(effect))
        await anyio.sleep_forever()

    first = open_store(copy)
    engine = open_engine(first)
    (copy / LOCK_NAME).unlink()
    second = open_store(copy)

    async def use_the_first() -> None:
        async with running(engine, send):
            before = list(sent)
            with pytest.raises(UnavailableError, match="is stopping"):
                await engine.submit("transfer/new", Begin(order=order()))
            assert sent == before

    with pytest.raises(FatalError, match="another process opened this log"):
        anyio.run(use_the_first)
    with pytest.raises(FatalError, match="another process opened this log"):
        first.append([])
    assert "transfer/new" not in {chained.row.stream for chained in second.rows()}
    first.close()
    second.close()
