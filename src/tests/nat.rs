//! Translation as its users see it (the rules of Open vSwitch's `nat` action): packets in, translated
//! packets out, each compared with a packet built from scratch.

use crate::clock::Time;
use crate::engine::action::{Action, Masked, Nat, NatRange, NatSelection};
use crate::engine::config::Config;
use crate::engine::descriptor::{ConnectionId, Frame, Modified, state};
use crate::engine::statistics::Counter;
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::packet::tcp_flags::{ACK, SYN};
use crate::packet::{Checksum, Family, proto};
use crate::reason::Reason;
use crate::tests::packets::{self, Ip, Segment, echo, fragment, sctp, udp, unreachable};

mod captures;
mod properties;

const TRACKED: u8 = state::TRK;

fn engine() -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("defaults are valid")
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// One address, and these ports.
fn to(address: Ip, ports: Option<(u16, u16)>) -> NatRange {
    NatRange {
        ports,
        ..NatRange::address(address.number())
    }
}

fn snat(range: NatRange) -> Action {
    committing(Nat {
        source: Some(range),
        ..Nat::default()
    })
}

fn dnat(range: NatRange) -> Action {
    committing(Nat {
        destination: Some(range),
        ..Nat::default()
    })
}

fn committing(nat: Nat) -> Action {
    Action {
        commit: true,
        nat: Some(nat),
        ..Action::default()
    }
}

/// `ct(nat)`: translates what has a translation.
fn apply() -> Action {
    Action {
        nat: Some(Nat::default()),
        ..Action::default()
    }
}

fn run(engine: &Engine, frame: Frame, action: &Action, now: u64) -> Frame {
    let mut frames = [frame];
    engine.execute(&mut frames, action, at(now));
    let [frame] = frames;
    frame
}

fn one(engine: &Engine, bytes: Vec<u8>, action: &Action) -> Frame {
    run(engine, Frame::ip(bytes), action, 0)
}

#[test]
fn the_source_of_originals_and_the_destination_of_replies_are_translated() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5000))));
    let syn = Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0);
    let first = one(&engine, syn.bytes(), &action);
    let sent = Segment::v4(9, 5000, 2, 80, SYN).numbers(100, 0);
    assert_eq!(first.bytes, sent.bytes());
    assert_eq!(first.metadata.state, TRACKED | state::NEW | state::SNAT);
    assert!(first.modified.source && !first.modified.destination);
    let answer = Segment::v4(2, 80, 9, 5000, SYN | ACK).numbers(500, 101);
    let second = one(&engine, answer.bytes(), &apply());
    let back = Segment::v4(2, 80, 1, 1000, SYN | ACK).numbers(500, 101);
    assert_eq!(second.bytes, back.bytes());
    let reply = TRACKED | state::EST | state::RPL | state::DNAT;
    assert_eq!(second.metadata.state, reply);
    let third = one(
        &engine,
        Segment::v4(1, 1000, 2, 80, ACK).numbers(101, 501).bytes(),
        &apply(),
    );
    assert_eq!(
        third.bytes,
        Segment::v4(9, 5000, 2, 80, ACK).numbers(101, 501).bytes()
    );
    assert_eq!(third.metadata.state, TRACKED | state::EST | state::SNAT);
}

