"""Bounds of numbers and texts from outside: 21 million bitcoin, notes of 2^41 msat, 500 characters."""

import os
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.guardians.dealer import MINTV2_ID, deal_federation
from errors import GatewayError
from fedimint import lnv2, mintv2, walletv2
from fedimint.client.query import FederationDisagrees, FederationUnavailable, Guardians, ask_each
from fedimint.client.transport import MAX_ERROR_CHARS, GuardianProtocolError
from fedimint.codec import secp
from fedimint.codec.encoding import U64, Codec
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import (
    AMOUNT_MSAT,
    AMOUNT_SAT,
    DENOMINATION,
    MOST_MSAT,
    MOST_SAT,
    FeeConsensus,
    OutPoint,
    PeerId,
    TransactionId,
)
from fedimint.lnv2.api import Lnv2Api
from fedimint.lnv2.config import LN_V2
from fedimint.lnv2.json import OutgoingContractJson
from fedimint.mintv2 import selection
from fedimint.mintv2.config import MINT_V2, MintV2ClientConfig
from fedimint.mintv2.json import recovery_items
from fedimint.walletv2.api import Walletv2Api
from fedimint.walletv2.json import FederationWalletJson, OutputInfoJson, TxInfoJson
from fuzz.inputs import strategies
from fuzz.inputs.guardian_answers import AnswersThis

OUT_POINT = OutPoint(TransactionId(bytes(32)), 0)


@pytest.mark.parametrize(("codec", "most"), [(AMOUNT_MSAT, MOST_MSAT), (AMOUNT_SAT, MOST_SAT)])
@given(amount=st.integers(0, 2**64 - 1))
def test_no_more_bitcoin_than_there_will_be_is_decoded(
    codec: Codec[int], most: int, amount: int
) -> None:
    encoded = U64.encode(amount)
    if amount <= most:
        assert codec.decode(encoded) == amount
        return
    with pytest.raises(DecodeError, match="more than all bitcoin"):
        codec.decode(encoded)


def test_all_bitcoin_fits_a_column_of_the_log() -> None:
    assert MOST_MSAT < 2**63


@pytest.mark.parametrize("denomination", range(256))
def test_a_denomination_above_the_largest_note_is_none(denomination: int) -> None:
    encoded = bytes([denomination])
    note = encoded + bytes(range(1, 33)) + bytes(48)
    if denomination <= 41:
        assert DENOMINATION.decode(encoded) == denomination
        assert mintv2.SPENDABLE_NOTE.decode(note).denomination == denomination
        return
    for codec, data in ((DENOMINATION, encoded), (mintv2.SPENDABLE_NOTE, note)):
        with pytest.raises(DecodeError, match="the largest is of"):
            codec.decode(data)


def test_a_mint_with_a_key_for_a_larger_note_has_no_config() -> None:
    found = deal_federation(1, "x", "regtest", os.urandom).config.find(MintV2ClientConfig)
    assert found is not None
    mint = found[1]
    assert found[0] == MINTV2_ID
    keys = {**mint.tbs_agg_pks, 62: mint.tbs_agg_pks[0]}
    of_guardians = {**mint.tbs_pks, 62: mint.tbs_pks[0]}
    for wrong in (
        MintV2ClientConfig(keys, mint.tbs_pks, mint.fee_consensus, mint.amount_unit),
        MintV2ClientConfig(mint.tbs_agg_pks, of_guardians, mint.fee_consensus, mint.amount_unit),
    ):
        with pytest.raises(DecodeError, match=r"2\^62 msat"):
            MINT_V2.decode(MINT_V2.encode(wrong))


@given(strategies.OUTGOING_CONTRACTS)
def test_contracts_hold_no_more_than_there_is_in_either_form(
    contract: lnv2.OutgoingContract,
) -> None:
    encoded = lnv2.OUTGOING_CONTRACT.encode(contract)
    json = OutgoingContractJson.of(contract)
    if contract.amount_msat <= MOST_MSAT:
        assert lnv2.OUTGOING_CONTRACT.decode(encoded) == contract == json.decode()
        return
    reads: tuple[Callable[[], Any], ...] = (
        lambda: lnv2.OUTGOING_CONTRACT.decode(encoded),
        json.decode,
    )
    for read in reads:
        with pytest.raises(DecodeError, match="more than all bitcoin"):
            read()


_TOO_MANY_SAT = st.integers(MOST_SAT + 1, 2**64 - 1)


@given(value=_TOO_MANY_SAT)
def test_guardians_who_saw_more_bitcoin_than_there_is_saw_nothing(value: int) -> None:
    outpoint = f"{'11' * 32}:0"
    for json in (
        OutputInfoJson(0, "0020" + "00" * 32, value, spent=False, outpoint=None),
        TxInfoJson(0, "11" * 32, value, 0, 0, 0, 0),
        TxInfoJson(0, "11" * 32, 0, value, 0, 0, 0),
        TxInfoJson(0, "11" * 32, 0, 0, value, 0, 0),
        FederationWalletJson(value, outpoint, "00" * 32),
    ):
        with pytest.raises(DecodeError, match="more than all bitcoin"):
            json.decode()
    item = {"Output": {"denomination": 42, "nonce_hash": "00" * 20, "tweak": [0] * 16}}
    with pytest.raises(DecodeError, match="the largest is of"):
        recovery_items([item])


