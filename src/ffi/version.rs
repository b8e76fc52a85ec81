//! Versions, messages, names.

use std::ffi::c_char;

use super::guard::guard_text;
use super::status;
use crate::reason::Reason;

/// The version of this library, e.g. "0.1.0". Never NULL; lives as long as the library.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ct_version() -> *const c_char {
    guard_text(|| concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// The message of the calling thread's last failed call; empty before the first. Never NULL; lives
/// until the thread's next failed call.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ct_last_error() -> *const c_char {
    guard_text(status::message)
}

/// What a reason means, in a sentence; "unknown" for a number that is none. Never NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ct_reason_text(reason: u8) -> *const c_char {
    guard_text(|| {
        Reason::from_number(reason).map_or(c"unknown".as_ptr(), |reason| reason.c_text().as_ptr())
    })
}

/// The name of a reason, as in listings; "unknown" for a number that is none. Never NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ct_reason_name(reason: u8) -> *const c_char {
    guard_text(|| {
        Reason::from_number(reason).map_or(c"unknown".as_ptr(), |reason| reason.c_name().as_ptr())
    })
}
