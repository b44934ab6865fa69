"""The public part of the gateway: routing info, paying, invoices and their state, taking ecash."""

import anyio

from engine.machine import State
from errors import BusyError, InputError, NotFoundError, UnavailableError
from fedimint.codec import secp
from fedimint.crypto import secrets
from fedimint.lnv2.gateway_api import (
    CreateInvoice,
    Forfeited,
    Paid,
    PaymentFee,
    RoutingInfo,
    SendPayment,
)
from gateway import receive_requests, send_requests
from gateway.context import GatewayContext
from gateway.ecash_receipts import EcashReceipts
from gateway.modules.lnv2 import LnV2
from gateway.receive_effects import NOT_ANSWERED
from gateway.views import Verification
from statemachines import receive, send
from statemachines.federation import Fee

#: The lifetime that clients give a contract by default, in blocks (fedimint-gateway-server/src/lib.rs).
EXPIRATION_DELTA_DEFAULT_BLOCKS = 1440
#: How long `verify` waits for a payment that has begun.
VERIFY_LIMIT_S = 30.0

#: States that hold an answer for the sender: the preimage once the claim is durable, or the forfeit.
_ANSWERABLE = (send.Claiming, send.Claimed, send.ClaimRejected, send.Cancelled)
#: States of an invoice that nobody has begun to pay.
_UNPAID = receive.UNPAID_STATES
#: Invoices that may wait for a payer at once; each takes about 45 KB of memory until it is paid or has expired, most
#: of it for the node's word on its HTLCs. A caller that uses up the limit of requests asks for so many in an hour.
UNPAID_MAX = 20_000
#: Half of the places are for invoices that are soon over, so that nobody can take all of them for a day.
SOON_OVER_S = 3_600
_FAILURES: dict[type[State], str] = {
    receive.InvoiceRefused: "Payment has failed",
    receive.Expired: "Payment has failed",
    receive.Declined: "Payment has been rejected",
    receive.FundingFailed: "Payment has been rejected",
    receive.Refunding: "Payment has been refunded",
    receive.Refunded: "Payment has been refunded",
    receive.RefundLost: "Payment has failed",
}


