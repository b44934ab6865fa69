"""The form of log lines: one line an event on stderr, `key=value` on a terminal and JSON elsewhere.

`FM_LOG_FORMAT=json` asks for JSON on a terminal too. Tracebacks never show local variables, and values
under names that sound like secrets are struck out: a second net, since nobody should log them at all.
"""

import logging
import re
from collections.abc import Mapping
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from cli.gatewayd.log_stream import LogStream

_SECRET_WORDS = frozenset(
    {
        "auth",
        "authorization",
        "macaroon",
        "mnemonic",
        "notes",
        "passphrase",
        "password",
        "preimage",
        "private",
        "rpcpassword",
        "secret",
        "seed",
        "token",
        "words",
    }
)

_FIRST = ("timestamp", "level", "event")


def configure_logging(stream: TextIO, environ: Mapping[str, str]) -> None:
    """Send the log of this process, libraries included, to `stream`; nothing ends when it cannot be written to."""
    lines = cast("TextIO", LogStream(stream))
    as_json = environ.get("FM_LOG_FORMAT") == "json" or not lines.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    renderer: list[Processor] = [
        _most_wanted_first,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer() if as_json else structlog.processors.LogfmtRenderer(),
    ]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(lines),
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def _most_wanted_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """When, how bad and what, before the details, for people who read the lines."""
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return {**first, **event}


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Strike out values whose name has a word like `password`, also inside mappings."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: object, value: object) -> object:
    if not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z]+", str(name).lower())):
        return "[redacted]"
    if isinstance(value, dict):
        return {inner: _redacted(inner, value[inner]) for inner in value}
    return value
