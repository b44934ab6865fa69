"""Less frequent commands of gateway-cli about the gateway as a whole."""

import time
from typing import Annotated

from cyclopts import Parameter

from cli.gateway_cli.http import CliError
from cli.gateway_cli.target import (
    PATIENT_SECONDS,
    FederationId,
    GivenTarget,
    SecretWord,
    print_answer,
    secret_of,
)
from cli.numbers import MaybeWholeNumber, WholeNumber

_DAY_MILLIS = 24 * 60 * 60 * 1000


def seed(*, target: GivenTarget) -> None:
    """Show the mnemonic, from which every key follows."""
    print_answer(target.call("/mnemonic"))


def stop(*, target: GivenTarget) -> None:
    """Finish payments under way, then stop the gateway."""
    target.call("/stop", timeout_s=None)


def payment_log(
    *,
    federation_id: FederationId,
    end_position: MaybeWholeNumber = None,
    pagination_size: WholeNumber = 25,
    event_kinds: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    target: GivenTarget,
) -> None:
    """List payments and other events of a federation, newest first.

    Parameters
    ----------
    end_position
        Id of the newest entry to show; by default the newest there is.
    pagination_size
        How many entries to show.
    event_kinds
        Kind of entry to show; may be given more than once. By default those of payments, ecash and coins.
    """
    body = {
        "end_position": end_position,
        "pagination_size": pagination_size,
        "federation_id": federation_id,
        "event_kinds": event_kinds,
    }
    print_answer(target.call("/payment_log", body))


def payment_summary(
    *, start: MaybeWholeNumber = None, end: MaybeWholeNumber = None, target: GivenTarget
) -> None:
    """Sum up the payments of a period, by default the last 24 hours.

    Parameters
    ----------
    start
        First moment, in milliseconds since 1970.
    end
        First moment after, in milliseconds since 1970.
    """
    now_millis = time.time_ns() // 1_000_000
    body = {
        "start_millis": now_millis - _DAY_MILLIS if start is None else start,
        "end_millis": now_millis if end is None else end,
    }
    print_answer(target.call("/payment_summary", body))


def invite_codes(*, target: GivenTarget) -> None:
    """Show an invite code for each guardian of each federation."""
    print_answer(target.call("/invite_codes"))


def dismiss(stream: str, /, *, target: GivenTarget) -> None:
    """Give up on a payment or an order whose call the Lightning node never answered.

    The gateway asks node and federation first, and says why when it must go on waiting. An order without a trace can
    be dismissed after an hour, a payment once its contract has expired: then it makes no difference to the gateway's
    money any more whether the node still reads the call.

    Parameters
    ----------
    stream
        Which one, as `gateway-cli info` shows it among open_payments, such as node_order/1f….
    """
    print_answer(target.call("/dismiss", {"stream": stream}, timeout_s=PATIENT_SECONDS))


def retry(stream: str, /, *, target: GivenTarget) -> None:
    """Try again a payment or federation that was quarantined after a bug of the gateway.

    Do it after starting a version without that mistake. Should it be met again, it is quarantined again.

    Parameters
    ----------
    stream
        Which one, as `gateway-cli info` names it among the problems, such as tx/1f…-1.
    """
    print_answer(target.call("/retry", {"stream": stream}, timeout_s=PATIENT_SECONDS))


def create_password_hash(password: SecretWord | None = None, /, *, cost: WholeNumber = 12) -> None:
    """Make the bcrypt hash of a password, for gatewayd's settings.

    Parameters
    ----------
    password
        The password; without it, or as -, it is read from stdin, which keeps it out of the list of processes.
    cost
        How much work a check shall be, 4 to 31; each step doubles it.
    """
    import bcrypt  # noqa: PLC0415 - only here

    if not 4 <= cost <= 31:
        raise CliError("The cost is a number from 4 to 31", "invalid_input")
    secret = secret_of(password).encode("utf-8", "surrogateescape")
    if len(secret) > 72:
        raise CliError(
            "The password is longer than the 72 bytes that bcrypt reads", "invalid_input"
        )
    print_answer(bcrypt.hashpw(secret, bcrypt.gensalt(cost)).decode())
