"""Secrets on disk: one 0600 file each, beside the log and never in it.

The mnemonic is in `mnemonic`; the API secret of a federation, which its invite carries, in `api-secret-<id>`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.storage.errors import storage_error
from errors import ConfigError
from fedimint.crypto.secrets import ENTROPY_SIZE, generate_mnemonic, normalise_mnemonic

#: How the names of the files of API secrets begin.
API_FILES = "api-secret-"
MNEMONIC_NAME = "mnemonic"


def load_or_create_mnemonic(directory: Path, given: str | None, entropy: bytes) -> str:
    """The words of this data directory: those stored, else those given, else new ones from 16 bytes of entropy.

    Raises ConfigError when words are given that are not the stored ones, FatalError when the disk fails or is full, as
    all of this file.
    """
    path = directory / MNEMONIC_NAME
    wanted = normalise_mnemonic(given) if given is not None else None
    text = _read(path)
    if text is not None:
        stored = normalise_mnemonic(text)
        if wanted is not None and wanted != stored:
            raise ConfigError(
                "FM_GATEWAY_MNEMONIC is not the mnemonic of this data directory: "
                "unset it, or choose another data directory"
            )
        return stored
    words = wanted or generate_mnemonic(entropy[:ENTROPY_SIZE])
    _write(path, words + "\n")
    return words


def store_api_secret(directory: Path, federation_id: str, secret: str | None) -> None:
    """Keep the API secret of a federation, if it has one."""
    if secret is not None:
        _write(_api_secret_path(directory, federation_id), secret)


def load_api_secret(directory: Path, federation_id: str) -> str | None:
    """The API secret of a federation, None when it has none."""
    return _read(_api_secret_path(directory, federation_id))


def _api_secret_path(directory: Path, federation_id: str) -> Path:
    return directory / f"{API_FILES}{federation_id}"


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise storage_error(path, error) from error


def _read(path: Path) -> str | None:
    with _on_disk(path):
        return path.read_text() if path.exists() else None


def _write(path: Path, text: str) -> None:
    """Put the file there whole, readable by us alone, and make it durable before anything relies on it."""
    with _on_disk(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_durably(path, text)


def _write_durably(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
