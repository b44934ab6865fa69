"""One joined federation as the gateway uses it: its config, guardians, modules and our keys in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from engine.engine import Ports
from engine.ports import Randomness
from errors import FatalError, InputError
from fedimint import secp, secrets
from fedimint.config import ClientConfig
from fedimint.federation_api import FederationApi, Lnv2Api, Mintv2Api
from fedimint.module_configs import LnV2ClientConfig, MintV2ClientConfig
from fedimint.notes import MintKeys
from fedimint.query import Guardians
from fedimint.secrets import DerivableSecret
from fedimint.wire_types import PeerId
from gateway.ports import Connect
from statemachines.federation import FederationFacts, Joined
from statemachines.wallet import FederationFees


@dataclass(frozen=True)
class FederationClient:
    """Everything needed to speak with one federation and to spend in it. Its repr shows the id alone."""

    facts: FederationFacts
    index: int
    config: ClientConfig
    core: FederationApi
    lnv2: Lnv2Api
    mint: Mintv2Api
    mint_keys: MintKeys
    mint_secret: DerivableSecret
    gateway_secret: secp.SecretKey

    def __repr__(self) -> str:
        return f"FederationClient({self.facts.federation_id})"

    @property
    def federation_id(self) -> str:
        """The id in hex."""
        return self.facts.federation_id

    @property
    def module_public_key(self) -> bytes:
        """The key that outgoing contracts name as the gateway's, 33 bytes."""
        return secp.public_key(self.gateway_secret)

    @property
    def tweak_filter(self) -> bytes:
        """What every mintv2 tweak of ours must meet, so that recovery finds the note."""
        return secrets.mintv2_tweak_filter(self.mint_secret)

    async def aclose(self) -> None:
        """Close the connections to all guardians."""
        for connection in self.core.guardians.connections.values():
            await connection.aclose()


@dataclass(frozen=True)
class ServedModules:
    """The two modules this gateway needs of a federation."""

    lnv2_id: int
    lnv2: LnV2ClientConfig
    mint_id: int
    mint: MintV2ClientConfig

    @property
    def fees(self) -> FederationFees:
        return FederationFees(lnv2=self.lnv2.fee_consensus, mint=self.mint.fee_consensus)


def served_modules(config: ClientConfig) -> ServedModules:
    """The modules of `config` that we use. Raises InputError when it lacks one."""
    lnv2, mint = config.find(LnV2ClientConfig), config.find(MintV2ClientConfig)
    if lnv2 is None or mint is None:
        missing = "lnv2" if lnv2 is None else "mintv2"
        raise InputError(f"the federation has no {missing} module, which this gateway needs")
    return ServedModules(lnv2[0], lnv2[1], mint[0], mint[1])


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
    modules = served_modules(config)
    connections = {
        peer: connect(endpoint.url, api_secret) for peer, endpoint in config.api_endpoints.items()
    }
    guardians = Guardians(
        connections, sleep_s=ports.clock.sleep, jitter=lambda: _jitter(ports.randomness)
    )
    client = secrets.client_secret(root, bytes.fromhex(facts.federation_id))
    lnv2_secret = secrets.module_secret(client, modules.lnv2_id)
    return FederationClient(
        facts=facts,
        index=joined.index,
        config=config,
        core=FederationApi(guardians),
        lnv2=Lnv2Api(guardians, modules.lnv2_id),
        mint=Mintv2Api(guardians, modules.mint_id),
        mint_keys=_mint_keys(modules.mint),
        mint_secret=secrets.module_secret(client, modules.mint_id),
        gateway_secret=secrets.lnv2_gateway_secret(lnv2_secret),
    )


def stored_config(facts: FederationFacts) -> ClientConfig:
    """The config as it was joined. Raises FatalError when the log's own bytes cannot be read."""
    try:
        return ClientConfig.from_json(msgspec.json.decode(facts.client_config))
    except (InputError, msgspec.DecodeError) as error:
        raise FatalError(f"the stored config of {facts.federation_id} is unreadable") from error


def _jitter(randomness: Randomness) -> float:
    return int.from_bytes(randomness.random_bytes(4)) / (1 << 32)


def _mint_keys(mint: MintV2ClientConfig) -> MintKeys:
    peer_keys: Mapping[int, Mapping[PeerId, bytes]] = mint.tbs_pks
    return MintKeys(aggregate_keys=mint.tbs_agg_pks, peer_keys=peer_keys)
