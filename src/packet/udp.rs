//! UDP (RFC 768).

use super::bytes::u16_at;
use super::{Malformed, malformed, tcp};
use crate::reason::Reason;

/// Offset of the length.
pub(super) const LENGTH: usize = 4;
/// Length of the header.
pub(super) const HEADER: usize = 8;

/// Offset of the checksum in the header.
pub(super) const CHECKSUM: usize = 6;

/// Ports of the datagram at the start of `segment`, whose length by the IP header is `len`.
#[inline(always)]
pub(super) fn parse(segment: &[u8], len: u32) -> Result<(u16, u16), Malformed> {
    let Some(header) = segment.first_chunk::<HEADER>() else {
        return Err(malformed(Reason::Truncated));
    };
    let udp_len = u32::from(u16_at(header, LENGTH).ok_or(malformed(Reason::Truncated))?);
    if udp_len < HEADER as u32 || udp_len > len {
        return Err(malformed(Reason::L4Header));
    }
    tcp::ports(header)
}
