//! IPv6 (RFC 8200): the chain of extension headers, walked to the transport header.

use super::bytes::{u8_at, u16_at};
use super::ip::Network;
use super::{Family, Malformed, malformed};
use crate::reason::Reason;

const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;
const HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

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
    let header = bytes.get(l3..l3 + HEADER).ok_or(short)?;
    let payload = usize::from(u16_at(header, PAYLOAD_LENGTH).ok_or(short)?);
    if payload > end - l3 - HEADER {
        return Err(short);
    }
    let packet_end = l3 + HEADER + payload;
    let mut network = Network {
        family: Family::V6,
        src: address(header, SOURCE).ok_or(short)?,
        dst: address(header, DESTINATION).ok_or(short)?,
        proto: u8_at(header, NEXT_HEADER).ok_or(short)?,
        l4: l3 + HEADER,
        l4_len: 0,
    };
    walk(bytes, &mut network, packet_end)?;
    network.l4_len = (packet_end - network.l4) as u32;
    Ok(network)
}

/// The network layer of a packet quoted by an ICMPv6 error; see `ipv4::parse_quoted`.
pub(super) fn parse_quoted(bytes: &[u8], l3: usize) -> Option<Network> {
    let header = bytes.get(l3..l3.checked_add(HEADER)?)?;
    if u8_at(header, 0)? >> 4 != 6 {
        return None;
    }
    let mut network = Network {
        family: Family::V6,
        src: address(header, SOURCE)?,
        dst: address(header, DESTINATION)?,
        proto: u8_at(header, NEXT_HEADER)?,
        l4: l3 + HEADER,
        l4_len: 0,
    };
    walk(bytes, &mut network, bytes.len()).ok()?;
    network.l4_len = (bytes.len() - network.l4) as u32;
    Some(network)
}

/// Moves `network.l4` past the extension headers, none of which may reach beyond `end`.
fn walk(bytes: &[u8], network: &mut Network, end: usize) -> Result<(), Malformed> {
    let bad = malformed(Reason::Ipv6Extension);
    for _ in 0..MOST_HEADERS {
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
