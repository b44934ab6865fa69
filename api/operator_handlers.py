"""Handlers of the Lightning node for its operator: async functions from struct to struct."""

from api import operator_structs as structs
from api.node_address import host_with_port, parse_node_address
from api.ports import Gateway
from api.treasury_handlers import amount_sat
from errors import InputError
from gateway import views
from gateway.views import SystemTime

_DEFAULT_EXPIRY_S = 3600


async def create_invoice(gateway: Gateway, payload: structs.CreateInvoiceForOperatorPayload) -> str:
    """POST `/create_bolt11_invoice_for_operator`: an invoice that pays the node itself."""
    expiry_s = payload.expiry_secs
    return await gateway.node.create_operator_invoice(
        views.OperatorInvoiceRequest(
            amount_msat=payload.amount_msats,
            expiry_s=_DEFAULT_EXPIRY_S if expiry_s is None else expiry_s,
            description=payload.description or "",
        )
    )


async def pay_invoice(gateway: Gateway, payload: structs.PayInvoiceForOperatorPayload) -> str:
    """POST `/pay_invoice_for_operator`: the preimage in hex."""
    return (await gateway.node.pay_operator_invoice(payload.invoice)).preimage.hex()


async def create_offer(gateway: Gateway, _payload: structs.CreateOfferPayload) -> None:
    """POST `/create_bolt12_offer_for_operator`. Raises InputError always."""
    raise InputError(gateway.node.why_no_offers())


async def pay_offer(gateway: Gateway, _payload: structs.PayOfferPayload) -> None:
    """POST `/pay_offer_for_operator`. Raises InputError always."""
    raise InputError(gateway.node.why_no_offers())


async def get_invoice(
    gateway: Gateway, payload: structs.GetInvoiceRequest
) -> structs.GetInvoiceResponse | None:
    """POST `/get_invoice`: one invoice of the node, None when it has none of this hash."""
    found = await gateway.node.node_invoice(payload.payment_hash.lower())
    if found is None:
        return None
    return structs.GetInvoiceResponse(
        preimage=_hex(found.preimage),
        payment_hash=found.payment_hash.hex(),
        amount=found.amount_msat,
        created_at=SystemTime(secs_since_epoch=found.created_unix_s, nanos_since_epoch=0),
        status=found.status,
    )


async def list_transactions(
    gateway: Gateway, payload: structs.ListTransactionsPayload
) -> structs.ListTransactionsResponse:
    """POST `/list_transactions`: what the node paid and received."""
    found = await gateway.node.node_transactions(payload.start_secs, payload.end_secs)
    return structs.ListTransactionsResponse(transactions=tuple(map(_details, found)))


async def get_ln_onchain_address(gateway: Gateway) -> str:
    """GET `/get_ln_onchain_address`."""
    return await gateway.node.onchain_address()


async def send_onchain(gateway: Gateway, payload: structs.SendOnchainRequest) -> str:
    """POST `/send_onchain`: the txid."""
    return await gateway.node.send_onchain(
        views.SendCoins(
            address=payload.address,
            amount_sat=amount_sat(payload.amount),
            sat_per_vbyte=payload.fee_rate_sats_per_vbyte,
        )
    )


async def open_channel(gateway: Gateway, payload: structs.OpenChannelRequest) -> str:
    """POST `/open_channel`: the funding txid. Nothing is pushed, whatever the body says."""
    return await gateway.node.open_channel(_order(payload, push_sat=0))


async def open_channel_with_push(gateway: Gateway, payload: structs.OpenChannelRequest) -> str:
    """POST `/open_channel_with_push`: the funding txid."""
    return await gateway.node.open_channel(_order(payload, push_sat=payload.push_amount_sats))


async def close_channels_with_peer(
    gateway: Gateway, payload: structs.CloseChannelsWithPeerRequest
) -> structs.CloseChannelsWithPeerResponse:
    """POST `/close_channels_with_peer`."""
    closed = await gateway.node.close_channels(
        payload.pubkey.lower(), force=payload.force, sat_per_vbyte=payload.sats_per_vbyte
    )
    return structs.CloseChannelsWithPeerResponse(num_channels_closed=closed)


async def list_channels(gateway: Gateway) -> tuple[views.Channel, ...]:
    """GET `/list_channels`."""
    return await gateway.node.channels()


async def set_channel_fees(gateway: Gateway, payload: structs.SetChannelFeesRequest) -> None:
    """POST `/set_channel_fees`."""
    await gateway.node.set_channel_fees(
        payload.funding_outpoint.lower(),
        base_fee_msat=payload.base_fee_msat,
        parts_per_million=payload.parts_per_million,
    )


async def connect_peer(gateway: Gateway, payload: structs.ConnectPeerRequest) -> None:
    """POST `/connect_peer`."""
    public_key, host = parse_node_address(payload.node_address)
    await gateway.node.connect_peer(public_key, host)


async def dismiss(gateway: Gateway, payload: structs.DismissPayload) -> structs.DismissResponse:
    """POST `/dismiss`: give up on a call that was never answered."""
    stream = payload.stream.strip().lower()
    return structs.DismissResponse(stream=stream, state=await gateway.node.dismiss(stream))


async def retry(gateway: Gateway, payload: structs.DismissPayload) -> structs.DismissResponse:
    """POST `/retry`: lift the quarantine of a stream in which a mistake of this program was met."""
    stream = payload.stream.strip().lower()
    return structs.DismissResponse(stream=stream, state=await gateway.node.retry(stream))


async def replace_node(
    gateway: Gateway, payload: structs.ReplaceNodePayload
) -> views.NodeReplacement:
    """POST `/replace_node`: the operator's word that the old node is gone, or the question what that means."""
    gone = payload.gone_node.lower() if payload.gone_node is not None else None
    return await gateway.node.replace_node(gone)


def _order(payload: structs.OpenChannelRequest, *, push_sat: int) -> views.OpenChannel:
    return views.OpenChannel(
        public_key=payload.pubkey.lower(),
        host=host_with_port(payload.host),
        capacity_sat=payload.channel_size_sats,
        push_sat=push_sat,
        sat_per_vbyte=_number(payload.fee_rate_sats_per_vbyte),
        base_fee_msat=_number(payload.base_fee_msat),
        parts_per_million=_number(payload.parts_per_million),
    )


def _number(value: structs.OptionalNumber) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return int(value)


def _details(transaction: views.NodeTransaction) -> structs.PaymentDetails:
    return structs.PaymentDetails(
        payment_hash=_hex(transaction.payment_hash),
        preimage=_hex(transaction.preimage),
        payment_kind=transaction.kind,
        amount=transaction.amount_msat,
        direction=transaction.direction,
        status=transaction.status,
        timestamp_secs=transaction.unix_s,
    )


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else raw.hex()