def _ask(answer: object, ask: Callable[[Guardians], Any]) -> Any:
    async def give_up(pause_s: float) -> None:
        raise AssertionError(f"asked again after {pause_s} s")

    guardians = Guardians({PeerId(0): AnswersThis(answer)}, sleep_s=give_up, jitter=lambda: 0.5)
    return anyio.run(ask, guardians)


@pytest.mark.parametrize("fee", [MOST_SAT + 1, 2**64 - 1, 2**64, 10**400, -1])
def test_a_fee_of_the_miners_above_all_bitcoin_is_no_answer(fee: int) -> None:
    for ask in (
        lambda g: Walletv2Api(g, 3).receive_fee_sat(),
        lambda g: Walletv2Api(g, 3).send_fee_sat(),
    ):
        with pytest.raises(FederationUnavailable) as refused:
            _ask(fee, ask)
        assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize("blocks", [2**32 - 1, 2**32, 2**64 - 1])
def test_a_contract_that_never_expires_has_as_many_blocks_left_as_can_be_counted(
    blocks: int,
) -> None:
    """Its sender chose that; its guardians are right to say so."""
    found = _ask(
        ["00" * 32, blocks], lambda g: Lnv2Api(g, 0).outgoing_contract_expiration(OUT_POINT)
    )
    assert found.remaining_blocks == 2**32 - 1
    assert _ask(blocks, lambda g: Lnv2Api(g, 0).consensus_block_count()) == 2**32 - 1


@given(
    fee=st.builds(FeeConsensus, st.integers(0, 2**64), st.integers(0, 2**64)),
    amount_msat=st.integers(0, 2**64),
)
def test_fees_saturate(fee: FeeConsensus, amount_msat: int) -> None:
    assert 0 <= fee.fee_msat(amount_msat) <= 2**64 - 1
    assert fee.fee_msat(amount_msat) >= min(fee.base_msat, 2**64 - 1)


# --- notes -------------------------------------------------------------------------------------------------------

_FEES = st.builds(FeeConsensus, st.integers(0, 1 << 42), st.integers(0, 1_000))


@given(
    amount_msat=st.integers(0, 2**64),
    fee=_FEES,
    held=st.dictionaries(st.sampled_from(selection.DENOMINATIONS), st.integers(0, 9)),
)
def test_no_amount_is_more_notes_than_a_transaction_has_room_for(
    amount_msat: int, fee: FeeConsensus, held: dict[int, int]
) -> None:
    issued = selection.represent_amount(amount_msat, held, fee)
    assert len(issued.denominations) <= selection.MAX_ISSUED_NOTES
    costs_msat = sum(selection.cost_msat(d, fee) for d in issued.denominations)
    assert costs_msat + issued.dust_msat == amount_msat
    if amount_msat <= selection.MAX_ISSUED_MSAT:
        assert issued.dust_msat < selection.cost_msat(selection.SMALLEST_DENOMINATION, fee)


@pytest.mark.parametrize("units", [0, 1, 2])
def test_an_amount_to_give_away_has_a_bound_too(units: int) -> None:
    amount_msat = selection.MAX_ISSUED_MSAT + (units - 1) * 512
    if units < 2:
        assert sum(1 << d for d in selection.binary_denominations(amount_msat)) == amount_msat
        return
    with pytest.raises(GatewayError, match="cannot express"):
        selection.binary_denominations(amount_msat)


# --- texts of guardians --------------------------------------------------------------------------------------------


def test_what_a_guardian_says_of_an_error_is_cut_wherever_it_is_told() -> None:
    def refuse(_answer: object) -> object:
        raise GuardianProtocolError("x" * 1_000_000)

    async def outcomes(guardians: Guardians) -> object:
        return (await ask_each(guardians, "m", None, refuse, timeout_s=1.0))[PeerId(0)]

    reported: list[str] = []
    guardians = Guardians(
        {PeerId(0): AnswersThis(1)},
        report=lambda _peer, _method, error: reported.append(str(error)),
    )
    said = anyio.run(outcomes, guardians)
    assert isinstance(said, GuardianProtocolError)
    assert len(str(said)) == MAX_ERROR_CHARS
    assert reported == [str(said)]
    many = FederationUnavailable(
        "m", {PeerId(n): GuardianProtocolError("y" * 9_999) for n in range(4)}
    )
    assert len(str(many)) < 4 * MAX_ERROR_CHARS + 100
    assert len(many.failures) == 4
    megabytes = {PeerId(0): [[0] * 1_000] * 1_000, PeerId(1): "z" * 1_000_000}
    assert len(str(FederationDisagrees("m", megabytes))) < 300


def test_configs_hold_no_absurd_fee() -> None:
    fees = U64.encode(MOST_MSAT + 1) + U64.encode(0)
    with pytest.raises(DecodeError, match="more than all bitcoin"):
        LN_V2.decode(bytes(48) + b"\0" + fees + bytes.fromhex("fabfb5da"))
    tweak = secp.public_key(secp.decode_secret(bytes(31) + b"\x01"))
    claim = walletv2.INPUT.encode(walletv2.WalletInput(0, tweak, MOST_SAT + 1))
    with pytest.raises(DecodeError, match="more than all bitcoin"):
        walletv2.INPUT.decode(claim)
