"""walletv2 addresses: against a recorded deposit, and against the rules worked out another way."""

import hashlib
import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import coincurve
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InputError
from fedimint import walletv2
from fedimint.codec import secp
from fedimint.codec.addresses import parse_address
from fedimint.codec.encoding import framed
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import FeeConsensus, PeerId
from fedimint.config import ClientConfig
from fedimint.crypto.secrets import DerivableSecret, walletv2_deposit_secret
from fedimint.transaction import TRANSACTION
from fedimint.walletv2 import deposits
from fedimint.walletv2.config import WALLET_V2, WalletV2ClientConfig, WshDescriptor
from fedimint.walletv2.deposits import DepositScripts, GroundAddress
from tests.fedimint.conftest import Session

ROOT = Path(__file__).parents[3]
MODULE = DerivableSecret(bytes(range(64)))
KEYS: dict[PeerId, bytes] = {
    PeerId(peer): secp.public_key(bytes([peer + 1]) * 32) for peer in range(4)
}
CONFIG = WalletV2ClientConfig(
    bitcoin_pks=KEYS,
    descriptor=WshDescriptor(),
    send_tx_vbytes=228,
    receive_tx_vbytes=316,
    feerate_base=250,
    dust_limit_sat=10_000,
    fee_consensus=FeeConsensus(100_000, 0),
    network="regtest",
)
# Ground once: the first from 0 upwards for this secret and these keys.
GROUND = GroundAddress(
    28_756,
    bytes.fromhex("0020501360ff8b4990cdb8a14b0e7a6c7329b5dc010c45623fea41f11839a3037be4"),
)


def test_the_recorded_deposit_is_to_the_script_of_its_claim(sessions: dict[str, Session]) -> None:
    session = sessions["v2"]
    config = ClientConfig.from_json(session.of("client_config")[0].result)
    found = config.find(WalletV2ClientConfig)
    assert found is not None
    module_id, wallet = found
    scripts = DepositScripts(wallet.bitcoin_pks)
    [listed] = [
        bytes.fromhex(output["script"])
        for call in session.of("module_3_output_info_slice")
        for output in call.result
    ]
    assert scripts.is_watched(listed)
    transactions = [
        framed(TRANSACTION).decode_hex(call.params[0]) for call in session.of("submit_transaction")
    ]
    claims = [
        walletv2.INPUT.decode(item.body)
        for transaction in transactions
        for item in transaction.inputs
        if item.module_instance_id == module_id
    ]
    claimed = {
        scripts.script_pubkey(claim.tweak)
        for claim in claims
        if isinstance(claim, walletv2.WalletInput)
    }
    assert listed in claimed
    assert all(map(scripts.is_watched, claimed))


@given(secret=st.binary(min_size=32, max_size=32).filter(secp.is_valid_secret))
def test_guardians_keys_are_tweaked_by_the_hash_of_ours(secret: bytes) -> None:
    own_key = secp.public_key(secret)
    tweak = hashlib.sha256(own_key).digest()
    scripts = DepositScripts(KEYS)
    tweaked = scripts.tweaked_keys(tweak)
    assert tweaked == [coincurve.PublicKey(key).add(tweak).format() for key in KEYS.values()]
    script = scripts.witness_script(tweak)
    keys = [script[at + 1 : at + 34] for at in range(1, len(script) - 2, 34)]
    assert all(first < second for first, second in pairwise(keys))
    assert set(keys) == set(tweaked)
    # OP_3 … OP_4 OP_CHECKMULTISIG
    assert (script[:2], script[-2:]) == (b"\x53\x21", b"\x54\xae")
    assert scripts.script_pubkey(own_key) == b"\x00\x20" + hashlib.sha256(script).digest()


@pytest.mark.parametrize(
    ("guardians", "head", "tail"),
    [
        (1, "5121", "51ae"),
        (7, "5521", "57ae"),
        (16, "5b21", "60ae"),
        (17, "5c21", "0111ae"),
        (20, "5e21", "0114ae"),
    ],
)
def test_a_multisig_of_the_threshold_of_all(guardians: int, head: str, tail: str) -> None:
    keys = {PeerId(peer): secp.public_key(bytes([peer + 1]) * 32) for peer in range(guardians)}
    script = DepositScripts(keys).witness_script(bytes(31) + b"\1").hex()
    assert script.startswith(head)
    assert script.endswith(tail)


def test_an_address_is_found_again_by_its_index() -> None:
    assert deposits.grind(MODULE, CONFIG, GROUND.index) == GROUND
    assert deposits.address_at(MODULE, CONFIG, GROUND.index) == GROUND
    text = GROUND.text("regtest")
    assert parse_address(text).script_pubkey == GROUND.script_pubkey


