"""The walletv2 endpoints: against a recorded session, and against guardians that err or disagree."""

import pytest

from fedimint.client.query import FederationDisagrees, FederationUnavailable
from fedimint.codec.bitcoin import BitcoinOutPoint
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import OutPoint, TransactionId
from fedimint.walletv2 import FederationWallet, OutputInfo, TxInfo
from fedimint.walletv2.api import Walletv2Api
from fedimint.walletv2.json import FederationWalletJson, OutputInfoJson, TxInfoJson
from tests.fedimint.played import DEAD, Nap, Recorded, Scripted, guardians

pytestmark = pytest.mark.anyio

TXID = TransactionId(b"\x07" * 32)
TX = TxInfo(3, bytes(31) + b"\x01", 100_000, 90_000, 316, 316, 812)
OUT_POINT = BitcoinOutPoint(b"\x02" * 32, 1)
WALLET = FederationWallet(90_000, OUT_POINT, b"\x05" * 32)


def _output(index: int) -> OutputInfo:
    return OutputInfo(index, b"\x00\x20" + bytes(32), 50_000, False, OUT_POINT)


def _api(*connections: Scripted, nap: Nap | None = None) -> Walletv2Api:
    return Walletv2Api(guardians(*connections, nap=nap), 3)


async def test_recorded_answers() -> None:
    recorded = Recorded()
    api = Walletv2Api(guardians(*[recorded] * 4), 3)
    [output] = await api.output_info_slice(0, 1000)
    assert (output.index, output.value_sat, output.is_spent) == (0, 200_000_000, False)
    assert str(output.out_point).endswith("c8de2da:1")
    assert output.script_pubkey.startswith(b"\x00\x20\x41\xd3")
    assert await api.output_info_slice(1, 1001) == ()
    assert await api.pending_transaction_chain() == ()
    assert await api.receive_fee_sat() == 192
    assert await api.send_fee_sat() == 166
    [asked] = recorded.requests["module_3_transaction_id"]
    assert isinstance(asked, dict)
    out_point = OutPoint(TransactionId(bytes.fromhex(asked["txid"])), asked["out_idx"])
    txid = await api.transaction_id(out_point)
    assert txid is not None
    assert txid[::-1].hex().startswith("3061fb27")


async def test_every_answer_is_typed() -> None:
    api = _api(
        Scripted(
            module_3_consensus_block_count=lambda _: 812,
            module_3_output_info_slice=lambda _: [
                {"index": 7, "script": "0020" + "00" * 32, "value": 50_000, "spent": False}
            ],
            module_3_pending_transaction_chain=lambda _: [_json(TxInfoJson.of(TX))],
            module_3_federation_wallet=lambda call: (
                None if call == 1 else _json(FederationWalletJson.of(WALLET))
            ),
            module_3_receive_fee=lambda _: None,
            module_3_transaction_id=lambda _: None,
        )
    )
    assert await api.consensus_block_count() == 812
    [output] = await api.output_info_slice(7, 9)
    assert (output.index, output.out_point) == (7, None)
    assert await api.pending_transaction_chain() == (TX,)
    assert await api.federation_wallet() is None
    assert await api.federation_wallet() == WALLET
    assert await api.receive_fee_sat() is None
    assert await api.transaction_id(OutPoint(TXID, 0)) is None


def _json(value: OutputInfoJson | TxInfoJson | FederationWalletJson) -> object:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def test_the_json_forms_lead_back() -> None:
    for output in (_output(0), OutputInfo(1, b"", 1, True, None)):
        assert OutputInfoJson.of(output).decode() == output
    assert TxInfoJson.of(TX).decode() == TX
    assert FederationWalletJson.of(WALLET).decode() == WALLET
    assert TxInfoJson.of(TX).txid.startswith("01")


async def test_the_list_may_leave_out_an_index() -> None:
    answer = [OutputInfoJson.of(_output(index)) for index in (4, 6, 7)]
    api = _api(Scripted(module_3_output_info_slice=lambda _: [*map(_json, answer)]))
    found = await api.output_info_slice(4, 9)
    assert [output.index for output in found] == [4, 6, 7]


async def test_a_threshold_that_agrees_names_the_fee_and_nobody_is_waited_for() -> None:
    nap = Nap()
    quotes: list[object] = [192, 500, 192, 192]
    api = _api(*(Scripted(module_3_receive_fee=lambda _, q=q: q) for q in quotes), nap=nap)  # type: ignore[misc] # binds this turn's quote
    assert await api.receive_fee_sat() == 192
    assert nap.pauses_s == []


async def test_guardians_that_disagree_on_a_fee_are_asked_once() -> None:
    asked = [Scripted(module_3_send_fee=lambda _, fee=fee: fee) for fee in (166, 332, 166, None)]  # type: ignore[misc] # binds this turn's fee
    with pytest.raises(FederationDisagrees, match="send_fee"):
        await _api(*asked).send_fee_sat()
    assert [guardian.calls["module_3_send_fee"] for guardian in asked] == [1] * 4


async def test_the_txid_of_a_withdrawal_is_waited_for_through_failures() -> None:
    def answer(call: int) -> object:
        return [DEAD, 5, "00", "ab" * 31 + "01"][call - 1]

    txid = await _api(Scripted(module_3_transaction_id=answer)).transaction_id(OutPoint(TXID, 0))
    assert txid == b"\x01" + b"\xab" * 31


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        [{"index": 6, "script": "", "value": 1, "spent": False}],
        [{"index": 9, "script": "", "value": 1, "spent": False}],
        [{"index": 7, "script": "zz", "value": 1, "spent": False}],
        [{"index": 7, "script": "", "value": -1, "spent": False}],
        [{"index": 7, "script": "", "value": 1, "spent": 0}],
        [{"index": 7, "script": "", "value": 1, "spent": False, "outpoint": "00:1"}],
        [{"index": 7, "script": "", "value": 1, "spent": False}] * 2,
    ],
)
async def test_outputs_must_be_those_asked_for(bad: object) -> None:
    with pytest.raises(FederationUnavailable):
        await _api(Scripted(module_3_output_info_slice=lambda _: bad)).output_info_slice(7, 9)


@pytest.mark.parametrize("vout", ["", "-1", "01", "¹", str(1 << 32), "9" * 5000])
def test_a_bad_output_index_is_refused(vout: str) -> None:
    with pytest.raises(DecodeError):
        BitcoinOutPoint.parse(f"{'00' * 32}:{vout}")


@pytest.mark.parametrize("text", ["", ":", "00" * 32, f"{'00' * 31}:1", f"{'zz' * 32}:1"])
def test_a_bad_out_point_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        BitcoinOutPoint.parse(text)
