//! Who lives on because hardware carries its packets, and who does not.

use super::{LOOK, answer_udp, at, engine, open_tcp, open_udp, send, with_dummy};
use crate::engine::descriptor::ConnectionId;
use crate::engine::{Budget, Engine};
use crate::offload::provider::{Delivery, Delta, OfferAt, Preferences};
use crate::offload::sim::{Behaviour, Sim};
use crate::offload::statistics::Count;
use crate::packet::tcp_flags::{ACK, FIN};
use crate::tests::packets::Segment;
use crate::tuple::Direction;

fn sweep(engine: &Engine, now: u64) {
    while !engine.sweep(at(now), Budget { records: 65_536 }).complete {}
}

fn lives(engine: &Engine, id: ConnectionId) -> bool {
    engine.offload_standing(id).is_some()
}

fn with_sim(behaviour: Behaviour) -> (Engine, Sim) {
    let engine = engine();
    let sim = Sim::new(behaviour);
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("the first one");
    (engine, sim)
}

fn at_once() -> Behaviour {
    Behaviour {
        latency: 0,
        preferences: Preferences {
            offer_at: OfferAt::Commit,
            delivery: Delivery::Inline,
            ..Preferences::default()
        },
        ..Behaviour::default()
    }
}

const ONE: Delta = Delta {
    packets: 1,
    bytes: 100,
};

#[test]
fn a_use_extends_by_the_connections_own_timeout_from_that_use() {
    let (engine, sim) = with_sim(at_once());
    let id = open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    // An answered UDP connection waits 30 seconds.
    sim.run_until(at(20_000));
    assert!(sim.carry(id, Direction::Original, ONE));
    sweep(&engine, 40_000);
    let listed = engine.connection(id, at(40_000)).expect("extended");
    assert_eq!(listed.remaining, 10_000);
    sweep(&engine, 52_000);
    assert!(!lives(&engine, id));
    assert_eq!(sim.counts().deleted, 1);
}

#[test]
fn a_use_too_long_ago_extends_nothing() {
    let (engine, sim) = with_sim(at_once());
    let id = open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    sim.run_until(at(1_000));
    sim.carry(id, Direction::Original, ONE);
    sweep(&engine, 35_000);
    assert!(!lives(&engine, id));
}

#[test]
fn nobody_knows_of_a_use_and_it_expires() {
    let (engine, sim) = with_sim(at_once());
    let id = open_udp(&engine, 5, 0);
    sweep(&engine, 62_000);
    assert!(!lives(&engine, id));
    assert_eq!(
        (
            sim.counts().added,
            sim.counts().deleted,
            sim.counts().strange
        ),
        (1, 1, 0)
    );
}

#[test]
fn a_held_connection_is_found_until_the_sweep_has_asked() {
    let (engine, sim) = with_sim(at_once());
    let id = open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    sim.run_until(at(29_000));
    sim.carry(id, Direction::Original, ONE);
    let late = answer_udp(&engine, 5, 45_000);
    assert_eq!(late.metadata.connection, id);
    assert_eq!(
        engine.connection(id, at(45_000)).expect("found").remaining,
        30_000
    );
}

#[test]
fn a_use_in_the_future_counts_as_now() {
    let (engine, _sim) = with_sim(Behaviour {
        lying: 255,
        ..at_once()
    });
    let id = open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    sweep(&engine, 40_000);
    // The chance to lie is 255 of 256.
    let listed = engine.connection(id, at(40_000)).expect("extended");
    assert_eq!(listed.remaining, 30_000);
}

#[test]
fn a_provider_that_always_says_now_cannot_keep_a_closed_connection() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let id = open_tcp(&engine, 7, 0);
    for (from, to, sport, dport, seq, ack) in [(1, 2, 7, 80, 101, 501), (2, 1, 80, 7, 501, 102)] {
        let fin = Segment::v4(from, sport, to, dport, FIN | ACK).numbers(seq, ack);
        send(&engine, fin.bytes(), &LOOK, 1_000);
    }
    assert_eq!(dummy.counts().deleted, 1);
    sweep(&engine, 100_000);
    assert!(!lives(&engine, id));
}

