"""Handlers of ecash and coins against a canned gateway, in the shapes of a Rust one, on both event loops."""

import msgspec
import pytest

from api import treasury_handlers as treasury
from api import treasury_structs as structs
from api.structs import FederationPayload
from api.testing import canned
from api.testing.gateway import CannedGateway
from errors import InputError
from gateway import views
from tests.api.recorded import exchanges, written

pytestmark = pytest.mark.anyio

FED = "01" * 32


async def test_addresses() -> None:
    gateway = CannedGateway()
    recorded = exchanges("/address")[0]["response"]
    assert await treasury.address(gateway, FederationPayload(federation_id=FED)) == recorded
    (recheck,) = exchanges("/address_recheck")
    payload = msgspec.convert(
        {**recheck["request"], "federation_id": FED}, structs.AddressRecheckPayload
    )
    assert written(await treasury.address_recheck(gateway, payload)) == recheck["response"] == {}
    assert gateway.calls == [
        ("deposit_address", FED),
        ("recheck_address", FED, recheck["request"]["address"]),
    ]


async def test_a_withdrawal_reads_and_answers_as_in_rust() -> None:
    (recorded,) = exchanges("/withdraw")
    payload = msgspec.convert(recorded["request"], structs.WithdrawPayload)
    gateway = CannedGateway()
    answer = written(await treasury.withdraw(gateway, payload))
    assert answer == {**recorded["response"], "amount_sats": 7}
    request = recorded["request"]
    assert gateway.calls == [
        (
            "withdraw",
            views.WithdrawalRequest(
                request["federation_id"], request["address"], request["amount"], None
            ),
        )
    ]


@pytest.mark.parametrize(
    ("fees", "quoted_sat"),
    [
        (None, None),
        ({"fee_rate": {"sats_per_kvb": 166}, "total_weight": 4000}, 166),
        ({"fee_rate": {"sats_per_kvb": 1500}, "total_weight": 561}, 211),
        ({"fee_rate": {"sats_per_kvb": 0}, "total_weight": 0}, 0),
    ],
)
async def test_quoted_fees_are_rate_times_weight(fees: object, quoted_sat: int | None) -> None:
    request = {"federation_id": FED, "amount": "7", "address": "bc1qa", "quoted_fees": fees}
    gateway = CannedGateway()
    await treasury.withdraw(gateway, msgspec.convert(request, structs.WithdrawPayload))
    assert gateway.calls == [
        ("withdraw", views.WithdrawalRequest(FED, "bc1qa", 7, quoted_sat)),
    ]


async def test_a_quote_for_all_is_refused() -> None:
    fees = structs.PegOutFees(structs.Feerate(166), 4000)
    payload = structs.WithdrawPayload(FED, "all", "bc1qa", fees)
    gateway = CannedGateway()
    with pytest.raises(InputError, match="quoted_fees cannot be given with the amount all"):
        await treasury.withdraw(gateway, payload)
    assert gateway.calls == []


@pytest.mark.parametrize(
    ("amount", "wanted_sat"),
    [
        ("all", None),
        ("ALL", None),
        (0, 0),
        (7, 7),
        ("7", 7),
        ("007", 7),
        (2_100_000_000_000_000,) * 2,
    ],
)
async def test_amounts(amount: object, wanted_sat: int | None) -> None:
    request = {"federation_id": FED.upper(), "amount": amount, "fee_rate_sats_per_vbyte": 2}
    gateway = CannedGateway()
    withdrawal = msgspec.convert(request, structs.WithdrawToOnchainPayload)
    assert (await treasury.withdraw_to_onchain(gateway, withdrawal)).txid == canned.TXID
    pegin = msgspec.convert(request, structs.PeginFromOnchainPayload)
    assert await treasury.pegin_from_onchain(gateway, pegin) == canned.TXID
    assert gateway.calls == [
        ("withdraw_to_onchain", FED, wanted_sat),
        ("pegin_from_onchain", views.PeginRequest(FED, wanted_sat, 2)),
    ]


@pytest.mark.parametrize(
    "amount", [-1, 2_100_000_000_000_001, 0.5, "", "-1", "1.5", "1 sat", "everything", None, True]
)
def test_what_is_no_amount(amount: object) -> None:
    with pytest.raises(msgspec.ValidationError, match="amount"):
        msgspec.convert({"federation_id": FED, "amount": amount}, structs.WithdrawToOnchainPayload)


async def test_ecash_is_given() -> None:
    gateway = CannedGateway()
    payload = structs.SpendEcashPayload(federation_id=FED, amount=500_000)
    answer = await treasury.spend_ecash(gateway, payload)
    assert written(answer) == {"notes": canned.ECASH}
    assert canned.ECASH not in repr(answer)
    assert set(exchanges("/spend_ecash")[0]["response"]) == {"notes"}
    assert gateway.calls == [("spend_ecash", FED, 500_000)]
