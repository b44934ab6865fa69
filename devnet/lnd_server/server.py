"""A simulated node served as an LND: gRPC over TLS with a macaroon, which a gateway takes for a real one."""

import datetime as dt
import ipaddress
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backends.simulated.node import SimulatedNode
from devnet.lnd_server.channels import ChannelCalls
from devnet.lnd_server.invoices import InvoiceCalls
from devnet.lnd_server.operations import OperatorCalls
from devnet.lnd_server.payments import PaymentCalls
from devnet.lnd_server.rpc import MacaroonCheck

_HOST = "127.0.0.1"
_CERTIFICATE_DAYS = 14 * 30


class LndServer:
    """Serves one node. Its credentials are made anew when it is constructed and last as long as it."""

    def __init__(self, node: SimulatedNode, folder: Path) -> None:
        """Write `tls.cert`, `tls.key` and `admin.macaroon` into the folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tls_cert_path = folder / "tls.cert"
        self.macaroon_path = folder / "admin.macaroon"
        self._certificate, self._key = _self_signed()
        self._macaroon = secrets.token_bytes(32)
        invoices = InvoiceCalls(node)
        self._services = {
            "invoicesrpc.Invoices": invoices.invoices_calls(),
            "lnrpc.Lightning": {
                **OperatorCalls(node).calls(),
                **ChannelCalls(node).calls(),
                **invoices.lightning_calls(),
            },
            "routerrpc.Router": PaymentCalls(node).calls(),
        }
        self._server: grpc.aio.Server | None = None
        self._port = 0
        self.tls_cert_path.write_bytes(self._certificate)
        self.macaroon_path.touch(mode=0o600)
        self.macaroon_path.write_bytes(self._macaroon)

    @property
    def rpc_address(self) -> str:
        """Host and port of the gRPC server, once it has been started."""
        return f"{_HOST}:{self._port}"

    async def start(self) -> None:
        """Serve on a free port, or on the port of before."""
        server = grpc.aio.server(interceptors=[MacaroonCheck(self._macaroon)])
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(name, calls)
                for name, calls in self._services.items()
            ]
        )
        self._port = server.add_secure_port(
            self.rpc_address, grpc.ssl_server_credentials([(self._key, self._certificate)])
        )
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """End every call at once; the node goes on."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


@asynccontextmanager
async def serving_lnd(node: SimulatedNode, folder: Path) -> AsyncIterator[LndServer]:
    """Serve a node until the block is left."""
    server = LndServer(node, folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _self_signed() -> tuple[bytes, bytes]:
    """Make a certificate for this machine alone, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "simulated LND"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost"),
        ]
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(_HOST))]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
