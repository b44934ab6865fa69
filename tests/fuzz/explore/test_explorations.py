"""Every interleaving of one payment, with all rules and with one disabled."""

import pytest

from fuzz.explore.exploration import described, explored
from fuzz.explore.search import NO_WAY_OUT, Limits
from fuzz.explore.world import Bounds
from fuzz.mutants.catalogue import MUTANTS
from fuzz.mutants.exploring import MUTANTS as EXPLORED_MUTANTS

HTLC_FIRST = "receive, the HTLC ends first"
CONTRACT_FIRST = "receive, the contract ends first"
CALM = Bounds(crashes=0, losses=0, orders=0)
FAULTS = Bounds(crashes=1, losses=1, orders=1)
CRASH_OR_ORDER = Bounds(crashes=1, losses=0, orders=1)
SHORT_CONTRACT = "send, the contract ends first"
SHORT_INVOICE = "send, the invoice ends first"


def test_a_payment_without_faults_is_explored_to_its_ends() -> None:
    report = explored(SHORT_INVOICE, CALM)
    assert (report.broken, report.unseen) == ((), 0)
    assert report.states > 100
    assert report.transitions > report.states


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        (SHORT_INVOICE, FAULTS),
        (SHORT_CONTRACT, FAULTS),
        (HTLC_FIRST, Bounds(crashes=1, losses=0, orders=0)),
        (CONTRACT_FIRST, Bounds(crashes=0, losses=0, orders=1)),
        ("swap", Bounds(crashes=1, losses=0, orders=0)),
        ("an HTLC beside a swap", CALM),
    ],
)
def test_no_interleaving_breaks_a_promise(name: str, bounds: Bounds) -> None:
    """With less of what may go wrong than `nox -s explore` looks at."""
    report = explored(name, bounds)
    assert (report.broken, report.trace, report.unseen) == ((), (), 0)


def test_more_faults_are_more_to_see() -> None:
    seen = [
        explored(SHORT_INVOICE, bounds).states
        for bounds in (CALM, Bounds(1, 0, 0), Bounds(1, 1, 0), Bounds(2, 1, 0))
    ]
    assert seen == sorted(set(seen))


_FORFEIT = "2: signs a forfeit for a payment that is flying at the node"
_OUTLIVES = "3: pays with an HTLC that may outlive the sender's contract"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "scene", "broken"),
    [
        ("cancel on unknown", SHORT_CONTRACT, _FORFEIT),
        ("cancel beside a stray call", SHORT_CONTRACT, _FORFEIT),
        ("cancel without a record", SHORT_CONTRACT, _FORFEIT),
        ("keep no blocks back", SHORT_CONTRACT, _OUTLIVES),
        ("call again when resumed", SHORT_CONTRACT, _OUTLIVES),
        ("pay at any price", SHORT_CONTRACT, "3: allows more for routing than the contract brings"),
        (
            "answer once it is paid",
            SHORT_CONTRACT,
            "8: tells the preimage before the claim is in the log",
        ),
        ("forget the claim", SHORT_INVOICE, NO_WAY_OUT),
        (
            "settle with anything",
            HTLC_FIRST,
            "4: writes completion.settling down with what is no preimage",
        ),
        ("settle with anything", "swap", "4: writes send.paid down with what is no preimage"),
        ("cancel while funding", HTLC_FIRST, "4: cancels the HTLC while it funds"),
        ("begin the completion later", HTLC_FIRST, "4: cancels the HTLC while it funds"),
        (
            "credit the onion amount",
            HTLC_FIRST,
            "4: decides to fund for an HTLC that holds less than the invoice asks for",
        ),
        (
            "give a swap back once it is signed",
            "swap",
            "2: signs a forfeit for a swap whose preimage it buys",
        ),
    ],
)
def test_a_rule_that_is_taken_out_is_missed(mutant: str, scene: str, broken: str) -> None:
    """Rules that simulations look for, too."""
    report = explored(scene, FAULTS, mutated=MUTANTS[mutant].apply())
    assert report.broken == (broken,)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPLORED_MUTANTS)
def test_what_is_no_longer_so_is_missed(name: str) -> None:
    mutant = EXPLORED_MUTANTS[name]
    report = explored(mutant.scene, CRASH_OR_ORDER, mutated=mutant.apply())
    assert report.broken[0].startswith(mutant.breaks)


def test_a_backup_that_goes_on_breaks_no_promise_as_far_as_it_is_looked_at() -> None:
    """To its ends it takes a minute: 741,650 states."""
    report = explored(SHORT_INVOICE, Bounds(0, 0, 0, 1), Limits(states=60_000))
    assert (report.broken, report.trace) == ((), ())
    assert report.depth > 20


def test_notes_that_lost_events_spent_are_missed() -> None:
    keep = MUTANTS["keep spent notes"]
    report = explored(SHORT_INVOICE, Bounds(0, 0, 0, 1), mutated=keep.apply())
    assert report.broken[0].startswith("7: holds 0 notes that are spent, and not ")
    assert any(
        step.startswith("the disk is lost, and the backup is restored") for step in report.trace
    )


def test_a_funding_for_an_htlc_that_is_gone_is_told_by_the_shortest_path() -> None:
    mutant = EXPLORED_MUTANTS["build what has aged"]
    report = explored(mutant.scene, CRASH_OR_ORDER, mutated=mutant.apply())
    assert report.broken == ("4: signs a funding for an HTLC that is over",)
    assert report.trace[-8:] == (
        "the process dies",
        "time passes: two blocks are left of the HTLC",
        "time passes: one block is left of the HTLC",
        "time passes: the HTLC is at its deadline",
        "the process starts",
        "BuildTransaction goes on",
        "BuildTransaction asks cpu.build: SignedTransaction",
        "BuildTransaction goes on: receive is Funding, tx is Signed",
    )


def test_a_forfeit_that_comes_too_early_is_told_by_the_shortest_path() -> None:
    report = explored(SHORT_INVOICE, FAULTS, mutated=MUTANTS["cancel on unknown"].apply())
    assert report.trace[-7:] == (
        "PayInvoice asks node.pay: the call is in transit",
        "PayInvoice goes on",
        "PayInvoice goes on",
        "PayInvoice asks node.lookup: NotFound",
        "PayInvoice goes on: send is Cancelling",
        "a call in transit reaches the node: InFlight",
        "SignForfeit goes on: send is Cancelled",
    )
    assert described(SHORT_INVOICE, report)[-1].endswith(report.trace[-1])


def test_what_there_was_no_time_for_is_told() -> None:
    report = explored(SHORT_INVOICE, FAULTS, Limits(states=50))
    assert report.unseen > 0
    assert described(SHORT_INVOICE, report)[-1] == (
        f"  {report.unseen} states were not explored: give it more time"
    )
