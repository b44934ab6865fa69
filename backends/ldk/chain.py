"""Asks the source of the chain how high it is, before a node is made on it."""

import base64
import urllib.error
import urllib.request
from typing import Any

import msgspec

from backends.ldk.settings import BitcoindSource, ChainSource
from errors import UnavailableError

_ANSWER_TIMEOUT_S = 10

# Not through a proxy that is set for the whole machine: the node itself uses none for bitcoind either.
_open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
_open = urllib.request.build_opener().open


class _Answer(msgspec.Struct):
    result: int | None = None


def tip_height(chain: ChainSource) -> int:
    """The height of the source's best block. Blocks its thread; raises UnavailableError."""
    try:
        if isinstance(chain, BitcoindSource):
            return _ask_bitcoind(chain)
        with _open(f"{chain.url}/blocks/tip/height", timeout=_ANSWER_TIMEOUT_S) as response:
            return int(response.read(100))
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise UnavailableError(
            f"the source of the chain does not answer ({error}): see that it runs, and that address, user and "
            "password are right"
        ) from error


def _ask_bitcoind(chain: BitcoindSource) -> int:
    login = base64.b64encode(f"{chain.user}:{chain.password}".encode()).decode()
    host = f"[{chain.host}]" if ":" in chain.host else chain.host
    request = urllib.request.Request(
        f"http://{host}:{chain.port}",
        data=msgspec.json.encode({"id": 0, "method": "getblockcount", "params": ()}),
        headers={"Authorization": f"Basic {login}"},
    )
    response: Any
    with _open_directly(request, timeout=_ANSWER_TIMEOUT_S) as response:
        answer = msgspec.json.decode(response.read(10_000), type=_Answer)
    if answer.result is None:
        raise ValueError("bitcoind answers without a height")
    return answer.result
