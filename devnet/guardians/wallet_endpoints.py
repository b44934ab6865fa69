"""What an embedded guardian answers about bitcoin: outputs found, fees, the federation's transactions.

Source: fedimint-walletv2-server src/lib.rs.
"""

from devnet.guardians.dealer import WALLETV2_ID
from devnet.guardians.endpoints import GuardianState, Methods, parameters
from fedimint.client.transport import module_method
from fedimint.codec.bitcoin import display_hash
from fedimint.codec.json_types import OutPointJson, json_u64
from fedimint.walletv2 import P2wsh, standard_script
from fedimint.walletv2.json import FederationWalletJson, OutputInfoJson, TxInfoJson


class WalletEndpoints:
    """The walletv2 methods of one guardian."""

    def __init__(self, state: GuardianState) -> None:
        self._wallet = state.consensus.ledger.wallet
        self._rules = state.consensus.rules.wallet

    def public(self) -> Methods:
        """Return what everybody may ask."""
        return {
            module_method(WALLETV2_ID, "consensus_block_count"): self._block_count,
            module_method(WALLETV2_ID, "consensus_feerate"): self._feerate,
            module_method(WALLETV2_ID, "federation_wallet"): self._federation_wallet,
            module_method(WALLETV2_ID, "send_fee"): self._send_fee,
            module_method(WALLETV2_ID, "receive_fee"): self._receive_fee,
            module_method(WALLETV2_ID, "transaction_id"): self._transaction_id,
            module_method(WALLETV2_ID, "output_info_slice"): self._output_info_slice,
            module_method(WALLETV2_ID, "pending_transaction_chain"): self._pending,
            module_method(WALLETV2_ID, "transaction_chain"): self._transactions,
        }

    async def _block_count(self, params: object) -> object:
        del params
        return self._wallet.block_count

    async def _feerate(self, params: object) -> object:
        del params
        return self._wallet.feerate_sat_per_kvb

    async def _federation_wallet(self, params: object) -> object:
        del params
        utxo = self._wallet.utxo
        return None if utxo is None else FederationWalletJson.of(utxo)

    async def _send_fee(self, params: object) -> object:
        del params
        return self._rules.send_fee_sat(self._wallet)

    async def _receive_fee(self, params: object) -> object:
        del params
        return self._rules.receive_fee_sat(self._wallet)

    async def _transaction_id(self, params: object) -> object:
        out_point = parameters(params, OutPointJson).to_out_point()
        txid = self._wallet.withdrawals.get(out_point)
        return None if txid is None else display_hash(txid)

    async def _output_info_slice(self, params: object) -> object:
        """Of the outputs that passed the filter, only those with a script that can be a deposit's."""
        start, end = map(json_u64, parameters(params, tuple[int, int]))
        return [
            OutputInfoJson.of(output)
            for output in self._wallet.outputs(start, end)
            if isinstance(standard_script(output.script_pubkey), P2wsh)
        ]

    async def _pending(self, params: object) -> object:
        """The newest first."""
        del params
        return [TxInfoJson.of(info) for info in reversed(self._wallet.pending())]

    async def _transactions(self, params: object) -> object:
        del params
        return [TxInfoJson.of(info) for info in self._wallet.transactions]
