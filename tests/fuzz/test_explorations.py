"""Every interleaving of one payment: the gateway as it is, and with a rule taken out."""

import pytest

from fuzz.explore.exploration import described, explored
from fuzz.explore.search import NO_WAY_OUT, Limits
from fuzz.explore.world import Bounds
from fuzz.mutants import MUTANTS

CALM = Bounds(crashes=0, losses=0, orders=0)
FAULTS = Bounds(crashes=1, losses=1, orders=1)
SHORT_CONTRACT = "send, the contract ends first"
SHORT_INVOICE = "send, the invoice ends first"


def test_a_payment_without_faults_is_explored_to_its_ends() -> None:
    report = explored(SHORT_INVOICE, CALM)
    assert (report.broken, report.unseen) == ((), 0)
    assert report.states > 100
    assert report.transitions > report.states


@pytest.mark.parametrize("name", [SHORT_INVOICE, SHORT_CONTRACT])
def test_no_interleaving_of_a_send_breaks_a_promise(name: str) -> None:
    report = explored(name, FAULTS)
    assert (report.broken, report.trace, report.unseen) == ((), (), 0)


def test_more_faults_are_more_to_see() -> None:
    seen = [
        explored(SHORT_INVOICE, bounds).states
        for bounds in (CALM, Bounds(1, 0, 0), Bounds(1, 1, 0), Bounds(2, 1, 0))
    ]
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("mutant", "broken"),
    [
        ("cancel on unknown", "2: signs a forfeit for a payment that is flying at the node"),
        (
            "cancel beside a stray call",
            "2: signs a forfeit for a payment that is flying at the node",
        ),
        ("cancel without a record", "2: signs a forfeit for a payment that is flying at the node"),
        ("keep no blocks back", "3: pays with an HTLC that may outlive the sender's contract"),
        ("call again when resumed", "3: pays with an HTLC that may outlive the sender's contract"),
        ("pay at any price", "3: allows more for routing than the contract brings"),
        ("answer once it is paid", "8: tells the preimage before the claim is in the log"),
        ("forget the claim", NO_WAY_OUT),
    ],
)
def test_a_rule_that_is_taken_out_of_sends_is_missed(mutant: str, broken: str) -> None:
    report = explored(SHORT_CONTRACT, FAULTS, mutated=MUTANTS[mutant].apply())
    assert report.broken == (broken,)


def test_a_forfeit_that_comes_too_early_is_told_by_the_shortest_path() -> None:
    report = explored(SHORT_INVOICE, FAULTS, mutated=MUTANTS["cancel on unknown"].apply())
    assert report.trace[-7:] == (
        "PayInvoice asks node.pay: the call is astray",
        "PayInvoice goes on",
        "PayInvoice goes on",
        "PayInvoice asks node.lookup: NotFound",
        "PayInvoice goes on: send is Cancelling",
        "a call astray reaches the node: InFlight",
        "SignForfeit goes on: send is Cancelled",
    )
    assert described(SHORT_INVOICE, report)[-1].endswith(report.trace[-1])


def test_what_there_was_no_time_for_is_told() -> None:
    report = explored(SHORT_INVOICE, FAULTS, Limits(states=50))
    assert report.unseen > 0
    assert described(SHORT_INVOICE, report)[-1] == (
        f"  {report.unseen} states were not gone on from: give it more time"
    )