#[test]
fn what_hardware_carried_is_counted_once_in_each_direction() {
    let (engine, sim) = with_sim(at_once());
    let id = open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    let counters = |now| {
        engine
            .connection(id, at(now))
            .expect("lives")
            .counters
            .expect("counted")
    };
    let before = counters(1);
    sim.run_until(at(2_000));
    sim.carry(
        id,
        Direction::Original,
        Delta {
            packets: 3,
            bytes: 300,
        },
    );
    sim.carry(
        id,
        Direction::Reply,
        Delta {
            packets: 5,
            bytes: 700,
        },
    );
    assert_eq!(engine.refresh_offload(at(3_000)), 1);
    assert_eq!(engine.refresh_offload(at(4_000)), 1);
    let after = counters(5);
    assert_eq!(after[0].packets - before[0].packets, 3);
    assert_eq!(after[0].bytes - before[0].bytes, 300);
    assert_eq!(after[1].packets - before[1].packets, 5);
    assert_eq!(after[1].bytes - before[1].bytes, 700);
    // What came since the last report comes with the delete.
    sim.carry(id, Direction::Reply, ONE);
    engine
        .unregister_provider("sim", at(5_000))
        .expect("registered");
    assert_eq!(counters(6)[1].packets - before[1].packets, 6);
}

#[test]
fn the_delete_of_a_connection_that_ended_still_brings_its_counts() {
    let (engine, sim) = with_sim(at_once());
    let id = open_udp(&engine, 5, 0);
    sim.carry(
        id,
        Direction::Original,
        Delta {
            packets: 9,
            bytes: 900,
        },
    );
    engine
        .flush(crate::engine::Flush::All, at(1))
        .expect("flushes");
    assert_eq!(
        engine.provider_count("sim", Count::PacketsOriginal),
        Some(9)
    );
    assert_eq!(
        engine.provider_count("sim", Count::BytesOriginal),
        Some(900)
    );
    assert_eq!(
        engine.counter(crate::engine::statistics::Counter::Offloaded),
        9
    );
}

#[test]
fn the_latest_use_that_any_provider_knows_counts() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let sim = Sim::new(at_once());
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("another name");
    let id = open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    // The simulated device saw nothing, the dummy says now.
    sweep(&engine, 40_000);
    assert_eq!(
        engine.connection(id, at(40_000)).expect("lives").remaining,
        30_000
    );
    assert_eq!(dummy.counts().updated, 1);
}

#[test]
fn expired_connections_are_asked_about_in_one_batch() {
    use crate::offload::provider::{
        Context, Operation, OperationKind, OperationResult, Provider, Refusal, Report, Taken,
    };
    use crate::sync::{Arc, Mutex, lock};
    struct Batched(Arc<Mutex<Vec<Vec<OperationKind>>>>);
    impl Provider for Batched {
        fn name(&self) -> &str {
            "batched"
        }
        fn preferences(&self) -> Preferences {
            Preferences::default()
        }
        fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
            unreachable!("batches are used where there are any");
        }
        fn conn_del(&self, _context: &Context) -> Report {
            unreachable!("batches are used where there are any");
        }
        fn batch_submit(&self, operations: &mut [Operation]) {
            lock(&self.0).push(operations.iter().map(|o| o.kind).collect());
            for operation in operations {
                operation.result = OperationResult::Done;
            }
        }
    }
    let engine = engine();
    let batches = Arc::default();
    engine
        .register_provider(Box::new(Batched(Arc::clone(&batches))), at(0))
        .expect("registers");
    let mut frames: Vec<_> = (1..11)
        .map(|port| {
            use crate::tests::packets::{Ip, udp};
            crate::engine::descriptor::Frame::ip(udp(Ip::v4(1), port, Ip::v4(2), 53, b"?"))
        })
        .collect();
    engine.execute(&mut frames, &super::COMMIT, at(0));
    sweep(&engine, 100_000);
    let kinds = [
        OperationKind::Policy,
        OperationKind::Add,
        OperationKind::Update,
        OperationKind::Delete,
    ];
    assert_eq!(*lock(&batches), kinds.map(|kind| vec![kind; 10]));
    assert_eq!(engine.connections(), 0);
}
