//! Listings: a dump that goes on whatever happens to the table, and single connections.

use std::ffi::c_int;

use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::{
    CT_STATUS_ASSURED, CT_STATUS_DST_NAT, CT_STATUS_HW_OFFLOAD, CT_STATUS_OFFLOAD,
    CT_STATUS_SEEN_REPLY, CT_STATUS_SRC_NAT, ct_connection, ct_dump, ct_expectation, ct_filter,
    ct_tuple,
};
use super::{convert, filter, tuple};
use crate::clock::Time;
use crate::engine::Cursor;
use crate::engine::descriptor::ConnectionId;
use crate::engine::listing::{Connection, ProtocolListing};

/// `zone` of a dump of all zones.
const ALL_ZONES: u32 = 1 << 16;
/// A window scale that is not known.
const UNKNOWN_SCALE: u8 = 255;

pub(super) fn to_c(connection: &Connection) -> ct_connection {
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    let counters = connection.counters.unwrap_or_default();
    let mut window_scale = [UNKNOWN_SCALE; 2];
    let mut tcp_flags = [0; 2];
    let (state, sides) = match connection.protocol {
        ProtocolListing::None => ("", ["", ""]),
        ProtocolListing::Tcp(tcp) => {
            window_scale = tcp.window_scale.map(|scale| scale.unwrap_or(UNKNOWN_SCALE));
            tcp_flags = tcp.flags;
            (tcp.state, [tcp.state_original, tcp.state_reply])
        }
        ProtocolListing::Sctp(state, _) => (state, ["", ""]),
    };
    ct_connection {
        size: 0,
        id: connection.id.0,
        original: tuple::to_c(&connection.original),
        reply: tuple::to_c(&connection.reply),
        mark: connection.mark,
        status: flag(connection.seen_reply, CT_STATUS_SEEN_REPLY)
            | flag(connection.assured, CT_STATUS_ASSURED)
            | flag(connection.source_nat, CT_STATUS_SRC_NAT)
            | flag(connection.destination_nat, CT_STATUS_DST_NAT)
            | flag(connection.flow, CT_STATUS_OFFLOAD)
            | flag(connection.offloaded, CT_STATUS_HW_OFFLOAD),
        label: connection.label.to_be_bytes(),
        remaining_ms: connection.remaining,
        created_ms: connection.created.as_millis(),
        packets: counters.map(|counter| counter.packets),
        bytes: counters.map(|counter| counter.bytes),
        state: convert::text(state),
        side_state: sides.map(convert::text),
        window_scale,
        tcp_flags,
        helper: connection.helper.map_or(0, |helper| helper as u32),
        parent: connection
            .parent
            .as_ref()
            .map(tuple::to_c)
            .unwrap_or_default(),
        timeout_policy: connection.timeout_policy.unwrap_or(0),
        reserved: 0,
    }
}

fn write_found(found: Option<Connection>, out: *mut ct_connection) -> Result<(), Failure> {
    let found = found.ok_or(Failure::Errno(libc::ENOENT, "there is no such connection"))?;
    convert::write(out, &to_c(&found))
}

/// Begins a dump of all connections, or of those of `*zone`. The caller sets `dump->size`. A dump
/// holds nothing: it need not be ended.
///
/// Returns 0 or EINVAL.
///
/// Threads: any; a dump is for one thread at a time.
///
/// # Safety
/// `ct` is an instance; `zone` is NULL or points to a number; `dump` points to a struct of the size
/// that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_dump_start(
    ct: *mut conntrack,
    zone: *const u16,
    dump: *mut ct_dump,
) -> c_int {
    guard(peek(ct), || {
        instance(ct)?;
        let zone = if zone.is_null() {
            ALL_ZONES
        } else {
            u32::from(convert::value(zone)?)
        };
        convert::write(
            dump,
            &ct_dump {
                size: 0,
                position: 0,
                zone,
                reserved: 0,
            },
        )
    })
}

