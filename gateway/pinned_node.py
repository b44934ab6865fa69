"""A guard before the Lightning node: no call leaves before the node is known to be the gateway's own.

That is the first that answered, until the operator replaces it. Calls may be under way there, and only its own record
says what became of them: the "no record" of another would have money given back that was paid. So while another node
answers, nothing is asked of it and nothing is told it.
Who answers is asked before the first call, and again after every call or stream that broke off, since another node can
only take the place of ours on another connection. Streams are open all the time, so a change is heard of at once.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import structlog

from backends.abilities import Abilities
from backends.lightning import (
    Balances,
    CompletionRejectedError,
    HeldPayment,
    NodeInfo,
    NodeUnansweredError,
    PaymentStatus,
    Tell,
    tell_nobody,
)
from backends.operations import (
    Channel,
    ChannelOrder,
    InvoiceRecord,
    Node,
    NodeTransaction,
    OnchainOrder,
)
from engine.engine import Engine
from errors import ConfigError, GatewayError, UnavailableError
from fedimint.codec import bolt11
from fedimint.codec.wire_types import Network
from statemachines import identity

T = TypeVar("T")

_log = structlog.get_logger("node")


class OtherNodeError(UnavailableError):
    """Another Lightning node answers than the gateway's."""


class NodePin:
    """The node by the log."""

    def __init__(self, engine: Engine, network: Network) -> None:
        self._engine = engine
        self._network = network
        self.stranger: NodeInfo | None = None
        """The node that answered last, when it is not the gateway's."""

    @property
    def public_key(self) -> str | None:
        """The key (hex) of the gateway's node as it is decided, None before the first answer."""
        founded = self._engine.peek(identity.STREAM)
        return founded.node if isinstance(founded, identity.Founded) else None

    def check(self, info: NodeInfo) -> None:
        """Note who answered; the first one is the gateway's node from then on.

        Raises ConfigError for a node on another network, OtherNodeError for any other than the gateway's.
        """
        if info.network != self._network:
            raise ConfigError(
                f"the Lightning node is on {info.network}, this gateway on {self._network}: "
                "start it with the node's network, or with another node"
            )
        engine, pinned = self._engine, self.public_key
        if pinned is None and isinstance(engine.peek(identity.STREAM), identity.Founded):
            engine.deliver(identity.STREAM, identity.MeetNode(node=info.public_key))
            _log.info("lightning_node_pinned", public_key=info.public_key)
        self.stranger = None
        if pinned is not None and pinned != info.public_key:
            self.stranger = info
            raise OtherNodeError(
                f"another Lightning node answers, {info.public_key}, than this gateway's, {pinned}: nothing is paid, "
                "invoiced or funded. Point the gateway at its own node again; or, if that is gone for good, see what "
                "giving it up means: gateway-cli lightning replace-node"
            )


