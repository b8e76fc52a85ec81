//! Offload providers through the engine: what they are told, when, and how often.
//!
//! `lifecycle` has the cases of Open vSwitch's own unit tests for its ct-offload series; `problems`
//! one test for each weakness that is known of that series, showing that it is not ours; the others
//! follow the parts of the room.

mod admission;
mod aging;
mod flows;
mod lifecycle;
mod problems;
mod queued;
mod stress;
mod switching;
mod window;

use crate::engine::Engine;
use crate::engine::action::Action;
use crate::engine::config::Config;
use crate::engine::descriptor::{ConnectionId, Frame};
use crate::offload::dummy::Dummy;
use crate::offload::provider::Preferences;
use crate::packet::tcp_flags::{ACK, SYN};
use crate::tests::ground::{COMMIT, LOOK, at};
use crate::tests::packets::{Ip, Segment, udp};

fn engine() -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        accounting: true,
        ..Config::default()
    })
    .expect("defaults are valid")
}

fn with_dummy(preferences: Preferences) -> (Engine, Dummy) {
    let engine = engine();
    let dummy = Dummy::new(preferences);
    engine
        .register_provider(Box::new(dummy.clone()), at(0))
        .expect("the first one");
    (engine, dummy)
}

fn send(engine: &Engine, bytes: Vec<u8>, action: &Action, now: u64) -> Frame {
    let mut frames = [Frame::ip(bytes)];
    engine.execute(&mut frames, action, at(now));
    let [frame] = frames;
    frame
}

/// A UDP connection of this port; its first packet.
fn open_udp(engine: &Engine, port: u16, now: u64) -> ConnectionId {
    let packet = udp(Ip::v4(1), port, Ip::v4(2), 53, b"?");
    send(engine, packet, &COMMIT, now).metadata.connection
}

fn answer_udp(engine: &Engine, port: u16, now: u64) -> Frame {
    let packet = udp(Ip::v4(2), 53, Ip::v4(1), port, b"!");
    send(engine, packet, &LOOK, now)
}

fn syn(engine: &Engine, port: u16, now: u64) -> ConnectionId {
    let packet = Segment::v4(1, port, 2, 80, SYN).numbers(100, 0);
    send(engine, packet.bytes(), &COMMIT, now)
        .metadata
        .connection
}

fn syn_ack(engine: &Engine, port: u16, now: u64) {
    let packet = Segment::v4(2, 80, 1, port, SYN | ACK).numbers(500, 101);
    send(engine, packet.bytes(), &LOOK, now);
}

fn ack(engine: &Engine, port: u16, now: u64) {
    let packet = Segment::v4(1, port, 2, 80, ACK).numbers(101, 501);
    send(engine, packet.bytes(), &LOOK, now);
}

/// An established TCP connection.
fn open_tcp(engine: &Engine, port: u16, now: u64) -> ConnectionId {
    let id = syn(engine, port, now);
    syn_ack(engine, port, now);
    ack(engine, port, now);
    id
}
