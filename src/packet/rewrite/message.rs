//! What helpers change besides the text: TCP numbers, and lengths.

use super::super::bytes::u16_at;
use super::super::tcp::kind::SACK;
use super::super::{
    Checksum, Facts, Family, Hints, Transport, checksum, ipv4, ipv6, proto, tcp, udp,
};
use super::field::{Zero, amend, put};
use super::writable;
use crate::reason::Reason;

/// The most bytes of options that a TCP header has.
const MOST_OPTIONS: usize = 40;

/// Gives a TCP segment new numbers: `seq`, `ack`, and for each edge of a SACK block what `edge` makes
/// of it. The checksum follows, unless it is [`Checksum::Partial`]: then the device computes it.
///
/// # Errors
/// [`Reason::ReadOnly`], [`Reason::L4Header`] when the packet is not TCP, [`Reason::Truncated`] when
/// the facts are not those of the bytes. The bytes are unchanged then.
pub fn numbers(
    bytes: &mut [u8],
    facts: &Facts,
    hints: &Hints,
    seq: u32,
    ack: u32,
    edge: impl Fn(u32) -> u32,
) -> Result<(), Reason> {
    writable(hints)?;
    if !matches!(facts.transport, Transport::Tcp(_)) {
        return Err(Reason::L4Header);
    }
    let segment = bytes
        .get_mut(usize::from(facts.l4)..)
        .filter(|segment| segment.len() >= tcp::SHORTEST)
        .ok_or(Reason::Truncated)?;
    let mut change = put(segment, tcp::SEQUENCE, seq.to_be_bytes())
        + put(segment, tcp::ACKNOWLEDGEMENT, ack.to_be_bytes());
    // The options are read from a copy, so that no edge changes the walk.
    let mut copy = [0; MOST_OPTIONS];
    let present = segment
        .get(tcp::SHORTEST..tcp::header_len(segment))
        .unwrap_or_default();
    let options = &mut copy[..present.len()];
    options.copy_from_slice(present);
    for option in tcp::Options::new(options).filter(|option| option.kind == SACK) {
        for (number, old) in option.value.as_chunks::<4>().0.iter().enumerate() {
            let at = tcp::SHORTEST + option.at + 4 * number;
            let new = edge(u32::from_be_bytes(*old));
            change += aligned(put(segment, at, new.to_be_bytes()), at);
        }
    }
    if hints.l4_checksum != Checksum::Partial {
        amend(segment, tcp::CHECKSUM, change, Zero::Number);
    }
    Ok(())
}

/// What a change does to a sum whose first byte is `at` bytes before it: at an odd distance the bytes
/// stand in the other halves of their words (RFC 1071, section 2).
fn aligned(change: u64, at: usize) -> u64 {
    if at.is_multiple_of(2) {
        change
    } else {
        u64::from(checksum::fold(change).swap_bytes())
    }
}

/// Makes the headers say that transport header and payload are `l4_len` bytes long, after the payload
/// of a TCP or UDP packet was changed. The transport checksum is computed anew, over the addresses
/// and ports as they stand in the bytes now; a UDP checksum of zero stays.
///
/// # Errors
/// [`Reason::ReadOnly`]; [`Reason::NoRoom`] when no IP packet can be so long; [`Reason::NotLinear`]
/// when the bytes are fewer; [`Reason::L4Header`] for other protocols or less than a header. The bytes
/// are unchanged then.
pub fn resized(bytes: &mut [u8], facts: &Facts, hints: &Hints, l4_len: u32) -> Result<(), Reason> {
    writable(hints)?;
    let (l3, l4) = (usize::from(facts.l3), usize::from(facts.l4));
    let (field, zero, shortest) = match facts.transport {
        Transport::Tcp(_) => (tcp::CHECKSUM, Zero::Number, tcp::SHORTEST),
        Transport::Udp(..) => (udp::CHECKSUM, Zero::NoChecksum, udp::HEADER),
        _ => return Err(Reason::L4Header),
    };
    let len = l4_len as usize;
    if len < shortest {
        return Err(Reason::L4Header);
    }
    let (counted_from, length_field) = match facts.family {
        Family::V4 => (l3, ipv4::TOTAL_LENGTH),
        Family::V6 => (l3 + ipv6::HEADER, ipv6::PAYLOAD_LENGTH),
    };
    let before = l4.checked_sub(counted_from).ok_or(Reason::Truncated)?;
    let counted = u16::try_from(before + len).map_err(|_| Reason::NoRoom)?;
    if bytes.len() < l4 + len {
        return Err(Reason::NotLinear);
    }
    let pseudo = pseudo_sum(bytes, facts, l4_len).ok_or(Reason::Truncated)?;

    let change = put(bytes, l3 + length_field, counted.to_be_bytes());
    if facts.family == Family::V4 && hints.ip_checksum != Checksum::Partial {
        amend(bytes, l3 + ipv4::CHECKSUM, change, Zero::Number);
    }
    if facts.proto == proto::UDP {
        // As long as an IP packet, so it fits.
        put(bytes, l4 + udp::LENGTH, (l4_len as u16).to_be_bytes());
    }
    let old = u16_at(bytes, l4 + field);
    let sum = if hints.l4_checksum == Checksum::Partial {
        checksum::fold(pseudo)
    } else if zero == Zero::NoChecksum && old == Some(0) {
        0
    } else {
        put(bytes, l4 + field, [0; 2]);
        match (
            !checksum::fold(checksum::add(pseudo, &bytes[l4..l4 + len])),
            zero,
        ) {
            (0, Zero::NoChecksum) => 0xffff,
            (sum, _) => sum,
        }
    };
    put(bytes, l4 + field, sum.to_be_bytes());
    Ok(())
}

/// The sum of the pseudo-header with the addresses that stand in the bytes.
fn pseudo_sum(bytes: &[u8], facts: &Facts, l4_len: u32) -> Option<u64> {
    let header = bytes.get(usize::from(facts.l3)..)?;
    let addresses = match facts.family {
        Family::V4 => header.get(ipv4::SOURCE..ipv4::SHORTEST)?,
        Family::V6 => header.get(ipv6::SOURCE..ipv6::HEADER)?,
    };
    let numbers = u64::from(facts.proto) + u64::from(l4_len);
    Some(checksum::add(numbers, addresses))
}
