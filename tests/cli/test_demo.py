"""`gatewayd demo`: the payment of newcomers, whose numbers must add up."""

import msgspec
import pytest

from cli import demo
from cli.gatewayd import main


def check(result: demo.Result) -> None:
    assert result.cut_off_at == demo.CUT_AT
    assert result.invoice_msat == demo.INVOICE_MSAT < result.contract_msat
    assert 0 < result.earned_msat < result.contract_msat - result.invoice_msat
    assert sum(result.balances_msat.values()) == 0
    assert result.events > 10
    assert len(bytes.fromhex(result.log_head)) == 32
    assert len(bytes.fromhex(result.contract_id)) == 32


def test_the_demonstration_adds_up_and_tells_its_story() -> None:
    said: list[str] = []
    check(demo.run(said.append))
    story = "\n".join(said)
    for word in ("joins", "cut off", "starts again", "send.in_flight", "send.claimed", "agrees"):
        assert word in story
    assert story.index("cut off") < story.index("starts again") < story.index("send.claimed")
    assert story.count("send.dispatching") == 1


def test_its_last_line_is_json_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--json"]) == 0
    captured = capsys.readouterr()
    check(msgspec.json.decode(captured.out.splitlines()[-1], type=demo.Result))
    assert captured.err == ""
