//! The engine as its users see it: packets in, verdicts out.

use crate::engine::action::{Action, Masked};
use crate::engine::config::{Config, Switches};
use crate::engine::descriptor::{ConnectionId, Frame, state};
use crate::engine::statistics::Counter;
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::packet::tcp_flags::{ACK, SYN};
use crate::reason::Reason;
use crate::tests::ground::{COMMIT, LOOK, at};
use crate::tests::packets::{Ip, Segment, echo, udp, unreachable};

fn engine() -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("defaults are valid")
}

fn one(engine: &Engine, bytes: Vec<u8>, action: &Action, now: u64) -> Frame {
    let mut frame = [Frame::ip(bytes)];
    engine.execute(&mut frame, action, at(now));
    let [frame] = frame;
    frame
}

#[test]
fn a_tcp_handshake_is_new_established_established() {
    let engine = engine();
    let syn = Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0);
    let first = one(&engine, syn.bytes(), &COMMIT, 0);
    assert_eq!(first.metadata.state, state::TRK | state::NEW);
    assert_ne!(first.metadata.connection, ConnectionId::NONE);
    let syn_ack = Segment::v4(2, 80, 1, 1000, SYN | ACK).numbers(500, 101);
    let second = one(&engine, syn_ack.bytes(), &LOOK, 1);
    assert_eq!(second.metadata.state, state::TRK | state::EST | state::RPL);
    assert_eq!(second.metadata.connection, first.metadata.connection);
    let ack = Segment::v4(1, 1000, 2, 80, ACK).numbers(101, 501);
    let third = one(&engine, ack.bytes(), &LOOK, 2);
    assert_eq!(third.metadata.state, state::TRK | state::EST);
    let listed = engine
        .next(&mut Cursor::default(), at(2))
        .expect("one connection");
    assert_eq!(listed.remaining, 86_400_000);
    assert!(listed.seen_reply);
    assert_eq!(engine.connections(), 1);
}

