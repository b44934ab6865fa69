"""The gRPC connection to one LND: credentials, reconnecting, and what the end of a call means."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio.lowlevel
import grpc
import grpc.aio
import msgspec
from google.protobuf.message import DecodeError, Message
from lndgrpc.compiled.invoices_pb2_grpc import InvoicesStub
from lndgrpc.compiled.lightning_pb2_grpc import LightningStub
from lndgrpc.compiled.router_pb2_grpc import RouterStub

from backends.lightning import NodeRefusedError, NodeUnansweredError
from backends.lnd.credentials import Credential, read_certificate, read_macaroon
from errors import ConfigError, InputError

ANSWER_TIMEOUT_S = 15
"""How long a call that LND answers at once may take. Streams of a payment have no end of their own."""

PEER_TIMEOUT_S = 60
"""How long a call may take for which LND waits for a peer of its own."""

PAGE_ITEMS = 500
"""How much of a listing comes in one message."""

# gRPC reconnects by itself; the pings notice a peer that vanished without closing its connection.
# LND takes a ping every 5 s at most, and none while no call is open.
CHANNEL_OPTIONS = (
    # gRPC would send even 127.0.0.1 through http_proxy, which is set for whole machines; a node is reached directly.
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 15_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # As lncli's. The wallet's transactions come in one message, and gRPC's own bound is 4 MB.
    ("grpc.max_receive_message_length", 200 << 20),
)

# These come from this side, from a proxy, or from LND on its way down: the call may have been taken.
_UNANSWERED_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DATA_LOSS,
    }
)

# LND's own errors mostly have the code UNKNOWN, and so have these, which are no word on the call:
# gRPC's own, when a connection or a proxy broke it off, and LND's while it starts or stops
# (rpcperms/interceptor.go, lnrpc/routerrpc/router_server.go).
_UNANSWERED_TEXTS = (
    "Stream removed",
    "Received http2 header with status",
    "waiting to start, RPC services not available",
    "wallet not created, create one to enable full RPC access",
    "wallet locked, unlock it to enable full RPC access",
    "the RPC server is in the process of starting up",
    "routerrpc server shutting down",
)


class LndSettings(msgspec.Struct, frozen=True):
    """How to reach LND, and how it is asked to pay.

    `address` is host:port, with or without "https://". `time_pref` is LND's weight of reliability
    against fees, -1 (cheapest) to 1 (most reliable). `payment_timeout_s`, 1 to 600, is how long LND
    looks for routes; parts in flight then are waited for however long they take.
    `max_delay_cap_blocks` must not be above LND's own `--max-cltv-expiry`.
    """

    address: str
    tls_cert: Credential
    macaroon: Credential
    time_pref: float = 0.5
    payment_timeout_s: int = 180
    max_delay_cap_blocks: int = 2016

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of its range."""
        if not -1 <= self.time_pref <= 1:
            raise ConfigError(f"LND's time preference is from -1 to 1, not {self.time_pref}")
        if not 1 <= self.payment_timeout_s <= 600:
            raise ConfigError(
                f"LND's payment timeout is from 1 to 600 seconds, not {self.payment_timeout_s}"
            )
        if self.max_delay_cap_blocks < 1:
            raise ConfigError("LND's cap on a payment's delay is at least one block")


@dataclass(frozen=True)
class _Channel:
    """One gRPC channel and the credentials it was opened with."""

    certificate: bytes = field(repr=False)
    macaroon: bytes = field(repr=False)
    grpc_channel: grpc.aio.Channel
    invoices: Any
    lightning: Any
    router: Any

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("macaroon", self.macaroon.hex()),)


