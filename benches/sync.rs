//! Times of our sequence lock beside those of the crate `seqlock`, for a value of two words: what a
//! batch pays to read the switches of its instance.
//!
//! `cargo bench --bench sync`.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ctoffload::sync::seqlock::{SeqLock, WORDS, Words};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

#[derive(Clone, Copy)]
struct Pair([u64; WORDS]);

impl Words for Pair {
    fn to_words(self) -> [u64; WORDS] {
        self.0
    }

    fn from_words(words: [u64; WORDS]) -> Pair {
        Pair(words)
    }
}

/// Both locks, by what they have in common.
trait Lock: Sync {
    fn new() -> Self;
    fn read(&self) -> Pair;
    fn write(&self, value: Pair);
}

struct Ours(SeqLock<Pair>);

impl Lock for Ours {
    fn new() -> Ours {
        Ours(SeqLock::new(Pair([0; WORDS])))
    }

    fn read(&self) -> Pair {
        self.0.read()
    }

    fn write(&self, value: Pair) {
        *self.0.lock_write() = value;
    }
}

struct Crate(seqlock::SeqLock<Pair>);

impl Lock for Crate {
    fn new() -> Crate {
        Crate(seqlock::SeqLock::new(Pair([0; WORDS])))
    }

    fn read(&self) -> Pair {
        self.0.read()
    }

    fn write(&self, value: Pair) {
        *self.0.lock_write() = value;
    }
}

#[divan::bench(types = [Ours, Crate])]
fn read<L: Lock>(bencher: Bencher<'_, '_>) {
    let lock = L::new();
    bencher.bench_local(|| black_box(&lock).read());
}

#[divan::bench(types = [Ours, Crate])]
fn write<L: Lock>(bencher: Bencher<'_, '_>) {
    let lock = L::new();
    bencher.bench_local(|| black_box(&lock).write(black_box(Pair([7; WORDS]))));
}

/// Reads while another thread writes, with so many nanoseconds between two of its writes.
#[divan::bench(types = [Ours, Crate], args = [0, 1_000, 1_000_000], min_time = 2)]
fn read_beside_a_writer<L: Lock>(bencher: Bencher<'_, '_>, pause: u64) {
    let lock = L::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                count += 1;
                lock.write(Pair([count; WORDS]));
                let began = Instant::now();
                while pause > 0 && began.elapsed() < Duration::from_nanos(pause) {
                    spin_loop();
                }
            }
        });
        while lock.read().0[0] == 0 {
            spin_loop();
        }
        bencher.bench_local(|| black_box(&lock).read());
        done.store(true, Ordering::Relaxed);
    });
}
