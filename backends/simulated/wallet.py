"""The on-chain wallet of a simulated node: addresses of its own, coins that blocks bring, coins sent."""

from collections.abc import Callable

from backends.lightning import NodeRefusedError
from backends.operations import OnchainOrder
from backends.simulated.chain import ChainOutput
from backends.simulated.network import SimulatedNetwork
from backends.simulated.part import SimulatedPart
from errors import InputError
from fedimint.codec import secp
from fedimint.codec.addresses import parse_address, segwit_address
from fedimint.codec.errors import DecodeError

TRANSACTION_VBYTES = 154
"""Virtual size of every transaction: one taproot input, a payment and change."""

_OP_1_PUSH_32 = b"\x51\x20"


class SimulatedWallet(SimulatedPart):
    """The part of `SimulatedNode` with coins. Its transactions show no inputs and no change."""

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """An empty wallet."""
        super().__init__(network, name, now_s)
        self.onchain_sat = 0
        self._scripts: set[bytes] = set()
        self._labels: dict[str, str] = {}
        network.chain.on_block(self._receive)

    # --- what the gateway calls ---

    async def onchain_address(self) -> str:
        """A fresh taproot address."""
        await self._answer()
        return segwit_address(self.fresh_script(), "regtest")

    async def send_onchain(self, order: OnchainOrder) -> str:
        """Send coins; the fee comes on top, or out of it when everything is sent."""
        if order.amount_sat is not None and order.amount_sat <= 0:
            raise InputError(
                f"{order.amount_sat} sat cannot be sent; name an amount above 0, or all"
            )
        if order.sat_per_vbyte <= 0:
            raise InputError(
                f"a fee rate of {order.sat_per_vbyte} sat/vB is no rate; name 1 or more"
            )
        return await self._call("send_onchain", lambda: self._send(order))

    async def sent_onchain(self, label: str) -> str | None:
        """Look a label up."""
        await self._answer()
        return self._labels.get(label)

    # --- what a test calls ---

    def fund_onchain(self, amount_sat: int) -> str:
        """Pay coins from nowhere to the wallet, where they count after the next block; answer the txid."""
        return self.network.chain.send(ChainOutput(self.fresh_script(), amount_sat))

    # --- the node itself ---

    def fresh_script(self) -> bytes:
        """A taproot scriptPubKey that nobody has seen before."""
        secret = self._derived(f"address {len(self._scripts)}")
        script = _OP_1_PUSH_32 + secp.public_key(secret)[1:]
        self._scripts.add(script)
        return script

    def _send(self, order: OnchainOrder) -> str:
        try:
            address = parse_address(order.address)
        except DecodeError as error:
            raise NodeRefusedError("UNKNOWN", str(error)) from error
        if "regtest" not in address.networks:
            raise NodeRefusedError("UNKNOWN", f"{order.address} is no address of regtest")
        fee_sat = order.sat_per_vbyte * TRANSACTION_VBYTES
        amount_sat = order.amount_sat
        if amount_sat is None:
            # An empty wallet cannot even send 1 sat, and is refused for that.
            amount_sat = max(self.onchain_sat - fee_sat, 1)
        txid = self._spend(ChainOutput(address.script_pubkey, amount_sat), fee_sat)
        self._labels.setdefault(order.label, txid)
        return txid

    def _spend(self, output: ChainOutput, fee_sat: int) -> str:
        """Broadcast a payment. NodeRefusedError when the wallet holds too little."""
        needed_sat = output.value_sat + fee_sat
        if needed_sat > self.onchain_sat:
            raise NodeRefusedError(
                "UNKNOWN", f"insufficient funds: {needed_sat} sat needed, {self.onchain_sat} there"
            )
        self.onchain_sat -= needed_sat
        return self.network.chain.send(output)

    def _receive(self) -> None:
        chain = self.network.chain
        for transaction in chain.block(chain.height):
            for output in transaction.outputs:
                if output.script in self._scripts:
                    self.onchain_sat += output.value_sat
