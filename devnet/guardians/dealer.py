"""Deals the keys of an embedded federation and writes the client config that real ones have.

Real guardians generate their keys without a dealer; here they live in one process. Modules, versions
and fees are those of a default fedimintd 0.13 federation: lnv2 0, meta 1, mintv2 2, walletv2 3.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from errors import InputError
from fedimint import lnv2, mintv2, walletv2
from fedimint.codec import secp
from fedimint.codec.wire_types import FeeConsensus, Network, PeerId, threshold
from fedimint.config import ApiEndpoint, ClientConfig, ModuleConfig, Version
from fedimint.crypto import bls, tbs
from fedimint.lnv2 import tpe
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.modules import CONFIG_CODECS, MetaClientConfig
from fedimint.transaction import DynItem
from fedimint.walletv2.config import WalletV2ClientConfig, WshDescriptor

LNV2_ID: Final = 0
META_ID: Final = 1
MINTV2_ID: Final = 2
WALLETV2_ID: Final = 3

LNV2_FEE: Final = FeeConsensus(1_000, 0)
MINTV2_FEE: Final = FeeConsensus(100, 0)
WALLETV2_FEE: Final = FeeConsensus(100_000, 0)
DENOMINATIONS: Final = range(42)
CORE_VERSION: Final = Version(2, 1)

# Send and receive transactions by number of guardians (fedimint-walletv2-server).
_WALLET_VBYTES: Final = {1: (166, 192), 4: (228, 316), 5: (255, 369), 7: (290, 440)}


class GuardianSecrets(NamedTuple):
    """What one guardian keeps for itself: its share of each mint key, and of the encryption key."""

    tbs_shares: dict[int, bls.Scalar]
    tpe_share: bls.Scalar

    def __repr__(self) -> str:
        return "GuardianSecrets(…)"


class DealtFederation(NamedTuple):
    """The public config and the secrets by guardian, from 0."""

    config: ClientConfig
    secrets: tuple[GuardianSecrets, ...]


def deal_federation(
    guardians: int,
    name: str,
    network: Network,
    random_bytes: Callable[[int], bytes],
    urls: Sequence[str] | None = None,
) -> DealtFederation:
    """Return a fresh federation, whose guardians are said to be at `urls`, or else nowhere.

    Raises InputError for a number of guardians, or of URLs, that is not provided for.
    """
    if guardians not in _WALLET_VBYTES:
        raise InputError(f"an embedded federation has {sorted(_WALLET_VBYTES)} guardians")
    needed = threshold(guardians)
    peers = [PeerId(peer) for peer in range(guardians)]
    mint_keys = {d: tbs.deal(needed, guardians, random_bytes) for d in DENOMINATIONS}
    encryption_keys = tpe.deal(needed, guardians, random_bytes)
    if urls is None:
        host = name.lower().replace(" ", "-")
        urls = [f"ws://{host}-{peer}.invalid/" for peer in peers]
    if len(urls) != guardians:
        raise InputError(f"{guardians} guardians need as many URLs, not {len(urls)}")
    config = ClientConfig(
        {peer: ApiEndpoint(urls[peer], f"Guardian {peer}") for peer in peers},
        {peer: secp.public_key(fresh_secret(random_bytes)) for peer in peers},
        CORE_VERSION,
        {"federation_name": name},
        {
            LNV2_ID: _module(
                LNV2_ID,
                lnv2.KIND,
                Version(1, 0),
                LnV2ClientConfig(
                    encryption_keys.aggregate_key,
                    dict(zip(peers, encryption_keys.public_keys, strict=True)),
                    LNV2_FEE,
                    network,
                ),
            ),
            META_ID: _module(META_ID, "meta", Version(0, 0), MetaClientConfig()),
            MINTV2_ID: _module(MINTV2_ID, mintv2.KIND, Version(1, 0), _mint_config(mint_keys)),
            WALLETV2_ID: _module(
                WALLETV2_ID,
                walletv2.KIND,
                Version(1, 0),
                _wallet_config(peers, network, random_bytes),
            ),
        },
    )
    secrets = tuple(
        GuardianSecrets(
            {d: keys.secret_shares[peer] for d, keys in mint_keys.items()},
            encryption_keys.secret_shares[peer],
        )
        for peer in peers
    )
    return DealtFederation(config, secrets)


def fresh_secret(random_bytes: Callable[[int], bytes]) -> secp.SecretKey:
    """Return a secp256k1 secret key."""
    while True:
        secret = random_bytes(32)
        if secp.is_valid_secret(secret):
            return secp.SecretKey(secret)


def _module(instance_id: int, kind: str, version: Version, config: msgspec.Struct) -> ModuleConfig:
    return ModuleConfig(kind, version, DynItem(instance_id, CONFIG_CODECS[kind].encode(config)))


def _mint_config(keys: dict[int, tbs.DealtKeys]) -> MintV2ClientConfig:
    return MintV2ClientConfig(
        {d: bls.encode_g2(dealt.aggregate_key) for d, dealt in keys.items()},
        {
            d: {PeerId(peer): bls.encode_g2(key) for peer, key in enumerate(dealt.public_keys)}
            for d, dealt in keys.items()
        },
        MINTV2_FEE,
        0,
    )


def _wallet_config(
    peers: list[PeerId], network: Network, random_bytes: Callable[[int], bytes]
) -> WalletV2ClientConfig:
    send_tx_vbytes, receive_tx_vbytes = _WALLET_VBYTES[len(peers)]
    return WalletV2ClientConfig(
        {peer: secp.public_key(fresh_secret(random_bytes)) for peer in peers},
        WshDescriptor(),
        send_tx_vbytes,
        receive_tx_vbytes,
        feerate_base=250,
        dust_limit_sat=10_000,
        fee_consensus=WALLETV2_FEE,
        network=network,
    )
