"""Recorded requests and answers of a Rust gateway 0.13, to compare with."""

import json
from pathlib import Path
from typing import Any

import msgspec

_VECTORS = Path(__file__).parents[1] / "vectors"
CAPTURE = _VECTORS / "captures" / "http-client-and-cli-to-rust-gateway.jsonl"


def exchanges(path: str) -> list[dict[str, Any]]:
    """Every successful exchange of a path."""
    recorded = map(json.loads, CAPTURE.read_text().splitlines())
    return [one for one in recorded if one["path"] == path and one["status"] == 200]


def written(answer: object) -> Any:
    """An answer as a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(answer))


def shape_of(value: object) -> object:
    """The keys and types of JSON, without its values; a list is the shape of its first element."""
    if isinstance(value, dict):
        return {key: shape_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return type(value).__name__
