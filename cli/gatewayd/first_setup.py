"""A process without a mnemonic: waits for POST `/mnemonic`, which gives one or has one made."""

from collections.abc import Callable
from pathlib import Path

import anyio

from errors import ConfigError, ConflictError, InputError
from fedimint.crypto.secrets import ENTROPY_SIZE
from gateway import secret_files


class FirstSetup:
    """Answers POST `/mnemonic` once. The directory keeps the words that it stores."""

    def __init__(self, directory: Path, random_bytes: Callable[[int], bytes]) -> None:
        self._directory = directory
        self._random_bytes = random_bytes
        self._storing = anyio.Lock()
        self._words: str | None = None
        self._stored = anyio.Event()
        self._started = anyio.Event()

    async def set_mnemonic(self, words: str | None) -> None:
        """Store the words, or new ones with None, and return once the gateway has started with them.

        Raises InputError for words that are no mnemonic, ConflictError when it was called before.
        """
        async with self._storing:
            if self._words is not None:
                raise ConflictError("This gateway has been given its mnemonic already")
            entropy = self._random_bytes(ENTROPY_SIZE)
            try:
                self._words = secret_files.load_or_create_mnemonic(self._directory, words, entropy)
            except ConfigError as error:
                raise InputError(str(error)) from None
            self._stored.set()
        await self._started.wait()

    async def words(self) -> str:
        """Wait for the words."""
        await self._stored.wait()
        assert self._words is not None
        return self._words

    def started(self) -> None:
        """The gateway runs and answers every new connection."""
        self._started.set()
