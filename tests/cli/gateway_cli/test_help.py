"""gateway-cli without a gateway: help, completion, password hashes, and few imports."""

import io
import json
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from cli.gateway_cli.program import main


def test_a_password_hash_is_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["create-password-hash", "pässword", "--cost", "4"]) == 0
    hashed = json.loads(capsys.readouterr().out)
    assert bcrypt.checkpw("pässword".encode(), hashed.encode())
    for given in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("from stdin\n"))
        assert main(["create-password-hash", *given, "--cost", "4"]) == 0
        assert bcrypt.checkpw(b"from stdin", json.loads(capsys.readouterr().out).encode())
    assert main(["create-password-hash", "-secret", "--cost", "4"]) == 0
    assert bcrypt.checkpw(b"-secret", json.loads(capsys.readouterr().out).encode())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("gateway-cli", "pegin-from-onchain", "connect-fed", "wait-for-chain-sync"):
        assert word in script


def test_groups_load_their_own_commands_only() -> None:
    program = (
        "import sys; from cli.gateway_cli.program import main; main(['onchain', '--help']);"
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    ).stderr.split()
    assert "cli.gateway_cli.onchain" in loaded
    assert "cli.gateway_cli.lightning" not in loaded


def _commands(help_text: str) -> list[str]:
    """The names that a help text lists, without flags."""
    listed = [line.strip().partition(":")[0] for line in help_text.splitlines() if line[:2] == "  "]
    return [name for name in listed if name.replace("-", "").isalnum() and name[0] != "-"]


@pytest.mark.parametrize("group", ["", "lightning", "ecash", "onchain", "cfg"])
def test_every_command_and_parameter_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*group.split(), "--help"]) == 0
    names = _commands(capsys.readouterr().out)
    assert len(names) >= 2
    for name in names:
        assert main([*group.split(), name, "--help"]) == 0
        for line in capsys.readouterr().out.splitlines():
            if line.startswith(("  --", "  -a")):
                _, colon, explained = line.partition(": ")
                assert colon, (name, line)
                assert not explained.startswith("["), (name, line)
