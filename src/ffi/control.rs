//! Limits, switches, flushes, statistics.

use std::ffi::c_int;

use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::{
    CT_OPTION_ACCOUNTING, CT_OPTION_EARLY_DROP, CT_OPTION_STRICT_RESET, CT_OPTION_TCP_LOOSE,
    CT_OPTION_TCP_SEQ_CHK, CT_OPTION_VERIFY_CHECKSUMS, ct_stats, ct_tuple,
};
use super::{convert, tuple};
use crate::engine::Flush;
use crate::engine::config::Switches;
use crate::engine::statistics::Counter;
use crate::reason::Reason;

/// Flushes all connections, or those of `*zone`. They are invisible when this returns; their memory
/// is given back by the sweep, and until then they count as connections.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `zone` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_flush(ct: *mut conntrack, zone: *const u16) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let what = if zone.is_null() {
            Flush::All
        } else {
            Flush::Zone(convert::value(zone)?)
        };
        Ok(ct.engine.flush(what, time(0))?)
    })
}

/// Removes the connection to which packets with `*tuple` belong, in either direction.
///
/// Returns 0, EINVAL, or ENOENT when there is none.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `tuple` points to a tuple.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_flush_tuple(
    ct: *mut conntrack,
    tuple: *const ct_tuple,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let wanted = tuple::from_c(&convert::value(tuple)?)?;
        Ok(ct.engine.flush(Flush::Tuple(wanted), time(now_ms))?)
    })
}

/// Sets the limit of connections. Those beyond it stay.
///
/// Returns 0, or EINVAL beyond 2^30.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_maxconns(ct: *mut conntrack, maxconns: u32) -> c_int {
    guard(peek(ct), || {
        Ok(instance(ct)?.engine.set_max_connections(maxconns)?)
    })
}

/// Tells the limit of connections.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `maxconns` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_maxconns(ct: *mut conntrack, maxconns: *mut u32) -> c_int {
    guard(peek(ct), || {
        convert::store(maxconns, instance(ct)?.engine.max_connections())
    })
}

/// Tells the number of connections, those that expired or were flushed and are not swept yet included.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `nconns` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_nconns(ct: *mut conntrack, nconns: *mut u32) -> c_int {
    guard(peek(ct), || {
        convert::store(nconns, instance(ct)?.engine.connections())
    })
}

fn switch(switches: &mut Switches, option: u32) -> Result<&mut bool, Failure> {
    Ok(match option {
        CT_OPTION_TCP_SEQ_CHK => &mut switches.tcp_sequence_check,
        CT_OPTION_TCP_LOOSE => &mut switches.tcp_loose,
        CT_OPTION_STRICT_RESET => &mut switches.strict_reset,
        CT_OPTION_VERIFY_CHECKSUMS => &mut switches.verify_checksums,
        CT_OPTION_ACCOUNTING => &mut switches.accounting,
        CT_OPTION_EARLY_DROP => &mut switches.early_drop,
        _ => return Err(invalid("option is not a CT_OPTION_*")),
    })
}

/// Sets a switch, CT_OPTION_*, to 0 or 1. Batches that are under way may still use the old value.
///
/// Returns 0, EINVAL, or ENOMEM (accounting).
///
/// Threads: any; calls that change different switches at the same time are both heard.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_option(
    ct: *mut conntrack,
    option: u32,
    value: u32,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if value > 1 {
            return Err(invalid("value is neither 0 nor 1"));
        }
        let mut switches = ct.engine.switches();
        *switch(&mut switches, option)? = value == 1;
        Ok(ct.engine.set_switches(switches)?)
    })
}

/// Tells a switch, CT_OPTION_*.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `value` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_option(
    ct: *mut conntrack,
    option: u32,
    value: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let mut switches = instance(ct)?.engine.switches();
        let on = *switch(&mut switches, option)?;
        convert::store(value, u32::from(on))
    })
}

/// Makes TCP in a zone liberal (1: sequence numbers are tracked, nothing is refused for them) or
/// strict again (0).
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_zone_liberal(
    ct: *mut conntrack,
    zone: u16,
    liberal: u32,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if liberal > 1 {
            return Err(invalid("liberal is neither 0 nor 1"));
        }
        ct.engine.set_zone_liberal(zone, liberal == 1);
        Ok(())
    })
}

/// Tells what the instance counted since its creation.
///
/// Returns 0 or EINVAL.
///
/// Threads: any. Counters of threads at work are moments apart; each only grows.
///
/// # Safety
/// `ct` is an instance; `stats` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_stats(ct: *mut conntrack, stats: *mut ct_stats) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let value = ct_stats {
            size: 0,
            connections: u64::from(engine.connections()),
            found: engine.counter(Counter::Found),
            cached: engine.counter(Counter::Cached),
            new_: engine.counter(Counter::New),
            insert: engine.counter(Counter::Committed),
            invalid: engine.counter(Counter::Invalid),
            table_full: engine.counter(Counter::TableFull),
            early_drop: engine.counter(Counter::EarlyDrop),
            delete_: engine.counter(Counter::Removed),
            lookup_natted_miss: engine.counter(Counter::TranslatedMiss),
            tcp_seq_chk_bypass: engine.counter(Counter::TcpBypassed),
            expect_create: engine.counter(Counter::Expected),
            expect_full: engine.counter(Counter::ExpectationsFull),
            nat_exhausted: engine.counter(Counter::NatExhausted),
            nat_unsettled: engine.counter(Counter::NatUnsettled),
            zone_full: engine.counter(Counter::ZoneFull),
            fragments_held: engine.counter(Counter::Held),
            offloaded: engine.counter(Counter::Offloaded),
            resumed: engine.counter(Counter::Resumed),
        };
        convert::write(stats, &value)
    })
}

/// Tells how many packets had a reason, see ct_reason_text().
///
/// Returns 0, or EINVAL for a number that is no reason.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `count` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_reason_count(
    ct: *mut conntrack,
    reason: u8,
    count: *mut u64,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let reason = Reason::from_number(reason).ok_or(invalid("not a reason"))?;
        convert::store(count, engine.reason_count(reason))
    })
}
