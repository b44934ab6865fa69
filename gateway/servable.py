"""Whether this gateway can serve a federation, by its config; every refusal says why.

The config is what a threshold of guardians gave, and all of them may lie. What is wrong with it here would make each
payment a loss, or each claim one that the federation rejects (client.md 4; fedimint-server consensus/transaction.rs).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from errors import ConflictError, InputError
from fedimint.codec.wire_types import FeeConsensus, PeerId
from fedimint.config import ClientConfig, Version
from fedimint.mintv2 import selection
from fedimint.mintv2.ecash import BITCOIN
from gateway.federation import ServedModules, served_modules
from gateway.fees import RECEIVE_FEE_LIMIT

#: From this on a transaction may bring more than it takes, as ours do by less than the smallest note.
CORE_CONSENSUS: Final = Version(2, 1)
#: The versions of lnv2, mintv2 and walletv2 whose rules we know; a minor one changes none of them.
MODULE_CONSENSUS_MAJOR: Final = 1
#: As many keys as a multisig of bitcoin may have.
GUARDIANS_MAX: Final = 20
#: Guardians ask for 100,000 msat; with more than this, no deposit of their smallest withdrawal is worth its claim.
WALLET_BASE_FEE_MAX_MSAT: Final = 10_000_000
NAME_CHARS_MAX: Final = 200
URL_CHARS_MAX: Final = 1_000


def refuse_unservable(config: ClientConfig, network: str) -> ServedModules:
    """The modules that we use of a federation that can be served on `network`. Raises InputError for any other."""
    modules = served_modules(config)
    for why in _reasons(config, modules, network):
        raise InputError(f"{why}; the federation is not joined")
    return modules


def refuse_another_config(left: ClientConfig, now: ClientConfig) -> None:
    """Raises ConflictError when a federation that was left comes back with other keys or module ids.

    Our own keys follow from the ids, and the notes held verify under the keys alone. The federation's id covers
    neither. A walletv2 that it had not before is taken.
    """
    before, after = served_modules(left), served_modules(now)
    changed = [
        kind
        for kind, old, new in (
            ("lnv2", (before.lnv2_id, before.lnv2), (after.lnv2_id, after.lnv2)),
            ("mintv2", (before.mint_id, before.mint), (after.mint_id, after.mint)),
            ("walletv2", before.wallet, after.wallet if before.wallet else None),
        )
        if old != new
    ]
    if changed:
        raise ConflictError(
            f"the federation's {' and '.join(changed)} has other keys, fees or another id than when this gateway left "
            "it: what is held there could not be spent. Ask its guardians; it is not joined"
        )


def _reasons(config: ClientConfig, modules: ServedModules, network: str) -> Iterator[str]:
    yield from _networks(modules, network)
    yield from _versions(config, modules)
    yield from _guardians(config, modules)
    yield from _mint(modules)
    yield from _fees(modules)


def _networks(modules: ServedModules, network: str) -> Iterator[str]:
    networks = {modules.lnv2.network}
    if modules.wallet is not None:
        networks.add(modules.wallet[1].network)
    for other in sorted(networks - {network}):
        yield f"the federation is on {other}, this gateway on {network}: they cannot work together"


def _versions(config: ClientConfig, modules: ServedModules) -> Iterator[str]:
    core = config.consensus_version
    if core.major != CORE_CONSENSUS.major or core < CORE_CONSENSUS:
        yield (
            f"the federation's consensus is of version {_text(core)}, this gateway needs "
            f"{_text(CORE_CONSENSUS)} or later of {CORE_CONSENSUS.major}: an earlier one refuses "
            "transactions that do not balance to the msat"
        )
    used = [modules.lnv2_id, modules.mint_id, *([modules.wallet[0]] if modules.wallet else [])]
    for module in (config.modules[instance_id] for instance_id in used):
        if module.version.major != MODULE_CONSENSUS_MAJOR:
            yield (
                f"the federation's {module.kind} is of version {_text(module.version)}, "
                f"this gateway knows {MODULE_CONSENSUS_MAJOR}.x"
            )


def _guardians(config: ClientConfig, modules: ServedModules) -> Iterator[str]:
    peers = config.api_endpoints.keys()
    if len(peers) > GUARDIANS_MAX:
        yield f"the federation has {len(peers)} guardians, at most {GUARDIANS_MAX} are served"
    if sorted(peers) != list(range(len(peers))):
        yield "the federation's guardians are not numbered from 0 on"
    for endpoint in config.api_endpoints.values():
        if len(endpoint.name) > NAME_CHARS_MAX or len(endpoint.url) > URL_CHARS_MAX:
            yield "a guardian of the federation has a name or URL of absurd length"
    name = config.federation_name()
    if name is not None and len(name) > NAME_CHARS_MAX:
        yield f"the federation's name has {len(name)} characters, at most {NAME_CHARS_MAX} are shown"
    for what, keys in _keys_by_guardian(modules):
        if set(keys) != set(peers):
            yield f"the federation's {what} are not those of its guardians"


def _keys_by_guardian(modules: ServedModules) -> Iterator[tuple[str, Collection[PeerId]]]:
    yield "keys of lnv2", modules.lnv2.tpe_pks.keys()
    for denomination, keys in modules.mint.tbs_pks.items():
        yield f"keys of mintv2 for 2^{denomination} msat", keys.keys()
    if modules.wallet is not None:
        yield "keys of walletv2", modules.wallet[1].bitcoin_pks.keys()


def _mint(modules: ServedModules) -> Iterator[str]:
    mint = modules.mint
    if mint.amount_unit != BITCOIN:
        yield f"the federation's ecash is of unit {mint.amount_unit}, this gateway deals in bitcoin"
    keys: tuple[Mapping[int, object], ...] = (mint.tbs_agg_pks, mint.tbs_pks)
    lacking = [d for d in selection.DENOMINATIONS if any(d not in known for known in keys)]
    if lacking:
        yield f"the federation issues no notes of 2^{lacking[0]} msat, which this gateway would ask for"


def _fees(modules: ServedModules) -> Iterator[str]:
    taken_msat = modules.lnv2.fee_consensus.base_msat + modules.mint.fee_consensus.base_msat
    if taken_msat > RECEIVE_FEE_LIMIT.base:
        yield (
            f"the federation takes {taken_msat} msat of each payment and clients let no gateway ask for more than "
            f"{RECEIVE_FEE_LIMIT.base} msat: each payment would be a loss"
        )
    wallet_fee = FeeConsensus(0, 0) if modules.wallet is None else modules.wallet[1].fee_consensus
    if wallet_fee.base_msat > WALLET_BASE_FEE_MAX_MSAT:
        yield (
            f"the federation takes {wallet_fee.base_msat} msat of each deposit and withdrawal, more than "
            f"{WALLET_BASE_FEE_MAX_MSAT} msat: bitcoin would be lost by moving it"
        )


def _text(version: Version) -> str:
    return f"{version.major}.{version.minor}"
