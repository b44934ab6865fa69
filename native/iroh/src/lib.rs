//! Asks guardians, and is asked, over iroh 0.35: one stream of a QUIC connection for each request. Nothing here knows
//! Python; what happens in the background ends in a `Mailbox`, which tells a file descriptor.
#![forbid(unsafe_code)]

pub mod asking;
pub mod background;
pub mod endpoint;
mod guests;
pub mod inflow;
pub mod mailbox;
pub mod serving;

pub use iroh::{NodeId, RelayUrl, SecretKey};
pub use url::Url;
