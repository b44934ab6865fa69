"""Secrets from stdin: a password is the first line, a mnemonic or ecash is everything."""

import io
import json
import sys
from collections.abc import Awaitable, Callable

import anyio.to_thread
import bcrypt
import pytest
from structlog.testing import capture_logs

from api.auth import PasswordCheck
from api.http import create_app
from api.http_server import serving
from api.routes import setup_routes
from api.testing.gateway import CannedGateway
from cli.gateway_cli.program import main
from errors import InputError
from fedimint.crypto.secrets import generate_mnemonic, normalise_mnemonic

pytestmark = pytest.mark.anyio
PASSWORD = "theresnosecondbest"
WORDS = generate_mnemonic(bytes(range(16)))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Terminal(io.StringIO):
    """Somebody types."""

    def isatty(self) -> bool:
        return True


class Setup:
    """A process without a mnemonic, which keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[str | None] = []

    async def set_mnemonic(self, words: str | None) -> None:
        self.given.append(words)
        if words is not None:
            try:
                normalise_mnemonic(words)
            except Exception as error:
                raise InputError(str(error)) from error


@pytest.fixture
async def set_mnemonic(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Setup], Awaitable[tuple[int, str]]]:
    async def run(stdin: str, setup: Setup) -> tuple[int, str]:
        """The exit code and stdout of `set-mnemonic --words -`, whose password comes from stdin too."""
        monkeypatch.delenv("FM_RPC_PASSWORD", raising=False)
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n{stdin}"))
        check = PasswordCheck(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
        with capture_logs():
            async with serving(create_app(setup_routes(setup), check), "127.0.0.1", 0) as (
                host,
                port,
            ):
                words = ["-a", f"http://{host}:{port}", "--rpcpassword", "-"]
                words += ["cfg", "set-mnemonic", "--words", "-"]
                code = await anyio.to_thread.run_sync(main, words)
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, captured.out

    return run


@pytest.mark.parametrize("separator", ["\n", " ", "\r\n", "\n\n"])
async def test_words_may_stand_on_lines_of_their_own(
    set_mnemonic: Callable[[str, Setup], Awaitable[tuple[int, str]]], separator: str
) -> None:
    setup = Setup()
    assert await set_mnemonic(WORDS.replace(" ", separator) + "\n", setup) == (0, "")
    (given,) = setup.given
    assert given is not None
    assert normalise_mnemonic(given) == WORDS


async def test_the_answer_of_seed_is_taken_as_it_is_printed(
    set_mnemonic: Callable[[str, Setup], Awaitable[tuple[int, str]]],
) -> None:
    setup = Setup()
    seed = json.dumps({"mnemonic": WORDS.split(), "legacy_federations": []}, indent=2)
    assert await set_mnemonic(seed, setup) == (0, "")
    assert setup.given == [WORDS]


@pytest.mark.parametrize("text", ["[]", '{"mnemonic": 1}', "{}", "12"])
async def test_other_json_is_no_mnemonic(
    set_mnemonic: Callable[[str, Setup], Awaitable[tuple[int, str]]], text: str
) -> None:
    setup = Setup()
    code, output = await set_mnemonic(text, setup)
    assert (code, json.loads(output)["code"]) == (4, "invalid_input")
    assert setup.given == [text]


async def test_a_wrong_word_is_named_by_its_place_alone(
    set_mnemonic: Callable[[str, Setup], Awaitable[tuple[int, str]]],
) -> None:
    wrong = WORDS.split()
    wrong[4] = "abuot"
    code, output = await set_mnemonic("\n".join(wrong), Setup())
    answer = json.loads(output)
    assert (code, answer["code"]) == (4, "invalid_input")
    assert answer["error"].endswith("number 5 of 12")
    assert not any(word in answer["error"].split() for word in wrong)


async def test_ecash_may_be_broken_into_lines(
    run: Callable[..., Awaitable[tuple[int, str]]],
    gateway: CannedGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("fedimint1x\n  y\n"))
    code, _ = await run("ecash", "receive", "--notes", "-")
    assert (code, gateway.calls) == (0, [("receive_ecash", "fedimint1x\n  y")])


async def test_who_types_is_told_how_to_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("fedimint1x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cli.gateway_cli.target.Target.call", lambda *_, **__: {"amount": 1})
        code = await anyio.to_thread.run_sync(main, ["ecash", "receive", "--notes", "-"])
    captured = capsys.readouterr()
    assert (code, json.loads(captured.out)) == (0, {"amount": 1})
    assert "Ctrl-D" in captured.err
