//! ICMP (RFC 792) and ICMPv6 (RFC 4443): queries, and errors that quote a packet.
//!
//! An error is believed only as far as it can be checked: what it quotes must be a packet of the
//! error's own family, sent by the host to which the error goes, and not itself an error.

use super::bytes::{u8_at, u16_at};
use super::ip::Network;
use super::{Family, Inner, Malformed, Options, Query, Transport, ipv4, ipv6, malformed, proto};
use crate::reason::Reason;

const CODE: usize = 1;
/// Offset of the checksum.
pub(super) const CHECKSUM: usize = 2;
/// Offset of the identifier of a query.
pub(super) const IDENTIFIER: usize = 4;
/// Length of the header; a quoted packet follows it.
pub(super) const HEADER: usize = 8;

/// What an ICMP type is to a tracker.
enum Kind {
    Query,
    Error,
    Other,
}

const fn kind_of(family: Family, icmp_type: u8) -> Kind {
    match (family, icmp_type) {
        (Family::V4, 0 | 8 | 13 | 14 | 15 | 16 | 17 | 18) => Kind::Query,
        // Unreachable, source quench, redirect, time exceeded, parameter problem.
        (Family::V4, 3 | 4 | 5 | 11 | 12) => Kind::Error,
        (Family::V6, 128 | 129) => Kind::Query,
        // Unreachable, packet too big, time exceeded, parameter problem.
        (Family::V6, 1..=4) => Kind::Error,
        _ => Kind::Other,
    }
}

/// The message at `network.l4`.
pub(super) fn parse(
    bytes: &[u8],
    network: &Network,
    options: &Options,
) -> Result<Transport, Malformed> {
    let short = malformed(Reason::Truncated);
    let message = bytes.get(network.l4..).ok_or(short)?;
    if message.len() < HEADER || network.l4_len < HEADER as u32 {
        return Err(short);
    }
    let icmp_type = u8_at(message, 0).ok_or(short)?;
    match kind_of(network.family, icmp_type) {
        Kind::Query => {
            if u8_at(message, CODE).ok_or(short)? != 0 && !options.netfilter {
                return Err(malformed(Reason::IcmpCode));
            }
            let id = u16_at(message, IDENTIFIER).ok_or(short)?;
            Ok(Transport::Query(Query {
                kind: icmp_type,
                id,
            }))
        }
        Kind::Error => parse_error(bytes, network),
        Kind::Other => Err(malformed(Reason::IcmpType)),
    }
}

fn parse_error(bytes: &[u8], outer: &Network) -> Result<Transport, Malformed> {
    let bad = malformed(Reason::IcmpInner);
    let l3 = outer.l4 + HEADER;
    let end = (outer.l4 + outer.l4_len as usize).min(bytes.len());
    let bytes = bytes.get(..end).ok_or(bad)?;
    let quoted = match outer.family {
        Family::V4 => ipv4::parse_quoted(bytes, l3),
        Family::V6 => ipv6::parse_quoted(bytes, l3),
    }
    .ok_or(bad)?;
    // RFC 792 promises the first 64 bits of what follows the quoted IP header.
    let l4 = bytes.get(quoted.l4..).ok_or(bad)?;
    if l4.len() < 8 {
        return Err(bad);
    }
    if quoted.src != outer.dst {
        return Err(malformed(Reason::IcmpInnerAddress));
    }
    let mut inner = Inner {
        dst: [quoted.dst as u64, (quoted.dst >> 64) as u64],
        proto: quoted.proto,
        sport: 0,
        dport: 0,
        icmp_kind: 0,
        l3: u16::try_from(l3).map_err(|_| bad)?,
        l4: u16::try_from(quoted.l4).map_err(|_| bad)?,
    };
    match (quoted.proto, outer.family) {
        (proto::TCP | proto::UDP | proto::SCTP, _) => {
            inner.sport = u16_at(l4, 0).ok_or(bad)?;
            inner.dport = u16_at(l4, 2).ok_or(bad)?;
            if inner.sport == 0 || inner.dport == 0 {
                return Err(bad);
            }
        }
        (proto::ICMP, Family::V4) | (proto::ICMPV6, Family::V6) => {
            inner.icmp_kind = u8_at(l4, 0).ok_or(bad)?;
            if !matches!(kind_of(outer.family, inner.icmp_kind), Kind::Query)
                || u8_at(l4, CODE).ok_or(bad)? != 0
            {
                return Err(bad);
            }
            inner.sport = u16_at(l4, IDENTIFIER).ok_or(bad)?;
            inner.dport = inner.sport;
        }
        // ICMP of the other family has no meaning here.
        (proto::ICMP | proto::ICMPV6, _) => return Err(bad),
        _ => {}
    }
    Ok(Transport::Error(inner))
}
