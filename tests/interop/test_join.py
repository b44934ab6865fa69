"""Our gateway joins a real federation, and its command line shows it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from api.structs import GatewayInfo
from devnet.gatewayd import OurGatewayd
from devnet.real.fedimintd import RealFederation
from devnet.real.world import RealWorld
from fedimint.codec.invite import InviteCode
from gateway.views import FederationInfo, GatewayBalances

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fresh(world: RealWorld, tmp_path: Path) -> AsyncIterator[OurGatewayd]:
    """A gateway that has joined nothing."""
    gateway = OurGatewayd(tmp_path, world.alice)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.program.stop()


async def info_of(gateway: OurGatewayd) -> GatewayInfo:
    return msgspec.json.decode(msgspec.json.encode(await gateway.cli("info")), type=GatewayInfo)


async def test_a_gateway_joins_by_invite_code(
    world: RealWorld, solo_federation: RealFederation, fresh: OurGatewayd
) -> None:
    before = await info_of(fresh)
    assert before.federations == ()
    assert before.gateway_state == "Running"
    assert before.version_hash == (await fresh.text("version-hash")).strip()
    assert not isinstance(before.lightning_info, str)
    assert before.lightning_info.connected.public_key == await world.alice.pubkey()
    assert before.lightning_info.connected.alias == "alice"
    assert before.lightning_info.connected.network == "regtest"

    code = solo_federation.invite_code
    joined = msgspec.convert(await fresh.cli("connect-fed", code), FederationInfo)
    federation_id = InviteCode.parse(code).federation_id().hex()
    assert joined.federation_id == federation_id
    assert joined.federation_name == "solo"
    assert joined.balance_msat == 0
    assert InviteCode.parse(joined.config.invite_code).federation_id().hex() == federation_id

    after = await info_of(fresh)
    assert after.federations == (joined,)
    assert after.federation_fake_scids == {str(joined.config.federation_index): federation_id}
    assert after.open_payments == ()


async def test_balances_show_node_and_federations(
    world: RealWorld, solo_federation: RealFederation, fresh: OurGatewayd
) -> None:
    await fresh.cli("connect-fed", solo_federation.invite_code)
    balances = msgspec.convert(await fresh.cli("balance"), GatewayBalances)
    (ecash,) = balances.ecash_balances
    assert ecash.ecash_balance_msats == 0
    assert await fresh.cli("balance", f"--federation-id={ecash.federation_id}") == 0
    (channel,) = await world.alice.channels()
    # lncli shows channels in whole satoshi, whatever was paid before.
    assert balances.lightning_balance_msats // 1000 == channel.local_balance_sat
    assert balances.inbound_lightning_liquidity_msats // 1000 == channel.remote_balance_sat
    assert balances.onchain_balance_sats > 0


async def test_joining_twice_is_refused(
    solo_federation: RealFederation, fresh: OurGatewayd
) -> None:
    await fresh.cli("connect-fed", solo_federation.invite_code)
    refusal = await fresh.refusal("connect-fed", solo_federation.invite_code)
    assert refusal.error == "the gateway serves this federation already"
    assert (refusal.code, refusal.exit_code) == ("invalid_state", 1)
    assert len((await fresh.info()).federations) == 1


async def test_a_wrong_invite_code_is_refused(fresh: OurGatewayd) -> None:
    refusal = await fresh.refusal("connect-fed", "fed1nonsense")
    assert (refusal.code, refusal.exit_code) == ("invalid_input", 4)
    assert "invite" in refusal.error


async def test_a_wrong_password_is_refused(fresh: OurGatewayd) -> None:
    refusal = await fresh.refusal("info", password="guess")
    assert (refusal.code, refusal.exit_code) == ("auth_failed", 3)


async def test_a_joined_federation_is_there_after_a_restart(
    solo_federation: RealFederation, fresh: OurGatewayd
) -> None:
    await fresh.cli("connect-fed", solo_federation.invite_code)
    before = await info_of(fresh)
    await fresh.program.stop()
    await fresh.start()
    assert (await info_of(fresh)).federations == before.federations
