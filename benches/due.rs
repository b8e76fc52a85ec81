//! What finding the connections that expired costs: the numbers of blocks (`table::due`) beside a timer
//! wheel of records, over the same million of hot lines.
//!
//! The wheel is as good as one can be made: a slot for every second of a day, so nothing cascades;
//! lists linked through two numbers per record, so a record leaves its slot at once; lazily
//! rescheduled, so a packet that prolongs its connection writes nothing (nor does it with blocks). Its
//! lists need a lock, for which nobody contends here; a sweep takes it once.
//!
//! `cargo bench --bench due`. One line is one minute: 60 sweeps, or all records once.

use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use ctoffload::clock::Time;
use ctoffload::table::due::{BLOCK, BLOCKS, Due};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const RECORDS: usize = 1 << 20;
const PER_DUE: usize = BLOCK * BLOCKS;
/// Milliseconds of a sweep's interval, which is a tick of both.
const TICK: u64 = 1 << 10;
/// Ticks of a minute, about.
const MINUTE: u64 = 60;
/// Of a day, about.
const DAY: u64 = 86_400;
const START: u64 = 1_000;

fn main() {
    for life in LIVES {
        let lines = lines();
        println!(
            "records looked at in a minute, {life:?}: blocks {}, wheel {}",
            minute(&mut prepared::<Blocks>(&lines, life), &lines)[0],
            minute(&mut prepared::<Wheel>(&lines, life), &lines)[0],
        );
    }
    let due = size_of::<Due>() * RECORDS / PER_DUE;
    let wheel = RECORDS * size_of::<Links>() + SLOTS * size_of::<u32>();
    println!("memory for {RECORDS} records: blocks {due} bytes, wheel {wheel} bytes");
    divan::main();
}

/// A hot line, of which only the expiry matters here; zero: no connection.
#[repr(align(64))]
#[derive(Default)]
struct Line(AtomicU64);

const fn at(tick: u64) -> u64 {
    tick * TICK
}

/// Pseudo-random numbers (splitmix64): the same in every run.
fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// What is known of the connections at the beginning of the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// All wait for a day: nothing expires, nothing comes up.
    Quiet,
    /// All were to expire within the minute, neighbours together, and have been prolonged by packets
    /// since: everything comes up once and nothing expires.
    Prolonged,
    /// Neighbours began together and expire together, a sixtieth of them in each second.
    Waves,
    /// Neighbours expire at any time of the minute: the worst for blocks.
    Scattered,
    /// One in a hundred expires within the minute, the others wait for a day.
    Few,
}

const LIVES: [Life; 5] = [
    Life::Quiet,
    Life::Prolonged,
    Life::Waves,
    Life::Scattered,
    Life::Few,
];

impl Life {
    /// When a record would expire by what the index was told, and when it does.
    fn expiry(self, record: usize) -> (u64, u64) {
        let dice = random(record as u64);
        let in_order = START + record as u64 * MINUTE / RECORDS as u64;
        let day = START + DAY;
        let known = match self {
            Life::Quiet => day,
            Life::Prolonged | Life::Waves => in_order,
            Life::Scattered => START + dice % MINUTE,
            Life::Few if dice.is_multiple_of(100) => START + (dice >> 32) % MINUTE,
            Life::Few => day,
        };
        let actual = if self == Life::Prolonged { day } else { known };
        (at(known), at(actual))
    }
}

/// An index of what expires when.
trait Index {
    fn new() -> Self;
    /// A record expires at this time, and did not before.
    fn insert(&mut self, record: usize, expiry: u64);
    /// A record expires earlier than it did.
    fn shorten(&mut self, record: usize, expiry: u64);
    /// Ends what expired. How many records were looked at, and how many ended.
    fn sweep(&mut self, lines: &[Line], now: u64) -> [usize; 2];
}

struct Blocks(Vec<Due>);

impl Index for Blocks {
    fn new() -> Blocks {
        Blocks((0..RECORDS / PER_DUE).map(|_| Due::new()).collect())
    }

    fn insert(&mut self, record: usize, expiry: u64) {
        self.0[record / PER_DUE].lower(record % PER_DUE, Time::from_millis(expiry));
    }

    fn shorten(&mut self, record: usize, expiry: u64) {
        self.insert(record, expiry);
    }

    fn sweep(&mut self, lines: &[Line], now: u64) -> [usize; 2] {
        let [mut looked_at, mut ended] = [0; 2];
        for (due, lines) in self.0.iter().zip(lines.chunks(PER_DUE)) {
            for (block, lines) in lines.chunks(BLOCK).enumerate() {
                if !due.claim(block, Time::from_millis(now), false) {
                    continue;
                }
                looked_at += BLOCK;
                let mut earliest = u64::MAX;
                for line in lines {
                    match line.0.load(Relaxed) {
                        0 => {}
                        expiry if expiry <= now => {
                            line.0.store(0, Relaxed);
                            ended += 1;
                        }
                        expiry => earliest = earliest.min(expiry),
                    }
                }
                if earliest != u64::MAX {
                    due.lower_block(block, Time::from_millis(earliest));
                }
            }
        }
        [looked_at, ended]
    }
}

