//! A second opinion: a plain and slow tracker, written from the rules of Open vSwitch's and not from the
//! engine's code, and generated traffic through both.
//!
//! `tcp` and `tracker` are the model, `traffic` makes packets out of bytes. The engine gets them in
//! batches of any size, the model one by one; every verdict has to be the same, and the listing at the
//! end. Connections are numbered by the model and identified by the engine: a number must always meet
//! the same id.
//!
//! The fuzz target `engine_ops` feeds the same function. `CTOFFLOAD_MODEL_CASES` sets how many sequences are tried (a sequence has up to 400 steps).

mod tcp;
#[cfg(test)]
mod tests;
mod tracker;
mod traffic;

use std::collections::HashMap;

use ctoffload::clock::Time;
use ctoffload::engine::action::Action;
use ctoffload::engine::config::Config;
use ctoffload::engine::descriptor::{ConnectionId, Frame};
use ctoffload::engine::{Budget, Cursor, Engine, Flush};
use ctoffload::packet::Family;
use ctoffload::tuple::{self, QueryKind};
use tracker::{Listed, Model, Packet, Seen, Tuple, Verdict};
use traffic::{STEP, Step, Traffic, ends};

/// Packets of one call and their verdicts by the model.
struct Batch {
    frames: Vec<Frame>,
    packets: Vec<Packet>,
    expected: Vec<Verdict>,
    action: Action,
}

/// The engine and the model side by side.
struct World<'e> {
    engine: &'e Engine,
    model: Model,
    ids: HashMap<u64, ConnectionId>,
    now: u64,
    /// Packets that a batch has at most.
    most: usize,
    waiting: Option<Batch>,
    done: Option<Batch>,
}

