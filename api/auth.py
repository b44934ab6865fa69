"""The admin password: a bcrypt hash, checked off the event loop and remembered once it was right.

gateway-server/src/rpc_server.rs: `Authorization: Bearer <password>`, and a value without the prefix is
taken as the password too.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import bcrypt

from api import limits
from api.limits import Gate
from errors import UnauthorizedError

# bcrypt looks at no more; Rust cuts in silence where Python's binding refuses.
_BCRYPT_BYTES = 72


class PasswordCheck:
    """Decides whether an Authorization header holds the password of one bcrypt hash.

    A password found right is kept as an HMAC under a key of this process, so that only the first
    request of an admin pays for bcrypt. Wrong ones are never kept. At most
    `limits.PASSWORD_CHECKS_AT_ONCE` run and `limits.PASSWORD_CHECKS_PER_REMOTE` of one remote address
    wait, so that guessing from one place neither fills the processors nor locks the admin out.
    """

    def __init__(self, bcrypt_hash: str) -> None:
        self._bcrypt_hash = bcrypt_hash.encode()
        self._cache_key = secrets.token_bytes(32)
        self._verified: bytes | None = None
        self._running = anyio.CapacityLimiter(limits.PASSWORD_CHECKS_AT_ONCE)
        self._waiting = Gate("password checks", limits.PASSWORD_CHECKS)
        self._waiting_by_remote: dict[str, Gate] = {}

    def __repr__(self) -> str:
        return "PasswordCheck(…)"

    async def require(self, authorization: str | None, *, remote: str) -> None:
        """Return when the header holds the password.

        Raises UnauthorizedError when it is missing or wrong, BusyError when too many checks wait.
        """
        if authorization is None:
            raise UnauthorizedError("This needs the gateway's password")
        # Header bytes that are not UTF-8 arrive as surrogates and leave as they came.
        password = authorization.removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        password = password[:_BCRYPT_BYTES]
        token = hmac.digest(self._cache_key, password, hashlib.sha256)
        if self._verified is not None and hmac.compare_digest(token, self._verified):
            return
        with self._waiting.hold(), self._hold_for(remote):
            matches = await anyio.to_thread.run_sync(
                bcrypt.checkpw, password, self._bcrypt_hash, limiter=self._running
            )
        if not matches:
            raise UnauthorizedError("The password is wrong")
        self._verified = token

    @contextmanager
    def _hold_for(self, remote: str) -> Iterator[None]:
        gate = self._waiting_by_remote.setdefault(
            remote, Gate("password checks", limits.PASSWORD_CHECKS_PER_REMOTE)
        )
        try:
            with gate.hold():
                yield
        finally:
            if gate.held == 0:
                self._waiting_by_remote.pop(remote, None)
