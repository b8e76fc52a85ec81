//! Tests that need more than one room, and what tests of all rooms share.

pub(crate) mod packets;

mod engine;
mod header;
mod layers;
mod layout;
