//! Everything at once: packets, workers, a registry that flaps, flushes, expiry, a device that lies,
//! loses and reorders. At the end nothing may be left, and every packet must have been counted once.
//!
//! `CTOFFLOAD_STRESS_BATCHES` sets how many batches each packet thread sends.

use super::{COMMIT, LOOK, at, engine};
use crate::engine::descriptor::{ConnectionId, Frame};
use crate::engine::statistics::Counter;
use crate::engine::{Budget, Engine, Flush};
use crate::offload::dummy::Dummy;
use crate::offload::provider::{Delivery, Delta, OfferAt, Preferences};
use crate::offload::sim::{Behaviour, Sim};
use crate::offload::statistics::Count;
use crate::packet::tcp_flags::{ACK, FIN, SYN};
use crate::sync::{AtomicBool, AtomicU64, Ordering, thread};
use crate::tests::packets::{Ip, Segment, udp};
use crate::tuple::Direction;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn packet(random: &mut Random, thread: u8) -> Vec<u8> {
    let port = random.below(200) as u16 + 1;
    let (from, to) = (Ip::v4(10 + thread), Ip::v4(2));
    match random.below(8) {
        0..=2 => udp(from, port, to, 53, b"?"),
        3..=4 => udp(to, 53, from, port, b"!"),
        kind => {
            let (flags, original) = match kind {
                5 => (SYN, true),
                6 => (SYN | ACK, false),
                _ if random.below(16) == 0 => (FIN | ACK, random.below(2) == 0),
                _ => (ACK, random.below(2) == 0),
            };
            if original {
                let ack = if flags == SYN { 0 } else { 501 };
                let seq = if flags == SYN { 100 } else { 101 };
                Segment::v4(10 + thread, port, 2, 80, flags).numbers(seq, ack)
            } else {
                let seq = if flags & SYN != 0 { 500 } else { 501 };
                Segment::v4(2, 80, 10 + thread, port, flags).numbers(seq, 101)
            }
            .bytes()
        }
    }
}

struct World {
    engine: Engine,
    sim: Sim,
    clock: AtomicU64,
    stop: AtomicBool,
    software: AtomicU64,
}

impl World {
    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn packets(&self, number: u8, batches: u64) {
        let mut random = Random(u64::from(number) + 1);
        for _ in 0..batches {
            let mut frames: Vec<Frame> = (0..32)
                .map(|_| Frame::ip(packet(&mut random, number)))
                .collect();
            let action = if random.below(4) == 0 { LOOK } else { COMMIT };
            self.engine.execute(&mut frames, &action, at(self.now()));
            let known = |frame: &&Frame| frame.metadata.connection != ConnectionId::NONE;
            let known = frames.iter().filter(known).count();
            self.software.fetch_add(known as u64, Ordering::Relaxed);
        }
    }

    fn worker(&self, number: usize) {
        while self.running() {
            if self.engine.work(number, 2, 1_000) == 0 {
                thread::yield_now();
            }
        }
    }

    fn device(&self) {
        let mut random = Random(77);
        while self.running() {
            for answer in self.sim.run_until(at(self.now())) {
                // Late when the provider left, or the connection did.
                let _late =
                    self.engine
                        .complete_offload("sim", answer.id, answer.outcome, at(self.now()));
            }
            for id in self.sim.connections().into_iter().take(64) {
                let direction = if random.below(2) == 0 {
                    Direction::Original
                } else {
                    Direction::Reply
                };
                let carried = Delta {
                    packets: 1 + random.below(9),
                    bytes: 100,
                };
                self.sim.carry(id, direction, carried);
                if random.below(64) == 0 {
                    self.sim.close(id, direction);
                }
            }
            thread::yield_now();
        }
    }

    fn control(&self) {
        let mut random = Random(99);
        while self.running() {
            self.clock.fetch_add(random.below(700), Ordering::Relaxed);
            let now = at(self.now());
            self.engine.sweep(now, Budget { records: 65_536 });
            match random.below(40) {
                0 => self.engine.flush(Flush::All, now).expect("flushes"),
                1 => self.engine.flush(Flush::Zone(0), now).expect("flushes"),
                2 => {
                    self.engine.set_offload(false, now);
                    self.engine.set_offload(true, now);
                }
                3 => drop(self.engine.unregister_provider("dummy", now)),
                4 => {
                    let flapping = Dummy::new(Preferences::default());
                    let _taken = self.engine.register_provider(Box::new(flapping), now);
                }
                5..=8 => {
                    self.engine.refresh_offload(now);
                }
                _ => thread::yield_now(),
            }
        }
    }
}

#[test]
fn in_the_end_every_add_has_its_delete_and_every_packet_is_counted_once() {
    let batches = std::env::var("CTOFFLOAD_STRESS_BATCHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4_000);
    let sim = Sim::new(Behaviour {
        latency: 3,
        capacity: 250,
        failing: 16,
        losing: 0,
        reordering: 64,
        lying: 32,
        windows: false,
        preferences: Preferences {
            offer_at: OfferAt::FirstReply,
            delivery: Delivery::Queued,
            queue: 256,
            ..Preferences::default()
        },
        seed: 5,
    });
    let world = World {
        engine: engine(),
        sim: sim.clone(),
        clock: AtomicU64::new(1_000),
        stop: AtomicBool::new(false),
        software: AtomicU64::new(0),
    };
    let register = |world: &World| {
        world
            .engine
            .register_provider(Box::new(sim.clone()), at(world.now()))
    };
    register(&world).expect("registers");
    thread::scope(|scope| {
        let senders = [0, 1].map(|number| {
            let world = &world;
            scope.spawn(move || world.worker(usize::from(number)));
            scope.spawn(move || world.packets(number, batches))
        });
        scope.spawn(|| world.device());
        scope.spawn(|| world.control());
        for sender in senders {
            sender.join().expect("no panic");
        }
        world.stop.store(true, Ordering::Relaxed);
    });
    let engine = &world.engine;
    let now = at(world.now());
    // What is still under way is answered; then everything ends.
    for answer in sim.run_until(at(world.now() + 1_000)) {
        let _late = engine.complete_offload("sim", answer.id, answer.outcome, now);
    }
    engine.flush(Flush::All, now).expect("flushes");
    while engine.work(0, 1, 1_000) > 0 {}
    let end = at(world.now() + 200_000_000);
    while !engine.sweep(end, Budget { records: 65_536 }).complete {}
    while engine.work(0, 1, 1_000) > 0 {}
    assert_eq!(engine.connections(), 0);
    assert_eq!(engine.provider_held("sim"), Some(0));
    let counts = sim.counts();
    assert!(counts.added > 100, "{counts:?}");
    assert_eq!(counts.strange, 0);
    assert_eq!(counts.added, counts.deleted, "{counts:?}");
    assert!(sim.connections().is_empty());
    assert_eq!(engine.counter(Counter::Offloaded), counts.packets);
    let software = engine.counter(Counter::Found)
        + engine.counter(Counter::Committed)
        + engine.counter(Counter::Cached);
    assert_eq!(software, world.software.load(Ordering::Relaxed));
    let carried = [Count::BytesOriginal, Count::BytesReply].map(|count| {
        let told = engine.provider_count("sim", count);
        told.expect("it never left")
    });
    assert_eq!(carried.iter().sum::<u64>(), counts.bytes);
}
