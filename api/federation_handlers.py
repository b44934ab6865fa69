"""Handlers of the gateway and its federations: async functions from struct to struct.

Like all handlers they know nothing of HTTP and raise subclasses of `errors.GatewayError`, whose class the
adapter turns into a status.
"""

import msgspec

from api import structs
from api.ports import Gateway, Setup
from errors import ConflictError, InputError, NotFoundError
from gateway import views


class NodeFacts(msgspec.Struct, frozen=True):
    """What `/info` shows and does not change while the process lives. `lightning_mode` is JSON, and holds no secret."""

    version_hash: str
    lightning_mode: msgspec.Raw


async def info(gateway: Gateway, facts: NodeFacts) -> structs.GatewayInfo:
    """GET `/info`: the state of the gateway. As in Rust, federations show only while Running."""
    status = await gateway.info()
    running = status.state == "Running"
    return structs.GatewayInfo(
        version_hash=facts.version_hash,
        federations=status.federations if running else (),
        federation_fake_scids=(
            {str(f.config.federation_index): f.federation_id for f in status.federations}
            if running
            else None
        ),
        gateway_state=status.state,
        lightning_info=(
            "not_connected" if status.lightning is None else structs.Connected(status.lightning)
        ),
        lightning_mode=facts.lightning_mode,
        registrations=(
            {"http": (status.public_url, status.gateway_id)} if status.public_url else {}
        ),
        open_payments=tuple(map(_open_payment, status.open_payments)),
        problems=status.problems,
        frozen_until=status.frozen_until,
        exposures=status.exposures,
    )


async def balances(gateway: Gateway) -> views.GatewayBalances:
    """GET `/balances`."""
    return await gateway.treasury.balances()


async def connect_fed(gateway: Gateway, payload: structs.ConnectFedPayload) -> views.FederationInfo:
    """POST `/connect_fed`: join a federation, or recover its ecash when `recover` is true.

    Raises InputError for `use_tor`: answering over clearnet to someone who asked for Tor is not an option.
    """
    if payload.use_tor:
        raise InputError("This gateway does not reach federations over Tor; leave use_tor out")
    return await gateway.federations.connect_federation(
        payload.invite_code, recover=payload.recover or False
    )


async def leave_fed(gateway: Gateway, payload: structs.LeaveFedPayload) -> views.FederationInfo:
    """POST `/leave_fed`: leave, and tell how the federation stood."""
    return await gateway.federations.leave_federation(
        payload.federation_id.lower(), give_up=payload.give_up or False
    )


async def backup(gateway: Gateway, payload: structs.FederationPayload) -> None:
    """POST `/backup`."""
    await gateway.federations.backup(payload.federation_id.lower())


async def invite_codes(gateway: Gateway) -> dict[str, dict[str, tuple[str, str]]]:
    """GET `/invite_codes`: by federation and guardian, the guardian's name and an invite code."""
    return {
        federation.federation_id: {
            str(guardian.peer_id): (guardian.name, guardian.invite_code)
            for guardian in federation.guardians
        }
        for federation in await gateway.federations.invite_codes()
    }


async def config(gateway: Gateway, payload: structs.ConfigPayload) -> structs.GatewayFedConfig:
    """POST `/config`: the client config of one federation or of all."""
    found = await gateway.federations.client_config(_lower(payload.federation_id))
    return structs.GatewayFedConfig(
        federations={one.federation_id: msgspec.Raw(one.config_json) for one in found}
    )


async def set_fees(gateway: Gateway, payload: structs.SetFeesPayload) -> None:
    """POST `/set_fees`."""
    await gateway.federations.set_fees(
        views.FeeChange(
            federation_id=_lower(payload.federation_id),
            lightning_base_msat=payload.lightning_base,
            lightning_parts_per_million=payload.lightning_parts_per_million,
            transaction_base_msat=payload.transaction_base,
            transaction_parts_per_million=payload.transaction_parts_per_million,
        )
    )


async def set_payment_policy(gateway: Gateway, payload: structs.SetPaymentPolicyPayload) -> None:
    """POST `/set_payment_policy`."""
    await gateway.federations.set_payment_policy(
        _lower(payload.federation_id), receive_enabled=payload.receive_enabled
    )


async def set_exposure_cap(
    gateway: Gateway, payload: structs.SetExposureCapPayload
) -> tuple[views.ExposureInfo, ...]:
    """POST `/set_exposure_cap`."""
    return await gateway.federations.set_exposure_cap(
        _lower(payload.federation_id), payload.cap_msat
    )


async def trust_again(
    gateway: Gateway, payload: structs.FederationPayload
) -> tuple[views.ExposureInfo, ...]:
    """POST `/trust_again`."""
    return await gateway.federations.trust_again(payload.federation_id.lower())


async def mnemonic(gateway: Gateway) -> views.MnemonicResponse:
    """GET `/mnemonic`."""
    return await gateway.mnemonic()


async def set_mnemonic(setup: Setup, payload: structs.SetMnemonicPayload) -> None:
    """POST `/mnemonic` to a process without one: store the mnemonic, or a new one, and start the gateway."""
    await setup.set_mnemonic(payload.words)


async def hidden() -> None:
    """What a process without a mnemonic does not have yet. Raises NotFoundError always."""
    raise NotFoundError("There is no such route")


async def set_mnemonic_again(_gateway: Gateway, _payload: structs.SetMnemonicPayload) -> None:
    """POST `/mnemonic` to a gateway that has one. Raises ConflictError always."""
    raise ConflictError("This gateway already has a mnemonic, which cannot be changed")


def _lower(federation_id: str | None) -> str | None:
    return None if federation_id is None else federation_id.lower()


def _open_payment(payment: views.OpenPayment) -> structs.OpenPaymentInfo:
    return structs.OpenPaymentInfo(
        id=payment.stream,
        kind=payment.kind,
        federation_id=payment.federation_id,
        state=payment.state,
        age_secs=payment.age_s,
        overdue=payment.overdue,
        last_error=payment.last_error,
    )
