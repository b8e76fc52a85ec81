//! Which stripe of shared data a thread uses.
//!
//! Threads of a C program come and go and never tell the library. What threads would contend for
//! (counters, free records) is therefore kept [`STRIPES`] times, and a thread uses the stripe that it
//! was given the first time it came. Two threads may share one: everything striped stays correct then
//! and only costs more.

/// Number of stripes.
pub const STRIPES: usize = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// The stripe of the calling thread, below [`STRIPES`].
#[cfg(not(loom))]
#[inline]
pub fn current() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

/// Under the model all threads share a stripe, which is the case worth checking.
#[cfg(loom)]
pub fn current() -> usize {
    0
}
