"""The control socket of a development environment, and the program that talks to it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread
import pytest

from devnet.embedded_world import CHANNEL_SIDE_MSAT, EmbeddedWorld
from devnet.shell import client
from devnet.shell.embedded import EmbeddedShell, claim_once_funded
from devnet.shell.server import Command, serve_shell
from devnet.users.receiving import IncomingOrder, IncomingPayment
from errors import ConfigError, GatewayError, InputError, PeerError, UnavailableError
from tests.devnet.users.test_receiving import ROUTING

pytestmark = pytest.mark.anyio

NOW_S = 1_800_000_000
ADDRESS = "bcrt1qdtu5n5f7zh7l4gdymxqcenf6knr4mhurtlexa874hurq80qn02js08vvdq"


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A short one, since the path of a socket may have 107 bytes."""
    with TemporaryDirectory(prefix="shell-") as folder:
        yield Path(folder)


async def echo(words: Sequence[str]) -> str:
    if not words:
        raise InputError("nothing to say")
    return " ".join(words)


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    commands: dict[str, Command] = {"echo": echo}
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_shell, path, commands)
        yield
        tasks.cancel_scope.cancel()


async def call(path: Path, *words: str) -> int:
    return await anyio.to_thread.run_sync(client.main, [str(path), *words])


async def test_a_command_is_answered_or_refused(
    socket_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = socket_folder / "socket"
    async with serving(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert await call(path, "echo", "two", "words") == 0
        assert await call(path, "echo") == 1
        assert await call(path, "sing") == 1
        assert await call(path) == 1
    captured = capsys.readouterr()
    assert captured.out == "two words\n"
    assert captured.err.splitlines()[:2] == [
        "nothing to say",
        "sing is none of the commands echo",
    ]


async def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await call(tmp_path / "socket", "echo") == 1
    assert "is it running" in capsys.readouterr().err


async def test_what_is_no_command_harms_nobody(socket_folder: Path) -> None:
    path = socket_folder / "socket"
    async with serving(path):
        async with await anyio.connect_unix(path) as stream:
            await stream.send(b"not json\n")
            assert b"error" in await stream.receive()
        async with await anyio.connect_unix(path) as stream:
            await stream.send(b"[")
        assert await call(path, "echo", "still there") == 0


async def test_no_socket_can_be_made_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no socket"):
        await serve_shell(tmp_path / "nowhere" / "socket", {})


@pytest.fixture
def world() -> EmbeddedWorld:
    return EmbeddedWorld(3, lambda: NOW_S)


async def test_blocks_and_coins_come_when_asked_for(world: EmbeddedWorld) -> None:
    commands = EmbeddedShell(world).commands()
    height = world.chain.height
    address = await commands["carol"](["address"])
    # As `gateway-cli address` prints it.
    txid = await commands["coins"](["5000", f'"{address}"'])
    assert await commands["mine"]([]) == f"height {height + 1}"
    assert await commands["mine"](["3"]) == f"height {height + 4}"
    assert world.chain.transaction(txid) is not None
    assert world.payee.onchain_sat == 5_000


async def test_carol_is_paid_and_pays(world: EmbeddedWorld) -> None:
    carol = EmbeddedShell(world).commands()["carol"]
    assert await carol(["balance"]) == f"{CHANNEL_SIDE_MSAT} msat"
    theirs = world.middle.make_invoice(7_000)
    assert (await carol(["pay", theirs.text])).startswith("paid, preimage ")
    assert await carol(["balance"]) == f"{CHANNEL_SIDE_MSAT - 7_000} msat"
    assert (await carol(["invoice", "9"])).startswith("lnbcrt90n")
    with pytest.raises(PeerError, match="not paid"):
        await carol(["pay", world.middle.make_invoice(2 * CHANNEL_SIDE_MSAT).text])


@pytest.mark.parametrize(
    "words",
    [
        ("mine", "1", "2"),
        ("mine", "0"),
        ("mine", "-1"),
        ("mine", "1000000000"),
        ("coins", "9" * 30, ADDRESS),
        ("coins", "1000"),
        ("coins", "1000", "nowhere"),
        ("carol", "invoice"),
        ("carol", "fly"),
    ],
)
async def test_wrong_words_are_refused(world: EmbeddedWorld, words: tuple[str, ...]) -> None:
    name, *rest = words
    with pytest.raises(GatewayError):
        await EmbeddedShell(world).commands()[name](rest)


async def test_a_payment_that_cannot_be_claimed_ends_nothing_else(
    world: EmbeddedWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.new_user(0, world.federation)

    async def unreachable(_payment: IncomingPayment) -> None:
        raise UnavailableError("no guardian answers")

    monkeypatch.setattr(user, "await_funded", unreachable)
    payment = user.receive(IncomingOrder(1_000_000, NOW_S), ROUTING)
    await claim_once_funded(user, payment)
    assert "no guardian answers" in caplog.text
