//! Offload providers for C: registration, and what a provider tells the library.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::convert;
use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::provider::{Class, report_from_c, taken};
use super::types::*;
use crate::engine::descriptor::ConnectionId;
use crate::error::Error;
use crate::offload::provider::Taken;
use crate::offload::registry::Standing;
use crate::offload::state::State;
use crate::offload::statistics::Count;

fn name<'a>(name: *const c_char) -> Result<&'a str, Failure> {
    if name.is_null() {
        return Err(invalid("the provider's name is NULL"));
    }
    // SAFETY: not NULL; the caller promises a NUL-terminated text that lives through the call.
    unsafe { CStr::from_ptr(name) }
        .to_str()
        .map_err(|_| invalid("the provider's name is not UTF-8"))
}

/// Registers an offload provider. The struct is copied; `user` and the callbacks must stay valid until
/// ct_offload_unregister() has returned. Connections that exist are offered to it with their next
/// packets.
///
/// Returns 0; EINVAL for a NULL name, a missing `conn_add` or `conn_del`, or unknown flags; EEXIST when
/// one of this name is registered; EAGAIN when eight are; what `init` answers; E2BIG.
///
/// Threads: any; also from callbacks of other providers.
///
/// # Safety
/// `ct` is an instance; `class` points to a struct of the size that it says, whose callbacks may be
/// called from any thread with its `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_register(
    ct: *mut conntrack,
    class: *const ct_offload_class,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let class = Class::new(convert::read(class)?)?;
        ct.engine.register_provider(Box::new(class), time(now_ms))?;
        Ok(())
    })
}

/// Unregisters a provider. When this returns, none of its callbacks runs and none will; every
/// connection that it carried got its conn_del, and `destroy` was called. From one of its own
/// callbacks: that one call is not waited for.
///
/// Returns 0; ENOENT when it is not registered; EBUSY from a callback of another provider.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `provider` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_unregister(
    ct: *mut conntrack,
    provider: *const c_char,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        ct.engine
            .unregister_provider(name(provider)?, time(now_ms))?;
        Ok(())
    })
}

/// Switches offload off (`on` 0) or on again. Off: when this returns no provider carries a connection,
/// and all go on in software. An add in progress (EINPROGRESS) is deleted when it completes. On is the
/// default.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_enable(ct: *mut conntrack, on: c_int, now_ms: i64) -> c_int {
    guard(peek(ct), || {
        instance(ct)?.engine.set_offload(on != 0, time(now_ms));
        Ok(())
    })
}

/// Whether offload is switched on: `*on` becomes 1 or 0.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `on` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_enabled(ct: *mut conntrack, on: *mut c_int) -> c_int {
    guard(peek(ct), || {
        let enabled = instance(ct)?.engine.offload();
        convert::store(on, c_int::from(enabled))
    })
}

/// Says what came of an add to which conn_add answered EINPROGRESS: `error` 0, or an errno as conn_add
/// would have given.
///
/// Returns 0; ENOENT when no such add is under way: the connection or the provider ended meanwhile, and
/// nothing happens; EINVAL for `error` EINPROGRESS.
///
/// Threads: any; also from inside conn_add.
///
/// # Safety
/// `ct` is an instance; `provider` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_complete(
    ct: *mut conntrack,
    provider: *const c_char,
    connection: u64,
    error: c_int,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let outcome = match taken(error) {
            Ok(Taken::Now) => Ok(()),
            Ok(Taken::Later) => return Err(invalid("EINPROGRESS completes nothing")),
            Err(refusal) => Err(refusal),
        };
        let id = ConnectionId(connection);
        ct.engine
            .complete_offload(name(provider)?, id, outcome, time(now_ms))?;
        Ok(())
    })
}

/// Reports on a connection that a provider carries, without being asked: traffic, the TCP window, a FIN
/// or RST that only the device saw.
///
/// Returns 0; ENOENT when the provider does not carry it; EINVAL; E2BIG.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `provider` is a text; `report` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_report(
    ct: *mut conntrack,
    provider: *const c_char,
    connection: u64,
    report: *const ct_offload_report,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let report = report_from_c(&convert::read(report)?);
        let id = ConnectionId(connection);
        ct.engine
            .report_offload(name(provider)?, id, &report, time(now_ms))?;
        Ok(())
    })
}

/// Gives a connection back: it goes on in software, and the provider gets its conn_del.
///
/// Returns 0; ENOENT when there is no such provider; EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `provider` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_give_back(
    ct: *mut conntrack,
    provider: *const c_char,
    connection: u64,
    now_ms: i64,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        ct.engine
            .give_back(name(provider)?, ConnectionId(connection), time(now_ms))?;
        Ok(())
    })
}

/// Sets what a provider keeps with a connection that it carries or is being offered. It comes back in
/// `ct_offload_ctx.data` and is freed by `data_free` after the connection's conn_del, or when it is
/// replaced.
///
/// Returns 0; ENOENT when the provider does not have the connection: `data` was freed then; EINVAL.
///
/// Threads: any; also from inside conn_add.
///
/// # Safety
/// `ct` is an instance; `provider` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_set_data(
    ct: *mut conntrack,
    provider: *const c_char,
    connection: u64,
    data: *mut c_void,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let id = ConnectionId(connection);
        ct.engine
            .set_offload_data(name(provider)?, id, data as usize)?;
        Ok(())
    })
}

