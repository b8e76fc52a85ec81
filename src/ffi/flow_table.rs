//! Flow tables and hardware misses for C: what a datapath asks before it tracks a packet.

use std::ffi::c_int;

use super::convert;
use super::execute::time;
use super::guard::{Failure, guard, guard_batch, invalid};
use super::handle::{conntrack, instance, peek, peeked};
use super::types::*;
use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::descriptor::ConnectionId;
use crate::engine::flow::FlowTableRef;
use crate::offload::flow_table::Count;
use crate::offload::miss::Miss;
use crate::offload::provider::Delta;
use crate::sync::Arc;

/// A reference to the flow table of a zone.
#[expect(non_camel_case_types, reason = "its name in C")]
pub struct ct_flow_table {
    engine: Arc<Engine>,
    table: FlowTableRef,
}

fn flow_table<'a>(handle: *const ct_flow_table) -> Result<&'a ct_flow_table, Failure> {
    if handle.is_null() || !handle.is_aligned() {
        return Err(invalid("the flow table is NULL"));
    }
    // SAFETY: the caller promises a handle that `ct_flow_table_get` gave and that was not put back.
    Ok(unsafe { &*handle })
}

/// Takes a reference to the flow table of a zone; `*out` receives it, to be given back by
/// ct_flow_table_put(). With the first reference, connections of the zone begin to enter the table as
/// they become established (the rules are those of Linux's act_ct).
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `out` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_get(
    ct: *mut conntrack,
    zone: u16,
    out: *mut *mut ct_flow_table,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if out.is_null() || !out.is_aligned() {
            return Err(invalid("out is NULL"));
        }
        let handle = ct_flow_table {
            engine: ct.engine.clone(),
            table: ct.engine.flow_table_get(zone),
        };
        convert::store(out, Box::into_raw(Box::new(handle)))
    })
}

/// Gives a reference back. With the last one, all flows of the zone go back to the tracker. NULL is
/// ignored. To be called before the instance is destroyed, or the memory stays.
///
/// Returns 0.
///
/// Threads: any; no other call with this handle may be under way.
///
/// # Safety
/// `table` is NULL or a handle that was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_put(table: *mut ct_flow_table, now_ms: i64) -> c_int {
    guard(None, || {
        if table.is_null() {
            return Ok(());
        }
        // SAFETY: the caller gives back what `ct_flow_table_get` made, and nobody uses it.
        let handle = unsafe { Box::from_raw(table) };
        handle
            .engine
            .flow_table_put(handle.table.zone(), time(now_ms))?;
        Ok(())
    })
}

/// Looks a batch of untracked packets up in a flow table. A packet that is found has its verdict
/// (state, zone, mark, label, connection), is translated, and has CT_CONN_FLOW in its
/// `connection_flags`. All others keep `ct_state` 0 and are for conntrack_execute(). `*hits` (which may
/// be NULL) becomes how many were found.
///
/// Returns 0 or EINVAL; no packet was touched then.
///
/// Threads: any number at once; no packet in two calls at the same time.
///
/// # Safety
/// As for conntrack_execute(); `table` is a handle; `hits` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_lookup(
    table: *mut ct_flow_table,
    packets: *mut ct_packet,
    n: usize,
    now_ms: i64,
    hits: *mut usize,
) -> c_int {
    guard_batch(None, packets, n, |_, packets| {
        let handle = flow_table(table)?;
        let (engine, table) = (&handle.engine, &handle.table);
        let n = engine.flow_lookup(
            table,
            packets,
            time(now_ms),
            &mut |packet: &mut ct_packet| {
                packet.connection_flags |= CT_CONN_FLOW;
            },
        );
        if hits.is_null() {
            return Ok(());
        }
        convert::store(hits, n)
    })
}

/// Puts a connection into its zone's flow table, whatever its state.
///
/// Returns 0; ENOENT when there is no such connection, or its zone has no flow table.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_add(
    ct: *mut conntrack,
    connection: u64,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        ct.engine.flow_add(ConnectionId(connection), time(now_ms))?;
        Ok(())
    })
}

/// Takes a connection out of its zone's flow table: it goes back to the tracker.
///
/// Returns 0; ENOENT when it is in none.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_remove(
    ct: *mut conntrack,
    connection: u64,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        ct.engine
            .flow_remove(ConnectionId(connection), time(now_ms))?;
        Ok(())
    })
}

/// Hardware carried packets of a flow: they are added to its connection's counters, and the flow lives
/// on from `last_used_ms`, its last packet. `packets` and `bytes` are arrays of two numbers, original then
/// reply direction, since the last report. To be told once.
///
/// Returns 0; ENOENT when the connection is in no flow table (nothing was added); EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `packets` and `bytes` point to two numbers each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_carried(
    ct: *mut conntrack,
    connection: u64,
    packets: *const u64,
    bytes: *const u64,
    last_used_ms: i64,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let packets: [u64; 2] = convert::value(packets.cast())?;
        let bytes: [u64; 2] = convert::value(bytes.cast())?;
        let carried = [0, 1].map(|i| Delta {
            packets: packets[i],
            bytes: bytes[i],
        });
        let id = ConnectionId(connection);
        ct.engine
            .flow_carried(id, carried, time(last_used_ms), time(now_ms))?;
        Ok(())
    })
}

