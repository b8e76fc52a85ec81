//! The parser: from the first byte to [`Facts`].

use super::ip::Network;
use super::{
    Checksum, Facts, Family, Hints, Malformed, Options, Transport, checksum, ether, icmp, ipv4,
    ipv6, malformed, proto, sctp, tcp, udp,
};
use crate::reason::Reason;

/// Reads the headers of a packet in place.
///
/// # Errors
/// [`Malformed`] with the rule that the packet broke. A fragment is refused too: whoever wants
/// fragments tracked reassembles them first.
#[inline]
pub fn parse(bytes: &[u8], hints: &Hints, options: &Options) -> Result<Facts, Malformed> {
    let mut facts = Facts::NONE;
    parse_into(&mut facts, bytes, hints, options)?;
    Ok(facts)
}

/// [`parse`] for those who have a place for the facts: nothing is moved on the way of a packet.
///
/// # Errors
/// As [`parse`]; the facts mean nothing then.
#[inline(always)]
pub fn parse_into(
    facts: &mut Facts,
    bytes: &[u8],
    hints: &Hints,
    options: &Options,
) -> Result<(), Malformed> {
    let l3 = match hints.l3 {
        Some(offset) => usize::from(offset),
        None => ether::ip_offset(bytes).ok_or(malformed(Reason::NotIp))?,
    };
    let &first = bytes.get(l3).ok_or(malformed(Reason::Truncated))?;
    let end = bytes.len().max(hints.total_len as usize);
    let verify = options.verify_checksums;
    let network = match first >> 4 {
        4 => ipv4::parse(bytes, l3, end, hints.ip_checksum, verify)?,
        6 => ipv6::parse(bytes, l3, end)?,
        _ => return Err(malformed(Reason::NotIp)),
    };
    // Headers beyond the offsets of the facts cannot be named.
    if network.l4 > usize::from(u16::MAX) {
        return Err(malformed(Reason::Ipv6Extension));
    }
    let segment = segment(bytes, &network)?;
    facts.transport = match network.proto {
        proto::TCP => Transport::Tcp(tcp::parse(segment, network.l4_len, options.sack)?),
        proto::UDP => {
            let (sport, dport) = udp::parse(segment, network.l4_len)?;
            Transport::Udp(sport, dport)
        }
        proto::SCTP => {
            let (sport, dport, tag) = sctp::parse(segment, network.l4_len)?;
            Transport::Sctp(sport, dport, tag)
        }
        proto::ICMP if network.family == Family::V4 => icmp::parse(bytes, &network, options)?,
        proto::ICMPV6 if network.family == Family::V6 => icmp::parse(bytes, &network, options)?,
        // ICMP of the other family.
        proto::ICMP | proto::ICMPV6 => return Err(malformed(Reason::IcmpType)),
        NO_NEXT_HEADER if network.family == Family::V6 && options.netfilter => {
            return Err(malformed(Reason::Ipv6Extension));
        }
        _ => Transport::Other,
    };
    if !options.netfilter && names_port_zero(&facts.transport) {
        return Err(malformed(Reason::PortZero));
    }
    facts.src = network.src;
    facts.dst = network.dst;
    facts.family = network.family;
    facts.proto = network.proto;
    facts.l3 = l3 as u16;
    facts.l4 = network.l4 as u16;
    facts.l4_len = network.l4_len;
    verify_transport(segment, &network, hints.l4_checksum, verify)
}

/// "No next header" (RFC 8200, section 4.7).
const NO_NEXT_HEADER: u8 = 59;

/// Port zero names no endpoint.
#[inline(always)]
const fn names_port_zero(transport: &Transport) -> bool {
    match transport {
        Transport::Tcp(tcp) => tcp.sport == 0 || tcp.dport == 0,
        Transport::Udp(sport, dport) | Transport::Sctp(sport, dport, _) => {
            *sport == 0 || *dport == 0
        }
        _ => false,
    }
}

/// Transport header and payload, without the padding that short Ethernet frames end with; less than
/// `l4_len` when the packet is not contiguous.
#[inline(always)]
fn segment<'a>(bytes: &'a [u8], network: &Network) -> Result<&'a [u8], Malformed> {
    let rest = bytes
        .get(network.l4..)
        .ok_or(malformed(Reason::Truncated))?;
    Ok(&rest[..rest.len().min(network.l4_len as usize)])
}

/// Checks the transport checksum as far as it can be: not where the device vouches, not where bytes
/// are missing. ICMP is always checked, as Open vSwitch does.
#[inline(always)]
fn verify_transport(
    segment: &[u8],
    network: &Network,
    status: Checksum,
    verify: bool,
) -> Result<(), Malformed> {
    let icmp = matches!(network.proto, proto::ICMP | proto::ICMPV6);
    let bad = malformed(Reason::L4Checksum);
    if !icmp {
        match status {
            Checksum::Bad if has_checksum(network.proto) => return Err(bad),
            Checksum::Unknown => {}
            _ => return Ok(()),
        }
    }
    if !verify || segment.len() != network.l4_len as usize {
        return Ok(());
    }
    let good = match network.proto {
        proto::TCP | proto::ICMPV6 => sums_up(segment, network, network.l4_len),
        proto::UDP => {
            let field = segment.get(udp::CHECKSUM..udp::CHECKSUM + 2);
            let absent = field == Some(&[0, 0]) && network.family == Family::V4;
            // Over all that the IP header counts, as Open vSwitch and the kernel do: bytes beyond the
            // UDP length would be covered by no checksum otherwise.
            absent || sums_up(segment, network, network.l4_len)
        }
        proto::ICMP => checksum::fold(checksum::add(0, segment)) == 0xffff,
        proto::SCTP => sctp_is_good(segment),
        _ => true,
    };
    if good { Ok(()) } else { Err(bad) }
}

const fn has_checksum(protocol: u8) -> bool {
    matches!(protocol, proto::TCP | proto::UDP | proto::SCTP)
}

#[inline]
fn sums_up(segment: &[u8], network: &Network, len: u32) -> bool {
    let pseudo = match network.family {
        Family::V4 => checksum::pseudo_v4(network.src, network.dst, network.proto, len),
        Family::V6 => checksum::pseudo_v6(network.src, network.dst, network.proto, len),
    };
    checksum::fold(checksum::add(pseudo, segment)) == 0xffff
}

fn sctp_is_good(segment: &[u8]) -> bool {
    let Some((before, rest)) = segment.split_at_checked(sctp::CHECKSUM) else {
        return false;
    };
    let Some((field, after)) = rest.split_first_chunk::<4>() else {
        return false;
    };
    let crc = checksum::crc32c(u32::MAX, before);
    let crc = checksum::crc32c(crc, &[0; 4]);
    let crc = !checksum::crc32c(crc, after);
    // RFC 9260, appendix A: the CRC is sent with its least significant byte first.
    u32::from_le_bytes(*field) == crc
}
