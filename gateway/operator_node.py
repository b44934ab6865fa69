"""The Lightning node for its operator: what it reports, what it is ordered, what it pays."""

import msgspec

from backends.operations import Channel, InvoiceRecord, Node, NodeTransaction
from engine.machine import State
from errors import ConflictError, InputError, PeerError
from fedimint import pasted
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import Paid
from fedimint.pasted import destination
from gateway import dismissing, replacing_node
from gateway.context import GatewayContext
from gateway.views import NodeReplacement, OperatorInvoiceRequest
from statemachines import node_order, operator_payment
from statemachines.node_order import OpenChannel, Order, SendCoins
from statemachines.operator_payment import OperatorPaymentFacts, RequestOperatorPayment

#: What routing may cost, on top of a hundredth of the amount (fedimint-gateway-server/src/lib.rs).
FEE_BASE_MSAT = 50
FEE_DIVISOR = 100
#: How long the payment's HTLCs may be locked at most (fedimint-gateway-server/src/lib.rs).
MAX_DELAY_BLOCKS = 1008


class OperatorNode:
    """The node of a running gateway. Every async method raises UnavailableError while the node does not answer."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._engine = context.engine

    # --- payments ---

    async def create_operator_invoice(self, request: OperatorInvoiceRequest) -> str:
        """A BOLT 11 invoice that pays the node itself."""
        return await self._node().create_invoice(
            payment_hash=None,
            amount_msat=request.amount_msat,
            expiry_s=request.expiry_s,
            description=request.description,
        )

    async def pay_operator_invoice(self, invoice: str) -> Paid:
        """Pay from the node's own funds and wait for the end, or join the payment of this invoice.

        One that failed is made again, and one of a client's that ended without preimage may be. Raises InputError
        for an invoice that cannot be paid, ConflictError when a client's payment with this hash is open or paid,
        PeerError when the payment failed.
        """
        fields = pasted.invoice(invoice)
        stream = operator_payment.stream_of(fields.payment_hash.hex())
        if isinstance(self._engine.peek(stream), operator_payment.New | operator_payment.Failed):
            self._context.refuse_new_work()
            facts = self._payable(fields)
            await self._engine.submit(stream, RequestOperatorPayment(facts=facts))
        ended = (await self._engine.wait(stream, _has_ended)).state
        if isinstance(ended, operator_payment.Failed):
            raise PeerError(f"the Lightning node could not pay the invoice: {ended.reason}")
        assert isinstance(ended, operator_payment.Paid)
        return Paid(bytes.fromhex(ended.preimage))

    def _payable(self, fields: bolt11.Bolt11Invoice) -> OperatorPaymentFacts:
        network = self._context.settings.network
        if not fields.amount_msat:
            raise InputError("the invoice names no amount; only invoices with an amount are paid")
        if not bolt11.is_for(fields, network):
            raise InputError(
                f"the invoice is for the network {fields.network}, this gateway is on {network}"
            )
        if fields.expires_unix_s <= self._context.now_unix_s():
            raise InputError("the invoice has expired; ask its payee for another")
        return OperatorPaymentFacts(
            payment_hash=fields.payment_hash.hex(),
            invoice=fields.text,
            invoice_msat=fields.amount_msat,
            max_fee_msat=FEE_BASE_MSAT + fields.amount_msat // FEE_DIVISOR,
            max_delay_blocks=MAX_DELAY_BLOCKS,
            node=self._context.watch.connected().public_key,
        )

    def why_no_offers(self) -> str:
        """Why BOLT 12 offers are neither made nor paid, in words, whether the node answers or not."""
        abilities = self._context.outside.node.abilities
        if abilities.offers:
            return "this gateway does not serve BOLT12 offers; use a BOLT11 invoice"
        return (
            f"{abilities.kind}, on which this gateway runs, knows no BOLT12 offers; "
            "use a BOLT11 invoice"
        )

    async def node_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """An invoice of the node by its hash in hex, None when it has none such."""
        return await self._node().invoice(bytes.fromhex(payment_hash))

    async def node_transactions(
        self, start_unix_s: int, end_unix_s: int
    ) -> tuple[NodeTransaction, ...]:
        """What the node paid or received in start <= time <= end, oldest first."""
        return await self._node().transactions(start_unix_s, end_unix_s)

    # --- coins ---

    async def onchain_address(self) -> str:
        """A fresh address of the node's wallet."""
        return await self._node().onchain_address()

    async def send_onchain(self, order: SendCoins) -> str:
        """Send coins from the node's wallet, to an address as it was pasted, and return the txid.

        Raises InputError for an address of another network and for nothing to send, PeerError when the node refuses.
        """
        if order.amount_sat == 0:
            raise InputError("0 sat cannot be sent; name an amount above 0, or all")
        if order.sat_per_vbyte == 0:
            raise InputError("a fee of 0 sat/vB is none: name at least 1 sat/vB")
        self._context.refuse_new_work()
        self._node()
        to = destination(order.address, order.amount_sat, self._context.settings.network)
        return await self._order(msgspec.structs.replace(order, address=to.address))

    # --- channels ---

    async def open_channel(self, order: OpenChannel) -> str:
        """Open a channel and return its funding txid. Raises PeerError when the node refuses.

        The connection comes first, since it can be tried any number of times and the order cannot.
        """
        self._context.refuse_new_work()
        await self._node().connect_peer(order.public_key, order.host)
        return await self._order(order)

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        """Begin to close every channel with a peer and return how many there were."""
        return await self._node().close_channels(
            public_key, force=force, sat_per_vbyte=sat_per_vbyte
        )

    async def channels(self) -> tuple[Channel, ...]:
        """All open channels of the node."""
        return await self._node().channels()

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        """Set our fees of the channel "txid:vout". Raises NotFoundError without such a channel."""
        await self._node().set_channel_fees(
            funding_out_point, base_fee_msat=base_fee_msat, parts_per_million=parts_per_million
        )

    async def connect_peer(self, public_key: str, host: str) -> None:
        """Connect to a peer at "name:port"; being connected already is fine."""
        await self._node().connect_peer(public_key, host)

    # --- what nobody answered ---

    async def retry(self, stream: str) -> str:
        """Lift the quarantine of a stream, and return the name of its state.

        Raises InputError for what is no stream, and what `Engine.lift` raises.
        """
        engine = self._context.engine
        dismissing.require_stream(stream)
        await engine.lift(stream)
        return type((await engine.read(stream)).state).__name__

    async def dismiss(self, stream: str) -> str:
        """`gateway.dismissing.dismiss`."""
        return await dismissing.dismiss(self._context, stream)

    async def replace_node(self, gone: str | None) -> NodeReplacement:
        """`gateway.replacing_node.replace`."""
        return await replacing_node.replace(self._context, gone)

    # --- ---

    def _node(self) -> Node:
        """The node, when it answered a moment ago: none of this waits for one that is away."""
        self._context.watch.connected()
        return self._context.outside.node

    async def _order(self, order: Order) -> str:
        """Order it once, under an id of its own; the txid once the node has told it."""
        order_id = self._context.new_id()
        stream = node_order.stream_of(order_id)
        await self._engine.submit(stream, node_order.RequestOrder(id=order_id, order=order))
        ended = (await self._engine.wait(stream, _is_answered)).state
        if isinstance(ended, node_order.OrderRefused):
            raise PeerError(f"the Lightning node refused: {ended.reason}")
        if isinstance(ended, node_order.Dismissed):
            raise ConflictError("the operator dismissed this order: the node never showed it")
        assert isinstance(ended, node_order.Placed)
        return ended.txid


def _has_ended(state: State) -> bool:
    return isinstance(state, operator_payment.Paid | operator_payment.Failed)


def _is_answered(state: State) -> bool:
    return isinstance(state, node_order.Placed | node_order.OrderRefused | node_order.Dismissed)
