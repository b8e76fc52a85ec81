//! No panic crosses into C.
//!
//! Three guards, one for each kind of entry: [`guard`] for calls that answer with an errno,
//! [`guard_batch`] for those that write verdicts into packets as they go, [`guard_text`] for those that
//! answer with a text. A test checks that every entry begins with one.

use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::convert::batch;
use super::handle::conntrack;
use super::packet;
use super::status::{errno, remember};
use super::types::ct_packet;
use crate::error::Error;
use crate::sync::Ordering;

/// Why a call failed: an error of the engine, or an errno of the boundary itself.
pub(super) enum Failure {
    Error(Error),
    Errno(c_int, &'static str),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// An argument that cannot be.
pub(super) fn invalid(text: &'static str) -> Failure {
    Failure::Errno(libc::EINVAL, text)
}

/// Runs a call that concerns an instance, if it is sound.
pub(super) fn guard(
    instance: Option<&conntrack>,
    call: impl FnOnce() -> Result<(), Failure>,
) -> c_int {
    if instance.is_some_and(|instance| instance.poisoned.load(Ordering::Relaxed)) {
        remember("the instance is out of order after an internal error");
        return libc::ENOTRECOVERABLE;
    }
    // What the engine holds when a panic passes is not trusted afterwards: the instance is poisoned.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => 0,
        Ok(Err(Failure::Error(error))) => {
            remember(&error.to_string());
            errno(&error)
        }
        Ok(Err(Failure::Errno(number, text))) => {
            remember(text);
            number
        }
        Err(_) => {
            if let Some(instance) = instance {
                instance.poisoned.store(true, Ordering::Relaxed);
            }
            remember("an internal error; please report it");
            libc::ENOTRECOVERABLE
        }
    }
}

/// As [`guard`], for a call over packets. When the instance is out of order, before the call or because
/// of it, no verdict of it is trusted: every packet is left untracked. The call is given the instance.
pub(super) fn guard_batch(
    instance: Option<&conntrack>,
    packets: *mut ct_packet,
    n: usize,
    call: impl FnOnce(Option<&conntrack>, &mut [ct_packet]) -> Result<(), Failure>,
) -> c_int {
    let status = guard(instance, || call(instance, batch(packets, n)?));
    if status == libc::ENOTRECOVERABLE
        && let Ok(packets) = batch(packets, n)
    {
        packets.iter_mut().for_each(packet::forget);
    }
    status
}

/// Runs a call that answers with a text, which is empty should the call panic.
pub(super) fn guard_text(call: impl FnOnce() -> *const c_char) -> *const c_char {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::Config;
    use crate::ffi::types::CT_STATE_TRACKED;

    fn packet() -> ct_packet {
        // SAFETY: numbers and pointers, for which zeros are valid.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn a_panic_becomes_an_errno_and_poisons_the_instance() {
        let instance = conntrack::new(&Config::default()).expect("memory");
        let panics = guard(Some(&instance), || panic!("on purpose"));
        assert_eq!(panics, libc::ENOTRECOVERABLE);
        assert_eq!(guard(Some(&instance), || Ok(())), libc::ENOTRECOVERABLE);
        assert_eq!(guard(None, || Ok(())), 0);
    }
    #[test]
    fn a_panic_leaves_every_packet_of_its_batch_untracked() {
        let instance = conntrack::new(&Config::default()).expect("memory");
        let mut packets = [packet(), packet()];
        packets[0].cookie = 7;
        let (first, n) = (packets.as_mut_ptr(), packets.len());
        let panics = guard_batch(Some(&instance), first, n, |_, packets| {
            packets[0].ct_state = CT_STATE_TRACKED;
            packets[0].connection = 9;
            panic!("between two packets")
        });
        assert_eq!(panics, libc::ENOTRECOVERABLE);
        assert_eq!((packets[0].ct_state, packets[0].connection), (0, 0));
        assert_eq!(packets[0].cookie, 7);
        // So are those of every later batch, whatever an earlier pass left in them.
        packets[1].ct_state = CT_STATE_TRACKED;
        let refused = guard_batch(Some(&instance), packets.as_mut_ptr(), n, |_, _| Ok(()));
        assert_eq!((refused, packets[1].ct_state), (libc::ENOTRECOVERABLE, 0));
    }

    #[test]
    fn a_refused_batch_is_not_touched() {
        let mut packets = [packet()];
        packets[0].ct_state = CT_STATE_TRACKED;
        let refused = guard_batch(None, packets.as_mut_ptr(), 1, |_, _| Err(invalid("no")));
        assert_eq!(
            (refused, packets[0].ct_state),
            (libc::EINVAL, CT_STATE_TRACKED)
        );
    }

    #[test]
    fn a_text_that_panics_is_empty() {
        let text = guard_text(|| panic!("on purpose"));
        assert_eq!(text, c"".as_ptr());
    }

    #[test]
    fn an_error_of_an_ending_thread_is_still_a_number() {
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                assert_eq!(guard(None, || Err(invalid("late"))), libc::EINVAL);
                assert!(!super::super::status::message().is_null());
            }
        }
        thread_local!(static LATE: Late = const { Late });
        let thread = crate::sync::thread::spawn(|| {
            // First used, last destroyed: the message is gone when `Late` is dropped.
            LATE.with(|_| ());
            assert_eq!(guard(None, || Err(invalid("early"))), libc::EINVAL);
        });
        assert!(thread.join().is_ok());
    }
}
