"""A gateway of canned answers, for tests and benchmarks of the API and of the command line."""

import anyio

from api.handlers import Gateway, NodeFacts
from api.structs import LndMode, LndModeSettings
from errors import InputError
from gateway import views

__all__ = ["CannedGateway", "canned_facts", "canned_federation", "canned_status"]

_FEE = views.PaymentFee(base=2000, parts_per_million=3000)
_LIGHTNING_KEY = "0339d1a98ef48f7d0286d947e27c0b5d424a2982e51300495546073d25bac14bdf"


def canned_federation(federation_index: int = 1) -> views.FederationStatus:
    """A joined federation whose id repeats its index."""
    return views.FederationStatus(
        federation_id=f"{federation_index:02x}" * 32,
        name=f"fed{federation_index}",
        balance_msat=199_999_607_296,
        invite_code="fed11qgqpw9thwvaz7te3xgmjuvpwxqhrzw3jxqerqvf0",
        federation_index=federation_index,
        lightning_fee=views.PaymentFee(base=0, parts_per_million=0),
        transaction_fee=_FEE,
        receive_enabled=True,
    )


def canned_status() -> views.GatewayStatus:
    """A running gateway with one federation and one open payment."""
    return views.GatewayStatus(
        state="Running",
        lightning=views.LightningStatus(
            public_key=_LIGHTNING_KEY,
            alias=_LIGHTNING_KEY[:20],
            network="regtest",
            block_height=240,
            synced_to_chain=True,
        ),
        federations=(canned_federation(),),
        open_payments=(
            views.OpenPayment(
                stream="send/ab",
                kind="send",
                federation_id="01" * 32,
                state="in_flight",
                since_unix_s=1_795_372_376,
                age_s=7,
                last_error=None,
            ),
        ),
        public_url="http://127.0.0.1:8175/v1",
        gateway_id="0362efbe50406e1bd4fe4ccce1aff41921e0493bc8e2f1a42e9e2910f38a2b256a",
    )


def canned_facts() -> NodeFacts:
    """LND on this machine."""
    return NodeFacts(
        version_hash="264ebf22b698c158055bcdd80d5b586fdb48d1fc",
        lightning_mode=LndMode(
            lnd=LndModeSettings(
                lnd_rpc_addr="https://127.0.0.1:10009",
                lnd_tls_cert="lnd/tls.cert",
                lnd_macaroon="lnd/admin.macaroon",
                lnd_time_pref=0.5,
                lnd_payment_timeout_secs=180,
            )
        ),
    )


class CannedGateway(Gateway):
    """Answers from its attributes, raises `failure` instead when set, and records what was asked.

    While `hold` is set, `send_payment` waits for it; `sends_waiting` counts who does.
    """

    def __init__(self) -> None:
        self.status = canned_status()
        self.outcome: views.Paid | views.Forfeited = views.Paid(preimage=bytes(range(32)))
        self.failure: Exception | None = None
        self.hold: anyio.Event | None = None
        self.sends_waiting = 0
        self.sends: list[views.SendPaymentRequest] = []
        self.joins: list[tuple[str, bool]] = []

    async def info(self) -> views.GatewayStatus:
        self._fail_if_told()
        return self.status

    async def balances(self) -> views.GatewayBalances:
        self._fail_if_told()
        return views.GatewayBalances(
            onchain_balance_sats=985_005_882,
            lightning_balance_msats=7_996_530_000,
            ecash_balances=tuple(
                views.EcashBalance(f.federation_id, f.balance_msat) for f in self.status.federations
            ),
            inbound_lightning_liquidity_msats=7_000_000_000,
        )

    async def connect_federation(
        self, invite_code: str, *, recover: bool
    ) -> views.FederationStatus:
        self._fail_if_told()
        self.joins.append((invite_code, recover))
        return canned_federation()

    async def routing_info(self, federation_id: str) -> views.RoutingInfo | None:
        self._fail_if_told()
        if federation_id not in {f.federation_id for f in self.status.federations}:
            raise InputError(f"No federation available for prefix {federation_id[:8]}")
        return views.RoutingInfo(
            lightning_public_key=_LIGHTNING_KEY,
            lightning_alias=_LIGHTNING_KEY[:20],
            module_public_key="032bd8b53de5cd885fb0d00fe548d4bc919786f596e7c470704a64b4fbe3e65df3",
            send_fee_minimum=_FEE,
            send_fee_default=_FEE,
            expiration_delta_minimum=144,
            expiration_delta_default=1440,
            receive_fee=_FEE,
            receive_enabled=True,
        )

    async def send_payment(self, request: views.SendPaymentRequest) -> views.Paid | views.Forfeited:
        self._fail_if_told()
        self.sends.append(request)
        if self.hold is not None:
            self.sends_waiting += 1
            try:
                await self.hold.wait()
            finally:
                self.sends_waiting -= 1
        return self.outcome

    def _fail_if_told(self) -> None:
        if self.failure is not None:
            raise self.failure