#[test]
fn the_destination_is_translated_for_every_protocol_and_family() {
    type Build = fn(Ip, Ip, u16) -> Vec<u8>;
    let builds: [(Build, bool); 4] = [
        (|src, dst, port| udp(src, 7, dst, port, b"data"), true),
        (
            |src, dst, port| {
                let mut segment = Segment::v4(0, 7, 0, port, SYN);
                (segment.src, segment.dst) = (src, dst);
                segment.bytes()
            },
            true,
        ),
        (
            |src, dst, port| {
                sctp(
                    src,
                    7,
                    dst,
                    port,
                    0,
                    &[1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1],
                )
            },
            true,
        ),
        (
            |src, dst, _| packets::ip(src, dst, proto::GRE, b"tunnelled"),
            false,
        ),
    ];
    for (client, server, inside) in [
        (Ip::v4(1), Ip::v4(2), Ip::v4(3)),
        (Ip::v6(1), Ip::v6(2), Ip::v6(3)),
    ] {
        for (build, _) in &builds {
            let engine = engine();
            let action = dnat(to(inside, Some((8080, 8080))));
            let sent = one(&engine, build(client, server, 80), &action);
            assert_eq!(sent.metadata.state, TRACKED | state::NEW | state::DNAT);
            assert_eq!(sent.bytes, build(client, inside, 8080));
        }
    }
}

#[test]
fn both_ends_of_one_connection_can_be_translated() {
    let engine = engine();
    let action = committing(Nat {
        source: Some(to(Ip::v4(9), Some((5000, 5000)))),
        destination: Some(to(Ip::v4(3), Some((8080, 8080)))),
        ..Nat::default()
    });
    let sent = one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &action);
    assert_eq!(sent.bytes, udp(Ip::v4(9), 5000, Ip::v4(3), 8080, b"q"));
    assert_eq!(
        sent.metadata.state,
        TRACKED | state::NEW | state::SNAT | state::DNAT
    );
    let back = one(
        &engine,
        udp(Ip::v4(3), 8080, Ip::v4(9), 5000, b"a"),
        &apply(),
    );
    assert_eq!(back.bytes, udp(Ip::v4(2), 80, Ip::v4(1), 7, b"a"));
}

#[test]
fn the_identifier_of_an_echo_is_translated_and_comes_back() {
    for (client, server, public) in [
        (Ip::v4(1), Ip::v4(2), Ip::v4(9)),
        (Ip::v6(1), Ip::v6(2), Ip::v6(9)),
    ] {
        let engine = engine();
        let action = snat(to(public, None));
        let first = one(&engine, echo(client, server, 77, false), &action);
        assert_eq!(first.bytes, echo(public, server, 77, false));
        // The same identifier from another host must get another one.
        let other = match client {
            Ip::V4(_) => Ip::v4(4),
            Ip::V6(_) => Ip::v6(4),
        };
        let second = one(&engine, echo(other, server, 77, false), &action);
        assert_eq!(second.metadata.state, TRACKED | state::NEW | state::SNAT);
        let at = second.bytes.len() - 12;
        let id = u16::from_be_bytes([second.bytes[at], second.bytes[at + 1]]);
        assert_ne!(id, 77);
        assert_eq!(second.bytes, echo(public, server, id, false));
        let back = one(&engine, echo(server, public, id, true), &apply());
        assert_eq!(back.bytes, echo(server, other, 77, true));
    }
}

#[test]
fn an_error_is_translated_outside_and_inside() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5000))));
    let sent = one(
        &engine,
        udp(Ip::v4(1), 7, Ip::v4(2), 80, b"question"),
        &action,
    );
    // From the server itself.
    let error = unreachable(Ip::v4(2), Ip::v4(9), &sent.bytes);
    let back = one(&engine, error, &apply());
    let right = unreachable(
        Ip::v4(2),
        Ip::v4(1),
        &udp(Ip::v4(1), 7, Ip::v4(2), 80, b"question"),
    );
    assert_eq!(back.bytes, right);
    assert_eq!(
        back.metadata.state,
        TRACKED | state::REL | state::RPL | state::DNAT
    );
    // From a router on the way.
    let error = unreachable(Ip::v4(200), Ip::v4(9), &sent.bytes);
    let back = one(&engine, error, &apply());
    let right = unreachable(
        Ip::v4(200),
        Ip::v4(1),
        &udp(Ip::v4(1), 7, Ip::v4(2), 80, b"question"),
    );
    assert_eq!(back.bytes, right);
}

