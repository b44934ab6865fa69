"""What a gateway answers to an lnv2 user over HTTP, as the user reads it.

fedimint-lnv2-common src/gateway_api.rs, and as recorded from the Rust gateway 0.13.
"""

import msgspec

from errors import PeerError
from fedimint.encoding import bytes_of_integers
from fedimint.errors import DecodeError
from fedimint.wire_types import SCHNORR_SIGNATURE

_U64_MAX = (1 << 64) - 1


class PaymentFee(msgspec.Struct, frozen=True):
    """`base` in msat plus a share of the amount; every step saturates at 64 bits."""

    base: int
    parts_per_million: int

    def add_to(self, amount_msat: int) -> int:
        """Return the amount with the fee on top, msat."""
        return min(amount_msat + self._of(amount_msat), _U64_MAX)

    def subtract_from(self, amount_msat: int) -> int:
        """Return what the fee leaves of the amount, msat; 0 when it takes all."""
        return max(0, amount_msat - self._of(amount_msat))

    def _of(self, amount_msat: int) -> int:
        relative_msat = min(amount_msat * self.parts_per_million, _U64_MAX) // 1_000_000
        return min(relative_msat + self.base, _U64_MAX)


class RoutingInfo(msgspec.Struct, frozen=True):
    """The part of the answer to `/routing_info` that a user needs; deltas are in blocks."""

    lightning_public_key: str
    module_public_key: str
    send_fee_minimum: PaymentFee
    send_fee_default: PaymentFee
    expiration_delta_minimum: int
    expiration_delta_default: int
    receive_fee: PaymentFee

    def send_fee(self, payee: bytes) -> PaymentFee:
        """Return the fee for an invoice signed by `payee`; the gateway's own are swaps."""
        return self.send_fee_minimum if self._is_own(payee) else self.send_fee_default

    def expiration_delta_blocks(self, payee: bytes) -> int:
        """Return how long a contract for an invoice signed by `payee` has to last."""
        if self._is_own(payee):
            return self.expiration_delta_minimum
        return self.expiration_delta_default

    def _is_own(self, payee: bytes) -> bool:
        return payee.hex() == self.lightning_public_key


class Paid(msgspec.Struct, frozen=True, tag="paid"):
    """The gateway says it paid; 32 bytes that may be the preimage."""

    preimage: bytes

    def __repr__(self) -> str:
        return "Paid(preimage=…)"


class Forfeited(msgspec.Struct, frozen=True, tag="forfeited"):
    """The gateway gives the contract up; 64 bytes that may be its signature."""

    signature: bytes

    def __repr__(self) -> str:
        return "Forfeited(signature=…)"


class _Ok(msgspec.Struct, frozen=True):
    preimage: tuple[int, ...] = msgspec.field(name="Ok")


class _Err(msgspec.Struct, frozen=True):
    signature: str = msgspec.field(name="Err")


def parse_routing_info(json: bytes) -> RoutingInfo | None:
    """Read the answer to `/routing_info`, null for an unserved federation. Raises PeerError."""
    try:
        return msgspec.json.decode(json, type=RoutingInfo | None)
    except msgspec.DecodeError as error:
        raise PeerError(f"the gateway's routing info is malformed: {error}") from error


def parse_send_answer(json: bytes) -> Paid | Forfeited:
    """Read the success body of `/send_payment`. Raises PeerError."""
    try:
        if json.lstrip().startswith(b'{"Ok"'):
            return Paid(bytes_of_integers(msgspec.json.decode(json, type=_Ok).preimage))
        signature = msgspec.json.decode(json, type=_Err).signature
        return Forfeited(SCHNORR_SIGNATURE.decode_hex(signature))
    except (msgspec.DecodeError, DecodeError) as error:
        raise PeerError("the gateway's answer to a payment is malformed") from error
