//! The one error type of the control plane.
//!
//! Packets never produce an `Error`: what is wrong with a packet is a [`Reason`](crate::reason::Reason)
//! in its verdict. An `Error` answers a call that configures, queries or removes something, and the C
//! boundary turns it into a positive errno and a message.

use std::fmt;

/// Why a control call was refused. Nothing was changed when one is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// An argument is out of its range; the text names it (EINVAL).
    Invalid(String),
    /// Memory could not be had (ENOMEM).
    NoMemory,
    /// Something of that name or number exists already (EEXIST).
    Exists(String),
    /// Nothing of that name, number or tuple exists (ENOENT).
    NotFound(String),
    /// A limit is reached; the same call may succeed later (EAGAIN).
    Again(String),
    /// The object is in use, or the call may not be made from here (EBUSY).
    Busy(String),
    /// An offload provider refused to begin, with this errno.
    Provider(i32),
}

impl Error {
    /// An [`Error::Invalid`] with this text.
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoMemory => f.write_str("out of memory"),
            Error::Provider(errno) => write!(f, "the provider refused to begin (errno {errno})"),
            Error::Invalid(text)
            | Error::Exists(text)
            | Error::NotFound(text)
            | Error::Again(text)
            | Error::Busy(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
