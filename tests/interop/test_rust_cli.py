"""The Rust gateway-cli against our gatewayd: every command is understood, and prints what our own gateway-cli prints.

Only that program is real here. The gateway is a process of its own, the world around it embedded.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.simulated.chain import ChainOutput
from devnet.embedded_world import EmbeddedWorld
from devnet.gateway_client import GatewayClient
from devnet.gatewayd import PASSWORD, OurGatewayd
from devnet.guardians.chain_wallet import BLOCK_COUNT_DELAY
from devnet.processes import run_once
from devnet.real import peers
from devnet.served_world import served_world
from fedimint.codec.addresses import parse_address
from tests.interop.needed import need

pytestmark = pytest.mark.anyio

_COMMAND_DEADLINE_S = 120
_COINS_SAT = 3_000_000
_ECASH_MSAT = 1_024_000_000
_HASH = "ab" * 32
_YEARS = ("--start-time", "2020-01-01T00:00:00Z", "--end-time", "2099-01-01T00:00:00Z")


@dataclass(frozen=True)
class Desk:
    """A gateway in a world, and both command lines to it."""

    world: EmbeddedWorld
    gateway: OurGatewayd
    program: Path

    @property
    def federation_id(self) -> str:
        return self.world.federations[0].federation_id.hex()

    async def theirs(self, *words: str) -> Any:
        """What the Rust gateway-cli prints, None for nothing. Raises ProcessError unless it exits with 0."""
        command = [
            str(self.program),
            f"--address={self.gateway.url}",
            f"--rpcpassword={PASSWORD}",
            *words,
        ]
        return _json(await run_once(command, deadline_s=_COMMAND_DEADLINE_S))

    async def ours(self, *words: str) -> Any:
        return _json(await self.gateway.text(*words))


def _json(text: str) -> Any:
    return msgspec.json.decode(text) if text.strip() else None


def shape_of(value: object) -> object:
    """Names of fields and kinds of values; a list by its first element."""
    if isinstance(value, dict):
        return {name: shape_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape_of(inner) for inner in value[:1]]
    return type(value).__name__


@pytest.fixture(scope="module")
async def desk(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    need("gateway-cli-rust")
    program = peers.find("gateway-cli-rust")
    assert program is not None
    folder = tmp_path_factory.mktemp("rust-cli")
    async with served_world(folder / "lnd", ("Alpha", "Beta")) as served:
        gateway = OurGatewayd(folder / "gateway", served.lnd)
        await gateway.start()
        try:
            yield await _furnished(Desk(served.world, gateway, program))
        finally:
            await gateway.program.stop()


async def _furnished(desk: Desk) -> Desk:
    """Joined by the Rust command line, with ecash, coins, and a payment behind it."""
    world, client = desk.world, GatewayClient(desk.gateway.url)
    for federation in world.federations:
        joined = await desk.theirs("connect-fed", federation.invite_code().to_text())
        assert joined["federation_id"] == federation.federation_id.hex()
        federation.endow(_ECASH_MSAT // 1000)
        await client.give_ecash(federation.issue_ecash(_ECASH_MSAT).to_text())
    address = (await desk.theirs("onchain", "address"))["address"]
    world.chain.send(ChainOutput(parse_address(address).script_pubkey, _COINS_SAT))
    world.chain.mine(BLOCK_COUNT_DELAY + 1)
    paid = await desk.theirs("lightning", "pay-invoice", world.payee.make_invoice(2_000_000).text)
    assert len(bytes.fromhex(paid["preimage"])) == 32
    return desk


@pytest.mark.parametrize(
    "command",
    [
        "get-balances",
        "seed",
        "invite-codes",
        "payment-log --federation-id ID",
        "payment-summary",
        "lightning list-channels",
        f"lightning get-invoice --payment-hash {_HASH}",
        f"lightning list-transactions {' '.join(_YEARS)}",
        "ecash pegin --federation-id ID",
        "cfg client-config",
        "cfg client-config --federation-id ID",
        "cfg display",
        "cfg display --federation-id ID",
    ],
)
async def test_what_is_looked_at_reads_the_same(desk: Desk, command: str) -> None:
    words = command.replace("ID", desk.federation_id).split()
    assert await desk.theirs(*words) == await desk.ours(*words)


async def test_info_reads_the_same_but_for_our_fields(desk: Desk) -> None:
    ours = await desk.ours("info")
    of_ours = [ours.pop(name) for name in ("open_payments", "problems", "frozen_until")]
    assert of_ours == [[], [], []]
    assert {at["federation_id"] for at in ours.pop("exposures")} == {
        federation["federation_id"] for federation in ours["federations"]
    }
    assert await desk.theirs("info") == ours


@pytest.mark.parametrize(
    "command",
    [
        "lightning create-invoice 1000 --description x",
        "onchain address",
        "ecash send --federation-id ID 1000",
        "ecash backup --federation-id ID",
        "ecash pegin-recheck --federation-id ID --address ADDRESS",
        "ecash pegin-from-onchain --federation-id ID --amount 50000000 --fee-rate-sats-per-vbyte 2",
        "ecash pegout --federation-id ID --amount 20000000 --address ADDRESS",
        "ecash pegout-to-onchain --federation-id ID --amount 20000000",
        "onchain send --address ADDRESS --amount 10000000 --fee-rate-sats-per-vbyte 2",
        "cfg set-fees --federation-id ID --ln-base 1000 --ln-ppm 10 --tx-base 1000 --tx-ppm 10",
        "cfg set-payment-policy --federation-id ID --receive-enabled true",
        "create-password-hash word --cost 4",
    ],
)
async def test_what_is_done_answers_in_the_same_form(desk: Desk, command: str) -> None:
    address = await desk.world.payee.onchain_address()
    words = command.replace("ID", desk.federation_id).replace("ADDRESS", address).split()
    theirs, ours = await desk.theirs(*words), await desk.ours(*words)
    desk.world.chain.mine(BLOCK_COUNT_DELAY + 1)
    if command.startswith("ecash pegout"):
        assert ours.pop("amount_sats") == 20_000
    assert shape_of(theirs) == shape_of(ours)


async def test_ecash_goes_out_and_in(desk: Desk) -> None:
    sent = await desk.theirs("ecash", "send", "--federation-id", desk.federation_id, "1024")
    received = await desk.theirs("ecash", "receive", "--notes", sent["notes"])
    assert received == {"amount": 1024}


async def test_channels_are_opened_and_closed(desk: Desk) -> None:
    (channel,) = await desk.theirs("lightning", "list-channels")
    key = channel["remote_pubkey"]
    opened = await desk.theirs(
        *("lightning", "open-channel", "--pubkey", key, "--host", "localhost:9735"),
        *("--channel-size-sats", "100000", "--push-amount-sats", "0"),
    )
    assert len(opened["funding_txid"]) == 64
    desk.world.chain.mine(BLOCK_COUNT_DELAY + 1)
    await desk.theirs(
        *("lightning", "set-channel-fees", "--funding-outpoint", channel["funding_outpoint"]),
        *("--base-fee-msat", "7", "--parts-per-million", "9"),
    )
    listed = await desk.ours("lightning", "list-channels")
    assert 7 in {one["base_fee_msat"] for one in listed}
    unknown = "02" + "ab" * 32
    closed = await desk.theirs(
        "lightning", "close-channels-with-peer", "--pubkey", unknown, "--sats-per-vbyte", "1"
    )
    assert closed == {"num_channels_closed": 0}


async def test_leaving_and_stopping_come_last(desk: Desk) -> None:
    """Of the other federation: coins are on their way in the first."""
    federation_id = desk.world.federations[1].federation_id.hex()
    left = await desk.theirs("leave-fed", "--federation-id", federation_id)
    assert left["federation_id"] == federation_id
    assert await desk.theirs("stop") is None
    await desk.gateway.died()
