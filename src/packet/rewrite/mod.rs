//! The only place where packet bytes change.
//!
//! Translation replaces addresses, ports and ICMP identifiers: in the packet itself ([`headers`], or in
//! fewer steps [`plain_v4`] and [`plain_v6`]) and in the packet that an ICMP error quotes ([`quoted`]).
//! Helpers change TCP numbers and the length of a payload ([`numbers`], [`resized`]). Each function
//! keeps every checksum that covers what it changes, or changes nothing at all and says why.
//!
//! A checksum is not computed anew but moved by the difference (RFC 1624; for SCTP's CRC32c by its
//! linearity). That needs only the headers, so packets need not be contiguous, and a packet with a
//! wrong checksum keeps a wrong one. What happens to a field depends on what the device said of it:
//!
//! | status | IPv4 header | TCP, UDP | SCTP | ICMP, ICMPv6 |
//! |---|---|---|---|---|
//! | `Unknown`, `Good`, `Bad` | moved | moved | moved | moved |
//! | `Partial` | left: the device writes it | pseudo-header sum moved by the addresses alone, not complemented | left: the device writes it | moved |
//!
//! A UDP checksum of zero is none and stays so; one that becomes zero is sent as all ones (RFC 768).
//! Protocols that are tracked by their addresses alone keep their checksum: if it covers the
//! pseudo-header (DCCP, UDP-Lite), a translated packet is no longer right, as in Open vSwitch.

mod field;
mod message;
mod plain;

use super::{
    Checksum, Facts, Family, Hints, Inner, Transport, icmp, ipv4, ipv6, proto, sctp, tcp, udp,
};
use crate::reason::Reason;
use field::{Zero, amend, amend_crc, amend_own, move_pseudo_sum, put};

pub use message::{numbers, resized};
pub use plain::{plain_v4, plain_v6};

/// New values for one set of headers; `None` leaves the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Source address, see [`Facts::src`].
    pub src: Option<u128>,
    /// Destination address.
    pub dst: Option<u128>,
    /// Source port; the identifier of an ICMP query.
    pub sport: Option<u16>,
    /// Destination port; without meaning for ICMP, whose identifier is [`Change::sport`].
    pub dport: Option<u16>,
}

/// Changes the packet's own headers. Of an ICMP error these are the addresses only, and of a protocol
/// without ports too. `facts` are what the parser said of these bytes; translating does not change
/// offsets and lengths, so they serve for the further changes of the same packet.
///
/// # Errors
/// [`Reason::ReadOnly`] as [`Hints::read_only`] says, [`Reason::Truncated`] when the facts are not
/// those of the bytes. The bytes are unchanged then.
#[inline]
pub fn headers(
    bytes: &mut [u8],
    facts: &Facts,
    hints: &Hints,
    change: &Change,
) -> Result<(), Reason> {
    writable(hints)?;
    let headers = Headers::of_packet(facts, hints);
    if !headers.is_inside(bytes) {
        return Err(Reason::Truncated);
    }
    headers.translate(bytes, change);
    Ok(())
}

/// Changes the headers that an ICMP error quotes: addresses, ports or identifier, the checksums of the
/// quoted headers as far as the quote reaches, and the checksum of the error.
///
/// # Errors
/// As [`headers`]; [`Reason::IcmpInner`] when the packet is no ICMP error.
pub fn quoted(
    bytes: &mut [u8],
    facts: &Facts,
    hints: &Hints,
    change: &Change,
) -> Result<(), Reason> {
    writable(hints)?;
    let Transport::Error(inner) = &facts.transport else {
        return Err(Reason::IcmpInner);
    };
    // Padding behind the error is not quoted.
    let end = bytes
        .len()
        .min(usize::from(facts.l4) + facts.l4_len as usize);
    let bytes = &mut bytes[..end];
    let error = Headers::of_packet(facts, hints);
    let quote = Headers::of_quote(bytes, facts.family, inner);
    if !error.is_inside(bytes) || !quote.is_inside(bytes) {
        return Err(Reason::Truncated);
    }
    let difference = quote.translate(bytes, change);
    let field = usize::from(facts.l4) + icmp::CHECKSUM;
    amend(bytes, field, difference, Zero::Number);
    Ok(())
}

fn writable(hints: &Hints) -> Result<(), Reason> {
    if hints.read_only {
        return Err(Reason::ReadOnly);
    }
    Ok(())
}

/// What names the ends of a conversation, apart from addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Ports,
    Identifier,
    Nothing,
}

/// The checksum of a transport header, and the offset of its field in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    /// None, or none that we could keep.
    Nothing,
    /// The Internet checksum, over the message alone, which has so many bytes.
    Own(usize, u32),
    /// The Internet checksum, over the pseudo-header too.
    WithAddresses(usize, Zero),
    /// The sum of the pseudo-header; the device will add the rest.
    Pseudo(usize),
    /// CRC32c over so many bytes.
    Crc32c(usize, u32),
}

impl Sum {
    /// Where the field ends.
    const fn end(self) -> usize {
        match self {
            Sum::Nothing => 0,
            Sum::Own(at, _) | Sum::WithAddresses(at, _) | Sum::Pseudo(at) => at + 2,
            Sum::Crc32c(at, _) => at + 4,
        }
    }
}

/// Where the fields of one set of headers stand.
#[derive(Clone, Copy, Debug)]
struct Headers {
    family: Family,
    ip_checksum: Checksum,
    l3: usize,
    l4: usize,
    names: Names,
    sum: Sum,
}

