"""An embedded user's bitcoin: deposits claimed into its notes, notes withdrawn to an address.

As fedimint-walletv2-client src/lib.rs does it, except that nothing is polled: each call acts on what
the guardians answer at that moment.
"""

from typing import Final

from devnet.guardians.dealer import WALLETV2_ID
from devnet.guardians.transaction_rules import module_config
from devnet.users.wallet import EmbeddedWallet, OwnInput, OwnOutput
from errors import UnavailableError
from fedimint import walletv2
from fedimint.client.query import Guardians
from fedimint.codec.bitcoin import display_hash
from fedimint.codec.wire_types import OutPoint
from fedimint.config import ClientConfig
from fedimint.crypto.secrets import DerivableSecret
from fedimint.transaction import DynItem
from fedimint.walletv2 import OutputInfo, deposits
from fedimint.walletv2.api import OUTPUT_SLICE_SIZE, Walletv2Api
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress

_WITHDRAWAL_INDEX: Final = 0
"""Explicit outputs come before change."""


class OnchainUser:
    """The walletv2 side of a user whose notes are in `wallet`; `module` is its walletv2 secret."""

    def __init__(
        self,
        config: ClientConfig,
        guardians: Guardians,
        module: DerivableSecret,
        wallet: EmbeddedWallet,
    ) -> None:
        """Raises FatalError when the federation has no walletv2 module."""
        self.module = module
        self.config = module_config(config, WalletV2ClientConfig)
        self._api = Walletv2Api(guardians, WALLETV2_ID)
        self._wallet = wallet

    def new_address(self, start_index: int = 0) -> GroundAddress:
        """Return the first address from an index on. Grinding takes seconds of processor time."""
        return deposits.grind(self.module, self.config, start_index)

    async def claim(self, address: GroundAddress) -> int:
        """Claim what was paid to the address and is worth its fee; return the sum of values, sat.

        Raises UnavailableError while the guardians know no fee rate, and as the wallet does.
        """
        claimed_sat = start = 0
        while outputs := await self._api.output_info_slice(start, start + OUTPUT_SLICE_SIZE):
            for output in outputs:
                if output.script_pubkey == address.script_pubkey and not output.is_spent:
                    claimed_sat += await self.claim_output(address, output)
            start = outputs[-1].index + 1
        return claimed_sat

    async def withdraw(self, script_pubkey: bytes, value_sat: int) -> str:
        """Pay to a script on chain; return the txid as people write it.

        Raises InputError for what the federation never pays, UnavailableError while it knows no fee
        rate, and as the wallet does.
        """
        fee_sat = _known(await self._api.send_fee_sat())
        output = deposits.withdrawal_output(self.config, script_pubkey, value_sat, fee_sat)
        amount_msat = output.amount_msat()
        item = DynItem(WALLETV2_ID, walletv2.OUTPUT.encode(output))
        fee_msat = self.config.fee_consensus.fee_msat(amount_msat)
        funded = await self._wallet.submit([], [OwnOutput(item, amount_msat, fee_msat)])
        out_point = OutPoint(funded.transaction.txid(), _WITHDRAWAL_INDEX)
        txid = await self._api.transaction_id(out_point)
        if txid is None:
            raise UnavailableError(
                "the federation took the withdrawal and does not say how it pays"
            )
        return display_hash(txid)

    async def claim_output(self, address: GroundAddress, output: OutputInfo) -> int:
        """Claim one output; return its value, sat, or 0 if it is not worth its fee. Raises as `claim`."""
        fee_sat = _known(await self._api.receive_fee_sat())
        if output.value_sat <= fee_sat:
            return 0
        claim = deposits.deposit_input(self.module, address.index, output.index, fee_sat)
        amount_msat = deposits.deposit_amount_msat(output.value_sat, fee_sat)
        item = DynItem(WALLETV2_ID, walletv2.INPUT.encode(claim.input))
        fee_msat = self.config.fee_consensus.fee_msat(amount_msat)
        await self._wallet.submit([OwnInput(item, amount_msat, fee_msat, claim.secret_key)], [])
        return output.value_sat


def _known(fee_sat: int | None) -> int:
    if fee_sat is None:
        raise UnavailableError("the guardians know no fee rate of bitcoin now; try again later")
    return fee_sat
