"""The lnv2 endpoints of a paying and of a receiving user, recorded and scripted."""

import hashlib

import pytest

from fedimint.client.query import Guardians
from fedimint.client.transport import GuardianTimeout
from fedimint.codec.wire_types import ContractId, OutPoint, TransactionId
from fedimint.lnv2.api import Lnv2Api
from tests.fedimint.played import DEAD, HANG, Nap, Recorded, Scripted, guardians

pytestmark = pytest.mark.anyio

OUT_POINT = OutPoint(TransactionId(b"\x07" * 32), 2)
OUT_POINT_JSON = {"txid": "07" * 32, "out_idx": 2}
CONTRACT_ID = ContractId(b"\x08" * 32)
PREIMAGE = b"\x09" * 32


def _api(some: Guardians) -> Lnv2Api:
    return Lnv2Api(some, 0)


async def test_recorded_preimages_and_contracts() -> None:
    recorded = Recorded()
    api = _api(guardians(*[recorded] * 4))
    preimages = []
    for params in recorded.requests["module_0_await_preimage"]:
        assert isinstance(params, list)
        out_point = OutPoint(TransactionId(bytes.fromhex(params[0]["txid"])), params[0]["out_idx"])
        preimages.append(await api.await_preimage(out_point, params[1]))
    assert [preimage is not None and len(preimage) for preimage in preimages] == [32] * 3
    for params in recorded.requests["module_0_await_incoming_contract"]:
        assert isinstance(params, list)
        contract_id = ContractId(bytes.fromhex(params[0]))
        funded = await api.await_incoming_contract(contract_id, params[1])
        assert funded is not None
        assert funded.out_idx == 0
    assert await api.gateways() == ("http://127.0.0.1:8999/",)


async def test_a_preimage_needs_a_threshold_of_the_same() -> None:
    good = list(PREIMAGE)
    answers: list[object] = [GuardianTimeout("cut"), [1] * 31, [256] * 32, "no", good]

    def late(call: int) -> object:
        return answers[min(call, len(answers)) - 1]

    liar = Scripted(module_0_await_preimage=lambda _: list(hashlib.sha256().digest()))
    others = [Scripted(module_0_await_preimage=late) for _ in range(3)]
    assert await _api(guardians(liar, *others)).await_preimage(OUT_POINT, 900) == PREIMAGE


async def test_what_never_came_is_none() -> None:
    some = guardians(
        Scripted(
            module_0_await_preimage=lambda _: None,
            module_0_await_incoming_contract=lambda _: None,
        )
    )
    assert await _api(some).await_preimage(OUT_POINT, 900) is None
    assert await _api(some).await_incoming_contract(CONTRACT_ID, 1) is None


async def test_a_funded_contract_is_waited_for_through_failures() -> None:
    answers: list[object] = [DEAD, {"txid": "07"}, {"txid": "07" * 31, "out_idx": 2}]

    def answer(call: int) -> object:
        return answers[call - 1] if call <= len(answers) else OUT_POINT_JSON

    nap = Nap()
    some = guardians(Scripted(module_0_await_incoming_contract=answer), nap=nap)
    assert await _api(some).await_incoming_contract(CONTRACT_ID, 2_000_000_000) == OUT_POINT
    assert len(nap.pauses_s) == 3


async def test_gateways_that_more_guardians_list_come_first() -> None:
    lists: list[object] = [["c", "b"], ["b", "b", "a"], ["a", "b"], HANG]
    some = [Scripted(module_0_gateways=lambda _, urls=urls: urls) for urls in lists]  # type: ignore[misc] # binds this turn's list
    assert await _api(guardians(*some)).gateways() == ("b", "a", "c")
