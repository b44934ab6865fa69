"""Compares the gateway's books with everybody else's to the millisatoshi when nothing is under way."""

from collections import Counter
from collections.abc import Sequence

from engine.chain import Row
from gateway.log import machines
from statemachines import accounts, gift, ledger
from tests.scenarios.calls import Calls, patiently
from tests.scenarios.stage import Stage, StagedFederation


async def check(stage: Stage) -> ledger.Report:
    """Settle, audit the log, and compare it with node, federations, users and chain."""
    report = await at_rest(stage)
    booked, witness = Counter(report.balances), stage.witness
    assert booked[accounts.LOST] == witness.lost_msat
    assert booked[accounts.NODE] == await stage.node_gain_msat()
    assert booked[accounts.DEPOSITED] == -1_000 * witness.paid_in_sat
    assert booked[accounts.ECASH_RECEIVED] == -witness.handed_in_msat
    received_sat = [await stage.chain.received_sat(one) for one in witness.payout_addresses]
    assert booked[accounts.WITHDRAWN] == 1_000 * sum(received_sat)
    for federation in stage.federations:
        await agrees(stage, federation, report)
    return report


async def at_rest(stage: Stage) -> ledger.Report:
    """Settle, and audit the log by itself."""
    await patiently(Calls(stage.gateway).settled)
    report = ledger.audit(machines(), stage.gateway.rows())
    assert report.problems == ()
    _nothing_is_under_way(report)
    return report


def unclaimed_msat(stage: Stage, federation: StagedFederation) -> int:
    """What the gateway gave away and nobody reissued: the gateway died before it could tell."""
    name = federation.federation_id
    given_msat = _given_msat(stage.gateway.rows())[name]
    return given_msat - stage.witness.given_back_msat.get(name, 0)


def _nothing_is_under_way(report: ledger.Report) -> None:
    """Money is ours, or out of our hands, and nowhere between."""
    between = {
        name: amount_msat
        for name, amount_msat in report.balances.items()
        if "/" in name and not name.startswith(accounts.ecash(""))
    }
    assert between == {}


async def agrees(stage: Stage, federation: StagedFederation, report: ledger.Report) -> None:
    """The guardians' books: every note is the gateway's or a user's, and no contract is left that anybody takes."""
    name = federation.federation_id
    ours_msat = report.balances.get(accounts.ecash(name), 0) + unclaimed_msat(stage, federation)
    assert await federation.contracts_msat() == stage.witness.stuck_msat.get(name, 0)
    users_msat = await federation.held_by_users_msat()
    assert await federation.notes_msat() == ours_msat + users_msat


def _given_msat(rows: Sequence[Row]) -> Counter[str]:
    """What was given away as text, by federation."""
    given_msat: Counter[str] = Counter()
    federations: dict[str, str] = {}
    codec = machines().codec
    for row in rows:
        if row.kind == gift.GiftRequested.kind:
            requested = codec.decode(row.event)
            assert isinstance(requested, gift.GiftRequested)
            federations[row.stream] = requested.facts.federation_id
        elif row.kind == gift.GiftGiven.kind:
            given = codec.decode(row.event)
            assert isinstance(given, gift.GiftGiven)
            given_msat[federations[row.stream]] += sum(note.amount_msat for note in given.notes)
    return given_msat
