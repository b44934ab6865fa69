"""`gateway-cli ecash`: the gateway's own funds in federations."""

from cyclopts import App

from cli.gateway_cli.amounts import amount_msat, amount_sat_or_all
from cli.gateway_cli.target import (
    PATIENT_SECONDS,
    AmountOrAll,
    BitcoinAddress,
    FederationId,
    GivenTarget,
    MaybePastedId,
    PaidAddress,
    PastedId,
    SecretWord,
    Target,
    print_answer,
    secret_text_of,
)
from cli.help_pages import add_help
from cli.numbers import WholeNumber

ecash_app = App(
    name="ecash",
    help="Move the gateway's own funds into, out of, and between federations.",
    help_formatter="plain",
    version_flags=(),
)
add_help(ecash_app, "ecash", program="cli.gateway_cli.program")


@ecash_app.command
def backup(*, federation_id: FederationId, target: GivenTarget) -> None:
    """Make sure that the mnemonic alone recovers the ecash of a federation."""
    target.call("/backup", {"federation_id": federation_id})


@ecash_app.command
def pegin(*, federation_id: FederationId, target: GivenTarget) -> None:
    """Show the bitcoin address whose coins become ecash of a federation."""
    address = target.call("/address", {"federation_id": federation_id}, timeout_s=PATIENT_SECONDS)
    print_answer({"address": address})


@ecash_app.command
def pegin_recheck(
    *, address: BitcoinAddress, federation_id: FederationId, target: GivenTarget
) -> None:
    """Look for coins at a deposit address now; they are found without this command.

    Parameters
    ----------
    address
        The deposit address.
    """
    body = {"address": address, "federation_id": federation_id}
    print_answer(target.call("/address_recheck", body))


@ecash_app.command
def pegin_from_onchain(
    *,
    federation_id: FederationId,
    amount: AmountOrAll,
    fee_rate_sats_per_vbyte: WholeNumber,
    target: GivenTarget,
) -> None:
    """Send coins of the Lightning node to a federation.

    Parameters
    ----------
    fee_rate_sats_per_vbyte
        Fee rate of the transaction.
    """
    body = {
        "federation_id": federation_id,
        "amount": amount_sat_or_all(amount),
        "fee_rate_sats_per_vbyte": fee_rate_sats_per_vbyte,
    }
    txid = target.call("/pegin_from_onchain", body, timeout_s=PATIENT_SECONDS)
    print_answer({"txid": txid})


@ecash_app.command
def pegout(
    *, federation_id: FederationId, amount: str, address: PaidAddress, target: GivenTarget
) -> None:
    """Pay ecash of a federation out to a bitcoin address.

    The answer tells in amount_sats what was understood.

    Parameters
    ----------
    amount
        How much: all, 1000 sats, or a number of msat (of satoshi for withdraw, as this was called in 2024).
    """
    pay_out(target, federation_id, amount_sat_or_all(amount), address)


def pay_out(target: Target, federation_id: str, amount: int | str, address: str) -> None:
    """Withdraw so many satoshi, or all, at the federation's fee of the moment, and show the answer."""
    asked = {"federation_id": federation_id, "amount": amount, "address": address}
    body = asked | {"quoted_fees": None}
    print_answer(target.call("/withdraw", body, timeout_s=PATIENT_SECONDS))


@ecash_app.command
def pegout_to_onchain(
    *, federation_id: FederationId, amount: AmountOrAll, target: GivenTarget
) -> None:
    """Pay ecash of a federation out to the Lightning node's own wallet.

    The answer tells in amount_sats what was understood.
    """
    body = {"federation_id": federation_id, "amount": amount_sat_or_all(amount)}
    print_answer(target.call("/withdraw_to_onchain", body, timeout_s=PATIENT_SECONDS))


@ecash_app.command
def send(amount: str, /, *, federation_id: FederationId, target: GivenTarget) -> None:
    """Take ecash out of the gateway, as text to hand over.

    Parameters
    ----------
    amount
        How much: 1000 sats, or a number of msat.
    """
    body = {"federation_id": federation_id, "amount": amount_msat(amount)}
    print_answer(target.call("/spend_ecash", body, timeout_s=PATIENT_SECONDS))


@ecash_app.command
def list_sent(
    *, federation_id: MaybePastedId = None, limit: WholeNumber = 25, target: GivenTarget
) -> None:
    """List the ecash that was taken out as text, newest first, without the texts.

    Parameters
    ----------
    federation_id
        Show only this federation's.
    limit
        How many at most.
    """
    body = {"federation_id": federation_id, "limit": limit}
    print_answer(target.call("/list_sent_ecash", body))


@ecash_app.command
def show_sent(sent_id: PastedId, /, *, target: GivenTarget) -> None:
    """Show the text of ecash that was taken out before, if its answer was lost.

    Parameters
    ----------
    sent_id
        Its id, which list-sent shows.
    """
    print_answer(target.call("/show_sent_ecash", {"id": sent_id}, timeout_s=PATIENT_SECONDS))


@ecash_app.command
def receive(*, notes: SecretWord, target: GivenTarget) -> None:
    """Receive ecash of one of the gateway's federations.

    Parameters
    ----------
    notes
        The ecash as text, or - for all of stdin, which keeps it out of the list of processes.
    """
    body = {"notes": secret_text_of(notes)}
    print_answer(target.call("/receive_ecash", body, timeout_s=PATIENT_SECONDS))