#[test]
fn a_packet_out_of_its_window_is_invalid_and_translated_all_the_same() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5000))));
    one(
        &engine,
        Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0).bytes(),
        &action,
    );
    one(
        &engine,
        Segment::v4(2, 80, 9, 5000, SYN | ACK)
            .numbers(500, 101)
            .bytes(),
        &apply(),
    );
    one(
        &engine,
        Segment::v4(1, 1000, 2, 80, ACK).numbers(101, 501).bytes(),
        &apply(),
    );
    let far = Segment::v4(1, 1000, 2, 80, ACK)
        .numbers(0x4000_0000, 501)
        .payload(4);
    let packet = one(&engine, far.bytes(), &apply());
    assert_eq!(packet.metadata.state, TRACKED | state::INV | state::SNAT);
    let right = Segment::v4(9, 5000, 2, 80, ACK)
        .numbers(0x4000_0000, 501)
        .payload(4);
    assert_eq!(packet.bytes, right.bytes());
}

#[test]
fn a_packet_that_was_translated_in_this_zone_is_found_and_left_alone() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5000))));
    let sent = one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &action);
    assert_eq!(
        sent.metadata.connection,
        ConnectionId::NONE,
        "with nat nothing is cached"
    );
    let before = sent.bytes.clone();
    for again in [apply(), Action::default(), action] {
        let second = run(&engine, sent.clone(), &again, 0);
        assert_eq!(second.bytes, before);
        assert_eq!(second.metadata.state, TRACKED | state::NEW | state::SNAT);
    }
    assert_eq!(engine.connections(), 1);
}

#[test]
fn a_packet_from_another_zone_is_translated_again() {
    let engine = engine();
    let sent = one(
        &engine,
        udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"),
        &snat(to(Ip::v4(9), Some((5000, 5000)))),
    );
    let second = Action {
        zone: 1,
        ..snat(to(Ip::v4(10), Some((6000, 6000))))
    };
    let sent = run(&engine, sent, &second, 0);
    assert_eq!(sent.bytes, udp(Ip::v4(10), 6000, Ip::v4(2), 80, b"q"));
    assert_eq!(sent.metadata.state, TRACKED | state::NEW | state::SNAT);
}

#[test]
fn a_cached_packet_is_translated_without_touching_its_state() {
    let engine = engine();
    let commit = Action {
        nat: None,
        ..snat(to(Ip::v4(9), None))
    };
    // Committed with a translation, met again by an action without nat: cached, then with nat.
    one(
        &engine,
        udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"),
        &snat(to(Ip::v4(9), Some((5000, 5000)))),
    );
    let cached = one(
        &engine,
        udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"),
        &Action {
            commit: false,
            ..commit
        },
    );
    assert_ne!(cached.metadata.connection, ConnectionId::NONE);
    let sent = run(&engine, cached, &apply(), 0);
    assert_eq!(sent.bytes, udp(Ip::v4(9), 5000, Ip::v4(2), 80, b"q"));
    assert_eq!(sent.metadata.state, TRACKED | state::NEW | state::SNAT);
    assert_eq!(sent.metadata.connection, ConnectionId::NONE);
    assert_eq!(engine.counter(Counter::Cached), 1);
}

#[test]
fn an_empty_nat_commits_without_translating_and_leaves_nothing_behind() {
    // Open vSwitch inserts a reply key of zeros here that stays reachable after the connection's end.
    let engine = engine();
    let action = committing(Nat::default());
    let sent = one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &action);
    assert_eq!(sent.metadata.state, TRACKED | state::NEW);
    assert_eq!(sent.modified, Modified::default());
    let listed = engine.next(&mut Cursor::default(), at(0)).expect("stored");
    assert_eq!(listed.reply, listed.original.reversed());
    engine
        .flush(Flush::Tuple(listed.original), at(0))
        .expect("it is there");
    assert!(engine.lookup(&listed.reply, at(0)).is_none());
}

