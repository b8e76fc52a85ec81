//! A sequence lock: a small value that is read by every batch and written a few times a day.
//!
//! Readers never write to shared memory: they read a sequence number, the value, and the number
//! again, and take the value if the number was even and did not change. Here the value travels as words,
//! each an atomic, so a torn copy is merely stale bits that the sequence number throws away.
//!
//! The crate `seqlock` has the same interface, and is a package of the tests and benches only. It copies
//! the value with one plain (volatile) read while a writer may be storing it. That is a data race by
//! the language's rules, whatever the processor makes of it:
//!
//! ```text
//! $ MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib -- --ignored the_crate_of_this_name
//! error: Undefined Behavior: Data race detected between (1) retag write on thread `unnamed-7` and
//! (2) non-atomic read on thread `unnamed-8`
//!     0: seqlock::SeqLock::<sync::seqlock::tests::Pair>::read
//! ```
//!
//! (on each of four seeds; the same test passes with the lock of this file), and it brings a mutex crate of
//! its own. Nothing is given up for that: `cargo bench --bench sync`, fastest and median in nanoseconds on
//! a busy virtual machine of two cores,
//!
//! ```text
//!                                       this file         the crate
//! read                                  0.79   0.80       0.80   0.82
//! read, a writer at full speed          0.76   0.81       0.75   0.81
//! read, a write each microsecond        0.73   0.82       0.77   0.83
//! read, a write each millisecond        0.72   0.79       0.77   0.83
//! write                                 13.2   13.2       12.9   12.9
//! ```
//!
//! (the writer's thread and the reader's share the cores with others, so a read seldom meets a write).
//!
//! Orderings:
//! * writer: `sequence` odd (Relaxed), fence (Release), words (Relaxed), `sequence` even (Release);
//! * reader: `sequence` (Acquire), words (Relaxed), fence (Acquire), `sequence` (Relaxed).
//!
//! A reader that sees a word of a write in progress has, by the two fences, also the odd number in
//! its past, so its second look differs from its first. A reader whose first look gives the even
//! number of a finished write has, by its Acquire, all words of that write.

use std::ops::{Deref, DerefMut};

use crossbeam_utils::Backoff;

use super::{
    AtomicU64, Mutex, MutexGuard, Ordering, Site, fence, lock, ordering, pause, takes_step,
};

/// Words that a value may have.
pub const WORDS: usize = 2;

/// A value that travels as words.
pub trait Words: Copy {
    /// The value as words.
    fn to_words(self) -> [u64; WORDS];
    /// The value of these words; called only with what [`Words::to_words`] gave.
    fn from_words(words: [u64; WORDS]) -> Self;
}

/// A value behind a sequence lock.
pub struct SeqLock<T> {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
    writer: Mutex<T>,
}

impl<T: Words> SeqLock<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> SeqLock<T> {
        SeqLock {
            sequence: AtomicU64::new(0),
            words: value.to_words().map(AtomicU64::new),
            writer: Mutex::new(value),
        }
    }

    /// The value; waits while a writer is at work.
    #[inline]
    pub fn read(&self) -> T {
        let backoff = Backoff::new();
        loop {
            if let Some(value) = self.try_read() {
                return value;
            }
            pause(&backoff);
        }
    }

    /// The value, unless a writer is at work.
    #[inline]
    pub fn try_read(&self) -> Option<T> {
        // Acquire: pairs with the Release store in `SeqLockGuard::drop`.
        let before = self.sequence.load(Ordering::Acquire);
        let words = std::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        // Acquire: pairs with the Release fence in `SeqLockGuard::drop`.
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then(|| T::from_words(words))
    }

    /// The right to change the value, which is published when the guard is dropped.
    pub fn lock_write(&self) -> SeqLockGuard<'_, T> {
        SeqLockGuard {
            lock: self,
            value: lock(&self.writer),
        }
    }
}

/// The right to change a value.
pub struct SeqLockGuard<'a, T: Words> {
    lock: &'a SeqLock<T>,
    value: MutexGuard<'a, T>,
}

impl<T: Words> Deref for SeqLockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Words> DerefMut for SeqLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Words> Drop for SeqLockGuard<'_, T> {
    fn drop(&mut self) {
        // Only the holder of the mutex writes the sequence, so a Relaxed read is its own last value.
        let sequence = self.lock.sequence.load(Ordering::Relaxed);
        self.lock.sequence.store(sequence + 1, Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `try_read`.
        if takes_step(Site::SequenceBegun) {
            fence(Ordering::Release);
        }
        for (word, value) in self.lock.words.iter().zip(self.value.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the Acquire load in `try_read`.
        let release = ordering(Site::SequenceDone, Ordering::Release);
        self.lock.sequence.store(sequence + 2, release);
    }
}

#[cfg(test)]
mod tests {
    use super::{SeqLock, WORDS, Words};

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Pair(u64, u64);

    impl Words for Pair {
        fn to_words(self) -> [u64; WORDS] {
            [self.0, self.1]
        }
        fn from_words(words: [u64; WORDS]) -> Pair {
            Pair(words[0], words[1])
        }
    }

    /// Two threads count both halves up together while two others read them.
    #[cfg(not(loom))]
    fn writers_beside_readers(count_up: impl Fn() + Sync, read: impl Fn() -> Pair + Sync) {
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..rounds).for_each(|_| count_up()));
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 2 * rounds {
                        let Pair(a, b) = read();
                        assert_eq!(a, b, "torn");
                        assert!(a >= last, "back in time");
                        last = a;
                    }
                });
            }
        });
    }

    #[cfg(not(loom))]
    #[test]
    fn a_read_beside_writers_is_never_torn() {
        let lock = SeqLock::new(Pair(0, 0));
        let count_up = || {
            let mut value = lock.lock_write();
            value.0 += 1;
            value.1 += 1;
        };
        writers_beside_readers(count_up, || lock.read());
    }

    /// The command that shows it:
    /// `cargo +nightly miri test --lib -- --ignored the_crate_of_this_name`.
    #[cfg(not(loom))]
    #[test]
    #[ignore = "the crate races by the language's rules: Miri ends with \"Undefined Behavior\""]
    fn the_crate_of_this_name_reads_beside_writers() {
        let lock = seqlock::SeqLock::new(Pair(0, 0));
        let count_up = || {
            let mut value = lock.lock_write();
            value.0 += 1;
            value.1 += 1;
        };
        writers_beside_readers(count_up, || lock.read());
    }

    /// Does a read ever mix two values?
    #[cfg(loom)]
    fn torn() -> bool {
        use crate::sync::{Arc, thread};

        let lock = Arc::new(SeqLock::new(Pair(0, 0)));
        let reader = lock.clone();
        let thread = thread::spawn(move || reader.try_read().is_some_and(|Pair(a, b)| a != b));
        *lock.lock_write() = Pair(1, 1);
        let torn = thread.join().expect("the reader does not panic");
        torn || lock.try_read() != Some(Pair(1, 1))
    }

    #[cfg(loom)]
    #[test]
    fn loom_a_read_is_never_torn() {
        assert_eq!(crate::sync::harms(None, torn), 0);
    }

    #[cfg(loom)]
    #[test]
    fn loom_a_sequence_lock_without_its_fence_or_its_release_gives_torn_values() {
        use crate::sync::{Site, harms};

        assert_ne!(harms(Some(Site::SequenceBegun), torn), 0);
        assert_ne!(harms(Some(Site::SequenceDone), torn), 0);
    }
}
