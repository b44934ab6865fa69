"""Joining a federation: from an invite code to the facts that are recorded."""

import msgspec

from errors import InputError
from fedimint.config import ClientConfig
from fedimint.invite import InviteCode
from gateway.federation import served_modules
from gateway.views import PaymentFee
from statemachines.federation import FederationFacts, Fee


def federation_facts(
    invite: InviteCode,
    config: ClientConfig,
    *,
    network: str,
    lightning_fee: PaymentFee,
    transaction_fee: PaymentFee,
) -> FederationFacts:
    """What is recorded of a federation whose config a threshold of guardians gave.

    Raises InputError when it lacks a module that we need or is on another network. The recorded invite has no API
    secret; that is kept in a file.
    """
    modules = served_modules(config)
    if modules.lnv2.network != network:
        raise InputError(
            f"the federation is on {modules.lnv2.network}, this gateway on {network}: they cannot work together"
        )
    public_invite = InviteCode.of(invite.peers(), config.federation_id())
    return FederationFacts(
        federation_id=config.federation_id().hex(),
        invite_code=public_invite.to_text(),
        client_config=msgspec.json.encode(config.to_json()),
        module_fees=modules.fees,
        lightning_fee=Fee(lightning_fee.base, lightning_fee.parts_per_million),
        transaction_fee=Fee(transaction_fee.base, transaction_fee.parts_per_million),
    )
