//! Two threads bring the first packets of one connection: what the later one gets.
//!
//! Open vSwitch gives the loser of this race a verdict with no bit but "tracked", so that a rule for new
//! packets and one for established packets both miss it. Here the loser's packet is what it would have
//! been a moment later: the next packet of the connection that the winner stored.
//!
//! The races are played, not waited for: a packet is asked for its input port after its connection was
//! looked for in vain and before the new one is stored. At that moment the other thread comes.

use std::cell::Cell;

use super::*;
use crate::engine::descriptor::{Descriptor, Modified, Pass};
use crate::merge::trace::Trace;
use crate::packet::Hints;
use crate::tuple::Tuple;

/// A packet that lets something else happen when it is asked for its input port.
struct Overtaken<'a> {
    frame: Frame,
    meanwhile: Cell<Option<&'a dyn Fn()>>,
}

impl Descriptor for Overtaken<'_> {
    fn in_port(&self) -> u32 {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        self.frame.in_port()
    }
    fn bytes(&self) -> &[u8] {
        self.frame.bytes()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.frame.bytes_mut()
    }
    fn hints(&self) -> Hints {
        self.frame.hints()
    }
    fn pass(&self) -> Pass {
        self.frame.pass()
    }
    fn set_metadata(&mut self, metadata: &Metadata) {
        self.frame.set_metadata(metadata);
    }
    fn original(&self) -> Option<Tuple> {
        Descriptor::original(&self.frame)
    }
    fn set_original(&mut self, tuple: Option<&Tuple>) {
        self.frame.set_original(tuple);
    }
    fn wants_original(&self) -> bool {
        self.frame.wants_original()
    }
    fn is_traced(&self) -> bool {
        self.frame.is_traced()
    }
    fn trace(&mut self) -> Option<&mut Trace> {
        self.frame.trace()
    }
    fn set_modified(&mut self, modified: Modified) {
        self.frame.set_modified(modified);
    }
    fn resize(&mut self, len: usize) -> bool {
        self.frame.resize(len)
    }
    fn prefetch(&self) {}
}

/// `loser` is looked up first; `winner` is tracked before `loser` is stored. The verdicts of both.
fn race(engine: &Engine, winner: &[u8], loser: &[u8], action: &Action) -> [Frame; 2] {
    let won = Cell::new(None);
    let meanwhile = || {
        assert_eq!(engine.connections(), 0, "the loser was looked for in vain");
        won.set(Some(pass(engine, winner.to_vec(), action, 0)));
    };
    let mut packet = [Overtaken {
        frame: Frame::ip(loser.to_vec()),
        meanwhile: Cell::new(Some(&meanwhile)),
    }];
    engine.execute(&mut packet, action, Time::default());
    let [packet] = packet;
    assert!(packet.meanwhile.get().is_none(), "there was a race");
    let won = won.take().expect("the winner was tracked");
    assert_eq!(bits(&won) & !(state::SNAT | state::DNAT), NEW);
    [won, packet.frame]
}

#[test]
fn the_loser_of_a_race_is_the_next_packet_of_the_winners_connection() {
    let syn = segment(1, SYN, 100, 0).bytes();
    for (winner, loser, expected) in [
        (question(), question(), NEW),
        (question(), answer(), EST | RPL),
        (syn.clone(), syn, NEW),
        (
            echo(Ip::v4(1), Ip::v4(2), 9, false),
            echo(Ip::v4(1), Ip::v4(2), 9, false),
            NEW,
        ),
    ] {
        let engine = engine();
        let [won, lost] = race(&engine, &winner, &loser, &marking(5, COMMIT));
        assert_eq!(bits(&lost), expected);
        assert_eq!(lost.metadata.connection, won.metadata.connection);
        assert_eq!((lost.metadata.mark, lost.original), (5, won.original));
        assert_eq!((engine.connections(), engine.zone_limit(0).count), (1, 1));
        assert_eq!(engine.counter(Counter::Committed), 1);
    }
}

#[test]
fn the_loser_of_a_race_is_translated_as_the_winner() {
    let engine = engine();
    let hidden = through(NatRange::address(Ip::v4(9).number()));
    let [won, lost] = race(&engine, &question(), &question(), &hidden);
    assert_eq!(bits(&lost), NEW | state::SNAT);
    assert_eq!(lost.bytes, won.bytes);
    assert_eq!(engine.connections(), 1);
}

#[test]
fn a_loser_that_does_not_commit_is_new_and_knows_no_connection() {
    let engine = engine();
    let [_, lost] = race(&engine, &question(), &question(), &COMMIT);
    assert_ne!(lost.metadata.connection, ConnectionId::NONE);
    // Without commit nothing is stored, and nothing is looked for again.
    let alone = limited(10);
    let not_stored = Cell::new(0);
    let meanwhile = || {
        pass(&alone, question(), &COMMIT, 0);
        not_stored.set(alone.connections());
    };
    // A trace keeps the packet on the whole way, which asks.
    let frame = Frame {
        trace: Some(Box::default()),
        ..Frame::ip(question())
    };
    let mut packet = [Overtaken {
        frame,
        meanwhile: Cell::new(Some(&meanwhile)),
    }];
    alone.execute(&mut packet, &LOOK, Time::default());
    assert_eq!(not_stored.get(), 1);
    assert_eq!(bits(&packet[0].frame), NEW);
    assert_eq!(packet[0].frame.metadata.reason, Reason::NotCommitted);
}

#[test]
fn threads_that_begin_the_same_connections_store_each_once_and_none_is_without_bits() {
    let ports = if cfg!(miri) { 8 } else { 2_000_u16 };
    let engine = limited(u32::from(ports));
    let barrier = std::sync::Barrier::new(2);
    let run = || {
        let mut verdicts = Vec::new();
        for port in 1..=ports {
            if port % 16 == 1 {
                barrier.wait();
            }
            let packet = udp(Ip::v4(1), port, Ip::v4(2), 53, b"?");
            verdicts.push(bits(&pass(&engine, packet, &COMMIT, 0)));
        }
        verdicts
    };
    let all = std::thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().expect("no panic"))
    });
    assert!(all.iter().flatten().all(|&verdict| verdict == NEW));
    assert_eq!(engine.connections(), u32::from(ports));
    assert_eq!(engine.counter(Counter::Committed), u64::from(ports));
}
