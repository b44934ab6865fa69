"""Passwords: bcrypt hashes, checked off the event loop; a right password is remembered.

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
from api.gates import Gate
from errors import UnauthorizedError

# bcrypt reads only these; Rust cuts the rest off in silence, Python's binding refuses.
_BCRYPT_BYTES = 72


class PasswordCheck:
    """Decides whether an Authorization header holds the admin's password, or that of the liquidity manager.

    A password found right is kept as an HMAC under a key of this process, so that only the first
    request with it pays for bcrypt. Wrong ones are never kept. At most
    `limits.PASSWORD_CHECKS_AT_ONCE` run and `limits.PASSWORD_CHECKS_PER_REMOTE` of one remote address
    wait, so that guessing from one place neither fills the processors nor locks the admin out.
    """

    def __init__(self, admin_hash: str, manager_hash: str | None = None) -> None:
        self._admin = admin_hash.encode()
        self._manager = manager_hash.encode() if manager_hash is not None else None
        self._cache_key = secrets.token_bytes(32)
        self._verified: dict[bytes, bytes] = {}
        self._running = anyio.CapacityLimiter(limits.PASSWORD_CHECKS_AT_ONCE)
        self._waiting = Gate("password checks", limits.PASSWORD_CHECKS)
        self._waiting_by_remote: dict[str, Gate] = {}

    def __repr__(self) -> str:
        return "PasswordCheck(…)"

    async def require(
        self, authorization: str | None, *, remote: str, manager_may: bool = False
    ) -> None:
        """Return when the header holds the admin's password, or the manager's where that is enough.

        Raises UnauthorizedError when it is missing or wrong, BusyError when too many checks wait.
        """
        if authorization is None:
            raise UnauthorizedError("This needs the gateway's password")
        # Header bytes that are not UTF-8 arrive as surrogates and leave as they came.
        password = authorization.removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        password = password[:_BCRYPT_BYTES]
        token = hmac.digest(self._cache_key, password, hashlib.sha256)
        accepted = [self._admin]
        if manager_may and self._manager is not None:
            accepted.append(self._manager)
        if any(hmac.compare_digest(token, self._verified.get(one, b"")) for one in accepted):
            return
        with self._waiting.hold(remote), self._hold_for(remote):
            for bcrypt_hash in accepted:
                if await anyio.to_thread.run_sync(
                    bcrypt.checkpw, password, bcrypt_hash, limiter=self._running
                ):
                    self._verified[bcrypt_hash] = token
                    return
        raise UnauthorizedError("The password is wrong")

    @contextmanager
    def _hold_for(self, remote: str) -> Iterator[None]:
        gate = self._waiting_by_remote.setdefault(
            remote, Gate("password checks", limits.PASSWORD_CHECKS_PER_REMOTE)
        )
        try:
            with gate.hold(remote):
                yield
        finally:
            if gate.held == 0:
                self._waiting_by_remote.pop(remote, None)
