"""Every decoder of foreign bytes and text refuses with our error, or returns a value that it reads back.

None may raise anything else, none may take memory out of proportion to what it was given, and no number of what it
gives is larger than there is (`magnitudes.py`).
"""

import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from errors import GatewayError
from fedimint import lnv2, mintv2, pasted
from fedimint.codec import addresses, base32, bech32, bolt11, urls
from fedimint.codec.encoding import Codec
from fedimint.codec.invite import HRP, INVITE_CODE, InviteCode
from fedimint.modules import MODULE_CODECS
from fedimint.transaction import SUBMISSION_OUTCOME, TRANSACTION
from fuzz.inputs import strategies
from fuzz.inputs.magnitudes import check_numbers
from fuzz.inputs.mutations import hostile

#: Bytes of memory for each byte of input, and those that every call may take.
MEMORY_PER_BYTE, MEMORY_AT_LEAST = 400, 1_000_000


class Decoder(NamedTuple):
    """`decode` may raise errors of ours; `encode` gives what it must read as the same value again, if it is written.

    A value that `holds_urls` keeps them as they stand, and they are written in the form of `urls.safe_url`: what is
    read again must then be written the same.
    """

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes] | None
    inputs: st.SearchStrategy[bytes]
    holds_urls: bool = False


def check(decoder: Decoder, data: bytes) -> None:
    """Decode, and read back what was understood. Raises AssertionError, or whatever the decoder must not raise."""
    try:
        value, peak_bytes = _measured(decoder, data)
    except GatewayError:
        return
    assert peak_bytes <= MEMORY_AT_LEAST + MEMORY_PER_BYTE * len(data), (
        f"{peak_bytes} bytes of memory"
    )
    check_numbers(value)
    if decoder.encode is not None:
        written = decoder.encode(value)
        again = decoder.decode(written)
        is_same = decoder.encode(again) == written if decoder.holds_urls else again == value
        assert is_same, "it is not read back as the same value"


def _measured(decoder: Decoder, data: bytes) -> tuple[Any, int]:
    began_here = not tracemalloc.is_tracing()
    if began_here:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        value = decoder.decode(data)
        return value, tracemalloc.get_traced_memory()[1] - before
    finally:
        if began_here:
            tracemalloc.stop()


def _of_codec(codec: Codec[Any], values: st.SearchStrategy[Any] | None = None) -> Decoder:
    good = st.binary(max_size=300) if values is None else values.map(codec.encode)
    return Decoder(codec.decode, codec.encode, hostile(good))


def _of_text(
    parse: Callable[[str], Any],
    text_of: Callable[[Any], str] | None,
    inputs: st.SearchStrategy[bytes],
    *,
    holds_urls: bool = False,
) -> Decoder:
    def decode(data: bytes) -> Any:
        return parse(data.decode(errors="replace"))

    encode = None if text_of is None else lambda value: text_of(value).encode()
    return Decoder(decode, encode, inputs, holds_urls)


def _texts(good: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    return hostile(good.map(str.encode))


def _ecash_texts() -> st.SearchStrategy[bytes]:
    """Broken inside, under a form that is right, and broken outside."""
    inside = hostile(strategies.ecash().map(mintv2.ECASH.encode))
    return inside.map(lambda data: base32.encode_prefixed(data).encode()) | _texts(
        strategies.ecash().map(mintv2.Ecash.to_text)
    )


def _invite_texts() -> st.SearchStrategy[bytes]:
    inside = hostile(strategies.invites().map(INVITE_CODE.encode))
    return (
        inside.map(lambda data: bech32.encode(HRP, bech32.to_words(data), "bech32m").encode())
        | inside.map(lambda data: base32.encode_prefixed(data).encode())
        | _texts(strategies.invites().map(InviteCode.to_text))
    )


@st.composite
def _invoice_texts(draw: st.DrawFn) -> bytes:
    """Invoices whose fields are edited under a checksum that is right; payees that sign nonsense are real."""
    text = draw(strategies.invoices()).text
    hrp, words, _ = bech32.decode(text)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(words) - 1))
        words[place : place + draw(st.integers(0, 2))] = draw(
            st.lists(st.integers(0, 31), max_size=3)
        )
    hrp = draw(
        st.sampled_from([hrp, "lnbc", "lnbc1", "lnbc99999999999999999999m", "lnbcrt3p", "lntb1u"])
    )
    return bech32.encode(hrp, words, "bech32").encode()


