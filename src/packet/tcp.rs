//! TCP (RFC 9293): header and the options that a tracker needs.

use super::bytes::{u8_at, u16_at, u32_at};
use super::{Malformed, Tcp, malformed, tcp_flags};
use crate::reason::Reason;

/// Offset of the sequence number.
pub(super) const SEQUENCE: usize = 4;
/// Offset of the acknowledgement number.
pub(super) const ACKNOWLEDGEMENT: usize = 8;
const DATA_OFFSET: usize = 12;
/// Offset of the flags.
pub(super) const FLAGS: usize = 13;
/// Offset of the window.
pub(super) const WINDOW: usize = 14;
/// Offset of the checksum.
pub(super) const CHECKSUM: usize = 16;
/// Length without options, which follow.
pub const SHORTEST: usize = 20;

/// The header at the start of `segment`, whose length by the IP header is `len`.
#[inline(always)]
pub(super) fn parse(segment: &[u8], len: u32, sack: bool) -> Result<Tcp, Malformed> {
    let short = malformed(Reason::Truncated);
    let Some(header) = segment.first_chunk::<SHORTEST>() else {
        return Err(short);
    };
    let header_len = header_len(header);
    if header_len < SHORTEST || header_len > len as usize {
        return Err(malformed(Reason::L4Header));
    }
    let options = segment.get(SHORTEST..header_len).ok_or(short)?;
    let (sport, dport) = ports(header)?;
    let flags = header[FLAGS] & 0x3f;
    let mut tcp = Tcp {
        sport,
        dport,
        flags,
        seq: u32_at(header, SEQUENCE).ok_or(short)?,
        ack: u32_at(header, ACKNOWLEDGEMENT).ok_or(short)?,
        window: u16_at(header, WINDOW).ok_or(short)?,
        payload: len - header_len as u32,
        ..Tcp::default()
    };
    if !options.is_empty() && (flags & tcp_flags::SYN != 0 || sack) {
        read_options(options, &mut tcp);
    }
    Ok(tcp)
}

/// Length of the header at the start of `segment`, by its own word: 0 to 60.
#[inline(always)]
pub(super) fn header_len(segment: &[u8]) -> usize {
    u8_at(segment, DATA_OFFSET).map_or(0, |offset| usize::from(offset >> 4) * 4)
}

/// Both ports at the start of a transport header.
#[inline(always)]
pub(super) fn ports(header: &[u8]) -> Result<(u16, u16), Malformed> {
    let sport = u16_at(header, 0).ok_or(malformed(Reason::Truncated))?;
    let dport = u16_at(header, 2).ok_or(malformed(Reason::Truncated))?;
    Ok((sport, dport))
}

/// What a tracker wants of the options.
#[inline(always)]
pub(super) fn read_options(options: &[u8], tcp: &mut Tcp) {
    for option in Options::new(options) {
        match (option.kind, option.value) {
            (kind::WINDOW_SCALE, &[shift]) => tcp.wscale = Some(shift),
            (kind::SACK_PERMITTED, []) => tcp.sack_permitted = true,
            (kind::SACK, blocks) => tcp.sack = highest_edge(blocks, tcp.ack).or(tcp.sack),
            _ => {}
        }
    }
}

/// The window scale among the options, the last one if there are several.
#[inline(never)]
pub(super) fn window_scale(options: &[u8]) -> Option<u8> {
    let mut scale = None;
    for option in Options::new(options) {
        if let (kind::WINDOW_SCALE, &[shift]) = (option.kind, option.value) {
            scale = Some(shift);
        }
    }
    scale
}

/// The right edge of the SACK blocks that is farthest beyond `ack`.
fn highest_edge(blocks: &[u8], ack: u32) -> Option<u32> {
    let (blocks, _) = blocks.as_chunks::<8>();
    blocks
        .iter()
        .filter_map(|block| u32_at(block, 4))
        .max_by_key(|&edge| edge.wrapping_sub(ack) as i32)
}

/// Kinds of options (IANA, TCP parameters).
pub mod kind {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding of one byte.
    pub const NO_OPERATION: u8 = 1;
    /// Window scale (RFC 7323).
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted (RFC 2018).
    pub const SACK_PERMITTED: u8 = 4;
    /// Blocks of a selective acknowledgement (RFC 2018).
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323).
    pub const TIMESTAMPS: u8 = 8;
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOption<'a> {
    /// Its kind, see [`kind`].
    pub kind: u8,
    /// Where the value stands in the options.
    pub at: usize,
    /// The value, without kind and length.
    pub value: &'a [u8],
}

impl TcpOption<'_> {
    /// Value and echo reply of a timestamps option.
    #[must_use]
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        if self.kind != kind::TIMESTAMPS || self.value.len() != 8 {
            return None;
        }
        Some((u32_at(self.value, 0)?, u32_at(self.value, 4)?))
    }
}

/// The options of a TCP header, in order; padding is skipped.
///
/// An option with a length below two, or beyond the header, ends the walk: what stood before it
/// counts. So each step takes at least one byte, and the walk ends.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    options: &'a [u8],
    at: usize,
}

impl<'a> Options<'a> {
    /// The options in these bytes: those between the [`SHORTEST`] header and the data.
    #[must_use]
    pub const fn new(options: &'a [u8]) -> Options<'a> {
        Options { options, at: 0 }
    }

    /// The options of the segment that begins with its header at the start of `segment`.
    #[must_use]
    pub fn of(segment: &'a [u8]) -> Options<'a> {
        Options::new(
            segment
                .get(SHORTEST..header_len(segment))
                .unwrap_or_default(),
        )
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        loop {
            let kind = u8_at(self.options, self.at)?;
            match kind {
                kind::END => return None,
                kind::NO_OPERATION => self.at += 1,
                _ => {
                    let length = usize::from(u8_at(self.options, self.at + 1)?);
                    let value = self.options.get(self.at + 2..self.at + length)?;
                    let option = TcpOption {
                        kind,
                        at: self.at + 2,
                        value,
                    };
                    self.at += length;
                    return Some(option);
                }
            }
        }
    }
}
