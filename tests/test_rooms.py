"""Every room imports only what docs/architecture.md allows it."""

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parent.parent
_EVERYTHING = frozenset("*")


class _Room(NamedTuple):
    """What a room may import besides the standard library, `errors` and itself."""

    rooms: frozenset[str]
    libraries: frozenset[str]


def _room(rooms: str, libraries: str) -> _Room:
    return _Room(frozenset(rooms.split()), frozenset(libraries.split()))


_ROOMS = {
    "api": _room("fedimint gateway", "aiohttp anyio bcrypt msgspec structlog"),
    "backends": _room("fedimint", "anyio apsw fedimint_gateway_native google grpc lndgrpc msgspec"),
    "cli": _room("*", "*"),
    "devnet": _room(
        "backends fedimint",
        "aiohttp anyio bcrypt coincurve cryptography grpc lndgrpc msgspec py_arkworks_bls12381",
    ),
    "engine": _room("", "anyio apsw msgspec"),
    "fedimint": _room(
        "",
        "aiohttp anyio coincurve cryptography fedimint_gateway_native mnemonic msgspec py_arkworks_bls12381",
    ),
    "fuzz": _room("api backends devnet engine fedimint gateway migrations statemachines", "*"),
    "gateway": _room(
        "backends engine fedimint migrations statemachines", "anyio msgspec structlog"
    ),
    "migrations": _room("engine", "apsw msgspec"),
    "statemachines": _room("engine fedimint", "msgspec"),
}

# `gateway-cli`, with the files of its room that it imports, must start fast: nothing that leads to cryptography.
_GATEWAY_CLI = "cli/gateway_cli/program.py"
_GATEWAY_CLI_RULE = _room("cli", "bcrypt cyclopts msgspec")

# Single files, or folders, with a stricter rule than their room's; not even the rest of the room is theirs.
_STRICTER = {
    "devnet/real/peers/": _room("devnet.real.peers", ""),
    "errors.py": _room("", ""),
}

# Rooms that see only the data types of `fedimint`, and the modules there that talk to guardians.
_SEE_ONLY_DATA_TYPES = ("api", "backends", "statemachines")
_TALKS_TO_GUARDIANS = frozenset(
    f"fedimint.{module}"
    for module in (
        "client",
        "federation_api",
        "lnv2.api",
        "mintv2.api",
        "mintv2.collecting",
        "mintv2.recovery",
        "walletv2.api",
    )
)

# What a package may import of its own room, besides itself.
_WITHIN = {
    "backends/conformance": "backends.abilities backends.lightning backends.operations",
    "backends/ldk": "backends.abilities backends.lightning backends.operations",
    "backends/lnd": "backends.abilities backends.lightning backends.operations",
    "backends/simulated": "backends.abilities backends.lightning backends.operations",
    "devnet/guardians": "",
    "devnet/lnd_server": "",
    "devnet/real": "devnet.gatewayd devnet.processes",
    "devnet/users": "devnet.guardians",
    "fedimint/client": "fedimint.codec",
    "fedimint/codec": "",
    "fedimint/crypto": "fedimint.codec",
    "fedimint/ln": "fedimint.codec",
    "fedimint/mint": "fedimint.codec",
    "fedimint/wallet": "fedimint.codec",
    "fedimint/lnv2": "fedimint.client fedimint.codec fedimint.crypto",
    "fedimint/mintv2": "fedimint.client fedimint.codec fedimint.crypto",
    "fedimint/walletv2": "fedimint.client fedimint.codec fedimint.crypto",
    "fuzz/explore": "fuzz.simulation",
    "fuzz/inputs": "",
    "fuzz/machines": "",
    "fuzz/mutants": "fuzz.simulation",
    "fuzz/simulation": "fuzz.inputs",
}

# One kind of Lightning node each, and who must not know it: what works with every kind.
_KINDS_OF_NODE = frozenset(
    f"backends.{path.parent.name}" for path in (_ROOT / "backends").glob("*/__init__.py")
)
_KNOW_NO_KIND = ("gateway/*.py", "api/*.py", "cli/gatewayd/*.py")
_KNOW_A_KIND = "cli/gatewayd/nodes/*.py"

# Who knows that the log is a file of SQLite. Read models outside have their SQL in one file each, over the protocols of
# `engine/storage/tables.py`; everybody else asks typed functions of a `Store` or a `LogReader`.
_KNOW_THE_DATABASE = ("backends/ldk/ledger.py", "engine/storage/", "migrations/")
_OF_THE_DATABASE = (
    "apsw",
    "sqlite3",
    "engine.storage.opening",
    "engine.storage.rows",
    "engine.storage.schema",
)
_FOR_EVERYBODY = frozenset({"engine.storage.rows.LOG_NAME"})
_TABLES = ("gateway/known_notes.py", "gateway/payment_tables.py")
_ASK_IN_SQL = frozenset({"execute", "executemany", "query"})

