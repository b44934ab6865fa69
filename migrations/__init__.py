"""Forward-only steps of the database, and upcasters of old events. Log rows are never rewritten."""

from collections.abc import Mapping

import apsw

from engine.events import Upcaster
from engine.storage.schema import APPLICATION_ID, LOG_TABLES

#: One script per schema version, from 0 on; a released script is never edited.
STEPS: tuple[str, ...] = (f"PRAGMA application_id = {APPLICATION_ID};\n{LOG_TABLES}",)

#: (event kind, schema version) to the function that gives the next version's body.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}


class SchemaSteps:
    """The steps as the store wants them."""

    latest = len(STEPS)

    def apply(self, connection: apsw.Connection, found: int) -> None:
        """Run the steps after version `found`, inside the caller's transaction."""
        for script in STEPS[found:]:
            connection.execute(script)
