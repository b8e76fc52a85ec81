//! What both versions of IP say of a packet.

use super::Family;

/// The network layer: addresses, and where the transport header is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    pub(super) family: Family,
    pub(super) src: u128,
    pub(super) dst: u128,
    pub(super) proto: u8,
    /// Offset of the transport header.
    pub(super) l4: usize,
    /// Bytes of transport header and payload.
    pub(super) l4_len: u32,
}
