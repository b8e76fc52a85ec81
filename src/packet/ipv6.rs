//! IPv6 (RFC 8200): the chain of extension headers, walked to the transport header.

use super::bytes::{u8_at, u16_at, u32_at};
use super::fragment::Fragment;
use super::ip::Network;
use super::{Family, Malformed, malformed};
use crate::reason::Reason;

/// Offset of the payload length.
pub(super) const PAYLOAD_LENGTH: usize = 4;
/// Offset of the next header.
pub(super) const NEXT_HEADER: usize = 6;
/// Offset of the source address.
pub(super) const SOURCE: usize = 8;
/// Offset of the destination address.
pub(super) const DESTINATION: usize = 24;
/// Length without extension headers.
pub(super) const HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

pub(super) const FRAGMENT_HEADER: usize = 8;
/// Offset, in units of 8 bytes already, and "more fragments" in a fragment header.
const FRAGMENT_OFFSET: usize = 2;
const FRAGMENT_IDENTIFICATION: usize = 4;

/// Extension headers that are walked; RFC 8200 knows each once, destination options twice.
const MOST_HEADERS: usize = 8;

fn address(bytes: &[u8], offset: usize) -> Option<u128> {
    Some(u128::from_be_bytes(
        *bytes.get(offset..)?.first_chunk::<16>()?,
    ))
}

/// The network layer of the packet whose header is at `l3`; `end` is where the packet ends by the
/// device's word.
#[inline]
pub(super) fn parse(bytes: &[u8], l3: usize, end: usize) -> Result<Network, Malformed> {
    let short = malformed(Reason::Truncated);
    let (mut network, packet_end) = fixed_header(bytes, l3).ok_or(short)?;
    if packet_end > end {
        return Err(short);
    }
    walk(bytes, &mut network, packet_end)?;
    network.l4_len = (packet_end - network.l4) as u32;
    Ok(network)
}

/// What the fixed header at `l3` says, extension headers not yet walked, and where its packet ends.
#[inline]
fn fixed_header(bytes: &[u8], l3: usize) -> Option<(Network, usize)> {
    let header = bytes.get(l3..)?.first_chunk::<HEADER>()?;
    let payload = u16_at(header, PAYLOAD_LENGTH)?;
    let network = Network {
        family: Family::V6,
        src: address(header, SOURCE)?,
        dst: address(header, DESTINATION)?,
        proto: header[NEXT_HEADER],
        l4: l3 + HEADER,
        l4_len: 0,
    };
    Some((network, l3 + HEADER + usize::from(payload)))
}

/// The network layer of a packet quoted by an ICMPv6 error; see `ipv4::parse_quoted`.
pub(super) fn parse_quoted(bytes: &[u8], l3: usize) -> Option<Network> {
    if u8_at(bytes, l3)? >> 4 != 6 {
        return None;
    }
    let (mut network, _) = fixed_header(bytes, l3)?;
    walk(bytes, &mut network, bytes.len()).ok()?;
    network.l4_len = (bytes.len() - network.l4) as u32;
    Some(network)
}

/// Length of the transport header and payload of the packet that an ICMPv6 error quotes; see
/// `ipv4::quoted_len`.
pub(super) fn quoted_len(bytes: &[u8], l3: usize, l4: usize) -> Option<u32> {
    let (_, end) = fixed_header(bytes, l3)?;
    Some(end.checked_sub(l4)? as u32)
}

/// See [`super::fragment::of`].
pub(super) fn fragment(bytes: &[u8], l3: usize, end: usize) -> Option<Fragment> {
    let (mut network, packet_end) = fixed_header(bytes, l3)?;
    if packet_end > end || walk(bytes, &mut network, packet_end) != Err(malformed(Reason::Fragment))
    {
        return None;
    }
    let header = bytes.get(network.l4..)?.first_chunk::<FRAGMENT_HEADER>()?;
    let flags_and_offset = u16_at(header, FRAGMENT_OFFSET)?;
    let data = network.l4 + FRAGMENT_HEADER;
    let fragment = Fragment {
        src: network.src,
        dst: network.dst,
        family: Family::V6,
        proto: header[0],
        more: flags_and_offset & 1 != 0,
        id: u32_at(header, FRAGMENT_IDENTIFICATION)?,
        offset: flags_and_offset & !7,
        len: packet_end.checked_sub(data)? as u16,
        l3: u16::try_from(l3).ok()?,
        data: u16::try_from(data).ok()?,
    };
    // The payload length of the datagram counts what stands between the fixed header and the
    // fragment header, too.
    let before = network.l4 - l3 - HEADER;
    fragment
        .checked(before)
        .filter(|fragment| fragment.proto != FRAGMENT)
}

/// Makes the headers in front of a first fragment's fragment header those of the whole datagram, whose
/// payload begins with `proto`.
pub(super) fn unmark_fragment(header: &mut [u8], proto: u8, payload: usize) {
    let length = header.len().saturating_sub(HEADER) + payload;
    if let Some(field) = header.get_mut(PAYLOAD_LENGTH..PAYLOAD_LENGTH + 2) {
        field.copy_from_slice(&(length as u16).to_be_bytes());
    }
    // The last header named the fragment header as the next one.
    let (mut at, mut next) = (NEXT_HEADER, HEADER);
    while header.get(at).is_some_and(|&kind| kind != FRAGMENT) {
        let count = usize::from(u8_at(header, next + 1).unwrap_or_default());
        let length = match header[at] {
            AUTHENTICATION => (count + 2) * 4,
            _ => 8 + count * 8,
        };
        at = next;
        next += length;
    }
    if let Some(field) = header.get_mut(at) {
        *field = proto;
    }
}

/// Moves `network.l4` past the extension headers, none of which may reach beyond `end`. A fragment
/// header ends the walk with [`Reason::Fragment`], and `network` stays there.
fn walk(bytes: &[u8], network: &mut Network, end: usize) -> Result<(), Malformed> {
    let bad = malformed(Reason::Ipv6Extension);
    for _ in 0..=MOST_HEADERS {
        let unit = match network.proto {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8,
            AUTHENTICATION => 4,
            FRAGMENT => return Err(malformed(Reason::Fragment)),
            _ => return Ok(()),
        };
        let next = u8_at(bytes, network.l4).ok_or(malformed(Reason::Truncated))?;
        let count = u8_at(bytes, network.l4 + 1).ok_or(malformed(Reason::Truncated))?;
        // RFC 8200: in units of 8 octets, not including the first 8. RFC 4302: in units of 4, minus 2.
        let length = match unit {
            8 => 8 + usize::from(count) * 8,
            _ => (usize::from(count) + 2) * 4,
        };
        if length > end.saturating_sub(network.l4) {
            return Err(bad);
        }
        network.proto = next;
        network.l4 += length;
    }
    Err(bad)
}