/// The next connection of a dump. The caller sets `connection->size`. A connection that lives
/// throughout the dump is listed exactly once, whatever happens to others meanwhile.
///
/// Returns 0; ENODATA at the end; EINVAL.
///
/// Threads: any; a dump is for one thread at a time.
///
/// # Safety
/// `ct` is an instance; `dump` was begun; `connection` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_dump_next(
    ct: *mut conntrack,
    dump: *mut ct_dump,
    now_ms: i64,
    connection: *mut ct_connection,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        step(dump, connection, |cursor| engine.next(cursor, time(now_ms)))
    })
}

/// The next connection of a dump that `*filter` means, as conntrack_dump_next(). The filter may be
/// another one in every call.
///
/// Returns 0; ENODATA at the end; EINVAL; E2BIG.
///
/// Threads: any; a dump is for one thread at a time.
///
/// # Safety
/// `ct` is an instance; `dump` was begun; `filter` and `connection` point to structs of the sizes that
/// they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_dump_next_matching(
    ct: *mut conntrack,
    dump: *mut ct_dump,
    filter: *const ct_filter,
    now_ms: i64,
    connection: *mut ct_connection,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let filter = filter::from_c(&convert::read(filter)?)?;
        step(dump, connection, |cursor| {
            engine.next_matching(cursor, &filter, time(now_ms))
        })
    })
}

/// Goes one step on with a dump, whose next connection `next` finds.
fn step(
    dump: *mut ct_dump,
    connection: *mut ct_connection,
    next: impl FnOnce(&mut Cursor) -> Option<Connection>,
) -> Result<(), Failure> {
    convert::checked_size(connection)?;
    let mut state = convert::read(dump.cast_const())?;
    let zone = u16::try_from(state.zone).ok();
    let position = u32::try_from(state.position).map_err(|_| invalid("not a dump"))?;
    let mut cursor = Cursor::resume(zone, position);
    let next = next(&mut cursor);
    state.position = u64::from(cursor.position());
    convert::write(dump, &state)?;
    let next = next.ok_or(Failure::Errno(libc::ENODATA, "the end of the dump"))?;
    convert::write(connection, &to_c(&next))
}

/// The connection to which packets with `*tuple` belong, in either direction.
///
/// Returns 0, EINVAL, or ENOENT.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `tuple` points to a tuple, `connection` to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_lookup(
    ct: *mut conntrack,
    tuple: *const ct_tuple,
    now_ms: i64,
    connection: *mut ct_connection,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        convert::checked_size(connection)?;
        let wanted = tuple::from_c(&convert::value(tuple)?)?;
        write_found(engine.lookup(&wanted, time(now_ms)), connection)
    })
}

/// The connection with this id, if it still lives.
///
/// Returns 0, EINVAL, or ENOENT.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `connection` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get(
    ct: *mut conntrack,
    id: u64,
    now_ms: i64,
    connection: *mut ct_connection,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        convert::checked_size(connection)?;
        write_found(
            engine.connection(ConnectionId(id), time(now_ms)),
            connection,
        )
    })
}

/// Fills `array` with up to `n` of the connections that helpers expect, and `*total` with their number
/// at that moment. `array` may be NULL when `n` is 0.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `array` has room for `n` elements; `total` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_expectations(
    ct: *mut conntrack,
    now_ms: i64,
    array: *mut ct_expectation,
    n: usize,
    total: *mut usize,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let now = time(now_ms);
        let expected = engine.expected(now);
        let rows = expected.iter().map(|expectation| ct_expectation {
            tuple: tuple::to_c(&expectation.tuple),
            parent: tuple::to_c(&expectation.parent.original),
            parent_id: expectation.parent.id.0,
            remaining_ms: match expectation.expires {
                Time::MAX => u64::MAX,
                expires => expires.since(now),
            },
            mark: expectation.parent.mark,
            reserved: 0,
            label: expectation.parent.label.to_be_bytes(),
        });
        convert::store_list(rows, array, n, total)
    })
}
