//! What takes the gateway much processor time in Python. Nothing here knows Python.
#![forbid(unsafe_code)]

pub mod background;
pub mod bls;
pub mod tweaks;
