//! The `nat` part of an action, from C.

use super::guard::{Failure, invalid};
use super::types::{
    CT_NAT_DST, CT_NAT_PERSISTENT, CT_NAT_RANDOM, CT_NAT_SRC, ct_nat, ct_nat_range,
};
use crate::engine::action::{Nat, NatRange, NatSelection};
use crate::packet::Family;

/// Checks what C says and makes a rule of it.
pub(super) fn from_c(nat: &ct_nat) -> Result<Nat, Failure> {
    if nat.flags & !(CT_NAT_SRC | CT_NAT_DST | CT_NAT_RANDOM | CT_NAT_PERSISTENT) != 0 {
        return Err(invalid("ct_nat.flags has unknown bits"));
    }
    if nat.reserved != [0; 3] || nat.src.reserved != 0 || nat.dst.reserved != 0 {
        return Err(invalid("ct_nat.reserved must be 0"));
    }
    let family = match nat.ip_version {
        0 => None,
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => return Err(invalid("ct_nat.ip_version must be 0, 4 or 6")),
    };
    let has = |flag: u32| nat.flags & flag != 0;
    let ranges = [(has(CT_NAT_SRC), &nat.src), (has(CT_NAT_DST), &nat.dst)];
    let [source, destination] =
        ranges.map(|(given, range)| given.then(|| range_from_c(range, family)));
    let rule = Nat {
        source: source.transpose()?,
        destination: destination.transpose()?,
        selection: match (has(CT_NAT_RANDOM), has(CT_NAT_PERSISTENT)) {
            (_, true) => NatSelection::Persistent,
            (true, false) => NatSelection::Random,
            (false, false) => NatSelection::Hash,
        },
        family,
    };
    rule.check()?;
    Ok(rule)
}

fn range_from_c(range: &ct_nat_range, family: Option<Family>) -> Result<NatRange, Failure> {
    let min_address = address(&range.min_address, family)?;
    let max_address = match address(&range.max_address, family)? {
        0 => min_address,
        max => max,
    };
    let ports = match (range.min_port, range.max_port) {
        (0, 0) => None,
        (min, 0) => Some((min, min)),
        (min, max) => Some((min, max)),
    };
    Ok(NatRange {
        min_address,
        max_address,
        ports,
    })
}

fn address(bytes: &[u8; 16], family: Option<Family>) -> Result<u128, Failure> {
    let (head, tail) = bytes.split_at(4);
    match family {
        Some(Family::V6) => Ok(u128::from_be_bytes(*bytes)),
        Some(Family::V4) if tail.iter().all(|&byte| byte == 0) => Ok(head
            .iter()
            .fold(0, |address, &byte| address << 8 | u128::from(byte))),
        None if bytes.iter().all(|&byte| byte == 0) => Ok(0),
        Some(Family::V4) => Err(invalid("ct_nat: not an IPv4 address")),
        None => Err(invalid("ct_nat: an address, but ip_version is 0")),
    }
}
