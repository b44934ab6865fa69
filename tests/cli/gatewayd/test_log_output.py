"""Log lines: their two forms, one line each, and what is redacted."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from cli.gatewayd.log_output import configure_logging, redact


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_json_where_nobody_watches() -> None:
    stream = io.StringIO()
    configure_logging(stream, {})
    structlog.get_logger().info("joined", federation_id="ab", password="pw")
    line = json.loads(stream.getvalue())
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "joined",
        "federation_id": "ab",
        "level": "info",
        "password": "[redacted]",
    }


def test_key_value_on_a_terminal_unless_json_is_asked_for() -> None:
    stream = Terminal()
    configure_logging(stream, {})
    structlog.get_logger().info("request", path="/info\nx")
    assert stream.getvalue().endswith(" level=info event=request path=/info\\nx\n")
    stream = Terminal()
    configure_logging(stream, {"FM_LOG_FORMAT": "json"})
    structlog.get_logger().info("request")
    assert json.loads(stream.getvalue())["event"] == "request"


def test_a_traceback_is_one_line_without_local_variables() -> None:
    stream = Terminal()
    configure_logging(stream, {})
    words = ["abandon"]
    try:
        words.index("about")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError" in stream.getvalue()
    assert "abandon" not in stream.getvalue()


def test_libraries_log_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logging(stream, {})
    logging.getLogger("grpc").warning("channel %s", "lost")
    logging.getLogger("grpc").info("chatter")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == ("channel lost", "warning")


def test_redaction_goes_by_words_and_into_mappings() -> None:
    event = {
        "rpc_password": "a",
        "Authorization": "b",
        "lnd": {"macaroon": "c", "host": "d"},
        "public_key": "e",
        "ecash_balance_msats": 5,
    }
    assert redact(None, "info", event) == {
        "rpc_password": "[redacted]",
        "Authorization": "[redacted]",
        "lnd": {"macaroon": "[redacted]", "host": "d"},
        "public_key": "e",
        "ecash_balance_msats": 5,
    }