class LndConnection:
    """Calls to one LND. After a call that failed the credential files are read again."""

    def __init__(self, settings: LndSettings) -> None:
        """Nothing is read or connected before the first call."""
        self._settings = settings
        self._channel: _Channel | None = None
        self._files_may_have_changed = True
        self._is_closed = False

    async def call(
        self,
        method: Callable[["Stubs"], Any],
        request: Message,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
    ) -> Any:
        """Answer of a call that has one answer. Without a timeout it is waited for as long as the connection lives."""
        channel = await self._open_channel()
        async with self._call_ends():
            return await method(channel)(request, metadata=channel.metadata, timeout=timeout_s)

    async def find(self, method: Callable[["Stubs"], Any], request: Message) -> Any | None:
        """Answer of a call, None when LND says that there is no such thing."""
        try:
            return await self.call(method, request)
        except NodeRefusedError as refusal:
            if refusal.code != "NOT_FOUND":
                raise
            return None

    async def pages(
        self,
        method: Callable[["Stubs"], Any],
        request: Any,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
    ) -> AsyncGenerator[Any, None]:
        """Answers of a listing by index, each beginning behind the last; the request is moved on."""
        while True:
            page = await self.call(method, request, timeout_s)
            if page.last_index_offset <= request.index_offset:
                return
            yield page
            request.index_offset = page.last_index_offset

    async def stream(
        self, method: Callable[["Stubs"], Any], request: Message, timeout_s: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """Messages of a streaming call until LND closes it; the call is cancelled when left."""
        channel = await self._open_channel()
        call = method(channel)(request, metadata=channel.metadata, timeout=timeout_s)
        try:
            while True:
                async with self._call_ends():
                    message = await call.read()
                if message is grpc.aio.EOF:
                    return
                yield message
        finally:
            call.cancel()

    async def aclose(self) -> None:
        """Close the channel; open calls end with NodeUnansweredError, and so does every later one."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.grpc_channel.close()

    async def _open_channel(self) -> _Channel:
        if self._is_closed:
            raise NodeUnansweredError("the connection to LND has been closed")
        if self._channel is not None and not self._files_may_have_changed:
            return self._channel
        certificate = read_certificate(self._settings.tls_cert)
        macaroon = read_macaroon(self._settings.macaroon)
        old = self._channel
        if old is None or (old.certificate, old.macaroon) != (certificate, macaroon):
            self._channel = _new_channel(self._settings.address, certificate, macaroon)
        self._files_may_have_changed = False
        channel = self._channel
        assert channel is not None
        if old is not None and old is not channel:
            await old.grpc_channel.close()
        return channel

    @contextlib.asynccontextmanager
    async def _call_ends(self) -> AsyncIterator[None]:
        """Turn every end of a call that is not an answer into one of our two errors."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            self._files_may_have_changed = True
            raise call_error(error.code(), error.details() or "") from None
        except asyncio.CancelledError:
            # gRPC raises this also when the channel or LND cancelled the call, not this task.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # It also swallows this task's own and raises another, which the scope that cancelled would take for
                # somebody else's, and end every task beside this one: the scope's is to come again.
                await anyio.lowlevel.checkpoint_if_cancelled()
                raise
            raise NodeUnansweredError("the call to LND was cancelled on its way") from None
        except (grpc.aio.UsageError, grpc.aio.InternalError, DecodeError) as error:
            raise NodeUnansweredError(f"the call to LND broke: {type(error).__name__}") from None


Stubs = _Channel
"""What a call may choose its method from: `.invoices`, `.lightning` and `.router`."""


class LndPart:
    """One LND, as every part of `LndNode` sees it."""

    def __init__(self, settings: LndSettings) -> None:
        """Nothing is read or connected before the first call."""
        self._settings = settings
        self._connection = LndConnection(settings)


def new_request(kind: Any, **fields: Any) -> Any:
    """Make a message of values that came from outside; InputError for those LND has no room for."""
    try:
        return kind(**fields)
    except ValueError as error:
        raise InputError(f"LND cannot be asked for this: {error}") from None


def call_error(code: grpc.StatusCode, text: str) -> NodeUnansweredError | NodeRefusedError:
    """Whether a gRPC status is LND's own refusal of the call, or no answer to it."""
    if code in _UNANSWERED_CODES or text.startswith(_UNANSWERED_TEXTS):
        return NodeUnansweredError(f"LND did not answer: {text} ({code.name})")
    return NodeRefusedError(code.name, text)


def _new_channel(address: str, certificate: bytes, macaroon: bytes) -> _Channel:
    channel = grpc.aio.secure_channel(
        address.removeprefix("https://").rstrip("/"),
        grpc.ssl_channel_credentials(root_certificates=certificate),
        options=CHANNEL_OPTIONS,
    )
    return _Channel(
        certificate,
        macaroon,
        channel,
        InvoicesStub(channel),
        LightningStub(channel),
        RouterStub(channel),
    )
