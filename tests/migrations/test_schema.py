"""Every step runs once, in order, and leaves what the log needs."""

import apsw

from engine.storage.schema import APPLICATION_ID
from migrations import STEPS, SchemaSteps


def _migrated(found: int) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for script in STEPS[:found]:
        connection.execute(script)
    SchemaSteps().apply(connection, found)
    return connection


def test_all_steps_lead_from_any_version_to_the_same_schema() -> None:
    dumps = []
    for found in range(len(STEPS) + 1):
        connection = _migrated(found)
        dumps.append(
            list(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name"))
        )
        assert connection.pragma("application_id") == APPLICATION_ID
    assert all(dump == dumps[0] for dump in dumps)
    assert SchemaSteps.latest == len(STEPS)


def test_the_log_has_its_tables_and_guards() -> None:
    connection = _migrated(0)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    assert {"log", "writer", "read_model", "log_is_never_updated", "log_is_never_deleted"} <= names
    assert connection.execute("SELECT * FROM writer").fetchall() == [(1, 0)]
