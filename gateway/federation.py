"""One joined federation for the gateway: its config, guardians, modules and our keys in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import msgspec

from engine.engine import Ports
from engine.ports import Randomness
from errors import FatalError, InputError
from fedimint.client.query import Guardians
from fedimint.codec import secp
from fedimint.codec.wire_types import PeerId
from fedimint.config import ClientConfig
from fedimint.crypto import secrets
from fedimint.crypto.secrets import DerivableSecret
from fedimint.federation_api import FederationApi, Lnv2Api, Mintv2Api
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.lnv2.decryption import DecryptionKeys
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.ecash import EcashRules
from fedimint.mintv2.notes import MintKeys
from fedimint.walletv2.api import Walletv2Api
from fedimint.walletv2.config import WalletV2ClientConfig
from gateway.guardian_health import GuardianHealth, WatchedConnection
from gateway.ports import Connect
from statemachines.federation import FederationFacts, Joined
from statemachines.reserving import FederationFees


@dataclass(frozen=True)
class BitcoinWallet:
    """The walletv2 module of a federation, and our secret in it. Its repr shows nothing."""

    api: Walletv2Api
    config: WalletV2ClientConfig
    secret: DerivableSecret

    def __repr__(self) -> str:
        return "BitcoinWallet(…)"


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
    decryption_keys: DecryptionKeys
    ecash_rules: EcashRules
    bitcoin: BitcoinWallet | None
    health: GuardianHealth

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

    def bitcoin_wallet(self) -> BitcoinWallet:
        """The walletv2 module. Raises InputError when the federation has none."""
        if self.bitcoin is None:
            raise InputError(
                "the federation has no walletv2 module: it takes no deposits and makes no withdrawals"
            )
        return self.bitcoin

    @property
    def tweak_filter(self) -> bytes:
        """What every mintv2 tweak of ours must meet, so that recovery finds the note."""
        return secrets.mintv2_tweak_filter(self.mint_secret)

    async def aclose(self) -> None:
        """Close the connections to all guardians at once: one that does not answer has two seconds."""
        async with anyio.create_task_group() as closing:
            for connection in self.core.guardians.connections.values():
                closing.start_soon(connection.aclose)


@dataclass(frozen=True)
class ServedModules:
    """The modules this gateway uses of a federation; it can do without walletv2."""

    lnv2_id: int
    lnv2: LnV2ClientConfig
    mint_id: int
    mint: MintV2ClientConfig
    wallet: tuple[int, WalletV2ClientConfig] | None

    @property
    def fees(self) -> FederationFees:
        return FederationFees(
            lnv2=self.lnv2.fee_consensus,
            mintv2=self.mint.fee_consensus,
            walletv2=self.wallet[1].fee_consensus if self.wallet is not None else None,
        )


def mint_secret(root: DerivableSecret, facts: FederationFacts) -> DerivableSecret:
    """What the keys of our notes follow from, also of a federation that is not served any more."""
    client = secrets.client_secret(root, bytes.fromhex(facts.federation_id))
    return secrets.module_secret(client, served_modules(stored_config(facts)).mint_id)


def served_modules(config: ClientConfig) -> ServedModules:
    """The modules of `config` that we use. Raises InputError when it lacks one."""
    lnv2, mint = config.find(LnV2ClientConfig), config.find(MintV2ClientConfig)
    if lnv2 is None or mint is None:
        missing = "lnv2" if lnv2 is None else "mintv2"
        raise InputError(f"the federation has no {missing} module, which this gateway needs")
    return ServedModules(*lnv2, *mint, config.find(WalletV2ClientConfig))


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
    names = {peer: endpoint.name for peer, endpoint in config.api_endpoints.items()}
    health = GuardianHealth(facts.federation_id, names)
    connections = {
        peer: WatchedConnection(connect(endpoint.url, api_secret), peer, health)
        for peer, endpoint in config.api_endpoints.items()
    }
    guardians = Guardians(
        connections, sleep_s=ports.clock.sleep, jitter=lambda: _jitter(ports.randomness)
    )
    client = secrets.client_secret(root, bytes.fromhex(facts.federation_id))
    lnv2_secret = secrets.module_secret(client, modules.lnv2_id)
    mint_keys = _mint_keys(modules.mint)
    return FederationClient(
        facts=facts,
        index=joined.index,
        config=config,
        core=FederationApi(guardians),
        lnv2=Lnv2Api(guardians, modules.lnv2_id),
        mint=Mintv2Api(guardians, modules.mint_id),
        mint_keys=mint_keys,
        mint_secret=secrets.module_secret(client, modules.mint_id),
        gateway_secret=secrets.lnv2_gateway_secret(lnv2_secret),
        decryption_keys=DecryptionKeys(modules.lnv2.tpe_agg_pk, modules.lnv2.tpe_pks),
        ecash_rules=EcashRules(
            config.federation_id(), modules.mint.amount_unit, modules.mint.fee_consensus, mint_keys
        ),
        bitcoin=_bitcoin_wallet(modules, guardians, client),
        health=health,
    )


def _bitcoin_wallet(
    modules: ServedModules, guardians: Guardians, client: DerivableSecret
) -> BitcoinWallet | None:
    if modules.wallet is None:
        return None
    module_id, config = modules.wallet
    secret = secrets.module_secret(client, module_id)
    return BitcoinWallet(Walletv2Api(guardians, module_id), config, secret)


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
