"""What must be known of a federation before joining: its config, and the API versions of its guardians.

fedimint-api-client/src/lib.rs, fedimint-core/src/module/version.rs and fedimint-client-module
src/api_version_discovery.rs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
import msgspec

from errors import GatewayError, InputError, UnavailableError
from fedimint import ln, lnv2, mint, mintv2, wallet, walletv2
from fedimint.client import query
from fedimint.client.query import FederationDisagrees, FederationUnavailable, Guardians
from fedimint.client.shapes import shape
from fedimint.client.transport import (
    GuardianConnection,
    GuardianOutOfReach,
    GuardianProtocolError,
)
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import FederationId, PeerId
from fedimint.config import ClientConfig, Version

Connect = Callable[[str, str | None], GuardianConnection]
"""From an API URL and the API secret, if the federation has one, to a connection not yet made."""

DOWNLOAD_ATTEMPTS: Final = 14
FIRST_PAUSE_S: Final = 0.25
MAX_PAUSE_S: Final = 5.0

VERSIONS_TIMEOUT_S: Final = 10.0

CORE_CONSENSUS_MAJOR: Final = 2
CORE_API: Final = Version(0, 0)
MODULE_APIS: Final[Mapping[str, Version]] = {
    ln.KIND: Version(0, 0),
    lnv2.KIND: Version(0, 0),
    mint.KIND: Version(0, 0),
    mintv2.KIND: Version(0, 1),
    wallet.KIND: Version(0, 0),
    walletv2.KIND: Version(0, 0),
}
"""The least API version that we need of each module kind."""


async def download_config(
    invite: InviteCode,
    connect: Connect,
    *,
    sleep_s: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> ClientConfig:
    """Return the config that a threshold of the invite's federation gives.

    The invite's guardians prove only the endpoints, which the federation id covers; the keys come from
    all guardians. Tries again for about 50 s while guardians are unreachable, then raises
    FederationUnavailable or FederationDisagrees. Closes the connections it makes.
    """
    for attempt in range(DOWNLOAD_ATTEMPTS - 1):
        try:
            return await _download_once(invite, connect, sleep_s)
        except FederationUnavailable as error:
            # Wrong secrets and configs of another federation stay what they are, and so do we.
            if not any(
                isinstance(failure, UnavailableError)
                and not isinstance(failure, GuardianOutOfReach)
                for failure in error.failures.values()
            ):
                raise
        except FederationDisagrees:
            pass
        await sleep_s(min(FIRST_PAUSE_S * 2**attempt, MAX_PAUSE_S))
    return await _download_once(invite, connect, sleep_s)


async def refresh_config(guardians: Guardians, federation_id: FederationId) -> ClientConfig:
    """Return the config that a threshold of all guardians gives now; it may have more modules.

    Raises FederationUnavailable or FederationDisagrees.
    """
    return await query.threshold_consensus_or_fail(
        guardians, "client_config", None, _config_of(federation_id)
    )


class CoreVersions(msgspec.Struct, frozen=True):
    """What one guardian's core offers."""

    core_consensus: Version
    api: tuple[Version, ...]


class ModuleVersions(msgspec.Struct, frozen=True):
    """What one module of one guardian offers."""

    core_consensus: Version
    module_consensus: Version
    api: tuple[Version, ...]


class SupportedVersions(msgspec.Struct, frozen=True):
    """One guardian's answer to `version`; modules by instance id."""

    core: CoreVersions
    modules: dict[int, ModuleVersions]


class CommonVersions(msgspec.Struct, frozen=True):
    """The API versions to speak. Modules of unknown kind or without a common version are absent."""

    core: Version
    modules: dict[int, Version]


async def supported_versions(guardians: Guardians) -> dict[PeerId, SupportedVersions]:
    """Return what the first threshold of guardians to answer offers; waits for them without end."""

    async def check(peer: PeerId, result: object) -> SupportedVersions:
        del peer
        return _versions(result)

    return await query.filter_map_threshold(guardians, "version", None, check)


