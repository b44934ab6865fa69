"""`gateway-cli onchain`: the on-chain wallet of the Lightning node."""

from cyclopts import App

from cli.gateway_cli.amounts import amount_sat_or_all
from cli.gateway_cli.target import (
    PATIENT_SECONDS,
    AmountOrAll,
    GivenTarget,
    PaidAddress,
    print_answer,
)
from cli.help_pages import add_help
from cli.numbers import WholeNumber

onchain_app = App(
    name="onchain",
    help="Use the on-chain wallet of the Lightning node.",
    help_formatter="plain",
    version_flags=(),
)
add_help(onchain_app, "onchain", program="cli.gateway_cli.program")


@onchain_app.command
def address(*, target: GivenTarget) -> None:
    """Show a fresh bitcoin address of the Lightning node."""
    print_answer({"address": target.call("/get_ln_onchain_address")})


@onchain_app.command
def send(
    *,
    address: PaidAddress,
    amount: AmountOrAll,
    fee_rate_sats_per_vbyte: WholeNumber,
    target: GivenTarget,
) -> None:
    """Send coins of the Lightning node.

    Parameters
    ----------
    fee_rate_sats_per_vbyte
        Fee rate of the transaction.
    """
    body = {
        "address": address,
        "amount": amount_sat_or_all(amount),
        "fee_rate_sats_per_vbyte": fee_rate_sats_per_vbyte,
    }
    print_answer({"txid": target.call("/send_onchain", body, timeout_s=PATIENT_SECONDS)})
