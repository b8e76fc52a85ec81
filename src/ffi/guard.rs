//! No panic crosses into C.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::handle::conntrack;
use super::status::{errno, remember};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::Config;

    #[test]
    fn a_panic_becomes_an_errno_and_poisons_the_instance() {
        let instance = conntrack::new(&Config::default()).expect("memory");
        let panics = guard(Some(&instance), || panic!("on purpose"));
        assert_eq!(panics, libc::ENOTRECOVERABLE);
        assert_eq!(guard(Some(&instance), || Ok(())), libc::ENOTRECOVERABLE);
        assert_eq!(guard(None, || Ok(())), 0);
    }
}
