"""Real file systems that are full or read-only, in a mount namespace of their own, which needs root."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Writes until there is no space, then makes some and goes on; prints every sentence.
_FILL = """
import sys
from pathlib import Path
import anyio
from contextlib import suppress
from errors import FatalError, UnavailableError
from tests.engine.toy import Credit, open_engine, open_store, running

directory = Path(sys.argv[1]) / "data"
ballast = Path(sys.argv[1]) / "ballast"
ballast.write_bytes(bytes(300_000))

async def until_full(count):
    store = open_store(directory)
    engine = open_engine(store)
    acknowledged = 0
    try:
        async with running(engine):
            with suppress(UnavailableError):
                for number in range(count):
                    await engine.submit(f"account/{number}", Credit(amount=1))
                    acknowledged += 1
    finally:
        print("acknowledged", acknowledged, "written", store.head.position)
        store.close()

try:
    anyio.run(until_full, 10_000)
except FatalError as error:
    print(error)
try:
    open_store(directory).close()
    print("opened although full")
except FatalError as error:
    print(error)
ballast.unlink()
anyio.run(until_full, 10)
"""

_OPEN = """
import sys
from pathlib import Path
from errors import ConfigError
from tests.engine.toy import open_store
for name in ("data", "new"):
    try:
        open_store(Path(sys.argv[1]) / name)
    except ConfigError as error:
        print(error)
"""


def _mounted(folder: Path, options: str, program: str, prepare: str = ":") -> list[str]:
    """What the program prints that is run with the folder as a file system in memory."""
    script = (
        f'mount -t tmpfs -o size=800k none "$1" && {prepare} && '
        f'mount -o remount,{options} "$1" && exec "$2" -c "$3" "$1"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), sys.executable, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def _root_may_mount() -> None:
    try:
        subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system needs root and a kernel that lets it")


def test_a_full_file_system(tmp_path: Path) -> None:
    lines = _mounted(tmp_path, "rw", _FILL)
    counts, sentence, *rest = lines
    _, acknowledged, _, written = counts.split()
    assert 0 < int(acknowledged) <= int(written) < 10_000
    assert sentence.startswith("the disk is full, ")
    assert "free some space and start again" in sentence
    assert rest[0] == "opened although full" or rest[0].startswith("the disk is full")
    assert rest[1] == f"acknowledged 10 written {int(written) + 10}"


def test_a_read_only_file_system(tmp_path: Path) -> None:
    lines = _mounted(tmp_path, "ro", _OPEN, prepare='mkdir "$1/data"')
    assert len(lines) == 2
    for line in lines:
        assert "cannot be used (Read-only file system): give this user a directory" in line
