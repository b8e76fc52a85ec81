//! A batch in, verdicts out.

use std::ffi::c_int;

use super::guard::{Failure, guard, guard_batch, invalid};
use super::handle::{conntrack, instance, peek, peeked};
use super::types::{
    CT_ACTION_COMMIT, CT_ACTION_FORCE, CT_ACTION_NAT, CT_ACTION_TIMEOUT_POLICY, CT_HELPER_NONE,
    ct_action, ct_packet, ct_sweep,
};
use super::{convert, nat, packet};
use crate::clock::Time;
use crate::engine::Budget;
use crate::engine::action::{Action, Helper, Masked};

/// A time from C; before the epoch is the epoch.
pub(super) fn time(now_ms: i64) -> Time {
    Time::from_millis(u64::try_from(now_ms).unwrap_or(0))
}

const ACTION_FLAGS: u32 =
    CT_ACTION_COMMIT | CT_ACTION_FORCE | CT_ACTION_NAT | CT_ACTION_TIMEOUT_POLICY;

/// Makes an action that asks for nothing ask for what the caller's does. In its place: it is long, and
/// calls are many.
#[inline(always)]
pub(super) fn fill_action(action: &mut Action, given: &ct_action) -> Result<(), Failure> {
    if given.flags & !ACTION_FLAGS != 0 || given.reserved != 0 {
        return Err(invalid("ct_action.flags has unknown bits"));
    }
    let has = |flag: u32| given.flags & flag != 0;
    action.zone = given.zone;
    action.commit = has(CT_ACTION_COMMIT);
    action.force = has(CT_ACTION_FORCE);
    if given.mark_mask != 0 || given.mark != 0 {
        action.mark = Some(Masked {
            value: given.mark,
            mask: given.mark_mask,
        });
    }
    let label = Masked {
        value: u128::from_be_bytes(given.label),
        mask: u128::from_be_bytes(given.label_mask),
    };
    if label.mask != 0 || label.value != 0 {
        action.label = Some(label);
    }
    if given.helper != CT_HELPER_NONE {
        let helper = u8::try_from(given.helper).ok();
        let helper = helper.and_then(Helper::from_number);
        action.helper =
            Some(helper.ok_or_else(|| invalid("ct_action.helper is not one of CT_HELPER_*"))?);
    }
    if has(CT_ACTION_NAT) {
        action.nat = Some(nat::from_c(&given.nat)?);
    }
    if has(CT_ACTION_TIMEOUT_POLICY) {
        action.timeout_policy = Some(given.timeout_policy);
    }
    action.check()?;
    Ok(())
}

/// Tracks a batch of packets at time `now_ms` (milliseconds since any epoch, the same in all calls).
///
/// Every packet receives its verdict in its second line. The result is that of calling the function
/// for one packet after the other. A packet that is malformed is a packet like any other: it becomes
/// CT_STATE_INVALID. After an internal error every packet is left untracked (as by conntrack_clear())
/// and ENOTRECOVERABLE is returned.
///
/// Returns 0; EINVAL for a NULL or misaligned argument, unknown flags, or values outside their
/// masks; E2BIG for an action of a later version. No packet was touched then.
///
/// Threads: any number at once; no packet in two calls at the same time.
///
/// # Safety
/// `ct` is an instance; `packets` points to `n` packets, whose `data` has `length` bytes that nobody
/// else writes during the call and whose `orig_tuple` is NULL or a tuple; `action` points to a struct
/// of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_execute(
    ct: *mut conntrack,
    packets: *mut ct_packet,
    n: usize,
    action: *const ct_action,
    now_ms: i64,
) -> c_int {
    guard_batch(peek(ct), packets, n, |ct, packets| {
        let ct = peeked(ct)?;
        let mut asked = Action::default();
        fill_action(&mut asked, convert::borrow(action, &mut None)?)?;
        let now = time(now_ms);
        ct.tell_time(now);
        ct.engine.execute_with(packets, &asked, now, &ct.fragments);
        Ok(())
    })
}

/// Makes a packet as if it had never been tracked (the `ct_clear` action). NULL is ignored.
///
/// Threads: any; no packet in two calls at the same time.
///
/// # Safety
/// `packet` is NULL or points to a packet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_clear(packet: *mut ct_packet) {
    guard(None, || {
        if packet.is_null() || !packet.is_aligned() {
            return Ok(());
        }
        // SAFETY: the caller promises a packet that no other call uses.
        packet::forget(unsafe { &mut *packet });
        Ok(())
    });
}

/// Gives back the memory of connections that expired or were flushed, looking at `budget` records at
/// most (0: no limit). Also maps memory for the connections to come, so that packets don't wait for
/// it. `out` may be NULL.
///
/// A connection is invisible the moment it expires, swept or not. Call this from the datapath's own
/// loop, or have a thread do it (CT_CONFIG_BACKGROUND_SWEEP).
///
/// Returns 0, EINVAL, or E2BIG.
///
/// Threads: any; one sweeps at a time, others return at once with nothing done.
///
/// # Safety
/// `ct` is an instance; `out` is NULL or points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_sweep(
    ct: *mut conntrack,
    now_ms: i64,
    budget: u32,
    out: *mut ct_sweep,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if !out.is_null() {
            convert::checked_size(out)?;
        }
        let records = if budget == 0 { u32::MAX } else { budget };
        let swept = ct.engine.sweep(time(now_ms), Budget { records });
        if out.is_null() {
            return Ok(());
        }
        let value = ct_sweep {
            size: 0,
            looked_at: swept.looked_at,
            removed: swept.removed,
            complete: u32::from(swept.complete),
            reserved: 0,
        };
        convert::write(out, &value)
    })
}
