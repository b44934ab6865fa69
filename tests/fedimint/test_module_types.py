"""Types of the modules that no recorded session shows, and what decoders do with hostile bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedimint import ln, lnv2, mint, mintv2, wallet, walletv2
from fedimint.codec import secp
from fedimint.codec.bitcoin import (
    BITCOIN_TRANSACTION,
    BitcoinOutPoint,
    BitcoinTransaction,
    PartialMerkleTree,
    TxIn,
    TxOut,
    display_hash,
)
from fedimint.codec.encoding import Codec, UnknownVariant
from fedimint.codec.errors import DecodeError
from fedimint.codec.invite import INVITE_CODE
from fedimint.codec.wire_types import ContractId, ModuleError, OutPoint, TransactionId
from fedimint.modules import CONFIG_CODECS, MODULE_CODECS
from fedimint.transaction import SUBMISSION_OUTCOME, TRANSACTION

KEY = secp.public_key(b"\x07" * 32)
HASH = bytes(range(32))
IMAGE = lnv2.HashImage(HASH)
OUT_POINT = OutPoint(TransactionId(HASH), 300)
SEGWIT = BitcoinTransaction(
    2,
    (TxIn(BitcoinOutPoint(HASH, 1), b"", 0xFFFFFFFD, (b"\x30" * 71, KEY)),),
    (TxOut(5_000_000_000, b"\x00\x14" + bytes(20)), TxOut(0, b"\x6a" * 300)),
    500_000,
)
OUT_OF_RANGE = ModuleError("OutputIndexOutOfRange", (1, 2))
CIPHERTEXT = ln.EncryptedPreimage(bytes(48), bytes(96), bytes(33))

SAMPLES: list[tuple[Codec[Any], Any]] = [
    (lnv2.INPUT, lnv2.InputV0(lnv2.OutgoingInput(OUT_POINT, lnv2.Refund()))),
    (lnv2.INPUT, lnv2.InputV0(lnv2.OutgoingInput(OUT_POINT, lnv2.Cancel(bytes(64))))),
    (lnv2.INPUT, lnv2.InputV0(lnv2.IncomingInput(OUT_POINT, bytes(48)))),
    (lnv2.OUTPUT, UnknownVariant(4, b"later")),
    (lnv2.PAYMENT_IMAGE, lnv2.PointImage(KEY)),
    (lnv2.OUTPUT_OUTCOME, lnv2.OutputOutcome()),
    (mintv2.INPUT, mintv2.MintInput(mintv2.Note(41, KEY, bytes(48)))),
    (mintv2.OUTPUT, mintv2.MintOutput(9, bytes(48), bytes(16))),
    (mintv2.OUTPUT_OUTCOME, mintv2.OutputOutcome()),
    (mint.INPUT, mint.MintInput(1024, mint.Note(KEY, bytes(48)))),
    (mint.OUTPUT_OUTCOME, mint.OutputOutcomeV0(bytes(48))),
    (walletv2.INPUT, walletv2.WalletInput(300, KEY, 192)),
    (walletv2.OUTPUT, walletv2.WalletOutput(walletv2.P2tr(KEY[1:]), 10_000, 166)),
    (walletv2.OUTPUT, walletv2.WalletOutput(UnknownVariant(5, b"?"), 10_000, 166)),
    (
        wallet.INPUT,
        wallet.PegInProof(bytes(80), PartialMerkleTree(1, (HASH,), b"\x01"), SEGWIT, 1, KEY),
    ),
    (wallet.INPUT, wallet.PegIn(BitcoinOutPoint(HASH, 1), KEY, SEGWIT.outputs[0])),
    (
        wallet.OUTPUT,
        wallet.OutputV0(
            wallet.PegOut(wallet.Address("testnet", b"\x51"), 5, wallet.PegOutFees(1000, 565))
        ),
    ),
    (wallet.OUTPUT, wallet.OutputV0(wallet.Rbf(wallet.PegOutFees(1000, 565), HASH))),
    (wallet.OUTPUT_OUTCOME, wallet.OutputOutcomeV0(HASH)),
    (ln.INPUT, ln.LightningInput(ContractId(HASH), 5, None)),
    (ln.OUTPUT, ln.OutputV0(ln.Offer(5, HASH, CIPHERTEXT, 1_700_000_000))),
    (
        ln.OUTPUT_OUTCOME,
        ln.OutputOutcomeV0(
            ln.ContractOutcome(ContractId(HASH), ln.IncomingOutcome(ln.PreimageKey(KEY)))
        ),
    ),
    (
        ln.OUTPUT_OUTCOME,
        ln.OutputOutcomeV0(ln.ContractOutcome(ContractId(HASH), ln.OutgoingOutcome())),
    ),
    (ln.OUTPUT_OUTCOME, ln.OutputOutcomeV0(ln.OfferOutcome(HASH))),
    (ln.OUTPUT_OUTCOME, ln.OutputOutcomeV0(ln.CancelOutcome(ContractId(HASH)))),
    (ln.CONTRACT, ln.IncomingContract(HASH, CIPHERTEXT, ln.Invalid(), KEY)),
]


@pytest.mark.parametrize(("codec", "value"), SAMPLES)
def test_values_read_back(codec: Codec[Any], value: Any) -> None:
    assert codec.decode(codec.encode(value)) == value


def test_forms_without_a_recording() -> None:
    refund = lnv2.InputV0(lnv2.OutgoingInput(OUT_POINT, lnv2.Refund()))
    assert lnv2.INPUT.encode(refund).hex() == "0027" + "0025" + HASH.hex() + "fd012c" + "0100"
    output = walletv2.WalletOutput(walletv2.P2wpkh(bytes(20)), 10_000, 166)
    assert walletv2.OUTPUT.encode(output).hex() == "001a" + "0214" + "00" * 20 + "fd2710" + "a6"
    peg_out = wallet.PegOut(wallet.Address("regtest", b"\x51"), 5, wallet.PegOutFees(1000, 565))
    expected = "0010" + "000e" + "fedab5bffa" + "0151" + "05" + "fd03e8" + "fd0235"
    assert wallet.OUTPUT.encode(wallet.OutputV0(peg_out)).hex() == expected
    assert wallet.OutputV0(peg_out).amount_msat() == (5 + 142) * 1000


@pytest.mark.parametrize(
    ("codec", "error", "text"),
    [
        (mintv2.INPUT_ERROR, ModuleError("SpentCoin"), "0100"),
        (mint.INPUT_ERROR, ModuleError("InvalidAmountTier", (300,)), "0103fd012c"),
        (wallet.INPUT_ERROR, ModuleError("PegInProofError", (OUT_OF_RANGE,)), "010402020102"),
        (wallet.OUTPUT_ERROR, ModuleError("WrongNetwork", ("regtest", "regtest")), "000afedab5bffafedab5bffa"),
        (ln.OUTPUT_ERROR, ModuleError("NoOffer", (HASH,)), "0520" + HASH.hex()),
        (lnv2.INPUT_ERROR, ModuleError("UnknownInputVariant", (7,)), "000107"),
  ],
)  # fmt: skip
def test_module_errors(codec: Codec[ModuleError], error: ModuleError, text: str) -> None:
    assert codec.encode(error).hex() == text
    assert codec.decode_hex(text) == error
    assert str(error).startswith(error.name)


def test_a_bitcoin_transaction_in_both_forms() -> None:
    # The first payment on chain, block 170, without witness.
    text = (
        "0100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd3704000000004847304402"
        "204e45e16932b8af514961a1d3a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd410220181522ec8eca07de4860a4"
        "acdd12909d831cc56cbbac4622082221a8768d1d0901ffffffff0200ca9a3b00000000434104ae1a62fe09c5f51b"
        "13905f07f06b99a2f7159b2225f374cd378d71302fa28414e7aab37397f554a7df5f142c21c1b7303b8a0626f1ba"
        "ded5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb8a016b49840f8c53bc1eb68a382e97b1482e"
        "cad7b148a6909a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643f656b412a3ac00000000"
    )
    transaction = BITCOIN_TRANSACTION.decode_hex(text)
    assert BITCOIN_TRANSACTION.encode(transaction).hex() == text
    txid = "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"
    assert display_hash(transaction.txid()) == txid
    bare = BitcoinTransaction(
        SEGWIT.version, (TxIn(BitcoinOutPoint(HASH, 1), b"", 0xFFFFFFFD),), SEGWIT.outputs, 500_000
    )
    assert bare.txid() == SEGWIT.txid()
    assert BITCOIN_TRANSACTION.encode(bare) != BITCOIN_TRANSACTION.encode(SEGWIT)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (walletv2.P2pkh(bytes(20)), "76a914" + "00" * 20 + "88ac"),
        (walletv2.P2sh(bytes(20)), "a914" + "00" * 20 + "87"),
        (walletv2.P2wpkh(bytes(20)), "0014" + "00" * 20),
        (walletv2.P2wsh(bytes(32)), "0020" + "00" * 32),
        (walletv2.P2tr(KEY[1:]), "5120" + KEY[1:].hex()),
    ],
)
def test_standard_scripts(script: walletv2.StandardScript, text: str) -> None:
    assert walletv2.script_pubkey(script) == bytes.fromhex(text)
    assert walletv2.standard_script(bytes.fromhex(text)) == script
    assert walletv2.standard_script(bytes.fromhex(text) + b"\x00") is None


@pytest.mark.parametrize("key", [bytes(33), b"\x05" + HASH, b"\x02" + b"\xff" * 32])
def test_keys_off_the_curve_are_refused(key: bytes) -> None:
    image = lnv2.PAYMENT_IMAGE.encode(lnv2.PointImage(key))
    with pytest.raises(DecodeError, match=r"PointImage\.point"):
        lnv2.PAYMENT_IMAGE.decode(image)


DECODERS: dict[str, Codec[Any]] = {
    **{
        f"{kind} {name}": getattr(codecs, name)
        for kind, codecs in MODULE_CODECS.items()
        for name in ("input", "output", "output_outcome", "input_error", "output_error")
    },
    **{f"{kind} config": codec for kind, codec in CONFIG_CODECS.items()},
    "transaction": TRANSACTION,
    "outcome": SUBMISSION_OUTCOME,
    "invite": INVITE_CODE,
    "ecash": mintv2.ECASH,
    "notes": mint.OOB_NOTES,
}


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=120))
def test_random_bytes_raise_our_error_or_read_back(name: str, data: bytes) -> None:
    codec = DECODERS[name]
    try:
        value = codec.decode(data)
    except DecodeError:
        return
    assert codec.decode(codec.encode(value)) == value


@given(st.data())
def test_mutated_values_raise_our_error_or_are_written_back(data: st.DataObject) -> None:
    codec, value = data.draw(st.sampled_from(SAMPLES))
    encoded = bytearray(codec.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        if encoded:
            position = data.draw(st.integers(0, len(encoded) - 1))
            encoded[position] = data.draw(st.integers(0, 255))
    mutated = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    try:
        read = codec.decode(mutated)
    except DecodeError:
        return
    assert codec.encode(read) == mutated
