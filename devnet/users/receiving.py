"""An lnv2 user's incoming contracts: what it asks a gateway to fund, honest or not.

Source: fedimint-lnv2-client src/lib.rs. Everything follows from an ephemeral secret and the user's key:
the preimage, the claim key, and the key that decrypts the contract, which needs no guardian.
"""

import hashlib
from enum import Enum

import msgspec

from errors import InputError
from fedimint import lnv2
from fedimint.codec import secp
from fedimint.codec.wire_types import FederationId, OutPoint
from fedimint.crypto import bls
from fedimint.lnv2 import Commitment, HashImage, IncomingContract, tpe
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    InvoiceDescriptionJson,
    RoutingInfo,
)
from fedimint.lnv2.json import IncomingContractJson

DEFAULT_EXPIRY_S = 3_600


class Flaw(Enum):
    """What a hostile receiver gets wrong in its contract."""

    WRONG_PREIMAGE = "the ciphertext is valid and holds another preimage"
    INVALID_CIPHERTEXT = "the ciphertext is of another contract"
    WRONG_AMOUNT = "the contract leaves the gateway no fee"
    EXPIRED = "the contract has expired"
    FOREIGN_REFUND_KEY = "the contract does not go back to the gateway"


class IncomingOrder(msgspec.Struct, frozen=True):
    """What the user wants: an invoice over this amount, for so long from now on."""

    amount_msat: int
    now_unix_s: int
    expiry_s: int = DEFAULT_EXPIRY_S
    description: str = ""


class IncomingPayment(msgspec.Struct, frozen=True):
    """A contract that a gateway may fund, and what its maker needs to claim it. It is secret."""

    order: IncomingOrder
    contract: IncomingContract
    preimage: bytes
    claim_secret: bytes
    decryption_key: bytes

    def __repr__(self) -> str:
        return f"IncomingPayment(contract={self.contract!r}, …)"

    def body(self, federation_id: FederationId) -> CreateBolt11InvoicePayload:
        """Return the body of `/create_bolt11_invoice`."""
        return CreateBolt11InvoicePayload(
            federation_id.hex(),
            IncomingContractJson.of(self.contract),
            self.order.amount_msat,
            InvoiceDescriptionJson(direct=self.order.description),
            self.order.expiry_s,
        )

    def claim(self, out_point: OutPoint) -> lnv2.InputV0:
        """Return the input that takes the money once the contract is funded at `out_point`."""
        return lnv2.InputV0(lnv2.IncomingInput(out_point, self.decryption_key))


class Receiver(msgspec.Struct, frozen=True):
    """A user as its contracts know it: the key of the federation, and its own secret."""

    aggregate_key: bytes
    static_secret: bytes

    def __repr__(self) -> str:
        return "Receiver(…)"

    def incoming(
        self,
        order: IncomingOrder,
        routing: RoutingInfo,
        ephemeral_secret: bytes,
        flaw: Flaw | None = None,
    ) -> IncomingPayment:
        """Make a contract on the gateway's terms. Raises InputError when its fee leaves nothing."""
        contract_msat = routing.receive_fee.subtract_from(order.amount_msat)
        if contract_msat == 0:
            raise InputError(f"the gateway's fee leaves nothing of {order.amount_msat} msat")
        static_key = secp.public_key(self.static_secret)
        tweak = secp.ecdh(ephemeral_secret, static_key)
        seed = hashlib.sha256(tweak).digest()
        preimage = hashlib.sha256(seed).digest()
        claim_pk = secp.multiply_public_key(static_key, tweak)
        refund_pk = bytes.fromhex(routing.module_public_key)
        is_expired = flaw is Flaw.EXPIRED
        commitment = Commitment(
            HashImage(hashlib.sha256(preimage).digest()),
            order.amount_msat if flaw is Flaw.WRONG_AMOUNT else contract_msat,
            order.now_unix_s if is_expired else order.now_unix_s + order.expiry_s,
            claim_pk,
            claim_pk if flaw is Flaw.FOREIGN_REFUND_KEY else refund_pk,
            secp.public_key(ephemeral_secret),
        )
        return IncomingPayment(
            order,
            IncomingContract(commitment, self._encrypt(commitment, seed, preimage, flaw)),
            preimage,
            secp.multiply_secret(self.static_secret, tweak),
            bls.encode_g1(bls.decode_g1(self.aggregate_key) * bls.random_scalar(seed)),
        )

    def _encrypt(
        self, commitment: Commitment, seed: bytes, preimage: bytes, flaw: Flaw | None
    ) -> lnv2.CipherText:
        bound_to = hashlib.sha256(lnv2.COMMITMENT.encode(commitment)).digest()
        if flaw is Flaw.INVALID_CIPHERTEXT:
            bound_to = hashlib.sha256(bound_to).digest()
        if flaw is Flaw.WRONG_PREIMAGE:
            preimage = hashlib.sha256(preimage).digest()
        return tpe.encrypt(self.aggregate_key, seed, preimage, bound_to)