impl Headers {
    #[inline]
    fn of_packet(facts: &Facts, hints: &Hints) -> Headers {
        let l4 = usize::from(facts.l4);
        let sum = match (
            Headers::sum(facts.proto, l4, Some(facts.l4_len)),
            hints.l4_checksum,
        ) {
            // Devices leave TCP, UDP and SCTP to be completed, not ICMP.
            (Sum::WithAddresses(at, _), Checksum::Partial) if facts.proto != proto::ICMPV6 => {
                Sum::Pseudo(at)
            }
            (Sum::Crc32c(..), Checksum::Partial) => Sum::Nothing,
            (sum, _) => sum,
        };
        Headers {
            family: facts.family,
            ip_checksum: hints.ip_checksum,
            l3: usize::from(facts.l3),
            l4,
            names: match facts.transport {
                Transport::Tcp(_) | Transport::Udp(..) | Transport::Sctp(..) => Names::Ports,
                Transport::Query(_) => Names::Identifier,
                Transport::Error(_) | Transport::Other => Names::Nothing,
            },
            sum,
        }
    }

    fn of_quote(bytes: &[u8], family: Family, inner: &Inner) -> Headers {
        let (l3, l4) = (usize::from(inner.l3), usize::from(inner.l4));
        let len = match family {
            Family::V4 => ipv4::quoted_len(bytes, l3, l4),
            Family::V6 => ipv6::quoted_len(bytes, l3, l4),
        };
        let sum = Headers::sum(inner.proto, l4, len);
        Headers {
            family,
            ip_checksum: Checksum::Unknown,
            l3,
            l4,
            names: match inner.proto {
                proto::TCP | proto::UDP | proto::SCTP => Names::Ports,
                proto::ICMP | proto::ICMPV6 => Names::Identifier,
                _ => Names::Nothing,
            },
            // Eight bytes of the transport header are certain, no more.
            sum: if sum.end() <= bytes.len() {
                sum
            } else {
                Sum::Nothing
            },
        }
    }

    /// The checksum of a transport header; `len` is the length of header and payload, if known.
    #[inline]
    fn sum(protocol: u8, l4: usize, len: Option<u32>) -> Sum {
        match protocol {
            proto::TCP => Sum::WithAddresses(l4 + tcp::CHECKSUM, Zero::Number),
            proto::UDP => Sum::WithAddresses(l4 + udp::CHECKSUM, Zero::NoChecksum),
            proto::ICMP => Sum::Own(l4 + icmp::CHECKSUM, len.unwrap_or_default()),
            proto::ICMPV6 => Sum::WithAddresses(l4 + icmp::CHECKSUM, Zero::Number),
            proto::SCTP => len.map_or(Sum::Nothing, |len| Sum::Crc32c(l4 + sctp::CHECKSUM, len)),
            _ => Sum::Nothing,
        }
    }

    #[inline]
    fn is_inside(&self, bytes: &[u8]) -> bool {
        let addresses = match self.family {
            Family::V4 => self.l3 + ipv4::SHORTEST,
            Family::V6 => self.l3 + ipv6::HEADER,
        };
        let names = match self.names {
            Names::Ports => self.l4 + 4,
            Names::Identifier => self.l4 + icmp::IDENTIFIER + 2,
            Names::Nothing => 0,
        };
        addresses.max(names).max(self.sum.end()) <= bytes.len()
    }

    /// Makes the change, and returns what it does to a sum over all these headers.
    #[inline]
    fn translate(&self, bytes: &mut [u8], change: &Change) -> u64 {
        let addresses = self.put_addresses(bytes, change);
        let mut all = addresses;
        if self.family == Family::V4 && self.ip_checksum != Checksum::Partial {
            all += amend(bytes, self.l3 + ipv4::CHECKSUM, addresses, Zero::Number);
        }
        let ports = |bytes: &[u8]| field::get(bytes, self.l4).unwrap_or_default();
        let before = ports(bytes);
        let names = self.put_names(bytes, change);
        let sum = match self.sum {
            Sum::Nothing => 0,
            Sum::Own(at, len) => {
                let message = self.l4..self.l4 + len as usize;
                amend_own(bytes, at, names, message)
            }
            Sum::WithAddresses(at, zero) => amend(bytes, at, addresses + names, zero),
            Sum::Pseudo(at) => move_pseudo_sum(bytes, at, addresses),
            Sum::Crc32c(at, len) => {
                let after = ports(bytes);
                amend_crc(bytes, at, before, after, len.saturating_sub(4))
            }
        };
        all + names + sum
    }

    #[inline]
    fn put_names(&self, bytes: &mut [u8], change: &Change) -> u64 {
        let mut put_name = |offset: usize, name: Option<u16>| {
            name.map_or(0, |name| put(bytes, self.l4 + offset, name.to_be_bytes()))
        };
        match self.names {
            Names::Ports => put_name(0, change.sport) + put_name(2, change.dport),
            Names::Identifier => put_name(icmp::IDENTIFIER, change.sport),
            Names::Nothing => 0,
        }
    }

    #[inline]
    fn put_addresses(&self, bytes: &mut [u8], change: &Change) -> u64 {
        let (source, destination) = match self.family {
            Family::V4 => (ipv4::SOURCE, ipv4::DESTINATION),
            Family::V6 => (ipv6::SOURCE, ipv6::DESTINATION),
        };
        let mut put_address = |offset: usize, address: Option<u128>| match (address, self.family) {
            (None, _) => 0,
            (Some(address), Family::V4) => {
                put(bytes, self.l3 + offset, (address as u32).to_be_bytes())
            }
            (Some(address), Family::V6) => put(bytes, self.l3 + offset, address.to_be_bytes()),
        };
        put_address(source, change.src) + put_address(destination, change.dst)
    }
}
