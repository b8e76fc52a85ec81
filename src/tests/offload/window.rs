//! The TCP window of a connection that was in hardware.

use super::{LOOK, at, engine, open_tcp, send};
use crate::engine::Engine;
use crate::engine::descriptor::{Frame, state};
use crate::engine::offload::LESSONS;
use crate::offload::provider::{Delivery, OfferAt, Preferences, Report, TcpSide};
use crate::offload::sim::{Behaviour, Sim};
use crate::packet::tcp_flags::ACK;
use crate::reason::Reason;
use crate::tests::packets::Segment;
use crate::tuple::Direction;

/// A gigabyte went by in hardware.
const AWAY: u32 = 1 << 30;
const FAR: u32 = 1 << 28;

fn device() -> (Engine, Sim) {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        latency: 0,
        preferences: Preferences {
            offer_at: OfferAt::HandshakeComplete,
            delivery: Delivery::Inline,
            ..Preferences::default()
        },
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("registers");
    (engine, sim)
}

fn original(engine: &Engine, seq: u32, ack: u32, now: u64) -> Frame {
    let packet = Segment::v4(1, 7, 2, 80, ACK).numbers(seq, ack).payload(10);
    send(engine, packet.bytes(), &LOOK, now)
}

fn reply(engine: &Engine, seq: u32, ack: u32, now: u64) -> Frame {
    let packet = Segment::v4(2, 80, 1, 7, ACK).numbers(seq, ack).payload(10);
    send(engine, packet.bytes(), &LOOK, now)
}

const EST: u8 = state::TRK | state::EST;

#[test]
fn while_hardware_holds_it_the_window_is_not_enforced() {
    let (engine, sim) = device();
    let id = open_tcp(&engine, 7, 0);
    assert!(sim.contains(id));
    assert_eq!(
        original(&engine, 101 + AWAY, 501 + AWAY, 1).metadata.state,
        EST
    );
}

#[test]
fn without_a_provider_the_window_is_enforced() {
    let engine = engine();
    open_tcp(&engine, 7, 0);
    let far = original(&engine, 101 + AWAY, 501, 1);
    assert_eq!(far.metadata.state, state::TRK | state::INV);
}

#[test]
fn an_unknown_window_is_learned_from_a_bounded_number_of_packets_and_then_enforced() {
    let (engine, _sim) = device();
    let id = open_tcp(&engine, 7, 0);
    engine.give_back("sim", id, at(1)).expect("held");
    let (mut seq, mut answer) = (101 + AWAY, 501 + AWAY);
    for now in 0..u64::from(LESSONS) / 2 {
        assert_eq!(original(&engine, seq, answer, 2 + now).metadata.state, EST);
        seq += 10;
        assert_eq!(
            reply(&engine, answer, seq, 2 + now).metadata.state,
            EST | state::RPL
        );
        answer += 10;
    }
    let far = original(&engine, seq + FAR, answer, 50);
    assert_eq!(far.metadata.reason, Reason::TcpAboveWindow);
    assert_eq!(original(&engine, seq, answer, 51).metadata.state, EST);
}

#[test]
fn a_window_that_the_device_reports_is_enforced_at_once() {
    let (engine, _sim) = device();
    let id = open_tcp(&engine, 7, 0);
    let side = |sent: u32, acked: u32| TcpSide {
        sent_end: sent,
        reply_end: sent + 60_000,
        max_win: 60_000,
        max_ack: acked,
        ..TcpSide::default()
    };
    let report = Report {
        last_used: Some(at(1)),
        tcp: Some([side(101 + AWAY, 501 + AWAY), side(501 + AWAY, 101 + AWAY)]),
        closing: [true, false],
        ..Report::default()
    };
    engine
        .report_offload("sim", id, &report, at(1))
        .expect("held");
    let far = original(&engine, 101 + AWAY + FAR, 501 + AWAY, 2);
    assert_eq!(far.metadata.reason, Reason::TcpAboveWindow);
    assert_eq!(
        reply(&engine, 501 + AWAY, 101 + AWAY, 3).metadata.state,
        EST | state::RPL
    );
}

#[test]
fn a_fin_that_only_hardware_saw_closes_the_connection() {
    let (engine, sim) = device();
    let id = open_tcp(&engine, 7, 0);
    sim.close(id, Direction::Original);
    sim.close(id, Direction::Reply);
    engine.refresh_offload(at(1_000));
    assert!(!sim.contains(id));
    let listed = engine
        .connection(id, at(1_000))
        .expect("it waits for its end");
    assert_eq!(listed.remaining, 30_000);
}
