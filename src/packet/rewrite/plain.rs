//! The short way to translate what nearly every packet is, a plain one (see
//! [`express`](super::super::express)): where its fields stand is known when this is compiled, and both
//! ends are replaced at once, whatever of them changes.

use super::super::{Checksum, Hints, Segment, ipv4, ipv6, proto, tcp, udp};
use super::field::{Zero, amend, move_pseudo_sum, put};
use super::writable;
use crate::reason::Reason;

/// Both ends of a packet as they stand in its headers, the source first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Addresses and ports of an IPv4 packet.
    V4([u8; 8], [u8; 4]),
    /// The same of an IPv6 packet.
    V6([u8; 32], [u8; 4]),
}

impl Ends {
    /// Those of an IPv4 packet.
    #[must_use]
    #[inline(always)]
    pub const fn v4((src, sport): (u32, u16), (dst, dport): (u32, u16)) -> Ends {
        let addresses = (src as u64) << 32 | dst as u64;
        Ends::V4(addresses.to_be_bytes(), ports(sport, dport))
    }

    /// Those of an IPv6 packet.
    #[must_use]
    #[inline(always)]
    pub fn v6((src, sport): (u128, u16), (dst, dport): (u128, u16)) -> Ends {
        let mut addresses = [0; 32];
        addresses[..16].copy_from_slice(&src.to_be_bytes());
        addresses[16..].copy_from_slice(&dst.to_be_bytes());
        Ends::V6(addresses, ports(sport, dport))
    }
}

#[inline(always)]
const fn ports(sport: u16, dport: u16) -> [u8; 4] {
    ((sport as u32) << 16 | dport as u32).to_be_bytes()
}

/// What [`headers`](super::headers) makes of a plain packet whose new addresses and ports are these.
/// They are of the packet's own family.
///
/// # Errors
/// As [`headers`](super::headers).
#[inline(always)]
pub fn plain(
    bytes: &mut [u8],
    segment: &Segment,
    hints: &Hints,
    ends: &Ends,
) -> Result<(), Reason> {
    writable(hints)?;
    let packet = bytes.get_mut(usize::from(segment.l3)..);
    let packet = packet.ok_or(Reason::Truncated)?;
    match ends {
        Ends::V4(addresses, ports) => put_v4(packet, segment, hints, addresses, *ports),
        Ends::V6(addresses, ports) => put_v6(packet, segment, hints, addresses, *ports),
    }
    .ok_or(Reason::Truncated)
}

#[inline(always)]
fn put_v4(
    packet: &mut [u8],
    segment: &Segment,
    hints: &Hints,
    addresses: &[u8; 8],
    ports: [u8; 4],
) -> Option<()> {
    let (header, rest) = packet.split_first_chunk_mut::<{ ipv4::SHORTEST }>()?;
    let mut transport = Transport::of(rest, segment.proto)?;
    let change = put(header, ipv4::SOURCE, *addresses);
    if hints.ip_checksum != Checksum::Partial {
        amend(header, ipv4::CHECKSUM, change, Zero::Number);
    }
    transport.translate(hints, change, ports);
    Some(())
}

#[inline(always)]
fn put_v6(
    packet: &mut [u8],
    segment: &Segment,
    hints: &Hints,
    addresses: &[u8; 32],
    ports: [u8; 4],
) -> Option<()> {
    let (header, rest) = packet.split_first_chunk_mut::<{ ipv6::HEADER }>()?;
    let mut transport = Transport::of(rest, segment.proto)?;
    let change = put(header, ipv6::SOURCE, *addresses);
    transport.translate(hints, change, ports);
    Some(())
}

/// A whole transport header.
enum Transport<'p> {
    Tcp(&'p mut [u8; tcp::SHORTEST]),
    Udp(&'p mut [u8; udp::HEADER]),
}

impl<'p> Transport<'p> {
    #[inline(always)]
    fn of(bytes: &'p mut [u8], protocol: u8) -> Option<Self> {
        if protocol == proto::TCP {
            bytes.first_chunk_mut().map(Transport::Tcp)
        } else {
            bytes.first_chunk_mut().map(Transport::Udp)
        }
    }

    #[inline(always)]
    fn translate(&mut self, hints: &Hints, addresses: u64, ports: [u8; 4]) {
        match self {
            Transport::Tcp(header) => {
                put_ports(
                    *header,
                    tcp::CHECKSUM,
                    Zero::Number,
                    hints,
                    addresses,
                    ports,
                );
            }
            Transport::Udp(header) => {
                put_ports(
                    *header,
                    udp::CHECKSUM,
                    Zero::NoChecksum,
                    hints,
                    addresses,
                    ports,
                );
            }
        }
    }
}

/// Puts the ports into a transport header, whose checksum `at` follows them and the `addresses`.
#[inline(always)]
fn put_ports<const N: usize>(
    header: &mut [u8; N],
    at: usize,
    zero: Zero,
    hints: &Hints,
    addresses: u64,
    ports: [u8; 4],
) {
    let change = put(header, 0, ports);
    if hints.l4_checksum == Checksum::Partial {
        move_pseudo_sum(header, at, addresses);
    } else {
        amend(header, at, addresses + change, zero);
    }
}
