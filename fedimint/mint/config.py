"""The client config of a mint module.

Source: src/config.rs of fedimint-mint-common.
"""

import msgspec

from fedimint.codec.encoding import U16, StructCodec, mapping, struct
from fedimint.codec.wire_types import AMOUNT_MSAT, FEE_CONSENSUS, G2, PEER_ID, FeeConsensus, PeerId


class MintClientConfig(msgspec.Struct, frozen=True):
    """mint: keys (G2) by tier in msat, aggregate and by guardian."""

    tbs_pks: dict[int, bytes]
    fee_consensus: FeeConsensus
    peer_tbs_pks: dict[PeerId, dict[int, bytes]]
    max_notes_per_denomination: int


MINT: StructCodec[MintClientConfig] = struct(
    MintClientConfig,
    tbs_pks=mapping(AMOUNT_MSAT, G2),
    fee_consensus=FEE_CONSENSUS,
    peer_tbs_pks=mapping(PEER_ID, mapping(AMOUNT_MSAT, G2)),
    max_notes_per_denomination=U16,
)
