//! The primitives as the loom model checker has them.

pub use loom::cell::UnsafeCell as Shared;
pub use loom::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use loom::sync::{Arc, Mutex, MutexGuard};
pub use loom::thread;
// Not modelled: made once, read ever after.
pub use std::sync::OnceLock;

use crossbeam_utils::Backoff;

/// Lets another thread of the model run: a spin that does not yield would explore for ever.
pub fn pause(_backoff: &Backoff) {
    thread::yield_now();
}

use super::Site;
use std::cell::Cell;

thread_local! {
    // The model runs all its threads on one thread of the system.
    static WEAK: Cell<Option<Site>> = const { Cell::new(None) };
}

/// Runs `test` with the ordering at `site` weakened to Relaxed.
pub fn with_weak(site: Option<Site>, test: impl FnOnce()) {
    WEAK.set(site);
    test();
    WEAK.set(None);
}

/// The ordering of a store at `site`, unless the running test weakens it.
pub fn ordering(site: Site, strong: Ordering) -> Ordering {
    if WEAK.get() == Some(site) {
        Ordering::Relaxed
    } else {
        strong
    }
}
