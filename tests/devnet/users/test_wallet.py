"""Deposits and withdrawals of embedded federations, and the books against the chain."""

import random
from typing import Any

import pytest

from backends.simulated.chain import ChainOutput, SimulatedChain
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import OwnInput, OwnOutput, TransactionRefused
from errors import InputError, UnavailableError
from fedimint import walletv2
from fedimint.codec import secp
from fedimint.codec.encoding import UnknownVariant
from fedimint.codec.json_types import OutPointJson
from fedimint.transaction import DynItem, InputRefused, OutputRefused
from fedimint.walletv2 import P2wpkh, StandardScript, WalletInput, WalletOutput
from fedimint.walletv2.deposits import GroundAddress, address_at

pytestmark = pytest.mark.anyio

SEED = 11
ADDRESS_INDEX, OTHER_INDEX = 23_581, 128_070
"""Ground for this seed with one guardian; any change of what is dealt before the keys needs new ones."""
DEPOSIT_SAT = 100_000
WITHDRAWAL_SAT = 20_000
DESTINATION = b"\x00\x14" + bytes(20)
RECIPIENT = P2wpkh(bytes(20))
SEND_VBYTES, RECEIVE_VBYTES = 166, 192
BURIED = 7
"""Blocks on top of the one that has a transaction, until the federation acts on it."""


class World:
    """A chain, a federation of one guardian, and a user with addresses that the guardian watches."""

    def __init__(self) -> None:
        randomness = random.Random(SEED)
        self.chain = SimulatedChain(height=100)
        self.federation = EmbeddedFederation(
            self.chain, randomness.randbytes, unix_time_s=lambda: 1_000
        )
        self.user = EmbeddedUser(self.federation, randomness.randbytes)
        self.address = self._address(ADDRESS_INDEX)
        self.other_address = self._address(OTHER_INDEX)

    def _address(self, index: int) -> GroundAddress:
        onchain = self.user.onchain
        address = address_at(onchain.module, onchain.config, index)
        assert address is not None
        return address

    def pay(self, address: GroundAddress, value_sat: int = DEPOSIT_SAT) -> None:
        self.chain.send(ChainOutput(address.script_pubkey, value_sat))
        self.chain.mine(BURIED + 1)

    async def deposit(self, address: GroundAddress, value_sat: int = DEPOSIT_SAT) -> None:
        self.pay(address, value_sat)
        assert await self.user.onchain.claim(address) == value_sat

    async def ask(self, method: str, params: object = None) -> Any:
        return await self.federation.guardians[0].request(f"module_3_{method}", params)

    async def spend(self, item: WalletInput | UnknownVariant, secret: bytes = b"\x01" * 32) -> None:
        own = OwnInput(DynItem(3, walletv2.INPUT.encode(item)), 50_000_000, 100_000, secret)
        await self.user.wallet.submit([own], [])

    async def pay_out(
        self, value_sat: int, fee_sat: int, destination: StandardScript = RECIPIENT
    ) -> None:
        output = WalletOutput(destination, value_sat, fee_sat)
        own = OwnOutput(DynItem(3, walletv2.OUTPUT.encode(output)), 512, 0)
        await self.user.wallet.submit([], [own])

    def rich(self) -> "World":
        """Give the user notes and the federation as much bitcoin."""
        wallet = self.user.wallet
        wallet.add(self.federation.issue_notes(wallet.module, 1_024_000_000))
        self.federation.endow(1_024_000)
        return self


def refusal(
    refused: pytest.ExceptionInfo[TransactionRefused],
    expected: type[InputRefused] | type[OutputRefused],
) -> str:
    error = refused.value.rejection.error()
    assert isinstance(error, expected)
    codec = walletv2.INPUT_ERROR if expected is InputRefused else walletv2.OUTPUT_ERROR
    return codec.decode(error.error.body).name


