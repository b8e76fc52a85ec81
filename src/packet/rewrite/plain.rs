//! The short way to translate what nearly every packet is, a plain one (see
//! [`Plain`](super::super::Plain)): where its fields stand is known when this is compiled, and both ends
//! are replaced at once, whatever of them changes.

use super::super::{Checksum, Ends, Hints, Segment, ipv4, ipv6, proto, tcp, udp};
use super::field::{Zero, amend, move_pseudo_sum, put};
use super::writable;
use crate::reason::Reason;

/// What [`headers`](super::headers) makes of a plain IPv4 packet that is to have these ends.
///
/// # Errors
/// As [`headers`](super::headers).
#[inline(always)]
pub fn plain_v4(
    bytes: &mut [u8],
    segment: &Segment,
    hints: &Hints,
    ends: &Ends<u64>,
) -> Result<(), Reason> {
    let (header, mut transport) = open::<{ ipv4::SHORTEST }>(bytes, segment, hints)?;
    let change = put(header, ipv4::SOURCE, ends.addresses.to_be_bytes());
    if hints.ip_checksum != Checksum::Partial {
        amend(header, ipv4::CHECKSUM, change, Zero::Number);
    }
    transport.translate(hints, change, ends.ports);
    Ok(())
}

/// The same of a plain IPv6 packet.
///
/// # Errors
/// As [`headers`](super::headers).
#[inline(always)]
pub fn plain_v6(
    bytes: &mut [u8],
    segment: &Segment,
    hints: &Hints,
    ends: &Ends<[u128; 2]>,
) -> Result<(), Reason> {
    let (header, mut transport) = open::<{ ipv6::HEADER }>(bytes, segment, hints)?;
    let [src, dst] = ends.addresses.map(u128::to_be_bytes);
    let change = put(header, ipv6::SOURCE, src) + put(header, ipv6::DESTINATION, dst);
    transport.translate(hints, change, ends.ports);
    Ok(())
}

/// The headers of a packet whose IP header is `N` bytes long.
#[inline(always)]
fn open<'p, const N: usize>(
    bytes: &'p mut [u8],
    segment: &Segment,
    hints: &Hints,
) -> Result<(&'p mut [u8; N], Transport<'p>), Reason> {
    writable(hints)?;
    bytes
        .get_mut(usize::from(segment.l3)..)
        .and_then(|packet| packet.split_first_chunk_mut())
        .and_then(|(header, rest)| Some((header, Transport::of(rest, segment.proto)?)))
        .ok_or(Reason::Truncated)
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
    fn translate(&mut self, hints: &Hints, addresses: u64, ports: u32) {
        match self {
            Transport::Tcp(header) => {
                put_ports(header, tcp::CHECKSUM, Zero::Number, hints, addresses, ports);
            }
            Transport::Udp(header) => {
                put_ports(
                    header,
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
    ports: u32,
) {
    let change = put(header, 0, ports.to_be_bytes());
    if hints.l4_checksum == Checksum::Partial {
        move_pseudo_sum(header, at, addresses);
    } else {
        amend(header, at, addresses + change, zero);
    }
}
