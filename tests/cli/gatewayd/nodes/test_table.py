"""The table of kinds of node: each row is complete and shown, and nothing else of gatewayd names a kind."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from cli.gatewayd.nodes.table import NODE_KINDS, NodeKind
from cli.gatewayd.program import app

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("kind", NODE_KINDS)
def test_a_row_names_a_function_that_says_the_same(kind: NodeKind) -> None:
    module, _, name = kind.function.partition(":")
    assert module == f"cli.gatewayd.nodes.{kind.command}"
    assert inspect.getdoc(getattr(import_module(module), name)) == kind.help


@pytest.mark.parametrize("kind", NODE_KINDS)
def test_its_command_is_there_and_its_help_is_kept(kind: NodeKind) -> None:
    assert kind.command in set(app)
    page = (ROOT / f"tests/vectors/cli/gatewayd-{kind.command}.txt").read_text()
    assert kind.help in page


def test_every_file_of_a_kind_has_its_row() -> None:
    """A file that nothing but its own row loads defines a command."""
    files = {path.stem for path in (ROOT / "cli/gatewayd/nodes").glob("*.py")}
    shared = {"__init__", "settings", "table"}
    assert files - shared == {kind.command for kind in NODE_KINDS}


@pytest.mark.parametrize("room", ["gateway", "api", "cli/gatewayd"])
def test_no_kind_is_named_elsewhere(room: str) -> None:
    """Canned answers, which are as the Rust gateway gave them, and the files of the kinds aside."""
    names = re.compile("|".join(rf"\b{kind.command}" for kind in NODE_KINDS), re.IGNORECASE)
    aside = ("api/testing/", "cli/gatewayd/nodes/")
    paths = [path.relative_to(ROOT) for path in (ROOT / room).rglob("*.py")]
    looked_at = [path for path in paths if not str(path).startswith(aside)]
    assert len(looked_at) > 5
    assert [str(path) for path in looked_at if names.search((ROOT / path).read_text())] == []
