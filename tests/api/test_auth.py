"""The password check: what it accepts and remembers, and who has to wait."""

import threading
from collections.abc import Iterator

import anyio
import bcrypt
import pytest

from api import limits
from api.auth import PasswordCheck
from errors import BusyError, UnauthorizedError

pytestmark = pytest.mark.anyio

PASSWORD = "theresnosecondbest"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


class Bcrypt:
    """Counts the real checks, and holds them back while `closed`."""

    def __init__(self) -> None:
        self.calls = 0
        self.open = threading.Event()
        self.open.set()

    def checkpw(self, password: bytes, hashed: bytes) -> bool:
        self.calls += 1
        self.open.wait()
        return _checkpw(password, hashed)


_checkpw = bcrypt.checkpw


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bcrypt]:
    counted = Bcrypt()
    monkeypatch.setattr(bcrypt, "checkpw", counted.checkpw)
    yield counted
    counted.open.set()


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
async def test_every_bcrypt_version(version: str) -> None:
    check = PasswordCheck(HASH.replace("$2b$", f"${version}$"))
    await check.require(f"Bearer {PASSWORD}", remote="a")
    with pytest.raises(UnauthorizedError):
        await check.require("Bearer wrong", remote="a")


async def test_a_right_password_costs_bcrypt_once(counted: Bcrypt) -> None:
    check = PasswordCheck(HASH)
    for authorization in (f"Bearer {PASSWORD}", f"Bearer {PASSWORD}", PASSWORD):
        await check.require(authorization, remote="a")
    assert counted.calls == 1


async def test_a_wrong_password_is_checked_every_time(counted: Bcrypt) -> None:
    check = PasswordCheck(HASH)
    await check.require(PASSWORD, remote="a")
    for _ in range(2):
        with pytest.raises(UnauthorizedError, match="wrong"):
            await check.require("Bearer wrong", remote="a")
    await check.require(PASSWORD, remote="a")
    assert counted.calls == 3


async def test_no_header_costs_nothing(counted: Bcrypt) -> None:
    with pytest.raises(UnauthorizedError, match="needs the gateway's password"):
        await PasswordCheck(HASH).require(None, remote="a")
    assert counted.calls == 0


async def test_only_72_bytes_count_as_in_rust() -> None:
    password = "x" * 72
    check = PasswordCheck(bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode())
    await check.require(password + "anything", remote="a")
    with pytest.raises(UnauthorizedError):
        await check.require("x" * 71, remote="a")


async def test_a_flood_from_one_place_leaves_room_for_others(counted: Bcrypt) -> None:
    check = PasswordCheck(HASH)
    refused = 0
    admitted = anyio.Event()

    async def guess() -> None:
        nonlocal refused
        try:
            await check.require("Bearer guess", remote="attacker")
        except BusyError:
            refused += 1
        except UnauthorizedError:
            pass

    async def admin() -> None:
        await check.require(PASSWORD, remote="admin")
        admitted.set()

    counted.open.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(limits.PASSWORD_CHECKS_PER_REMOTE + 5):
            tasks.start_soon(guess)
        await anyio.wait_all_tasks_blocked()
        assert refused == 5
        tasks.start_soon(admin)
        await anyio.wait_all_tasks_blocked()
        counted.open.set()
        await admitted.wait()
    assert counted.calls == limits.PASSWORD_CHECKS_PER_REMOTE + 1
    assert check._waiting_by_remote == {}


async def test_all_together_are_bounded_but_the_known_password_passes(counted: Bcrypt) -> None:
    check = PasswordCheck(HASH)
    await check.require(PASSWORD, remote="admin")

    async def guess(remote: str) -> None:
        with pytest.raises(UnauthorizedError):
            await check.require("Bearer guess", remote=remote)

    counted.open.clear()
    async with anyio.create_task_group() as tasks:
        for number in range(limits.PASSWORD_CHECKS):
            tasks.start_soon(guess, f"remote {number}")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BusyError, match="Too many password checks"):
            await check.require("Bearer guess", remote="one more")
        await check.require(PASSWORD, remote="admin")
        counted.open.set()


async def test_the_manager_may_where_it_is_said(counted: Bcrypt) -> None:
    other = bcrypt.hashpw(b"manager", bcrypt.gensalt(4)).decode()
    check = PasswordCheck(HASH, other)
    await check.require("Bearer manager", remote="a", manager_may=True)
    assert counted.calls == 2
    await check.require("Bearer manager", remote="a", manager_may=True)
    await check.require(PASSWORD, remote="a", manager_may=True)
    await check.require(PASSWORD, remote="a")
    assert counted.calls == 3
    with pytest.raises(UnauthorizedError, match="wrong"):
        await check.require("Bearer manager", remote="a")
    with pytest.raises(UnauthorizedError, match="wrong"):
        await PasswordCheck(HASH).require("Bearer manager", remote="a", manager_may=True)


def test_its_repr_tells_nothing() -> None:
    assert HASH not in repr(PasswordCheck(HASH, HASH))
