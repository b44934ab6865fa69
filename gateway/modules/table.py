"""The kinds of modules that this gateway uses. A new kind is a file beside this one and a row here."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.modules.lnv2 import LnV2
from gateway.modules.mintv2 import MintV2
from gateway.modules.module import Module
from gateway.modules.walletv2 import WalletV2

MODULES: Final[Mapping[str, type[Module[Any, Any]]]] = {
    module.kind: module for module in (LnV2, MintV2, WalletV2)
}
