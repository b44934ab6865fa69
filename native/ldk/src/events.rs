//! What the node tells, one at a time, until it is acknowledged.

use ldk_node::Event as Told;

/// An event of the node. `Other` is what nobody here needs to act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Claimable {
        payment_hash: [u8; 32],
        amount_msat: u64,
        deadline_height: Option<u32>,
    },
    Received {
        payment_hash: [u8; 32],
    },
    Paid {
        payment_hash: [u8; 32],
        preimage: Option<[u8; 32]>,
        fee_msat: Option<u64>,
    },
    Failed {
        payment_hash: Option<[u8; 32]>,
        reason: String,
    },
    ChannelPending {
        user_channel_id: [u8; 16],
        funding_txid: String,
    },
    ChannelClosed {
        user_channel_id: [u8; 16],
        reason: String,
    },
    Other,
}

impl From<Told> for Event {
    fn from(told: Told) -> Self {
        match told {
            Told::PaymentClaimable {
                payment_hash,
                claimable_amount_msat,
                claim_deadline,
                ..
            } => Self::Claimable {
                payment_hash: payment_hash.0,
                amount_msat: claimable_amount_msat,
                deadline_height: claim_deadline,
            },
            Told::PaymentReceived { payment_hash, .. } => Self::Received {
                payment_hash: payment_hash.0,
            },
            Told::PaymentSuccessful {
                payment_hash,
                payment_preimage,
                fee_paid_msat,
                ..
            } => Self::Paid {
                payment_hash: payment_hash.0,
                preimage: payment_preimage.map(|preimage| preimage.0),
                fee_msat: fee_paid_msat,
            },
            Told::PaymentFailed {
                payment_hash,
                reason,
                ..
            } => Self::Failed {
                payment_hash: payment_hash.map(|hash| hash.0),
                reason: reason.map_or_else(|| "unknown".into(), |reason| format!("{reason:?}")),
            },
            Told::ChannelPending {
                user_channel_id,
                funding_txo,
                ..
            } => Self::ChannelPending {
                user_channel_id: user_channel_id.0.to_be_bytes(),
                funding_txid: funding_txo.txid.to_string(),
            },
            Told::ChannelClosed {
                user_channel_id,
                reason,
                ..
            } => Self::ChannelClosed {
                user_channel_id: user_channel_id.0.to_be_bytes(),
                reason: reason.map_or_else(|| "unknown".into(), |reason| reason.to_string()),
            },
            _ => Self::Other,
        }
    }
}
