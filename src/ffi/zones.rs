//! How many connections a zone may have, and which are removed from it.

use std::ffi::c_int;

use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::{CT_ZONE_LIMIT_NONE, ct_filter, ct_zone_limit};
use super::{convert, filter};
use crate::policy::limits::ZoneLimit;

fn to_c(limit: &ZoneLimit) -> ct_zone_limit {
    ct_zone_limit {
        zone: limit.zone,
        reserved: 0,
        limit: limit.limit.unwrap_or(CT_ZONE_LIMIT_NONE),
        guarantee: limit.guarantee,
        count: limit.count,
    }
}

/// Sets how many connections a zone may have. Those beyond it stay. A limit of 0 admits nothing in
/// profile ovs, and is no limit in the others.
///
/// Returns 0, or EINVAL (also for CT_ZONE_LIMIT_NONE; see conntrack_delete_zone_limit()).
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_zone_limit(
    ct: *mut conntrack,
    zone: u16,
    limit: u32,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        if limit == CT_ZONE_LIMIT_NONE {
            return Err(invalid("the limit is out of range"));
        }
        engine.set_zone_limit(zone, Some(limit));
        Ok(())
    })
}

/// Takes a zone's own limit away; the default one holds then.
///
/// Returns 0, EINVAL, or ENOENT when it has none.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_delete_zone_limit(ct: *mut conntrack, zone: u16) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        if engine.zone_limit(zone).limit.is_none() {
            return Err(Failure::Errno(
                libc::ENOENT,
                "the zone has no limit of its own",
            ));
        }
        engine.set_zone_limit(zone, None);
        Ok(())
    })
}

/// Sets the limit of zones that have none of their own; 0 or CT_ZONE_LIMIT_NONE: there is none.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_default_zone_limit(ct: *mut conntrack, limit: u32) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        engine.set_default_zone_limit((limit != CT_ZONE_LIMIT_NONE).then_some(limit));
        Ok(())
    })
}

/// Tells the limit of zones that have none of their own; CT_ZONE_LIMIT_NONE: there is none.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `limit` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_default_zone_limit(
    ct: *mut conntrack,
    limit: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let default = instance(ct)?.engine.default_zone_limit();
        convert::store(limit, default.unwrap_or(CT_ZONE_LIMIT_NONE))
    })
}

/// Keeps room for `guarantee` connections of a zone, which no other zone may take from the limit of
/// conntrack_set_maxconns(); 0: none. Room that others have already becomes the zone's as they end.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_zone_guarantee(
    ct: *mut conntrack,
    zone: u16,
    guarantee: u32,
) -> c_int {
    guard(peek(ct), || {
        instance(ct)?.engine.set_zone_guarantee(zone, guarantee);
        Ok(())
    })
}

/// Tells limit, guarantee and number of connections of a zone, in constant time. Every zone can be
/// asked for; connections are counted with and without a limit.
///
/// Returns 0 or EINVAL.
///
/// Threads: any. The number is that of a moment.
///
/// # Safety
/// `ct` is an instance; `limit` points to a struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_zone_limit(
    ct: *mut conntrack,
    zone: u16,
    limit: *mut ct_zone_limit,
) -> c_int {
    guard(peek(ct), || {
        let found = instance(ct)?.engine.zone_limit(zone);
        convert::store(limit, to_c(&found))
    })
}

/// Fills `array` with up to `n` of the zones that have a limit, a guarantee or connections, ascending,
/// and `*total` with how many there are. `array` may be NULL when `n` is 0.
///
/// Returns 0 or EINVAL.
///
/// Threads: any. The numbers are moments apart.
///
/// # Safety
/// `ct` is an instance; `array` has room for `n` elements; `total` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_zone_limits(
    ct: *mut conntrack,
    array: *mut ct_zone_limit,
    n: usize,
    total: *mut usize,
) -> c_int {
    guard(peek(ct), || {
        let limits = instance(ct)?.engine.zone_limits();
        convert::store_list(limits.iter().map(to_c), array, n, total)
    })
}

/// Removes the connections that `*filter` means. One that names protocol, both addresses and ports of
/// the original tuple, and the zone, is looked up; others are looked for as struct ct_filter says.
///
/// `*removed` receives how many there were; `removed` may be NULL.
///
/// Returns 0, EINVAL, or E2BIG.
///
/// Threads: any. A connection that begins meanwhile may stay.
///
/// # Safety
/// `ct` is an instance; `filter` points to a struct of the size that it says; `removed` is NULL or
/// points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_flush_matching(
    ct: *mut conntrack,
    filter: *const ct_filter,
    now_ms: i64,
    removed: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let filter = filter::from_c(&convert::read(filter)?)?;
        if !removed.is_null() {
            convert::store(removed, 0)?;
        }
        let count = engine.flush_matching(&filter, time(now_ms));
        if !removed.is_null() {
            convert::store(removed, count)?;
        }
        Ok(())
    })
}
