"""A gateway of canned answers, for tests and benchmarks of the API and of the command line."""

from typing import Any, TypeVar

import anyio

from api.ports import ClientPayments, Federations, History, OperatorNode, Treasury
from api.testing import canned
from errors import InputError
from fedimint.lnv2.gateway_api import CreateInvoice, Forfeited, Paid, RoutingInfo, SendPayment
from gateway import views

__all__ = ["CannedGateway"]

T = TypeVar("T")


class CannedGateway(Federations, ClientPayments, Treasury, OperatorNode, History):
    """Answers as canned, or as `answers` says for a method; raises `failure` instead when set.

    `calls` holds what was asked, the name of the method first. While `hold` is set, `send_payment` waits
    for it; `sends_waiting` counts who does. `stop` waits for `stopped`.
    """

    def __init__(self) -> None:
        self.status = canned.status()
        self.outcome: Paid | Forfeited = Paid(preimage=canned.PREIMAGE)
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[object, ...]] = []
        self.failure: Exception | None = None
        self.hold: anyio.Event | None = None
        self.stopped = anyio.Event()
        self.sends_waiting = 0
        self.sends: list[SendPayment] = []
        self.joins: list[tuple[str, bool]] = []

    @property
    def federations(self) -> Federations:
        return self

    @property
    def payments(self) -> ClientPayments:
        return self

    @property
    def treasury(self) -> Treasury:
        return self

    @property
    def node(self) -> OperatorNode:
        return self

    @property
    def history(self) -> History:
        return self

    async def stop(self) -> None:
        self.calls.append(("stop",))
        await self.stopped.wait()

    async def info(self) -> views.GatewayStatus:
        return self._answer(self.status, "info")

    async def balances(self) -> views.GatewayBalances:
        return self._answer(canned.balances(self.status.federations), "balances")

    async def connect_federation(self, invite_code: str, *, recover: bool) -> views.FederationInfo:
        answer = self._answer(canned.federation(), "connect_federation", invite_code, recover)
        self.joins.append((invite_code, recover))
        return answer

    async def leave_federation(
        self, federation_id: str, *, give_up: bool = False
    ) -> views.FederationInfo:
        self._served(federation_id)
        return self._answer(canned.federation(), "leave_federation", federation_id, give_up)

    async def federation_status(self, federation_id: str) -> views.Serving | None:
        return self._answer(canned.serving(), "federation_status", federation_id)

    async def invite_codes(self) -> tuple[views.FederationInvites, ...]:
        return self._answer(canned.invites(), "invite_codes")

    async def client_config(
        self, federation_id: str | None
    ) -> tuple[views.StoredClientConfig, ...]:
        return self._answer(canned.configs(), "client_config", federation_id)

    async def set_fees(self, change: views.FeeChange) -> None:
        self._answer(None, "set_fees", change)

    async def set_payment_policy(
        self, federation_id: str | None, *, receive_enabled: bool | None
    ) -> None:
        self._answer(None, "set_payment_policy", federation_id, receive_enabled)

    async def set_exposure_cap(
        self, federation_id: str | None, cap_msat: int | None
    ) -> tuple[views.ExposureInfo, ...]:
        return self._answer((canned.exposure(),), "set_exposure_cap", federation_id, cap_msat)

    async def trust_again(self, federation_id: str) -> tuple[views.ExposureInfo, ...]:
        return self._answer((canned.exposure(),), "trust_again", federation_id)

    async def backup(self, federation_id: str) -> None:
        self._served(federation_id)
        self._answer(None, "backup", federation_id)

    async def mnemonic(self) -> views.MnemonicResponse:
        return self._answer(views.MnemonicResponse(("abandon",) * 11 + ("about",)), "mnemonic")

    async def gateway_id(self) -> str:
        return self._answer(self.status.gateway_id, "gateway_id")

    async def routing_info(self, federation_id: str) -> RoutingInfo | None:
        self._served(federation_id)
        return self._answer(canned.routing_info(), "routing_info", federation_id)

    async def send_payment(self, request: SendPayment) -> Paid | Forfeited:
        outcome = self._answer(self.outcome, "send_payment", request)
        self.sends.append(request)
        if self.hold is not None:
            self.sends_waiting += 1
            try:
                await self.hold.wait()
            finally:
                self.sends_waiting -= 1
        return outcome

    async def create_invoice(self, request: CreateInvoice) -> str:
        return self._answer(canned.INVOICE, "create_invoice", request)

    async def verify(self, payment_hash: str, *, wait: bool) -> views.Verification:
        settled = views.Verification(preimage=canned.PREIMAGE, failure=None)
        return self._answer(settled, "verify", payment_hash, wait)

    async def receive_ecash(self, notes: str) -> int:
        return self._answer(300_032, "receive_ecash", notes)

    async def spend_ecash(self, federation_id: str, amount_msat: int) -> str:
        self._served(federation_id)
        return self._answer(canned.ECASH, "spend_ecash", federation_id, amount_msat)

    async def sent_ecash(
        self, federation_id: str | None, limit: int
    ) -> tuple[views.SentEcash, ...]:
        return self._answer(canned.sent_ecash(), "sent_ecash", federation_id, limit)

    async def show_sent_ecash(self, gift_id: str) -> str:
        return self._answer(canned.ECASH, "show_sent_ecash", gift_id)

    async def deposit_address(self, federation_id: str) -> str:
        self._served(federation_id)
        return self._answer(canned.ADDRESS, "deposit_address", federation_id)

    async def recheck_address(self, federation_id: str, address: str) -> None:
        self._served(federation_id)
        self._answer(None, "recheck_address", federation_id, address)

    async def withdraw(self, request: views.WithdrawalRequest) -> views.Withdrawal:
        return self._answer(canned.withdrawal(), "withdraw", request)

    async def withdraw_to_onchain(
        self, federation_id: str, amount_sat: int | None
    ) -> views.Withdrawal:
        return self._answer(canned.withdrawal(), "withdraw_to_onchain", federation_id, amount_sat)

    async def pegin_from_onchain(self, request: views.PeginRequest) -> str:
        return self._answer(canned.TXID, "pegin_from_onchain", request)

    async def create_operator_invoice(self, request: views.OperatorInvoiceRequest) -> str:
        return self._answer(canned.INVOICE, "create_operator_invoice", request)

    async def pay_operator_invoice(self, invoice: str) -> Paid:
        return self._answer(Paid(canned.PREIMAGE), "pay_operator_invoice", invoice)

    def why_no_offers(self) -> str:
        return "this node knows no BOLT12 offers; use a BOLT11 invoice"

    async def node_invoice(self, payment_hash: str) -> views.InvoiceRecord | None:
        return self._answer(canned.node_invoice(), "node_invoice", payment_hash)

    async def node_transactions(
        self, start_unix_s: int, end_unix_s: int
    ) -> tuple[views.NodeTransaction, ...]:
        return self._answer(
            canned.node_transactions(), "node_transactions", start_unix_s, end_unix_s
        )

    async def onchain_address(self) -> str:
        return self._answer(canned.ADDRESS, "onchain_address")

    async def send_onchain(self, order: views.SendCoins) -> str:
        return self._answer(canned.TXID, "send_onchain", order)

    async def open_channel(self, order: views.OpenChannel) -> str:
        return self._answer(canned.TXID, "open_channel", order)

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        return self._answer(1, "close_channels", public_key, force, sat_per_vbyte)

    async def channels(self) -> tuple[views.Channel, ...]:
        return self._answer(canned.channels(), "channels")

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        self._answer(None, "set_channel_fees", funding_out_point, base_fee_msat, parts_per_million)

    async def connect_peer(self, public_key: str, host: str) -> None:
        self._answer(None, "connect_peer", public_key, host)

    async def retry(self, stream: str) -> str:
        return self._answer("Signed", "retry", stream)

    async def dismiss(self, stream: str) -> str:
        return self._answer("Dismissed", "dismiss", stream)

    async def replace_node(self, gone: str | None) -> views.NodeReplacement:
        return self._answer(canned.node_replacement(), "replace_node", gone)

    async def payment_log(self, query: views.LogQuery) -> tuple[views.PaymentLogEntry, ...]:
        return self._answer(canned.log_entries(), "payment_log", query)

    async def payment_summary(self, start_unix_ms: int, end_unix_ms: int) -> views.PaymentSummary:
        return self._answer(canned.summary(), "payment_summary", start_unix_ms, end_unix_ms)

    def _answer(self, answer: T, *call: object) -> T:
        """What was canned or told for this call, which is recorded; raises `failure` instead."""
        if self.failure is not None:
            raise self.failure
        self.calls.append(call)
        told: T = self.answers.get(str(call[0]), answer)
        return told

    def _served(self, federation_id: str) -> None:
        if federation_id not in {one.federation_id for one in self.status.federations}:
            raise InputError(f"No federation available for prefix {federation_id[:8]}")
