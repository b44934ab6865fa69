"""An embedded lnv2 user: funds contracts for a gateway to pay, or has it fund its own.

The derivations and checks of fedimint-lnv2-client src/lib.rs; the user reaches the federation through
the same client library as a gateway. How it reaches the gateway is the caller's affair.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from devnet.guardians.dealer import LNV2_ID, MINTV2_ID, WALLETV2_ID, fresh_secret
from devnet.guardians.transaction_rules import module_config
from devnet.users.onchain import OnchainUser
from devnet.users.receiving import Flaw, IncomingOrder, IncomingPayment, Receiver
from devnet.users.wallet import EmbeddedWallet, OwnInput, OwnOutput
from errors import InputError, PeerError
from fedimint import lnv2
from fedimint.client.query import Guardians
from fedimint.codec import bolt11, secp
from fedimint.codec.wire_types import FederationId, OutPoint
from fedimint.config import ClientConfig
from fedimint.crypto.secrets import DerivableSecret, client_secret, module_secret
from fedimint.lnv2 import (
    Cancel,
    Claim,
    HashImage,
    IncomingContract,
    OutgoingContract,
    OutgoingWitness,
    Refund,
)
from fedimint.lnv2.api import Lnv2Api
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    Forfeited,
    Paid,
    RoutingInfo,
    SendPayment,
    SendPaymentPayload,
)
from fedimint.transaction import DynItem

CONFIRMATION_BLOCKS: Final = 12
"""What a client adds to the gateway's delta, for the time until the contract is confirmed."""


class OutgoingPayment(msgspec.Struct, frozen=True):
    """A funded contract and what its sender needs to use it or to take it back."""

    contract: OutgoingContract
    out_point: OutPoint
    invoice: lnv2.LightningInvoice
    refund_secret: bytes

    def __repr__(self) -> str:
        return f"OutgoingPayment(contract={self.contract!r}, out_point={self.out_point!r}, …)"


class JoinableFederation(Protocol):
    """A federation with default modules, embedded or real, as a user comes to know it."""

    @property
    def config(self) -> ClientConfig: ...
    @property
    def federation_id(self) -> FederationId: ...
    def asked_by(self) -> Guardians: ...


