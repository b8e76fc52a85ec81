//! Listeners: events of connections, taken when it suits.

use std::ffi::c_int;
use std::mem::offset_of;

use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::{
    CT_CHANGE_LABEL, CT_CHANGE_MARK, CT_CHANGE_STATE, CT_CHANGE_STATUS, CT_ENDING_EARLY_DROP,
    CT_ENDING_EXPIRED, CT_ENDING_FLUSHED, CT_ENDING_REPLACED, CT_FILTER_ZONE, ct_event, ct_listen,
};
use super::{convert, dump};
use crate::engine::events::{Changes, Ending, Event, What};
use crate::observe::{Interest, Listener};

/// Somebody who listens to an instance.
#[expect(non_camel_case_types, reason = "its name in C")]
pub struct ct_listener {
    listener: Listener<Event>,
}

fn changes_to_c(changes: Changes) -> u32 {
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    flag(changes.state, CT_CHANGE_STATE)
        | flag(changes.status, CT_CHANGE_STATUS)
        | flag(changes.mark, CT_CHANGE_MARK)
        | flag(changes.label, CT_CHANGE_LABEL)
}

const fn ending_to_c(ending: Ending) -> u32 {
    match ending {
        Ending::Expired => CT_ENDING_EXPIRED,
        Ending::Flushed => CT_ENDING_FLUSHED,
        Ending::EarlyDrop => CT_ENDING_EARLY_DROP,
        Ending::Replaced => CT_ENDING_REPLACED,
    }
}

/// An event for a caller to whom one has `size` bytes.
fn to_c(event: &Event, size: usize) -> ct_event {
    let (changes, ending) = match event.what {
        What::New => (0, 0),
        What::Update(changes) => (changes_to_c(changes), 0),
        What::Destroy(ending) => (0, ending_to_c(ending)),
    };
    let mut connection = dump::to_c(&event.connection);
    connection.size = size - offset_of!(ct_event, connection);
    ct_event {
        size,
        kind: event.what.kind().bit(),
        changes,
        ending,
        reserved: 0,
        time_ms: event.at.as_millis(),
        connection,
    }
}

/// The listener behind a handle.
fn listening<'a>(handle: *const ct_listener) -> Result<&'a Listener<Event>, Failure> {
    if handle.is_null() || !handle.is_aligned() {
        return Err(invalid("the listener is NULL"));
    }
    // SAFETY: the caller promises a handle that `conntrack_listen` gave and that is not ended before
    // this call returns.
    let listener = unsafe { &*handle };
    Ok(&listener.listener)
}

/// Begins to listen to what happens to connections. `*out` receives the listener, to be ended with
/// conntrack_unlisten(). Calls that are under way may still be unheard.
///
/// The events of one connection are in order. Nothing waits for a listener: when as many events wait
/// for it as it has room for, others are lost to it, and conntrack_take_events() tells how many. What
/// expired or was flushed ends when conntrack_sweep(), or the background thread, gives its record back.
///
/// Returns 0; EINVAL for a member out of range; E2BIG; ENOMEM.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `config` points to a struct of the size that it says; `out` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_listen(
    ct: *mut conntrack,
    config: *const ct_listen,
    out: *mut *mut ct_listener,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let config = convert::read(config)?;
        if config.flags & !CT_FILTER_ZONE != 0 || config.reserved != 0 {
            return Err(invalid("ct_listen.flags has unknown bits"));
        }
        if out.is_null() || !out.is_aligned() {
            return Err(invalid("out is NULL"));
        }
        let interest = Interest {
            kinds: config.kinds,
            zone: (config.flags & CT_FILTER_ZONE != 0).then_some(config.zone),
        };
        let listener = engine.listen(interest, config.capacity as usize)?;
        convert::store(out, Box::into_raw(Box::new(ct_listener { listener })))
    })
}

/// Takes up to `n` of the events that wait for a listener, the oldest first. The caller sets `size` of
/// the first element; the others lie that far apart. `*taken` receives how many there were, and `*lost`
/// how many were lost since the last call; `lost` may be NULL, and what was lost is told by a later call
/// then.
///
/// Returns 0 or EINVAL.
///
/// Threads: any; each event is taken once. It may be called after the instance was destroyed.
///
/// # Safety
/// `listener` is a listener; `events` has room for `n` elements of the size that the first one says;
/// `taken` points to a number, `lost` to one or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_take_events(
    listener: *mut ct_listener,
    events: *mut ct_event,
    n: usize,
    taken: *mut usize,
    lost: *mut u64,
) -> c_int {
    guard(None, || {
        let listener = listening(listener)?;
        let size = if n == 0 {
            size_of::<ct_event>()
        } else {
            convert::checked_size(events)?
        };
        if !size.is_multiple_of(align_of::<ct_event>()) {
            return Err(invalid("the size of a struct is wrong"));
        }
        convert::store(taken, 0)?;
        if !lost.is_null() {
            convert::store(lost, 0)?;
        }
        let mut count = 0;
        while count < n {
            let Some(event) = listener.next() else {
                break;
            };
            let place = events.cast::<u8>().wrapping_add(count * size);
            let place = place.cast::<ct_event>();
            convert::store(place.cast::<usize>(), size)?;
            convert::write(place, &to_c(&event, size))?;
            count += 1;
        }
        if !lost.is_null() {
            convert::store(lost, listener.lost())?;
        }
        convert::store(taken, count)
    })
}

/// Ends a listener. What waits for it is forgotten. NULL is ignored.
///
/// Threads: any; no other call on the listener may be under way, and none may follow. It may be called
/// after the instance was destroyed.
///
/// # Safety
/// `listener` is NULL or a listener that was not ended yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_unlisten(listener: *mut ct_listener) {
    guard(None, || {
        if !listener.is_null() {
            // SAFETY: the caller gives back what `conntrack_listen` made, and nobody uses it.
            drop(unsafe { Box::from_raw(listener) });
        }
        Ok(())
    });
}
