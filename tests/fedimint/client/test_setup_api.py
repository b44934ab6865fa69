"""Setting up a federation, against guardians in memory that keep the real ones' rules."""

import anyio.lowlevel
import msgspec
import pytest

from errors import InputError
from fedimint.client.setup_api import LocalParams, NewGuardian, set_up_federation
from fedimint.client.transport import GuardianRefused, GuardianUnreachable

pytestmark = pytest.mark.anyio

PASSWORD = "pass"


class Guardian:
    """Away while it starts, and while it generates keys, which takes all of them."""

    def __init__(self, *, loses_last_answer: bool = False) -> None:
        self.away = 2
        self.local: LocalParams | None = None
        self.codes: set[str] = set()
        self.started = False
        self.federation: list[Guardian] = []
        self.loses_last_answer = loses_last_answer

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        await anyio.lowlevel.checkpoint()
        if self.away > 0:
            self.away -= 1
            raise GuardianUnreachable("starting")
        running = all(guardian.started for guardian in self.federation)
        if method == "setup_status":
            waiting = "AwaitingLocalParams" if self.local is None else "SharingConnectionCodes"
            return "ConsensusIsRunning" if running else waiting
        if method == "invite_code" and running:
            return "fed1invite"
        if auth != PASSWORD:
            raise GuardianRefused(401, "Invalid authorization")
        return self.admin(method, params)

    def admin(self, method: str, params: object) -> object:
        if method == "set_local_params":
            self.local = msgspec.convert(msgspec.to_builtins(params), LocalParams)
            return f"code of {self.local.name}"
        assert self.local is not None
        if method == "add_peer_setup_code":
            assert isinstance(params, str)
            assert params != f"code of {self.local.name}"
            self.codes.add(params)
            return params.removeprefix("code of ")
        assert method == "start_dkg"
        assert len(self.codes) == len(self.federation) - 1
        self.started, self.away = True, 3
        if self.loses_last_answer:
            raise GuardianUnreachable("lost")
        return None

    async def aclose(self) -> None:
        """Nothing is open."""


async def nap(pause_s: float) -> None:
    await anyio.lowlevel.checkpoint()


def federation(size: int, *, loses_last_answer: bool = False) -> list[Guardian]:
    guardians = [Guardian(loses_last_answer=loses_last_answer) for _ in range(size)]
    for guardian in guardians:
        guardian.federation = guardians
    return guardians


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("loses_last_answer", [False, True])
async def test_a_federation_comes_up(size: int, loses_last_answer: bool) -> None:
    guardians = federation(size, loses_last_answer=loses_last_answer)
    new = [NewGuardian(guardian, PASSWORD) for guardian in guardians]
    invite = await set_up_federation(new, "fed", enabled_modules=["lnv2", "mintv2"], sleep_s=nap)
    assert invite == "fed1invite"
    leader, *others = [guardian.local for guardian in guardians]
    assert leader == LocalParams(
        "guardian-00",
        federation_name="fed",
        federation_size=size,
        enabled_modules=("lnv2", "mintv2"),
    )
    assert others == [LocalParams(f"guardian-{number:02}") for number in range(1, size)]


async def test_a_running_federation_is_left_as_it_is() -> None:
    guardians = federation(4)
    for guardian in guardians:
        guardian.started = True
    new = [NewGuardian(guardian, PASSWORD) for guardian in guardians]
    assert await set_up_federation(new, "fed", sleep_s=nap) == "fed1invite"
    assert [guardian.local for guardian in guardians] == [None] * 4


async def test_a_wrong_password_is_told() -> None:
    new = [NewGuardian(guardian, "other") for guardian in federation(1)]
    with pytest.raises(GuardianRefused, match="Invalid authorization"):
        await set_up_federation(new, "fed", sleep_s=nap)


@pytest.mark.parametrize("size", [0, 2, 3])
async def test_sizes_that_cannot_be(size: int) -> None:
    new = [NewGuardian(guardian, PASSWORD) for guardian in federation(size)]
    with pytest.raises(InputError):
        await set_up_federation(new, "fed", sleep_s=nap)


def test_the_password_stays_out_of_texts() -> None:
    assert "hush" not in repr(NewGuardian(Guardian(), "hush"))
