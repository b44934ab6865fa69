"""The answers of the canned gateway (`api/testing/gateway.py`), mostly recorded from a Rust gateway."""

import msgspec

from api.federation_handlers import NodeFacts
from fedimint.codec.wire_types import Duration
from fedimint.config import Version
from fedimint.lnv2.gateway_api import PaymentFee, RoutingInfo
from gateway import views

PREIMAGE = bytes(range(32))
INVOICE = "lnbcrt10u1p4sxd2upp5nsvlafvz623kwrcfywpvss2trryqtfxhacnv7x5m3az6y9n5dp2q"
ECASH = "fedimint8000isf6harcnr1irmnosacc4q8ir79upjsff6mho2matlbgg97p6iiq18k4"
ADDRESS = "bcrt1qw49rukpj30h6w9tmmw7n2h090u9yujs4xrcfr0u8whqymfwuc0csu7ssux"
TXID = "3061fb2724eb71b327859141ed7e5104fb3b14a121a227def94c9a8b5d212b0a"
_FEE = PaymentFee(base=2000, parts_per_million=3000)
_LIGHTNING_KEY = "0339d1a98ef48f7d0286d947e27c0b5d424a2982e51300495546073d25bac14bdf"


def federation(federation_index: int = 1) -> views.FederationInfo:
    """A joined federation whose id repeats its index."""
    return views.FederationInfo(
        federation_id=f"{federation_index:02x}" * 32,
        federation_name=f"fed{federation_index}",
        balance_msat=199_999_607_296,
        config=views.FederationConfig(
            invite_code="fed11qgqpw9thwvaz7te3xgmjuvpwxqhrzw3jxqerqvf0",
            federation_index=federation_index,
            lightning_fee=PaymentFee(base=0, parts_per_million=0),
            transaction_fee=_FEE,
            payment_policies=(),
        ),
        last_backup_time=None,
    )


def exposure() -> views.ExposureInfo:
    """Ecash alone is at stake, below a cap that the operator set."""
    return views.ExposureInfo(
        federation_id="01" * 32,
        exposure_msat=199_999_607_296,
        cap_msat=300_000_000_000,
        cap_is_default=False,
        refused_claim=None,
    )


def status() -> views.GatewayStatus:
    """A running gateway with one federation and one open payment."""
    return views.GatewayStatus(
        state="Running",
        lightning=views.NodeInfo(
            public_key=_LIGHTNING_KEY,
            alias=_LIGHTNING_KEY[:20],
            network="regtest",
            block_height=240,
            synced_to_chain=True,
        ),
        federations=(federation(),),
        open_payments=(
            views.OpenPayment(
                stream="send/ab",
                kind="send",
                federation_id="01" * 32,
                state="in_flight",
                since_unix_s=1_795_372_376,
                age_s=7,
                overdue=False,
                last_error=None,
            ),
        ),
        problems=("a guardian does not answer",),
        frozen_until=("the Lightning node",),
        exposures=(exposure(),),
        public_url="http://127.0.0.1:8175/v1",
        gateway_id="0362efbe50406e1bd4fe4ccce1aff41921e0493bc8e2f1a42e9e2910f38a2b256a",
    )


def facts() -> NodeFacts:
    """A node of a kind that the Rust CLI knows."""
    return NodeFacts(
        version_hash="264ebf22b698c158055bcdd80d5b586fdb48d1fc",
        lightning_mode=msgspec.Raw(
            b'{"Lnd":{"lnd_rpc_addr":"https://127.0.0.1:10009","lnd_tls_cert":"lnd/tls.cert",'
            b'"lnd_macaroon":"lnd/admin.macaroon","lnd_time_pref":0.5,"lnd_payment_timeout_secs":180}}'
        ),
    )


def balances(federations: tuple[views.FederationInfo, ...]) -> views.GatewayBalances:
    """Funds everywhere."""
    return views.GatewayBalances(
        onchain_balance_sats=985_005_882,
        lightning_balance_msats=7_996_530_000,
        ecash_balances=tuple(
            views.FederationBalanceInfo(one.federation_id, one.balance_msat) for one in federations
        ),
        inbound_lightning_liquidity_msats=7_000_000_000,
    )


