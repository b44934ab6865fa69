"""A client config with its modules in readable form: upstream's `JsonClientConfig` (fedimint-core/src/config.rs).

Modules of version 2 are shown by their fields, all others as the bytes they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fedimint.codec.wire_types import FeeConsensus
from fedimint.config import ClientConfig
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.transaction import DYN_ITEM
from fedimint.walletv2.config import WalletV2ClientConfig

Fields = dict[str, Any]


def json_client_config(config: ClientConfig) -> bytes:
    """`{"global": …, "modules": {"<instance id>": {"kind": …, …}}}` as JSON; keys of points are hex."""
    shared = config.to_json()
    del shared["modules"]
    modules = {}
    for instance_id, module in sorted(config.modules.items()):
        decoded = module.decode()
        show = _SHOWN.get(type(decoded))
        fields = (
            show(decoded)
            if show is not None
            else {"unknown_module_hex": DYN_ITEM.encode(module.config).hex()}
        )
        modules[str(instance_id)] = {"kind": module.kind, **fields}
    return msgspec.json.encode({"global": shared, "modules": modules})


def _lnv2(config: LnV2ClientConfig) -> Fields:
    return {
        "fee_consensus": _fee(config.fee_consensus),
        "network": config.network,
        "tpe_agg_pk": config.tpe_agg_pk.hex(),
        "tpe_pks": _keys(config.tpe_pks),
    }


def _mintv2(config: MintV2ClientConfig) -> Fields:
    return {
        "amount_unit": config.amount_unit,
        "fee_consensus": _fee(config.fee_consensus),
        "tbs_agg_pks": _keys(config.tbs_agg_pks),
        "tbs_pks": {str(tier): _keys(keys) for tier, keys in config.tbs_pks.items()},
    }


def _walletv2(config: WalletV2ClientConfig) -> Fields:
    return {
        "bitcoin_pks": _keys(config.bitcoin_pks),
        "descriptor": "Wsh",
        "dust_limit": config.dust_limit_sat,
        "fee_consensus": _fee(config.fee_consensus),
        "feerate_base": config.feerate_base,
        "network": config.network,
        "receive_tx_vbytes": config.receive_tx_vbytes,
        "send_tx_vbytes": config.send_tx_vbytes,
    }


def _fee(fee: FeeConsensus) -> Fields:
    return {"base": fee.base_msat, "parts_per_million": fee.parts_per_million}


def _keys(keys: Mapping[Any, bytes]) -> Fields:
    return {str(key): value.hex() for key, value in keys.items()}


_SHOWN: Mapping[type, Callable[[Any], Fields]] = {
    LnV2ClientConfig: _lnv2,
    MintV2ClientConfig: _mintv2,
    WalletV2ClientConfig: _walletv2,
}
