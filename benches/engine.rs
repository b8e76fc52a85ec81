//! Times of the engine through its Rust interface: established packets, set-up, sweep, dump.
//!
//! `cargo bench --bench engine`. The comparison with Open vSwitch, through the C interface and with
//! every care for caches and neighbours, is `make bench-ovs`; this one is for a quick look.

#[path = "support/traffic.rs"]
mod traffic;

use ctoffload::engine::action::Action;
use ctoffload::engine::descriptor::{Frame, Metadata};
use ctoffload::engine::events::Kind;
use ctoffload::engine::filter::{Filter, TupleFilter};
use ctoffload::engine::{Budget, Cursor, Engine};
use ctoffload::observe::Interest;
use ctoffload::packet::tcp_flags;
use ctoffload::tuple::Direction;
use divan::Bencher;
use divan::counter::ItemsCount;
use traffic::{BATCH, COMMIT, LOOK, START};

/// Sizes of the table.
const CONNECTIONS: [u32; 3] = [1_024, 102_400, 1_024_000];

/// Longer than any timeout.
const EVER_MS: u64 = 10 * 24 * 3_600_000;

fn main() {
    divan::main();
}

/// Batches of connections that lie far apart in the table.
fn scattered(connections: u32) -> Vec<Vec<Frame>> {
    let mut number = 0_u32;
    let mut draw = || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(number) * u64::from(connections)) >> 32) as u32
    };
    let mut batch = || {
        (0..BATCH)
            .map(|_| traffic::packet(draw(), Direction::Reply, tcp_flags::ACK))
            .collect()
    };
    (0..256).map(|_| batch()).collect()
}

/// Makes a batch forget its verdicts, as a datapath does between two receptions.
fn forget(frames: &mut [Frame]) {
    for frame in frames {
        frame.metadata = Metadata::default();
    }
}

#[divan::bench(args = CONNECTIONS)]
fn established(bencher: Bencher<'_, '_>, connections: u32) {
    let engine = traffic::established(connections);
    let mut batches = scattered(connections);
    let mut turn = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        turn = (turn + 1) % batches.len();
        let frames = &mut batches[turn];
        forget(frames);
        engine.execute(frames, &LOOK, START);
    });
}

/// Who listens to what happens to connections.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Nobody,
    /// Somebody who takes the events after each batch.
    Taken,
    /// Somebody who never does: all are lost but the first.
    Lost,
}

#[divan::bench(sample_count = 20, args = [Heard::Nobody, Heard::Taken, Heard::Lost])]
fn set_up(bencher: Bencher<'_, '_>, heard: Heard) {
    const ROUNDS: usize = 1_000;
    let all = Interest {
        kinds: Kind::ALL,
        zone: None,
    };
    bencher
        .counter(ItemsCount::new(ROUNDS * BATCH))
        .with_inputs(|| {
            let handshakes: Vec<_> = (0..ROUNDS)
                .map(|round| traffic::handshakes((round * BATCH) as u32))
                .collect();
            let engine = traffic::established(0);
            let listener = match heard {
                Heard::Nobody => None,
                Heard::Taken => engine.listen(all, 256).ok(),
                Heard::Lost => engine.listen(all, 2).ok(),
            };
            (engine, listener, handshakes)
        })
        .bench_local_refs(|(engine, listener, handshakes)| {
            for frames in handshakes.iter_mut().flatten() {
                engine.execute(frames, &COMMIT, START);
                if let (Heard::Taken, Some(listener)) = (heard, &listener) {
                    while let Some(event) = listener.next() {
                        divan::black_box(event);
                    }
                }
            }
        });
}

fn full_sweep(engine: &Engine, after_ms: u64) {
    let budget = Budget { records: 4_096 };
    while !engine.sweep(START.plus(after_ms), budget).complete {}
}

#[divan::bench(args = CONNECTIONS)]
fn sweep_with_nothing_due(bencher: Bencher<'_, '_>, connections: u32) {
    let engine = traffic::established(connections);
    bencher
        .counter(ItemsCount::new(connections))
        .bench_local(|| full_sweep(&engine, 1_000));
}

