//! Which connections are meant, from C.

use std::ffi::CStr;

use super::guard::{Failure, invalid};
use super::tuple::address_from_c;
use super::types::{
    CT_ANY, CT_FILTER_SINCE, CT_FILTER_UNTIL, CT_FILTER_ZONE, CT_MATCH_DST_PORT,
    CT_MATCH_ICMP_TYPE, CT_MATCH_PROTOCOL, CT_MATCH_SRC_PORT, CT_NO, CT_YES, ct_filter,
    ct_tuple_filter,
};
use crate::clock::Time;
use crate::engine::filter::{Filter, TupleFilter, state_named};
use crate::packet::Family;

const MATCHES: u32 = CT_MATCH_SRC_PORT | CT_MATCH_DST_PORT | CT_MATCH_PROTOCOL | CT_MATCH_ICMP_TYPE;

/// Checks what C says and makes a filter of it.
pub(super) fn from_c(filter: &ct_filter) -> Result<Filter, Failure> {
    if filter.flags & !(CT_FILTER_ZONE | CT_FILTER_SINCE | CT_FILTER_UNTIL) != 0 {
        return Err(invalid("ct_filter.flags has unknown bits"));
    }
    if filter.reserved != [0; 5] {
        return Err(invalid("ct_filter.reserved is not 0"));
    }
    let label = u128::from_be_bytes(filter.label);
    let label_mask = u128::from_be_bytes(filter.label_mask);
    if filter.mark & !filter.mark_mask != 0 || label & !label_mask != 0 {
        return Err(invalid(
            "ct_filter: mark or label has bits outside its mask",
        ));
    }
    let has = |flag: u32| filter.flags & flag != 0;
    Ok(Filter {
        zone: has(CT_FILTER_ZONE).then_some(filter.zone),
        original: part_from_c(&filter.original)?,
        reply: part_from_c(&filter.reply)?,
        mark: (filter.mark_mask != 0).then_some((filter.mark, filter.mark_mask)),
        label: (label_mask != 0).then_some((label, label_mask)),
        state: state(&filter.state)?,
        seen_reply: perhaps(filter.seen_reply)?,
        assured: perhaps(filter.assured)?,
        translated: perhaps(filter.translated)?,
        flow: perhaps(filter.flow)?,
        offloaded: perhaps(filter.offloaded)?,
        created_until: has(CT_FILTER_UNTIL).then_some(Time::from_millis(filter.created_until_ms)),
        created_since: has(CT_FILTER_SINCE).then_some(Time::from_millis(filter.created_since_ms)),
    })
}

fn state(name: &[u8; 24]) -> Result<Option<&'static str>, Failure> {
    if name[0] == 0 {
        return Ok(None);
    }
    let text = CStr::from_bytes_until_nul(name)
        .ok()
        .and_then(|name| name.to_str().ok());
    let known = text.and_then(state_named);
    known
        .map(Some)
        .ok_or_else(|| invalid("ct_filter.state is the name of no state"))
}

fn perhaps(value: u8) -> Result<Option<bool>, Failure> {
    match value {
        CT_ANY => Ok(None),
        CT_YES => Ok(Some(true)),
        CT_NO => Ok(Some(false)),
        _ => Err(invalid("ct_filter: neither CT_ANY, CT_YES nor CT_NO")),
    }
}

fn part_from_c(part: &ct_tuple_filter) -> Result<TupleFilter, Failure> {
    if part.flags & !MATCHES != 0 || part.reserved != 0 {
        return Err(invalid("ct_tuple_filter.flags has unknown bits"));
    }
    let family = match part.ip_version {
        0 => None,
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => return Err(invalid("ct_tuple_filter.ip_version is not 0, 4 or 6")),
    };
    let has = |flag: u32| part.flags & flag != 0;
    Ok(TupleFilter {
        src: address(&part.src, &part.src_mask, family)?,
        dst: address(&part.dst, &part.dst_mask, family)?,
        sport: has(CT_MATCH_SRC_PORT).then_some(part.src_port),
        dport: has(CT_MATCH_DST_PORT).then_some(part.dst_port),
        proto: has(CT_MATCH_PROTOCOL).then_some(part.protocol),
        family,
        icmp_type: has(CT_MATCH_ICMP_TYPE).then_some(part.icmp_type),
    })
}

/// An address and its mask, if any bit of it matters.
fn address(
    address: &[u8; 16],
    mask: &[u8; 16],
    family: Option<Family>,
) -> Result<Option<(u128, u128)>, Failure> {
    let outside = address
        .iter()
        .zip(mask)
        .any(|(byte, mask)| byte & !mask != 0);
    if outside {
        return Err(invalid(
            "ct_tuple_filter: an address has bits outside its mask",
        ));
    }
    if *mask == [0; 16] {
        return Ok(None);
    }
    match family {
        None => Err(invalid("ct_tuple_filter: an address, but ip_version is 0")),
        Some(Family::V4) if mask[4..] != [0; 12] => {
            Err(invalid("ct_tuple_filter: not an IPv4 mask"))
        }
        Some(family) => {
            let mut bits = address_from_c(*mask, family);
            if family == Family::V4 {
                // Those above an IPv4 address are zero in every tuple.
                bits |= !u128::from(u32::MAX);
            }
            Ok(Some((address_from_c(*address, family), bits)))
        }
    }
}