async def test_a_deposit_is_found_when_buried_and_claimed_once() -> None:
    world = World()
    world.chain.send(
        ChainOutput(DESTINATION, 5), ChainOutput(world.address.script_pubkey, DEPOSIT_SAT)
    )
    world.chain.mine(BURIED)
    assert await world.ask("output_info_slice", [0, 1000]) == []
    assert await world.user.onchain.claim(world.address) == 0
    world.chain.mine()
    found = await world.ask("output_info_slice", [0, 1000])
    transaction = world.chain.block(101)[0]
    assert found == [
        {
            "index": 0,
            "outpoint": f"{transaction.txid}:1",
            "script": world.address.script_pubkey.hex(),
            "spent": False,
            "value": DEPOSIT_SAT,
        }
    ]
    assert await world.ask("consensus_block_count") == 102
    assert await world.ask("federation_wallet") is None
    assert await world.user.onchain.claim(world.address) == DEPOSIT_SAT
    received_msat = (DEPOSIT_SAT - RECEIVE_VBYTES) * 1000 - 100_000
    fees_and_dust_msat = received_msat - world.user.balance_msat()
    assert 0 <= fees_and_dust_msat < 100 * len(world.user.wallet.notes) + 612
    assert (await world.ask("output_info_slice", [0, 1]))[0]["spent"] is True
    assert await world.user.onchain.claim(world.address) == 0
    audit = world.federation.audit()
    assert audit.is_balanced()
    assert audit.assets_msat == DEPOSIT_SAT * 1000
    assert await world.ask("pending_transaction_chain") == []


async def test_later_deposits_join_the_federations_output() -> None:
    world = World()
    await world.deposit(world.address)
    await world.deposit(world.other_address)
    held_sat = 2 * DEPOSIT_SAT - RECEIVE_VBYTES
    (pending,) = await world.ask("pending_transaction_chain")
    assert pending == {
        "index": 0,
        "txid": pending["txid"],
        "input": DEPOSIT_SAT,
        "output": held_sat,
        "fee": RECEIVE_VBYTES,
        "vbytes": RECEIVE_VBYTES,
        "created": 110,
    }
    held = await world.ask("federation_wallet")
    assert (held["value"], held["outpoint"]) == (held_sat, pending["txid"] + ":0")
    assert world.federation.audit().assets_msat == held_sat * 1000
    assert world.federation.audit().is_balanced()
    world.chain.mine(BURIED)
    assert await world.ask("pending_transaction_chain") == [pending]
    world.chain.mine()
    assert await world.ask("pending_transaction_chain") == []
    assert await world.ask("transaction_chain") == [pending]


async def test_a_withdrawal_reaches_the_chain() -> None:
    world = World()
    await world.deposit(world.address)
    before_msat = world.user.balance_msat()
    txid = await world.user.onchain.withdraw(DESTINATION, WITHDRAWAL_SAT)
    transaction = world.chain.transaction(txid)
    assert transaction is not None
    assert transaction.outputs[1] == ChainOutput(DESTINATION, WITHDRAWAL_SAT)
    left_sat = DEPOSIT_SAT - WITHDRAWAL_SAT - SEND_VBYTES
    assert transaction.outputs[0].value_sat == left_sat
    assert transaction not in world.chain.block(world.chain.height)
    world.chain.mine()
    assert transaction in world.chain.block(world.chain.height)
    cost_msat = before_msat - world.user.balance_msat()
    assert cost_msat >= (WITHDRAWAL_SAT + SEND_VBYTES) * 1000 + 100_000
    assert world.federation.audit().assets_msat == left_sat * 1000
    assert world.federation.audit().is_balanced()
    unknown = OutPointJson("00" * 32, 0)
    assert await world.ask("transaction_id", {"txid": unknown.txid, "out_idx": 0}) is None


async def test_fees_double_with_the_transactions_pending_and_pay_for_them() -> None:
    world = World().rich()
    fees_sat = []
    for _ in range(4):
        fees_sat.append(await world.ask("send_fee"))
        await world.user.onchain.withdraw(DESTINATION, WITHDRAWAL_SAT)
    # At 250, 500 and 1,000 sat/kvB the votes of 1,000 decide; then 2,000 for the stack of four.
    assert fees_sat == [166, 166, 166, 4 * 2 * 166 - 3 * 166]
    assert await world.ask("receive_fee") == (4 * 166 + 192) * 4 - sum(fees_sat)
    chain = await world.ask("pending_transaction_chain")
    assert [info["index"] for info in chain] == [3, 2, 1, 0]
    world.chain.mine(BURIED + 1)
    assert await world.ask("send_fee") == 166
    assert world.federation.audit().is_balanced()


