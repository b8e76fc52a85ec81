//! TCP (RFC 9293): header and the options that a tracker needs.

use super::bytes::{u8_at, u16_at, u32_at};
use super::{Malformed, Tcp, malformed, tcp_flags};
use crate::reason::Reason;

const SEQUENCE: usize = 4;
const ACKNOWLEDGEMENT: usize = 8;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const WINDOW: usize = 14;
const SHORTEST: usize = 20;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;

/// The header at the start of `segment`, whose length by the IP header is `len`.
#[inline(always)]
pub(super) fn parse(segment: &[u8], len: u32, sack: bool) -> Result<Tcp, Malformed> {
    let short = malformed(Reason::Truncated);
    let Some(header) = segment.first_chunk::<SHORTEST>() else {
        return Err(short);
    };
    let header_len = usize::from(header[DATA_OFFSET] >> 4) * 4;
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

/// Both ports at the start of a transport header; port zero names no endpoint.
#[inline(always)]
pub(super) fn ports(header: &[u8]) -> Result<(u16, u16), Malformed> {
    let sport = u16_at(header, 0).ok_or(malformed(Reason::Truncated))?;
    let dport = u16_at(header, 2).ok_or(malformed(Reason::Truncated))?;
    if sport == 0 || dport == 0 {
        return Err(malformed(Reason::PortZero));
    }
    Ok((sport, dport))
}

/// Walks the options. One with a length below two, or beyond the header, ends the walk: what stood
/// before it counts.
fn read_options(mut options: &[u8], tcp: &mut Tcp) {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            END => return,
            NO_OPERATION => {
                options = rest;
                continue;
            }
            _ => {}
        }
        let Some(length) = u8_at(rest, 0).map(usize::from) else {
            return;
        };
        if length < 2 {
            return;
        }
        let Some((option, after)) = options.split_at_checked(length) else {
            return;
        };
        let value = &option[2..];
        match (kind, value.len()) {
            (WINDOW_SCALE, 1) => tcp.wscale = Some(value[0]),
            (SACK_PERMITTED, 0) => tcp.sack_permitted = true,
            (SACK, 8..) => tcp.sack = highest_edge(value, tcp.ack),
            _ => {}
        }
        options = after;
    }
}

/// The right edge of the SACK blocks that is farthest beyond `ack`.
fn highest_edge(blocks: &[u8], ack: u32) -> Option<u32> {
    let (blocks, _) = blocks.as_chunks::<8>();
    blocks
        .iter()
        .filter_map(|block| u32_at(block, 4))
        .max_by_key(|&edge| edge.wrapping_sub(ack) as i32)
}
