"""`gateway-cli lightning`: the Lightning node."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.gateway_cli.http import CliError
from cli.gateway_cli.target import PATIENT_SECONDS, GivenTarget, PastedId, print_answer
from cli.help_pages import add_help
from cli.numbers import MaybeWholeNumber, WholeNumber

lightning_app = App(
    name="lightning",
    help="Use the Lightning node: invoices, peers, channels.",
    help_formatter="plain",
    version_flags=(),
)
add_help(lightning_app, "lightning", program="cli.gateway_cli.program")


@lightning_app.command
def create_invoice(
    amount_msats: WholeNumber,
    /,
    *,
    expiry_secs: MaybeWholeNumber = None,
    description: str | None = None,
    target: GivenTarget,
) -> None:
    """Make an invoice that pays the Lightning node itself.

    Parameters
    ----------
    amount_msats
        Amount in msat.
    expiry_secs
        For how many seconds it can be paid, by default an hour.
    description
        What the payer sees.
    """
    body = {"amount_msats": amount_msats, "expiry_secs": expiry_secs, "description": description}
    print_answer({"invoice": target.call("/create_bolt11_invoice_for_operator", body)})


@lightning_app.command
def pay_invoice(invoice: str, /, *, target: GivenTarget) -> None:
    """Pay an invoice from the Lightning node's own funds.

    Parameters
    ----------
    invoice
        BOLT11 invoice with an amount.
    """
    body = {"invoice": invoice}
    preimage = target.call("/pay_invoice_for_operator", body, timeout_s=PATIENT_SECONDS)
    print_answer({"preimage": preimage})


@lightning_app.command
def replace_node(*, old_node_is_gone: str | None = None, target: GivenTarget) -> None:
    """Replace a Lightning node that is gone for good by another one.

    A gateway whose node was changed pays and receives nothing until this was said. Without the flag it shows both
    nodes and what is given up, and changes nothing. Never say it of a node that still runs or may come back: what that
    one pays is then lost.

    Parameters
    ----------
    old_node_is_gone
        Public key of the old node, as confirmation that it is gone for good.
    """
    print_answer(target.call("/replace_node", {"gone_node": old_node_is_gone}))


@lightning_app.command
def connect_peer(*, node_address: str, target: GivenTarget) -> None:
    """Connect to another node without opening a channel.

    Parameters
    ----------
    node_address
        pubkey@host or pubkey@host:port; the port is 9735 when there is none.
    """
    target.call("/connect_peer", {"node_address": node_address}, timeout_s=PATIENT_SECONDS)


@lightning_app.command
def open_channel(
    *,
    pubkey: PastedId,
    host: str,
    channel_size_sats: WholeNumber,
    push_amount_sats: WholeNumber = 0,
    fee_rate_sats_per_vbyte: MaybeWholeNumber = None,
    base_fee_msat: MaybeWholeNumber = None,
    parts_per_million: MaybeWholeNumber = None,
    target: GivenTarget,
) -> None:
    """Open a channel with another node.

    Parameters
    ----------
    pubkey
        Public key of the node.
    host
        Where the node is: host or host:port.
    channel_size_sats
        How much to put into the channel.
    push_amount_sats
        How much of it to give to the other side; needs the admin's password.
    fee_rate_sats_per_vbyte
        Fee rate of the funding transaction; by default the node's choice.
    base_fee_msat
        Fixed fee for forwarding through this channel; by default the node's choice.
    parts_per_million
        Fee for forwarding through this channel in parts per million; by default the node's choice.
    """
    body = {
        "pubkey": pubkey,
        "host": host,
        "channel_size_sats": channel_size_sats,
        "push_amount_sats": push_amount_sats,
        "fee_rate_sats_per_vbyte": fee_rate_sats_per_vbyte,
        "base_fee_msat": base_fee_msat,
        "parts_per_million": parts_per_million,
    }
    path = "/open_channel_with_push" if push_amount_sats > 0 else "/open_channel"
    print_answer({"funding_txid": target.call(path, body, timeout_s=PATIENT_SECONDS)})


@lightning_app.command
def close_channels_with_peer(
    *,
    pubkey: PastedId,
    force: Annotated[bool, Parameter(negative="")] = False,
    sats_per_vbyte: MaybeWholeNumber = None,
    target: GivenTarget,
) -> None:
    """Close every channel with a node.

    Parameters
    ----------
    pubkey
        Public key of the node.
    force
        Close without the other side, which takes longer and costs more.
    sats_per_vbyte
        Fee rate of the closing transactions; needed unless forced.
    """
    if not force and sats_per_vbyte is None:
        raise CliError("Give --sats-per-vbyte, or close with --force", "invalid_input")
    body = {"pubkey": pubkey, "force": force, "sats_per_vbyte": sats_per_vbyte}
    print_answer(target.call("/close_channels_with_peer", body, timeout_s=PATIENT_SECONDS))


@lightning_app.command
def list_channels(*, target: GivenTarget) -> None:
    """List every channel."""
    print_answer(target.call("/list_channels"))


@lightning_app.command
def set_channel_fees(
    *,
    funding_outpoint: PastedId,
    base_fee_msat: WholeNumber,
    parts_per_million: WholeNumber,
    target: GivenTarget,
) -> None:
    """Change the fees for forwarding through a channel.

    Parameters
    ----------
    funding_outpoint
        The channel, as txid:vout.
    base_fee_msat
        Fixed fee.
    parts_per_million
        Fee in parts per million of the amount.
    """
    body = {
        "funding_outpoint": funding_outpoint,
        "base_fee_msat": base_fee_msat,
        "parts_per_million": parts_per_million,
    }
    target.call("/set_channel_fees", body)


@lightning_app.command
def list_transactions(*, start_time: str, end_time: str, target: GivenTarget) -> None:
    """List what the Lightning node has paid and received.

    Parameters
    ----------
    start_time
        First moment, such as 2025-03-14T15:30:00Z.
    end_time
        Last moment, in the same form.
    """
    body = {"start_secs": _unix_s(start_time), "end_secs": _unix_s(end_time)}
    print_answer(target.call("/list_transactions", body))


@lightning_app.command
def get_invoice(*, payment_hash: PastedId, target: GivenTarget) -> None:
    """Show an invoice of the Lightning node.

    Parameters
    ----------
    payment_hash
        Payment hash of the invoice.
    """
    print_answer(target.call("/get_invoice", {"payment_hash": payment_hash}))


@lightning_app.command
def create_offer(
    *,
    amount_msat: MaybeWholeNumber = None,
    description: str | None = None,
    expiry_secs: MaybeWholeNumber = None,
    quantity: MaybeWholeNumber = None,
    target: GivenTarget,
) -> None:
    """Make a BOLT12 offer, if the node supports them.

    Parameters
    ----------
    amount_msat
        Amount in msat; without it the payer chooses.
    description
        What the payer sees.
    expiry_secs
        For how many seconds it can be paid.
    quantity
        How many can be bought at once.
    """
    body = {
        "amount": amount_msat,
        "description": description,
        "expiry_secs": expiry_secs,
        "quantity": quantity,
    }
    print_answer(target.call("/create_bolt12_offer_for_operator", body))


@lightning_app.command
def pay_offer(
    *,
    offer: str,
    amount_msat: MaybeWholeNumber = None,
    quantity: MaybeWholeNumber = None,
    payer_note: str | None = None,
    target: GivenTarget,
) -> None:
    """Pay a BOLT12 offer, if the node supports them.

    Parameters
    ----------
    offer
        The offer.
    amount_msat
        Amount in msat, for an offer without one.
    quantity
        How many to buy.
    payer_note
        What the payee sees.
    """
    body = {
        "offer": offer,
        "amount": amount_msat,
        "quantity": quantity,
        "payer_note": payer_note,
    }
    print_answer(target.call("/pay_offer_for_operator", body, timeout_s=PATIENT_SECONDS))


for _name, _help in {
    "get-funding-address": "Same as onchain address, as a bare string.",
    "list-active-channels": "Same as list-channels, for those in use.",
    "wait-for-chain-sync": "Wait until the Lightning node has seen a block.",
}.items():
    lightning_app.command(
        f"cli.gateway_cli.older:{_name.replace('-', '_')}",
        name=_name,
        help=_help,
        group="Deprecated names",
    )


def _unix_s(text: str) -> int:
    from datetime import datetime  # noqa: PLC0415 - only here

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CliError(f"{text!r} is not a time like 2025-03-14T15:30:00Z", "invalid_input")
    if moment.timestamp() < 0:
        raise CliError(f"{text!r} is before 1970", "invalid_input")
    return int(moment.timestamp())
