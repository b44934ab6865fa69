"""Commands that need more than this installation has end with a sentence."""

import sys

import pytest

from cli.gatewayd import program


@pytest.mark.parametrize(
    ("missing", "arguments", "sentence"),
    [
        ("fuzz.mutants", ["fuzz", "mutants"], "needs a checkout of the repository"),
        ("devnet.real", ["dev", "--real"], "needs a checkout of the repository"),
        ("fuzz.simulation.judging", ["fuzz", "sim"], "install fedimint-gateway[fuzz]"),
        ("fuzz.targets", ["fuzz"], "install fedimint-gateway[fuzz]"),
        ("fuzz.explore.exploration", ["fuzz", "explore"], "install fedimint-gateway[fuzz]"),
    ],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.delitem(sys.modules, "cli.world.dev_real", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    assert program.main(arguments) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert missing in said
    assert sentence in said
