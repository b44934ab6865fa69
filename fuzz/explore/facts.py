"""The one payment that is explored: its contracts, invoice, amounts and deadlines."""

import hashlib
from functools import cache

from devnet.users.receiving import IncomingOrder, IncomingPayment, Receiver
from engine.fold import Machines
from fedimint import lnv2
from fedimint.codec import bolt11, secp
from fedimint.codec.wire_types import FeeConsensus
from fedimint.crypto import bls
from fedimint.crypto.secrets import DerivableSecret, lnv2_gateway_secret
from fedimint.lnv2 import HashImage, OutgoingContract
from fedimint.lnv2.gateway_api import PaymentFee, RoutingInfo
from fuzz.explore.world import RECEIVERS, SENDERS
from gateway.modules.module import ModuleKey
from statemachines import ALL_MACHINES
from statemachines.federation import FederationFacts, Fee
from statemachines.items import HeldNote
from statemachines.receive import ReceiveFacts
from statemachines.reserving import FederationFees
from statemachines.send import SendFacts

MACHINES = Machines(ALL_MACHINES)
#: Amounts that bring few notes of change, so that states stay small.
NOTE_DENOMINATION = 20
CONTRACT_MSAT = (1 << NOTE_DENOMINATION) - 100 - 1_000 - (512 + 100)
INVOICE_MSAT = CONTRACT_MSAT + 20_000
SENT_MSAT = (1 << NOTE_DENOMINATION) + (1 << 16) + 200 + 1_000
FEES = FederationFees(lnv2=FeeConsensus(1_000, 0), mintv2=FeeConsensus(100, 0))
MADE_UNIX_S = 10_000
INVOICE_EXPIRES_UNIX_S = 20_000
#: As of receivers who wait without limit (LNURL).
NEVER_UNIX_S = (1 << 53) - 1
#: The height by which our node must have settled the HTLC.
HTLC_DEADLINE_HEIGHT = 1_144
#: From this count of blocks on the sender may take the contract back.
CONTRACT_ENDS_BLOCK = 2_000
#: Of the gateway in the federation's lnv2 module.
LIGHTNING_KEY = ModuleKey(1, DerivableSecret(b"\x11" * 64))
GATEWAY_KEY = secp.public_key(lnv2_gateway_secret(LIGHTNING_KEY.secret))
#: Of the gateway's node, which makes the invoice that is received; the receiver of a send has the same.
NODE_SECRET = b"\x12" * 32
NODE_KEY = secp.public_key(secp.decode_secret(NODE_SECRET)).hex()
SENT_TXID = "5e" * 32


@cache
def incoming() -> IncomingPayment:
    """The receiver's contract as a client makes it."""
    aggregate_key = bls.encode_g1(bls.g1_generator() * bls.random_scalar(b"\x13" * 32))
    free, fee = PaymentFee(0, 0), PaymentFee(INVOICE_MSAT - CONTRACT_MSAT, 0)
    routing = RoutingInfo(
        lightning_public_key="02" * 33,
        lightning_alias="",
        module_public_key=GATEWAY_KEY.hex(),
        send_fee_minimum=free,
        send_fee_default=free,
        expiration_delta_minimum=144,
        expiration_delta_default=1_440,
        receive_fee=fee,
        receive_enabled=True,
    )
    order = IncomingOrder(INVOICE_MSAT, MADE_UNIX_S)
    return Receiver(aggregate_key, b"\x14" * 32).incoming(order, routing, b"\x15" * 32)


def preimage() -> bytes:
    """Of the one payment hash."""
    return incoming().preimage


def payment_hash() -> bytes:
    return hashlib.sha256(preimage()).digest()


@cache
def invoice() -> str:
    """BOLT 11, by the node to be paid."""
    fields = bolt11.InvoiceFields(
        network="regtest",
        amount_msat=INVOICE_MSAT,
        timestamp_unix_s=MADE_UNIX_S,
        payment_hash=payment_hash(),
        payment_secret=bytes(32),
        description="coffee",
        expiry_s=INVOICE_EXPIRES_UNIX_S - MADE_UNIX_S,
    )
    return bolt11.sign(fields, NODE_SECRET).text


def received(contract_expires_unix_s: int) -> ReceiveFacts:
    """What the receiver agreed with the gateway."""
    contract = incoming().contract
    return ReceiveFacts(
        federation_id=RECEIVERS,
        contract_id=contract.contract_id().hex(),
        contract=lnv2.INCOMING_CONTRACT.encode(contract).hex(),
        payment_hash=payment_hash().hex(),
        invoice_msat=INVOICE_MSAT,
        contract_msat=CONTRACT_MSAT,
        contract_expires_unix_s=contract_expires_unix_s,
        invoice_expires_unix_s=INVOICE_EXPIRES_UNIX_S,
        expiry_s=INVOICE_EXPIRES_UNIX_S - MADE_UNIX_S,
        refund_worth_msat=CONTRACT_MSAT - 1_000,
        description="coffee",
    )


def sent(*, is_swap: bool) -> SendFacts:
    """What the sender agreed with the gateway."""
    key = secp.public_key(secp.decode_secret(b"\x16" * 32))
    contract = OutgoingContract(
        HashImage(payment_hash()), SENT_MSAT, CONTRACT_ENDS_BLOCK, GATEWAY_KEY, key, key
    )
    return SendFacts(
        federation_id=SENDERS,
        contract_id=contract.contract_id().hex(),
        txid=SENT_TXID,
        out_idx=0,
        contract=lnv2.OUTGOING_CONTRACT.encode(contract).hex(),
        payment_hash=payment_hash().hex(),
        invoice=invoice(),
        invoice_msat=INVOICE_MSAT,
        invoice_expires_unix_s=INVOICE_EXPIRES_UNIX_S,
        contract_msat=SENT_MSAT,
        minimum_msat=INVOICE_MSAT + 10_000,
        is_swap=is_swap,
        max_delay_blocks=100,
    )


def federation(federation_id: str) -> FederationFacts:
    """What joining fixes."""
    free = Fee(0, 0)
    return FederationFacts(federation_id, "fed1", b"{}", FEES, free, free)


def notes() -> tuple[HeldNote, ...]:
    """What there is to fund with."""
    return tuple(
        HeldNote(NOTE_DENOMINATION, f"tweak {number}", f"note {number}", "5f")
        for number in range(2)
    )
