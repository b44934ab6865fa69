"""`gateway-cli cfg`: the configuration of the gateway and of its federations."""

import json
from typing import Annotated

from cyclopts import App, Parameter

from cli.gateway_cli.amounts import amount_msat
from cli.gateway_cli.target import (
    PATIENT_SECONDS,
    GivenTarget,
    MaybePastedId,
    PastedId,
    SecretWord,
    print_answer,
    secret_text_of,
)
from cli.help_pages import add_help
from cli.numbers import MaybeWholeNumber

cfg_app = App(
    name="cfg",
    help="Show and change the configuration.",
    help_formatter="plain",
    version_flags=(),
)
add_help(cfg_app, "cfg", program="cli.gateway_cli.program")


@cfg_app.command
def client_config(*, federation_id: MaybePastedId = None, target: GivenTarget) -> None:
    """Show the client config of each federation.

    Parameters
    ----------
    federation_id
        Show only this federation's.
    """
    print_answer(target.call("/config", {"federation_id": federation_id}))


@cfg_app.command
def display(*, federation_id: MaybePastedId = None, target: GivenTarget) -> None:
    """Show what the gateway has set for each federation: fees, policies, its index.

    Parameters
    ----------
    federation_id
        Show only this federation's.
    """
    wanted = federation_id.lower() if federation_id is not None else None
    federations = target.call("/info")["federations"]
    print_answer([f["config"] for f in federations if wanted in {None, f["federation_id"]}])


@cfg_app.command
def set_fees(
    *,
    federation_id: MaybePastedId = None,
    ln_base: str | None = None,
    ln_ppm: MaybeWholeNumber = None,
    tx_base: str | None = None,
    tx_ppm: MaybeWholeNumber = None,
    target: GivenTarget,
) -> None:
    """Change fees; others stay as they are.

    Parameters
    ----------
    federation_id
        Change only this federation's.
    ln_base
        Fixed fee for routing over Lightning: 2 sats, or a number of msat.
    ln_ppm
        Fee for routing over Lightning in parts per million of the amount.
    tx_base
        Fixed fee for every payment: 2 sats, or a number of msat.
    tx_ppm
        Fee for every payment in parts per million of the amount.
    """
    body = {
        "federation_id": federation_id,
        "lightning_base": None if ln_base is None else amount_msat(ln_base),
        "lightning_parts_per_million": ln_ppm,
        "transaction_base": None if tx_base is None else amount_msat(tx_base),
        "transaction_parts_per_million": tx_ppm,
    }
    target.call("/set_fees", body)


@cfg_app.command
def set_payment_policy(
    *,
    federation_id: MaybePastedId = None,
    receive_enabled: Annotated[bool | None, Parameter(negative="")] = None,
    target: GivenTarget,
) -> None:
    """Allow or forbid payments for the clients of federations.

    Parameters
    ----------
    federation_id
        Change only this federation's.
    receive_enabled
        Whether clients may receive; false also refuses payments of invoices made before.
    """
    body = {"federation_id": federation_id, "receive_enabled": receive_enabled}
    target.call("/set_payment_policy", body)


@cfg_app.command
def set_exposure_cap(*, cap: str, federation_id: MaybePastedId = None, target: GivenTarget) -> None:
    """Cap what the gateway can lose with a federation: ecash, contracts and deposits there, and payments under way.

    A payment that would exceed it is given back to its sender at once.

    Parameters
    ----------
    cap
        An amount such as 2000000sats, a number of msat, or default.
    federation_id
        Bound only this federation's.
    """
    cap_msat = None if cap == "default" else amount_msat(cap)
    body = {"federation_id": federation_id, "cap_msat": cap_msat}
    print_answer(target.call("/set_exposure_cap", body))


@cfg_app.command
def trust_again(*, federation_id: PastedId, target: GivenTarget) -> None:
    """Trust a federation again that refused a claim, after asking its guardians why.

    Parameters
    ----------
    federation_id
        The federation.
    """
    print_answer(target.call("/trust_again", {"federation_id": federation_id}))


@cfg_app.command
def set_mnemonic(*, words: SecretWord | None = None, target: GivenTarget) -> None:
    """Give a new gateway its mnemonic, and start it.

    Parameters
    ----------
    words
        The words, or - for all of stdin, in one line or many, or what `gateway-cli seed` prints; so they stay out
        of the list of processes. Without them, new ones are made.
    """
    body = {"words": None if words is None else _words_in(secret_text_of(words))}
    target.call("/mnemonic", body, timeout_s=PATIENT_SECONDS)


def _words_in(text: str) -> str:
    """The words as they are, or out of the answer of `seed`."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text
    words = answer.get("mnemonic") if isinstance(answer, dict) else None
    return " ".join(map(str, words)) if isinstance(words, list) else text
