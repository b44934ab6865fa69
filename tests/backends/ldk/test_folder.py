"""One process on the folder of the node, be it ours or the Rust gateway's; and no first start without a chain."""

import fcntl
import os
from pathlib import Path

import pytest

from backends.ldk.chain import tip_height
from backends.ldk.folder import LOCK_NAME, locked
from backends.ldk.settings import BitcoindSource, EsploraSource, LdkSettings
from devnet.processes import free_port
from errors import ConfigError, UnavailableError


def test_the_lock_of_the_rust_gateway_is_respected(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ConfigError, match="perhaps the Rust one"), locked(tmp_path):
        raise AssertionError
    os.close(descriptor)
    with locked(tmp_path):
        pass


def test_the_lock_is_held_for_the_block_and_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with locked(folder):
        with pytest.raises(ConfigError), locked(folder):
            raise AssertionError
        other = os.open(folder / LOCK_NAME, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    with locked(folder):
        pass


def test_a_chain_that_nobody_serves_is_unavailable() -> None:
    port = free_port()
    for source in (
        BitcoindSource("127.0.0.1", port, "user", "secret"),
        EsploraSource(f"http://127.0.0.1:{port}"),
    ):
        with pytest.raises(UnavailableError, match="source of the chain") as caught:
            tip_height(source)
        assert "secret" not in str(caught.value)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = LdkSettings(
        directory=tmp_path,
        words="zoo zoo",
        network="regtest",
        port=9735,
        alias="",
        recovers=False,
        chain=BitcoindSource("host", 1, "user", "hunter2"),
    )
    assert "zoo" not in repr(settings)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.chain)
