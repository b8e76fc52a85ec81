//! Merged flows for C: filters, traces, the cache.

use std::ffi::{c_char, c_int};

use super::convert;
use super::execute::time;
use super::flow::{filter_of_c, millis, render, use_to_c};
use super::guard::{Failure, guard, guard_batch, guard_text, invalid};
use super::handle::{conntrack, instance, peek, peeked};
use super::types::*;
use crate::clock::Time;
use crate::merge::fold::Refusal;
use crate::merge::key::Tunnel;
use crate::merge::merged::Flow;
use crate::merge::statistics::Count;
use crate::merge::store::Settings;
use crate::merge::trace::{Condition, Trace};
use crate::sync::shelf::Ticket;

/// Makes room for merged flows. To be called once, before any other function about them.
///
/// Returns 0; EEXIST the second time; EINVAL; E2BIG; ENOMEM.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `config` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_enable(
    ct: *mut conntrack,
    config: *const ct_fastpath_config,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let config = convert::read(config)?;
        if config.flags & !CT_FASTPATH_NO_WINDOWS != 0 || config.reserved != 0 {
            return Err(invalid("ct_fastpath_config.flags has unknown bits"));
        }
        let usual = Settings::default();
        let or = |value: u32, usual: u32| if value == 0 { usual } else { value };
        let settings = Settings {
            flows: or(config.flows, usual.flows),
            traces: or(config.traces, usual.traces),
            windows: config.flags & CT_FASTPATH_NO_WINDOWS == 0,
        };
        ct.engine.enable_merging(&settings, Some(render))?;
        Ok(())
    })
}

/// Tells of a filter of the datapath. Its matches and actions are copied.
///
/// Returns 0; EEXIST when there is one with this cookie; ENOENT when merged flows are not enabled (so do
/// all functions that follow); EINVAL; E2BIG.
///
/// Threads: any; not meant for packet threads.
///
/// # Safety
/// `ct` is an instance; `filter` points to a struct of the size that it says, and its members to as many
/// elements as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_filter_add(
    ct: *mut conntrack,
    filter: *const ct_flow_filter,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let filter = convert::read(filter)?;
        ct.engine.filter_add(filter.cookie, filter_of_c(&filter)?)?;
        Ok(())
    })
}

/// A filter matches or does something else now. Its counters stay. When this returns, no packet is
/// handled by a flow that was merged from the old one, and no provider has any.
///
/// Returns 0; ENOENT; EBUSY between ct_fastpath_lookup() and ct_fastpath_done() of the same thread;
/// EINVAL; E2BIG. Nothing was changed then.
///
/// Threads: any. Waits for packet threads that are between those two calls.
///
/// # Safety
/// As for ct_flow_filter_add().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_filter_update(
    ct: *mut conntrack,
    filter: *const ct_flow_filter,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let filter = convert::read(filter)?;
        ct.engine
            .filter_update(filter.cookie, filter_of_c(&filter)?)?;
        Ok(())
    })
}

/// A filter is gone; as ct_flow_filter_update(). `*used`, unless NULL, becomes what merged flows carried
/// for it, to the last packet.
///
/// Returns: as ct_flow_filter_update().
///
/// Threads: any, as ct_flow_filter_update().
///
/// # Safety
/// `ct` is an instance; `used` is NULL or points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_filter_remove(
    ct: *mut conntrack,
    cookie: u64,
    used: *mut ct_flow_use,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if !used.is_null() {
            convert::checked_size(used)?;
        }
        let carried = ct.engine.filter_remove(cookie)?;
        if used.is_null() {
            return Ok(());
        }
        convert::write(used, &use_to_c(&carried))
    })
}

/// What merged flows carried for a filter, so far. The caller sets `used->size`.
///
/// Returns 0; ENOENT; EINVAL.
///
/// Threads: any; not meant for packet threads.
///
/// # Safety
/// `ct` is an instance; `used` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_filter_get_use(
    ct: *mut conntrack,
    cookie: u64,
    used: *mut ct_flow_use,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        convert::checked_size(used)?;
        convert::write(used, &use_to_c(&ct.engine.filter_used(cookie)?))
    })
}