def test_grinding_goes_on_to_the_next_watched_index() -> None:
    assert deposits.address_at(MODULE, CONFIG, GROUND.index - 3) is None
    assert deposits.grind(MODULE, CONFIG, GROUND.index - 3) == GROUND


def test_an_address_belongs_to_one_federation_and_one_client() -> None:
    others = {**KEYS, PeerId(0): secp.public_key(b"\x09" * 32)}
    assert not DepositScripts(others).is_watched(GROUND.script_pubkey)
    other_config = msgspec.structs.replace(CONFIG, bitcoin_pks=others)
    assert deposits.address_at(MODULE, other_config, GROUND.index) is None
    assert deposits.address_at(MODULE.child(0), CONFIG, GROUND.index) is None


# --- claims and withdrawals -----------------------------------------------------------------------


def test_a_claim_is_signed_by_the_key_of_the_address() -> None:
    claim = deposits.deposit_input(MODULE, GROUND.index, 5, 316)
    assert (claim.input.output_index, claim.input.fee_sat) == (5, 316)
    assert claim.secret_key == walletv2_deposit_secret(MODULE, GROUND.index)
    assert DepositScripts(KEYS).script_pubkey(claim.input.tweak) == GROUND.script_pubkey
    assert claim.secret_key.hex() not in repr(claim)
    assert repr(claim.secret_key) not in repr(claim)


def test_a_deposit_brings_its_value_less_the_miner_fee() -> None:
    assert deposits.deposit_amount_msat(317, 316) == 1000
    for value_sat in (316, 0):
        with pytest.raises(InputError, match="does not cover"):
            deposits.deposit_amount_msat(value_sat, 316)


def test_a_withdrawal_costs_its_value_and_the_miner_fee() -> None:
    output = deposits.withdrawal_output(CONFIG, GROUND.script_pubkey, 10_000, 228)
    assert output == walletv2.WalletOutput(walletv2.P2wsh(GROUND.script_pubkey[2:]), 10_000, 228)
    assert output.amount_msat() == 10_228_000


@pytest.mark.parametrize(
    ("script_pubkey", "value_sat", "problem"),
    [
        (GROUND.script_pubkey, 9_999, "pays out 10000 sat or more"),
        (b"\x52\x20" + bytes(32), 10_000, "an address of this kind"),
    ],
)
def test_a_withdrawal_that_no_guardian_would_take_is_refused(
    script_pubkey: bytes, value_sat: int, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        deposits.withdrawal_output(CONFIG, script_pubkey, value_sat, 228)


# --- the program ----------------------------------------------------------------------------------


def test_every_line_is_answered() -> None:
    answers = io.StringIO()
    lines = [deposits.first_line(MODULE, CONFIG), f"{GROUND.index}\n", f"{GROUND.index - 1}\n"]
    deposits.serve(lines, answers)
    assert [deposits.decode_answer(line) for line in answers.getvalue().splitlines()] == [
        GROUND,
        GROUND,
    ]


@pytest.mark.parametrize(
    "line",
    ["", "zz", f"{bytes(63).hex()} {WALLET_V2.encode(CONFIG).hex()}", f"{bytes(64).hex()} 00"],
)
def test_a_bad_first_line_is_refused_without_repeating_it(line: str) -> None:
    with pytest.raises(InputError) as raised:
        deposits.serve([line], io.StringIO())
    assert not line or line not in str(raised.value)


@pytest.mark.parametrize("line", ["", "-1", "x", str(1 << 64)])
def test_a_bad_index_is_refused(line: str) -> None:
    with pytest.raises(InputError):
        deposits.serve([deposits.first_line(MODULE, CONFIG), line], io.StringIO())


@pytest.mark.parametrize("line", ["", "5", "x 00", "5 zz"])
def test_a_bad_answer_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        deposits.decode_answer(line)


def _run(stdin: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fedimint.walletv2.deposits"]
    return subprocess.run(
        command, input=stdin, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_program_answers_until_its_input_ends() -> None:
    done = _run(f"{deposits.first_line(MODULE, CONFIG)}{GROUND.index}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert deposits.decode_answer(done.stdout) == GROUND


def test_the_program_ends_when_nobody_reads_its_answers() -> None:
    """In the middle of its work: here of work without end."""
    work = "import sys, threading; from fedimint.walletv2 import deposits; deposits.end_with_reader(sys.stdout)"
    endless = f"{work}; print('at work', flush=True); threading.Event().wait()"
    program = subprocess.Popen([sys.executable, "-c", endless], cwd=ROOT, stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"at work\n"
    program.stdout.close()
    assert program.wait() == 0


def test_the_program_says_what_is_wrong() -> None:
    done = _run("beef\n0\n")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("the first line must be")