#[test]
fn an_all_zero_source_only_resolves_clashes() {
    let engine = engine();
    let action = snat(NatRange::address(0));
    let first = one(&engine, udp(Ip::v4(1), 3000, Ip::v4(2), 80, b"q"), &action);
    assert_eq!(first.bytes, udp(Ip::v4(1), 3000, Ip::v4(2), 80, b"q"));
    assert_eq!(first.metadata.state, TRACKED | state::NEW | state::SNAT);
    // A connection towards 2:80 by way of a translated destination now clashes.
    let behind = committing(Nat {
        source: Some(NatRange::address(0)),
        destination: Some(to(Ip::v4(2), Some((80, 80)))),
        ..Nat::default()
    });
    let second = one(&engine, udp(Ip::v4(1), 3000, Ip::v4(3), 80, b"q"), &behind);
    assert_eq!(
        second.metadata.state,
        TRACKED | state::NEW | state::SNAT | state::DNAT
    );
    let sport = u16::from_be_bytes([second.bytes[20], second.bytes[21]]);
    assert_ne!(sport, 3000);
    assert_eq!(second.bytes, udp(Ip::v4(1), sport, Ip::v4(2), 80, b"q"));
}

#[test]
fn a_full_range_stores_nothing_and_leaves_the_packet_new_and_untouched() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5001))));
    for sport in [1, 2] {
        one(&engine, udp(Ip::v4(1), sport, Ip::v4(2), 80, b"q"), &action);
    }
    let third = one(&engine, udp(Ip::v4(1), 3, Ip::v4(2), 80, b"q"), &action);
    assert_eq!(third.metadata.state, TRACKED | state::NEW);
    assert_eq!(third.metadata.reason, Reason::NatExhausted);
    assert_eq!(third.bytes, udp(Ip::v4(1), 3, Ip::v4(2), 80, b"q"));
    assert_eq!(engine.connections(), 2);
    assert_eq!(engine.counter(Counter::NatExhausted), 1);
    // The same ports serve another destination.
    let elsewhere = one(&engine, udp(Ip::v4(1), 3, Ip::v4(4), 80, b"q"), &action);
    assert_eq!(elsewhere.metadata.state, TRACKED | state::NEW | state::SNAT);
    // And this one, once a connection has ended.
    let listed = engine.next(&mut Cursor::default(), at(0)).expect("stored");
    engine
        .flush(Flush::Tuple(listed.original), at(0))
        .expect("it is there");
    let again = one(&engine, udp(Ip::v4(1), 3, Ip::v4(2), 80, b"q"), &action);
    assert_eq!(again.metadata.state, TRACKED | state::NEW | state::SNAT);
}

#[test]
fn what_expired_does_not_block_a_port() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5000))));
    one(&engine, udp(Ip::v4(1), 1, Ip::v4(2), 80, b"q"), &action);
    let late = run(
        &engine,
        Frame::ip(udp(Ip::v4(1), 2, Ip::v4(2), 80, b"q")),
        &action,
        61_000,
    );
    assert_eq!(late.metadata.state, TRACKED | state::NEW | state::SNAT);
}

#[test]
fn a_range_of_addresses_is_walked() {
    let engine = engine();
    let range = NatRange {
        min_address: Ip::v4(20).number(),
        max_address: Ip::v4(23).number(),
        ports: Some((5000, 5000)),
    };
    let mut seen = std::collections::HashSet::new();
    for sport in 1..=4 {
        let sent = one(
            &engine,
            udp(Ip::v4(1), sport, Ip::v4(2), 80, b"q"),
            &snat(range),
        );
        assert_eq!(sent.metadata.state, TRACKED | state::NEW | state::SNAT);
        seen.insert(sent.bytes[12..16].to_vec());
    }
    assert_eq!(seen.len(), 4);
    let none = one(
        &engine,
        udp(Ip::v4(1), 5, Ip::v4(2), 80, b"q"),
        &snat(range),
    );
    assert_eq!(none.metadata.reason, Reason::NatExhausted);
}

