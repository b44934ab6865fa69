"""A server made of LND's stubs that answers as the test says, over TLS."""

import datetime as dt
import hashlib
import inspect
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lndgrpc.compiled import (
    invoices_pb2,
    invoices_pb2_grpc,
    lightning_pb2,
    lightning_pb2_grpc,
    router_pb2_grpc,
)

from backends.lightning import HELD_FINAL_DELTA_BLOCKS, HeldPayment
from backends.lnd.connection import LndSettings
from backends.lnd.credentials import Credential
from backends.lnd.node import LndNode
from fedimint.codec import bolt11

PREIMAGE = bytes(31) + b"\x07"
HASH = hashlib.sha256(PREIMAGE).digest()
INVOICE = bolt11.sign(
    bolt11.InvoiceFields(
        network="regtest",
        amount_msat=100_000,
        timestamp_unix_s=1_700_000_000,
        payment_hash=HASH,
        payment_secret=bytes(32),
        description="coffee",
    ),
    secret_key=bytes(31) + b"\x01",
).text
MACAROON = b"macaroon of the gateway"

Payment = lightning_pb2.Payment
Invoice = lightning_pb2.Invoice
Context = grpc.aio.ServicerContext[Any, Any]
Answers = Callable[[Any, Context], AsyncIterator[Any]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one loop for the module: gRPC hands late events of one loop to the next, which fails."""
    yield
    await anyio.lowlevel.checkpoint()


def payment(status: int, **fields: Any) -> Any:
    return Payment(payment_hash=HASH.hex(), status=status, **fields)


SUCCEEDED = payment(Payment.SUCCEEDED, payment_preimage=PREIMAGE.hex(), fee_msat=1_500)


def htlc(
    expiry_height: int, *, total_msat: int = 100_000, state: int = lightning_pb2.ACCEPTED
) -> Any:
    return lightning_pb2.InvoiceHTLC(
        amt_msat=100_000, expiry_height=expiry_height, mpp_total_amt_msat=total_msat, state=state
    )


def invoice(state: int = Invoice.OPEN, payment_hash: bytes = HASH, **fields: Any) -> Any:
    terms = {"value_msat": 100_000, "cltv_expiry": HELD_FINAL_DELTA_BLOCKS}
    return Invoice(r_hash=payment_hash, state=state, **(terms | fields))


def accepted(payment_hash: bytes = HASH, *htlcs: Any) -> Any:
    found = htlcs or (htlc(800_144),)
    return invoice(Invoice.ACCEPTED, payment_hash, amt_paid_msat=100_000, htlcs=found)


def held(payment_hash: bytes = HASH) -> HeldPayment:
    return HeldPayment(payment_hash, 100_000, 800_144 - 36)


def answers(*messages: Any) -> Answers:
    async def stream(_request: Any, _context: Context) -> AsyncIterator[Any]:
        for message in messages:
            yield message

    return stream


def aborts(code: grpc.StatusCode, text: str, *messages: Any) -> Answers:
    async def stream(_request: Any, context: Context) -> AsyncIterator[Any]:
        for message in messages:
            yield message
        await context.abort(code, text)

    return stream


async def hangs(_request: Any, context: Context) -> AsyncIterator[Any]:
    yield payment(Payment.IN_FLIGHT)
    await anyio.sleep_forever()


@dataclass(frozen=True)
class Refusal:
    """What a call with one answer is refused with."""

    code: grpc.StatusCode
    text: str


class FakeLnd(
    invoices_pb2_grpc.InvoicesServicer,  # type: ignore[misc]  # the stubs have no types
    router_pb2_grpc.RouterServicer,  # type: ignore[misc]  # the stubs have no types
    lightning_pb2_grpc.LightningServicer,  # type: ignore[misc]  # the stubs have no types
):
    """Answers as the test says: payments by `send` and `track`, the rest by `replies` and `streams`.

    A reply is a message, a Refusal, or a function from the request to either, also an async one.
    """

    def __init__(self, folder: Path) -> None:
        self.send: Answers = answers()
        self.track: Answers = answers()
        self.replies: dict[str, Any] = {}
        self.streams: dict[str, Answers] = {}
        self.requests: list[Any] = []
        self.macaroons: list[str] = []
        self.left_s: list[float | None] = []
        """How long each call was still waited for when it came; None without a deadline."""
        self.network = "mainnet"
        self.is_slow = False
        self.port = 0
        self.folder = folder
        self.server: grpc.aio.Server | None = None

    def note(self, request: Any, context: Context) -> None:
        self.requests.append(request)
        self.left_s.append(context.time_remaining())
        self.macaroons.append(str(dict(context.invocation_metadata() or ())["macaroon"]))

    async def SendPaymentV2(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802  # name of the RPC
        self.note(request, context)
        async for message in self.send(request, context):
            yield message

    async def TrackPaymentV2(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802  # name of the RPC
        self.note(request, context)
        async for message in self.track(request, context):
            yield message

    async def GetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802  # name of the RPC
        self.note(request, context)
        if self.is_slow:
            await anyio.sleep_forever()
        return lightning_pb2.GetInfoResponse(
            identity_pubkey="02" + "ab" * 32,
            alias="bob",
            block_height=812_000,
            synced_to_chain=True,
            chains=[lightning_pb2.Chain(chain="bitcoin", network=self.network)],
        )

    async def WalletBalance(self, request: Any, context: Any) -> Any:  # noqa: N802  # name of the RPC
        return lightning_pb2.WalletBalanceResponse(
            total_balance=70_000, reserved_balance_anchor_chan=10_000
        )

    async def ChannelBalance(self, request: Any, context: Any) -> Any:  # noqa: N802  # name of the RPC
        return lightning_pb2.ChannelBalanceResponse(
            local_balance=lightning_pb2.Amount(sat=5, msat=5_001),
            remote_balance=lightning_pb2.Amount(sat=6, msat=6_001),
            unsettled_local_balance=lightning_pb2.Amount(sat=1, msat=1_000),
        )

    async def reply(self, method: str, request: Any, context: Any) -> Any:
        self.note(request, context)
        found = self.replies.get(method, Refusal(grpc.StatusCode.UNKNOWN, f"{method}?"))
        answer = found(request) if callable(found) else found
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Refusal):
            await context.abort(answer.code, answer.text)
        return answer

    async def stream(self, method: str, request: Any, context: Any) -> AsyncIterator[Any]:
        self.note(request, context)
        async for message in self.streams[method](request, context):
            yield message

    def requests_of(self, kind: Any) -> list[Any]:
        return [request for request in self.requests if isinstance(request, kind)]

    def settings(self) -> LndSettings:
        return LndSettings(
            address=f"https://localhost:{self.port}",
            tls_cert=Credential(path=self.folder / "tls.cert"),
            macaroon=Credential(path=self.folder / "gateway.macaroon"),
        )

    async def start(self) -> None:
        self.server = grpc.aio.server()
        invoices_pb2_grpc.add_InvoicesServicer_to_server(self, self.server)
        router_pb2_grpc.add_RouterServicer_to_server(self, self.server)
        lightning_pb2_grpc.add_LightningServicer_to_server(self, self.server)
        key = (self.folder / "tls.key").read_bytes()
        certificate = (self.folder / "tls.cert").read_bytes()
        self.port = self.server.add_secure_port(
            f"127.0.0.1:{self.port}", grpc.ssl_server_credentials([(key, certificate)])
        )
        await self.server.start()

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.stop(None)


async def create(node: LndNode, **changes: Any) -> str:
    order: dict[str, Any] = {
        "payment_hash": HASH,
        "amount_msat": 100_000,
        "expiry_s": 600,
        "description": "coffee",
    }
    return await node.create_invoice(**(order | changes))


def _answer_by_table(method: Any) -> None:
    """Let the calls that have no answer of their own be answered by `replies` and `streams`."""
    name = method.name

    async def reply(self: FakeLnd, request: Any, context: Any) -> Any:
        return await self.reply(name, request, context)

    async def stream(self: FakeLnd, request: Any, context: Any) -> AsyncIterator[Any]:
        async for message in self.stream(name, request, context):
            yield message

    if name not in vars(FakeLnd):
        setattr(FakeLnd, name, stream if method.server_streaming else reply)


for _file, _service in ((invoices_pb2, "Invoices"), (lightning_pb2, "Lightning")):
    for _method in _file.DESCRIPTOR.services_by_name[_service].methods:
        _answer_by_table(_method)


def write_credentials(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lnd")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2124, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls.cert").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "gateway.macaroon").write_bytes(MACAROON)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[FakeLnd, LndNode]]:
    write_credentials(folder)
    lnd = FakeLnd(folder)
    await lnd.start()
    node = LndNode(lnd.settings())
    try:
        yield lnd, node
    finally:
        await node.aclose()
        await lnd.stop()
