//! The primitives as they are: the standard library's.

pub use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use std::sync::{Arc, Arc as StdArc, Mutex, MutexGuard, OnceLock, Weak};
pub use std::thread;

use crossbeam_utils::Backoff;

/// Waits a moment for another thread: spins at first, then gives the processor away.
pub fn pause(backoff: &Backoff) {
    backoff.snooze();
}

/// A value that threads write in turns. Whose turn it is must be known from elsewhere; the model
/// checks it.
pub struct Shared<T>(std::cell::UnsafeCell<T>);

impl<T> Shared<T> {
    /// Begins with `value`.
    pub const fn new(value: T) -> Shared<T> {
        Shared(std::cell::UnsafeCell::new(value))
    }

    /// Reads by a pointer, which is only good during the call.
    #[inline]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get().cast_const())
    }

    /// Writes by a pointer, which is only good during the call.
    #[inline]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
