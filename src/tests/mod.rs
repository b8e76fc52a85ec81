//! Tests that need more than one room, and what tests of all rooms share.

pub(crate) mod packets;

#[expect(unsafe_code, reason = "an allocator that counts")]
mod allocations;
mod engine;
mod header;
mod layers;
mod layout;
