"""The rules by which the embedded guardians judge claims of deposits, and withdrawals.

Source: fedimint-walletv2-server src/lib.rs (process_input, process_output, consensus_fee), and the order
of its checks. A claim joins the deposit to the federation's one output, a withdrawal pays from it.
"""

from backends.simulated.chain import ChainOutput
from devnet.guardians.chain_wallet import ChainWallet, Spending, WalletDraft, next_tweak
from devnet.guardians.ledger import Draft
from devnet.guardians.module_rules import InputMeta, Moment, OutputMeta
from fedimint import walletv2
from fedimint.codec.wire_types import ModuleError, OutPoint, consensus_hash
from fedimint.walletv2 import FederationWallet
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import DepositScripts


class WalletRules:
    """walletv2: who may take which deposit, what is paid out, and what miners get."""

    def __init__(self, config: WalletV2ClientConfig) -> None:
        self.config = config
        self.scripts = DepositScripts(config.bitcoin_pks)

    def receive_fee_sat(self, wallet: ChainWallet | WalletDraft) -> int | None:
        """Return the least miner fee of a claim now; None while there is no fee rate."""
        return self._fee_sat(wallet, self.config.receive_tx_vbytes)

    def send_fee_sat(self, wallet: ChainWallet | WalletDraft) -> int | None:
        """Return the least miner fee of a withdrawal now; None while there is no fee rate."""
        return self._fee_sat(wallet, self.config.send_tx_vbytes)

    def check(self, item: walletv2.WalletInput | walletv2.WalletOutput) -> None:
        """Decoding checks all of it."""

    def process_input(
        self, draft: Draft, item: walletv2.WalletInput, moment: Moment
    ) -> InputMeta | ModuleError:
        del moment
        wallet = draft.wallet
        if not wallet.claim(item.output_index):
            return ModuleError("OutputAlreadySpent")
        deposit = wallet.output(item.output_index)
        if deposit is None or deposit.out_point is None:
            return ModuleError("UnknownOutputIndex")
        if deposit.script_pubkey != self.scripts.script_pubkey(item.tweak):
            return ModuleError("WrongTweak")
        refusal = _fee_error(item.fee_sat, self.receive_fee_sat(wallet))
        if refusal is not None:
            return refusal
        brought_sat = deposit.value_sat - item.fee_sat
        if brought_sat < 0:
            return ModuleError("ArithmeticOverflow")
        if wallet.utxo is None:
            # The first deposit becomes the federation's output as it is: no miner is paid.
            tweak = consensus_hash(item.tweak)
            wallet.utxo = FederationWallet(deposit.value_sat, deposit.out_point, tweak)
            draft.keep(item.fee_sat * 1000)
        else:
            change = self.change(wallet.utxo, wallet.utxo.value_sat + brought_sat)
            vbytes = self.config.receive_tx_vbytes
            wallet.spend(wallet.utxo, Spending(change, item.fee_sat, vbytes, deposit=deposit))
        amount_msat = brought_sat * 1000
        return InputMeta(amount_msat, self.config.fee_consensus.fee_msat(amount_msat), item.tweak)

    def process_output(
        self, draft: Draft, item: walletv2.WalletOutput, out_point: OutPoint, moment: Moment
    ) -> OutputMeta | ModuleError:
        del moment
        wallet = draft.wallet
        if item.value_sat < self.config.dust_limit_sat:
            return ModuleError("UnderDustLimit")
        if wallet.utxo is None:
            return ModuleError("NoFederationUTXO")
        refusal = _fee_error(item.fee_sat, self.send_fee_sat(wallet))
        if refusal is not None:
            return refusal
        change_sat = wallet.utxo.value_sat - item.value_sat - item.fee_sat
        if change_sat < self.config.dust_limit_sat:
            return ModuleError("ArithmeticOverflow" if change_sat < 0 else "ChangeUnderDustLimit")
        script = walletv2.script_pubkey(item.destination)
        if script is None:
            return ModuleError("UnknownScriptVariant")
        spending = Spending(
            self.change(wallet.utxo, change_sat),
            item.fee_sat,
            self.config.send_tx_vbytes,
            payment=ChainOutput(script, item.value_sat),
        )
        wallet.withdraw(out_point, wallet.spend(wallet.utxo, spending))
        amount_msat = item.amount_msat()
        return OutputMeta(amount_msat, self.config.fee_consensus.fee_msat(amount_msat))

    def change(self, utxo: FederationWallet, value_sat: int) -> ChainOutput:
        """Return the output that takes the place of `utxo`."""
        return ChainOutput(self.scripts.tweaked(next_tweak(utxo)), value_sat)

    def _fee_sat(self, wallet: ChainWallet | WalletDraft, vbytes: int) -> int | None:
        """Pay for all that is pending too, at a rate that doubles with each such transaction."""
        if wallet.feerate_sat_per_kvb is None:
            return None
        pending = wallet.pending()
        rate = max(wallet.feerate_sat_per_kvb, self.config.feerate_base << len(pending))
        stack_vbytes = vbytes + sum(info.vbytes for info in pending)
        stack_fee_sat = stack_vbytes * rate // 1000 - sum(info.fee_sat for info in pending)
        return max(vbytes * rate // 1000, stack_fee_sat)


def _fee_error(offered_sat: int, least_sat: int | None) -> ModuleError | None:
    if least_sat is None:
        return ModuleError("NoConsensusFeerateAvailable")
    return ModuleError("InsufficientTotalFee") if offered_sat < least_sat else None
