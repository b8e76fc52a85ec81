//! Errors as errno values, and the message of the calling thread's last one.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};

use crate::error::Error;

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// The errno of an error.
pub(super) const fn errno(error: &Error) -> c_int {
    match error {
        Error::Invalid(_) => libc::EINVAL,
        Error::NoMemory => libc::ENOMEM,
        Error::Exists(_) => libc::EEXIST,
        Error::NotFound(_) => libc::ENOENT,
        Error::Again(_) => libc::EAGAIN,
        Error::Busy(_) => libc::EBUSY,
        // What cannot be an errno is one that says nothing.
        Error::Provider(errno) if *errno > 0 => *errno,
        Error::Provider(_) => libc::EIO,
    }
}

/// Keeps the message for [`message`]. A thread that is ending, and calls from the destructors of its
/// own data, has nowhere left to keep one.
pub(super) fn remember(text: &str) {
    // A text with a NUL inside ends there.
    let text: Vec<u8> = text.bytes().take_while(|&byte| byte != 0).collect();
    let _ = LAST.try_with(|last| *last.borrow_mut() = CString::new(text).ok());
}

/// The message of the last error on this thread; empty before the first, and while a thread ends.
pub(super) fn message() -> *const c_char {
    LAST.try_with(|last| {
        last.borrow()
            .as_ref()
            .map_or(c"".as_ptr(), |text| text.as_ptr())
    })
    .unwrap_or(c"".as_ptr())
}
