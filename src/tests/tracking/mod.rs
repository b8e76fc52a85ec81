//! The rules of Open vSwitch's tracker (lib/conntrack.c, lib/conntrack-tcp.c and their neighbours), a
//! test for each, through the engine. `docs/rules.md` lists the rules and where their tests are.
//!
//! Where the original has a defect or a race, the test shows what is right and says so.

use crate::clock::Time;
use crate::engine::action::{Action, Masked, Nat, NatRange};
use crate::engine::config::Config;
use crate::engine::descriptor::{ConnectionId, Frame, Metadata, state};
use crate::engine::listing::Connection;
use crate::engine::statistics::Counter;
use crate::engine::{Cursor, Engine, Flush};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::reason::Reason;
use crate::tests::ground::{COMMIT, LOOK, engine, limited};
use crate::tests::packets::{Ip, Segment, echo, ip, udp, unreachable};

mod again;
mod connections;
mod creation;
mod documents;
mod entry;
mod keys;
mod race;
mod tcp;
mod update;

const FORCE: Action = Action {
    force: true,
    ..COMMIT
};

const NEW: u8 = state::NEW;
const EST: u8 = state::EST;
const REL: u8 = state::REL;
const RPL: u8 = state::RPL;
const INV: u8 = state::INV;

/// Another pass of a packet.
fn again(engine: &Engine, frame: Frame, action: &Action, millis: u64) -> Frame {
    let mut frames = [frame];
    engine.execute(&mut frames, action, Time::from_millis(millis));
    let [frame] = frames;
    assert_ne!(
        frame.metadata.state & state::TRK,
        0,
        "every packet is tracked"
    );
    frame
}

/// The first pass of a packet.
fn pass(engine: &Engine, bytes: Vec<u8>, action: &Action, millis: u64) -> Frame {
    again(engine, Frame::ip(bytes), action, millis)
}

/// Packets that were handled by the id that they carried.
fn cached(engine: &Engine) -> u64 {
    engine.counter(Counter::Cached)
}

/// The bits but TRK.
fn bits(frame: &Frame) -> u8 {
    frame.metadata.state & !state::TRK
}

/// The bits of the first pass of a packet at time 1.
fn verdict(engine: &Engine, bytes: Vec<u8>, action: &Action) -> u8 {
    bits(&pass(engine, bytes, action, 1))
}

/// The only connection.
fn listed(engine: &Engine, millis: u64) -> Connection {
    let now = Time::from_millis(millis);
    let mut cursor = Cursor::default();
    let connection = engine.next(&mut cursor, now).expect("one connection");
    assert_eq!(engine.next(&mut cursor, now), None, "and no other");
    connection
}

fn marking(value: u32, action: Action) -> Action {
    let mask = u32::MAX;
    Action {
        mark: Some(Masked { value, mask }),
        ..action
    }
}

fn question() -> Vec<u8> {
    udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?")
}

fn answer() -> Vec<u8> {
    udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!")
}

/// A segment of the connection from 10.0.0.1:7 to 10.0.0.2:80.
fn segment(from: u8, flags: u8, seq: u32, ack: u32) -> Segment {
    let (sport, to, dport) = if from == 1 { (7, 2, 80) } else { (80, 1, 7) };
    Segment::v4(from, sport, to, dport, flags).numbers(seq, ack)
}

/// That connection after its handshake: the next numbers are 101 and 501.
fn handshake(engine: &Engine) {
    for packet in [
        segment(1, SYN, 100, 0),
        segment(2, SYN | ACK, 500, 101),
        segment(1, ACK, 101, 501),
    ] {
        pass(engine, packet.bytes(), &COMMIT, 0);
    }
}

/// A segment of that connection which lies far beyond its window.
fn far() -> Vec<u8> {
    segment(1, ACK, 101 + (1 << 30), 501).payload(10).bytes()
}

fn through(source: NatRange) -> Action {
    Action {
        nat: Some(Nat {
            source: Some(source),
            ..Nat::default()
        }),
        ..COMMIT
    }
}
