"""The books of the demonstration: the gateway's log compared with everybody else's accounts."""

from pathlib import Path

import msgspec

from cli.world.demo_story import Story
from devnet.embedded_world import CHANNEL_SIDE_MSAT
from devnet.guardians.federation import EmbeddedFederation
from engine.chain import verified
from engine.fold import Machines
from engine.storage.reader import open_log
from errors import FatalError
from statemachines import accounts, ledger


class Line(msgspec.Struct, frozen=True):
    """One thing as the log has it, and as it was counted outside of the gateway."""

    what: str
    logged_msat: int
    counted_msat: int


class Books(msgspec.Struct, frozen=True):
    """What came of it. `balances_msat` are the log's accounts (`statemachines/accounts.py`), which sum to zero."""

    lines: tuple[Line, ...]
    earned_msat: int
    balances_msat: dict[str, int]
    events: int
    log_head: str


def audit(story: Story, data_dir: Path, machines: Machines) -> Books:
    """Replay the whole log and compare it with the world. Raises FatalError for a difference of one msat."""
    with open_log(data_dir) as log:
        report = ledger.audit(machines, list(verified(log.rows())))
        head = log.head
    for problem in report.problems:
        raise FatalError(f"the gateway's books are wrong: {problem}")
    lines = _lines(story, report.balances)
    for line in lines:
        if line.logged_msat != line.counted_msat:
            raise FatalError(
                f"{line.what}: the log has {line.logged_msat} msat, counted were {line.counted_msat}"
            )
    story.world.network.audit()
    return Books(
        lines=lines,
        earned_msat=-report.balances.get(accounts.FEES_EARNED, 0),
        balances_msat=report.balances,
        events=report.rows,
        log_head=head.hash.hex(),
    )


def _lines(story: Story, balances_msat: dict[str, int]) -> tuple[Line, ...]:
    world, chain = story.world, story.world.chain
    withdrawn_sat = 0
    for txid, script in story.withdrawals.items():
        transaction = chain.transaction(txid)
        assert transaction is not None, "a withdrawal is on the chain"
        withdrawn_sat += sum(o.value_sat for o in transaction.outputs if o.script == script)
    node_msat = world.network.holdings_msat(world.gateway_node.name) - CHANNEL_SIDE_MSAT
    in_channels_msat = balances_msat.get(accounts.NODE, 0)
    return (
        _ecash(story.alpha, story.ann.balance_msat(), balances_msat),
        _ecash(story.beta, story.ben.balance_msat(), balances_msat),
        Line("gained in Lightning channels", in_channels_msat, node_msat),
        Line("deposited", -balances_msat.get(accounts.DEPOSITED, 0), story.deposited_sat * 1000),
        Line("withdrawn", balances_msat.get(accounts.WITHDRAWN, 0), withdrawn_sat * 1000),
        Line("sum of the gateway's accounts", sum(balances_msat.values()), 0),
    )


def _ecash(
    federation: EmbeddedFederation, of_users_msat: int, balances_msat: dict[str, int]
) -> Line:
    """What the federation has issued and is not the user's is the gateway's; its own books must balance."""
    name = federation.config.meta["federation_name"]
    books = federation.audit()
    if not books.is_balanced() or books.contracts_msat:
        raise FatalError(f"the books of the federation {name} do not balance")
    account = accounts.ecash(federation.federation_id.hex())
    return Line(f"ecash in {name}", balances_msat.get(account, 0), books.notes_msat - of_users_msat)
