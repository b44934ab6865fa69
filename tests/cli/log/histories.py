"""Stored histories as data directories, and the tools run on them."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from cli.log.commands import log_app
from engine.portable import write_rows
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from gateway.log import machines, read_models
from migrations import SchemaSteps
from tests.replay.stored_history import load

HISTORIES = Path(__file__).parents[2] / "replay"


def data_directory(directory: Path, history: str) -> Path:
    """A new data directory with the log of a stored history."""
    of = machines()
    store = Store(directory, SchemaSteps(), read_models())
    write_rows(store, of, load(HISTORIES / f"{history}.jsonl"))
    store.close()
    return directory


class Tools:
    """Runs `log COMMAND DATA_DIR …` and gives what it prints."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def __call__(self, command: str, *arguments: object) -> str:
        given = [command, str(self.directory), *map(str, arguments)]
        try:
            log_app(given, exit_on_error=False, print_error=False, result_action="return_value")
        finally:
            self.printed = self._capsys.readouterr().out
        return self.printed

    def write(self, sql: str) -> None:
        """Change the file behind the tools' back."""
        connection = apsw.Connection(str(self.directory / LOG_NAME))
        connection.execute(sql)
        connection.close()

    def document(self, command: str, *arguments: object) -> Any:
        """What it prints with --json."""
        return json.loads(self(command, *arguments, "--json"))
