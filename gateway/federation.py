"""The joined federations for the gateway: of each its config, guardians, modules and our keys in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import anyio
import msgspec

from engine.engine import Ports
from engine.ports import Randomness
from errors import FatalError, InputError
from fedimint.client.query import Guardians
from fedimint.config import ClientConfig
from fedimint.crypto import secrets
from fedimint.crypto.secrets import DerivableSecret
from fedimint.federation_api import FederationApi
from gateway.guardian_health import GuardianHealth, WatchedConnection
from gateway.modules.module import Module, ModuleKey
from gateway.modules.table import MODULES
from gateway.ports import Connect
from statemachines.federation import FederationFacts, Joined

M = TypeVar("M", bound=Module[Any, Any])


class FoundModule(NamedTuple):
    """A module that this gateway uses, in a config: the id of its instance, and its own config."""

    instance_id: int
    config: Any


@dataclass(frozen=True)
class FederationClient:
    """Everything needed to speak with one federation and to spend in it. Its repr shows the id alone."""

    facts: FederationFacts
    index: int
    config: ClientConfig
    core: FederationApi
    modules: Mapping[str, Module[Any, Any]]
    health: GuardianHealth

    def __repr__(self) -> str:
        return f"FederationClient({self.facts.federation_id})"

    @property
    def federation_id(self) -> str:
        """The id in hex."""
        return self.facts.federation_id

    @property
    def keys(self) -> dict[str, ModuleKey]:
        """Our key in each module, by its kind."""
        return {kind: module.key for kind, module in self.modules.items()}

    def module(self, wanted: type[M]) -> M:
        """Its module of this kind. Raises InputError when it has none."""
        found = self.modules.get(wanted.kind)
        if not isinstance(found, wanted):
            raise _lacking(wanted)
        return found

    async def aclose(self) -> None:
        """Close the connections to all guardians at once: one that does not answer has two seconds."""
        async with anyio.create_task_group() as closing:
            for connection in self.core.guardians.connections.values():
                closing.start_soon(connection.aclose)


class NotServedError(InputError):
    """The gateway does not serve this federation, in upstream's words."""

    def __init__(self, federation_id: str) -> None:
        """`federation_id` in hex."""
        super().__init__(f"No federation available for prefix {federation_id[:8]}")


class FederationRegistry:
    """Every open federation client. One event loop owns it."""

    def __init__(self) -> None:
        self._clients: dict[str, FederationClient] = {}

    def __iter__(self) -> Iterator[FederationClient]:
        return iter(sorted(self._clients.values(), key=lambda client: client.index))

    def __contains__(self, federation_id: str) -> bool:
        return federation_id in self._clients

    def add(self, client: FederationClient) -> None:
        self._clients[client.federation_id] = client

    def remove(self, federation_id: str) -> FederationClient:
        """Stop serving it; the caller closes the client."""
        return self._clients.pop(federation_id)

    def client(self, federation_id: str) -> FederationClient:
        """Raises NotServedError when it is not open: requests are refused with that, effects wait."""
        client = self._clients.get(federation_id)
        if client is None:
            raise NotServedError(federation_id)
        return client


def served_modules(config: ClientConfig) -> dict[str, FoundModule]:
    """The modules of `config` that we use, by kind. Raises InputError when it lacks one that we need."""
    found = {}
    for kind, module in MODULES.items():
        at = config.find(module.config_type)
        if at is not None:
            found[kind] = FoundModule(*at)
        elif module.without is None:
            raise _lacking(module)
    return found


def module_keys(root: DerivableSecret, facts: FederationFacts) -> dict[str, ModuleKey]:
    """Our key in each module, by its kind, also of a federation that is no longer served."""
    client = secrets.client_secret(root, bytes.fromhex(facts.federation_id))
    return {
        kind: ModuleKey(found.instance_id, secrets.module_secret(client, found.instance_id))
        for kind, found in served_modules(stored_config(facts)).items()
    }


def _lacking(module: type[Module[Any, Any]]) -> InputError:
    why = "this gateway needs one" if module.without is None else module.without
    return InputError(f"the federation has no {module.kind} module: {why}")


def open_federation(
    joined: Joined,
    root: DerivableSecret,
    connect: Connect,
    api_secret: str | None,
    ports: Ports,
) -> FederationClient:
    """The client of a federation that was joined. Connections are made when first used."""
    facts = joined.facts
    config = stored_config(facts)
    modules, keys = served_modules(config), module_keys(root, facts)
    names = {peer: endpoint.name for peer, endpoint in config.api_endpoints.items()}
    health = GuardianHealth(facts.federation_id, names)
    connections = {
        peer: WatchedConnection(connect(endpoint.url, api_secret), peer, health)
        for peer, endpoint in config.api_endpoints.items()
    }
    guardians = Guardians(
        connections, sleep_s=ports.clock.sleep, jitter=lambda: _jitter(ports.randomness)
    )
    return FederationClient(
        facts=facts,
        index=joined.index,
        config=config,
        core=FederationApi(guardians),
        modules={
            kind: MODULES[kind].open(keys[kind], found.config, guardians)
            for kind, found in modules.items()
        },
        health=health,
    )


def stored_config(facts: FederationFacts) -> ClientConfig:
    """The config as it was joined. Raises FatalError when the log's own bytes cannot be read."""
    try:
        return ClientConfig.from_json(msgspec.json.decode(facts.client_config))
    except (InputError, msgspec.DecodeError) as error:
        raise FatalError(f"the stored config of {facts.federation_id} is unreadable") from error


def _jitter(randomness: Randomness) -> float:
    return int.from_bytes(randomness.random_bytes(4)) / (1 << 32)
