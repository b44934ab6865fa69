"""The simulated network: routes, timelocks, and a ledger that always adds up."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.simulated.chain import ChainOutput, SimulatedChain
from backends.simulated.network import Htlcs, Outcome, Returned, Settled, SimulatedNetwork
from backends.simulated.routes import Order, Policy
from errors import InputError
from tests.backends.simulated.world import CHANNEL_MSAT, SimulatedWorld

PREIMAGE = bytes(range(32))


class Payee:
    """Keeps what arrives, unless told otherwise."""

    def __init__(self, network: SimulatedNetwork, name: str) -> None:
        self.network, self.name, self.public_key = network, name, name.encode()
        self.held: list[Htlcs] = []
        network.join(self)

    def accept(self, htlcs: Htlcs) -> None:
        self.held.append(htlcs)

    def fresh_script(self) -> bytes:
        raise NotImplementedError

    def end(self, htlcs: Htlcs, *, is_paid: bool) -> None:
        self.held.remove(htlcs)
        if is_paid:
            self.network.claim(htlcs, PREIMAGE)
        else:
            self.network.fail(htlcs, "no")


def order(payer: str, payee: str, amount_msat: int = 5_000) -> Order:
    return Order(payer, payee, bytes(32), amount_msat, 18, max_fee_msat=1_000, max_delay_blocks=100)


def test_the_cheapest_of_several_routes_is_taken() -> None:
    network = SimulatedNetwork(SimulatedChain())
    for middle, fee_msat in (("dear", 900), ("cheap", 10)):
        policy = Policy(base_fee_msat=fee_msat, proportional_millionths=0)
        network.open_channel("payer", middle, first_msat=10_000, second_msat=0)
        network.open_channel(middle, "payee", first_msat=10_000, second_msat=0, first_policy=policy)
    payee = Payee(network, "payee")
    ends: list[Outcome] = []
    network.send(order("payer", "payee"), ends.append)
    assert network.locked_msat() == 2 * 5_000 + 10
    assert ends == []
    payee.end(payee.held[0], is_paid=True)
    assert ends == [Settled(PREIMAGE, 10)]
    assert "preimage" not in repr(ends[0])
    network.audit()


def test_timelocks_that_pass_give_the_money_back() -> None:
    world = SimulatedWorld()
    payee = Payee(world.network, "bob")
    ends: list[Outcome] = []
    world.network.send(order("alice", "bob"), ends.append)
    world.chain.mine(20)
    assert ends == []
    world.chain.mine()
    assert not payee.held[0].is_open
    assert ends == [Returned("its timelock ran out")]
    assert world.network.holdings_msat("alice") == CHANNEL_MSAT


def test_nobody_takes_what_comes_to_a_stranger() -> None:
    network = SimulatedNetwork(SimulatedChain())
    network.open_channel("payer", "stranger", first_msat=10_000, second_msat=0)
    ends: list[Outcome] = []
    network.send(order("payer", "stranger"), ends.append)
    assert ends == [Returned("the payee refused it")]
    network.audit()


@pytest.mark.parametrize(("second", "second_msat"), [("payer", 0), ("payee", -1)])
def test_a_channel_that_cannot_be(second: str, second_msat: int) -> None:
    network = SimulatedNetwork(SimulatedChain())
    with pytest.raises(InputError):
        network.open_channel("payer", second, first_msat=10_000, second_msat=second_msat)


payments = st.tuples(
    st.sampled_from(["alice", "bob", "carol"]),
    st.sampled_from(["alice", "bob", "carol", "dave"]),
    st.integers(1, 1_500_000),
    st.booleans(),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(payments, max_size=12), st.randoms(use_true_random=False))
def test_no_payment_makes_or_loses_money(
    history: list[tuple[str, str, int, bool]], choices: random.Random
) -> None:
    network = SimulatedWorld().network
    payees = {name: Payee(network, name) for name in ("alice", "bob", "carol", "dave")}
    total_msat = sum(network.ledger_msat().values())
    ends: list[Outcome] = []
    for payer, name, amount_msat, is_paid_at_once in history:
        if payer == name:
            continue
        payee = payees[name]
        network.send(
            Order(payer, name, bytes(32), amount_msat, 18, 10_000, 500),
            ends.append,
        )
        if payee.held and is_paid_at_once:
            payee.end(payee.held[-1], is_paid=True)
        held = [(payee, htlcs) for payee in payees.values() for htlcs in payee.held]
        if held and choices.random() < 0.5:
            payee, htlcs = choices.choice(held)
            payee.end(htlcs, is_paid=choices.random() < 0.5)
        network.audit()
        assert sum(network.ledger_msat().values()) + network.locked_msat() == total_msat
    assert all(isinstance(end, Settled | Returned) for end in ends)


def test_a_reorganisation_moves_the_newest_transactions_up() -> None:
    chain = SimulatedChain()
    old = chain.send(ChainOutput(b"old", 1))
    chain.mine(2)
    new = chain.send(ChainOutput(b"new", 1))
    chain.mine(2)
    height = chain.height
    chain.reorganise(2)
    assert chain.height == height + 1
    assert [tx.txid for tx in chain.block(height - 3)] == [old]
    assert chain.block(height - 1) == chain.block(height) == ()
    assert [tx.txid for tx in chain.block(height + 1)] == [new]