/// Sets after how many milliseconds without a packet a flow leaves; 30,000 unless set. At least 1.
///
/// Returns 0; EINVAL for 0.
///
/// Threads: any.
///
/// # Safety
/// `table` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_set_timeout(
    table: *mut ct_flow_table,
    timeout_ms: u64,
) -> c_int {
    guard(None, || {
        let handle = flow_table(table)?;
        if timeout_ms == 0 {
            return Err(invalid("the timeout is 0"));
        }
        handle.table.set_timeout(timeout_ms);
        Ok(())
    })
}

/// What was counted of a flow table. The caller sets `stats->size`.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `table` is a handle; `stats` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_flow_table_get_stats(
    table: *mut ct_flow_table,
    stats: *mut ct_flow_table_stats,
) -> c_int {
    guard(None, || {
        let handle = flow_table(table)?;
        let count = |count| handle.table.count(count);
        convert::write(
            stats,
            &ct_flow_table_stats {
                size: 0,
                zone: u32::from(handle.table.zone()),
                reserved: 0,
                timeout_ms: handle.table.timeout(),
                hits: count(Count::Hits),
                misses: count(Count::Misses),
                refused: count(Count::Refused),
                added: count(Count::Added),
                closed: count(Count::Closed),
                aged: count(Count::Aged),
                removed: count(Count::Removed),
            },
        )
    })
}

const DONE: u32 = CT_STATE_SRC_NAT | CT_STATE_DST_NAT;

/// Restores the metadata of packets that hardware handled half-way, without a look-up. The caller sets
/// `connection`, CT_CONN_REPLY in `connection_flags` if the device met it in the reply direction, and
/// `miss`, or instead of it CT_STATE_SRC_NAT and CT_STATE_DST_NAT in `ct_state`. A packet whose id is
/// valid receives state, zone, mark, label, original tuple and `chain`. One whose id is stale, or whose
/// `miss` is not in use, has `ct_state` 0 and `connection` 0 afterwards and is for conntrack_execute().
/// `*resumed` (which may be NULL) becomes how many were restored.
///
/// Returns 0 or EINVAL; no packet was touched then.
///
/// Threads: any number at once; no packet in two calls at the same time.
///
/// # Safety
/// As for conntrack_execute(); `resumed` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_resume(
    ct: *mut conntrack,
    packets: *mut ct_packet,
    n: usize,
    now_ms: i64,
    resumed: *mut usize,
) -> c_int {
    guard_batch(peek(ct), packets, n, |ct, packets| {
        let ct = peeked(ct)?;
        let now: Time = time(now_ms);
        ct.tell_time(now);
        for packet in packets.iter_mut() {
            packet.chain = 0;
            packet.ct_state &= DONE;
            if packet.miss != 0 {
                match ct.engine.miss(packet.miss) {
                    Some(miss) => {
                        packet.chain = miss.chain;
                        packet.in_port = miss.in_port;
                        packet.ct_state = u32::from(miss.done);
                    }
                    None => packet.connection = 0,
                }
            }
        }
        let n = ct.engine.resume(packets, now, &mut |_| {});
        if resumed.is_null() {
            return Ok(());
        }
        convert::store(resumed, n)
    })
}

/// A number, from 1 to 65,535, that stands for where a packet stands when hardware gives up on it, for
/// a device to carry in a register; and a reference to it. Equal contexts have the same number.
///
/// Returns 0; EAGAIN when all numbers are in use; EINVAL; E2BIG.
///
/// Threads: any; not meant for packet threads.
///
/// # Safety
/// `ct` is an instance; `miss` points to a struct of the size that it says; `number` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_miss_get(
    ct: *mut conntrack,
    miss: *const ct_miss,
    number: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let miss = convert::read(miss)?;
        if miss.done & !DONE != 0 || miss.reserved != 0 {
            return Err(invalid(
                "ct_miss.done has other bits than SRC_NAT and DST_NAT",
            ));
        }
        if number.is_null() || !number.is_aligned() {
            return Err(invalid("number is NULL"));
        }
        let got = ct.engine.miss_get(&Miss {
            chain: miss.chain,
            in_port: miss.in_port,
            done: miss.done as u8,
            cookie: miss.cookie,
        })?;
        convert::store(number, got)
    })
}

/// Gives a reference to a number back. With the last one it stands for nothing.
///
/// Returns 0; ENOENT when it is not in use.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_miss_put(ct: *mut conntrack, number: u32) -> c_int {
    guard(peek(ct), || {
        instance(ct)?.engine.miss_put(number)?;
        Ok(())
    })
}

/// What a number stands for. The caller sets `miss->size`.
///
/// Returns 0; ENOENT when it is not in use; EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `miss` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_miss_lookup(
    ct: *mut conntrack,
    number: u32,
    miss: *mut ct_miss,
) -> c_int {
    guard(peek(ct), || {
        let found = instance(ct)?
            .engine
            .miss(number)
            .ok_or(Failure::Errno(libc::ENOENT, "the number is not in use"))?;
        convert::write(
            miss,
            &ct_miss {
                size: 0,
                chain: found.chain,
                in_port: found.in_port,
                done: u32::from(found.done),
                reserved: 0,
                cookie: found.cookie,
            },
        )
    })
}