#[test]
fn a_port_that_is_free_stays() {
    let engine = engine();
    let sent = one(
        &engine,
        udp(Ip::v4(1), 3000, Ip::v4(2), 80, b"q"),
        &snat(to(Ip::v4(9), None)),
    );
    assert_eq!(sent.bytes, udp(Ip::v4(9), 3000, Ip::v4(2), 80, b"q"));
}

#[test]
fn a_persistent_choice_is_the_same_in_every_instance() {
    let choose = |seed: u64| {
        let engine = Engine::new(&Config {
            seed: Some([seed; 8]),
            ..Config::default()
        })
        .expect("defaults are valid");
        let action = committing(Nat {
            source: Some(NatRange {
                min_address: Ip::v4(20).number(),
                max_address: Ip::v4(200).number(),
                ports: None,
            }),
            selection: NatSelection::Persistent,
            ..Nat::default()
        });
        one(&engine, udp(Ip::v4(1), 3000, Ip::v4(2), 80, b"q"), &action).bytes
    };
    assert_eq!(choose(1), choose(2));
}

#[test]
fn random_ports_differ_from_connection_to_connection() {
    let engine = engine();
    let action = committing(Nat {
        source: Some(to(Ip::v4(9), Some((1024, 65535)))),
        selection: NatSelection::Random,
        ..Nat::default()
    });
    let port = |host| {
        let sent = one(
            &engine,
            udp(Ip::v4(1), 3000, Ip::v4(host), 80, b"q"),
            &action,
        );
        u16::from_be_bytes([sent.bytes[20], sent.bytes[21]])
    };
    let ports: std::collections::HashSet<u16> = (2..10).map(port).collect();
    assert!(ports.len() > 6);
}

#[test]
fn a_range_of_the_other_family_stores_nothing() {
    let engine = engine();
    let action = committing(Nat {
        source: Some(to(Ip::v4(9), None)),
        family: Some(Family::V4),
        ..Nat::default()
    });
    let sent = one(&engine, udp(Ip::v6(1), 7, Ip::v6(2), 80, b"q"), &action);
    assert_eq!(sent.metadata.state, TRACKED | state::NEW);
    assert_eq!(sent.metadata.reason, Reason::NatFamily);
    assert_eq!(engine.connections(), 0);
}

