"""Commands of gateway-cli under the names they had in 2024, with the output they had then."""

import time

from cli.gateway_cli.amounts import amount_sat_or_all
from cli.gateway_cli.ecash import pay_out
from cli.gateway_cli.http import CliError
from cli.gateway_cli.target import (
    PATIENT_SECONDS,
    FederationId,
    GivenTarget,
    MaybePastedId,
    PaidAddress,
    print_answer,
)
from cli.numbers import DecimalNumber, WholeNumber

_CLAIMED = "Deposits there are claimed without a command"


def balance(*, federation_id: MaybePastedId = None, target: GivenTarget) -> None:
    """Same as get-balances.

    Parameters
    ----------
    federation_id
        Show only this federation's ecash, as a number of msat.
    """
    balances = target.call("/balances")
    if federation_id is None:
        print_answer(balances)
        return
    for entry in balances["ecash_balances"]:
        if entry["federation_id"] == federation_id.lower():
            print_answer(entry["ecash_balance_msats"])
            return
    raise CliError(f"The gateway has not joined federation {federation_id}", "not_found")


def address(*, federation_id: FederationId, target: GivenTarget) -> None:
    """Same as ecash pegin, as a bare string."""
    print_answer(_deposit_address(target, federation_id))


def deposit(*, federation_id: MaybePastedId = None, target: GivenTarget) -> None:
    """Say where to send coins; they are claimed without this command.

    Parameters
    ----------
    federation_id
        Show the deposit address of this federation.
    """
    if federation_id is None:
        where = "Send coins to the address that `gateway-cli ecash pegin --federation-id ID` shows"
        print_answer({"note": f"{where}. {_CLAIMED}"})
        return
    print_answer({"address": _deposit_address(target, federation_id), "note": _CLAIMED})


def withdraw(
    *, federation_id: FederationId, amount: str, address: PaidAddress, target: GivenTarget
) -> None:
    """Same as ecash pegout, but a bare number is satoshi, as it was in 2024.

    The answer tells in amount_sats what was understood.

    Parameters
    ----------
    amount
        How much: all, 1000 sats, or a number of satoshi.
    """
    pay_out(target, federation_id, amount_sat_or_all(amount, bare="sat"), address)


def restore(invite_code: str, /, *, target: GivenTarget) -> None:
    """Same as connect-fed --recover.

    Parameters
    ----------
    invite_code
        Invite code of the federation.
    """
    body = {"invite_code": invite_code, "use_tor": None, "recover": True}
    print_answer(target.call("/connect_fed", body, timeout_s=PATIENT_SECONDS))


def get_funding_address(*, target: GivenTarget) -> None:
    """Same as onchain address, as a bare string."""
    print_answer(target.call("/get_ln_onchain_address"))


def list_active_channels(*, target: GivenTarget) -> None:
    """Same as list-channels, for those in use."""
    print_answer([channel for channel in target.call("/list_channels") if channel["is_active"]])


def wait_for_chain_sync(
    *,
    block_height: WholeNumber,
    max_retries: WholeNumber = 12,
    retry_delay_seconds: DecimalNumber = 10,
    target: GivenTarget,
) -> None:
    """Wait until the Lightning node has seen a block, and all before it.

    Parameters
    ----------
    block_height
        Height of the block.
    max_retries
        How often to ask again.
    retry_delay_seconds
        How long to wait before asking again.
    """
    for tries_left in range(max_retries, -1, -1):
        node = target.call("/info")["lightning_info"]
        seen = node["connected"] if isinstance(node, dict) else None
        if seen and seen["synced_to_chain"] and seen["block_height"] >= block_height:
            return
        if tries_left:
            time.sleep(retry_delay_seconds)
    raise CliError(f"The Lightning node has not seen block {block_height} in time", "timeout")


def _deposit_address(target: GivenTarget, federation_id: str) -> object:
    return target.call("/address", {"federation_id": federation_id}, timeout_s=PATIENT_SECONDS)
