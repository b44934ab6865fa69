"""A table of notes that others handed in, folded from the log: which became ours, how often others were refused."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.storage.read_model import Step
from engine.storage.tables import TableReader, Tables
from statemachines import reissue

_COUNT = (
    "INSERT INTO known_note VALUES (?, ?, ?) ON CONFLICT (nonce) DO UPDATE SET "
    "received = received + excluded.received, refusals = refusals + excluded.refusals"
)
#: Of notes at once: the most bindings that every SQLite takes.
_AT_ONCE = 500


class KnownNotes:
    """The table behind `of_notes`; about a hundred bytes a note."""

    name = "known_notes"
    version = 1
    tables = ("known_note",)
    ddl = """
    CREATE TABLE known_note (
        nonce           BLOB    PRIMARY KEY,
        received        INTEGER NOT NULL,
        refusals        INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """

    def fold(self, connection: Tables, steps: Sequence[Step]) -> None:
        """Only the end of a reissue says anything about notes."""
        for step in steps:
            if isinstance(step.state, reissue.Reissued | reissue.ReissueRejected):
                received = isinstance(step.state, reissue.Reissued)
                connection.executemany(
                    _COUNT,
                    [
                        (bytes.fromhex(nonce), int(received), int(not received))
                        for nonce in step.state.facts.nonces
                    ],
                )


@dataclass(frozen=True, slots=True)
class KnownOf:
    """Of some notes: how many are ours since, and how often the one that was refused most was refused."""

    received: int
    refusals: int


def of_notes(store: TableReader, nonces: Collection[str]) -> KnownOf:
    """What is committed about notes, by nonce in hex."""
    wanted = [bytes.fromhex(nonce) for nonce in nonces]
    received = refusals = 0
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        places = ", ".join("?" * len(part))
        ((some, most),) = store.query(
            "SELECT count(*) FILTER (WHERE received > 0), coalesce(max(refusals), 0) "  # noqa: S608 (only marks)
            f"FROM known_note WHERE nonce IN ({places})",
            part,
        )
        assert isinstance(some, int)
        assert isinstance(most, int)
        received, refusals = received + some, max(refusals, most)
    return KnownOf(received, refusals)
