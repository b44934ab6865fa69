"""The rules of embedded guardians against what real ones said, and those no recording shows."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from backends.simulated.chain import ChainOutput, SimulatedChain
from devnet.guardians.consensus import Consensus
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import OwnInput, OwnOutput, TransactionRefused
from fedimint import lnv2, walletv2
from fedimint.client.transport import GuardianRefused
from fedimint.codec import secp
from fedimint.codec.encoding import BYTES, UnknownVariant
from fedimint.codec.wire_types import OutPoint, PeerId, consensus_hash
from fedimint.config import ClientConfig
from fedimint.lnv2 import CipherText, Commitment, HashImage, IncomingContract, tpe
from fedimint.lnv2.api import Lnv2Api
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.transaction import (
    TRANSACTION,
    Accepted,
    DynItem,
    InputRefused,
    OutputRefused,
)

pytestmark = pytest.mark.anyio

VECTORS = Path(__file__).parents[2] / "vectors"
CLAIM_SECRET, REFUND_SECRET = bytes([3]) * 32, bytes([4]) * 32
PREIMAGE = bytes(range(32))
NOW_UNIX_S = 1_000


def recorded() -> list[dict[str, Any]]:
    name = "ws-v2-rust-client-and-gateway-to-guardian.jsonl"
    lines = (VECTORS / "captures" / name).read_text().splitlines()
    return [frame["msg"] for frame in map(json.loads, lines) if "msg" in frame]


def recorded_config() -> ClientConfig:
    answers = (message.get("result") for message in recorded())
    return next(
        ClientConfig.from_json(answer)
        for answer in answers
        if isinstance(answer, dict) and "api_endpoints" in answer
    )


def recorded_transactions() -> list[bytes]:
    return [
        BYTES.decode_hex(message["params"][0]["params"][0])
        for message in recorded()
        if message.get("method") == "submit_transaction"
    ]


def recorded_deposits() -> list[bytes]:
    """The scripts deposited to, by index: one the guardian listed, the other as its claim has it."""
    rules = Consensus(recorded_config(), SimulatedChain(), lambda: 0).rules
    tweaks = {
        item.output_index: item.tweak
        for encoded in recorded_transactions()
        for item in rules.decode(encoded).inputs
        if isinstance(item, walletv2.WalletInput)
    }
    return [rules.wallet.scripts.script_pubkey(tweaks[index]) for index in sorted(tweaks)]


async def test_what_real_guardians_accepted_is_accepted() -> None:
    chain = SimulatedChain(230)
    consensus = Consensus(recorded_config(), chain, lambda: 1_795_372_322)
    listed = next(
        answer[0]
        for answer in (message.get("result") for message in recorded())
        if isinstance(answer, list) and answer and isinstance(answer[0], dict)
    )
    scripts = recorded_deposits()
    assert scripts[0].hex() == listed["script"]
    for script in scripts:
        chain.send(ChainOutput(script, listed["value"]))
    chain.mine(10)
    by_kind: dict[str, int] = {}
    for encoded in recorded_transactions():
        decoded = consensus.rules.decode(encoded)
        outcome = await consensus.submit(decoded)
        assert outcome == Accepted(decoded.transaction.txid())
        for item in (*decoded.inputs, *decoded.outputs):
            name = type(item).__name__ + type(getattr(item, "inner", None)).__name__
            by_kind[name] = by_kind.get(name, 0) + 1
    assert by_kind["InputV0OutgoingInput"] >= 3
    assert by_kind["InputV0IncomingInput"] >= 2
    assert by_kind["OutputV0OutgoingOutput"] >= 3
    assert by_kind["OutputV0IncomingOutput"] >= 2
    assert by_kind["WalletInputNoneType"] == 2
    assert by_kind["WalletOutputNoneType"] == 1
    assert consensus.ledger.contracts == {}


async def test_a_federation_looks_like_the_recorded_one() -> None:
    real = json.loads((VECTORS / "federation-v2.json").read_text())
    guardian = EmbeddedFederation(SimulatedChain(), random.Random(1).randbytes).guardians[0]
    assert await guardian.request("version", None) == real["version"]
    assert await guardian.request("fedimintd_version", None) == real["fedimintd_version"]
    status = await guardian.request("status", None)
    assert {**real["status"]["federation"], "session_count": 0} == status["federation"]  # type: ignore[index]  # JSON
    ours = await guardian.request("client_config", None)
    assert isinstance(ours, dict)
    assert ours.keys() == real["client_config"].keys()
    mine, theirs = map(ClientConfig.from_json, (ours, real["client_config"]))
    for instance_id, module in theirs.modules.items():
        assert (mine.modules[instance_id].kind, mine.modules[instance_id].version) == (
            module.kind,
            module.version,
        )
        assert len(mine.modules[instance_id].config.body) == len(module.config.body)
        known, config = mine.modules[instance_id].decode(), module.decode()
        for field in ("fee_consensus", "network", "dust_limit_sat", "send_tx_vbytes"):
            assert getattr(known, field, None) == getattr(config, field, None)


class World:
    """One federation of four guardians, a user with notes, an incoming contract not yet funded."""

    def __init__(self, *, sells: bytes = PREIMAGE, expiration_unix_s: int = NOW_UNIX_S + 1) -> None:
        randomness = random.Random(3)
        self.federation = EmbeddedFederation(
            SimulatedChain(), randomness.randbytes, guardians=4, unix_time_s=lambda: NOW_UNIX_S
        )
        self.user = EmbeddedUser(self.federation, randomness.randbytes)
        wallet = self.user.wallet
        wallet.add(self.federation.issue_notes(wallet.module, 1_024_000))
        found = self.federation.config.find(LnV2ClientConfig)
        assert found is not None
        self.config = found[1]
        image = HashImage(consensus_hash(PREIMAGE))
        key = secp.public_key(CLAIM_SECRET)
        commitment = Commitment(
            image, 500_000, expiration_unix_s, key, secp.public_key(REFUND_SECRET), key
        )
        bound_to = consensus_hash(lnv2.COMMITMENT.encode(commitment))
        ciphertext = tpe.encrypt(self.config.tpe_agg_pk, bytes([5]) * 32, sells, bound_to)
        self.contract = IncomingContract(commitment, ciphertext)

    async def fund(self) -> OutPoint:
        output = lnv2.OUTPUT.encode(lnv2.OutputV0(lnv2.IncomingOutput(self.contract)))
        funded = await self.user.wallet.submit([], [OwnOutput(DynItem(0, output), 500_000, 1_000)])
        return OutPoint(funded.transaction.txid(), 0)

    async def decryption_key(self, out_point: OutPoint) -> bytes:
        async def check(peer: PeerId, share: bytes) -> bytes:
            contract = self.contract
            key = self.config.tpe_pks[peer]
            assert tpe.verify_share(key, share, contract.ciphertext, contract.commitment_hash())
            return share

        api = Lnv2Api(self.federation.asked_by(), 0)
        return tpe.aggregate(await api.decryption_key_share(out_point, check))

    async def spend(self, out_point: OutPoint, key: bytes, secret: bytes) -> None:
        spent = lnv2.INPUT.encode(lnv2.InputV0(lnv2.IncomingInput(out_point, key)))
        await self.user.wallet.submit([OwnInput(DynItem(0, spent), 500_000, 1_000, secret)], [])


async def test_an_incoming_contract_is_decrypted_and_claimed() -> None:
    world = World()
    out_point = await world.fund()
    contract_id = world.contract.contract_id().hex()
    guardian = world.federation.guardians[1]
    assert await guardian.request("module_0_await_incoming_contract", [contract_id, 9_999]) == {
        "txid": out_point.txid.hex(),
        "out_idx": 0,
    }
    assert await guardian.request("module_0_await_incoming_contract", ["00" * 32, 1_000]) is None
    key = await world.decryption_key(out_point)
    assert tpe.decrypt(world.contract.ciphertext, key) == PREIMAGE
    with pytest.raises(TransactionRefused) as wrong_key:
        await world.spend(out_point, world.config.tpe_agg_pk, CLAIM_SECRET)
    assert refusal(wrong_key.value, InputRefused) == bytes([5, 0])
    await world.spend(out_point, key, CLAIM_SECRET)
    with pytest.raises(TransactionRefused) as twice:
        await world.spend(out_point, key, CLAIM_SECRET)
    assert refusal(twice.value, InputRefused) == bytes([1, 0])
    assert world.federation.audit().is_balanced()
    assert await world.decryption_key(out_point) == key


async def test_an_incoming_contract_without_the_preimage_goes_back_to_its_funder() -> None:
    world = World(sells=bytes(32))
    out_point = await world.fund()
    key = await world.decryption_key(out_point)
    with pytest.raises(TransactionRefused):
        await world.spend(out_point, key, CLAIM_SECRET)
    await world.spend(out_point, key, REFUND_SECRET)
    assert world.federation.audit().contracts_msat == {}


async def test_expired_and_forged_incoming_contracts_are_refused() -> None:
    expired = World(expiration_unix_s=NOW_UNIX_S)
    with pytest.raises(TransactionRefused) as refused:
        await expired.fund()
    assert refusal(refused.value, OutputRefused) == bytes([2, 0])
    forged = World()
    ciphertext = forged.contract.ciphertext
    forged.contract = IncomingContract(
        forged.contract.commitment,
        CipherText(bytes(32), ciphertext.pk, ciphertext.signature),
    )
    with pytest.raises(TransactionRefused) as refused:
        await forged.fund()
    assert refusal(refused.value, OutputRefused) == bytes([1, 0])
    assert forged.federation.audit().is_balanced()


def refusal(
    refused: TransactionRefused, expected: type[InputRefused] | type[OutputRefused]
) -> bytes:
    error = refused.rejection.error()
    assert isinstance(error, expected)
    return error.error.body


@pytest.mark.parametrize(
    ("module_id", "output", "error"),
    [
        (0, lnv2.OUTPUT.encode(UnknownVariant(7, b"x")), bytes([0, 1, 7])),
        (2, lnv2.OUTPUT.encode(UnknownVariant(7, b"x")), bytes([0, 1, 7])),
        (
            3,
            walletv2.OUTPUT.encode(walletv2.WalletOutput(walletv2.P2wpkh(bytes(20)), 9_999, 9)),
            bytes([1, 0]),
        ),
        (
            3,
            walletv2.OUTPUT.encode(walletv2.WalletOutput(walletv2.P2wpkh(bytes(20)), 10_000, 9)),
            bytes([2, 0]),
        ),
    ],
)
async def test_outputs_that_are_refused(module_id: int, output: bytes, error: bytes) -> None:
    world = World()
    with pytest.raises(TransactionRefused) as refused:
        await world.user.wallet.submit([], [OwnOutput(DynItem(module_id, output), 1_000, 0)])
    assert refusal(refused.value, OutputRefused) == error


async def test_items_of_modules_without_any_are_a_bad_request() -> None:
    world = World()
    funded = world.user.wallet.fund([], [OwnOutput(DynItem(1, b""), 1_000, 0)])
    params = [BYTES.encode(TRANSACTION.encode(funded.transaction)).hex()]
    with pytest.raises(GuardianRefused) as refused:
        await world.federation.guardians[0].request("submit_transaction", params)
    assert refused.value.code == 400
