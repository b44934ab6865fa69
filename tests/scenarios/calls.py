"""Calls the gateway's HTTP API as operators and clients do, and waits for a gateway that dies and returns."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import msgspec

from devnet.processes import until
from errors import PeerError, UnavailableError
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    Forfeited,
    Paid,
    RoutingInfo,
    SendPaymentPayload,
    parse_send_answer,
)
from tests.scenarios.stage import Host, StagedFederation

#: A scenario that waits longer than this for anything waits in vain.
DEADLINE_S = 120.0
_RETRY_PAUSE_S = 0.5
T = TypeVar("T")


class RefusedError(PeerError):
    """The gateway said no; `status` says how."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(f"{status}: {sentence}")


class _Balance(msgspec.Struct, frozen=True):
    federation_id: str
    ecash_balance_msats: int


class _Balances(msgspec.Struct, frozen=True):
    ecash_balances: tuple[_Balance, ...]


class _Notes(msgspec.Struct, frozen=True):
    notes: str


class Calls:
    """One gateway's API. Raises RefusedError for refusals, UnavailableError when no answer comes or it is a 503."""

    def __init__(self, host: Host) -> None:
        self._host = host

    # --- the operator's ---

    async def join(self, federation: StagedFederation, *, recover: bool = False) -> None:
        """Serve a federation, unless it is served already. Asks until there is an answer."""

        async def join() -> None:
            if not await self._serves(federation):
                await self._post(
                    "/connect_fed", {"invite_code": federation.invite_code, "recover": recover}
                )

        await patiently(join)

    async def leave(self, federation: StagedFederation) -> None:
        """Leave a federation. Asks until there is an answer, or it is so."""
        try:
            await self._post("/leave_fed", {"federation_id": federation.federation_id})
        except UnavailableError:
            if await patiently(lambda: self._serves(federation)):
                await self.leave(federation)

    async def balance_msat(self, federation: StagedFederation) -> int:
        """The ecash free to spend."""
        return (await self._ecash())[federation.federation_id]

    async def deposit_address(self, federation: StagedFederation) -> str:
        return msgspec.json.decode(
            await self._post("/address", {"federation_id": federation.federation_id}), type=str
        )

    async def withdraw(
        self, federation: StagedFederation, address: str, amount_sat: int | None
    ) -> None:
        """None is all."""
        wanted: object = "all" if amount_sat is None else amount_sat
        body = {
            "federation_id": federation.federation_id,
            "address": address,
            "amount": wanted,
        }
        await self._post("/withdraw", body)

    async def spend_ecash(self, federation: StagedFederation, amount_msat: int) -> str:
        body = {"federation_id": federation.federation_id, "amount": amount_msat}
        answer = await self._post("/spend_ecash", body)
        return msgspec.json.decode(answer, type=_Notes).notes

    async def allow_receiving(self, federation: StagedFederation, *, allowed: bool) -> None:
        """Asks until there is an answer."""
        body = {"federation_id": federation.federation_id, "receive_enabled": allowed}
        await patiently(lambda: self._post("/set_payment_policy", body))

    async def trust_again(self, federation: StagedFederation) -> None:
        """Asks until there is an answer."""
        body = {"federation_id": federation.federation_id}
        await patiently(lambda: self._post("/trust_again", body))

    async def set_transaction_fee(self, federation: StagedFederation, base_msat: int) -> None:
        """Asks until there is an answer."""
        body = {"federation_id": federation.federation_id, "transaction_base": base_msat}
        await patiently(lambda: self._post("/set_fees", body))

    async def pay(self, invoice: str) -> bytes:
        """Pay from the node's own funds. Asks until there is an answer; the preimage."""
        answer = await patiently(
            lambda: self._post("/pay_invoice_for_operator", {"invoice": invoice})
        )
        return bytes.fromhex(msgspec.json.decode(answer, type=str))

    async def send_onchain(self, address: str, amount_sat: int) -> str:
        """Send coins of the node's; the txid."""
        body = {"address": address, "amount": amount_sat, "fee_rate_sats_per_vbyte": 1}
        return msgspec.json.decode(await self._post("/send_onchain", body), type=str)

    async def open_channel(self, public_key: str, host: str, capacity_sat: int) -> str:
        """The txid of the funding."""
        body = {
            "pubkey": public_key,
            "host": host,
            "channel_size_sats": capacity_sat,
            "push_amount_sats": 0,
        }
        return msgspec.json.decode(await self._post("/open_channel", body), type=str)

    async def dismiss(self, stream: str) -> None:
        """Give up on what the node never answered."""
        await self._post("/dismiss", {"stream": stream})

    async def open_payments(self) -> list[str]:
        """The streams that are not over."""

        class Open(msgspec.Struct):
            id: str

        class Info(msgspec.Struct):
            open_payments: tuple[Open, ...]

        info = msgspec.json.decode(await self._call("GET", "/info"), type=Info)
        return [payment.id for payment in info.open_payments]

    async def settled(self) -> None:
        """Wait until everything is over."""

        async def is_settled() -> bool:
            return not await self.open_payments()

        await until("the gateway is done", is_settled, deadline_s=DEADLINE_S)

    # --- anyone's ---

    async def routing_info(self, federation: StagedFederation) -> RoutingInfo:
        answer = await self._post("/routing_info", federation.federation_id)
        return msgspec.json.decode(answer, type=RoutingInfo)

    async def send(self, body: SendPaymentPayload) -> Paid | Forfeited:
        return parse_send_answer(await self._post("/send_payment", body))

    async def create_invoice(self, body: CreateBolt11InvoicePayload) -> str:
        return msgspec.json.decode(await self._post("/create_bolt11_invoice", body), type=str)

    async def receive_ecash(self, text: str) -> None:
        """Wait until it is the gateway's."""
        await self._post("/receive_ecash", {"notes": text})

    async def _serves(self, federation: StagedFederation) -> bool:
        return federation.federation_id in await self._ecash()

    async def _ecash(self) -> dict[str, int]:
        balances = msgspec.json.decode(await self._call("GET", "/balances"), type=_Balances)
        return {one.federation_id: one.ecash_balance_msats for one in balances.ecash_balances}

    async def _post(self, path: str, body: Any) -> bytes:
        return await self._call("POST", path, msgspec.json.encode(body))

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        status, answer = await self._host.call(method, path, body)
        if status == 503:
            raise UnavailableError(answer.decode())
        if status != 200:
            raise RefusedError(status, answer.decode())
        return answer


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, as one does who cannot lose by asking again."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                return await ask()
            except UnavailableError:
                await anyio.sleep(_RETRY_PAUSE_S)
