"""The macaroons of docs/lnd.md allow the calls that the LND backend makes, and no others."""

import re
from pathlib import Path

from tests.interop import lnd_access

_ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = {
    "invoices": "invoicesrpc.Invoices",
    "lightning": "lnrpc.Lightning",
    "router": "routerrpc.Router",
}


def test_documented_permissions_are_the_calls_made() -> None:
    sources = "".join(path.read_text() for path in (_ROOT / "backends" / "lnd").glob("*.py"))
    made = {
        f"uri:/{_PACKAGES[service]}/{method}"
        for service, method in re.findall(r"stubs\.(\w+)\.(\w+)", sources)
    }
    documented = re.findall(r"uri:/\S+", (_ROOT / "docs/lnd.md").read_text())
    assert sorted(documented) == sorted(made)
    assert documented == [*lnd_access.PAYING, *lnd_access.RECEIVING, *lnd_access.OPERATING]