impl<'e> World<'e> {
    fn new(engine: &'e Engine, most: usize) -> World<'e> {
        World {
            engine,
            model: Model::new(engine.switches().tcp_sequence_check),
            ids: HashMap::new(),
            now: 0,
            most,
            waiting: None,
            done: None,
        }
    }

    fn time(&self) -> Time {
        Time::from_millis(self.now)
    }

    /// Hands the waiting batch to the engine and compares.
    fn flush(&mut self) {
        let Some(mut batch) = self.waiting.take() else {
            return;
        };
        self.engine
            .execute(&mut batch.frames, &batch.action, self.time());
        for ((frame, packet), expected) in
            batch.frames.iter().zip(&batch.packets).zip(&batch.expected)
        {
            let given = &frame.metadata;
            let seen = Verdict {
                state: given.state,
                zone: given.zone,
                mark: given.mark,
                label: given.label,
                connection: expected.connection,
            };
            assert_eq!(seen, *expected, "{packet:?} {:?} {given:?}", batch.action);
            if expected.connection == 0 {
                assert_eq!(given.connection, ConnectionId::NONE, "{packet:?}");
            } else {
                let id = *self
                    .ids
                    .entry(expected.connection)
                    .or_insert(given.connection);
                assert_eq!(given.connection, id, "{packet:?}");
            }
        }
        self.done = Some(batch);
    }

    fn add(&mut self, packet: Packet, bytes: Vec<u8>, action: Action) {
        let suits = |batch: &Batch| batch.action == action && batch.frames.len() < self.most;
        if !self.waiting.as_ref().is_some_and(suits) {
            self.flush();
        }
        let expected = self
            .model
            .track(&packet, &action, &Verdict::default(), self.now);
        let batch = self.waiting.get_or_insert_with(|| Batch {
            frames: Vec::new(),
            packets: Vec::new(),
            expected: Vec::new(),
            action,
        });
        // Some ask for the original tuple, which keeps them off the straight way of the engine.
        let untold = !bytes.len().is_multiple_of(4);
        batch.frames.push(Frame {
            untold,
            ..Frame::ip(bytes)
        });
        batch.packets.push(packet);
        batch.expected.push(expected);
    }

    /// The last batch goes through once more, with its metadata.
    fn again(&mut self, action: Action) {
        self.flush();
        if let Some(mut batch) = self.done.take() {
            batch.action = action;
            for (packet, expected) in batch.packets.iter().zip(&mut batch.expected) {
                *expected = self.model.track(packet, &action, expected, self.now);
            }
            self.waiting = Some(batch);
            self.flush();
        }
    }

    fn run(&mut self, traffic: &mut Traffic, bytes: &[u8]) {
        for bytes in bytes.as_chunks::<STEP>().0 {
            match traffic.step(bytes) {
                Step::Packet(packet, bytes, action) => self.add(packet, bytes, action),
                Step::Again(action) => self.again(action),
                other => {
                    self.flush();
                    self.control(other);
                }
            }
        }
        self.flush();
    }

    fn control(&mut self, step: Step) {
        match step {
            Step::Wait(millis) => self.now += millis,
            Step::FlushAll => {
                self.model.flush_all();
                self.engine
                    .flush(Flush::All, self.time())
                    .expect("never refused");
            }
            Step::FlushZone(zone) => {
                self.model.flush_zone(zone);
                self.engine
                    .flush(Flush::Zone(zone), self.time())
                    .expect("never refused");
            }
            Step::FlushTuple(tuple) => {
                let known = self.model.flush_tuple(&tuple, self.now);
                let flushed = self
                    .engine
                    .flush(Flush::Tuple(of_engine(&tuple)), self.time());
                assert_eq!(flushed.is_ok(), known, "{tuple:?}");
            }
            Step::Sweep => {
                self.engine.sweep(self.time(), Budget { records: 4096 });
            }
            Step::Packet(..) | Step::Again(_) | Step::Cut => {}
        }
    }

    fn compare_listings(&self) {
        let mut cursor = Cursor::default();
        let mut listed = Vec::new();
        while let Some(connection) = self.engine.next(&mut cursor, self.time()) {
            let mut original = connection.original;
            original.query = QueryKind::None;
            listed.push((
                (
                    original.src,
                    original.dst,
                    original.sport,
                    original.zone,
                    original.proto,
                ),
                connection.remaining,
                connection.mark,
                connection.label,
                connection.seen_reply,
            ));
        }
        let of_model = |listed: Listed| {
            let tuple = of_engine(&listed.original);
            (
                (tuple.src, tuple.dst, tuple.sport, tuple.zone, tuple.proto),
                listed.remaining,
                listed.mark,
                listed.label,
                listed.seen_reply,
            )
        };
        let mut expected: Vec<_> = self
            .model
            .list(self.now)
            .into_iter()
            .map(of_model)
            .collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }
}

/// A tuple of the model as the engine writes it; echoes only as far as their addresses.
fn of_engine(tuple: &Tuple) -> tuple::Tuple {
    let (src, dst) = ends(tuple);
    tuple::Tuple {
        src: src.number(),
        dst: dst.number(),
        sport: tuple.sport,
        dport: tuple.dport,
        zone: tuple.zone,
        proto: tuple.proto,
        family: if tuple.v6 { Family::V6 } else { Family::V4 },
        query: QueryKind::None,
        question: true,
    }
}

fn engine(sequence_check: bool) -> Engine {
    let engine = Engine::new(&Config {
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("defaults are valid");
    let mut switches = engine.switches();
    switches.tcp_sequence_check = sequence_check;
    engine.set_switches(switches).expect("no memory is needed");
    engine
}

/// Any bytes as steps: the first two say how, the rest what.
pub fn agree(input: &[u8]) -> Seen {
    let (how, steps) = input.split_at_checked(2).unwrap_or_default();
    let [most, check] = how.try_into().unwrap_or([0, 0]);
    let engine = engine(check % 4 != 0);
    let mut world = World::new(&engine, 1 + usize::from(most % 70));
    world.run(&mut Traffic::new(0), steps);
    world.compare_listings();
    world.model.seen
}

/// Bytes from a seed, for sequences that need not shrink.
#[cfg(test)]
pub(super) fn bytes(seed: u64, steps: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..2 + steps * STEP).map(|_| next()).collect()
}
