//! What offload costs: connections with and without a provider, and the fast path of a flow table
//! beside the tracker.
//!
//! `cargo bench --bench offload`.

#[path = "support/traffic.rs"]
mod traffic;

use ctoffload::engine::descriptor::{Frame, Metadata};
use ctoffload::engine::{Engine, Flush};
use ctoffload::offload::dummy::Dummy;
use ctoffload::offload::provider::{Delivery, Preferences};
use ctoffload::packet::tcp_flags;
use ctoffload::tuple::Direction;
use divan::Bencher;
use divan::counter::ItemsCount;
use traffic::{BATCH, COMMIT, LOOK, START};

fn main() {
    divan::main();
}

/// Who is told of connections.
#[derive(Clone, Copy, Debug)]
enum Told {
    Nobody,
    /// The dummy provider, on the packet thread.
    Inline,
    /// The dummy provider, by a worker that this thread runs after each batch.
    Queued,
}

fn engine(told: Told) -> Engine {
    let engine = traffic::established(1_024);
    let delivery = match told {
        Told::Nobody => return engine,
        Told::Inline => Delivery::Inline,
        Told::Queued => Delivery::Queued,
    };
    let dummy = Dummy::new(Preferences {
        delivery,
        ..Preferences::default()
    });
    engine
        .register_provider(Box::new(dummy), START)
        .expect("the first one");
    engine
}

/// A batch of first packets, and the flush of their connections.
#[divan::bench(args = [Told::Nobody, Told::Inline, Told::Queued])]
fn life(bencher: Bencher<'_, '_>, told: Told) {
    let engine = engine(told);
    let mut frames: Vec<Frame> = (0..BATCH)
        .map(|i| traffic::packet(2_000_000 + i as u32, Direction::Original, tcp_flags::SYN))
        .collect();
    let tuples: Vec<_> = {
        engine.execute(&mut frames, &COMMIT, START);
        frames
            .iter()
            .map(|frame| frame.metadata.connection)
            .map(|id| engine.connection(id, START).expect("stored").original)
            .collect()
    };
    for tuple in &tuples {
        engine.flush(Flush::Tuple(*tuple), START).expect("exists");
    }
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for frame in &mut frames {
            frame.metadata = Metadata::default();
        }
        engine.execute(&mut frames, &COMMIT, START);
        if matches!(told, Told::Queued) {
            engine.work(0, 1, usize::MAX);
        }
        for tuple in &tuples {
            engine.flush(Flush::Tuple(*tuple), START).expect("exists");
        }
        if matches!(told, Told::Queued) {
            engine.work(0, 1, usize::MAX);
        }
    });
}

/// What an established packet goes through.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The tracker alone.
    Tracker,
    /// The tracker, while an inline provider has the connection.
    Held,
    /// The flow table.
    FlowTable,
}

#[divan::bench(args = [Way::Tracker, Way::Held, Way::FlowTable])]
fn established(bencher: Bencher<'_, '_>, way: Way) {
    let engine = engine(match way {
        Way::Held => Told::Inline,
        Way::Tracker | Way::FlowTable => Told::Nobody,
    });
    let table = matches!(way, Way::FlowTable).then(|| engine.flow_table_get(LOOK.zone));
    let mut frames: Vec<Frame> = (0..BATCH)
        .map(|i| traffic::packet(i as u32 * 30, Direction::Reply, tcp_flags::ACK))
        .collect();
    // Whoever wants the connections takes them.
    for _ in 0..2 {
        for frame in &mut frames {
            frame.metadata = Metadata::default();
        }
        engine.execute(&mut frames, &LOOK, START);
    }
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for frame in &mut frames {
            frame.metadata = Metadata::default();
        }
        match &table {
            Some(table) => {
                let hits = engine.flow_lookup(table, &mut frames, START, &mut |_| {});
                assert_eq!(hits, BATCH);
            }
            None => engine.execute(&mut frames, &LOOK, START),
        }
    });
}