def routing_info() -> RoutingInfo:
    """The default fees."""
    return RoutingInfo(
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


def serving() -> views.Serving:
    """All guardians reached, lnv2 there."""
    return views.Serving(connectivity="connected", lnv2=Version(major=1, minor=0))


def invites() -> tuple[views.FederationInvites, ...]:
    """Two guardians of one federation."""
    return (
        views.FederationInvites(
            federation_id="01" * 32,
            guardians=(
                views.GuardianInvite(0, "Guardian 0", "fed11qgqpw9thwvaz7te3xgmjuvpwxqhrzw3jxqe0"),
                views.GuardianInvite(1, "Guardian 1", "fed11qgqpw9thwvaz7te3xgmjuvpwxqhrzw3jxqe1"),
            ),
        ),
    )


def configs() -> tuple[views.StoredClientConfig, ...]:
    """One config, much shortened."""
    config = b'{"global":{"meta":{"federation_name":"fed1"}},"modules":{"0":{"kind":"lnv2"}}}'
    return (views.StoredClientConfig(federation_id="01" * 32, config_json=config),)


def withdrawal() -> views.Withdrawal:
    """A withdrawal for a flat fee."""
    return views.Withdrawal(txid=TXID, amount_sat=7, fee_sat=166)


def sent_ecash() -> tuple[views.SentEcash, ...]:
    """One that was given, one that could not be."""
    return (
        views.SentEcash("ab" * 16, "01" * 32, 512, "Given", 1_800_000_000, None),
        views.SentEcash("cd" * 16, "01" * 32, 1_024, "GiftRefused", 1_700_000_000, "poor"),
    )


def node_invoice() -> views.InvoiceRecord:
    """A paid invoice of the node."""
    return views.InvoiceRecord(
        payment_hash=bytes([0xAB] * 32),
        preimage=PREIMAGE,
        amount_msat=1_000_000,
        created_unix_s=1_795_372_380,
        status="Succeeded",
    )


def node_transactions() -> tuple[views.NodeTransaction, ...]:
    """A Lightning payment got, and coins sent."""
    return (
        views.NodeTransaction(
            payment_hash=bytes([0xAB] * 32),
            preimage=PREIMAGE,
            kind="Bolt11",
            amount_msat=1_000_000,
            direction="Inbound",
            status="Succeeded",
            unix_s=1_795_372_381,
        ),
        views.NodeTransaction(
            payment_hash=None,
            preimage=None,
            kind="Onchain",
            amount_msat=2_000_000,
            direction="Outbound",
            status="Pending",
            unix_s=1_795_372_382,
        ),
    )


def node_replacement() -> views.NodeReplacement:
    """What giving a node up would mean."""
    return views.NodeReplacement(
        old_node=_LIGHTNING_KEY,
        new_node="03" + "ab" * 32,
        is_replaced=False,
        gives_up=("Whatever the old node holds is lost.",),
    )


def channels() -> tuple[views.Channel, ...]:
    """One channel of which all is known, and a sleeping one of which little is."""
    return (
        views.Channel(
            remote_public_key=_LIGHTNING_KEY,
            capacity_sat=1_000_000,
            outbound_sat=600_000,
            inbound_sat=396_530,
            is_active=True,
            funding_out_point=f"{TXID}:1",
            remote_alias="bob",
            remote_address="127.0.0.1:9735",
            base_fee_msat=1000,
            parts_per_million=1,
        ),
        views.Channel(
            remote_public_key=_LIGHTNING_KEY,
            capacity_sat=20_000,
            outbound_sat=0,
            inbound_sat=16_530,
            is_active=False,
            funding_out_point=None,
            remote_alias=None,
            remote_address=None,
            base_fee_msat=None,
            parts_per_million=None,
        ),
    )


def log_entries() -> tuple[views.PaymentLogEntry, ...]:
    """The end of a payment, and something without a module."""
    image = b'{"payment_image":{"Hash":"' + b"ab" * 32 + b'"},"target_federation":null}'
    return (
        views.PaymentLogEntry(
            id=25,
            kind="outgoing-payment-succeeded",
            module=views.ModuleOfEntry("lnv2", 0),
            ts_usecs=1_795_372_392_452_734,
            payload=msgspec.Raw(image),
        ),
        views.PaymentLogEntry(
            id=3,
            kind="something-else",
            module=None,
            ts_usecs=1_795_372_391_000_000,
            payload=msgspec.Raw(b"{}"),
        ),
    )


def summary() -> views.PaymentSummary:
    """Some payments out, none in."""
    return views.PaymentSummary(
        outgoing=views.PaymentStats(
            average_latency=Duration(1, 275_569_000),
            median_latency=Duration(0, 199_399_000),
            total_fees=158_000,
            total_success=31,
            total_failure=1,
        ),
        incoming=views.PaymentStats(
            average_latency=None,
            median_latency=None,
            total_fees=0,
            total_success=0,
            total_failure=0,
        ),
    )
