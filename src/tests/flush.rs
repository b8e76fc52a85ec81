//! Flushes and dumps as users see them (Open vSwitch's `flush-conntrack` and `dump-conntrack`).

use crate::clock::Time;
use crate::engine::action::{Action, Masked, Nat, NatRange};
use crate::engine::config::Config;
use crate::engine::descriptor::{Frame, state};
use crate::engine::filter::{Filter, TupleFilter};
use crate::engine::listing::{Connection, ProtocolListing};
use crate::engine::{Cursor, Engine, Flush};
use crate::error::Error;
use crate::packet::tcp_flags::{ACK, FIN, SYN};
use crate::packet::{Family, proto};
use crate::tests::packets::{Ip, Segment, echo, udp};
use crate::tuple::Zone;

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

fn commit(zone: Zone) -> Action {
    Action {
        zone,
        commit: true,
        ..Action::default()
    }
}

fn send(engine: &Engine, bytes: Vec<u8>, action: &Action) -> Frame {
    let mut frames = [Frame::ip(bytes)];
    engine.execute(&mut frames, action, at(0));
    let [frame] = frames;
    frame
}

fn listed(engine: &Engine, zone: Option<Zone>) -> Vec<Connection> {
    let mut cursor = Cursor::new(zone);
    std::iter::from_fn(|| engine.next(&mut cursor, at(0))).collect()
}

/// Ten datagrams from as many hosts, to as many ports, in zones 0 and 1.
fn crowd(engine: &Engine) {
    for host in 0..10_u8 {
        let action = Action {
            mark: Some(Masked {
                value: u32::from(host),
                mask: u32::MAX,
            }),
            label: Some(Masked {
                value: u128::from(host) << 100,
                mask: u128::MAX,
            }),
            ..commit(u16::from(host % 2))
        };
        let packet = udp(Ip::v4(host), 1000, Ip::v4(100), 50 + u16::from(host), b"?");
        send(engine, packet, &action);
    }
}

#[test]
fn everything_or_a_zone_is_invisible_when_its_flush_returns() {
    let engine = engine();
    crowd(&engine);
    engine.flush(Flush::Zone(1), at(0)).expect("always");
    assert_eq!(
        (listed(&engine, None).len(), listed(&engine, Some(1)).len()),
        (5, 0)
    );
    let again = udp(Ip::v4(1), 1000, Ip::v4(100), 51, b"?");
    assert_eq!(
        send(
            &engine,
            again,
            &Action {
                zone: 1,
                ..Action::default()
            }
        )
        .metadata
        .state,
        state::TRK | state::NEW
    );
    engine.flush(Flush::All, at(0)).expect("always");
    assert_eq!(listed(&engine, None), []);
}

#[test]
fn a_connection_is_flushed_by_its_tuple_in_either_direction() {
    let engine = engine();
    let nat = Nat {
        source: Some(NatRange::address(Ip::v4(9).number())),
        ..Nat::default()
    };
    let translated = Action {
        nat: Some(nat),
        ..commit(3)
    };
    for reply in [false, true] {
        send(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"?"), &translated);
        let known = listed(&engine, None);
        let tuple = if reply {
            known[0].reply
        } else {
            known[0].original
        };
        engine
            .flush(Flush::Tuple(tuple), at(0))
            .expect("it is there");
        assert_eq!(listed(&engine, None), []);
        let absent = engine.flush(Flush::Tuple(tuple), at(0));
        assert!(matches!(absent, Err(Error::NotFound(_))));
    }
}

#[test]
fn a_tuple_of_another_zone_is_another_connection() {
    let engine = engine();
    for zone in [0, 1] {
        send(
            &engine,
            udp(Ip::v4(1), 7, Ip::v4(2), 80, b"?"),
            &commit(zone),
        );
    }
    let first = listed(&engine, Some(0))[0].original;
    engine
        .flush(Flush::Tuple(first), at(0))
        .expect("it is there");
    assert_eq!(
        (
            listed(&engine, Some(0)).len(),
            listed(&engine, Some(1)).len()
        ),
        (0, 1)
    );
}

/// How many of the crowd a filter means, by the dump and by the flush.
fn meant(filter: &Filter) -> u32 {
    let engine = engine();
    crowd(&engine);
    let mut cursor = Cursor::default();
    let dumped = std::iter::from_fn(|| engine.next_matching(&mut cursor, filter, at(0))).count();
    let flushed = engine.flush_matching(filter, at(0));
    assert_eq!(dumped as u32, flushed);
    assert_eq!(listed(&engine, None).len() as u32, 10 - flushed);
    flushed
}

