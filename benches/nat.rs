//! What choosing a port costs, by how full the range is.
//!
//! The range is one address with the 64,512 ports from 1024. The table behind it is a plain array,
//! so the figures are those of the search alone; each question to a real table adds what a miss or
//! hit costs there. `questions` prints how many are asked.
//!
//! `failed_attempt_...` are the whole tracker instead: a packet that finds all 64,512 ports taken by
//! living connections, from its bytes to its verdict.
//!
//! Run: `cargo bench --bench nat`.

use std::cell::Cell;

use ctoffload::clock::Time;
use ctoffload::engine::Engine;
use ctoffload::engine::action::Action;
use ctoffload::engine::config::Config;
use ctoffload::engine::descriptor::{Frame, Metadata};
use ctoffload::engine::statistics::Counter;
use ctoffload::nat::{Allocator, Nat, NatRange, NatSelection, Occupancy, Outcome, Request};
use ctoffload::packet::{Checksum, Family, proto};
use ctoffload::tuple::hash::Secret;
use ctoffload::tuple::{QueryKind, Tuple};
use divan::Bencher;
use divan::counter::ItemsCount;

const PUBLIC: u128 = 0xc000_0200;
const FIRST: u16 = 1024;
const PORTS: usize = 64_512;
const FILLS: [u32; 5] = [10, 50, 90, 99, 100];

fn main() {
    for fill in FILLS {
        let (mut range, mut total, mut most) = (Range::new(fill, 1 << 20), 0, 0);
        range.settle();
        for _ in 0..10_000 {
            range.truth.asked.set(0);
            let _ = range.choose();
            total += range.truth.asked.get();
            most = most.max(range.truth.asked.get());
        }
        println!(
            "{fill:3} % full: {:.1} questions, at most {most}",
            f64::from(total) / 10_000.0
        );
    }
    divan::main();
}

/// Which ports are taken.
struct Truth {
    taken: Vec<bool>,
    asked: Cell<u32>,
}

impl Occupancy for Truth {
    fn occupied(&self, tuple: &Tuple) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.taken[usize::from(tuple.dport - FIRST)]
    }
}

/// A range of which so many per cent are taken, at random places.
struct Range {
    allocator: Allocator,
    truth: Truth,
    random: u64,
}

impl Range {
    fn new(fill: u32, max_bytes: usize) -> Range {
        let truth = Truth {
            taken: vec![false; PORTS],
            asked: Cell::new(0),
        };
        let allocator = Allocator::new(Secret::new([7; 8]), max_bytes);
        let mut range = Range {
            allocator,
            truth,
            random: 88_172_645_463_325_252,
        };
        let mut left = PORTS * fill as usize / 100;
        while left > 0 {
            let port = range.next_random() as usize % PORTS;
            let free = (port..PORTS)
                .chain(0..port)
                .find(|p| !range.truth.taken[*p]);
            range.truth.taken[free.expect("fewer are taken than there are")] = true;
            left -= 1;
        }
        range
    }

    /// Searches until the range is known as well as traffic makes it known.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            let _ = self.choose();
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn choose(&mut self) -> Outcome {
        let random = self.next_random();
        let original = original((random >> 32) as u32);
        let nat = Nat {
            source: Some(NatRange {
                ports: Some((FIRST, u16::MAX)),
                ..NatRange::address(PUBLIC)
            }),
            selection: NatSelection::Hash,
            ..Nat::default()
        };
        let request = Request {
            original: &original,
            nat: &nat,
            epoch: 0,
            random,
        };
        self.allocator.choose(&request, &self.truth)
    }
}

fn original(client: u32) -> Tuple {
    Tuple {
        src: u128::from(client),
        dst: 0x0b00_0001,
        sport: 5000,
        dport: 443,
        zone: 1,
        proto: proto::TCP,
        family: Family::V4,
        query: QueryKind::None,
        question: true,
    }
}

