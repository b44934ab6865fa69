"""Programs without which a test cannot be played."""

import os

import pytest

from devnet.real import peers


def need(*names: str) -> None:
    """Skips with a sentence when one of these peers is missing, or fails where they are required."""
    lacking = peers.missing(names)
    if not lacking:
        return
    sentence = f"not installed: {', '.join(lacking)}; `nox -s peers` installs them"
    if os.environ.get("FEDIMINT_GATEWAY_REQUIRE_PEERS") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)
