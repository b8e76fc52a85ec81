//! Tuples in C's form and in ours.

use super::guard::{Failure, invalid};
use super::types::ct_tuple;
use crate::packet::{Family, proto};
use crate::tuple::{QueryKind, Tuple};

/// In two words, which are not put together from bytes in memory.
#[inline(always)]
fn address_to_c(address: u128, family: Family) -> [u8; 16] {
    let shifted = match family {
        Family::V4 => address << 96,
        Family::V6 => address,
    };
    shifted.to_be_bytes()
}

pub(super) fn address_from_c(bytes: [u8; 16], family: Family) -> u128 {
    match family {
        Family::V4 => {
            let [a, b, c, d, ..] = bytes;
            u128::from(u32::from_be_bytes([a, b, c, d]))
        }
        Family::V6 => u128::from_be_bytes(bytes),
    }
}

/// A tuple for C.
#[inline(always)]
pub(super) fn to_c(tuple: &Tuple) -> ct_tuple {
    ct_tuple {
        src: address_to_c(tuple.src, tuple.family),
        dst: address_to_c(tuple.dst, tuple.family),
        src_port: tuple.sport,
        dst_port: tuple.dport,
        zone: tuple.zone,
        ip_version: match tuple.family {
            Family::V4 => 4,
            Family::V6 => 6,
        },
        protocol: tuple.proto,
        icmp_type: tuple.icmp_type(),
        icmp_code: 0,
        reserved: [0; 2],
    }
}

/// A tuple from C.
pub(super) fn from_c(tuple: &ct_tuple) -> Result<Tuple, Failure> {
    if tuple.reserved != [0; 2] {
        return Err(invalid("ct_tuple.reserved is not 0"));
    }
    let family = match tuple.ip_version {
        4 => Family::V4,
        6 => Family::V6,
        _ => return Err(invalid("ct_tuple.ip_version is neither 4 nor 6")),
    };
    let is_icmp = matches!(
        (family, tuple.protocol),
        (Family::V4, proto::ICMP) | (Family::V6, proto::ICMPV6)
    );
    let (query, question) = if is_icmp {
        QueryKind::of(family, tuple.icmp_type)
            .ok_or(invalid("ct_tuple.icmp_type is not that of a query"))?
    } else {
        (QueryKind::None, true)
    };
    Ok(Tuple {
        src: address_from_c(tuple.src, family),
        dst: address_from_c(tuple.dst, family),
        sport: tuple.src_port,
        dport: tuple.dst_port,
        zone: tuple.zone,
        proto: tuple.protocol,
        family,
        query,
        question,
    })
}