#[test]
fn a_filter_flushes_what_it_means_and_nothing_else() {
    let all = Filter::default();
    assert_eq!(meant(&all), 10);
    let zone = Filter {
        zone: Some(1),
        ..all.clone()
    };
    assert_eq!(meant(&zone), 5);
    let original = |part| Filter {
        original: part,
        ..Filter::default()
    };
    let part = TupleFilter::default();
    let source = original(TupleFilter {
        src: Some((Ip::v4(3).number(), u128::MAX)),
        ..part
    });
    assert_eq!(meant(&source), 1);
    // 10.0.0.4/30.
    let network = original(TupleFilter {
        src: Some((Ip::v4(4).number(), !3)),
        ..part
    });
    assert_eq!(meant(&network), 4);
    let port = original(TupleFilter {
        dport: Some(57),
        ..part
    });
    assert_eq!(meant(&port), 1);
    let other_protocol = original(TupleFilter {
        proto: Some(proto::TCP),
        ..part
    });
    assert_eq!(meant(&other_protocol), 0);
    let reply = Filter {
        reply: TupleFilter {
            dst: Some((Ip::v4(3).number(), u128::MAX)),
            sport: Some(53),
            ..part
        },
        ..Filter::default()
    };
    assert_eq!(meant(&reply), 1);
    // Marks and labels under their masks: 8 and 9; 4 to 7.
    let mark = Filter {
        mark: Some((8, 8)),
        ..Filter::default()
    };
    assert_eq!(meant(&mark), 2);
    let label = Filter {
        label: Some((4 << 100, 12 << 100)),
        ..Filter::default()
    };
    assert_eq!(meant(&label), 4);
    // All parts must hold.
    let both = Filter {
        zone: Some(1),
        ..label
    };
    assert_eq!(meant(&both), 2);
}

#[test]
fn a_whole_tuple_with_its_zone_means_one_connection() {
    let filter = |zone, sport| Filter {
        zone: Some(zone),
        original: TupleFilter {
            src: Some((Ip::v4(3).number(), u128::MAX)),
            dst: Some((Ip::v4(100).number(), u128::MAX)),
            sport: Some(sport),
            dport: Some(53),
            proto: Some(proto::UDP),
            family: Some(Family::V4),
            icmp_type: None,
        },
        ..Filter::default()
    };
    assert_eq!(meant(&filter(1, 1000)), 1);
    assert_eq!(meant(&filter(0, 1000)), 0);
    assert_eq!(meant(&filter(1, 1001)), 0);
}

#[test]
fn pings_are_told_apart_by_identifier_and_type() {
    let filter = |id, icmp_type| Filter {
        original: TupleFilter {
            proto: Some(proto::ICMP),
            sport: id,
            icmp_type,
            ..TupleFilter::default()
        },
        ..Filter::default()
    };
    let flushed = |filter: Filter| {
        let engine = engine();
        for id in 1..=3 {
            send(&engine, echo(Ip::v4(1), Ip::v4(2), id, false), &commit(0));
        }
        engine.flush_matching(&filter, at(0))
    };
    assert_eq!(flushed(filter(Some(2), Some(8))), 1);
    assert_eq!(flushed(filter(Some(2), Some(13))), 0, "another type");
    assert_eq!(flushed(filter(Some(9), None)), 0);
    assert_eq!(flushed(filter(None, Some(8))), 3);
}

#[test]
fn a_filter_that_names_a_zone_leaves_every_other_zone_alone() {
    let engine = engine();
    for zone in 0..=Zone::MAX {
        send(
            &engine,
            udp(Ip::v4(1), 7, Ip::v4(2), 80, b"?"),
            &commit(zone),
        );
    }
    let filter = |zone| Filter {
        zone: Some(zone),
        ..Filter::default()
    };
    for zone in [0, 1, 255, 256, 40_000, Zone::MAX] {
        assert_eq!(engine.flush_matching(&filter(zone), at(0)), 1);
        assert_eq!(engine.flush_matching(&filter(zone), at(0)), 0);
    }
    assert_eq!(engine.connections(), 65_530);
}