/// Does what waits for queued providers: `worker` (from 0) of `workers` threads that share the work,
/// at most `budget` connections. `*done` (which may be NULL) becomes how many there were.
///
/// Returns 0; EINVAL when `worker` is not below `workers`.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `done` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_work(
    ct: *mut conntrack,
    worker: u32,
    workers: u32,
    budget: u32,
    done: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if worker >= workers {
            return Err(invalid("worker is not below workers"));
        }
        let n = ct
            .engine
            .work(worker as usize, workers as usize, budget as usize);
        if done.is_null() {
            return Ok(());
        }
        convert::store(done, u32::try_from(n).unwrap_or(u32::MAX))
    })
}

/// Starts `workers` threads of the library that do what ct_offload_work() does, until the instance is
/// destroyed. 0 stops those that were started.
///
/// Returns 0; EBUSY from a worker's own callback; EAGAIN when a thread cannot be started; EINVAL for
/// more than 64.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_start_workers(ct: *mut conntrack, workers: u32) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if workers > 64 {
            return Err(invalid("more than 64 workers"));
        }
        ct.set_workers(workers as usize)?;
        Ok(())
    })
}

/// Asks the providers about everything that they carry, so that counters and expiry follow what
/// hardware does. `*asked` (which may be NULL) becomes how many connections that were.
///
/// Returns 0 or EINVAL.
///
/// Threads: any; not meant for packet threads.
///
/// # Safety
/// `ct` is an instance; `asked` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_refresh(
    ct: *mut conntrack,
    now_ms: i64,
    asked: *mut u64,
) -> c_int {
    guard(peek(ct), || {
        let n = instance(ct)?.engine.refresh_offload(time(now_ms));
        if asked.is_null() {
            return Ok(());
        }
        convert::store(asked, n as u64)
    })
}

fn standing_to_c(standing: &Standing) -> ct_offload_standing {
    let why = match standing.state {
        State::None | State::Failed | State::Closing => standing.why.name(),
        State::Pending | State::Added | State::Asked | State::Established => "",
    };
    ct_offload_standing {
        size: size_of::<ct_offload_standing>(),
        provider: convert::text(&standing.provider),
        state: standing.state as u32,
        reserved: 0,
        why: convert::text(why),
        since_ms: i64::try_from(standing.since.as_millis()).unwrap_or(i64::MAX),
        packets: standing.carried.map(|delta| delta.packets),
        bytes: standing.carried.map(|delta| delta.bytes),
    }
}

/// How far a connection got in every provider, and why not further. `standings` is an array of `*n`
/// structs, each with its `size` set; `*n` becomes how many were filled. One is filled for each
/// provider, in the order in which they are called.
///
/// Returns 0; ENOENT when the connection ended; EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `standings` points to `*n` structs of the size that each says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_get_standing(
    ct: *mut conntrack,
    connection: u64,
    standings: *mut ct_offload_standing,
    n: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        let room = convert::value(n)? as usize;
        let all = ct
            .engine
            .offload_standing(ConnectionId(connection))
            .ok_or(Failure::Errno(libc::ENOENT, "there is no such connection"))?;
        let filled = all.len().min(room);
        if filled > 0 {
            let stride = convert::checked_size(standings)?;
            for (i, standing) in all.iter().take(filled).enumerate() {
                let out = standings
                    .cast::<u8>()
                    .wrapping_add(i * stride)
                    .cast::<ct_offload_standing>();
                convert::write(out, &standing_to_c(standing))?;
            }
        }
        convert::store(n, filled as u32)
    })
}

/// What was counted of a provider. The caller sets `stats->size`.
///
/// Returns 0; ENOENT when it is not registered; EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `provider` is a text; `stats` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_get_stats(
    ct: *mut conntrack,
    provider: *const c_char,
    stats: *mut ct_offload_stats,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let provider = name(provider)?;
        let absent = || Error::NotFound(format!("no provider named {provider} is registered"));
        let held = engine.provider_held(provider).ok_or_else(absent)?;
        let count = |count| engine.provider_count(provider, count).unwrap_or(0);
        let waiting = engine.provider_waiting(provider).unwrap_or(0);
        convert::write(
            stats,
            &ct_offload_stats {
                size: 0,
                held: held as u64,
                waiting: waiting as u64,
                added: count(Count::Added),
                deleted: count(Count::Deleted),
                established: count(Count::Established),
                updated: count(Count::Updated),
                changed: count(Count::Changed),
                flushed: count(Count::Flushed),
                declined: count(Count::Declined),
                refused: count(Count::Refused),
                full: count(Count::Full),
                cancelled: count(Count::Cancelled),
                late: count(Count::Late),
                packets: [count(Count::PacketsOriginal), count(Count::PacketsReply)],
                bytes: [count(Count::BytesOriginal), count(Count::BytesReply)],
            },
        )
    })
}
