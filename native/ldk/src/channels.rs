//! Channels, as the node lists them.

use ldk_node::ChannelDetails;

/// A channel. Both sides' amounts are what can be spent above the reserves, pending HTLCs left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    pub user_channel_id: [u8; 16],
    pub public_key: String,
    pub alias: Option<String>,
    pub address: Option<String>,
    pub funding_out_point: Option<String>,
    pub capacity_sat: u64,
    pub outbound_msat: u64,
    pub inbound_msat: u64,
    pub our_reserve_sat: u64,
    pub their_reserve_sat: u64,
    pub is_usable: bool,
    pub is_ready: bool,
    pub is_ours: bool,
    pub base_fee_msat: u32,
    pub parts_per_million: u32,
}

impl From<ChannelDetails> for Channel {
    /// Without what is known of the peer.
    fn from(details: ChannelDetails) -> Self {
        Self {
            user_channel_id: details.user_channel_id.0.to_be_bytes(),
            public_key: details.counterparty_node_id.to_string(),
            alias: None,
            address: None,
            funding_out_point: details.funding_txo.map(|point| point.to_string()),
            capacity_sat: details.channel_value_sats,
            outbound_msat: details.outbound_capacity_msat,
            inbound_msat: details.inbound_capacity_msat,
            our_reserve_sat: details.unspendable_punishment_reserve.unwrap_or(0),
            their_reserve_sat: details.counterparty_unspendable_punishment_reserve,
            is_usable: details.is_usable,
            is_ready: details.is_channel_ready,
            is_ours: details.is_outbound,
            base_fee_msat: details.config.forwarding_fee_base_msat,
            parts_per_million: details.config.forwarding_fee_proportional_millionths,
        }
    }
}
