"""The log tools on stored histories, as text and as JSON; they never write."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.gatewayd.program import main
from cli.log import reading
from engine.fold import fold, state_hash
from engine.portable import chained, write_rows
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import FatalError, InputError, NotFoundError
from gateway.log import machines, read_models
from migrations import SchemaSteps
from tests.cli.log.histories import HISTORIES, Tools, data_directory
from tests.replay.stored_history import load

WIDTH = 100
#: Everything that only reads, as it is called by somebody who looks around.
READING = (
    ("verify",),
    ("show",),
    ("at", "70"),
    ("diff", "60", "75"),
    ("trace", "90fbc47870"),
    ("trace", "90fbc47870", "--facts"),
    ("trace", "90fbc47870", "--diagram"),
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_directory(tmp_path_factory.mktemp("history") / "demo", "0.13.0-demo")


@pytest.fixture
def run(history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tools:
    """The tools on a copy of the demonstration's history."""
    return Tools(Path(shutil.copytree(history, tmp_path / "data")), capsys)


# --- verify ------------------------------------------------------------------------------------------------------


def test_verify_prints_head_and_states(run: Tools) -> None:
    rows = load(HISTORIES / "0.13.0-demo.jsonl")
    of = machines()
    states = fold(of, (one.row for one in rows), keep_final=True)
    found = run.document("verify")
    assert found["head"] == {"position": 139, "hash": rows[-1].hash.hex()}
    assert found["states"] == state_hash(of, states)
    assert found["problems"] == []
    assert sum(found["balances_msat"].values()) == 0
    lines = run("verify").splitlines()
    assert lines[:4] == [
        "the chain holds, the tables equal their rebuild, the books balance",
        "position  139",
        f"hash      {rows[-1].hash.hex()}",
        f"states    {found['states']}",
    ]
    assert "table     streams v3: 30 rows equal their rebuild" in lines


