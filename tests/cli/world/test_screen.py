"""What is printed on the way of a demonstration, on a terminal and elsewhere."""

import io

import anyio
import pytest

from cli.world.screen import Screen
from engine.chain import Row, StoredStep
from engine.events import EncodedEvent
from tests.engine.toy import Credited, Open

pytestmark = pytest.mark.anyio

STEP = StoredStep(
    Row(7, 7, "account/" + "ab" * 32, 3, EncodedEvent("account.credited", 1, b"{}"), 1, 0),
    Credited(amount=5),
    Open(balance=5),
    final=False,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(screen: Screen) -> None:
    screen.tell("A sentence.")
    screen.detail("more of it")
    screen.event(STEP)


async def turn(screen: Screen) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await screen.run()
    screen.close()


async def test_lines_are_plain_where_nobody_watches() -> None:
    out = io.StringIO()
    screen = Screen(out)
    show(screen)
    await turn(screen)
    sentence, more, event = out.getvalue().splitlines()
    assert (sentence, more.strip()) == ("A sentence.", "more of it")
    assert event.split()[1:] == ["s", "#7", "account/abababababab", "account.credited", "→", "Open"]


async def test_a_terminal_shows_what_is_being_done_and_is_left_clean() -> None:
    out = Terminal()
    screen = Screen(out)
    show(screen)
    await turn(screen)
    lines = out.getvalue().split("\n")
    assert "A sentence." in lines[0]
    # The last line is a sign of life, cleared in the end.
    assert "A sentence." in lines[-1]
    assert lines[-1].endswith("\r\x1b[K")
    await screen.run()
    screen.tell("After the end.")
    assert out.getvalue().endswith("\r\x1b[KAfter the end.\n")
