"""Deposits: no output of ours is skipped, reported twice, or claimed at a loss."""

import pytest

from engine.machine import Input
from errors import ConflictError, FatalError
from fuzz.machines.scene import BITCOIN_FEES, FEDERATION, FEES, Scene, opened
from statemachines import deposit, deposits
from statemachines.deposit import DepositOutput, OutputGone, ReceiveFeeQuoted
from statemachines.deposits import (
    AddressGround,
    DepositAddress,
    GrindAddress,
    OutputsScanned,
    PauseDeposits,
    ScanOutputs,
    WatchDeposits,
    Watching,
)
from statemachines.items import DepositClaim
from statemachines.transaction import stream_of

LIST = deposits.stream_of(FEDERATION)
OUTPUT = DepositOutput(output_index=5, address_index=40, value_sat=50_000, out_point="aa:0")
DEPOSIT = deposit.stream_of(FEDERATION, OUTPUT.output_index)
TX = stream_of(FEDERATION, 1)
QUOTED = ReceiveFeeQuoted(fee_sat=1_000, worth_msat=48_900_000)
ADDRESSES = tuple(DepositAddress(index, f"script {index}") for index in (40, 90, 91))


def watching(*inputs: Input) -> Scene:
    scene = opened(BITCOIN_FEES)
    for input_ in (WatchDeposits(federation_id=FEDERATION), *inputs):
        scene.deliver(LIST, input_)
    return scene


def ground(count: int) -> tuple[Input, ...]:
    return tuple(AddressGround(address=address) for address in ADDRESSES[:count])


def scanned(next_output: int, used: int, *found: DepositOutput) -> OutputsScanned:
    return OutputsScanned(next_output=next_output, used=used, found=found)


def found(*inputs: Input) -> Scene:
    scene = watching(*ground(2), scanned(6, 1, OUTPUT))
    for input_ in inputs:
        scene.deliver(DEPOSIT, input_)
    return scene


def listed(scene: Scene) -> Watching:
    state = scene.state(LIST)
    assert isinstance(state, Watching)
    return state


# --- addresses and the list ------------------------------------------------------------------------------------------


def test_addresses_are_ground_ahead_one_after_the_other() -> None:
    scene = watching()
    assert scene.wants(LIST) == {"grind": GrindAddress(federation_id=FEDERATION, start=0)}
    scene.deliver(LIST, ground(1)[0])
    assert scene.wants(LIST)["grind"] == GrindAddress(federation_id=FEDERATION, start=41)
    scene.deliver(LIST, ground(2)[1])
    assert set(scene.wants(LIST)) == {"scan"}
    assert listed(scene).unused == ADDRESSES[:2]


def test_an_address_that_comes_twice_is_taken_once() -> None:
    scene = watching(*ground(2))
    rows = list(scene.rows)
    for address in ground(2):
        scene.deliver(LIST, address)
    assert scene.rows == rows


def test_the_list_is_read_only_while_an_address_is_unused() -> None:
    """Else a payment to an address that is not ground yet would be passed over."""
    scene = watching(*ground(1))
    assert scene.wants(LIST)["scan"] == ScanOutputs(watching=listed(scene))
    scene.deliver(LIST, scanned(6, 1, OUTPUT))
    assert scene.wants(LIST) == {"grind": GrindAddress(federation_id=FEDERATION, start=41)}


def test_an_address_that_was_paid_to_is_given_away_no_more() -> None:
    scene = found()
    assert listed(scene).unused == ADDRESSES[1:2]
    assert set(scene.wants(LIST)) == {"grind", "scan"}


def test_an_output_is_told_in_the_append_that_passes_it_and_only_once() -> None:
    scene = found()
    assert scene.last_append() == ["deposits.scanned", "deposit.found"]
    for again in (scanned(6, 1, OUTPUT), scanned(4, 1, OUTPUT), scanned(7, 1, OUTPUT)):
        scene.deliver(LIST, again)
    kinds = [event.kind for _, event in scene.events]
    assert kinds.count("deposit.found") == 1
    assert listed(scene).next_output == 7


def test_a_scan_that_came_no_further_writes_nothing() -> None:
    scene = found()
    before = len(scene.events)
    scene.deliver(LIST, scanned(6, 1, OUTPUT))
    assert len(scene.events) == before


def test_used_addresses_never_become_unused() -> None:
    scene = found()
    scene.deliver(LIST, scanned(9, 0))
    assert listed(scene).used == 1


