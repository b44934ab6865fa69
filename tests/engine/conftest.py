"""Fixtures of the engine's tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.storage.store import Store
from tests.engine.toy import DISK, open_store


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A new folder on a disk that syncs at once."""
    with tempfile.TemporaryDirectory(dir=DISK) as directory:
        yield Path(directory)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new log, closed in the end."""
    opened = open_store(tmp_path)
    yield opened
    opened.close()