def _address_texts() -> st.SearchStrategy[bytes]:
    segwit = st.builds(
        bech32.encode_segwit,
        st.sampled_from(["bc", "tb", "bcrt", "xy"]),
        st.integers(0, 16),
        st.binary(min_size=2, max_size=40),
    )
    return _texts(
        segwit | st.sampled_from(["1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "2N", "1", "3" * 90])
    )


def _pasted(good: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """In URIs with parameters of all kinds, then broken."""
    uri = st.builds(
        "{}{}{}".format,
        st.sampled_from(
            ["", " ", "lightning:", "LIGHTNING://", "bitcoin:", "fedimint:", "bitcoin:?lightning="]
        ),
        good,
        st.sampled_from(
            [
                "",
                "\n",
                "?amount=0.001",
                "?amount=1&amount=2",
                "?req-x=1",
                "?lightning=%6cnbc1",
                "?amount=.",
                "&=",
                "@x",
            ]
        ),
    )
    return _texts(uri)


DECODERS: Mapping[str, Decoder] = {
    "transaction": _of_codec(TRANSACTION, strategies.transactions()),
    "submission outcome": _of_codec(SUBMISSION_OUTCOME),
    "outgoing contract": _of_codec(lnv2.OUTGOING_CONTRACT, strategies.OUTGOING_CONTRACTS),
    "incoming contract": _of_codec(lnv2.INCOMING_CONTRACT, strategies.INCOMING_CONTRACTS),
    "recovery items": _of_codec(mintv2.RECOVERY_ITEMS),
    "ecash": _of_text(mintv2.Ecash.parse, mintv2.Ecash.to_text, _ecash_texts(), holds_urls=True),
    "invite": _of_text(InviteCode.parse, InviteCode.to_base32, _invite_texts(), holds_urls=True),
    "invoice": _of_text(
        bolt11.decode,
        lambda invoice: invoice.text,
        _invoice_texts() | _texts(strategies.invoices().map(lambda invoice: invoice.text)),
    ),
    "address": _of_text(addresses.parse_address, None, _address_texts()),
    "pasted invoice": _of_text(
        pasted.invoice,
        lambda invoice: invoice.text,
        _pasted(strategies.invoices().map(lambda invoice: invoice.text)),
    ),
    "pasted address": _of_text(
        pasted.address,
        None,
        _pasted(st.sampled_from(["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", ""])),
    ),
    "pasted invite": _of_text(
        pasted.invite_code,
        InviteCode.to_base32,
        _pasted(strategies.invites().map(InviteCode.to_text)),
        holds_urls=True,
    ),
    "pasted ecash": _of_text(
        pasted.ecash,
        mintv2.Ecash.to_text,
        _pasted(strategies.ecash().map(mintv2.Ecash.to_text)),
        holds_urls=True,
    ),
    "url": _of_text(urls.safe_url, None, _texts(strategies.URLS)),
    **{
        f"{kind} {name}": _of_codec(getattr(codecs, name))
        for kind, codecs in MODULE_CODECS.items()
        for name in ("input", "output", "output_outcome", "input_error", "output_error")
    },
    "lnv2 input of use": _of_codec(lnv2.INPUT, strategies.LNV2_INPUTS),
    "lnv2 output of use": _of_codec(lnv2.OUTPUT, strategies.LNV2_OUTPUTS),
    "mintv2 input of use": _of_codec(mintv2.INPUT, strategies.MINTV2_INPUTS),
    "mintv2 output of use": _of_codec(mintv2.OUTPUT, strategies.MINTV2_OUTPUTS),
}
