"""Requests and responses about the gateway's own ecash and bitcoin, as Rust 0.13 writes them.

Sources: fedimint-gateway-common/src/lib.rs, `PegOutFees` of fedimint-wallet-common/src/lib.rs and
`BitcoinAmountOrAll` of fedimint-core/src/lib.rs.
"""

from typing import Annotated

import msgspec

from api.structs import SatsPerVbyte
from fedimint.codec.json_types import Hash256Hex, Msats, Satoshis, Unsigned

# As a number or as text, or the word "all".
AmountOrAll = Satoshis | Annotated[str, msgspec.Meta(pattern="^([aA][lL][lL]|[0-9]{1,15})\\Z")]
# As it was pasted, perhaps a `bitcoin:` URI with an invoice in it. It is looked at where it is used.
BitcoinAddress = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


class Feerate(msgspec.Struct, frozen=True):
    """Satoshi for 1,000 virtual bytes."""

    sats_per_kvb: Unsigned


class PegOutFees(msgspec.Struct, frozen=True):
    """An on-chain fee as rate times weight: `sats_per_kvb * ceil(total_weight / 4) / 1000` satoshi."""

    fee_rate: Feerate
    total_weight: Unsigned


class AddressRecheckPayload(msgspec.Struct, frozen=True):
    """Body of POST `/address_recheck`."""

    address: BitcoinAddress
    federation_id: Hash256Hex


class AddressRecheckResponse(msgspec.Struct, frozen=True):
    """Written as `{}`."""


class WithdrawPayload(msgspec.Struct, frozen=True):
    """Body of POST `/withdraw`; `quoted_fees` are those that were shown to the operator."""

    federation_id: Hash256Hex
    amount: AmountOrAll
    address: BitcoinAddress
    quoted_fees: PegOutFees | None = None


class WithdrawToOnchainPayload(msgspec.Struct, frozen=True):
    """Body of POST `/withdraw_to_onchain`: to the Lightning node's own wallet."""

    federation_id: Hash256Hex
    amount: AmountOrAll


class WithdrawResponse(msgspec.Struct, frozen=True):
    """Answer of both; the txid as wallets write it. `amount_sats` is ours alone: what was understood, and is paid."""

    txid: str
    fees: PegOutFees
    amount_sats: int


class PeginFromOnchainPayload(msgspec.Struct, frozen=True):
    """Body of POST `/pegin_from_onchain`; the answer is the txid as a string."""

    federation_id: Hash256Hex
    amount: AmountOrAll
    fee_rate_sats_per_vbyte: SatsPerVbyte


class SpendEcashPayload(msgspec.Struct, frozen=True):
    """Body of POST `/spend_ecash`; `amount` in msat."""

    federation_id: Hash256Hex
    amount: Msats


class SpendEcashResponse(msgspec.Struct, frozen=True):
    """Ecash as text, which every holder can spend."""

    notes: str

    def __repr__(self) -> str:
        return "SpendEcashResponse(…)"


class ListSentEcashPayload(msgspec.Struct, frozen=True):
    """Body of POST `/list_sent_ecash`, which Rust does not have; None means every federation."""

    federation_id: Hash256Hex | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 25


class ShowSentEcashPayload(msgspec.Struct, frozen=True):
    """Body of POST `/show_sent_ecash`, which Rust does not have. Its answer is that of `/spend_ecash`."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{32}\\Z")]
