"""Joining federations, and what a restart finds of them and refuses."""

from pathlib import Path

import anyio
import anyio.lowlevel
import apsw
import pytest

from devnet.guardians.dealer import LNV2_ID, MINTV2_ID
from engine.storage.rows import LOG_NAME
from errors import (
    ConfigError,
    ConflictError,
    FatalError,
    GatewayError,
    InputError,
    UnavailableError,
)
from fedimint.codec.invite import InviteCode
from gateway import secret_files
from gateway.application import Gateway
from gateway.federation import served_modules
from gateway.views import FederationInfo
from migrations import SchemaSteps
from statemachines import send
from tests.gateway.scene import OTHER_WORDS, WORDS, Hold, Scene, ask, kinds, until, wallet
from tests.log_bytes import log_bytes

pytestmark = pytest.mark.anyio
API_SECRET = "the secret of the API, which no log may hold"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def join(gateway: Gateway, scene: Scene, invite: str) -> FederationInfo:
    return await scene.while_time_passes(
        lambda: gateway.federations.connect_federation(invite, recover=False)
    )


async def not_joined(gateway: Gateway, scene: Scene, invite: str, error: type, match: str) -> None:
    before = kinds(scene.directory)
    with pytest.raises(ExceptionGroup) as refused:
        await join(gateway, scene, invite)
    assert refused.group_contains(error, match=match)
    assert kinds(scene.directory) == before


@pytest.mark.parametrize("invite", ["", "fed1", "fedimint", "nonsense", "fed11qgq", "é" * 10])
async def test_a_bad_invite_code(scene: Scene, invite: str) -> None:
    async with scene.serving() as gateway:
        await not_joined(gateway, scene, invite, InputError, "this is no invite code")


async def test_a_federation_on_another_network(scene: Scene) -> None:
    foreign = scene.add_federation("foreign", network="signet")
    async with scene.serving() as gateway:
        await not_joined(
            gateway,
            scene,
            foreign.invite_code().to_text(),
            InputError,
            "the federation is on signet, this gateway on regtest",
        )
        assert (await join(gateway, scene, scene.invite())).config.federation_index == 1


@pytest.mark.parametrize(("module_id", "kind"), [(LNV2_ID, "lnv2"), (MINTV2_ID, "mintv2")])
def test_a_federation_without_a_module_that_we_need(
    scene: Scene, module_id: int, kind: str
) -> None:
    config = scene.federation.config
    modules = {number: m for number, m in config.modules.items() if number != module_id}
    lacking = type(config)(
        config.api_endpoints,
        config.broadcast_public_keys,
        config.consensus_version,
        config.meta,
        modules,
    )
    with pytest.raises(InputError, match=f"the federation has no {kind} module"):
        served_modules(lacking)


