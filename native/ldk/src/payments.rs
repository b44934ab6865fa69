//! Records of payments, as the node keeps them.

use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};

/// A record. `payment_hash` and `txid` are of the kinds that have one; `preimage` is there once the node knows it, and
/// for an invoice that the node itself settles from the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    pub id: [u8; 32],
    pub kind: &'static str,
    pub payment_hash: Option<[u8; 32]>,
    pub preimage: Option<[u8; 32]>,
    pub txid: Option<String>,
    pub amount_msat: Option<u64>,
    pub fee_msat: Option<u64>,
    pub is_outbound: bool,
    pub status: &'static str,
    pub updated_unix_s: u64,
}

impl From<PaymentDetails> for Payment {
    fn from(details: PaymentDetails) -> Self {
        let mut txid = None;
        let (kind, hash, preimage) = match details.kind {
            PaymentKind::Onchain { txid: found, .. } => {
                txid = Some(found.to_string());
                ("Onchain", None, None)
            }
            PaymentKind::Bolt11 { hash, preimage, .. }
            | PaymentKind::Bolt11Jit { hash, preimage, .. }
            | PaymentKind::Spontaneous { hash, preimage } => ("Bolt11", Some(hash), preimage),
            PaymentKind::Bolt12Offer { hash, preimage, .. } => ("Bolt12Offer", hash, preimage),
            PaymentKind::Bolt12Refund { hash, preimage, .. } => ("Bolt12Refund", hash, preimage),
        };
        Self {
            id: details.id.0,
            kind,
            payment_hash: hash.map(|hash: PaymentHash| hash.0),
            preimage: preimage.map(|preimage: PaymentPreimage| preimage.0),
            txid,
            amount_msat: details.amount_msat,
            fee_msat: details.fee_paid_msat,
            is_outbound: details.direction == PaymentDirection::Outbound,
            status: match details.status {
                PaymentStatus::Pending => "Pending",
                PaymentStatus::Succeeded => "Succeeded",
                PaymentStatus::Failed => "Failed",
            },
            updated_unix_s: details.latest_update_timestamp,
        }
    }
}
