//! The only door to atomics, locks and threads.
//!
//! Every other module takes its primitives from here, so that one switch (`--cfg loom`) puts the
//! loom model checker under all of them. `native` and `model` are the two sides of the switch;
//! `seqlock`, `spin`, `snapshot`, `shelf`, `counter`, `queue`, `stash` and `stripe` are what the engine builds
//! from them, and `line` and `array` are what it needs to know of cache lines and pages; `inside` is what a thread knows of
//! itself, and `processor` what there is to run on; `notes` is where the stages of a batch
//! leave something for each other.
//!
//! What the model cannot see, and therefore must not be relied on without another proof:
//! * load buffering (a load that takes its value from a store after it in program order);
//! * the difference between `SeqCst` and `AcqRel` on loads and stores (fences are modelled);
//! * memory that is not made of its own types: under the model, records and buckets are boxed, not
//!   mapped;
//! * [`snapshot`]: arc-swap works on raw atomics of its own, so the model runs a mutex in its place;
//! * `stripe`: thread-locals of the model are per execution, and every thread gets stripe zero.

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod native;

pub mod array;
pub mod counter;
pub mod inside;
pub mod line;
pub mod notes;
pub mod processor;
pub mod queue;
pub mod seqlock;
pub mod shelf;
pub mod snapshot;
pub mod spin;
pub mod stash;
pub mod stripe;

#[cfg(loom)]
pub use model::{
    Arc, AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Mutex,
    MutexGuard, OnceLock, Ordering, Shared, StdArc, Weak, fence, pause, thread,
};
#[cfg(not(loom))]
pub use native::{
    Arc, AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Mutex,
    MutexGuard, OnceLock, Ordering, Shared, StdArc, Weak, fence, pause, thread,
};

/// A place where an ordering is needed, so that a model can show what happens without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A record is given back by whoever had it locked.
    RecordUnlock,
    /// A record is about to be filled for its next life.
    FillFence,
    /// A record was read without its lock, and its word is looked at again.
    ViewFence,
    /// A bucket's tag says that a slot has a connection.
    TagSet,
    /// A block's due time is lowered.
    DueLower,
    /// A look-up that found nothing looks whether its bucket was split meanwhile.
    SearchAgain,
    /// A sequence lock's value was written.
    SequenceDone,
    /// A sequence lock's value is about to be written.
    SequenceBegun,
    /// A queue's slot was written.
    QueuePut,
    /// A queue's slot was read.
    QueueTake,
    /// A thread has announced itself at a gate, or shut it, and now looks for the other.
    GateFence,
    /// A thread leaves a gate.
    GateLeave,
    /// Whoever completes an add looks whether the connection is still there.
    AddCompleted,
    /// A reply is noted in the record before the provider is asked about it.
    AskOnce,
    /// Whoever has the turn with a connection looks once more for what is owed before giving it back.
    TurnEnd,
    /// A visitor has announced itself, or something was taken off a shelf, and each now looks for the
    /// other.
    ShelfFence,
    /// A visitor leaves a shelf.
    ShelfLeave,
}

/// The ordering of a store at `site`. A constant in every build but that of the model, whose tests may
/// weaken one site at a time and then expect to see the harm.
#[cfg(not(loom))]
#[inline(always)]
pub const fn ordering(_site: Site, strong: Ordering) -> Ordering {
    strong
}

/// Whether the step at `site` is taken: always, but in a model whose test wants to see the harm.
#[cfg(not(loom))]
#[inline(always)]
pub const fn takes_step(_site: Site) -> bool {
    true
}

#[cfg(loom)]
pub use model::{ordering, takes_step, with_weak};

#[cfg(all(loom, test))]
pub use model::{harms, harms_bounded};

/// Locks a mutex. A panic of another holder does not make the data bad: every critical section of
/// this crate leaves it consistent at each step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