class EmbeddedUser:
    """A client inside this process, of any federation.

    `wallet` holds its notes; `onchain` brings bitcoin in and out.
    """

    def __init__(
        self,
        federation: JoinableFederation,
        random_bytes: Callable[[int], bytes],
        guardians: Guardians | None = None,
    ) -> None:
        """Join with fresh secrets; `guardians` sets another pace of asking than the default."""
        guardians = federation.asked_by() if guardians is None else guardians
        config = module_config(federation.config, LnV2ClientConfig)
        self._module_id = LNV2_ID
        self._fee = config.fee_consensus
        self._network = config.network
        self._federation_id = federation.federation_id
        self._random_bytes = random_bytes
        self._api = Lnv2Api(guardians, self._module_id)
        client = client_secret(DerivableSecret(random_bytes(64)), federation.federation_id)
        self.lightning_secret = module_secret(client, self._module_id).to_secp_secret()
        self._receiver = Receiver(config.tpe_agg_pk, self.lightning_secret)
        self.wallet = EmbeddedWallet(
            federation.config, guardians, module_secret(client, MINTV2_ID), random_bytes
        )
        self.onchain = OnchainUser(
            federation.config, guardians, module_secret(client, WALLETV2_ID), self.wallet
        )

    def balance_msat(self) -> int:
        """Return the face value of the user's notes."""
        return self.wallet.balance_msat()

    async def fund(self, invoice: str, routing: RoutingInfo) -> OutgoingPayment:
        """Fund a contract that pays `invoice` through the gateway, on its terms.

        Raises InputError for an invoice without amount or of another network, and as the wallet
        does.
        """
        parsed = bolt11.decode(invoice)
        if parsed.amount_msat is None or not bolt11.is_for(parsed, self._network):
            raise InputError("the invoice names no amount or is of another network")
        refund_secret, ephemeral_pk = self._tweak()
        block_count = await self._api.consensus_block_count()
        delta_blocks = routing.expiration_delta_blocks(parsed.payee)
        contract = OutgoingContract(
            HashImage(parsed.payment_hash),
            routing.send_fee(parsed.payee).add_to(parsed.amount_msat),
            block_count + delta_blocks + CONFIRMATION_BLOCKS,
            bytes.fromhex(routing.module_public_key),
            secp.public_key(refund_secret),
            ephemeral_pk,
        )
        return await self.fund_contract(contract, refund_secret, invoice)

    async def fund_contract(
        self, contract: OutgoingContract, refund_secret: bytes, invoice: str
    ) -> OutgoingPayment:
        """Fund any contract, also one that no honest client makes. Raises as the wallet does."""
        funded = await self.wallet.submit([], [self.contract_output(contract)])
        out_point = OutPoint(funded.transaction.txid(), 0)
        return OutgoingPayment(contract, out_point, lnv2.LightningInvoice(invoice), refund_secret)

    def contract_output(self, contract: OutgoingContract) -> OwnOutput:
        """Return the output that funds a contract."""
        output = lnv2.OUTPUT.encode(lnv2.OutputV0(lnv2.OutgoingOutput(contract)))
        fee_msat = self._fee.fee_msat(contract.amount_msat)
        return OwnOutput(DynItem(self._module_id, output), contract.amount_msat, fee_msat)

    def body(self, payment: OutgoingPayment) -> SendPaymentPayload:
        """Return the body of `/send_payment`, signed by the refund key."""
        auth = secp.sign_schnorr(payment.refund_secret, payment.invoice.auth_digest())
        return SendPaymentPayload.of(
            SendPayment(
                self._federation_id, payment.out_point, payment.contract, payment.invoice, auth
            )
        )

    async def settle(self, payment: OutgoingPayment, answer: Paid | Forfeited) -> bytes | None:
        """Return the preimage, or take the money back by forfeit and return None.

        Raises PeerError when the gateway's preimage or signature is wrong.
        """
        if isinstance(answer, Forfeited):
            await self.cancel(payment, answer.signature)
            return None
        if not lnv2.is_preimage(payment.contract.payment_image, answer.preimage):
            raise PeerError("the gateway's preimage does not open the payment hash")
        return answer.preimage

    async def cancel(self, payment: OutgoingPayment, forfeit_signature: bytes) -> None:
        """Take the money back with the gateway's signature over the contract id.

        Raises PeerError when the signature is wrong, and as the wallet does.
        """
        contract = payment.contract
        if not secp.verify_schnorr(contract.claim_pk, contract.contract_id(), forfeit_signature):
            raise PeerError("the gateway's forfeit signature is not its signature")
        await self._take_back(payment, Cancel(forfeit_signature))

    async def refund(self, payment: OutgoingPayment) -> None:
        """Take the money back once the contract has expired. Raises TransactionRefused before."""
        await self._take_back(payment, Refund())

    def receive(
        self, order: IncomingOrder, routing: RoutingInfo, flaw: Flaw | None = None
    ) -> IncomingPayment:
        """Make a contract for the gateway to fund, with a flaw if the user is to be hostile.

        Raises InputError when the fee of the gateway, or of the federation, leaves nothing.
        """
        payment = self._receiver.incoming(order, routing, fresh_secret(self._random_bytes), flaw)
        amount_msat = payment.contract.commitment.amount_msat
        if amount_msat <= self._fee.fee_msat(amount_msat):
            raise InputError(f"the federation's fee leaves nothing of {amount_msat} msat")
        return payment

    def receive_body(self, payment: IncomingPayment) -> CreateBolt11InvoicePayload:
        """Return the body of `/create_bolt11_invoice`."""
        return payment.body(self._federation_id)

    def check_invoice(self, payment: IncomingPayment, invoice: str) -> None:
        """Raise PeerError unless the gateway's invoice is over this payment, on this network."""
        parsed = bolt11.decode(invoice)
        is_ours = parsed.payment_hash == hashlib.sha256(payment.preimage).digest()
        is_as_ordered = parsed.amount_msat == payment.order.amount_msat
        if not (is_ours and is_as_ordered and bolt11.is_for(parsed, self._network)):
            raise PeerError("the gateway's invoice is not what was ordered")

    async def await_funded(self, payment: IncomingPayment) -> OutPoint | None:
        """Return where the gateway funded the contract, None once it expired without that."""
        contract = payment.contract
        return await self._api.await_incoming_contract(
            contract.contract_id(), contract.commitment.expiration_unix_s
        )

    async def claim(self, payment: IncomingPayment, out_point: OutPoint) -> None:
        """Take the money of a contract funded at `out_point`. Raises as the wallet does."""
        item = lnv2.INPUT.encode(payment.claim(out_point))
        amount_msat = payment.contract.commitment.amount_msat
        fee_msat = self._fee.fee_msat(amount_msat)
        own = OwnInput(DynItem(self._module_id, item), amount_msat, fee_msat, payment.claim_secret)
        await self.wallet.submit([own], [])

    def incoming_output(self, contract: IncomingContract) -> OwnOutput:
        """Return the output by which a gateway that is only played funds a contract."""
        output = lnv2.OUTPUT.encode(lnv2.OutputV0(lnv2.IncomingOutput(contract)))
        amount_msat = contract.commitment.amount_msat
        fee_msat = self._fee.fee_msat(amount_msat)
        return OwnOutput(DynItem(self._module_id, output), amount_msat, fee_msat)

    def claim_input(
        self, payment: OutgoingPayment, preimage: bytes, claim_secret: bytes
    ) -> OwnInput:
        """Return the input by which a gateway that is only played claims the contract."""
        return self._input(payment, Claim(preimage), claim_secret)

    async def _take_back(self, payment: OutgoingPayment, witness: OutgoingWitness) -> None:
        await self.wallet.submit([self._input(payment, witness, payment.refund_secret)], [])

    def _input(
        self, payment: OutgoingPayment, witness: OutgoingWitness, secret_key: bytes
    ) -> OwnInput:
        spent = lnv2.INPUT.encode(lnv2.InputV0(lnv2.OutgoingInput(payment.out_point, witness)))
        amount_msat = payment.contract.amount_msat
        item = DynItem(self._module_id, spent)
        return OwnInput(item, amount_msat, self._fee.fee_msat(amount_msat), secret_key)

    def _tweak(self) -> tuple[bytes, bytes]:
        """Return a secret that the user can find again, and the ephemeral key that leads to it."""
        ephemeral_secret = fresh_secret(self._random_bytes)
        own_key = secp.public_key(self.lightning_secret)
        return secp.ecdh(ephemeral_secret, own_key), secp.public_key(ephemeral_secret)