/// One search in a range that has been at this fill for a while.
#[divan::bench(args = FILLS)]
fn choose(bencher: Bencher, fill: u32) {
    let mut range = Range::new(fill, 1 << 20);
    range.settle();
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| range.choose());
}

/// The same without memory for a bitmap: the worst case is `PROBES` questions.
#[divan::bench(args = FILLS)]
fn choose_without_bitmap(bencher: Bencher, fill: u32) {
    let mut range = Range::new(fill, 0);
    bencher.bench_local(|| range.choose());
}

/// The first search in a range that filled up before anybody watched: the longest stall.
#[divan::bench]
fn first_search_in_a_full_range(bencher: Bencher) {
    bencher
        .with_inputs(|| Range::new(100, 1 << 20))
        .bench_local_refs(Range::choose);
}

/// What a connection that ends pays while no range is dense.
#[divan::bench]
fn an_end_while_nothing_is_dense(bencher: Bencher) {
    let range = Range::new(10, 1 << 20);
    let tuple = original(1);
    bencher.bench_local(|| {
        range
            .allocator
            .went(&tuple, &tuple.reversed(), &range.truth)
    });
}

/// What it pays when the range it belongs to is dense.
#[divan::bench]
fn an_end_in_a_dense_range(bencher: Bencher) {
    let mut range = Range::new(99, 1 << 20);
    range.settle();
    let tuple = original(1);
    let reply = Tuple {
        dst: PUBLIC,
        dport: 2000,
        ..tuple.reversed()
    };
    bencher.bench_local(|| {
        range
            .allocator
            .went(&reply.reversed(), &reply, &range.truth)
    });
}

/// A tracker in which every port of the public address is taken towards one server.
struct Exhausted {
    engine: Engine,
    action: Action,
}

impl Exhausted {
    fn new() -> Exhausted {
        let engine = Engine::new(&Config::default()).expect("defaults are valid");
        let action = Action {
            commit: true,
            nat: Some(Nat {
                source: Some(NatRange {
                    ports: Some((FIRST, u16::MAX)),
                    ..NatRange::address(PUBLIC)
                }),
                ..Nat::default()
            }),
            ..Action::default()
        };
        for client in 0..PORTS as u32 {
            engine.execute(&mut [datagram(client)], &action, Time::from_millis(0));
        }
        assert_eq!(engine.connections() as usize, PORTS);
        Exhausted { engine, action }
    }

    /// New connections that cannot be.
    fn refuse(&self, frames: &mut [Frame]) {
        for frame in frames.iter_mut() {
            frame.metadata = Metadata::default();
        }
        self.engine
            .execute(frames, &self.action, Time::from_millis(0));
    }
}

/// A datagram of 10.x.x.x:5000 to 11.0.0.1:443, without a checksum.
fn datagram(client: u32) -> Frame {
    let mut bytes = vec![0x45, 0, 0, 36, 0, 1, 0x40, 0, 64, proto::UDP, 0, 0];
    bytes.extend((0x0a00_0000 + client).to_be_bytes());
    bytes.extend([11, 0, 0, 1]);
    bytes.extend(5000_u16.to_be_bytes());
    bytes.extend(443_u16.to_be_bytes());
    bytes.extend([0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut frame = Frame::ip(bytes);
    frame.hints.ip_checksum = Checksum::Good;
    frame
}

/// What a packet costs that finds its NAT range full, so many in a batch.
#[divan::bench(args = [1, 32])]
fn failed_attempt_through_the_engine(bencher: Bencher, batch: usize) {
    let full = Exhausted::new();
    let late = PORTS as u32;
    let mut frames: Vec<Frame> = (late..late + 4096).map(datagram).collect();
    let mut next = 0;
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        next = (next + batch) % frames.len();
        full.refuse(&mut frames[next..next + batch]);
    });
    let failed = full.engine.counter(Counter::NatExhausted);
    assert!(failed > 0 && full.engine.connections() as usize == PORTS);
    assert_eq!(full.engine.counter(Counter::NatUnsettled), 0);
}
