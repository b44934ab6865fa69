//! The Lightning node inside: types in, types out, over `fedimint-ldk-node`. Nothing here knows Python or decides.
#![forbid(unsafe_code)]

pub mod background;
pub mod channels;
pub mod events;
pub mod logs;
pub mod node;
pub mod payments;
