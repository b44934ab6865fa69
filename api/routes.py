"""The table of routes: path, who may call it, its bounds, the shape of what it reads, and its handler.

Levels, paths and the texts of public failures are those of gateway-server/src/rpc_server.rs and error.rs.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import msgspec

from api import federation_handlers as federations
from api import history_handlers as history
from api import (
    history_structs,
    limits,
    operator_structs,
    payment_structs,
    structs,
    treasury_structs,
)
from api import operator_handlers as operator
from api import payment_handlers as payments
from api import treasury_handlers as treasury
from api.federation_handlers import NodeFacts
from api.gates import FairGate, Gate, TokenBucket
from api.ports import Gateway, Setup
from fedimint.codec.json_types import Hash256Hex
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload, SendPaymentPayload

# Who may call: anyone; who has the password of the admin or of the liquidity manager; the admin alone.
Level = Literal["public", "manager", "admin"]
Handle = Callable[[Any], Awaitable[object]]
# Returns when the gateway has ended what was under way; the process ends after the answer. A caller that
# leaves does not take it back.
Stop = Callable[[], Awaitable[None]]

LN_FAILED = "Lightning Network operation failed"
LNV2_FAILED = "LNv2 operation failed, please contact gateway operator"
ECASH_FAILED = "Failed to receive ecash"
INTERNAL = "Gateway internal error"


class Rate(msgspec.Struct, frozen=True):
    """How often a route may be asked: what a request with this payload takes out of a bucket."""

    bucket: TokenBucket
    tokens: Callable[[Any], int]


class Route(msgspec.Struct, frozen=True):
    """One route. It reads a `body`, or a `query` from its URL, or nothing; `seconds` None waits as long as it takes.

    On a public route the caller sees `failure` instead of any sentence of a 5xx but NotReadyError's; the other ones
    have None there, since their caller is the operator. `lnurl` writes refusals as LNURL wants them.
    """

    method: str
    path: str
    handle: Handle
    gate: Gate
    level: Level
    body: Any = None
    query: Any = None
    body_bytes: int = limits.ADMIN_BODY_BYTES
    seconds: float | None = limits.ADMIN_SECONDS
    failure: str | None = None
    lnurl: bool = False
    rate: Rate | None = None

    @contextmanager
    def admitted(self, caller: str, payload: object) -> Iterator[None]:
        """Let a caller in for the length of the block. Raises BusyError when there is no room for them."""
        if self.rate is not None:
            self.rate.bucket.take(caller, self.rate.tokens(payload))
        with self.gate.hold(caller):
            yield


def routes(
    gateway: Gateway, facts: NodeFacts, invoices: TokenBucket, stop: Stop
) -> tuple[Route, ...]:
    """Every route of this gateway, without the `/v1` under which each is mounted once more."""
    return (*_public_routes(gateway, invoices), *_operator_routes(gateway, facts, stop))


def setup_routes(setup: Setup) -> tuple[Route, ...]:
    """The one route of a process without a mnemonic; what has the same path is hidden like everything else."""
    gate = Gate("requests", limits.ADMIN_REQUESTS)
    return (
        Route(
            "POST",
            "/mnemonic",
            lambda payload: federations.set_mnemonic(setup, payload),
            gate,
            "admin",
            body=structs.SetMnemonicPayload,
            seconds=None,
        ),
        Route("GET", "/mnemonic", lambda _: federations.hidden(), gate, "public"),
    )


def _public_routes(gateway: Gateway, invoices: TokenBucket) -> tuple[Route, ...]:
    public = partial(
        Route,
        gate=FairGate("requests", limits.PUBLIC_REQUESTS),
        level="public",
        body_bytes=limits.PUBLIC_BODY_BYTES,
        seconds=limits.PUBLIC_SECONDS,
    )
    return (
        # A sign of life: it waits for nobody, so it shares no places with what waits for guardians.
        public(
            "GET",
            "/id",
            lambda _: payments.gateway_id(gateway),
            gate=FairGate("requests", limits.PUBLIC_REQUESTS),
            failure=INTERNAL,
        ),
        public(
            "POST",
            "/federation_status",
            lambda payload: payments.federation_status(gateway, payload),
            body=structs.FederationPayload,
            failure=INTERNAL,
        ),
        public(
            "POST",
            "/routing_info",
            lambda federation_id: payments.routing_info(gateway, federation_id),
            body=Hash256Hex,
            failure=LN_FAILED,
        ),
        public(
            "POST",
            "/send_payment",
            lambda payload: payments.send_payment(gateway, payload),
            gate=FairGate("payments", limits.SEND_PAYMENTS, yields=True),
            body=SendPaymentPayload,
            seconds=None,
            failure=LNV2_FAILED,
        ),
        public(
            "POST",
            "/create_bolt11_invoice",
            lambda payload: payments.create_bolt11_invoice(gateway, payload),
            rate=Rate(invoices, lambda _: 1),
            body=CreateBolt11InvoicePayload,
            failure=LNV2_FAILED,
        ),
        public(
            "GET",
            "/verify/{payment_hash}",
            lambda query: payments.verify(gateway, query),
            gate=FairGate("requests", limits.VERIFICATIONS, yields=True),
            query=payment_structs.VerifyQuery,
            seconds=limits.VERIFY_SECONDS,
            failure=LNV2_FAILED,
            lnurl=True,
        ),
        public(
            "POST",
            "/receive_ecash",
            lambda payload: payments.receive_ecash(gateway, payload),
            gate=FairGate("requests", limits.ECASH_RECEIPTS),
            rate=Rate(TokenBucket(limits.ECASH_NOTES), _notes_at_most),
            body=payment_structs.ReceiveEcashPayload,
            seconds=limits.RECEIVE_ECASH_SECONDS,
            failure=ECASH_FAILED,
        ),
    )


def _notes_at_most(payload: payment_structs.ReceiveEcashPayload) -> int:
    return 1 + len(payload.notes) // limits.ECASH_NOTE_CHARACTERS


def _operator_routes(gateway: Gateway, facts: NodeFacts, stop: Stop) -> tuple[Route, ...]:
    gate = Gate("requests", limits.ADMIN_REQUESTS)

    def get(
        path: str, handle: Callable[[Gateway], Awaitable[object]], level: Level = "manager"
    ) -> Route:
        return Route("GET", path, lambda _: handle(gateway), gate, level)

    def post(
        path: str,
        body: Any,
        handle: Callable[[Gateway, Any], Awaitable[object]],
        level: Level = "manager",
    ) -> Route:
        return Route("POST", path, lambda read: handle(gateway, read), gate, level, body=body)

    of, node, log = structs, operator_structs, history_structs
    coins, federation = treasury_structs, structs.FederationPayload
    return (
        get("/info", lambda _: federations.info(gateway, facts)),
        get("/balances", federations.balances),
        get("/invite_codes", federations.invite_codes),
        post("/config", of.ConfigPayload, federations.config),
        post("/connect_fed", of.ConnectFedPayload, federations.connect_fed, "admin"),
        post("/leave_fed", of.LeaveFedPayload, federations.leave_fed, "admin"),
        post("/backup", federation, federations.backup, "admin"),
        post("/set_fees", of.SetFeesPayload, federations.set_fees),
        post("/set_payment_policy", of.SetPaymentPolicyPayload, federations.set_payment_policy),
        post("/set_exposure_cap", of.SetExposureCapPayload, federations.set_exposure_cap, "admin"),
        post("/trust_again", federation, federations.trust_again, "admin"),
        get("/mnemonic", federations.mnemonic, "admin"),
        post("/mnemonic", of.SetMnemonicPayload, federations.set_mnemonic_again, "admin"),
        post("/address", federation, treasury.address),
        post("/address_recheck", coins.AddressRecheckPayload, treasury.address_recheck),
        post("/withdraw", coins.WithdrawPayload, treasury.withdraw, "admin"),
        post("/withdraw_to_onchain", coins.WithdrawToOnchainPayload, treasury.withdraw_to_onchain),
        post("/pegin_from_onchain", coins.PeginFromOnchainPayload, treasury.pegin_from_onchain),
        post("/spend_ecash", coins.SpendEcashPayload, treasury.spend_ecash, "admin"),
        post("/list_sent_ecash", coins.ListSentEcashPayload, treasury.list_sent_ecash),
        post("/show_sent_ecash", coins.ShowSentEcashPayload, treasury.show_sent_ecash, "admin"),
        post(
            "/create_bolt11_invoice_for_operator",
            node.CreateInvoiceForOperatorPayload,
            operator.create_invoice,
        ),
        post(
            "/pay_invoice_for_operator",
            node.PayInvoiceForOperatorPayload,
            operator.pay_invoice,
            "admin",
        ),
        post("/create_bolt12_offer_for_operator", node.CreateOfferPayload, operator.create_offer),
        post("/pay_offer_for_operator", node.PayOfferPayload, operator.pay_offer, "admin"),
        post("/get_invoice", node.GetInvoiceRequest, operator.get_invoice),
        post("/list_transactions", node.ListTransactionsPayload, operator.list_transactions),
        get("/get_ln_onchain_address", operator.get_ln_onchain_address),
        post("/send_onchain", node.SendOnchainRequest, operator.send_onchain, "admin"),
        post("/open_channel", node.OpenChannelRequest, operator.open_channel),
        post(
            "/open_channel_with_push",
            node.OpenChannelRequest,
            operator.open_channel_with_push,
            "admin",
        ),
        post(
            "/close_channels_with_peer",
            node.CloseChannelsWithPeerRequest,
            operator.close_channels_with_peer,
        ),
        get("/list_channels", operator.list_channels),
        post("/dismiss", node.DismissPayload, operator.dismiss, "admin"),
        post("/retry", node.DismissPayload, operator.retry, "admin"),
        post("/replace_node", node.ReplaceNodePayload, operator.replace_node, "admin"),
        post("/set_channel_fees", node.SetChannelFeesRequest, operator.set_channel_fees),
        post("/connect_peer", node.ConnectPeerRequest, operator.connect_peer),
        post("/payment_log", log.PaymentLogPayload, history.payment_log),
        post("/payment_summary", log.PaymentSummaryPayload, history.payment_summary),
        Route("GET", "/stop", lambda _: stop(), gate, "admin", seconds=None),
    )
