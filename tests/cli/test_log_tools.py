"""The log tools on the log of toy payments, as text and as JSON; they never write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from cli import log_tools
from cli.log_tools import log_app
from engine.store import LOG_NAME
from errors import FatalError, InputError, NotFoundError
from tests.engine.toy import (
    Arrived,
    Begin,
    Order,
    StepClock,
    machines,
    open_engine,
    open_store,
    read_models,
    running,
)

HASH = "ab" * 32
Run = Callable[..., str]


class Ticking(StepClock):
    """1.5 ms pass with each look at it."""

    def __init__(self) -> None:
        super().__init__()
        self._unix_us = 1_700_000_000_000_000

    def now_unix_us(self) -> int:
        self._unix_us += 1_500
        return self._unix_us


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two transfers that arrived; the account they come from is named like a payment hash."""

    async def write() -> None:
        engine = open_engine(store, clock=Ticking())
        async with running(engine):
            for name in ("11aa22bb", "11aa33cc"):
                await engine.submit(f"transfer/{name}", Begin(order=Order(HASH, "b", 10)))
                await engine.wait(f"transfer/{name}", lambda state: isinstance(state, Arrived))

    store = open_store(tmp_path)
    anyio.run(write)
    store.close()
    return tmp_path


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `log COMMAND DATA_DIR …` and gives what it prints."""
    monkeypatch.setattr(log_tools, "_program", lambda: (machines(), read_models()))

    def run(command: str, *arguments: str) -> str:
        log_app(
            [command, str(data_dir), *arguments],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        return capsys.readouterr().out

    return run


def _documents(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_verify_prints_the_head(run: Run) -> None:
    (document,) = _documents(run("verify", "--json"))
    assert document["head"]["position"] == 10
    assert len(bytes.fromhex(document["head"]["hash"])) == 32
    assert document["read_models"] == [
        {"name": "streams", "version": 1, "rows": 5, "compared": True}
    ]
    lines = run("verify").splitlines()
    assert lines[:3] == [
        "the chain holds",
        "position  10",
        f"hash      {document['head']['hash']}",
    ]
    assert lines[-2:] == [
        "streams   5, of which 3 are open",
        "table     streams v1: 5 rows equal their rebuild",
    ]


def test_verify_tells_damage_and_outdated_tables(run: Run, data_dir: Path) -> None:
    store = open_store(data_dir)
    store._write.execute("UPDATE read_model SET version = 0")
    store.close()
    assert "outdated: the next start rebuilds it" in run("verify")
    store = open_store(data_dir)
    store._write.execute("DROP TRIGGER log_is_never_updated")
    store._write.execute("UPDATE log SET recorded_unix_us = 0 WHERE position = 2")
    store.close()
    with pytest.raises(FatalError, match="position 2 breaks the hash chain"):
        run("verify")


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        ([], list(range(1, 11))),
        (["--after", "8"], [9, 10]),
        (["--limit", "2"], [1, 2]),
        (["--stream", "transfer/11aa22bb"], [1, 4]),
        (["--kind", "transfer.begun", "--after", "1"], [6]),
        (["--since", "2023-11-14T22:13:20.005"], [6, 7, 8, 9, 10]),
        (["--until", "2023-11-14T23:13:20.003+01:00"], [1, 2, 3]),
        (["--until", "1700000000"], []),
    ],
)
def test_show_filters(run: Run, arguments: list[str], positions: list[int]) -> None:
    assert [
        found["position"] for found in _documents(run("show", *arguments, "--json"))
    ] == positions
    assert [int(line.split()[0]) for line in run("show", *arguments).splitlines()] == positions


def test_show_prints_everything_as_json_and_a_line_for_people(run: Run) -> None:
    assert _documents(run("show", "--limit", "1", "--json")) == [
        {
            "position": 1,
            "append": 1,
            "recorded": "2023-11-14T22:13:20.001Z",
            "recorded_unix_us": 1_700_000_000_001_500,
            "epoch": 1,
            "stream": "transfer/11aa22bb",
            "version": 1,
            "kind": "transfer.begun",
            "schema_version": 1,
            "facts": {"order": {"source": HASH, "target": "b", "amount": 10}},
        }
    ]
    assert run("show", "--limit", "1").split("  ") == [
        "",
        "",
        "",
        " 1",
        "2023-11-14T22:13:20.001Z",
        "transfer/11aa22bb v1",
        "transfer.begun",
        'order={"source":"abababababab…","target":"b","amount":10}\n',
    ]


def test_long_facts_are_cut_for_people() -> None:
    text = log_tools.facts(json.dumps({"note": "x y" * 100, "more": 1}).encode())
    assert len(text) == log_tools.FACTS_CHARACTERS
    assert text.endswith("…")


def test_trace_follows_a_payment_over_its_streams(run: Run) -> None:
    (document,) = _documents(run("trace", "11aa22", "--json"))
    assert document["identifier"] == "11aa22bb"
    assert document["streams"] == ["transfer/11aa22bb"]
    events = document["events"]
    assert [traced["event"]["position"] for traced in events] == [1, 4]
    assert [traced["state"] for traced in events] == ["Sending", "Arrived"]
    assert events[0]["since_previous_ms"] is None
    assert events[1]["since_previous_ms"] > 0


def test_trace_as_a_table(run: Run) -> None:
    head, *rows = run("trace", "transfer/11aa22bb").splitlines()
    assert head == "transfer/11aa22bb: 2 events, streams of its own: 1"
    assert rows[0].split() == ["position", "time", "after", "stream", "event", "state", "facts"]
    assert [row.split()[0] for row in rows[1:]] == ["1", "4"]
    assert "transfer.begun      Sending" in rows[1]
    assert " ms  transfer/11aa22bb  transfer.delivered  Arrived" in rows[2]


def test_trace_of_a_hash_that_lasting_streams_mention(run: Run) -> None:
    (document,) = _documents(run("trace", HASH[:10], "--json"))
    assert document["identifier"] == HASH
    assert document["streams"] == [
        f"account/{HASH}",
        "transfer/11aa22bb",
        "transfer/11aa33cc",
    ]


def test_what_operators_get_wrong_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begins 2 identifiers: 11aa22bb, 11aa33cc"):
        run("trace", "11aa")
    with pytest.raises(NotFoundError):
        run("trace", "77777777")
    with pytest.raises(InputError, match="neither an ISO 8601 time nor Unix seconds"):
        run("show", "--since", "yesterday")
    (tmp_path / LOG_NAME).rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="there is no log"):
        run("verify")


def test_nothing_is_written_beside_a_running_gateway(run: Run, data_dir: Path) -> None:
    store = open_store(data_dir)
    before = (
        store.head,
        store.path.read_bytes(),
        store.path.with_name(f"{LOG_NAME}-wal").read_bytes(),
    )
    for command in (["verify"], ["show"], ["trace", "11aa22bb"]):
        assert run(*command)
    after = (
        store.head,
        store.path.read_bytes(),
        store.path.with_name(f"{LOG_NAME}-wal").read_bytes(),
    )
    assert after == before
    store.close()


def test_the_gateways_own_machines_are_used() -> None:
    machines_of_ours, models = log_tools._program()
    assert "send" in {machine.kind for machine in machines_of_ours}
    assert next(model.name for model in models) == "streams"
