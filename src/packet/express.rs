//! The straight way through the parser for what nearly every packet is: IPv4 without options, TCP
//! without SYN or UDP, whole, with nothing to be said against it.
//!
//! [`parse_into`](super::parse_into) is written for every packet, and its many cases meet again and
//! again in the same variables. Here there is one case; whatever does not fit is left to the parser,
//! which finds out why. A test holds the two against each other.

use super::bytes::{u16_at, u32_at};
use super::{
    Checksum, Facts, Family, Hints, Options, Tcp, Transport, checksum, ipv4, proto, tcp, tcp_flags,
    udp,
};

/// First byte of an IPv4 header without options.
const PLAIN: u8 = 0x45;
/// Offset of flags and fragment offset.
const FLAGS_AND_OFFSET: usize = 6;
/// All of them but "don't fragment" and the reserved bit.
const FRAGMENTED: u16 = 0x3fff;
const PROTOCOL: usize = 9;

/// Reads the headers of a packet whose IP header is at a known offset. `false`: it is not of the kind
/// that is meant here, and the facts mean nothing.
#[must_use]
#[inline(always)]
pub fn express(facts: &mut Facts, bytes: &[u8], hints: &Hints, options: &Options) -> bool {
    let Some(l3) = hints.l3 else { return false };
    let Some(packet) = bytes.get(usize::from(l3)..) else {
        return false;
    };
    let Some(header) = packet.first_chunk::<{ ipv4::SHORTEST }>() else {
        return false;
    };
    let total = usize::from(be16(header, ipv4::TOTAL_LENGTH));
    let fragmented = be16(header, FLAGS_AND_OFFSET) & FRAGMENTED != 0;
    if header[0] != PLAIN || fragmented || total > packet.len() || total < ipv4::SHORTEST {
        return false;
    }
    let segment = &packet[ipv4::SHORTEST..total];
    // RFC 768: a datagram without a checksum has zero in its place.
    let mut summed = true;
    let transport = match header[PROTOCOL] {
        proto::TCP => {
            let Some(tcp) = segment.first_chunk::<{ tcp::SHORTEST }>() else {
                return false;
            };
            let header_len = tcp::header_len(tcp);
            let flags = tcp[tcp::FLAGS] & 0x3f;
            let plain = header_len == tcp::SHORTEST || !options.sack;
            if header_len < tcp::SHORTEST
                || header_len > segment.len()
                || flags & tcp_flags::SYN != 0
                || !plain
            {
                return false;
            }
            Transport::Tcp(Tcp {
                sport: be16(tcp, 0),
                dport: be16(tcp, 2),
                flags,
                wscale: None,
                sack_permitted: false,
                seq: be32(tcp, tcp::SEQUENCE),
                ack: be32(tcp, tcp::ACKNOWLEDGEMENT),
                window: be16(tcp, tcp::WINDOW),
                payload: (segment.len() - header_len) as u32,
                sack: None,
            })
        }
        proto::UDP => {
            let Some(udp) = segment.first_chunk::<{ udp::HEADER }>() else {
                return false;
            };
            if usize::from(be16(udp, udp::LENGTH)) != segment.len() {
                return false;
            }
            summed = be16(udp, udp::CHECKSUM) != 0;
            Transport::Udp(be16(udp, 0), be16(udp, 2))
        }
        _ => return false,
    };
    let (Transport::Tcp(Tcp { sport, dport, .. }) | Transport::Udp(sport, dport)) = transport
    else {
        return false;
    };
    if sport == 0 || dport == 0 {
        return false;
    }
    let (src, dst) = (be32(header, ipv4::SOURCE), be32(header, ipv4::DESTINATION));
    let vouched = |status| match status {
        Checksum::Good | Checksum::Partial => true,
        Checksum::Unknown => !options.verify_checksums,
        Checksum::Bad => false,
    };
    if !vouched(hints.ip_checksum)
        && (hints.ip_checksum == Checksum::Bad
            || checksum::fold(checksum::add(0, header)) != 0xffff)
    {
        return false;
    }
    if !vouched(hints.l4_checksum)
        && (hints.l4_checksum == Checksum::Bad
            || summed && !sums_up(src, dst, header[PROTOCOL], segment))
    {
        return false;
    }
    *facts = Facts {
        src: u128::from(src),
        dst: u128::from(dst),
        transport,
        family: Family::V4,
        proto: header[PROTOCOL],
        l3,
        l4: l3.wrapping_add(ipv4::SHORTEST as u16),
        l4_len: segment.len() as u32,
    };
    // Headers beyond the offsets of the facts cannot be named.
    l3 <= u16::MAX - ipv4::SHORTEST as u16
}

/// A number of a header whose length is known.
#[inline(always)]
fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16_at(header, at).unwrap_or_default()
}

#[inline(always)]
fn be32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32_at(header, at).unwrap_or_default()
}

/// The transport checksum is right.
#[inline(never)]
fn sums_up(src: u32, dst: u32, protocol: u8, segment: &[u8]) -> bool {
    let len = segment.len() as u32;
    let pseudo = checksum::pseudo_v4(u128::from(src), u128::from(dst), protocol, len);
    checksum::fold(checksum::add(pseudo, segment)) == 0xffff
}
