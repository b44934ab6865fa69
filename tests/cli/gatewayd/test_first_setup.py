"""Giving a process its mnemonic: once, and only a valid one."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cli.gatewayd.first_setup import FirstSetup
from errors import ConflictError, InputError
from fedimint.crypto.secrets import generate_mnemonic

pytestmark = pytest.mark.anyio

WORDS = generate_mnemonic(bytes(range(16)))


def setup_in(directory: Path) -> FirstSetup:
    return FirstSetup(directory, bytes)


async def give(setup: FirstSetup, words: str | None) -> str:
    """Give words, start, and return what the process got."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(setup.set_mnemonic, words)
        got = await setup.words()
        setup.started()
    return got


async def test_given_words_are_stored(tmp_path: Path) -> None:
    assert await give(setup_in(tmp_path), f"  {WORDS.upper()}\n") == WORDS
    stored = tmp_path / "mnemonic"
    assert stored.read_text() == WORDS + "\n"
    assert stored.stat().st_mode & 0o777 == 0o600


async def test_without_words_new_ones_are_made(tmp_path: Path) -> None:
    assert await give(setup_in(tmp_path), None) == generate_mnemonic(bytes(16))


@pytest.mark.parametrize("words", ["", "abandon about", "abandon " * 12, WORDS + " zoo"])
async def test_what_is_no_mnemonic_can_be_tried_again(tmp_path: Path, words: str) -> None:
    setup = setup_in(tmp_path)
    with pytest.raises(InputError, match=r"^the mnemonic has ") as caught:
        await setup.set_mnemonic(words)
    assert "zoo" not in str(caught.value)
    assert not (tmp_path / "mnemonic").exists()
    assert await give(setup, WORDS) == WORDS


async def test_the_second_call_is_refused_also_at_once(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    ended: list[str] = []

    async def call(name: str, words: str | None) -> None:
        try:
            await setup.set_mnemonic(words)
        except ConflictError:
            name += " refused"
        ended.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "one", WORDS)
        tasks.start_soon(call, "other", WORDS)
        await anyio.wait_all_tasks_blocked()
        assert len(ended) == 1  # the one that was first waits for the start
        assert ended[0].endswith("refused")
        setup.started()
    assert len(ended) == 2
    assert not ended[1].endswith("refused")
    with pytest.raises(ConflictError, match="already"):
        await setup.set_mnemonic(None)
