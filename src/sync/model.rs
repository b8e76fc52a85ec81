//! The primitives as the loom model checker has them.

pub use loom::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use loom::sync::{Arc, Mutex, MutexGuard};
pub use loom::thread;

use crossbeam_utils::Backoff;

/// Lets another thread of the model run: a spin that does not yield would explore for ever.
pub fn pause(_backoff: &Backoff) {
    thread::yield_now();
}
