"""The read models of one file: which are outdated, how they are rebuilt, and what they could not take."""

from collections.abc import Iterator, Sequence
from itertools import islice

import apsw

from engine.chain import StoredStep
from engine.storage.open_states import OpenStates
from engine.storage.opening import transaction
from engine.storage.read_model import Gap, ReadModel, StreamIndex, fold_containing

#: Rows folded at a time when a read model is rebuilt: bounds memory.
REBUILD_ROWS = 1_000
_LACKS = "SELECT 1 FROM read_model_gap WHERE name = ? LIMIT 1"


class FoldedTables:
    """Written over one connection, always in a transaction of the rows that they fold."""

    def __init__(self, connection: apsw.Connection, read_models: Sequence[ReadModel]) -> None:
        self._connection = connection
        self._models = tuple(read_models)

    def has_whole_index(self, reader: apsw.Connection) -> bool:
        """Whether the index of streams is among them, and took every event."""
        has_index = any(isinstance(model, StreamIndex) for model in self._models)
        return has_index and not list(reader.execute(_LACKS, (StreamIndex.name,)))

    @property
    def open_states(self) -> OpenStates | None:
        """The model on which a start rests, if it is among them."""
        return next((model for model in self._models if isinstance(model, OpenStates)), None)

    def forget_others(self) -> None:
        """What this program does not fold falls behind, so a later one must rebuild it."""
        names = [model.name for model in self._models]
        marks = ",".join("?" * len(names))
        self._connection.execute(f"DELETE FROM read_model WHERE name NOT IN ({marks})", names)  # noqa: S608

    def outdated(self) -> list[ReadModel]:
        """Those whose stored version is not this program's, or whose tables were dropped.

        All of them when the states are another program's: what that could not read, or folded otherwise, is in each.
        """
        stored = dict(self._connection.execute("SELECT name, version FROM read_model"))
        present = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_schema")}
        outdated = [
            model
            for model in self._models
            if stored.get(model.name) != model.version or not present.issuperset(model.tables)
        ]
        return list(self._models) if self.open_states in outdated else outdated

    def rebuild(self, models: Sequence[ReadModel], steps: Iterator[StoredStep]) -> None:
        """Drop the tables of `models` and fold them anew from all steps, in one transaction."""
        with transaction(self._connection):
            for model in models:
                for table in model.tables:
                    self._connection.execute(f'DROP TABLE IF EXISTS "{table}"')
                self._connection.execute(model.ddl)
                self._connection.execute("DELETE FROM read_model_gap WHERE name = ?", (model.name,))
            while chunk := list(islice(steps, REBUILD_ROWS)):
                self._fold(models, chunk)
            for model in models:
                self._connection.execute(
                    "INSERT INTO read_model VALUES (?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                    (model.name, model.version),
                )

    def fold(self, steps: Sequence[StoredStep]) -> None:
        """Fold every model; the caller holds the transaction."""
        self._fold(self._models, steps)

    def _fold(self, models: Sequence[ReadModel], steps: Sequence[StoredStep]) -> None:
        for model in models:
            if isinstance(model, OpenStates):
                # Decisions rest on it: it takes every event, or nothing is written.
                model.fold(self._connection, steps)
                continue
            gaps = fold_containing(self._connection, model, steps)
            self._connection.executemany(
                "INSERT INTO read_model_gap VALUES (?, ?, ?)",
                [(gap.name, gap.position, gap.why) for gap in gaps],
            )


def gaps_in(connection: apsw.Connection) -> list[Gap]:
    """The events that a read model could not take."""
    found = connection.execute(
        "SELECT name, position, why FROM read_model_gap ORDER BY name, position"
    )
    return [Gap(name, position, why) for name, position, why in found]
