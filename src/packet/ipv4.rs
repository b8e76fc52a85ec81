//! IPv4 (RFC 791): header length, total length, fragments, header checksum.

use super::bytes::{u8_at, u16_at, u32_at};
use super::fragment::Fragment;
use super::ip::Network;
use super::{Checksum, Family, Malformed, checksum, malformed};
use crate::reason::Reason;

/// Offset of the total length.
pub(super) const TOTAL_LENGTH: usize = 2;
const IDENTIFICATION: usize = 4;
const FLAGS_AND_OFFSET: usize = 6;
const PROTOCOL: usize = 9;
/// Offset of the header checksum.
pub(super) const CHECKSUM: usize = 10;
/// Offset of the source address.
pub(super) const SOURCE: usize = 12;
/// Offset of the destination address.
pub(super) const DESTINATION: usize = 16;
/// Length without options.
pub(super) const SHORTEST: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset, in units of 8 bytes.
const OFFSET: u16 = 0x1fff;
/// Everything that makes a packet a fragment.
const FRAGMENTED: u16 = MORE_FRAGMENTS | OFFSET;

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
    let short = malformed(Reason::Truncated);
    let rest = bytes.get(l3..).ok_or(short)?;
    let header = rest.first_chunk::<SHORTEST>().ok_or(short)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16_at(header, TOTAL_LENGTH).ok_or(short)?);
    if header_len < SHORTEST || total < header_len {
        return Err(malformed(Reason::IpHeader));
    }
    if total > end - l3 || header_len > rest.len() {
        return Err(short);
    }
    match status {
        Checksum::Bad => return Err(malformed(Reason::IpChecksum)),
        Checksum::Unknown
            if verify && checksum::fold(checksum::add(0, &rest[..header_len])) != 0xffff =>
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
    if u16_at(header, FLAGS_AND_OFFSET)? & OFFSET != 0 {
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

/// Length of the transport header and payload of the packet that an ICMP error quotes, of which the
/// quote holds the beginning: by the word of the quoted header at `l3`. `None` for a first fragment,
/// whose datagram is longer.
pub(super) fn quoted_len(bytes: &[u8], l3: usize, l4: usize) -> Option<u32> {
    let header = bytes.get(l3..)?;
    if u16_at(header, FLAGS_AND_OFFSET)? & FRAGMENTED != 0 {
        return None;
    }
    let total = usize::from(u16_at(header, TOTAL_LENGTH)?);
    Some(total.checked_sub(l4 - l3)? as u32)
}

/// See [`super::fragment::of`].
pub(super) fn fragment(bytes: &[u8], l3: usize, end: usize) -> Option<Fragment> {
    let header = bytes.get(l3..)?;
    let header_len = usize::from(u8_at(header, 0)? & 0x0f) * 4;
    let total = usize::from(u16_at(header, TOTAL_LENGTH)?);
    let flags_and_offset = u16_at(header, FLAGS_AND_OFFSET)?;
    if header_len < SHORTEST
        || header.len() < header_len
        || total > end - l3
        || flags_and_offset & FRAGMENTED == 0
    {
        return None;
    }
    let fragment = Fragment {
        src: u128::from(u32_at(header, SOURCE)?),
        dst: u128::from(u32_at(header, DESTINATION)?),
        family: Family::V4,
        proto: u8_at(header, PROTOCOL)?,
        more: flags_and_offset & MORE_FRAGMENTS != 0,
        id: u32::from(u16_at(header, IDENTIFICATION)?),
        offset: (flags_and_offset & OFFSET) * 8,
        len: total.checked_sub(header_len)? as u16,
        l3: u16::try_from(l3).ok()?,
        data: u16::try_from(l3 + header_len).ok()?,
    };
    fragment.checked(header_len)
}

/// Makes the header of a first fragment that of the whole datagram.
pub(super) fn unmark_fragment(header: &mut [u8], payload: usize) {
    let total = header.len() + payload;
    let marks = u16_at(header, FLAGS_AND_OFFSET).unwrap_or_default() & !FRAGMENTED;
    for (at, value) in [(TOTAL_LENGTH, total as u16), (FLAGS_AND_OFFSET, marks)] {
        if let Some(field) = header.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }
    write_checksum(header);
}

/// Computes the checksum of a whole header anew.
pub(super) fn write_checksum(header: &mut [u8]) {
    if let Some(field) = header.get_mut(CHECKSUM..CHECKSUM + 2) {
        field.fill(0);
    }
    let sum = !checksum::fold(checksum::add(0, header));
    if let Some(field) = header.get_mut(CHECKSUM..CHECKSUM + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
