"""What each route does: async functions from struct to struct, knowing nothing of HTTP.

Every function raises subclasses of `errors.GatewayError`; the adapter turns their class into a status.
"""

from typing import Literal, Protocol

import msgspec

from api import structs
from errors import InputError
from gateway import views


class Gateway(Protocol):
    """What the API needs of the application.

    Every method may be cancelled at any await: a client that left, or a time limit, ends only the
    waiting of its caller. What was decided stays decided and goes on without anyone listening.
    """

    async def info(self) -> views.GatewayStatus: ...

    async def balances(self) -> views.GatewayBalances: ...

    async def connect_federation(
        self, invite_code: str, *, recover: bool
    ) -> views.FederationStatus: ...

    async def routing_info(self, federation_id: str) -> views.RoutingInfo | None: ...

    async def send_payment(
        self, request: views.SendPaymentRequest
    ) -> views.Paid | views.Forfeited: ...


class NodeFacts(msgspec.Struct, frozen=True):
    """What `/info` shows and does not change while the process lives."""

    version_hash: str
    lightning_mode: structs.LndMode


async def info(gateway: Gateway, facts: NodeFacts) -> structs.GatewayInfo:
    """GET `/info`: the state of the gateway. As in Rust, federations show only while Running."""
    status = await gateway.info()
    running = status.state == "Running"
    return structs.GatewayInfo(
        version_hash=facts.version_hash,
        federations=tuple(map(_federation_info, status.federations)) if running else (),
        federation_fake_scids=(
            {str(f.federation_index): f.federation_id for f in status.federations}
            if running
            else None
        ),
        gateway_state=status.state,
        lightning_info=_lightning_info(status.lightning),
        lightning_mode=facts.lightning_mode,
        registrations=(
            {"http": (status.public_url, status.gateway_id)} if status.public_url else {}
        ),
        open_payments=tuple(map(_open_payment, status.open_payments)),
    )


async def balances(gateway: Gateway) -> structs.GatewayBalances:
    """GET `/balances`."""
    return msgspec.convert(await gateway.balances(), structs.GatewayBalances, from_attributes=True)


async def connect_fed(
    gateway: Gateway, payload: structs.ConnectFedPayload
) -> structs.FederationInfo:
    """POST `/connect_fed`: join a federation, or recover its ecash when `recover` is true.

    Raises InputError for `use_tor`: answering over clearnet to someone who asked for Tor is not an option.
    """
    if payload.use_tor:
        raise InputError("This gateway does not reach federations over Tor; leave use_tor out")
    status = await gateway.connect_federation(payload.invite_code, recover=payload.recover or False)
    return _federation_info(status)


async def routing_info(
    gateway: Gateway, federation_id: structs.Hash256Hex
) -> structs.RoutingInfo | None:
    """POST `/routing_info`: fees, keys and deltas; None when the federation has no lnv2 module."""
    found = await gateway.routing_info(federation_id.lower())
    if found is None:
        return None
    return msgspec.convert(found, structs.RoutingInfo, from_attributes=True)


async def send_payment(
    gateway: Gateway, payload: structs.SendPaymentPayload
) -> structs.SendPaymentOk | structs.SendPaymentErr:
    """POST `/send_payment`: wait until the payment is paid or cancelled, however long that takes."""
    contract = payload.contract
    contract, image = payload.contract, payload.contract.payment_image
    outcome = await gateway.send_payment(
        views.SendPaymentRequest(
            federation_id=payload.federation_id.lower(),
            txid=payload.outpoint.txid.lower(),
            out_idx=payload.outpoint.out_idx,
            contract=views.ContractRequest(
                payment_hash=image.hash.lower() if image.hash else None,
                payment_point=image.point.lower() if image.point else None,
                amount_msat=contract.amount,
                expiration_block_height=contract.expiration,
                claim_pk=contract.claim_pk.lower(),
                refund_pk=contract.refund_pk.lower(),
                ephemeral_pk=contract.ephemeral_pk.lower(),
            ),
            invoice=payload.invoice.bolt11,
            auth=payload.auth.lower(),
        )
    )
    if isinstance(outcome, views.Paid):
        return structs.SendPaymentOk(ok=tuple(outcome.preimage))
    return structs.SendPaymentErr(err=outcome.forfeit_signature.hex())


def _federation_info(status: views.FederationStatus) -> structs.FederationInfo:
    return structs.FederationInfo(
        federation_id=status.federation_id,
        federation_name=status.name,
        balance_msat=status.balance_msat,
        config=structs.FederationConfig(
            invite_code=status.invite_code,
            federation_index=status.federation_index,
            lightning_fee=_fee(status.lightning_fee),
            transaction_fee=_fee(status.transaction_fee),
            payment_policies=() if status.receive_enabled else ("ReceivesDisabled",),
        ),
        last_backup_time=None,
    )


def _fee(fee: views.PaymentFee) -> structs.PaymentFee:
    return structs.PaymentFee(base=fee.base, parts_per_million=fee.parts_per_million)


def _lightning_info(
    status: views.LightningStatus | None,
) -> structs.Connected | Literal["not_connected"]:
    if status is None:
        return "not_connected"
    return structs.Connected(
        connected=msgspec.convert(status, structs.ConnectedLightning, from_attributes=True)
    )


def _open_payment(payment: views.OpenPayment) -> structs.OpenPaymentInfo:
    return structs.OpenPaymentInfo(
        id=payment.stream,
        kind=payment.kind,
        federation_id=payment.federation_id,
        state=payment.state,
        age_secs=payment.age_s,
        last_error=payment.last_error,
    )
