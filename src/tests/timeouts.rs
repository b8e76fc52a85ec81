//! Timeouts and their policies as users see them: how long a connection may still be idle, by what was
//! last seen of it (Open vSwitch's classes and defaults).

use crate::engine::action::Action;
use crate::engine::config::Config;
use crate::engine::descriptor::Frame;
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::error::Error;
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::policy::timeouts::Policy;
use crate::tests::ground::{COMMIT, LOOK, at};
use crate::tests::packets::{Ip, Segment, echo, udp};
use crate::tuple::Zone;

/// Neighbouring records that the sweep looks at together.
const BLOCK: u32 = 256;

fn engine() -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("defaults are valid")
}

fn send(engine: &Engine, bytes: Vec<u8>, action: &Action, now: u64) {
    engine.execute(&mut [Frame::ip(bytes)], action, at(now));
}

/// Milliseconds that the only connection has left; `None` without one.
fn left(engine: &Engine, now: u64) -> Option<u64> {
    let mut cursor = Cursor::default();
    let found = engine.next(&mut cursor, at(now))?;
    assert_eq!(engine.next(&mut cursor, at(now)), None);
    Some(found.remaining)
}

fn question(zone: Zone) -> (Vec<u8>, Action) {
    let packet = udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?");
    (packet, Action { zone, ..COMMIT })
}

fn answer() -> Vec<u8> {
    udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!")
}