async def test_without_a_fee_rate_bitcoin_moves_neither_in_nor_out() -> None:
    world = World()
    await world.deposit(world.address)
    world.pay(world.other_address)
    world.federation.consensus.ledger.wallet.feerate_sat_per_kvb = None
    for method in ("send_fee", "receive_fee", "consensus_feerate"):
        assert await world.ask(method) is None
    with pytest.raises(UnavailableError):
        await world.user.onchain.claim(world.other_address)
    with pytest.raises(UnavailableError):
        await world.user.onchain.withdraw(DESTINATION, WITHDRAWAL_SAT)
    with pytest.raises(TransactionRefused) as refused:
        await world.pay_out(WITHDRAWAL_SAT, 1_000)
    assert refusal(refused, OutputRefused) == "NoConsensusFeerateAvailable"
    world.federation.consensus.ledger.wallet.feerate_sat_per_kvb = 5_000
    assert await world.user.onchain.claim(world.other_address) == DEPOSIT_SAT
    assert (await world.ask("pending_transaction_chain"))[0]["fee"] == 5 * RECEIVE_VBYTES


async def test_claims_that_are_refused() -> None:
    world = World()
    own_key = secp.public_key(b"\x01" * 32)
    world.pay(world.address)
    world.pay(world.other_address, 100)
    tweak = address_key(world, ADDRESS_INDEX)
    other_tweak = address_key(world, OTHER_INDEX)
    for item, error in (
        (WalletInput(2, own_key, 192), "UnknownOutputIndex"),
        (WalletInput(0, own_key, 192), "WrongTweak"),
        (WalletInput(0, tweak, 191), "InsufficientTotalFee"),
        (WalletInput(1, other_tweak, 192), "ArithmeticOverflow"),
        (UnknownVariant(7, b"x"), "UnknownInputVariant"),
    ):
        with pytest.raises(TransactionRefused) as refused:
            await world.spend(item)
        assert refusal(refused, InputRefused) == error
    assert await world.user.onchain.claim(world.other_address) == 0, "it is not worth its fee"
    assert await world.user.onchain.claim(world.address) == DEPOSIT_SAT


async def test_a_deposit_is_claimed_no_second_time() -> None:
    world = World()
    await world.deposit(world.address)
    with pytest.raises(TransactionRefused) as refused:
        await world.spend(WalletInput(0, address_key(world, ADDRESS_INDEX), 192))
    assert refusal(refused, InputRefused) == "OutputAlreadySpent"


def address_key(world: World, index: int) -> bytes:
    return secp.public_key(world.user.onchain.module.child(index).to_secp_secret())


async def test_withdrawals_that_are_refused() -> None:
    world = World().rich()
    for value_sat, fee_sat, error in (
        (9_999, 166, "UnderDustLimit"),
        (10_000, 165, "InsufficientTotalFee"),
        (1_024_000, 166, "ArithmeticOverflow"),
        (1_024_000 - 166 - 9_999, 166, "ChangeUnderDustLimit"),
    ):
        with pytest.raises(TransactionRefused) as refused:
            await world.pay_out(value_sat, fee_sat)
        assert refusal(refused, OutputRefused) == error
    with pytest.raises(TransactionRefused) as refused:
        await world.pay_out(10_000, 166, UnknownVariant(9, b"x"))
    assert refusal(refused, OutputRefused) == "UnknownScriptVariant"
    with pytest.raises(InputError):
        await world.user.onchain.withdraw(DESTINATION, 9_999)


async def test_a_refused_transaction_leaves_the_wallet_alone() -> None:
    world = World()
    world.pay(world.address)
    claim = WalletInput(0, address_key(world, ADDRESS_INDEX), 192)
    with pytest.raises(TransactionRefused):
        await world.spend(claim, secret=b"\x02" * 32)
    assert await world.ask("federation_wallet") is None
    assert await world.user.onchain.claim(world.address) == DEPOSIT_SAT
    assert world.federation.audit().is_balanced()


async def test_the_faucet_backs_its_notes() -> None:
    world = World().rich()
    audit = world.federation.audit()
    assert audit.assets_msat == audit.notes_msat == 1_024_000_000
    world.federation.endow(1_000)
    assert world.federation.audit().assets_msat == 1_024_000_000
    assert (await world.ask("federation_wallet"))["value"] == 1_025_000
    assert world.federation.audit().is_balanced()
