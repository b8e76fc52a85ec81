//! The primitives as the loom model checker has them.

pub use loom::cell::UnsafeCell as Shared;
pub use loom::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub use loom::sync::{Arc, Mutex, MutexGuard};
pub use loom::thread;
// Not modelled: made once, read ever after; counted references that nobody synchronises by.
pub use std::sync::{Arc as StdArc, OnceLock, Weak};

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

/// Whether the step at `site` is taken, unless the running test leaves it out.
pub fn takes_step(site: Site) -> bool {
    WEAK.get() != Some(site)
}

/// The number of executions in which `scenario` does harm (answers `true`), with the site weakened.
#[cfg(test)]
pub fn harms(weak: Option<Site>, scenario: fn() -> bool) -> usize {
    harms_bounded(weak, None, scenario)
}

/// [`harms`] with at most so many preemptions instead of those of the environment.
#[cfg(test)]
pub fn harms_bounded(
    weak: Option<Site>,
    preemptions: Option<usize>,
    scenario: fn() -> bool,
) -> usize {
    use std::sync::atomic::{AtomicUsize as Count, Ordering::Relaxed};

    let counts: std::sync::Arc<[Count; 2]> = std::sync::Arc::default();
    let [harmful, explored] = {
        let counts = counts.clone();
        with_weak(weak, || {
            let mut model = loom::model::Builder::new();
            // Inserts and sweeps are long for the model, but they end.
            model.max_branches = 100_000;
            model.preemption_bound = preemptions.or(model.preemption_bound);
            let counts = counts.clone();
            model.check(move || {
                counts[1].fetch_add(1, Relaxed);
                if scenario() {
                    counts[0].fetch_add(1, Relaxed);
                }
            });
        });
        [counts[0].load(Relaxed), counts[1].load(Relaxed)]
    };
    assert!(explored > 1, "a model of one execution shows nothing");
    harmful
}
