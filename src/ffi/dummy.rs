//! The dummy provider for C: a datapath's own tests register it and look at what it was told.

use std::ffi::c_int;

use super::convert;
use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::ct_offload_dummy_counts;
use crate::engine::descriptor::ConnectionId;
use crate::offload::dummy::Dummy;
use crate::offload::provider::Preferences;

/// The dummy provider, with the name "dummy".
#[expect(non_camel_case_types, reason = "its name in C")]
pub struct ct_offload_dummy {
    dummy: Dummy,
}

fn dummy<'a>(handle: *const ct_offload_dummy) -> Result<&'a Dummy, Failure> {
    if handle.is_null() || !handle.is_aligned() {
        return Err(invalid("the dummy provider is NULL"));
    }
    // SAFETY: the caller promises a handle that `ct_offload_dummy_register` gave and that is not freed.
    Ok(unsafe { &(*handle).dummy })
}

/// Registers a provider that takes every connection, records what it is told and carries nothing. It is
/// inline, is offered connections at commit, and says of each that it was used just now. `*out` receives
/// a handle to look at it, which stays valid after the provider was unregistered.
///
/// Returns 0; EEXIST when it is registered already; EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `out` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_dummy_register(
    ct: *mut conntrack,
    now_ms: i64,
    out: *mut *mut ct_offload_dummy,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if out.is_null() || !out.is_aligned() {
            return Err(invalid("out is NULL"));
        }
        let dummy = Dummy::new(Preferences::default());
        ct.engine
            .register_provider(Box::new(dummy.clone()), time(now_ms))?;
        convert::store(out, Box::into_raw(Box::new(ct_offload_dummy { dummy })))
    })
}

/// Frees a handle. NULL is ignored. The provider itself is unregistered by ct_offload_unregister().
///
/// Threads: any; no other call with this handle may be under way.
///
/// # Safety
/// `dummy` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_dummy_free(dummy: *mut ct_offload_dummy) {
    guard(None, || {
        if !dummy.is_null() {
            // SAFETY: the caller gives back what `ct_offload_dummy_register` made.
            drop(unsafe { Box::from_raw(dummy) });
        }
        Ok(())
    });
}

/// What the dummy provider counted. The caller sets `counts->size`.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `dummy` is a handle; `counts` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_dummy_get_counts(
    dummy_: *mut ct_offload_dummy,
    counts: *mut ct_offload_dummy_counts,
) -> c_int {
    guard(None, || {
        let dummy = dummy(dummy_)?;
        let told = dummy.counts();
        convert::write(
            counts,
            &ct_offload_dummy_counts {
                size: 0,
                added: told.added,
                deleted: told.deleted,
                updated: told.updated,
                established: told.established,
                changed: told.changed,
                flushed: told.flushed,
                held: dummy.len() as u64,
            },
        )
    })
}

/// Sets all counts to zero.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `dummy` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_dummy_reset_counts(dummy_: *mut ct_offload_dummy) -> c_int {
    guard(None, || {
        dummy(dummy_)?.reset_counters();
        Ok(())
    })
}

/// Whether the dummy provider has a connection (`*contains`), and whether it was told that it is
/// established (`*bidirectional`). Each may be NULL.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `dummy` is a handle; `contains` and `bidirectional` are NULL or point to numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_dummy_contains(
    dummy_: *mut ct_offload_dummy,
    connection: u64,
    contains: *mut c_int,
    bidirectional: *mut c_int,
) -> c_int {
    guard(None, || {
        let dummy = dummy(dummy_)?;
        let id = ConnectionId(connection);
        if !contains.is_null() {
            convert::store(contains, c_int::from(dummy.contains(id)))?;
        }
        if !bidirectional.is_null() {
            convert::store(bidirectional, c_int::from(dummy.is_bidirectional(id)))?;
        }
        Ok(())
    })
}