class PinnedNode:
    """A `backends.operations.Node`. Every method but `aclose` raises OtherNodeError while another node answers."""

    def __init__(self, node: Node, pin: NodePin) -> None:
        self._node = node
        self._pin = pin
        #: The key of the node behind the connection, None when it must be asked.
        self._known: str | None = None
        #: How often a connection broke: the node that answered before may be another than the one that answers now.
        self._breaks = 0

    @property
    def abilities(self) -> Abilities:
        """Known without asking: another node behind the same backend is of the same kind."""
        return self._node.abilities

    async def info(self) -> NodeInfo:
        """Asked each time. Raises ConfigError for a node on another network."""
        breaks = self._breaks
        try:
            info = await self._node.info()
            self._pin.check(info)
        except GatewayError:
            self._forget()
            raise
        if breaks == self._breaks:
            self._known = info.public_key
        return info

    async def balances(self) -> Balances:
        return await self._asked(self._node.balances)

    # --- paying ---

    @asynccontextmanager
    async def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        await self._ensure()
        async with (
            self._node.pay(
                invoice,
                payment_hash=payment_hash,
                max_fee_msat=max_fee_msat,
                max_delay_blocks=max_delay_blocks,
            ) as statuses,
            aclosing(self._heard(statuses)) as heard,
        ):
            yield heard

    @asynccontextmanager
    async def track(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        await self._ensure()
        async with (
            self._node.track(payment_hash) as statuses,
            aclosing(self._heard(statuses)) as heard,
        ):
            yield heard

    async def lookup(self, payment_hash: bytes) -> PaymentStatus:
        return await self._asked(lambda: self._node.lookup(payment_hash))

    # --- being paid ---

    async def create_invoice(
        self,
        *,
        payment_hash: bytes | None,
        amount_msat: int,
        expiry_s: int,
        description: str | bytes,
    ) -> str:
        """The invoice names who made it."""
        text = await self._asked(
            lambda: self._node.create_invoice(
                payment_hash=payment_hash,
                amount_msat=amount_msat,
                expiry_s=expiry_s,
                description=description,
            )
        )
        if bolt11.decode(text).payee.hex() != self._pin.public_key:
            self._forget()
            raise OtherNodeError("another Lightning node than the gateway's made this invoice")
        return text

    @asynccontextmanager
    async def held_payments(
        self, own: Iterable[bytes] = (), tell: Tell = tell_nobody
    ) -> AsyncIterator[AsyncIterator[HeldPayment]]:
        await self._ensure()
        async with (
            self._node.held_payments(own, tell) as payments,
            aclosing(self._heard(payments)) as heard,
        ):
            yield heard

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        await self._completed(lambda: self._node.settle(payment_hash, preimage))

    async def cancel(self, payment_hash: bytes) -> None:
        await self._completed(lambda: self._node.cancel(payment_hash))

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        return await self._asked(lambda: self._node.invoice(payment_hash))

    # --- being operated ---

    async def transactions(self, start_unix_s: int, end_unix_s: int) -> tuple[NodeTransaction, ...]:
        return await self._asked(lambda: self._node.transactions(start_unix_s, end_unix_s))

    async def payments_since(self, start_unix_s: int) -> tuple[NodeTransaction, ...]:
        return await self._asked(lambda: self._node.payments_since(start_unix_s))

    async def onchain_address(self) -> str:
        return await self._asked(self._node.onchain_address)

    async def send_onchain(self, order: OnchainOrder) -> str:
        return await self._asked(lambda: self._node.send_onchain(order))

    async def sent_onchain(self, label: str) -> str | None:
        return await self._asked(lambda: self._node.sent_onchain(label))

    async def open_channel(self, order: ChannelOrder) -> str:
        return await self._asked(lambda: self._node.open_channel(order))

    async def opened_channel(self, order: ChannelOrder) -> str | None:
        return await self._asked(lambda: self._node.opened_channel(order))

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        return await self._asked(
            lambda: self._node.close_channels(public_key, force=force, sat_per_vbyte=sat_per_vbyte)
        )

    async def channels(self) -> tuple[Channel, ...]:
        return await self._asked(self._node.channels)

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        await self._asked(
            lambda: self._node.set_channel_fees(
                funding_out_point, base_fee_msat=base_fee_msat, parts_per_million=parts_per_million
            )
        )

    async def connect_peer(self, public_key: str, host: str) -> None:
        await self._asked(lambda: self._node.connect_peer(public_key, host))

    async def aclose(self) -> None:
        await self._node.aclose()

    # --- guarding ---

    async def _ensure(self) -> None:
        if not self._is_ours():
            await self.info()
        if not self._is_ours():
            raise NodeUnansweredError(
                "the connection to the Lightning node broke while it was asked who it is"
            )

    def _is_ours(self) -> bool:
        return self._known is not None and self._known == self._pin.public_key

    def _forget(self) -> None:
        self._known = None
        self._breaks += 1

    async def _asked(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._ensure()
        try:
            return await call()
        except NodeUnansweredError:
            self._forget()
            raise

    async def _completed(self, call: Callable[[], Awaitable[None]]) -> None:
        """A node that says "never" is asked who it is: the word of another is none."""
        try:
            await self._asked(call)
        except CompletionRejectedError:
            await self.info()
            raise

    async def _heard(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        try:
            async for item in items:
                yield item
        except NodeUnansweredError:
            self._forget()
            raise
