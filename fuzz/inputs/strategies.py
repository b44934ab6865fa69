"""Values of the protocol as Hypothesis strategies: keys, invoices, contracts, ecash, invites, transactions, JSON.

Everything is well formed on the wire; whether it is honest (a ciphertext that decrypts, a contract that is funded) is
another question, which the machines answer. Secrets are drawn from the same source, so a run is a function of its seed.
"""

from hypothesis import strategies as st

from fedimint import lnv2, mintv2
from fedimint.codec import bolt11, secp
from fedimint.codec.encoding import UnknownVariant
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import (
    LARGEST_DENOMINATION,
    MOST_MSAT,
    FederationId,
    Network,
    OutPoint,
    PeerId,
    TransactionId,
)
from fedimint.transaction import DynItem, NaiveMultisig, Transaction, TransactionSignature

U64_MAX = 2**64 - 1
#: What BOLT 11 can write: msat are a tenth of its smallest unit.
INVOICE_MSAT_MAX = U64_MAX // 10
HASHES = st.binary(min_size=32, max_size=32)
SECRET_KEYS = st.integers(1, secp.GROUP_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
PUBLIC_KEYS = SECRET_KEYS.map(lambda secret: secp.public_key(secp.decode_secret(secret)))
G1_BYTES = st.binary(min_size=48, max_size=48)
G2_BYTES = st.binary(min_size=96, max_size=96)
SIGNATURES = st.binary(min_size=64, max_size=64)
#: Amounts where comparisons turn, besides any.
AMOUNTS_MSAT = st.sampled_from(
    [0, 1, 999, 1_000, 2**53, MOST_MSAT, MOST_MSAT + 1, U64_MAX]
) | st.integers(0, MOST_MSAT)
DENOMINATIONS = st.integers(0, LARGEST_DENOMINATION) | st.sampled_from([42, 62, 255])
TIMES_UNIX_S = st.sampled_from([0, 1, 2**32, U64_MAX]) | st.integers(0, 2**35 - 1)
NETWORKS: st.SearchStrategy[Network] = st.sampled_from(["bitcoin", "testnet", "signet", "regtest"])
FEDERATION_IDS = HASHES.map(FederationId)
OUT_POINTS = st.builds(OutPoint, HASHES.map(TransactionId), st.integers(0, U64_MAX))
UNKNOWN_VARIANTS = st.builds(UnknownVariant, st.integers(5, 300), st.binary(max_size=64))

_SHORT_IDS = st.integers(0, U64_MAX)
_ROUTE_HOPS = st.builds(
    bolt11.RouteHop,
    PUBLIC_KEYS,
    _SHORT_IDS,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
)


@st.composite
def invoices(draw: st.DrawFn) -> bolt11.Bolt11Invoice:
    """Signed invoices, with and without amount, description, route hints and fallbacks (BOLT 11)."""
    description = draw(st.none() | st.text(max_size=100))
    fields = bolt11.InvoiceFields(
        network=draw(NETWORKS),
        amount_msat=draw(st.none() | st.integers(1, INVOICE_MSAT_MAX)),
        timestamp_unix_s=draw(st.integers(0, 2**35 - 1)),
        payment_hash=draw(HASHES),
        payment_secret=draw(HASHES),
        description=description,
        description_hash=draw(HASHES) if description is None else None,
        expiry_s=draw(st.integers(0, U64_MAX)),
        min_final_cltv_delta_blocks=draw(st.integers(0, 2_000)),
        features=bolt11.PAYMENT_SECRET_REQUIRED,
        route_hints=draw(
            st.lists(st.lists(_ROUTE_HOPS, max_size=3).map(tuple), max_size=2).map(tuple)
        ),
        fallbacks=(),
        metadata=draw(st.none() | st.binary(max_size=40)),
    )
    return bolt11.sign(fields, draw(SECRET_KEYS))


PAYMENT_IMAGES: st.SearchStrategy[lnv2.PaymentImage] = st.builds(
    lnv2.HashImage, HASHES
) | st.builds(lnv2.PointImage, PUBLIC_KEYS)
OUTGOING_CONTRACTS = st.builds(
    lnv2.OutgoingContract,
    PAYMENT_IMAGES,
    AMOUNTS_MSAT,
    st.integers(0, U64_MAX),
    PUBLIC_KEYS,
    PUBLIC_KEYS,
    PUBLIC_KEYS,
)
COMMITMENTS = st.builds(
    lnv2.Commitment,
    payment_image=PAYMENT_IMAGES,
    amount_msat=AMOUNTS_MSAT,
    expiration_unix_s=TIMES_UNIX_S,
    claim_pk=PUBLIC_KEYS,
    refund_pk=PUBLIC_KEYS,
    ephemeral_pk=PUBLIC_KEYS,
)
CIPHER_TEXTS = st.builds(lnv2.CipherText, HASHES, G1_BYTES, G2_BYTES)
INCOMING_CONTRACTS = st.builds(lnv2.IncomingContract, COMMITMENTS, CIPHER_TEXTS)
WITNESSES: st.SearchStrategy[lnv2.OutgoingWitness] = st.one_of(
    st.builds(lnv2.Claim, HASHES), st.builds(lnv2.Refund), st.builds(lnv2.Cancel, SIGNATURES)
)
LNV2_INPUTS: st.SearchStrategy[lnv2.Input] = (
    st.builds(lnv2.InputV0, st.builds(lnv2.OutgoingInput, OUT_POINTS, WITNESSES))
    | st.builds(lnv2.InputV0, st.builds(lnv2.IncomingInput, OUT_POINTS, G1_BYTES))
    | UNKNOWN_VARIANTS
)
LNV2_OUTPUTS: st.SearchStrategy[lnv2.Output] = (
    st.builds(lnv2.OutputV0, st.builds(lnv2.OutgoingOutput, OUTGOING_CONTRACTS))
    | st.builds(lnv2.OutputV0, st.builds(lnv2.IncomingOutput, INCOMING_CONTRACTS))
    | UNKNOWN_VARIANTS
)

SPENDABLE_NOTES = st.builds(mintv2.SpendableNote, DENOMINATIONS, SECRET_KEYS, G1_BYTES)
MINTV2_INPUTS: st.SearchStrategy[mintv2.Input] = (
    st.builds(mintv2.MintInput, st.builds(mintv2.Note, DENOMINATIONS, PUBLIC_KEYS, G1_BYTES))
    | UNKNOWN_VARIANTS
)
MINTV2_OUTPUTS: st.SearchStrategy[mintv2.Output] = (
    st.builds(mintv2.MintOutput, DENOMINATIONS, G1_BYTES, st.binary(min_size=16, max_size=16))
    | UNKNOWN_VARIANTS
)
URLS = st.sampled_from(
    ["ws://127.0.0.1:18174/", "wss://guardian.example/", "http://[::1]/v1", "iroh://ab", "x:"]
)


@st.composite
def ecash(draw: st.DrawFn) -> mintv2.Ecash:
    """Texts of notes, of no note too, some with fields that nobody knows yet."""
    notes = tuple(draw(st.lists(SPENDABLE_NOTES, max_size=5)))
    known = mintv2.Ecash.of(draw(FEDERATION_IDS), notes)
    return mintv2.Ecash((*known.fields, *draw(st.lists(UNKNOWN_VARIANTS, max_size=2))))


@st.composite
def invites(draw: st.DrawFn) -> InviteCode:
    """Codes of one to four guardians, some with a secret for their API."""
    apis = {PeerId(peer): draw(URLS) for peer in range(draw(st.integers(1, 4)))}
    return InviteCode.of(apis, draw(FEDERATION_IDS), draw(st.none() | st.text(max_size=20)))


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    """Transactions of lnv2 (instance 0) and mintv2 (instance 1) items, and of items that are just bytes."""
    inputs = st.one_of(
        LNV2_INPUTS.map(lambda item: DynItem(0, lnv2.INPUT.encode(item))),
        MINTV2_INPUTS.map(lambda item: DynItem(1, mintv2.INPUT.encode(item))),
        st.builds(DynItem, st.integers(0, U64_MAX), st.binary(max_size=64)),
    )
    outputs = st.one_of(
        LNV2_OUTPUTS.map(lambda item: DynItem(0, lnv2.OUTPUT.encode(item))),
        MINTV2_OUTPUTS.map(lambda item: DynItem(1, mintv2.OUTPUT.encode(item))),
        st.builds(DynItem, st.integers(0, U64_MAX), st.binary(max_size=64)),
    )
    signed: st.SearchStrategy[TransactionSignature] = (
        st.lists(SIGNATURES, max_size=4).map(tuple).map(NaiveMultisig) | UNKNOWN_VARIANTS
    )
    return Transaction(
        inputs=tuple(draw(st.lists(inputs, max_size=4))),
        outputs=tuple(draw(st.lists(outputs, max_size=4))),
        nonce=draw(st.binary(min_size=8, max_size=8)),
        signatures=draw(signed),
    )


#: JSON builtins, of the kinds and sizes that programs stumble over.
JSON_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 2**53, 2**63, U64_MAX, 2**64]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.binary(max_size=48).map(bytes.hex),
)
JSON_VALUES = st.recursive(
    JSON_LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
