"""The whole HTTP API over a canned gateway, for tests and benchmarks."""

from aiohttp import web

from api.auth import PasswordCheck
from api.gates import RateLimit, TokenBucket
from api.http import create_app
from api.routes import routes
from api.testing import canned
from api.testing.gateway import CannedGateway


def canned_app(
    gateway: CannedGateway,
    password: PasswordCheck,
    *,
    limit: RateLimit | None = None,
    debug: bool = False,
) -> web.Application:
    """The application that gatewayd serves, but for who answers."""
    bucket = TokenBucket(limit or RateLimit())
    table = routes(gateway, canned.facts(), bucket, gateway.stop)
    return create_app(table, password, debug=debug)
