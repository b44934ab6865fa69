"""The limits on a gateway's fees that clients enforce (fedimint-lnv2-common src/gateway_api.rs)."""

from errors import ConfigError
from fedimint.lnv2.gateway_api import PaymentFee

#: Clients refuse a gateway that asks for more, so it must not start with more.
SEND_FEE_LIMIT = PaymentFee(100_000, 15_000)
RECEIVE_FEE_LIMIT = PaymentFee(50_000, 5_000)


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
