"""The client config of a lnv2 module.

Source: src/config.rs of fedimint-lnv2-common.
"""

import msgspec

from fedimint.codec.encoding import StructCodec, mapping, struct
from fedimint.codec.wire_types import (
    FEE_CONSENSUS,
    G1,
    NETWORK,
    PEER_ID,
    FeeConsensus,
    Network,
    PeerId,
)


class LnV2ClientConfig(msgspec.Struct, frozen=True):
    """lnv2: threshold encryption keys (G1), aggregate and by guardian."""

    tpe_agg_pk: bytes
    tpe_pks: dict[PeerId, bytes]
    fee_consensus: FeeConsensus
    network: Network


LN_V2: StructCodec[LnV2ClientConfig] = struct(
    LnV2ClientConfig,
    tpe_agg_pk=G1,
    tpe_pks=mapping(PEER_ID, G1),
    fee_consensus=FEE_CONSENSUS,
    network=NETWORK,
)