def test_leaving_keeps_addresses_and_place_for_the_day_of_coming_back() -> None:
    scene = found()
    before = listed(scene)
    scene.deliver(LIST, PauseDeposits())
    assert scene.state(LIST) == deposits.Paused(watching=before)
    assert scene.wants(LIST) == {}
    for late in (*ground(1), scanned(9, 1)):
        with pytest.raises(ConflictError, match="takes no bitcoin"):
            scene.deliver(LIST, late)
    scene.deliver(LIST, WatchDeposits(federation_id=FEDERATION))
    assert scene.state(LIST) == before


# --- one output ------------------------------------------------------------------------------------------------------


def test_a_deposit_waits_for_a_fee_and_is_on_the_books_before() -> None:
    scene = found()
    quote = deposit.QuoteReceiveFee(federation_id=FEDERATION, output=OUTPUT)
    assert scene.wants(DEPOSIT) == {"fee": quote}
    assert scene.audit().balances == {
        "deposited": -50_000_000,
        f"deposits/{FEDERATION}": 50_000_000,
    }


def test_a_deposit_is_claimed_at_the_fee_quoted_in_one_append() -> None:
    scene = found(QUOTED)
    assert scene.last_append() == ["deposit.claiming", "wallet.reserved", "tx.reserved"]
    assert scene.reservation(TX).claims == (DepositClaim(5, 40, 50_000, 1_000),)
    assert scene.reservation(TX).input_fee_msat == 100_000
    assert scene.wants(DEPOSIT) == {}


def test_a_deposit_becomes_ecash_less_what_miners_and_federation_take() -> None:
    scene = found(QUOTED)
    scene.finish(TX)
    state = scene.state(DEPOSIT)
    assert isinstance(state, deposit.Claimed)
    report = scene.audit()
    assert report.is_sound
    assert (
        state.received_msat == report.balances[f"ecash/{FEDERATION}"] == scene.wallet.balance_msat
    )
    assert report.balances["chain_fees"] == 1_000_000
    assert report.balances["deposited"] == -50_000_000


def test_a_claim_that_is_rejected_waits_for_another_fee() -> None:
    """Such as one that the miners' fee outgrew while it was under way."""
    scene = found(QUOTED)
    scene.reject(TX)
    assert scene.state(DEPOSIT) == deposit.Found(federation_id=FEDERATION, output=OUTPUT)
    assert set(scene.wants(DEPOSIT)) == {"fee"}
    scene.deliver(DEPOSIT, ReceiveFeeQuoted(fee_sat=2_000, worth_msat=47_900_000))
    scene.finish(stream_of(FEDERATION, 2))
    assert isinstance(scene.state(DEPOSIT), deposit.Claimed)
    assert scene.audit().is_sound


def test_a_deposit_that_its_claim_would_eat_up_is_dropped_and_said_so() -> None:
    """The federation would reject the claim, which would be made again and again."""
    scene = found(ReceiveFeeQuoted(fee_sat=49_950, worth_msat=0))
    state = scene.state(DEPOSIT)
    assert isinstance(state, deposit.Dropped)
    assert state.reason == (
        "50000 sat do not pay for their claim, which costs 49950 sat and the federation's fees"
    )
    assert scene.wallet.transactions == 0
    assert scene.audit().is_sound
    assert scene.audit().balances["lost"] == 50_000_000


def test_a_deposit_that_another_holder_of_our_keys_claimed_is_dropped() -> None:
    scene = found(OutputGone())
    assert isinstance(scene.state(DEPOSIT), deposit.Dropped)
    assert scene.audit().is_sound


def test_a_claim_that_is_under_way_hears_of_no_fee_and_no_holder() -> None:
    scene = found(QUOTED)
    rows = list(scene.rows)
    for input_ in (QUOTED, OutputGone(), ReceiveFeeQuoted(fee_sat=1, worth_msat=1)):
        scene.deliver(DEPOSIT, input_)
    assert scene.rows == rows


def test_a_federation_without_bitcoin_has_no_deposits() -> None:
    scene = opened(FEES)
    scene.deliver(LIST, PauseDeposits())
    assert scene.state(LIST) == deposits.Closed()
    with pytest.raises(ConflictError, match="takes no bitcoin"):
        scene.deliver(LIST, ground(1)[0])
    seen = deposit.DepositSeen(federation_id=FEDERATION, output=OUTPUT)
    scene.deliver(DEPOSIT, seen)
    with pytest.raises(FatalError, match="without a walletv2 module"):
        scene.deliver(DEPOSIT, QUOTED)
