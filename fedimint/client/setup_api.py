"""Sets up a federation of new guardians over their admin API.

fedimint-server/src/config/setup.rs. The calls are repeatable: equal parameters give the same setup
code again, and a federation that already runs is left as it is.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio
import msgspec

from errors import InputError, UnavailableError
from fedimint.client.shapes import shape
from fedimint.client.transport import (
    GUARDIAN_ERRORS,
    GuardianConnection,
    GuardianRefused,
    GuardianUnreachable,
)

POLL_PAUSE_S: Final = 0.25

SetupStatus = Literal["AwaitingLocalParams", "SharingConnectionCodes", "ConsensusIsRunning"]
"""Where a guardian stands; the last once the federation runs."""

_status: Callable[[object], SetupStatus] = shape(SetupStatus)
_text: Callable[[object], str] = shape(str)


class LocalParams(msgspec.Struct, frozen=True):
    """What one guardian is told. Exactly one, the leader, gives the federation's name and size.

    `enabled_modules` is a list of kinds; None leaves the guardians' own defaults.
    """

    name: str
    federation_name: str | None = None
    federation_size: int | None = None
    disable_base_fees: bool | None = None
    enabled_modules: tuple[str, ...] | None = None


@dataclass(frozen=True)
class NewGuardian:
    """A guardian to set up: its connection and its admin password (`FM_PASSWORD_API`)."""

    connection: GuardianConnection
    password: str = field(repr=False)

    async def status(self) -> SetupStatus:
        """Return where the set-up stands. Raises the errors of a guardian connection."""
        return _status(await self.connection.request("setup_status", None))

    async def set_local_params(self, params: LocalParams) -> str:
        """Give the guardian its parameters and return its setup code."""
        return _text(await self._admin("set_local_params", params))

    async def add_peer_setup_code(self, setup_code: str) -> str:
        """Introduce another guardian by its setup code and return that guardian's name."""
        return _text(await self._admin("add_peer_setup_code", setup_code))

    async def start_dkg(self) -> None:
        """Begin the key generation; it proceeds once all guardians have begun."""
        await self._admin("start_dkg", None)

    async def invite_code(self) -> str:
        """Return an invite code that names this guardian, once the federation runs."""
        return _text(await self.connection.request("invite_code", None))

    async def _admin(self, method: str, params: object) -> object:
        return await self.connection.request(method, params, auth=self.password)


async def set_up_federation(
    guardians: Sequence[NewGuardian],
    federation_name: str,
    *,
    enabled_modules: Sequence[str] | None = None,
    disable_base_fees: bool | None = None,
    sleep_s: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> str:
    """Make a federation of 1, or at least 4, freshly started guardians and return an invite code.

    Guardian i is named `guardian-{i:02}`, so that its peer id is i; the first one leads. Waits without
    end for guardians to come up and to finish, so bound it from outside. Raises GuardianRefused with
    the guardian's reason.
    """
    if len(guardians) != 1 and len(guardians) < 4:
        raise InputError(f"a federation has 1 or at least 4 guardians, not {len(guardians)}")
    statuses = [await _status_once_up(guardian, sleep_s) for guardian in guardians]
    if all(status == "ConsensusIsRunning" for status in statuses):
        return await _first_invite_code(guardians[0], sleep_s)
    codes = [
        await guardian.set_local_params(
            LocalParams(
                name=f"guardian-{index:02}",
                federation_name=federation_name if index == 0 else None,
                federation_size=len(guardians) if index == 0 else None,
                disable_base_fees=disable_base_fees if index == 0 else None,
                enabled_modules=tuple(enabled_modules) if enabled_modules and index == 0 else None,
            )
        )
        for index, guardian in enumerate(guardians)
    ]
    for guardian, own_code in zip(guardians, codes, strict=True):
        for code in codes:
            if code != own_code:
                await guardian.add_peer_setup_code(code)
    for guardian in guardians:
        # A guardian may close its API before its answer has left; the wait below tells.
        with suppress(GuardianUnreachable):
            await guardian.start_dkg()
    for guardian in guardians:
        while await _status_once_up(guardian, sleep_s) != "ConsensusIsRunning":
            await sleep_s(POLL_PAUSE_S)
    return await _first_invite_code(guardians[0], sleep_s)


async def _status_once_up(
    guardian: NewGuardian, sleep_s: Callable[[float], Awaitable[None]]
) -> SetupStatus:
    while True:
        try:
            return await guardian.status()
        except UnavailableError:
            pass  # starting, or restarting its API after the key generation
        except GuardianRefused as error:
            if not error.is_unknown_method:
                raise
        await sleep_s(POLL_PAUSE_S)


async def _first_invite_code(
    guardian: NewGuardian, sleep_s: Callable[[float], Awaitable[None]]
) -> str:
    while True:
        try:
            return await guardian.invite_code()
        except GUARDIAN_ERRORS:
            await sleep_s(POLL_PAUSE_S)