/// Looks a batch of untracked packets up among the merged flows. For a packet that is found, `flows[i]`
/// becomes its flow, whose `actions` are left for the datapath to do: the packet is translated, has its
/// verdict, and its connections went on. All others keep `ct_state` 0, have `flows[i]` NULL and go the
/// normal way; those with a `trace` begin it.
///
/// `tunnels` is NULL, or the tunnel that each packet came out of. `*visit` receives a number for
/// ct_fastpath_done(): until then the flows stay valid, and revoking calls of other threads wait.
///
/// Returns 0, ENOENT or EINVAL; no packet was touched then, and `*visit` is 0.
///
/// Threads: any number at once; no packet in two calls at the same time.
///
/// # Safety
/// As for conntrack_execute(); `tunnels` is NULL or points to `n` tunnels; `flows` points to `n` pointers;
/// `visit` points to a number; each packet's `trace` is NULL or a trace of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_lookup(
    ct: *mut conntrack,
    packets: *mut ct_packet,
    tunnels: *const ct_tunnel,
    n: usize,
    now_ms: i64,
    flows: *mut *const ct_merged_flow,
    visit: *mut u64,
) -> c_int {
    guard_batch(peek(ct), packets, n, |ct, packets| {
        convert::store(visit, 0)?;
        let ct = peeked(ct)?;
        if n > 0 && (flows.is_null() || !flows.is_aligned()) {
            return Err(invalid("flows is NULL"));
        }
        if !tunnels.is_aligned() {
            return Err(invalid("tunnels is misaligned"));
        }
        for i in 0..n {
            convert::store(flows.wrapping_add(i), std::ptr::null())?;
        }
        let tunnel = |i: usize| {
            if tunnels.is_null() {
                return Tunnel::default();
            }
            let given = convert::value(tunnels.wrapping_add(i)).ok();
            given.map_or(Tunnel::default(), |given| Tunnel {
                id: given.id,
                src: u128::from_be_bytes(given.src),
                dst: u128::from_be_bytes(given.dst),
            })
        };
        let now = time(now_ms);
        ct.tell_time(now);
        let found = ct.engine.visit_merged()?;
        let mut hit = |i: usize, flow: &Flow| {
            let shown: *const ct_merged_flow = flow.shown().cast();
            // The pointer was checked above.
            let _stored = convert::store(flows.wrapping_add(i), shown);
        };
        ct.engine.fastpath(&found, packets, &tunnel, now, &mut hit);
        convert::store(visit, found.keep().number())
    })
}

/// The flows of a ct_fastpath_lookup() are not used any more. `*visit` becomes 0; NULL and 0 are ignored.
///
/// Returns 0; EINVAL for a number that no lookup gave.
///
/// Threads: the one that called ct_fastpath_lookup().
///
/// # Safety
/// `ct` is an instance; `visit` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_done(ct: *mut conntrack, visit: *mut u64) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if visit.is_null() {
            return Ok(());
        }
        let number = convert::value(visit)?;
        if number == 0 {
            return Ok(());
        }
        let ticket = Ticket::of(number).ok_or_else(|| invalid("there is no such visit"))?;
        ct.engine.leave_merged(ticket)?;
        convert::store(visit, 0)
    })
}

fn with_trace(trace: *mut ct_trace, change: impl FnOnce(&mut Trace)) -> Result<(), Failure> {
    if trace.is_null() {
        return Ok(());
    }
    let mut copy = Trace::of(convert::value(trace)?.words);
    if copy.condition() == Condition::None {
        return Ok(());
    }
    change(&mut copy);
    convert::store(
        trace,
        ct_trace {
            words: copy.words(),
        },
    )
}

/// The packet met a filter. NULL, and a trace that was not begun, are ignored.
///
/// Threads: any; no trace in two calls at the same time.
///
/// # Safety
/// `trace` is NULL or a trace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_trace_filter(trace: *mut ct_trace, cookie: u64) {
    guard(None, || with_trace(trace, |trace| trace.filter(cookie)));
}

/// The packet met something that no merged flow may contain: an upcall, a filter that has no cookie.
///
/// Ignored, and Threads: as ct_trace_filter().
///
/// # Safety
/// `trace` is NULL or a trace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_trace_abort(trace: *mut ct_trace) {
    guard(None, || with_trace(trace, Trace::abort));
}

/// The packet came to the end of its way. What it met is copied, to be looked at by ct_merge_run(); the
/// trace is free for another packet.
///
/// Returns 0; EINVAL.
///
/// Threads: any; no trace in two calls at the same time. Does not wait and does not allocate.
///
/// # Safety
/// `ct` is an instance; `trace` is NULL or a trace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_trace_end(ct: *mut conntrack, trace: *mut ct_trace) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        with_trace(trace, |trace| {
            ct.engine.trace_end(trace);
            trace.forget();
        })
    })
}

/// Does what is to be done off the packet threads: clears away the flows of connections that changed,
/// looks at up to `budget` traces (0: all) and makes their flows, asks providers once a second what they
/// carried. To be called at least once a second by a thread of the datapath. `out` may be NULL.
///
/// Returns 0; ENOENT; EBUSY between ct_fastpath_lookup() and ct_fastpath_done() of the same thread;
/// EINVAL; E2BIG.
///
/// Threads: any; one merges at a time, others return at once with nothing done.
///
/// # Safety
/// `ct` is an instance; `out` is NULL or points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_merge_run(
    ct: *mut conntrack,
    budget: u32,
    now_ms: i64,
    out: *mut ct_merge_work,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if !out.is_null() {
            convert::checked_size(out)?;
        }
        let budget = if budget == 0 {
            usize::MAX
        } else {
            budget as usize
        };
        let now: Time = time(now_ms);
        ct.tell_time(now);
        let done = ct.engine.merge(budget, now)?;
        if out.is_null() {
            return Ok(());
        }
        let work = ct_merge_work {
            size: 0,
            traces: done.traces as u64,
            merged: done.merged as u64,
            revoked: done.revoked as u64,
        };
        convert::write(out, &work)
    })
}