#[test]
fn a_read_only_packet_that_must_be_translated_becomes_invalid() {
    let engine = engine();
    let mut frame = Frame::ip(udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"));
    frame.hints.read_only = true;
    let sent = run(&engine, frame, &snat(to(Ip::v4(9), None)), 0);
    assert_eq!(sent.metadata.reason, Reason::ReadOnly);
    assert_eq!(sent.metadata.state, TRACKED | state::NEW | state::INV);
    assert_eq!(sent.bytes, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"));
}

#[test]
fn a_partial_checksum_stays_partial() {
    let engine = engine();
    let mut frame = Frame::ip(packets::partial(udp(Ip::v4(1), 7, Ip::v4(2), 80, b"data")));
    frame.hints.l4_checksum = Checksum::Partial;
    frame.hints.ip_checksum = Checksum::Partial;
    let sent = run(&engine, frame, &snat(to(Ip::v4(9), Some((5000, 5000)))), 0);
    assert_eq!(
        sent.bytes,
        packets::partial(udp(Ip::v4(9), 5000, Ip::v4(2), 80, b"data"))
    );
    assert!(sent.modified.l4_partial);
}

#[test]
fn two_hosts_behind_one_address_reach_each_other_by_it() {
    // Hairpin: 1 reaches 2 by the public address 9, and its source is hidden as 9 too.
    let engine = engine();
    let action = committing(Nat {
        source: Some(to(Ip::v4(9), Some((5000, 6000)))),
        destination: Some(to(Ip::v4(2), Some((80, 80)))),
        ..Nat::default()
    });
    let sent = one(&engine, udp(Ip::v4(1), 7, Ip::v4(9), 80, b"q"), &action);
    let sport = u16::from_be_bytes([sent.bytes[20], sent.bytes[21]]);
    assert_eq!(sent.bytes, udp(Ip::v4(9), sport, Ip::v4(2), 80, b"q"));
    let back = one(
        &engine,
        udp(Ip::v4(2), 80, Ip::v4(9), sport, b"a"),
        &apply(),
    );
    assert_eq!(back.bytes, udp(Ip::v4(9), 80, Ip::v4(1), 7, b"a"));
}

#[test]
fn two_threads_that_want_one_port_get_it_once() {
    for round in 0..50_u8 {
        let engine = engine();
        let action = snat(to(Ip::v4(9), Some((5000, 5000))));
        let open = |host: u8| {
            let sent = one(
                &engine,
                udp(Ip::v4(host), 7, Ip::v4(2), 80, &[round]),
                &action,
            );
            sent.metadata.state & state::SNAT != 0
        };
        let translated = std::thread::scope(|scope| {
            let other = scope.spawn(|| open(1));
            [open(3), other.join().expect("no panic")]
        });
        assert_eq!(translated.iter().filter(|&&got| got).count(), 1);
        assert_eq!(engine.connections(), 1);
    }
}

#[test]
fn mark_and_label_are_set_on_translated_connections_too() {
    let engine = engine();
    let action = Action {
        mark: Some(Masked {
            value: 5,
            mask: u32::MAX,
        }),
        label: Some(Masked {
            value: 1 << 100,
            mask: u128::MAX,
        }),
        ..snat(to(Ip::v4(9), Some((5000, 5000))))
    };
    one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &action);
    let back = one(&engine, udp(Ip::v4(2), 80, Ip::v4(9), 5000, b"a"), &apply());
    assert_eq!((back.metadata.mark, back.metadata.label), (5, 1 << 100));
    let original = back.original.expect("it was asked for");
    assert_eq!((original.src, original.sport), (Ip::v4(1).number(), 7));
}

#[test]
fn a_swept_connection_gives_its_port_back() {
    let engine = engine();
    let ports = (5000, 5299);
    let action = snat(to(Ip::v4(9), Some(ports)));
    let fill = |now| {
        (0..400_u16)
            .filter(|i| {
                let frame = Frame::ip(udp(Ip::v4(1), 1000 + i, Ip::v4(2), 80, b"q"));
                run(&engine, frame, &action, now).metadata.state & state::SNAT != 0
            })
            .count()
    };
    assert_eq!(fill(0), 300, "exactly as many as there are ports");
    let swept = engine.sweep(at(100_000), Budget { records: u32::MAX });
    assert_eq!(swept.removed, 300);
    assert_eq!(fill(100_000), 300);
}

#[test]
fn a_fragment_is_never_translated_by_itself() {
    let engine = engine();
    let packet = udp(Ip::v4(1), 7, Ip::v4(2), 80, &[7; 64]);
    let first = fragment(&packet, 9, 0, true, &packet[20..44]);
    let sent = one(&engine, first.clone(), &snat(to(Ip::v4(9), None)));
    assert_eq!(sent.metadata.state, TRACKED | state::INV);
    assert_eq!(sent.bytes, first);
}

#[test]
fn a_translation_is_chosen_at_commit_only() {
    let engine = engine();
    let rule = snat(to(Ip::v4(9), Some((5000, 5000))));
    let look = Action {
        commit: false,
        ..rule
    };
    let packet = udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q");
    let seen = one(&engine, packet.clone(), &look);
    assert_eq!(seen.metadata.state, TRACKED | state::NEW);
    assert_eq!((seen.bytes, engine.connections()), (packet.clone(), 0));
    // A connection without translation gets none by a later rule.
    one(&engine, packet.clone(), &committing(Nat::default()));
    let again = one(&engine, packet.clone(), &rule);
    assert_eq!(again.bytes, packet);
    assert_eq!(again.metadata.state, TRACKED | state::NEW);
}

#[test]
fn force_implies_commit() {
    let engine = engine();
    let force = Action {
        commit: false,
        force: true,
        ..snat(to(Ip::v4(9), Some((5000, 5000))))
    };
    let sent = one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &force);
    assert_eq!(sent.bytes, udp(Ip::v4(9), 5000, Ip::v4(2), 80, b"q"));
    assert_eq!(engine.connections(), 1);
}