async def test_a_federation_that_is_joined_already(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await not_joined(
            gateway, scene, scene.invite(), ConflictError, "serves this federation already"
        )


async def test_guardians_that_are_down(scene: Scene) -> None:
    async with scene.serving() as gateway:
        scene.federation.guardians[0].stop()
        await not_joined(gateway, scene, scene.invite(), UnavailableError, "too few guardians")
        scene.federation.guardians[0].start()
        assert (await join(gateway, scene, scene.invite())).config.federation_index == 1


async def test_an_invite_to_guardians_of_another_federation(scene: Scene) -> None:
    other = scene.add_federation("other")
    lying = InviteCode.of(scene.federation.invite_code().peers(), other.federation_id)
    async with scene.serving() as gateway:
        await not_joined(gateway, scene, lying.to_text(), GatewayError, "another federation")


async def test_recovering_is_refused_when_the_log_knows_the_wallet(scene: Scene) -> None:
    async with scene.serving() as gateway:
        joined = await join(gateway, scene, scene.invite())
        await gateway.federations.leave_federation(joined.federation_id)
        with pytest.raises(ConflictError, match="join without recovering"):
            await gateway.federations.connect_federation(scene.invite(), recover=True)


async def test_what_was_recovered_while_it_was_joined_otherwise_is_not_taken(scene: Scene) -> None:
    """Its notes may be spent since, and would be held twice."""
    hold = Hold()

    async def slow_history(method: str) -> None:
        if method.endswith("recovery_count"):
            await hold(method)

    async def recover(gateway: Gateway) -> None:
        with pytest.raises(ConflictError, match="join without recovering"):
            await gateway.federations.connect_federation(scene.invite(), recover=True)

    scene.federation.faults(0).pause = slow_history
    async with scene.serving() as gateway, anyio.create_task_group() as tasks:
        tasks.start_soon(recover, gateway)
        await hold.reached.wait()
        joined = await join(gateway, scene, scene.invite())
        await gateway.federations.leave_federation(joined.federation_id)
        hold.release()


async def test_joining_at_once_is_joining_once_and_no_index_is_given_twice(scene: Scene) -> None:
    others = [scene.add_federation(name) for name in ("second", "third")]
    outcomes: list[object] = []

    async def go(gateway: Gateway, invite: str) -> None:
        try:
            outcomes.append(await gateway.federations.connect_federation(invite, recover=False))
        except ConflictError as error:
            outcomes.append(error)

    invites = [f.invite_code().to_text() for f in (scene.federation, *others)]
    async with scene.serving() as gateway:
        async with anyio.create_task_group() as tasks:
            for invite in invites * 3:
                tasks.start_soon(go, gateway, invite)
        joined = [o for o in outcomes if isinstance(o, FederationInfo)]
        assert sorted(status.config.federation_index for status in joined) == [1, 2, 3]
        assert len(outcomes) == 9
        shown = (await gateway.info()).federations
        assert [status.config.federation_index for status in shown] == [1, 2, 3]
    assert kinds(scene.directory).count("gateway.index_taken") == 3
    async with scene.serving() as gateway:
        fourth = scene.add_federation("fourth").invite_code().to_text()
        assert (await join(gateway, scene, fourth)).config.federation_index == 4


@pytest.mark.parametrize("after", range(0, 40, 4))
async def test_a_caller_that_leaves_leaves_the_federation_served_or_not_joined(
    scene: Scene, after: int
) -> None:
    async with scene.serving() as gateway:
        async with anyio.create_task_group() as caller:

            async def ask_to_join() -> None:
                await gateway.federations.connect_federation(scene.invite(), recover=False)

            caller.start_soon(ask_to_join)
            for _ in range(after):
                await anyio.lowlevel.checkpoint()
            caller.cancel_scope.cancel()
        shown = (await gateway.info()).federations
        assert len(shown) == kinds(scene.directory).count("federation.joined")


async def test_no_secret_is_in_any_file_of_the_log(scene: Scene) -> None:
    scene.federation.api_secret = API_SECRET
    secret = InviteCode.of(
        scene.federation.invite_code().peers(), scene.federation.federation_id, API_SECRET
    )
    given: list[str | None] = []
    plain = scene.connect

    def connect(url: str, api_secret: str | None) -> object:
        given.append(api_secret)
        return plain(url, api_secret)

    scene.connect = connect  # type: ignore[assignment]  # what `plain` returns
    async with scene.serving() as gateway:
        status = await join(gateway, scene, secret.to_text())
        assert InviteCode.parse(status.config.invite_code).api_secret() is None
        during = log_bytes(scene.directory)
    given.clear()
    async with scene.serving():
        assert given == [API_SECRET]
    kept = scene.directory / f"api-secret-{scene.federation_id}"
    assert kept.read_text() == API_SECRET
    assert kept.stat().st_mode & 0o777 == 0o600
    for data in (during, log_bytes(scene.directory)):
        assert API_SECRET.encode() not in data
        assert secret.to_text().encode() not in data
        assert WORDS.encode() not in data
        assert b"abandon" not in data


# --- restart ---


async def test_a_restart_serves_the_same_federations_with_the_same_balance(scene: Scene) -> None:
    second = scene.add_federation("second")
    async with scene.joined() as (gateway, routing):
        await join(gateway, scene, second.invite_code().to_text())
        user, payment = await scene.funded(routing)
        answer = await ask(gateway, user.body(payment))
        await until(gateway, payment, send.Claimed)
        before = await wallet(gateway, scene.federation_id)
        info = await gateway.info()
        balances = await gateway.treasury.balances()
    async with scene.serving() as gateway:
        await anyio.wait_all_tasks_blocked()  # the node has said that the log is the newest
        after = await wallet(gateway, scene.federation_id)
        assert after.notes == before.notes
        assert await gateway.info() == info
        assert await gateway.treasury.balances() == balances
        assert await ask(gateway, user.body(payment)) == answer


@pytest.mark.parametrize(
    ("words", "network", "match"),
    [
        (OTHER_WORDS, "regtest", "belongs to a gateway with another mnemonic"),
        (WORDS, "signet", "belongs to a gateway on regtest, not signet"),
    ],
)
async def test_another_gateways_directory_is_refused_before_anything_runs(
    scene: Scene, words: str, network: str, match: str
) -> None:
    async with scene.joined():
        pass
    before = kinds(scene.directory)
    scene.words, scene.network = words, network  # type: ignore[assignment]  # one of the names
    scene.world.gateway_node.is_down = True
    with pytest.raises(ConfigError, match=match):
        async with scene.serving():
            pytest.fail("it serves")
    assert kinds(scene.directory) == before


async def test_a_second_gateway_on_the_directory_is_refused(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        with pytest.raises(ConfigError, match="another gatewayd is running on"):
            async with scene.serving():
                pytest.fail("it serves")
        assert (await gateway.info()).state == "Running"


async def test_a_newer_schema_is_refused(scene: Scene) -> None:
    async with scene.joined():
        pass
    connection = apsw.Connection(str(scene.directory / LOG_NAME))
    connection.pragma("user_version", SchemaSteps().latest + 1)
    connection.close()
    with pytest.raises(ConfigError, match="newer"):
        async with scene.serving():
            pytest.fail("it serves")


# --- files ---


def test_the_mnemonic_is_kept_for_us_alone(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "gateway"
    words = secret_files.load_or_create_mnemonic(directory, None, bytes(range(16)))
    path = directory / secret_files.MNEMONIC_NAME
    assert len(words.split()) == 12
    assert path.read_text() == words + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert list(directory.iterdir()) == [path]
    again = secret_files.load_or_create_mnemonic(directory, None, bytes(16))
    assert again == words
    assert secret_files.load_or_create_mnemonic(directory, f" {words.upper()} ", bytes(16)) == words


def test_other_words_than_the_stored_are_refused_without_showing_either(tmp_path: Path) -> None:
    assert secret_files.load_or_create_mnemonic(tmp_path, WORDS, bytes(16)) == WORDS
    with pytest.raises(ConfigError, match="is not the mnemonic of this data directory") as refused:
        secret_files.load_or_create_mnemonic(tmp_path, OTHER_WORDS, bytes(16))
    assert "abandon" not in str(refused.value)
    assert "zoo" not in str(refused.value)
    assert (tmp_path / secret_files.MNEMONIC_NAME).read_text() == WORDS + "\n"


def test_wrong_words_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wrong checksum"):
        secret_files.load_or_create_mnemonic(tmp_path, "zoo " * 12, bytes(16))
    assert not list(tmp_path.iterdir())


def test_a_crash_while_writing_leaves_no_half_mnemonic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_descriptor: int) -> None:
        raise OSError("the power is gone")

    monkeypatch.setattr("gateway.secret_files.os.fsync", dies)
    with pytest.raises(FatalError, match="the power is gone"):
        secret_files.load_or_create_mnemonic(tmp_path, WORDS, bytes(16))
    monkeypatch.undo()
    assert not (tmp_path / secret_files.MNEMONIC_NAME).exists()
    assert secret_files.load_or_create_mnemonic(tmp_path, OTHER_WORDS, bytes(16)) == OTHER_WORDS


def test_an_api_secret_is_replaced_and_a_missing_one_is_none(tmp_path: Path) -> None:
    assert secret_files.load_api_secret(tmp_path, "ab") is None
    secret_files.store_api_secret(tmp_path, "ab", None)
    assert not list(tmp_path.iterdir())
    for secret in ("one", "two"):
        secret_files.store_api_secret(tmp_path, "ab", secret)
        assert secret_files.load_api_secret(tmp_path, "ab") == secret
    assert (tmp_path / "api-secret-ab").stat().st_mode & 0o777 == 0o600
