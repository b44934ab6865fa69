"""`gatewayd log verify`: checks everything about a log in one reading."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from cli.log.reading import DataDir, Json, program
from engine.storage.audit import Verified, verify
from engine.storage.reader import open_log
from errors import FatalError
from statemachines.ledger import Auditor


class Found(msgspec.Struct, frozen=True):
    """What a log holds, its books in msat by account, and all that is wrong with it."""

    verified: Verified
    balances_msat: dict[str, int]
    problems: tuple[str, ...]


def print_verified(data_dir: DataDir, /, *, json: Json = False) -> None:
    """Check hash chain, read models and books, and print the newest position and hash.

    Keep what it prints: only this shows later that rows at the end of a log are missing.
    Ends with exit code 70 when anything is wrong. What this program cannot read of a sound log is UNREAD: a gateway
    started on it leaves these streams alone.
    """
    found = check(data_dir)
    print(found_json(found) if json else "\n".join(found_text(found)))
    if found.problems:
        raise FatalError(
            f"{_count(len(found.problems), 'thing')} wrong with the log of {data_dir}: "
            "keep it as it is, stop its gateway, and find a backup"
        )


def check(data_dir: Path) -> Found:
    """Verify and audit a log. Raises NotFoundError without one."""
    machines, read_models = program()
    auditor = Auditor()
    with open_log(data_dir) as log:
        verified = verify(log, machines, read_models, auditor.inspect)
    problems = verified.problems
    if verified.states is not None:
        problems += tuple(auditor.finish())
    return Found(verified, auditor.balances, problems)


def found_text(found: Found) -> Iterator[str]:
    """What people read."""
    verified = found.verified
    yield from (f"WRONG     {problem}" for problem in found.problems)
    for unread in verified.unread:
        yield f"UNREAD    {unread}"
    if not found.problems:
        yield "the chain holds, the tables equal their rebuild, the books balance"
    yield f"position  {verified.head.position}"
    yield f"hash      {verified.head.hash.hex()}"
    yield f"states    {verified.states or 'unknown: the log does not fold'}"
    yield f"streams   {verified.streams}, of which {verified.unfinished_streams} are open"
    for model in verified.read_models:
        what = f"{model.rows} rows equal their rebuild"
        if not model.compared:
            what = "not compared: the next start rebuilds it"
            if verified.unread:
                what = "not compared: it may have what this program cannot read"
        yield f"table     {model.name} v{model.version}: {what}"
        for position in model.left_out:
            yield f"          could not take the event at position {position}, which is left out of it"


def found_json(found: Found) -> str:
    """What `--json` prints; hashes are hex."""
    document = msgspec.to_builtins(found.verified)
    document["head"]["hash"] = found.verified.head.hash.hex()
    document |= {"balances_msat": found.balances_msat, "problems": found.problems}
    return msgspec.json.encode(document).decode()


def _count(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"
