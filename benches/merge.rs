//! What merged flows save: a pipeline of three recirculations, each through a zone of its own, with the
//! cache and without, beside a single pass through the tracker.
//!
//! `cargo bench --bench merge`. The share of NEW packets (first packets of connections that nobody
//! answers, again and again) is that of Netronome's measurements: none, one in three, all. With the cache
//! every packet carries a trace, and the thread that forwards also merges, once in 32 batches.

#[path = "support/traffic.rs"]
mod traffic;

use ctoffload::datapath::{Datapath, Packet, Settings, parse};
use ctoffload::engine::Engine;
use ctoffload::engine::action::Action;
use ctoffload::engine::descriptor::{Frame, Metadata};
use ctoffload::merge::statistics::Count;
use ctoffload::merge::trace::Trace;
use ctoffload::packet::tcp_flags::{ACK, SYN};
use ctoffload::tuple::Direction;
use divan::Bencher;
use divan::counter::ItemsCount;
use traffic::{BATCH, COMMIT, LOOK, START};

const RULES: &str = "table=0,ip,in_port=1,actions=ct(zone=1,table=1)
    table=1,ct_state=+new,actions=ct(commit,zone=1),output:2
    table=1,ct_state=+est,actions=ct(zone=2,table=2)
    table=2,ct_state=+new,actions=ct(commit,zone=2),output:2
    table=2,ct_state=+est,actions=ct(zone=3,table=3)
    table=3,ct_state=+new,actions=ct(commit,zone=3),output:2
    table=3,ct_state=+est,actions=output:2";

/// Connections, and batches of their packets.
const CONNECTIONS: u32 = 1_024;
const BATCHES: usize = CONNECTIONS as usize / BATCH;
/// Where connections begin that nobody answers.
const NEW: u32 = 5_000_000;

fn main() {
    divan::main();
}

/// How many of three packets are NEW.
const SHARES: [u32; 3] = [0, 1, 3];

fn packets(new_of_three: u32) -> Vec<Vec<Frame>> {
    let frame = |number: u32| {
        let mut frame = if number % 3 < new_of_three {
            traffic::packet(NEW + number, Direction::Original, SYN)
        } else {
            traffic::packet(number, Direction::Original, ACK)
        };
        frame.in_port = 1;
        frame
    };
    let batch = |batch: u32| (batch * BATCH as u32..(batch + 1) * BATCH as u32).map(frame);
    (0..BATCHES as u32).map(|i| batch(i).collect()).collect()
}

/// Connections that are established in all three zones.
fn engine() -> Engine {
    let engine = traffic::established(CONNECTIONS);
    for zone in [2, 3] {
        let commit = Action { zone, ..COMMIT };
        for first in (0..CONNECTIONS).step_by(BATCH) {
            for (direction, flags) in [
                (Direction::Original, SYN),
                (Direction::Reply, SYN | ACK),
                (Direction::Original, ACK),
            ] {
                engine.execute(&mut traffic::batch(first, direction, flags), &commit, START);
            }
        }
    }
    engine
}

fn pipeline(bencher: Bencher<'_, '_>, new_of_three: u32, cache: bool) {
    let settings = Settings { cache, keep: false };
    let rules = parse(RULES).expect("rules");
    let mut datapath = Datapath::new(engine(), rules, settings).expect("memory");
    let packet = |frame: Frame| Packet {
        frame: Frame {
            trace: cache.then(|| Box::new(Trace::default())),
            ..frame
        },
        ..Packet::default()
    };
    let batches = packets(new_of_three).into_iter();
    let mut batches: Vec<Vec<Packet>> = batches
        .map(|frames| frames.into_iter().map(packet).collect())
        .collect();
    let mut run = |number: usize| {
        let batch = &mut batches[number % BATCHES];
        for packet in batch.iter_mut() {
            packet.frame.metadata = Metadata::default();
        }
        datapath.run(batch, START);
        if cache && number.is_multiple_of(32) {
            datapath
                .engine()
                .merge(usize::MAX, START)
                .expect("nobody looks");
        }
    };
    (0..4 * BATCHES).for_each(&mut run);
    let mut number = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        run(number);
        number += 1;
    });
    if cache && new_of_three == 0 {
        let engine = datapath.engine();
        let hits = engine.merge_count(Count::Hits).expect("enabled");
        assert!(
            hits > number as u64 * BATCH as u64 / 2,
            "the cache is not used"
        );
    }
}

#[divan::bench(args = SHARES)]
fn with_cache(bencher: Bencher<'_, '_>, new_of_three: u32) {
    pipeline(bencher, new_of_three, true);
}

#[divan::bench(args = SHARES)]
fn without_cache(bencher: Bencher<'_, '_>, new_of_three: u32) {
    pipeline(bencher, new_of_three, false);
}

/// The tracker alone: one pass through one zone, no rules.
#[divan::bench(args = SHARES)]
fn one_pass(bencher: Bencher<'_, '_>, new_of_three: u32) {
    let engine = engine();
    let mut batches = packets(new_of_three);
    for batch in &mut batches {
        engine.execute(batch, &COMMIT, START);
    }
    let mut number = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let batch = &mut batches[number % BATCHES];
        for frame in batch.iter_mut() {
            frame.metadata = Metadata::default();
        }
        engine.execute(batch, &LOOK, START);
        number += 1;
    });
}
