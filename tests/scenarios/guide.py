"""The guide to gateways of 2024: each command line as written there, and its answer."""

from typing import Any

import msgspec

from devnet.gatewayd import OurGatewayd
from devnet.processes import until
from tests.scenarios.flows import BURIED_BLOCKS
from tests.scenarios.stage import Chain

AMOUNT_SAT = 50_000
#: What miners and guardians take of a deposit at most: the guide counts no fees.
FEES_SAT = 2_000
DEADLINE_S = 120

COMMANDS = (
    *("version-hash", "info", "balance", "address", "deposit", "withdraw", "connect-fed"),
    *("help", "lightning", "leave-fed"),
)
LIGHTNING_COMMANDS = (
    *("get-funding-address", "open-channel", "list-active-channels"),
    *("close-channels-with-peer", "wait-for-chain-sync"),
)
OPTIONS = ("--address, -a", "--rpcpassword", "--help, -h", "--version, -V")


class Guide:
    """One reader of the guide, with a gateway, a federation's invite code, and bitcoin of their own."""

    def __init__(self, gateway: OurGatewayd, invite_code: str, chain: Chain) -> None:
        self._gateway = gateway
        self._invite_code = invite_code
        self._chain = chain
        self._federation_id = ""

    async def play(self) -> None:
        """Every section, in order."""
        await self._managing_your_gateway()
        await self._connect()
        await self._look_around()
        await self._fund()
        await self._withdraw()
        await self._leave()

    async def _cli(self, line: str) -> Any:
        """What `gateway-cli` answers to a line of the guide, its stand-ins filled in."""
        filled = line.replace("<federation-id>", self._federation_id)
        filled = filled.replace("<federation-invite-code>", self._invite_code)
        program, *words = filled.split()
        assert program == "gateway-cli"
        return msgspec.json.decode(await self._gateway.text(*words))

    async def _managing_your_gateway(self) -> None:
        page = await self._gateway.text("help")
        for name in COMMANDS:
            assert f"\n  {name}: " in page, name
            assert await self._gateway.text("help", name)
        for option in OPTIONS:
            assert f"\n  {option}" in page, option
        lightning = await self._gateway.text("help", "lightning")
        for name in LIGHTNING_COMMANDS:
            assert f"\n  {name}: " in lightning, name
            page_of_it = await self._gateway.text("lightning", "help", name)
            assert page_of_it == await self._gateway.text("help", "lightning", name)
        assert await self._gateway.text("-h") == page
        assert (await self._gateway.text("-V")).startswith("gateway-cli ")

    async def _connect(self) -> None:
        joined = await self._cli("gateway-cli connect-fed <federation-invite-code>")
        info = await self._cli("gateway-cli info")
        self._federation_id = info["federations"][0]["federation_id"]
        assert joined["federation_id"] == self._federation_id

    async def _look_around(self) -> None:
        """The commands that the guide lists and does not explain; the page of each is looked at above."""
        height = (await self._cli("gateway-cli info"))["lightning_info"]["connected"][
            "block_height"
        ]
        waits = f"lightning wait-for-chain-sync --block-height {height}"
        assert await self._gateway.text(*waits.split()) == ""
        assert len((await self._gateway.text("version-hash")).strip()) >= 40
        balances = await self._cli("gateway-cli balance")
        assert balances["ecash_balances"][0]["federation_id"] == self._federation_id
        assert (await self._cli("gateway-cli lightning get-funding-address")).startswith("bcrt1")
        assert isinstance(await self._cli("gateway-cli lightning list-active-channels"), list)
        shown = await self._cli("gateway-cli deposit --federation-id <federation-id>")
        assert shown["address"] == await self._address()

    async def _fund(self) -> None:
        """`info` shows what was sent, but for the fees."""
        await self._deposit()
        info = await self._cli("gateway-cli info")
        assert info["version_hash"]
        (federation,) = info["federations"]
        assert federation["federation_id"] == self._federation_id
        assert federation["config"]["federation_index"] >= 0
        assert (AMOUNT_SAT - FEES_SAT) * 1000 < federation["balance_msat"] <= AMOUNT_SAT * 1000

    async def _withdraw(self) -> None:
        """The guide takes out all that it brought in, and counts no fees: so much is there once more was sent."""
        address = await self._chain.new_address()
        line = f"withdraw --federation-id {self._federation_id} --amount {AMOUNT_SAT} --address {address}"
        refused = await self._gateway.refusal(*line.split())
        assert f"not enough for {AMOUNT_SAT} sat" in refused.error
        await self._deposit()
        answer = await self._cli(f"gateway-cli {line}")
        assert answer["amount_sats"] == AMOUNT_SAT
        assert len(answer["txid"]) == 64

        async def is_paid() -> bool:
            await self._chain.mine(1)
            return await self._chain.received_sat(address) == AMOUNT_SAT

        await until("the withdrawal is confirmed", is_paid, deadline_s=DEADLINE_S)

    async def _leave(self) -> None:
        await until("nothing is under way", self._is_idle, deadline_s=DEADLINE_S)
        left = await self._cli("gateway-cli leave-fed --federation-id <federation-id>")
        assert left["federation_id"] == self._federation_id
        assert (await self._cli("gateway-cli info"))["federations"] == []

    async def _address(self) -> str:
        """A bare string, as the guide shows it."""
        address = await self._cli("gateway-cli address --federation-id <federation-id>")
        assert isinstance(address, str)
        return address

    async def _deposit(self) -> None:
        """Send coins to the gateway's address, and see them confirmed and claimed."""
        before_msat: int = await self._cli("gateway-cli balance --federation-id <federation-id>")
        await self._chain.pay(await self._address(), AMOUNT_SAT)
        await self._chain.mine(BURIED_BLOCKS)

        async def has_grown() -> bool:
            return await self._gateway.balance_msat(self._federation_id) > before_msat

        await until("the deposit is claimed", has_grown, deadline_s=DEADLINE_S)
        await until("nothing is under way", self._is_idle, deadline_s=DEADLINE_S)

    async def _is_idle(self) -> bool:
        return not (await self._gateway.info()).open_payments
