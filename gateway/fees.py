"""The gateway's fees: their sums, their formula, and the limits that clients enforce.

fedimint-lnv2-common src/gateway_api.rs. Every step saturates at 64 bits, as upstream's does.
"""

from errors import ConfigError
from gateway.views import PaymentFee

_U64_MAX = (1 << 64) - 1

#: Clients refuse a gateway that asks for more, so it must not start with more.
SEND_FEE_LIMIT = PaymentFee(100_000, 15_000)
RECEIVE_FEE_LIMIT = PaymentFee(50_000, 5_000)


def fee_msat(fee: PaymentFee, amount_msat: int) -> int:
    """The absolute fee on an amount."""
    product = min(amount_msat * fee.parts_per_million, _U64_MAX)
    return min(product // 1_000_000 + fee.base, _U64_MAX)


def add_to(fee: PaymentFee, amount_msat: int) -> int:
    """The amount with the fee on top: what a sender's contract must hold."""
    return min(amount_msat + fee_msat(fee, amount_msat), _U64_MAX)


def subtract_from(fee: PaymentFee, amount_msat: int) -> int:
    """The amount less the fee on it: what a receiver's contract holds."""
    return max(0, amount_msat - fee_msat(fee, amount_msat))


def check_limits(lightning: PaymentFee, transaction: PaymentFee) -> None:
    """Raises ConfigError, in upstream's words, for fees that every client would refuse."""
    if not _within(lightning + transaction, SEND_FEE_LIMIT):
        raise ConfigError(f"Total Send fees exceeded {_text(SEND_FEE_LIMIT)}")
    if not _within(transaction, RECEIVE_FEE_LIMIT):
        raise ConfigError(f"Transaction fees exceeded RECEIVE LIMIT {_text(RECEIVE_FEE_LIMIT)}")


def _within(fee: PaymentFee, limit: PaymentFee) -> bool:
    return fee.base <= limit.base and fee.parts_per_million <= limit.parts_per_million


def _text(fee: PaymentFee) -> str:
    return f"{fee.base} msat,{fee.parts_per_million}"
