"""LND as the Lightning node of the gateway; the facts about LND it rests on are in docs/lnd.md."""

from lndgrpc.compiled import lightning_pb2

from backends.abilities import Abilities
from backends.lightning import Balances, NodeInfo
from backends.lnd.channels import LndChannels
from backends.lnd.invoices import LndInvoices
from backends.lnd.operations import LndOperations
from backends.lnd.payments import LndPayments
from errors import PeerError
from fedimint.codec.wire_types import Network

_NETWORKS: dict[str, Network] = {
    "mainnet": "bitcoin",
    "testnet": "testnet",
    "testnet4": "testnet4",
    "signet": "signet",
    "regtest": "regtest",
}


class LndNode(LndPayments, LndInvoices, LndChannels, LndOperations):
    """A `backends.operations.Node` over LND's gRPC, of one part per job; it runs on asyncio alone."""

    #: Of LND v0.20. It intercepts by `HtlcInterceptor` (routerrpc), which nothing here calls.
    abilities = Abilities(
        kind="LND", offers=False, interception=True, splicing=False, pending_channel_fees=False
    )

    async def info(self) -> NodeInfo:
        """Identity and chain view (`GetInfo`)."""
        answer = await self._connection.call(
            lambda stubs: stubs.lightning.GetInfo, lightning_pb2.GetInfoRequest()
        )
        network = _NETWORKS.get(answer.chains[0].network if answer.chains else "")
        if network is None:
            raise PeerError("LND does not name a bitcoin network that we know")
        return NodeInfo(
            public_key=answer.identity_pubkey,
            alias=answer.alias,
            network=network,
            block_height=answer.block_height,
            synced_to_chain=answer.synced_to_chain,
        )

    async def balances(self) -> Balances:
        """Wallet and channels (`WalletBalance`, `ChannelBalance`)."""
        wallet = await self._connection.call(
            lambda stubs: stubs.lightning.WalletBalance, lightning_pb2.WalletBalanceRequest()
        )
        channels = await self._connection.call(
            lambda stubs: stubs.lightning.ChannelBalance, lightning_pb2.ChannelBalanceRequest()
        )
        return Balances(
            onchain_sat=wallet.total_balance,
            lightning_msat=channels.local_balance.msat,
            inbound_msat=channels.remote_balance.msat,
        )

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()