/// A port is gone: merged flows from it and to it are revoked. When this returns, no packet is handled
/// by them. `*revoked`, unless NULL, becomes how many there were.
///
/// Returns: as ct_flow_filter_update().
///
/// Threads: any, as ct_flow_filter_update().
///
/// # Safety
/// `ct` is an instance; `revoked` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_port_removed(
    ct: *mut conntrack,
    port: u32,
    revoked: *mut u64,
) -> c_int {
    guard(peek(ct), || {
        let gone = instance(ct)?.engine.port_removed(port)?;
        if revoked.is_null() {
            return Ok(());
        }
        convert::store(revoked, gone as u64)
    })
}

/// Revokes all merged flows. Filters stay.
///
/// Returns: as ct_flow_filter_update().
///
/// Threads: any, as ct_flow_filter_update().
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_flush(ct: *mut conntrack) -> c_int {
    guard(peek(ct), || {
        instance(ct)?.engine.flush_merged()?;
        Ok(())
    })
}

/// The next merged flow of a list. The caller sets `listing->size`, and `position` to 0 to begin.
///
/// Returns 0; ENODATA at the end; EINVAL.
///
/// Threads: any; not meant for packet threads.
///
/// # Safety
/// `ct` is an instance; `listing` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_list(
    ct: *mut conntrack,
    listing: *mut ct_merged_listing,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let mut position = convert::read(listing)?.position;
        let flow = ct.engine.next_merged(&mut position)?.ok_or(Failure::Errno(
            libc::ENODATA,
            "there is no further merged flow",
        ))?;
        let first = |all: &mut dyn Iterator<Item = u64>| {
            let mut array = [0; 16];
            let mut n = 0;
            for (place, value) in array.iter_mut().zip(all) {
                *place = value;
                n += 1;
            }
            (array, n)
        };
        let (parents, n_parents) = first(&mut flow.parents.iter().copied());
        let (connections, n_connections) = first(&mut flow.connections.iter().map(|id| id.0));
        convert::write(
            listing,
            &ct_merged_listing {
                size: 0,
                position,
                n_parents,
                number: flow.number,
                parents,
                packets: flow.used.packets,
                bytes: flow.used.bytes,
                last_used_ms: millis(flow.used.last),
                offloaded: u32::from(flow.providers != 0),
                n_connections,
                connections,
            },
        )
    })
}

/// What was counted of merged flows. The caller sets `stats->size`.
///
/// Returns 0; ENOENT; EINVAL.
///
/// Threads: any; not meant for packet threads.
///
/// # Safety
/// `ct` is an instance; `stats` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_fastpath_get_stats(
    ct: *mut conntrack,
    stats: *mut ct_fastpath_stats,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        convert::checked_size(stats)?;
        let mut refusals = [0; 16];
        for (place, (_, n)) in refusals.iter_mut().zip(engine.merge_refusals()?) {
            *place = n;
        }
        let count = |count| engine.merge_count(count);
        convert::write(
            stats,
            &ct_fastpath_stats {
                size: 0,
                flows: engine.merged()? as u64,
                filters: engine.filters()? as u64,
                hits: count(Count::Hits)?,
                misses: count(Count::Misses)?,
                refused: count(Count::Refused)?,
                traces: count(Count::Traces)?,
                processed: count(Count::Processed)?,
                aborted: count(Count::Aborted)?,
                discarded: count(Count::Discarded)?,
                throttled: count(Count::Throttled)?,
                lost: count(Count::Lost)?,
                stale: count(Count::Stale)?,
                merged: count(Count::Merged)?,
                known: count(Count::Known)?,
                rejected: count(Count::Rejected)?,
                evicted: count(Count::Evicted)?,
                revoked: count(Count::Revoked)?,
                taken: count(Count::Taken)?,
                declined: count(Count::Declined)?,
                released: count(Count::Released)?,
                refusals,
            },
        )
    })
}

/// The name of a reason why a trace has no merged flow: `i` counts `ct_fastpath_stats.refusals`. "" for
/// a number that is none. Never NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ct_merge_refusal_name(i: u32) -> *const c_char {
    guard_text(|| {
        let refusal = Refusal::ALL.get(i as usize);
        refusal.map_or(c"".as_ptr(), |refusal| refusal.c_name().as_ptr())
    })
}