fn policy(seconds: &[(&'static str, u32)]) -> Policy {
    Policy {
        name: String::new(),
        seconds: seconds.iter().copied().collect(),
    }
}

fn set(engine: &Engine, number: u32, seconds: &[(&'static str, u32)]) {
    engine
        .set_timeout_policy(number, policy(seconds))
        .expect("valid");
}

#[test]
fn tcp_waits_30_30_86400_900_45_and_30_seconds_by_its_state() {
    let engine = engine();
    let from_client =
        |flags, seq, ack| Segment::v4(1, 1000, 2, 80, flags).numbers(seq, ack).bytes();
    let from_server =
        |flags, seq, ack| Segment::v4(2, 80, 1, 1000, flags).numbers(seq, ack).bytes();
    let trace = [
        (from_client(SYN, 100, 0), 30),
        (from_server(SYN | ACK, 500, 101), 30),
        (from_client(ACK, 101, 501), 86_400),
        (from_client(FIN | ACK, 101, 501), 900),
        (from_server(FIN | ACK, 501, 102), 45),
        (from_client(ACK, 102, 502), 30),
    ];
    for (packet, seconds) in trace {
        send(&engine, packet, &COMMIT, 0);
        assert_eq!(left(&engine, 0), Some(seconds * 1000));
    }
}

#[test]
fn a_reset_leaves_30_seconds() {
    let engine = engine();
    let packets = [
        Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0),
        Segment::v4(2, 80, 1, 1000, SYN | ACK).numbers(500, 101),
        Segment::v4(1, 1000, 2, 80, ACK).numbers(101, 501),
        Segment::v4(2, 80, 1, 1000, RST | ACK).numbers(501, 101),
    ];
    for packet in packets {
        send(&engine, packet.bytes(), &COMMIT, 0);
    }
    assert_eq!(left(&engine, 0), Some(30_000));
}

#[test]
fn udp_waits_60_60_and_30_seconds_by_what_was_seen() {
    let engine = engine();
    let (packet, commit) = question(0);
    for _ in 0..2 {
        send(&engine, packet.clone(), &commit, 0);
        assert_eq!(left(&engine, 0), Some(60_000));
    }
    send(&engine, answer(), &LOOK, 0);
    assert_eq!(left(&engine, 0), Some(30_000));
    // Which is which: each has an attribute of its own.
    set(
        &engine,
        0,
        &[("udp_first", 1), ("udp_single", 2), ("udp_multiple", 3)],
    );
    engine.flush(Flush::All, at(0)).expect("always");
    for (packet, seconds) in [(packet.clone(), 1), (packet, 2), (answer(), 3)] {
        send(&engine, packet, &commit, 0);
        assert_eq!(left(&engine, 0), Some(seconds * 1000));
    }
}

#[test]
fn icmp_waits_60_and_30_seconds() {
    let engine = engine();
    send(&engine, echo(Ip::v4(1), Ip::v4(2), 7, false), &COMMIT, 0);
    assert_eq!(left(&engine, 0), Some(60_000));
    send(&engine, echo(Ip::v4(2), Ip::v4(1), 7, true), &LOOK, 0);
    assert_eq!(left(&engine, 0), Some(30_000));
}

#[test]
fn every_packet_prolongs_its_connection_by_the_whole_time() {
    let engine = engine();
    let (packet, commit) = question(0);
    for now in [0, 1, 999, 1_000, 60_500] {
        send(&engine, packet.clone(), &commit, now);
        assert_eq!(left(&engine, now), Some(60_000));
    }
    assert_eq!(left(&engine, 120_499), Some(1));
    assert_eq!(left(&engine, 120_500), None);
}

#[test]
fn an_edited_policy_acts_on_living_connections_with_their_next_packet() {
    let engine = engine();
    set(&engine, 5, &[("udp_first", 100), ("udp_single", 100)]);
    let (packet, commit) = question(0);
    let commit = Action {
        timeout_policy: Some(5),
        ..commit
    };
    send(&engine, packet.clone(), &commit, 0);
    assert_eq!(left(&engine, 0), Some(100_000));
    set(&engine, 5, &[("udp_single", 7)]);
    assert_eq!(left(&engine, 0), Some(100_000), "no packet yet");
    send(&engine, packet, &LOOK, 0);
    assert_eq!(left(&engine, 0), Some(7_000));
    // What the new policy leaves out is as the instance has it.
    send(&engine, answer(), &LOOK, 0);
    assert_eq!(left(&engine, 0), Some(30_000));
}

#[test]
fn deleting_a_policy_in_use_leaves_its_connections_as_the_instance_has_it() {
    let engine = engine();
    set(&engine, 5, &[("udp_first", 100), ("udp_single", 100)]);
    let (packet, commit) = question(0);
    let commit = Action {
        timeout_policy: Some(5),
        ..commit
    };
    send(&engine, packet.clone(), &commit, 0);
    engine.delete_timeout_policy(5).expect("it is there");
    assert!(matches!(
        engine.delete_timeout_policy(5),
        Err(Error::NotFound(_))
    ));
    send(&engine, packet, &LOOK, 0);
    assert_eq!(left(&engine, 0), Some(60_000));
}

#[test]
fn a_policy_is_attached_at_commit_and_no_later() {
    let engine = engine();
    set(&engine, 5, &[("udp_first", 100), ("udp_single", 100)]);
    set(&engine, 6, &[("udp_single", 6)]);
    let (packet, commit) = question(0);
    let with = |number| Action {
        timeout_policy: Some(number),
        ..commit
    };
    send(&engine, packet.clone(), &with(5), 0);
    // Neither a commit of a living connection nor an action without commit changes it.
    for action in [
        with(6),
        Action {
            commit: false,
            ..with(6)
        },
    ] {
        send(&engine, packet.clone(), &action, 0);
        assert_eq!(left(&engine, 0), Some(100_000));
    }
}

#[test]
fn an_action_that_names_a_policy_never_set_uses_the_instances() {
    let engine = engine();
    let (packet, commit) = question(0);
    let commit = Action {
        timeout_policy: Some(99),
        ..commit
    };
    send(&engine, packet, &commit, 0);
    assert_eq!(left(&engine, 0), Some(60_000));
}

#[test]
fn a_zones_policy_serves_actions_that_name_none_and_zone_0_serves_zones_without() {
    let engine = engine();
    set(&engine, 5, &[("udp_first", 5)]);
    set(&engine, 6, &[("udp_first", 6)]);
    set(&engine, 7, &[("udp_first", 7)]);
    let first = |zone, timeout_policy| {
        engine.flush(Flush::All, at(0)).expect("always");
        let (packet, commit) = question(zone);
        let commit = Action {
            timeout_policy,
            ..commit
        };
        send(&engine, packet, &commit, 0);
        left(&engine, 0).map(|millis| millis / 1000)
    };
    assert_eq!(first(3, None), Some(60));
    engine
        .set_zone_timeout_policy(0, Some(5))
        .expect("is there");
    assert_eq!((first(0, None), first(3, None)), (Some(5), Some(5)));
    engine
        .set_zone_timeout_policy(3, Some(6))
        .expect("is there");
    assert_eq!((first(2, None), first(3, None)), (Some(5), Some(6)));
    assert_eq!(first(3, Some(7)), Some(7));
    engine.set_zone_timeout_policy(3, None).expect("always");
    assert_eq!(
        (first(3, None), engine.zone_timeout_policy(3)),
        (Some(5), None)
    );
    assert!(engine.set_zone_timeout_policy(3, Some(99)).is_err());
    // The policy of zone 0 is deleted: zones that had it are as the instance has it.
    engine.delete_timeout_policy(5).expect("it is there");
    assert_eq!((first(0, None), first(3, None)), (Some(60), Some(60)));
}

#[test]
fn every_one_of_65536_zones_may_have_its_policy() {
    let engine = engine();
    for number in 1..=5 {
        set(&engine, number, &[("udp_first", 10 * number)]);
    }
    for zone in 0..=Zone::MAX {
        let number = u32::from(zone) % 5 + 1;
        engine
            .set_zone_timeout_policy(zone, Some(number))
            .expect("it is there");
    }
    for zone in 0..=Zone::MAX {
        let (packet, commit) = question(zone);
        send(&engine, packet, &commit, 0);
    }
    let mut cursor = Cursor::default();
    let mut seen = 0;
    while let Some(listed) = engine.next(&mut cursor, at(0)) {
        let number = u32::from(listed.original.zone) % 5 + 1;
        assert_eq!(listed.timeout_policy, Some(number));
        assert_eq!(listed.remaining, u64::from(number) * 10_000);
        seen += 1;
    }
    assert_eq!(seen, 65_536);
}

#[test]
fn the_longest_timeout_does_not_wrap() {
    // Open vSwitch multiplies in 32 bits: 4,294,968 seconds are 704 milliseconds there.
    let engine = engine();
    set(&engine, 0, &[("udp_first", u32::MAX)]);
    let (packet, commit) = question(0);
    send(&engine, packet, &commit, 0);
    assert_eq!(left(&engine, 0), Some(u64::from(u32::MAX) * 1000));
    assert_eq!(
        left(&engine, 4_294_968_000),
        Some(u64::from(u32::MAX - 4_294_968) * 1000)
    );
}

#[test]
fn an_unknown_attribute_is_refused_by_its_name() {
    let engine = engine();
    let refused = engine.set_timeout_policy(5, policy(&[("udp_last", 1)]));
    assert!(matches!(refused, Err(Error::Invalid(why)) if why.contains("udp_last")));
    assert_eq!(engine.timeout_policy(5), None);
}

#[test]
fn what_expired_is_invisible_at_once_and_counts_until_it_is_swept() {
    let engine = engine();
    let (packet, commit) = question(0);
    send(&engine, packet.clone(), &commit, 0);
    assert_eq!(left(&engine, 60_000), None);
    let counts = || (engine.connections(), engine.zone_limit(0).count);
    assert_eq!(counts(), (1, 1));
    // The sweep looks at each second once it is over.
    let swept = engine.sweep(at(62_000), Budget { records: 100 });
    assert_eq!(swept.removed, 1);
    assert_eq!(counts(), (0, 0));
    // Before its time the sweep leaves it alone.
    send(&engine, packet, &commit, 62_000);
    let early = engine.sweep(at(121_999), Budget { records: 100 });
    assert_eq!(early.removed, 0);
    assert_eq!(left(&engine, 121_999), Some(1));
}

#[test]
fn a_sweep_spends_no_more_than_its_budget_and_the_next_one_goes_on() {
    let engine = engine();
    for port in 0..1000 {
        let packet = udp(Ip::v4(1), 1000 + port, Ip::v4(2), 53, b"?");
        send(&engine, packet, &COMMIT, 0);
    }
    let (mut removed, mut calls) = (0, 0);
    loop {
        let swept = engine.sweep(at(100_000), Budget { records: 64 });
        assert!(swept.looked_at <= BLOCK, "{swept:?}");
        removed += swept.removed;
        calls += 1;
        if swept.complete {
            break;
        }
    }
    assert_eq!((removed, engine.connections()), (1000, 0));
    assert!(calls > 3);
}
