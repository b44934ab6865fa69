"""Secrets on a disk that fails: the error hides the secret, and the old file stays."""

from pathlib import Path

import pytest

from errors import FatalError
from gateway.secret_files import (
    MNEMONIC_NAME,
    load_api_secret,
    load_or_create_mnemonic,
    store_api_secret,
)

WORDS = "abandon " * 11 + "about"
ENTROPY = bytes(16)


def test_a_mnemonic_that_cannot_be_read_is_not_made_anew(tmp_path: Path) -> None:
    (tmp_path / MNEMONIC_NAME).mkdir()  # which fails to be read, also for root
    with pytest.raises(FatalError, match=r"the disk failed while .*mnemonic was read or written"):
        load_or_create_mnemonic(tmp_path, None, ENTROPY)
    (tmp_path / MNEMONIC_NAME).rmdir()
    (tmp_path / MNEMONIC_NAME).write_bytes(b"\xff" + WORDS.encode())
    with pytest.raises(FatalError, match=r"mnemonic is damaged"):
        load_or_create_mnemonic(tmp_path, None, ENTROPY)
    assert (tmp_path / MNEMONIC_NAME).read_bytes() == b"\xff" + WORDS.encode()


def test_a_secret_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    store_api_secret(tmp_path, "f", "the old one")
    (tmp_path / "api-secret-f.new").mkdir()
    with pytest.raises(FatalError, match="was read or written") as refused:
        store_api_secret(tmp_path, "f", "the new one")
    assert "the new one" not in str(refused.value)
    assert load_api_secret(tmp_path, "f") == "the old one"
    (tmp_path / "api-secret-f.new").rmdir()
    store_api_secret(tmp_path, "f", "the new one")
    assert load_api_secret(tmp_path, "f") == "the new one"
    assert load_api_secret(tmp_path, "g") is None