# Everything else runs on any event loop.
_BOUND_TO_ASYNCIO = frozenset({"aiohttp", "asyncio", "grpc"})
_MAY_BE_BOUND = (
    "api/http*.py",
    "api/testing/http.py",
    "backends/lnd/*.py",
    "cli/gatewayd/program.py",
    "devnet/guardians/server.py",
    "devnet/lnd_server/*.py",
    "fedimint/client/websocket*.py",
)


def _imported(source: str, room: str) -> Iterator[str]:
    """Dotted names of all imports, wherever in the file; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(part for part in (room if node.level else "", node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _rule(path: str, room: str) -> _Room:
    if path in _FILES_OF_GATEWAY_CLI:
        return _GATEWAY_CLI_RULE
    for stricter, rule in _STRICTER.items():
        if path.startswith(stricter):
            return rule
    return _ROOMS[room]._replace(rooms=_ROOMS[room].rooms | {room})


def _violations(path: str, source: str) -> list[str]:
    """Sentences on what the file, named relative to the root, must not import."""
    room = path.partition("/")[0].removesuffix(".py")
    rule = _rule(path, room)
    found = []
    for name in _imported(source, room):
        if not _is_allowed(name, rule):
            found.append(f"{path} must not import {name}")
        if not _is_allowed_within(path, name):
            found.append(f"{path} must not import {name} of its room")
        if _talks_to_guardians(name) and room in _SEE_ONLY_DATA_TYPES:
            found.append(f"{path} sees only data types of fedimint, not {name}")
        if name.partition(".")[0] in _BOUND_TO_ASYNCIO and not any(
            fnmatch(path, pattern) for pattern in _MAY_BE_BOUND
        ):
            found.append(f"{path} must run on any event loop, without {name}")
        if _is_of_the_database(name) and not path.startswith(_KNOW_THE_DATABASE):
            found.append(f"{path} knows a log and no database, so not {name}")
        if _is_a_kind_of_node(name) and _knows_no_kind(path):
            found.append(f"{path} works with every kind of Lightning node, without {name}")
    if not path.startswith((*_KNOW_THE_DATABASE, *_TABLES)):
        found += [f"{path} must not ask in SQL ({call})" for call in _asked_in_sql(source)]
    return found


def _is_of_the_database(name: str) -> bool:
    return name not in _FOR_EVERYBODY and any(
        f"{name}.".startswith(f"{one}.") for one in _OF_THE_DATABASE
    )


def _asked_in_sql(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in _ASK_IN_SQL:
                yield f"line {node.lineno}: {attribute}"


def _is_a_kind_of_node(name: str) -> bool:
    return any(f"{name}.".startswith(f"{kind}.") for kind in _KINDS_OF_NODE)


def _knows_no_kind(path: str) -> bool:
    """`fnmatch` takes a star for any number of folders."""
    return not fnmatch(path, _KNOW_A_KIND) and any(
        fnmatch(path, pattern) for pattern in _KNOW_NO_KIND
    )


def _is_allowed(name: str, rule: _Room) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "errors":
        return True
    if top == "tests":
        return False
    if top in _ROOMS:
        return rule.rooms >= _EVERYTHING or any(
            name == one or name.startswith(f"{one}.") for one in rule.rooms
        )
    return rule.libraries >= _EVERYTHING or top in rule.libraries


def _is_allowed_within(path: str, name: str) -> bool:
    room, _, rest = path.partition("/")
    package = f"{room}/{rest.partition('/')[0]}"
    if package not in _WITHIN or not name.startswith(f"{room}."):
        return True
    allowed = (package.replace("/", "."), *_WITHIN[package].split())
    return any(f"{name}.".startswith(f"{one}.") for one in allowed)


def _reached_from_gateway_cli() -> set[str]:
    """The files of `cli` that gateway-cli imports, itself included."""
    reached: set[str] = set()
    # Groups of commands are named as strings, to be imported when one of them runs.
    to_read = [f"cli/gateway_cli/{path.name}" for path in (_ROOT / "cli/gateway_cli").glob("*.py")]
    while to_read:
        path = to_read.pop()
        if path in reached or not (_ROOT / path).is_file():
            continue
        reached.add(path)
        imported = _imported((_ROOT / path).read_text(), "cli")
        for name in imported:
            if name.startswith("cli."):
                module = name.replace(".", "/")
                to_read += [f"{module}.py", f"{module.rpartition('/')[0]}.py"]
    return reached


def _talks_to_guardians(name: str) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in _TALKS_TO_GUARDIANS)


_FILES_OF_GATEWAY_CLI = _reached_from_gateway_cli() | {_GATEWAY_CLI}


def _files() -> list[str]:
    in_rooms = (path for room in _ROOMS for path in (_ROOT / room).rglob("*.py"))
    return sorted(str(path.relative_to(_ROOT)) for path in [*in_rooms, _ROOT / "errors.py"])


@pytest.mark.parametrize("path", _files())
def test_file_imports_only_what_its_room_may(path: str) -> None:
    assert _violations(path, (_ROOT / path).read_text()) == []


def test_packages_with_a_rule_are_there() -> None:
    assert [package for package in _WITHIN if not (_ROOT / package).is_dir()] == []


def test_every_package_is_a_room() -> None:
    packages = {path.parent.name for path in _ROOT.glob("*/__init__.py")}
    assert packages - {"bench"} == set(_ROOMS)  # which is not shipped


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/clock.py", "import gateway.treasury"),
        ("engine/clock.py", "def late():\n    from fedimint.lnv2 import Contract"),
        ("engine/clock.py", "import asyncio"),
        ("engine/clock.py", "import apsw"),
        ("statemachines/send.py", "import anyio"),
        ("statemachines/send.py", "from fedimint.federation_api import FederationApi"),
        ("statemachines/send.py", "from fedimint.client import transport"),
        ("backends/ldk/node.py", "import grpc.aio"),
        ("fedimint/client/query.py", "from aiohttp import ClientSession"),
        ("gateway/treasury.py", "from api import structs"),
        ("gateway/treasury.py", "from tests.conftest import anyio_backend"),
        ("cli/replay.py", "import tests"),
        ("cli/gateway_cli/program.py", "import aiohttp"),
        ("cli/gateway_cli/program.py", "from api.structs import GatewayInfo"),
        ("api/payment_handlers.py", "from fedimint.lnv2.api import Lnv2Api"),
        ("devnet/real/peers/rust.py", "import msgspec"),
        ("devnet/real/peers/rust.py", "from devnet.processes import Program"),
        ("errors.py", "import msgspec"),
        ("fedimint/codec/bitcoin.py", "from fedimint.client import query"),
        ("backends/lnd/node.py", "from backends.simulated.node import SimulatedNode"),
        ("fuzz/simulation/play.py", "from cli.log.restore import restore"),
        ("gateway/treasury.py", "from backends.lnd.node import LndNode"),
        ("gateway/treasury.py", "def late():\n    from backends import simulated"),
        ("api/testing/canned.py", "from backends.lnd import connection"),
        ("cli/gatewayd/daemon.py", "from backends.lnd.node import LndNode"),
        ("cli/gatewayd/settings.py", "import backends.lnd.credentials"),
        ("cli/log/at.py", "import apsw"),
        ("fuzz/simulation/play.py", "import sqlite3"),
        ("gateway/losses.py", "from engine.storage.rows import select_rows"),
        ("gateway/status.py", 'def late(store):\n    store.query("SELECT 1")'),
    ],
)
def test_a_planted_import_is_caught(path: str, source: str) -> None:
    assert _violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/storage/disk.py", "from engine.events import Event\nimport errors, apsw, time"),
        ("statemachines/send.py", "from fedimint.lnv2 import Contract\nfrom . import rules"),
        ("migrations/__init__.py", 'import apsw\napsw.Connection("").execute("SELECT 1")'),
        ("gateway/payment_tables.py", 'def read(reader):\n    reader.query("SELECT 1")'),
        ("gateway/restoring.py", "from engine.storage.rows import LOG_NAME"),
        ("api/http.py", "import asyncio\nfrom aiohttp import web"),
        ("cli/gatewayd/program.py", "import asyncio, trio\nfrom gateway import treasury"),
        ("api/payment_handlers.py", "from fedimint.lnv2.gateway_api import RoutingInfo"),
        ("cli/gatewayd/nodes/lnd.py", "from backends.lnd.node import LndNode"),
        ("cli/gatewayd/daemon.py", "from backends.operations import Node"),
        ("cli/world/demo.py", "from backends.simulated.chain import SimulatedChain"),
        (
            "cli/gateway_cli/program.py",
            "import cyclopts\nfrom cli.gateway_cli.amounts import msats",
        ),
    ],
)
def test_a_proper_import_is_let_through(path: str, source: str) -> None:
    assert _violations(path, source) == []
