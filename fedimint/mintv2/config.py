"""The client config of a mintv2 module.

Source: src/config.rs of fedimint-mintv2-common.
"""

import msgspec

from fedimint.codec.encoding import U64, StructCodec, mapping, struct
from fedimint.codec.wire_types import DENOMINATION, FEE_CONSENSUS, G2, PEER_ID, FeeConsensus, PeerId


class MintV2ClientConfig(msgspec.Struct, frozen=True):
    """mintv2: keys (G2) by denomination (a power of two, msat), aggregate and by guardian."""

    tbs_agg_pks: dict[int, bytes]
    tbs_pks: dict[int, dict[PeerId, bytes]]
    fee_consensus: FeeConsensus
    amount_unit: int


MINT_V2: StructCodec[MintV2ClientConfig] = struct(
    MintV2ClientConfig,
    tbs_agg_pks=mapping(DENOMINATION, G2),
    tbs_pks=mapping(DENOMINATION, mapping(PEER_ID, G2)),
    fee_consensus=FEE_CONSENSUS,
    amount_unit=U64,
)