def common_versions(
    config: ClientConfig, offered: Mapping[PeerId, SupportedVersions]
) -> CommonVersions | None:
    """Return the versions to speak with these guardians, None if their core is not for us.

    A guardian is compatible in an API when its consensus has our major and it offers our API's major
    with at least our minor. The version is the lowest that a compatible guardian offers.
    """
    core = _common(
        CORE_API,
        [
            versions.core.api
            for versions in offered.values()
            if versions.core.core_consensus.major == CORE_CONSENSUS_MAJOR
        ],
    )
    if core is None:
        return None
    modules = {
        instance_id: _common(
            MODULE_APIS[module.kind],
            [
                versions.modules[instance_id].api
                for versions in offered.values()
                if instance_id in versions.modules
                and versions.modules[instance_id].module_consensus.major == module.version.major
            ],
        )
        for instance_id, module in config.modules.items()
        if module.kind in MODULE_APIS
    }
    return CommonVersions(
        core, {number: version for number, version in modules.items() if version is not None}
    )


async def refuse_unspoken(
    invite: InviteCode,
    config: ClientConfig,
    connect: Connect,
    kinds: Collection[str],
    *,
    sleep_s: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Ask every guardian which versions it offers, within ten seconds, and go on if a threshold speaks ours.

    Raises InputError when they offer versions that we do not speak, of the core or of a module of `config` that
    is of one of `kinds`; FederationUnavailable when too few answer. Closes the connections it makes.
    """
    urls = {peer: endpoint.url for peer, endpoint in config.api_endpoints.items()}
    async with _guardians_at(urls, invite, connect, sleep_s) as everybody:
        answers = await query.ask_each(
            everybody, "version", None, _versions, timeout_s=VERSIONS_TIMEOUT_S
        )
    failures = {peer: said for peer, said in answers.items() if isinstance(said, GatewayError)}
    if len(failures) > everybody.max_failures:
        raise FederationUnavailable("version", failures)
    unspoken = [
        _unspoken(config, {peer: said}, kinds)
        for peer, said in answers.items()
        if not isinstance(said, GatewayError)
    ]
    if unspoken.count("") < everybody.threshold:
        wrong = sorted({what for what in unspoken if what})
        raise InputError(
            f"too few guardians speak a version of {' or '.join(wrong)} that this gateway speaks; "
            "the federation is not joined"
        )


def _unspoken(
    config: ClientConfig, offered: Mapping[PeerId, SupportedVersions], kinds: Collection[str]
) -> str:
    """What of a guardian's offer we cannot speak with, empty when there is nothing."""
    common = common_versions(config, offered)
    if common is None:
        return "the core API"
    return ", ".join(
        module.kind
        for instance_id, module in sorted(config.modules.items())
        if module.kind in kinds and instance_id not in common.modules
    )


_versions: Callable[[object], SupportedVersions] = shape(SupportedVersions)


async def _download_once(
    invite: InviteCode, connect: Connect, sleep_s: Callable[[float], Awaitable[None]]
) -> ClientConfig:
    decode = _config_of(invite.federation_id())
    async with _guardians_at(invite.peers(), invite, connect, sleep_s) as few:
        endpoints = (await query.filter_map(few, "client_config", None, decode)).api_endpoints
    urls = {peer: endpoint.url for peer, endpoint in endpoints.items()}
    async with _guardians_at(urls, invite, connect, sleep_s) as everybody:
        return await refresh_config(everybody, invite.federation_id())


@asynccontextmanager
async def _guardians_at(
    urls: Mapping[PeerId, str],
    invite: InviteCode,
    connect: Connect,
    sleep_s: Callable[[float], Awaitable[None]],
) -> AsyncIterator[Guardians]:
    async with AsyncExitStack() as stack:
        connections: dict[PeerId, GuardianConnection] = {}
        for peer, url in urls.items():
            connections[peer] = connect(url, invite.api_secret())
            stack.push_async_callback(connections[peer].aclose)
        yield Guardians(connections, sleep_s=sleep_s)


def _config_of(federation_id: FederationId) -> Callable[[object], ClientConfig]:
    def decode(result: object) -> ClientConfig:
        config = ClientConfig.from_json(result)
        if config.federation_id() != federation_id:
            raise GuardianProtocolError("the config is of another federation")
        return config

    return decode


def _common(needed: Version, offered: list[tuple[Version, ...]]) -> Version | None:
    compatible = [
        version
        for versions in offered
        for version in versions
        if version.major == needed.major and version.minor >= needed.minor
    ]
    return min(compatible, default=None)
