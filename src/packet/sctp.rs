//! SCTP (RFC 9260): the common header, and the chunks behind it.

use super::bytes::{u8_at, u16_at, u32_at};
use super::{Malformed, malformed, tcp};
use crate::reason::Reason;

/// Length of the common header; the first chunk follows it.
pub const HEADER: usize = 12;
const TAG: usize = 4;
const CHUNK_HEADER: usize = 4;

/// Offset of the checksum in the header.
pub(super) const CHECKSUM: usize = 8;

/// Ports and verification tag of the packet at the start of `segment`, whose length by the IP header
/// is `len`; its chunks must fill that length exactly. Of a packet that is not contiguous, this is
/// known of the chunks that begin within the segment only.
#[inline]
pub(super) fn parse(segment: &[u8], len: u32) -> Result<(u16, u16, u32), Malformed> {
    let header = segment.get(..HEADER).ok_or(malformed(Reason::Truncated))?;
    let (sport, dport) = tcp::ports(header)?;
    let mut chunks = Chunks::new(segment);
    let whole = chunks.by_ref().count();
    let missing = (len as usize).saturating_sub(segment.len());
    let exact = if missing == 0 {
        whole > 0 && chunks.rest.is_empty()
    } else {
        chunks.cut_fits(missing)
    };
    if !exact {
        return Err(malformed(Reason::SctpChunk));
    }
    Ok((
        sport,
        dport,
        u32_at(header, TAG).ok_or(malformed(Reason::Truncated))?,
    ))
}

/// One chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Chunk type.
    pub kind: u8,
    /// Chunk flags.
    pub flags: u8,
    /// The value, without header and padding.
    pub value: &'a [u8],
}

/// The chunks of a packet, in order. Ends at the first that is malformed.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// The chunks of the SCTP packet that begins with its common header at the start of `segment`.
    #[must_use]
    pub fn new(segment: &'a [u8]) -> Chunks<'a> {
        Chunks {
            rest: segment.get(HEADER..).unwrap_or_default(),
        }
    }

    /// The chunk at which the walk ended may be right, if `missing` bytes follow those we have.
    fn cut_fits(&self, missing: usize) -> bool {
        u16_at(self.rest, 2).is_none_or(|length| {
            let length = usize::from(length);
            (CHUNK_HEADER..=self.rest.len() + missing).contains(&length)
        })
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let kind = u8_at(self.rest, 0)?;
        let flags = u8_at(self.rest, 1)?;
        let length = usize::from(u16_at(self.rest, 2)?);
        if length < CHUNK_HEADER {
            return None;
        }
        let value = self.rest.get(CHUNK_HEADER..length)?;
        // Chunks are padded to four bytes; the padding of the last one may be missing.
        let padded = length.next_multiple_of(4).min(self.rest.len());
        self.rest = &self.rest[padded..];
        Some(Chunk { kind, flags, value })
    }
}
