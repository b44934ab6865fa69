"""Whether this gateway can serve a federation, by its config, and what it records of it; every refusal says why.

The config is what a threshold of guardians gave, and all of them may lie. What is wrong with it here would make each
payment a loss, or each claim one that the federation rejects (client.md 4; fedimint-server consensus/transaction.rs).
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from errors import ConflictError, InputError
from fedimint.codec.invite import InviteCode
from fedimint.config import ClientConfig, Version
from fedimint.lnv2.gateway_api import RECEIVE_FEE_LIMIT, PaymentFee
from gateway.federation import FoundModule, served_modules
from gateway.modules.table import MODULES
from statemachines.federation import FederationFacts, Fee
from statemachines.reserving import FederationFees

#: From this on a transaction may bring more than it takes, as ours do by less than the smallest note.
CORE_CONSENSUS: Final = Version(2, 1)
#: As many keys as a multisig of bitcoin may have.
GUARDIANS_MAX: Final = 20
#: The most that an event holds, as base64 and beside the rest: some 16 guardians with all keys of their modules.
CONFIG_BYTES_MAX: Final = 180_000
NAME_CHARS_MAX: Final = 200
URL_CHARS_MAX: Final = 1_000


def refuse_unservable(config: ClientConfig, network: str) -> dict[str, FoundModule]:
    """The modules that we use of a federation that can be served on `network`. Raises InputError for any other."""
    modules = served_modules(config)
    for why in _reasons(config, modules, network):
        raise InputError(f"{why}; the federation is not joined")
    return modules


def federation_facts(
    invite: InviteCode,
    config: ClientConfig,
    *,
    network: str,
    lightning_fee: PaymentFee,
    transaction_fee: PaymentFee,
) -> FederationFacts:
    """What is recorded of a federation whose config a threshold of guardians gave.

    Raises InputError when it cannot be served. The recorded invite has no API secret; that is
    kept in a file.
    """
    modules = refuse_unservable(config, network)
    encoded = msgspec.json.encode(config.to_json())
    if len(encoded) > CONFIG_BYTES_MAX:
        raise InputError(
            f"the federation's config has {len(encoded)} bytes, more than the {CONFIG_BYTES_MAX} that are kept; "
            "the federation is not joined"
        )
    public_invite = InviteCode.of(invite.peers(), config.federation_id())
    return FederationFacts(
        federation_id=config.federation_id().hex(),
        invite_code=public_invite.to_text(),
        client_config=encoded,
        module_fees=_module_fees(modules),
        lightning_fee=Fee(lightning_fee.base, lightning_fee.parts_per_million),
        transaction_fee=Fee(transaction_fee.base, transaction_fee.parts_per_million),
    )


def refuse_another_config(left: ClientConfig, now: ClientConfig) -> None:
    """Raises ConflictError when a federation that was left comes back with other keys or module ids.

    Our own keys follow from the ids, and the notes held verify under the keys alone. The federation's id covers
    neither. A module that it had not before is taken.
    """
    after = served_modules(now)
    changed = [kind for kind, old in served_modules(left).items() if after.get(kind) != old]
    if changed:
        raise ConflictError(
            f"the federation's {' and '.join(changed)} has other keys, fees or another id than when this gateway left "
            "it: what is held there could not be spent. Ask its guardians; it is not joined"
        )


def _reasons(
    config: ClientConfig, modules: Mapping[str, FoundModule], network: str
) -> Iterator[str]:
    yield from _versions(config, modules)
    yield from _guardians(config)
    for kind, found in modules.items():
        yield from MODULES[kind].refusals(found.config, network, config.api_endpoints)
    yield from _fees(_module_fees(modules))


def _versions(config: ClientConfig, modules: Mapping[str, FoundModule]) -> Iterator[str]:
    core = config.consensus_version
    if core.major != CORE_CONSENSUS.major or core < CORE_CONSENSUS:
        yield (
            f"the federation's consensus is of version {_text(core)}, this gateway needs "
            f"{_text(CORE_CONSENSUS)} or later of {CORE_CONSENSUS.major}: an earlier one refuses "
            "transactions that do not balance to the msat"
        )
    for kind, found in modules.items():
        version, major = config.modules[found.instance_id].version, MODULES[kind].major
        if version.major != major:
            yield (
                f"the federation's {kind} is of version {_text(version)}, this gateway knows {major}.x"
            )


def _guardians(config: ClientConfig) -> Iterator[str]:
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


def _module_fees(modules: Mapping[str, FoundModule]) -> FederationFees:
    """What the federation charges, by kind of module."""
    return FederationFees(**{kind: found.config.fee_consensus for kind, found in modules.items()})


def _fees(fees: FederationFees) -> Iterator[str]:
    taken_msat = fees.lnv2.base_msat + fees.mintv2.base_msat
    if taken_msat > RECEIVE_FEE_LIMIT.base:
        yield (
            f"the federation takes {taken_msat} msat of each payment and clients let no gateway ask for more than "
            f"{RECEIVE_FEE_LIMIT.base} msat: each payment would be a loss"
        )


def _text(version: Version) -> str:
    return f"{version.major}.{version.minor}"
