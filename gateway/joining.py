"""Joins a federation: from an invite code to the facts that are recorded."""

import msgspec

from errors import InputError
from fedimint.codec.invite import InviteCode
from fedimint.config import ClientConfig
from fedimint.lnv2.gateway_api import PaymentFee
from gateway.servable import module_fees, refuse_unservable
from statemachines.federation import FederationFacts, Fee

#: The most that an event holds, as base64 and beside the rest: some 16 guardians with all keys of their modules.
CONFIG_BYTES_MAX = 180_000


def federation_facts(
    invite: InviteCode,
    config: ClientConfig,
    *,
    network: str,
    lightning_fee: PaymentFee,
    transaction_fee: PaymentFee,
) -> FederationFacts:
    """What is recorded of a federation whose config a threshold of guardians gave.

    Raises InputError when it cannot be served (`gateway/servable.py`). The recorded invite has no API secret; that is
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
        module_fees=module_fees(modules),
        lightning_fee=Fee(lightning_fee.base, lightning_fee.parts_per_million),
        transaction_fee=Fee(transaction_fee.base, transaction_fee.parts_per_million),
    )
