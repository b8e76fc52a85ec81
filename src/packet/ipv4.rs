//! IPv4 (RFC 791): header length, total length, fragments, header checksum.

use super::bytes::{u8_at, u16_at, u32_at};
use super::ip::Network;
use super::{Checksum, Family, Malformed, checksum, malformed};
use crate::reason::Reason;

const TOTAL_LENGTH: usize = 2;
const FLAGS_AND_OFFSET: usize = 6;
const PROTOCOL: usize = 9;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
/// Length without options.
const SHORTEST: usize = 20;
/// More fragments, or an offset: everything that makes a packet a fragment.
const FRAGMENTED: u16 = 0x3fff;

/// The network layer of the packet whose header is at `l3`; `end` is where the packet ends by the
/// device's word.
#[inline(always)]
pub(super) fn parse(
    bytes: &[u8],
    l3: usize,
    end: usize,
    status: Checksum,
    verify: bool,
) -> Result<Network, Malformed> {
    let header = bytes.get(l3..).ok_or(malformed(Reason::Truncated))?;
    if header.len() < SHORTEST {
        return Err(malformed(Reason::Truncated));
    }
    let short = malformed(Reason::Truncated);
    let header_len = usize::from(u8_at(header, 0).ok_or(short)? & 0x0f) * 4;
    let total = usize::from(u16_at(header, TOTAL_LENGTH).ok_or(short)?);
    if header_len < SHORTEST || total < header_len {
        return Err(malformed(Reason::IpHeader));
    }
    if total > end - l3 || header_len > header.len() {
        return Err(short);
    }
    match status {
        Checksum::Bad => return Err(malformed(Reason::IpChecksum)),
        Checksum::Unknown
            if verify && checksum::fold(checksum::add(0, &header[..header_len])) != 0xffff =>
        {
            return Err(malformed(Reason::IpChecksum));
        }
        _ => {}
    }
    if u16_at(header, FLAGS_AND_OFFSET).ok_or(short)? & FRAGMENTED != 0 {
        return Err(malformed(Reason::Fragment));
    }
    Ok(Network {
        family: Family::V4,
        src: u128::from(u32_at(header, SOURCE).ok_or(short)?),
        dst: u128::from(u32_at(header, DESTINATION).ok_or(short)?),
        proto: u8_at(header, PROTOCOL).ok_or(short)?,
        l4: l3 + header_len,
        l4_len: (total - header_len) as u32,
    })
}

/// The network layer of a packet quoted by an ICMP error: lengths and checksum are those of a packet
/// that is not all there, so they are not held against it.
pub(super) fn parse_quoted(bytes: &[u8], l3: usize) -> Option<Network> {
    let header = bytes.get(l3..)?;
    let first = u8_at(header, 0)?;
    let header_len = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_len < SHORTEST || header.len() < header_len {
        return None;
    }
    // A later fragment quotes no ports (offset bits only; the first fragment has its ports).
    if u16_at(header, FLAGS_AND_OFFSET)? & 0x1fff != 0 {
        return None;
    }
    Some(Network {
        family: Family::V4,
        src: u128::from(u32_at(header, SOURCE)?),
        dst: u128::from(u32_at(header, DESTINATION)?),
        proto: u8_at(header, PROTOCOL)?,
        l4: l3 + header_len,
        l4_len: (header.len() - header_len) as u32,
    })
}
