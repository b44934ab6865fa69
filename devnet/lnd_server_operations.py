"""What an operator asks of a simulated LND: who it is, its coins, channels and peers, over a simulated node."""

from lndgrpc.compiled import lightning_pb2

from backends.simulated import SimulatedNode
from devnet.lnd_server_rpc import Calls, Message, one_answer


class OperatorCalls:
    """The calls of `lnrpc.Lightning` that are about the node itself (lnd's rpcserver.go)."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    def calls(self) -> Calls:
        """By name, as `lnrpc.Lightning` has them."""
        return {
            "GetInfo": one_answer(self.info, lightning_pb2.GetInfoRequest),
            "WalletBalance": one_answer(self.wallet_balance, lightning_pb2.WalletBalanceRequest),
            "ChannelBalance": one_answer(self.channel_balance, lightning_pb2.ChannelBalanceRequest),
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


def _amount(amount_msat: int) -> Message:
    return lightning_pb2.Amount(sat=amount_msat // 1000, msat=amount_msat)
