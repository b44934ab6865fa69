"""walletv2: bitcoin that comes in and goes out."""

from collections.abc import Collection, Iterator
from typing import ClassVar, Final

from fedimint import walletv2
from fedimint.codec.wire_types import PeerId
from fedimint.transaction import DynItem
from fedimint.walletv2 import deposits
from fedimint.walletv2.api import Walletv2Api
from fedimint.walletv2.config import WalletV2ClientConfig
from gateway.modules.module import (
    Materials,
    Module,
    ModuleKey,
    SignedInput,
    of_other_guardians,
    on_other_network,
)
from statemachines.items import DepositClaim, PegOut

#: Guardians ask for 100,000 msat; with more than this, no deposit of their smallest withdrawal is worth its claim.
BASE_FEE_MAX_MSAT: Final = 10_000_000


class WalletV2(Module[WalletV2ClientConfig, Walletv2Api]):
    """The walletv2 module of a federation, and our secret in it."""

    kind: ClassVar = walletv2.KIND
    config_type: ClassVar = WalletV2ClientConfig
    api_type: ClassVar = Walletv2Api
    major: ClassVar = 1
    without: ClassVar = "it takes no deposits and makes no withdrawals"

    @classmethod
    def refusals(
        cls, config: WalletV2ClientConfig, network: str, peers: Collection[PeerId]
    ) -> Iterator[str]:
        yield from on_other_network(config.network, network)
        yield from of_other_guardians("keys of walletv2", config.bitcoin_pks.keys(), peers)
        base_msat = config.fee_consensus.base_msat
        if base_msat > BASE_FEE_MAX_MSAT:
            yield (
                f"the federation takes {base_msat} msat of each deposit and withdrawal, more than "
                f"{BASE_FEE_MAX_MSAT} msat: bitcoin would be lost by moving it"
            )

    @classmethod
    def input(cls, key: ModuleKey, item: DepositClaim, materials: Materials) -> SignedInput:
        del materials
        found = deposits.deposit_input(
            key.secret, item.address_index, item.output_index, item.fee_sat
        )
        encoded = walletv2.INPUT.encode(found.input)
        return SignedInput(DynItem(key.instance_id, encoded), found.secret_key)

    @classmethod
    def output(cls, key: ModuleKey, item: PegOut) -> DynItem:
        destination = walletv2.standard_script(bytes.fromhex(item.script))
        assert destination is not None
        paid = walletv2.WalletOutput(destination, item.value_sat, item.fee_sat)
        return DynItem(key.instance_id, walletv2.OUTPUT.encode(paid))