def test_verify_tells_everything_that_is_wrong(
    run: Tools, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write(
        "DROP TRIGGER log_is_never_updated;"
        "UPDATE log SET recorded_unix_us = 0 WHERE position IN (2, 3);"
        "UPDATE payment SET fee_msat = 0; UPDATE stream SET version = 77 WHERE id = 1",
    )
    with pytest.raises(FatalError, match=r"4 things are wrong .* find a backup"):
        run("verify")
    wrong = [line for line in run.printed.splitlines() if line.startswith("WRONG")]
    words = ("position 2", "position 3", "table stream ", "table payment ")
    for line, part in zip(wrong, words, strict=True):
        assert part in line
    assert main(["log", "verify", str(run.directory)]) == 70
    assert "4 things are wrong" in capsys.readouterr().err


def test_verify_audits_the_books(run: Tools) -> None:
    """A forged log whose chain is whole: a transaction pays more fees than went into it."""
    _forge(run, lambda body: body["reservation"].update(output_fee_msat=10**6))
    with pytest.raises(FatalError, match="1 thing is wrong"):
        run("verify", "--json")
    (problem,) = json.loads(run.printed)["problems"]
    assert "tx.accepted at 19 brings" in problem
    assert "out of nowhere" in problem


def _forge(run: Tools, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the first reservation, and every hash from there on."""
    rows = [one.row for one in load(HISTORIES / "0.13.0-demo.jsonl")]
    index, row = next((i, row) for i, row in enumerate(rows) if row.kind == "tx.reserved")
    body = json.loads(row.event.body)
    change(body)
    encoded = msgspec.structs.replace(row.event, body=json.dumps(body).encode())
    rows[index] = msgspec.structs.replace(row, event=encoded)
    of = machines()
    run.directory = run.directory.with_name("forged")
    store = Store(run.directory, SchemaSteps(), read_models())
    write_rows(store, of, chained(rows))
    store.close()


def test_verify_leaves_outdated_tables_to_the_next_start(run: Tools) -> None:
    run.write("UPDATE read_model SET version = 0")
    assert run("verify").count("not compared: the next start rebuilds it") == len(read_models())


# --- show --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        (["--after", "137"], [138, 139]),
        (["--after", "2", "--to", "4"], [3, 4]),
        (["--limit", "2"], [1, 2]),
        (["--stream", "gateway/self"], [1, 2, 6]),
        (["--kind", "gateway.index_taken", "--after", "2"], [6]),
        (["--since", "2026-11-24T06:24:30.000", "--kind", "send.claimed"], []),
        (["--until", "2026-11-24T07:23:20.600+01:00"], [1, 2, 3, 4, 5]),
        (["--until", "1700000000"], []),
    ],
)
def test_show_filters(run: Tools, arguments: list[str], positions: list[int]) -> None:
    documents = [json.loads(line) for line in run("show", *arguments, "--json").splitlines()]
    assert [found["position"] for found in documents] == positions
    heads = [line for line in run("show", *arguments).splitlines() if not line.startswith(" " * 9)]
    assert [int(line.split()[0]) for line in heads] == positions


def test_show_prints_everything_as_json_and_two_lines_for_people(run: Tools) -> None:
    assert run.document("show", "--limit", "1") == {
        "position": 1,
        "append": 1,
        "recorded": "2026-11-24T06:23:20.067Z",
        "recorded_unix_us": 1795501400067038,
        "epoch": 1,
        "stream": "gateway/self",
        "version": 1,
        "kind": "gateway.founded",
        "schema_version": 1,
        "facts": {"network": "regtest", "mnemonic_fingerprint": "ba323c99d25b0092"},
    }
    assert run("show", "--limit", "1").splitlines() == [
        "       1  2026-11-24T06:23:20.067Z  gateway.founded           gateway/self v1",
        "          network=regtest mnemonic_fingerprint=ba323c99d25b0092",
    ]


# --- at, diff ----------------------------------------------------------------------------------------------------


def test_at_is_the_state_of_everything_then(run: Tools) -> None:
    found = run.document("at", 15)
    assert (found["position"], found["epoch"]) == (15, 1)
    states = {machine["stream"].partition("/")[0]: machine["state"] for machine in found["open"]}
    assert states == {
        "deposits": "Watching",
        "federation": "Joined",
        "gateway": "Founded",
        "send": "Paid",
        "wallet": "Wallet",
    }
    (paid,) = (machine for machine in found["open"] if machine["state"] == "Paid")
    assert paid["facts"]["facts"]["invoice_msat"] == 80_000_000
    assert found["balances_msat"]["node"] == -80_009_000
    text = run("at", 15)
    assert "send        Paid      1" in text
    assert "fees_earned                        -484,000" in text
    assert text.splitlines()[-1].split() == ["sum", "0"]


def test_at_the_end_is_what_verify_says(run: Tools) -> None:
    verified = run.document("verify")
    found = run.document("at", 139)
    assert found["balances_msat"] == verified["balances_msat"]
    assert len(found["open"]) == verified["unfinished_streams"]


def test_diff_tells_what_moved(run: Tools) -> None:
    found = run.document("diff", 9, 18)
    changes = {change["stream"].partition("/")[0]: change for change in found["changes"]}
    assert (changes["send"]["before"], changes["send"]["after"]) == (None, "Claiming")
    assert (changes["image"]["before"], changes["image"]["is_over"]) == (None, True)
    assert (changes["wallet"]["before"], changes["wallet"]["events"]) == ("Wallet", 1)
    assert found["balances_msat"]["node"] == -80_009_000
    later = run.document("diff", 18, 22)
    changes = {change["stream"].partition("/")[0]: change for change in later["changes"]}
    assert (changes["send"]["before"], changes["send"]["after"]) == ("Claiming", "Claimed")
    assert "node" not in later["balances_msat"]


def test_differences_add_up(run: Tools) -> None:
    total: Counter[str] = Counter()
    for first, last in ((0, 40), (40, 41), (41, 139)):
        total.update(run.document("diff", first, last)["balances_msat"])
    balances = {account: msat for account, msat in total.items() if msat}
    assert balances == run.document("at", 139)["balances_msat"]


def test_diff_for_people(run: Tools) -> None:
    lines = run("diff", 9, 22).splitlines()
    assert lines[0].startswith("after 9 up to 22: 13 events, ")
    (sent,) = (line.split() for line in lines if line.startswith("send/"))
    assert sent[1:] == ["begun", "Claimed", "ended", "6"]


def test_long_lists_are_cut_for_people(run: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.log.at.NAMED_STREAMS", 2)
    assert "… and 28 more: --json has all" in run("diff", 0, 139)
    assert "… and 5 more: --json has all" in run("at", 139)


# --- trace -------------------------------------------------------------------------------------------------------

SEND = "b24c381ef912"
HASH = "90fbc4787090"


@pytest.mark.parametrize("start", [SEND, HASH, f"send/{SEND}", f"image/{HASH}"])
def test_a_payment_is_found_by_any_of_its_names(run: Tools, start: str) -> None:
    found = run.document("trace", start)
    kinds = [stream.partition("/")[0] for stream in found["streams"]]
    assert kinds == ["image", "send", "tx"]
    assert [one["event"]["position"] for one in found["events"]] == list(range(10, 23))


def test_a_swap_is_traced_over_both_federations(run: Tools) -> None:
    (swap,) = run("show", "--kind", "send.swapping", "--json").splitlines()
    found = run.document("trace", json.loads(swap)["stream"])
    kinds = {stream.partition("/")[0] for stream in found["streams"]}
    assert kinds == {"image", "send", "receive", "completion", "tx"}
    assert sum(stream.startswith("tx/") for stream in found["streams"]) == 2


def test_a_trace_tells_how_long_each_state_lasted(run: Tools) -> None:
    found = run.document("trace", SEND)
    (send,) = (path for path in found["paths"] if path["stream"].startswith("send/"))
    assert [stay["state"] for stay in send["stays"]] == [
        "Accepted",
        "Dispatching",
        "InFlight",
        "Paid",
        "Claiming",
        "Claimed",
    ]
    assert send["is_over"]
    assert send["stays"][-1]["lasted_us"] is None
    entered = [stay["entered_unix_us"] for stay in send["stays"]]
    lasted = [stay["lasted_us"] for stay in send["stays"][:-1]]
    assert lasted == [later - sooner for sooner, later in pairwise(entered)]


def test_a_trace_as_a_table(run: Tools) -> None:
    lines = run("trace", SEND).splitlines()
    assert lines[0].startswith(SEND)
    assert lines[1].startswith("13 events from 2026-11-24T06:23:21.484Z on, over 4.7 s; streams")
    assert lines[3].split() == ["position", "time", "after", "stream", "event", "state"]
    assert lines[4].split() == ["10", "06:23:21.484", f"send/{SEND}…", "send.accepted", "Accepted"]
    assert "Claimed      2026-11-24T06:23:26.195Z  for good" in "\n".join(lines)
    with_facts = run("trace", SEND, "--facts").splitlines()
    assert "          received_msat=80477696" in with_facts


def test_a_trace_of_what_is_not_over(run: Tools) -> None:
    text = run("trace", "gateway/self")
    assert text.splitlines()[-1].endswith("until now")
    assert "[*]\n" not in run("trace", "gateway/self", "--diagram")


def test_a_trace_as_a_diagram(run: Tools) -> None:
    lines = run("trace", SEND, "--diagram").splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert f'    state "send/{SEND}…" as machine1 {{' in lines
    assert "        [*] --> machine1_Accepted: send.accepted" in lines
    assert (
        "        machine1_Accepted --> machine1_Dispatching: send.dispatching after 7.9 ms" in lines
    )
    assert "        machine1_Claimed --> [*]" in lines
    assert lines.count("    }") == 3


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_lines_fit_a_terminal(run: Tools, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    lines = run(command, *rest).splitlines()
    assert lines
    assert max(map(len, lines)) <= WIDTH, max(lines, key=len)


def test_what_operators_get_wrong_is_said(run: Tools) -> None:
    with pytest.raises(InputError, match="begins 3 identifiers: send/"):
        run("trace", "send/")
    with pytest.raises(NotFoundError):
        run("trace", "77777777")
    with pytest.raises(InputError, match="neither an ISO 8601 time nor Unix seconds"):
        run("show", "--since", "yesterday")
    for position in (0, 140):
        with pytest.raises(InputError, match=f"no position {position}: it reaches from 1 to 139"):
            run("at", position)
    with pytest.raises(InputError, match="name the earlier position first"):
        run("diff", 5, 5)
    (run.directory / LOG_NAME).rename(run.directory / "elsewhere")
    with pytest.raises(NotFoundError, match="there is no log"):
        run("verify")


def test_nothing_is_written_beside_a_running_gateway(run: Tools, tmp_path: Path) -> None:
    store = Store(run.directory, SchemaSteps(), read_models())
    files = (store.path, store.path.with_name(f"{LOG_NAME}-wal"))
    before = (store.head, *(file.read_bytes() for file in files))
    for command, *rest in READING:
        assert run(command, *rest)
    assert run("export", tmp_path / "history.jsonl")
    assert (store.head, *(file.read_bytes() for file in files)) == before
    store.close()


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0.0 ms"),
        (999_949, "999.9 ms"),
        (1_500_000, "1.5 s"),
        (60_000_000, "1 min 0 s"),
        (3_661_000_000, "1 h 1 min"),
        (90_000_000_000, "1 d 1 h"),
    ],
)
def test_durations_read_well(us: int, text: str) -> None:
    assert reading.duration_text(us) == text


def test_long_facts_are_cut_for_people() -> None:
    text = reading.facts(json.dumps({"note": "x y" * 100, "more": 1}).encode(), 90)
    assert len(text) == 90
    assert text.endswith("…")