#[test]
fn the_shown_tcp_state_is_the_later_one_of_both_sides() {
    let engine = engine();
    let client = |flags, seq, ack| Segment::v4(1, 1000, 2, 80, flags).numbers(seq, ack).bytes();
    let server = |flags, seq, ack| Segment::v4(2, 80, 1, 1000, flags).numbers(seq, ack).bytes();
    let trace = [
        (client(SYN, 100, 0), "SYN_SENT", "SYN_SENT"),
        (server(SYN | ACK, 500, 101), "ESTABLISHED", "ESTABLISHED"),
        (client(ACK, 101, 501), "ESTABLISHED", "ESTABLISHED"),
        (client(FIN | ACK, 101, 501), "CLOSING", "CLOSING"),
        // FIN_WAIT_2 is shown as TIME_WAIT.
        (server(FIN | ACK, 501, 102), "TIME_WAIT", "FIN_WAIT_2"),
        (client(ACK, 102, 502), "TIME_WAIT", "FIN_WAIT_2"),
    ];
    for (packet, shown, original) in trace {
        send(&engine, packet, &commit(0));
        let ProtocolListing::Tcp(tcp) = listed(&engine, None)[0].protocol else {
            panic!("not TCP");
        };
        assert_eq!((tcp.state, tcp.state_original), (shown, original));
    }
}

#[test]
fn udp_and_icmp_have_no_protocol_state() {
    let engine = engine();
    send(&engine, udp(Ip::v4(1), 7, Ip::v4(2), 80, b"?"), &commit(0));
    send(&engine, echo(Ip::v4(1), Ip::v4(2), 7, false), &commit(0));
    let states = listed(&engine, None).into_iter().map(|c| c.protocol);
    assert!(states.eq([ProtocolListing::None; 2]));
}

#[test]
fn a_dump_shows_what_lives_throughout_once_whatever_comes_and_goes() {
    let engine = engine();
    let packet = |port| udp(Ip::v4(1), port, Ip::v4(2), 80, b"?");
    for port in 1..=200 {
        send(&engine, packet(port), &commit(0));
    }
    let stays = |port: u16| port.is_multiple_of(2);
    let first = listed(&engine, None);
    let mut cursor = Cursor::default();
    let mut seen = vec![0; 1000];
    let mut gone = first.iter().filter(|c| !stays(c.original.sport));
    let mut next = 201;
    while let Some(connection) = engine.next(&mut cursor, at(0)) {
        seen[usize::from(connection.original.sport)] += 1;
        if let Some(ends) = gone.next() {
            engine
                .flush(Flush::Tuple(ends.original), at(0))
                .expect("it is there");
            send(&engine, packet(next), &commit(0));
            next += 1;
        }
    }
    assert!(
        (1..=200)
            .filter(|&port| stays(port))
            .all(|port| seen[usize::from(port)] == 1)
    );
    assert!(seen.iter().all(|&times| times <= 1));
}

#[test]
fn a_filter_finds_translated_and_ipv6_connections_by_either_tuple() {
    let source = |public: Ip| Action {
        nat: Some(Nat {
            source: Some(NatRange::address(public.number())),
            ..Nat::default()
        }),
        ..commit(3)
    };
    for (host, public) in [
        (Ip::v4 as fn(u8) -> Ip, Ip::v4(200)),
        (Ip::v6 as fn(u8) -> Ip, Ip::v6(200)),
    ] {
        // On either side of the server's address, so that both orders of a key are met.
        for server in [host(2), host(100)] {
            let engine = engine();
            for client in 10..20 {
                let packet = udp(host(client), 7, server, 80, b"?");
                send(&engine, packet, &source(public));
            }
            let part = |address: Ip| Some((address.number(), u128::MAX));
            let of = |original, reply| Filter {
                original,
                reply,
                ..Filter::default()
            };
            let any = TupleFilter::default();
            let client = TupleFilter {
                src: part(host(13)),
                sport: Some(7),
                ..any
            };
            let wrong_way = TupleFilter {
                dst: part(host(13)),
                ..any
            };
            let shown = TupleFilter {
                dst: part(public),
                ..any
            };
            assert_eq!(engine.flush_matching(&of(wrong_way, any), at(0)), 0);
            assert_eq!(engine.flush_matching(&of(any, client), at(0)), 0);
            assert_eq!(engine.flush_matching(&of(client, any), at(0)), 1);
            assert_eq!(engine.flush_matching(&of(client, any), at(0)), 0);
            assert_eq!(engine.flush_matching(&of(any, shown), at(0)), 9);
        }
    }
}
