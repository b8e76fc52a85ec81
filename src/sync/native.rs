//! The primitives as they are: the standard library's.

pub use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use std::sync::{Arc, Arc as StdArc, Mutex, MutexGuard, OnceLock, Weak};
pub use std::thread;

use crossbeam_utils::Backoff;

/// Waits a moment for another thread: spins at first, then gives the processor away.
pub fn pause(backoff: &Backoff) {
    backoff.snooze();
}
