"""The bound of a number follows from its field's name."""

import msgspec
import pytest

from fedimint.codec.bolt11 import InvoiceFields
from fedimint.codec.wire_types import MOST_MSAT, MOST_SAT, FeeConsensus, OutPoint, TransactionId
from fedimint.mintv2 import Note
from fedimint.walletv2 import WalletOutput
from fuzz.inputs.magnitudes import check_numbers

INVOICE = InvoiceFields(
    network="regtest",
    timestamp_unix_s=0,
    payment_hash=b"",
    payment_secret=b"",
    features=1 << 900,
)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        2**64 - 1,
        Note(41, b"", b""),
        (FeeConsensus(MOST_MSAT, 2**64 - 1),),
        {3: [WalletOutput(None, MOST_SAT, 0)]},  # type: ignore[arg-type]  # no destination matters here
        OutPoint(TransactionId(b""), 2**64 - 1),
        INVOICE,
    ],
)
def test_what_there_is_passes(value: object) -> None:
    check_numbers(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (2**64, "it"),
        (-1, "it"),
        (Note(42, b"", b""), "denomination"),
        ((FeeConsensus(MOST_MSAT + 1, 0),), "base_msat"),
        ({3: [WalletOutput(None, 0, MOST_SAT + 1)]}, "fee_sat"),  # type: ignore[arg-type]  # as above
        ({2**64: "of a peer"}, "it"),
        (msgspec.structs.replace(INVOICE, expiry_s=2**64), "expiry_s"),
    ],
)
def test_what_is_more_is_named(value: object, name: str) -> None:
    with pytest.raises(AssertionError, match=f"{name} is "):
        check_numbers(value)