class ClientPayments:
    """The public face of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._engine = context.engine
        self._receipts = EcashReceipts(context)

    async def gateway_id(self) -> str:
        """The key (hex) under which this gateway is known over HTTP."""
        return secp.public_key(secrets.gateway_identity_secret(self._context.root)).hex()

    async def routing_info(self, federation_id: str) -> RoutingInfo | None:
        """What a client must know to pay through us. Raises InputError for a federation that is not served."""
        federation, terms = self._context.served(federation_id)
        node = self._context.watch.connected()
        transaction_fee = payment_fee(terms.facts.transaction_fee)
        return RoutingInfo(
            lightning_public_key=node.public_key,
            lightning_alias=node.alias,
            module_public_key=federation.module(LnV2).public_key.hex(),
            send_fee_minimum=transaction_fee,
            send_fee_default=payment_fee(terms.facts.lightning_fee) + transaction_fee,
            expiration_delta_minimum=send.EXPIRATION_DELTA_MINIMUM_BLOCKS,
            expiration_delta_default=EXPIRATION_DELTA_DEFAULT_BLOCKS,
            receive_fee=transaction_fee,
            receive_enabled=terms.receive_enabled,
        )

    async def send_payment(self, request: SendPayment) -> Paid | Forfeited:
        """Pay the invoice of a contract, or join the payment that is under way for it, and wait for its end.

        The caller only subscribes: its going away ends nothing. Raises InputError, ConflictError, UnavailableError
        or BusyError with nothing written.
        """
        federation_id = request.federation_id.hex()
        federation, _ = self._context.served(federation_id)
        send_requests.authenticate(request, federation)
        stream = send.stream_of(request.contract.contract_id().hex())
        if isinstance(self._engine.peek(stream), send.New):
            self._context.refuse_new_work(federation_id)
            node = self._context.watch.connected()
            lightning = federation.module(LnV2)
            confirmed = await lightning.api.outgoing_contract_expiration(request.out_point)
            federation, terms = self._context.served(federation_id)
            verified = send_requests.verify(
                request,
                federation,
                confirmed,
                minimum_fee=payment_fee(terms.facts.transaction_fee),
                network=self._context.settings.network,
                own_node=bytes.fromhex(node.public_key),
            )
            await self._engine.submit(stream, verified)
        ended = (
            await self._engine.wait(stream, lambda state: isinstance(state, _ANSWERABLE))
        ).state
        if isinstance(ended, send.Cancelled):
            return Forfeited(bytes.fromhex(ended.forfeit))
        assert isinstance(ended, send.Claiming | send.Claimed | send.ClaimRejected)
        return Paid(bytes.fromhex(ended.preimage))

    async def create_invoice(self, request: CreateInvoice) -> str:
        """A BOLT 11 invoice whose payment funds the contract; its hash is taken before the node is asked.

        Raises BusyError when too many invoices are unpaid, InputError for what fails a check, ConflictError for a
        second contract of the same hash, UnavailableError when the node does not answer, NotReadyError while it is
        behind the chain. InputError has the node's reason when it refuses the invoice.
        """
        federation_id = request.federation_id.hex()
        self._context.refuse_new_work(federation_id)
        federation, terms = self._context.served(federation_id)
        self._context.watch.synced()
        self._check_room(request.expiry_s)
        verified = await receive_requests.verify(
            request,
            federation,
            receive_fee=payment_fee(terms.facts.transaction_fee),
            receive_enabled=terms.receive_enabled,
            now_unix_s=self._context.now_unix_s(),
            cpu=self._context.outside.cpu,
        )
        stream = receive.stream_of(verified.facts.payment_hash)
        await self._engine.submit(stream, verified)
        made = await self._engine.wait(
            stream, lambda state: not isinstance(state, receive.Registered)
        )
        if isinstance(made.state, receive.Invoiced):
            return made.state.invoice
        if isinstance(made.state, receive.InvoiceRefused) and made.state.reason != NOT_ANSWERED:
            raise InputError(
                f"the Lightning node makes no such invoice: {made.state.reason}; make another contract"
            )
        raise UnavailableError("the Lightning node made no invoice for this contract; make another")

    async def verify(self, payment_hash: str, *, wait: bool) -> Verification:
        """How a registered invoice stands; with `wait`, at most 30 seconds after it was asked.

        Raises NotFoundError for a hash that no registered contract has.
        """
        stream = receive.stream_of(payment_hash)
        state = (await self._engine.read(stream)).state
        if isinstance(state, receive.New):
            raise NotFoundError("Unknown payment hash")
        if not isinstance(state, _UNPAID) or wait:
            with anyio.move_on_after(VERIFY_LIMIT_S):
                state = (await self._engine.wait(stream, _is_decided)).state
        if isinstance(state, receive.Received):
            return Verification(preimage=bytes.fromhex(state.preimage), failure=None)
        return Verification(preimage=None, failure=_FAILURES.get(type(state)))

    async def receive_ecash(self, notes: str) -> int:
        """As `EcashReceipts.receive`."""
        return await self._receipts.receive(notes)

    def _check_room(self, expiry_s: int) -> None:
        """Raises BusyError when as many invoices are unpaid as the gateway keeps of those that live this long."""
        places = UNPAID_MAX if expiry_s <= SOON_OVER_S else UNPAID_MAX // 2
        unpaid = sum(isinstance(state, _UNPAID) for state in self._engine.open_streams().values())
        if unpaid >= places:
            shorter = f", or ask for one of at most {SOON_OVER_S} seconds" * (unpaid < UNPAID_MAX)
            raise BusyError(
                f"{unpaid} invoices of this gateway are unpaid, more than it keeps open for so long; "
                f"try again later{shorter}"
            )


def payment_fee(fee: Fee) -> PaymentFee:
    """A fee of the log as the API has it."""
    return PaymentFee(fee.base_msat, fee.parts_per_million)


def _is_decided(state: State) -> bool:
    return isinstance(state, receive.Received) or type(state) in _FAILURES
