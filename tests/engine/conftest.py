"""Fixtures of the engine's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store import Store
from tests.engine.toy import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new log, closed in the end."""
    opened = open_store(tmp_path)
    yield opened
    opened.close()
