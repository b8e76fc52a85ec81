//! Instructions of the packet path, counted under valgrind: the same figure on every machine.
//!
//! A batch of 32 each; divide by 32 for a packet.

#[path = "../../support/traffic.rs"]
mod traffic;

use std::hint::black_box;

use ctoffload::engine::descriptor::Frame;
use ctoffload::engine::{Budget, Cursor, Engine};
use ctoffload::packet::tcp_flags;
use ctoffload::tuple::Direction;
use gungraun::{library_benchmark, library_benchmark_group, main};
use traffic::{BATCH, COMMIT, LOOK, START};

const CONNECTIONS: u32 = 1_024;

/// Longer than any timeout.
const EVER_MS: u64 = 10 * 24 * 3_600_000;

/// An engine with established connections, and a batch of packets of some of them.
fn established_batch() -> (Engine, Vec<Frame>) {
    let engine = traffic::established(CONNECTIONS);
    (
        engine,
        traffic::batch(BATCH as u32, Direction::Reply, tcp_flags::ACK),
    )
}

/// The same engine, and SYNs of connections that it does not have.
fn new_batch() -> (Engine, Vec<Frame>) {
    let engine = traffic::established(CONNECTIONS);
    (
        engine,
        traffic::batch(CONNECTIONS, Direction::Original, tcp_flags::SYN),
    )
}

#[library_benchmark]
#[bench::batch(setup = established_batch)]
fn established((engine, mut frames): (Engine, Vec<Frame>)) -> (Engine, Vec<Frame>) {
    engine.execute(black_box(&mut frames), &LOOK, START);
    (engine, frames)
}

#[library_benchmark]
#[bench::batch(setup = new_batch)]
fn miss((engine, mut frames): (Engine, Vec<Frame>)) -> (Engine, Vec<Frame>) {
    engine.execute(black_box(&mut frames), &LOOK, START);
    (engine, frames)
}

#[library_benchmark]
#[bench::batch(setup = new_batch)]
fn set_up((engine, mut frames): (Engine, Vec<Frame>)) -> (Engine, Vec<Frame>) {
    engine.execute(black_box(&mut frames), &COMMIT, START);
    (engine, frames)
}

#[library_benchmark]
#[bench::expired(args = [CONNECTIONS], setup = traffic::established)]
fn sweep(engine: Engine) -> Engine {
    black_box(engine.sweep(
        START.plus(EVER_MS),
        Budget {
            records: CONNECTIONS,
        },
    ));
    engine
}

#[library_benchmark]
#[bench::everything(args = [CONNECTIONS], setup = traffic::established)]
fn dump(engine: Engine) -> Engine {
    let mut cursor = Cursor::new(None);
    while let Some(connection) = engine.next(&mut cursor, START) {
        black_box(connection);
    }
    engine
}

library_benchmark_group!(
    name = packets,
    benchmarks = [established, miss, set_up, sweep, dump]
);
main!(library_benchmark_groups = packets);