/// Ticks that have a slot of their own: more than a day of them.
const SLOTS: usize = 1 << 17;
/// No record.
const NONE: u32 = u32::MAX;

/// A record's neighbours in its slot; the first one's `previous` is its slot with the high bit set.
struct Links {
    previous: u32,
    next: u32,
}

const HEAD: u32 = 1 << 31;

struct Wheel(Mutex<Slots>);

struct Slots {
    heads: Vec<u32>,
    links: Vec<Links>,
    /// The slots before this tick were swept.
    swept: u64,
}

impl Slots {
    fn push(&mut self, record: u32, expiry: u64) {
        let slot = (expiry / TICK) as usize % SLOTS;
        let next = std::mem::replace(&mut self.heads[slot], record);
        self.links[record as usize] = Links {
            previous: HEAD | slot as u32,
            next,
        };
        if next != NONE {
            self.links[next as usize].previous = record;
        }
    }

    fn unlink(&mut self, record: u32) {
        let Links { previous, next } = self.links[record as usize];
        if previous & HEAD == 0 {
            self.links[previous as usize].next = next;
        } else {
            self.heads[(previous & !HEAD) as usize] = next;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
    }
}

impl Wheel {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Index for Wheel {
    fn new() -> Wheel {
        let none = || Links {
            previous: NONE,
            next: NONE,
        };
        Wheel(Mutex::new(Slots {
            heads: vec![NONE; SLOTS],
            links: (0..RECORDS).map(|_| none()).collect(),
            swept: START,
        }))
    }

    fn insert(&mut self, record: usize, expiry: u64) {
        self.lock().push(record as u32, expiry);
    }

    fn shorten(&mut self, record: usize, expiry: u64) {
        let mut slots = self.lock();
        slots.unlink(record as u32);
        slots.push(record as u32, expiry);
    }

    fn sweep(&mut self, lines: &[Line], now: u64) -> [usize; 2] {
        let mut slots = self.lock();
        let [mut looked_at, mut ended] = [0; 2];
        while slots.swept < now / TICK {
            let slot = slots.swept as usize % SLOTS;
            let mut record = std::mem::replace(&mut slots.heads[slot], NONE);
            while record != NONE {
                looked_at += 1;
                let next = slots.links[record as usize].next;
                let line = &lines[record as usize];
                let expiry = line.0.load(Relaxed);
                if expiry <= now {
                    line.0.store(0, Relaxed);
                    ended += 1;
                } else {
                    slots.push(record, expiry);
                }
                record = next;
            }
            slots.swept += 1;
        }
        [looked_at, ended]
    }
}

fn lines() -> Vec<Line> {
    (0..RECORDS).map(|_| Line::default()).collect()
}

fn prepared<I: Index>(lines: &[Line], life: Life) -> I {
    let mut index = I::new();
    for (record, line) in lines.iter().enumerate() {
        let (known, actual) = life.expiry(record);
        line.0.store(actual, Relaxed);
        index.insert(record, known);
    }
    index
}

/// One sweep in each tick of a minute.
fn minute<I: Index>(index: &mut I, lines: &[Line]) -> [usize; 2] {
    let mut sum = [0; 2];
    for tick in START + 1..=START + MINUTE + 1 {
        let done = index.sweep(black_box(lines), at(tick));
        sum = std::array::from_fn(|i| sum[i] + done[i]);
    }
    sum
}

#[divan::bench(types = [Blocks, Wheel], args = LIVES, sample_count = 10, sample_size = 1)]
fn sweep<I: Index>(bencher: Bencher<'_, '_>, life: Life) {
    let lines = lines();
    bencher
        .with_inputs(|| prepared::<I>(&lines, life))
        .bench_local_values(|mut index| {
            let [_, ended] = minute(&mut index, &lines);
            let expected = match life {
                Life::Quiet | Life::Prolonged => 0..1,
                Life::Waves | Life::Scattered => RECORDS..RECORDS + 1,
                Life::Few => RECORDS / 110..RECORDS / 90,
            };
            assert!(expected.contains(&ended), "{ended} ended");
            index
        });
}

/// All records once, in the order in which the table gives them out.
#[divan::bench(types = [Blocks, Wheel], sample_count = 10, sample_size = 1)]
fn insert<I: Index>(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(RECORDS))
        .with_inputs(I::new)
        .bench_local_values(|mut index| {
            for record in 0..RECORDS {
                index.insert(record, at(START + 30));
            }
            index
        });
}

/// All records once, in any order: connections that close, and expire earlier than they did.
#[divan::bench(types = [Blocks, Wheel], sample_count = 10, sample_size = 1)]
fn shorten<I: Index>(bencher: Bencher<'_, '_>) {
    let lines = lines();
    let order: Vec<usize> = (0..RECORDS as u64)
        .map(|i| random(i) as usize % RECORDS)
        .collect();
    bencher
        .counter(ItemsCount::new(RECORDS))
        .with_inputs(|| prepared::<I>(&lines, Life::Quiet))
        .bench_local_values(|mut index| {
            for &record in &order {
                index.shorten(record, at(START + 30));
            }
            index
        });
}