#[test]
fn a_batch_gives_the_result_of_its_packets_one_by_one() {
    let packets = || {
        [
            Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0).frame(),
            Segment::v4(2, 80, 1, 1000, SYN | ACK)
                .numbers(500, 101)
                .frame(),
            Segment::v4(1, 1000, 2, 80, ACK).numbers(101, 501).frame(),
            Frame::ip(udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?")),
            Frame::ip(udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!")),
        ]
    };
    let together = engine();
    let mut batch = packets();
    together.execute(&mut batch, &COMMIT, at(0));
    let apart = engine();
    for (mut packet, of_batch) in packets().into_iter().zip(batch) {
        apart.execute(std::slice::from_mut(&mut packet), &COMMIT, at(0));
        assert_eq!(packet.metadata, of_batch.metadata);
    }
}

#[test]
fn a_packet_without_commit_is_new_and_not_stored() {
    let engine = engine();
    let frame = one(&engine, udp(Ip::v6(1), 5, Ip::v6(2), 53, b"?"), &LOOK, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::NEW);
    assert_eq!(frame.metadata.reason, Reason::NotCommitted);
    assert_eq!(engine.connections(), 0);
}

#[test]
fn mark_and_label_are_set_under_their_masks_and_reported() {
    let engine = engine();
    let mark = |value, mask| Action {
        mark: Some(Masked { value, mask }),
        ..COMMIT
    };
    let packet = udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?");
    assert_eq!(
        one(&engine, packet.clone(), &mark(0x11, u32::MAX), 0)
            .metadata
            .mark,
        0x11
    );
    assert_eq!(
        one(&engine, packet.clone(), &mark(0x20, 0xf0), 0)
            .metadata
            .mark,
        0x21
    );
    let label = Action {
        label: Some(Masked {
            value: 1 << 100,
            mask: 1 << 100,
        }),
        ..COMMIT
    };
    assert_eq!(
        one(&engine, packet.clone(), &label, 0).metadata.label,
        1 << 100
    );
    let seen = one(&engine, packet, &LOOK, 0);
    assert_eq!((seen.metadata.mark, seen.metadata.label), (0x21, 1 << 100));
}

#[test]
fn an_icmp_error_about_a_connection_is_related() {
    let engine = engine();
    let question = udp(Ip::v4(1), 5, Ip::v4(2), 53, b"question");
    one(&engine, question.clone(), &COMMIT, 0);
    let error = unreachable(Ip::v4(2), Ip::v4(1), &question);
    let frame = one(&engine, error, &LOOK, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::REL | state::RPL);
    let other = udp(Ip::v4(1), 6, Ip::v4(2), 53, b"question");
    let frame = one(&engine, unreachable(Ip::v4(2), Ip::v4(1), &other), &LOOK, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::INV);
    assert_eq!(frame.metadata.reason, Reason::IcmpErrorUnrelated);
}

#[test]
fn two_hosts_may_ping_each_other_with_the_same_identifier() {
    let engine = engine();
    for (from, to) in [(1, 2), (2, 1)] {
        let frame = one(
            &engine,
            echo(Ip::v4(from), Ip::v4(to), 7, false),
            &COMMIT,
            0,
        );
        assert_eq!(frame.metadata.state, state::TRK | state::NEW);
    }
    assert_eq!(engine.connections(), 2);
    let frame = one(&engine, echo(Ip::v4(1), Ip::v4(2), 7, true), &LOOK, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::EST | state::RPL);
}

#[test]
fn force_begins_a_connection_anew_from_the_other_side() {
    let engine = engine();
    one(&engine, udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?"), &COMMIT, 0);
    let force = Action {
        force: true,
        ..COMMIT
    };
    let frame = one(&engine, udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!"), &force, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::NEW);
    assert_eq!(engine.connections(), 1);
    let frame = one(&engine, udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?"), &LOOK, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::EST | state::RPL);
}

#[test]
fn a_flushed_zone_is_empty_at_once_and_swept_later() {
    let engine = engine();
    let zone = |zone| Action { zone, ..COMMIT };
    for port in 1..100 {
        one(
            &engine,
            udp(Ip::v4(1), port, Ip::v4(2), 53, b"?"),
            &zone(port % 2),
            0,
        );
    }
    engine
        .flush(Flush::Zone(1), at(0))
        .expect("a zone can be flushed");
    let mut cursor = Cursor::new(Some(1));
    assert!(engine.next(&mut cursor, at(0)).is_none());
    let mut cursor = Cursor::new(None);
    assert_eq!(
        std::iter::from_fn(|| engine.next(&mut cursor, at(0))).count(),
        49
    );
    let swept = engine.sweep(at(0), Budget { records: u32::MAX });
    assert!(swept.complete);
    assert_eq!((swept.removed, engine.connections()), (50, 49));
}

#[test]
fn an_expired_connection_is_invisible_at_once_and_swept_within_a_second() {
    let engine = engine();
    let packet = udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?");
    one(&engine, packet.clone(), &COMMIT, 0);
    assert!(engine.next(&mut Cursor::default(), at(59_999)).is_some());
    assert!(engine.next(&mut Cursor::default(), at(60_000)).is_none());
    let swept = engine.sweep(at(62_000), Budget { records: u32::MAX });
    assert_eq!((swept.removed, engine.connections()), (1, 0));
    assert_eq!(
        one(&engine, packet, &LOOK, 62_000).metadata.state,
        state::TRK | state::NEW
    );
}

#[test]
fn a_full_table_leaves_new_packets_unstored_and_says_so() {
    let engine = engine();
    engine.set_max_connections(10).expect("in range");
    for port in 1..=10 {
        one(
            &engine,
            udp(Ip::v4(1), port, Ip::v4(2), 53, b"?"),
            &COMMIT,
            0,
        );
    }
    let frame = one(&engine, udp(Ip::v4(1), 11, Ip::v4(2), 53, b"?"), &COMMIT, 0);
    assert_eq!(frame.metadata.state, state::TRK | state::NEW);
    assert_eq!(frame.metadata.reason, Reason::TableFull);
    assert_eq!(engine.connections(), 10);
    engine.set_max_connections(11).expect("in range");
    let frame = one(&engine, udp(Ip::v4(1), 11, Ip::v4(2), 53, b"?"), &COMMIT, 0);
    assert_eq!(frame.metadata.reason, Reason::None);
}

#[test]
fn in_a_full_table_one_connection_goes_for_a_new_one_however_many_packets_of_it_come_together() {
    let engine = engine();
    engine
        .set_switches(Switches {
            early_drop: true,
            ..engine.switches()
        })
        .expect("valid");
    engine.set_max_connections(10).expect("in range");
    let packet = |port| udp(Ip::v4(1), port, Ip::v4(2), 53, b"?");
    for port in 1..=10 {
        one(&engine, packet(port), &COMMIT, 0);
    }
    let mut frames = [11, 11, 12, 11, 12, 12].map(|port| Frame::ip(packet(port)));
    engine.execute(&mut frames, &COMMIT, at(1));
    for frame in &frames {
        assert_eq!(frame.metadata.state, state::TRK | state::NEW);
        assert_eq!(frame.metadata.reason, Reason::None);
    }
    assert_eq!(engine.counter(Counter::EarlyDrop), 2);
    assert_eq!(engine.connections(), 10);
}

#[test]
fn the_second_pass_of_a_packet_changes_neither_state_nor_timeout() {
    let engine = engine();
    let mut frame = [Frame::ip(udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?"))];
    engine.execute(&mut frame, &COMMIT, at(0));
    let before = frame[0].metadata;
    engine.execute(&mut frame, &COMMIT, at(10));
    assert_eq!(frame[0].metadata, before);
    let listed = engine
        .next(&mut Cursor::default(), at(10))
        .expect("one connection");
    assert_eq!(listed.remaining, 59_990);
}

#[test]
fn a_hundred_thousand_connections_are_all_found_while_the_table_grows() {
    let engine = engine();
    let count = if cfg!(miri) { 60 } else { 100_000_u32 };
    let packet = |i: u32| {
        let [a, b, c, d] = (0x0a00_0000 + i).to_be_bytes();
        Frame::ip(udp(Ip::V4([a, b, c, d]), 1000, Ip::v4(2), 53, b"?"))
    };
    for first in (0..count).step_by(20) {
        let mut batch: Vec<Frame> = (first..first + 20).map(packet).collect();
        engine.execute(&mut batch, &COMMIT, at(0));
        assert!(batch.iter().all(|p| p.metadata.reason == Reason::None));
    }
    assert_eq!(engine.connections(), count);
    for first in (0..count).step_by(20) {
        let mut batch: Vec<Frame> = (first..first + 20).map(packet).collect();
        engine.execute(&mut batch, &LOOK, at(1));
        assert!(
            batch
                .iter()
                .all(|p| p.metadata.connection != ConnectionId::NONE)
        );
    }
    let mut cursor = Cursor::default();
    let listed = std::iter::from_fn(|| engine.next(&mut cursor, at(1))).count();
    assert_eq!(listed, count as usize);
    let swept = engine.sweep(at(100_000), Budget { records: u32::MAX });
    assert_eq!((swept.removed, engine.connections()), (count, 0));
}

#[test]
fn a_reply_counts_when_a_later_pass_finds_it_valid() {
    let engine = engine();
    let answer = Segment::v4(2, 80, 1, 1000, SYN | ACK).numbers(500, 101);
    let mut early = [answer.frame()];
    engine.execute(&mut early, &LOOK, at(0));
    assert_eq!(early[0].metadata.state, state::TRK | state::INV);
    let syn = Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0);
    one(&engine, syn.bytes(), &COMMIT, 1);
    engine.execute(&mut early, &LOOK, at(2));
    assert_eq!(
        early[0].metadata.state,
        state::TRK | state::INV | state::EST | state::RPL
    );
    let listed = engine
        .next(&mut Cursor::default(), at(2))
        .expect("one connection");
    assert!(listed.seen_reply);
}
