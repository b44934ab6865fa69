"""The client config of a ln module.

Source: src/config.rs of fedimint-ln-common.
"""

import msgspec

from fedimint.codec.encoding import StructCodec, struct
from fedimint.codec.wire_types import AMOUNT_MSAT, G1, NETWORK_LEGACY, Network


class LnFees(msgspec.Struct, frozen=True):
    """Flat fees of the ln module, msat."""

    contract_input_msat: int
    contract_output_msat: int


class LnClientConfig(msgspec.Struct, frozen=True):
    """ln: the threshold_crypto public key (G1)."""

    threshold_pub_key: bytes
    fee_consensus: LnFees
    network: Network


LN: StructCodec[LnClientConfig] = struct(
    LnClientConfig,
    threshold_pub_key=G1,
    fee_consensus=struct(LnFees, contract_input_msat=AMOUNT_MSAT, contract_output_msat=AMOUNT_MSAT),
    network=NETWORK_LEGACY,
)