#[test]
fn zones_share_no_ports_and_no_translations() {
    let engine = engine();
    let rule = snat(to(Ip::v4(9), Some((5000, 5000))));
    for zone in [0, 1, 65_535] {
        let action = Action { zone, ..rule };
        let sent = one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &action);
        assert_eq!(sent.bytes, udp(Ip::v4(9), 5000, Ip::v4(2), 80, b"q"));
    }
    let elsewhere = Action { zone: 2, ..apply() };
    let answer = udp(Ip::v4(2), 80, Ip::v4(9), 5000, b"a");
    let back = one(&engine, answer.clone(), &elsewhere);
    assert_eq!(back.metadata.state, TRACKED | state::NEW);
    assert_eq!(back.bytes, answer);
}

#[test]
fn a_persistent_source_keeps_its_address_to_every_destination() {
    let engine = engine();
    let action = committing(Nat {
        source: Some(NatRange {
            min_address: Ip::v4(20).number(),
            max_address: Ip::v4(200).number(),
            ports: None,
        }),
        selection: NatSelection::Persistent,
        ..Nat::default()
    });
    let shown = |client: u8, server: u8, sport: u16| {
        let packet = udp(Ip::v4(client), sport, Ip::v4(server), 80, b"q");
        one(&engine, packet, &action).bytes[12..16].to_vec()
    };
    let of_one: std::collections::HashSet<_> = (210..220)
        .map(|server| shown(1, server, u16::from(server)))
        .collect();
    let of_many: std::collections::HashSet<_> =
        (1..11).map(|client| shown(client, 220, 7)).collect();
    assert_eq!(of_one.len(), 1);
    assert!(of_many.len() > 5);
}

#[test]
fn the_mark_of_a_translated_connection_may_change_on_its_reply() {
    let engine = engine();
    let action = snat(to(Ip::v4(9), Some((5000, 5000))));
    one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &action);
    let marked = Action {
        commit: true,
        mark: Some(Masked {
            value: 3,
            mask: u32::MAX,
        }),
        ..apply()
    };
    let back = one(&engine, udp(Ip::v4(2), 80, Ip::v4(9), 5000, b"a"), &marked);
    assert_eq!(back.bytes, udp(Ip::v4(2), 80, Ip::v4(1), 7, b"a"));
    let next = one(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"q"), &apply());
    assert_eq!((back.metadata.mark, next.metadata.mark), (3, 3));
}

#[test]
fn new_connections_to_one_service_are_spread_over_its_servers() {
    let engine = engine();
    let action = dnat(NatRange {
        min_address: Ip::v4(50).number(),
        max_address: Ip::v4(53).number(),
        ports: Some((80, 80)),
    });
    let mut load = std::collections::HashMap::new();
    for sport in 1000..1400 {
        let packet = udp(Ip::v4(1), sport, Ip::v4(2), 8080, b"q");
        let sent = one(&engine, packet.clone(), &action);
        let server = sent.bytes[19];
        *load.entry(server).or_insert(0) += 1;
        // And stays where it is.
        assert_eq!(one(&engine, packet, &apply()).bytes, sent.bytes);
    }
    assert_eq!(load.len(), 4);
    assert!(load.values().all(|&count| count > 50), "{load:?}");
}