#[divan::bench(sample_count = 10)]
fn sweep_of_expired(bencher: Bencher<'_, '_>) {
    const EXPIRED: u32 = 102_400;
    bencher
        .counter(ItemsCount::new(EXPIRED))
        .with_inputs(|| traffic::established(EXPIRED))
        .bench_local_refs(|engine| full_sweep(engine, EVER_MS));
}

#[divan::bench(args = CONNECTIONS)]
fn dump(bencher: Bencher<'_, '_>, connections: u32) {
    let engine = traffic::established(connections);
    bencher
        .counter(ItemsCount::new(connections))
        .bench_local(|| {
            let mut cursor = Cursor::new(None);
            while let Some(connection) = engine.next(&mut cursor, START) {
                divan::black_box(connection);
            }
        });
}

/// A dump of the connections of one client, by all that there are: what passing over the others costs.
#[divan::bench(args = CONNECTIONS)]
fn dump_of_one_client(bencher: Bencher<'_, '_>, connections: u32) {
    let engine = traffic::established(connections);
    let first = engine
        .next(&mut Cursor::default(), START)
        .expect("it is not empty");
    let filter = Filter {
        original: TupleFilter {
            src: Some((first.original.src, u128::MAX)),
            sport: Some(first.original.sport),
            ..TupleFilter::default()
        },
        ..Filter::default()
    };
    bencher
        .counter(ItemsCount::new(connections))
        .bench_local(|| {
            let mut cursor = Cursor::new(None);
            while let Some(connection) = engine.next_matching(&mut cursor, &filter, START) {
                divan::black_box(connection);
            }
        });
}

/// What a filter names.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The zone: one connection of a thousand.
    Zone,
    /// The client's address: one connection.
    Source,
    /// The server's address, by the reply tuple: one connection of 251.
    ReplySource,
    /// The server's address within a zone: some four connections.
    ZoneAndDestination,
    /// A network that has one client, so that no address is named whole.
    Network,
}

/// Established connections, each in another zone than its neighbour.
fn in_zones(connections: u32, zones: u16) -> Engine {
    let engine = traffic::established(0);
    for number in 0..connections {
        let action = Action {
            zone: (number % u32::from(zones)) as u16,
            ..COMMIT
        };
        for (direction, flags) in [
            (Direction::Original, tcp_flags::SYN),
            (Direction::Reply, tcp_flags::SYN | tcp_flags::ACK),
            (Direction::Original, tcp_flags::ACK),
        ] {
            let mut frames = [traffic::packet(number, direction, flags)];
            engine.execute(&mut frames, &action, START);
        }
    }
    engine
}

/// A dump of few of a million connections, which lie in a thousand zones in turns.
#[divan::bench(args = [
    Named::Zone,
    Named::Source,
    Named::ReplySource,
    Named::ZoneAndDestination,
    Named::Network,
])]
fn dump_of_few_in_a_thousand_zones(bencher: Bencher<'_, '_>, named: Named) {
    const ZONES: u16 = 1_000;
    let engine = in_zones(1_024_000, ZONES);
    let zone = Some(ZONES / 2);
    let one = engine
        .next(&mut Cursor::new(zone), START)
        .expect("every zone has some");
    let whole = |address| Some((address, u128::MAX));
    let original = |original| Filter {
        original,
        ..Filter::default()
    };
    let part = TupleFilter::default();
    let filter = match named {
        Named::Zone => Filter {
            zone,
            ..Filter::default()
        },
        Named::Source => original(TupleFilter {
            src: whole(one.original.src),
            ..part
        }),
        Named::ReplySource => Filter {
            reply: TupleFilter {
                src: whole(one.reply.src),
                ..part
            },
            ..Filter::default()
        },
        Named::ZoneAndDestination => Filter {
            zone,
            ..original(TupleFilter {
                dst: whole(one.original.dst),
                ..part
            })
        },
        Named::Network => original(TupleFilter {
            src: Some((one.original.src, !1)),
            sport: Some(one.original.sport),
            ..part
        }),
    };
    bencher.bench_local(|| {
        let mut cursor = Cursor::new(None);
        while let Some(connection) = engine.next_matching(&mut cursor, &filter, START) {
            divan::black_box(connection);
        }
    });
}
