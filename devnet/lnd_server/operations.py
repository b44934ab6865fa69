"""What an operator asks of a simulated LND: who it is, its coins and its books, over a simulated node."""

from lndgrpc.compiled import lightning_pb2

from backends.operations import InvoiceStatus, OnchainOrder
from backends.simulated.node import SimulatedNode
from devnet.lnd_server.rpc import Calls, Message, one_answer

_UINT64_MAX = 2**64 - 1

_STATUSES: dict[InvoiceStatus, int] = {
    "Pending": lightning_pb2.Payment.IN_FLIGHT,
    "Succeeded": lightning_pb2.Payment.SUCCEEDED,
    "Failed": lightning_pb2.Payment.FAILED,
}


class OperatorCalls:
    """The calls of `lnrpc.Lightning` about the node, its wallet and its payments (lnd's rpcserver.go)."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._labels: dict[str, None] = {}

    def calls(self) -> Calls:
        """By name, as `lnrpc.Lightning` has them."""
        return {
            "GetInfo": one_answer(self.info, lightning_pb2.GetInfoRequest),
            "WalletBalance": one_answer(self.wallet_balance, lightning_pb2.WalletBalanceRequest),
            "ChannelBalance": one_answer(self.channel_balance, lightning_pb2.ChannelBalanceRequest),
            "NewAddress": one_answer(self.new_address, lightning_pb2.NewAddressRequest),
            "SendCoins": one_answer(self.send_coins, lightning_pb2.SendCoinsRequest),
            "GetTransactions": one_answer(self.transactions, lightning_pb2.GetTransactionsRequest),
            "ListPayments": one_answer(self.payments, lightning_pb2.ListPaymentsRequest),
        }

    async def info(self, _request: Message) -> Message:
        """Identity and chain view."""
        info = await self._node.info()
        return lightning_pb2.GetInfoResponse(
            identity_pubkey=info.public_key,
            alias=info.alias,
            block_height=info.block_height,
            synced_to_chain=info.synced_to_chain,
            chains=[lightning_pb2.Chain(chain="bitcoin", network=info.network)],
        )

    async def wallet_balance(self, _request: Message) -> Message:
        """Coins of the wallet."""
        balances = await self._node.balances()
        return lightning_pb2.WalletBalanceResponse(
            total_balance=balances.onchain_sat, confirmed_balance=balances.onchain_sat
        )

    async def channel_balance(self, _request: Message) -> Message:
        """What both sides of all channels hold."""
        balances = await self._node.balances()
        return lightning_pb2.ChannelBalanceResponse(
            local_balance=_amount(balances.lightning_msat),
            remote_balance=_amount(balances.inbound_msat),
        )

    async def new_address(self, _request: Message) -> Message:
        """A fresh address, taproot whatever is asked for."""
        return lightning_pb2.NewAddressResponse(address=await self._node.onchain_address())

    async def send_coins(self, request: Message) -> Message:
        """Send coins, some or all."""
        self._labels[request.label] = None
        txid = await self._node.send_onchain(
            OnchainOrder(
                address=request.addr,
                amount_sat=None if request.send_all else request.amount,
                sat_per_vbyte=request.sat_per_vbyte,
                label=request.label,
            )
        )
        return lightning_pb2.SendCoinsResponse(txid=txid)

    async def transactions(self, _request: Message) -> Message:
        """The transactions sent through this server that the node has, with their labels."""
        sent = {label: await self._node.sent_onchain(label) for label in self._labels}
        return lightning_pb2.TransactionDetails(
            transactions=[
                lightning_pb2.Transaction(tx_hash=txid, label=label)
                for label, txid in sent.items()
                if txid is not None
            ]
        )

    async def payments(self, request: Message) -> Message:
        """Payments by the time they were begun, oldest first, on one page behind index 0."""
        end_unix_s = request.creation_date_end or _UINT64_MAX
        found = [
            one
            for one in await self._node.transactions(request.creation_date_start, end_unix_s)
            if one.direction == "Outbound"
            and (request.include_incomplete or one.status == "Succeeded")
        ]
        if request.index_offset:
            return lightning_pb2.ListPaymentsResponse(last_index_offset=request.index_offset)
        return lightning_pb2.ListPaymentsResponse(
            payments=[
                lightning_pb2.Payment(
                    payment_hash=(one.payment_hash or b"").hex(),
                    payment_preimage=(one.preimage or b"").hex(),
                    value_msat=one.amount_msat,
                    creation_date=one.unix_s,
                    status=_STATUSES[one.status],
                    payment_index=index,
                )
                for index, one in enumerate(found, start=1)
            ],
            first_index_offset=min(1, len(found)),
            last_index_offset=len(found),
        )


def _amount(amount_msat: int) -> Message:
    return lightning_pb2.Amount(sat=amount_msat // 1000, msat=amount_msat)
