//! The rules of the choice, one test each.

use super::*;

#[test]
fn a_packet_is_rewritten_to_the_tuple_of_the_other_direction() {
    let binding = Binding {
        original: tcp(3000),
        reply: Tuple {
            dst: PUBLIC,
            dport: 4000,
            ..tcp(3000).reversed()
        },
        kind: Kind::Source,
    };
    let out = Rewrite::of(&binding, Direction::Original, Place::Itself);
    assert_eq!(
        out,
        Rewrite {
            src: Some(PUBLIC),
            dst: None,
            tuple: binding.after(Direction::Original)
        }
    );
    let back = Rewrite::of(&binding, Direction::Reply, Place::Itself);
    assert_eq!(
        (back.src, back.dst, back.tuple.dport),
        (None, Some(CLIENT), 3000)
    );
}

#[test]
fn a_packet_inside_an_icmp_error_is_translated_the_other_way() {
    let binding = Binding {
        original: tcp(3000),
        reply: Tuple {
            dst: PUBLIC,
            dport: 4000,
            ..tcp(3000).reversed()
        },
        kind: Kind::Source,
    };
    // A router answers the translated packet: the error travels in the reply direction.
    let outer = Rewrite::of(&binding, Direction::Reply, Place::AroundQuote);
    assert_eq!(
        (outer.src, outer.dst),
        (None, Some(CLIENT)),
        "the router keeps its address"
    );
    let inner = Rewrite::of(&binding, Direction::Reply, Place::Quoted);
    assert_eq!((inner.src, inner.dst), (Some(CLIENT), None));
    assert_eq!(
        inner.tuple, binding.original,
        "the sender sees the packet that it sent"
    );
}

#[test]
fn rule_1_the_hash_covers_endpoints_range_protocol_and_zone() {
    let table = Table::default();
    let allocator = allocator();
    let nat = snat(range(1 << 16, Some((1, u16::MAX))));
    let reply = |t: Tuple| {
        let binding = chosen(&allocator, &t, &nat, &table);
        (binding.reply.dst, binding.reply.dport)
    };
    let base = reply(tcp(1000));
    assert_eq!(
        base,
        reply(tcp(1000)),
        "the same connection gets the same translation"
    );
    for other in [
        tcp(1001),
        Tuple {
            src: CLIENT + 1,
            ..tcp(1000)
        },
        Tuple {
            dst: SERVER + 1,
            ..tcp(1000)
        },
        Tuple {
            dport: 81,
            ..tcp(1000)
        },
        Tuple {
            zone: 8,
            ..tcp(1000)
        },
        Tuple {
            proto: proto::UDP,
            ..tcp(1000)
        },
    ] {
        assert_ne!(base, reply(other), "{other:?}");
    }
    let wider = snat(range(1 << 16, Some((2, u16::MAX))));
    let other = chosen(&allocator, &tcp(1000), &wider, &table).reply;
    assert_ne!(base, (other.dst, other.dport));
}

#[test]
fn rule_1_persistent_hashes_the_source_address_only_and_without_the_secret() {
    let table = Table::default();
    let nat = Nat {
        selection: NatSelection::Persistent,
        ..snat(range(1 << 16, None))
    };
    let address = |allocator: &Allocator, t: Tuple| chosen(allocator, &t, &nat, &table).reply.dst;
    let base = address(&allocator(), tcp(1000));
    assert_eq!(
        base,
        address(
            &allocator(),
            Tuple {
                dst: SERVER + 9,
                dport: 443,
                ..tcp(77)
            }
        )
    );
    let restarted = Allocator::new(Secret::new([9; 8]), 0);
    assert_eq!(base, address(&restarted, tcp(1000)));
    assert_ne!(
        base,
        address(
            &allocator(),
            Tuple {
                src: CLIENT + 1,
                ..tcp(1000)
            }
        )
    );
    let ports = Nat {
        selection: NatSelection::Persistent,
        ..snat(range(1, Some((1, u16::MAX))))
    };
    let port = |t: Tuple| chosen(&allocator(), &t, &ports, &table).reply.dport;
    assert_ne!(
        port(tcp(1000)),
        port(tcp(1001)),
        "the port offset is that of the connection"
    );
}

#[test]
fn rule_1_random_starts_at_a_random_port_but_at_the_hashed_address() {
    let table = Table::default();
    let allocator = allocator();
    let nat = Nat {
        selection: NatSelection::Random,
        ..snat(range(256, Some((1000, u16::MAX))))
    };
    let reply = |random| match allocator.choose(
        &Request {
            random,
            ..request(&tcp(1), &nat)
        },
        &table,
    ) {
        Outcome::Chosen(binding) => binding.reply,
        other => panic!("{other:?}"),
    };
    assert_eq!(reply(5).dport, 1005);
    assert_eq!(reply(6).dport, 1006);
    assert_eq!(reply(5).dst, reply(6).dst);
}

#[test]
fn rule_2_a_zero_minimum_keeps_the_address_and_only_resolves_clashes() {
    let table = Table::default();
    let allocator = allocator();
    let nat = snat(NatRange {
        min_address: 0,
        max_address: 0,
        ports: None,
    });
    let first = chosen(&allocator, &tcp(5000), &nat, &table);
    assert_eq!(first.reply, tcp(5000).reversed());
    assert_eq!(first.kind, Kind::Source);
    table.insert(&allocator, &first);
    let clash = chosen(&allocator, &tcp(5000), &nat, &table);
    assert_eq!((clash.reply.dst, clash.reply.dport), (CLIENT, 5001));
    let kept = chosen(
        &allocator,
        &tcp(6000),
        &dnat(NatRange {
            min_address: 0,
            max_address: 0,
            ports: Some((8080, 8080)),
        }),
        &table,
    );
    assert_eq!((kept.reply.src, kept.reply.sport), (SERVER, 8080));
}

#[test]
fn rule_2_the_other_addresses_are_walked_when_the_first_is_full() {
    let nat = snat(range(4, Some((10, 12))));
    let asked = order(&tcp(1000), &nat);
    let mut seen: Vec<u128> = asked.iter().map(|t| t.dst).collect();
    seen.dedup();
    let first = seen[0] - PUBLIC;
    let expected: Vec<u128> = (0..4).map(|i| PUBLIC + (first + i) % 4).collect();
    // The walk of the last part comes back to the second address for its lower ports.
    assert_eq!(seen[..4], expected[..]);
    let distinct: HashSet<Tuple> = asked.iter().copied().collect();
    assert_eq!(distinct.len(), 12);
}

#[test]
fn rule_3_a_source_port_stays_in_its_class() {
    let cases = [
        (1, 1, 511),
        (511, 1, 511),
        (600, 600, 1023),
        (1023, 600, 1023),
        (1024, 1024, 65535),
    ];
    for (port, min, max) in cases {
        let ports = new_source_ports(&order(&tcp(port), &snat(range(1, None))));
        let expected: Vec<u16> = (port..=max).chain(min..port).take(128).collect();
        assert_eq!(ports[..128], expected[..], "port {port}");
    }
}

#[test]
fn rule_3_a_port_from_512_to_599_is_tried_first_though_out_of_its_class() {
    let ports = new_source_ports(&order(&tcp(550), &snat(range(1, None))));
    assert_eq!(ports[..4], [550, 600, 601, 602]);
    assert_eq!(ports.len(), 1 + 424);
}

#[test]
fn rule_3_a_source_port_range_is_walked_from_the_hashed_offset() {
    let ports = new_source_ports(&order(&tcp(1000), &snat(range(1, Some((40_000, 40_009))))));
    let start = ports[0];
    let expected: Vec<u16> = (start..=40_009).chain(40_000..start).collect();
    assert_eq!(ports, expected);
}

#[test]
fn rule_3_a_destination_without_port_range_keeps_its_port() {
    let binding = chosen(
        &allocator(),
        &tcp(1000),
        &dnat(range(1, None)),
        &Table::default(),
    );
    assert_eq!(
        (binding.reply.src, binding.reply.sport, binding.reply.dport),
        (PUBLIC, 80, 1000)
    );
    assert_eq!(binding.kind, Kind::Destination);
}

#[test]
fn rule_4_a_protocol_without_ports_is_checked_once_per_address() {
    let gre = Tuple {
        proto: proto::GRE,
        sport: 0,
        dport: 0,
        ..tcp(0)
    };
    assert_eq!(order(&gre, &snat(range(1, Some((5, 9))))).len(), 1);
    assert_eq!(order(&gre, &snat(range(5, None))).len(), 5);
}

#[test]
fn rule_4_an_icmpv6_identifier_stays_unless_it_is_taken() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((100, 200))));
    let first = chosen(&allocator, &echo(Family::V6, 5), &nat, &table);
    assert_eq!((first.reply.sport, first.reply.dport), (5, 5));
    table.insert(&allocator, &first);
    let other = Tuple {
        src: CLIENT + 1,
        ..echo(Family::V6, 5)
    };
    let second = chosen(&allocator, &other, &nat, &table);
    assert_eq!((second.reply.sport, second.reply.dport), (100, 100));
}

#[test]
fn rule_5_a_destination_port_range_is_walked_before_the_source_ports() {
    let asked = order(&tcp(65_000), &dnat(range(1, Some((8000, 8002)))));
    let ends: Vec<(u16, u16)> = asked.iter().map(|t| (t.sport, t.dport)).collect();
    let start = ends[0].0;
    let walked = |i: u16| 8000 + (start - 8000 + i) % 3;
    assert_eq!(
        ends[..3],
        [
            (walked(0), 65_000),
            (walked(1), 65_000),
            (walked(2), 65_000)
        ]
    );
    assert_eq!(ends[3..5], [(start, 65_001), (start, 65_002)]);
}

#[test]
fn rule_5_an_icmp_identifier_is_written_to_both_ends() {
    for family in [Family::V4, Family::V6] {
        let asked = order(&echo(family, 3), &snat(range(1, None)));
        assert_eq!(asked.len(), 511);
        assert!(asked.iter().all(|t| t.sport == t.dport && !t.question));
        assert_eq!(
            asked[..3].iter().map(|t| t.sport).collect::<Vec<_>>(),
            [3, 4, 5]
        );
    }
    // Identifier zero is tried first although its class begins at one.
    assert_eq!(
        order(&echo(Family::V4, 0), &snat(range(1, None)))[..2]
            .iter()
            .map(|t| t.sport)
            .collect::<Vec<_>>(),
        [0, 1]
    );
    let asked = order(&echo(Family::V4, 3), &snat(range(1, Some((70, 71)))));
    assert!(asked.iter().all(|t| (70..72).contains(&t.dport)));
}

#[test]
fn a_port_is_used_again_for_another_destination() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1000))));
    let first = chosen(&allocator, &tcp(5), &nat, &table);
    table.insert(&allocator, &first);
    let elsewhere = Tuple {
        dst: SERVER + 1,
        ..tcp(5)
    };
    assert_eq!(
        chosen(&allocator, &elsewhere, &nat, &table).reply.dport,
        1000
    );
    let clash = Tuple {
        src: CLIENT + 1,
        ..tcp(5)
    };
    assert_eq!(
        allocator.choose(&request(&clash, &nat), &table),
        Outcome::Exhausted
    );
}

#[test]
fn the_original_tuple_of_a_live_connection_blocks_a_choice() {
    let allocator = allocator();
    let table = Table::default();
    let own = Tuple {
        src: SERVER,
        sport: 80,
        dst: PUBLIC,
        dport: 1000,
        ..tcp(0)
    };
    table.taken.borrow_mut().insert(own);
    let nat = snat(range(1, Some((1000, 1000))));
    assert_eq!(
        allocator.choose(&request(&tcp(5), &nat), &table),
        Outcome::Exhausted
    );
}

#[test]
fn a_connection_is_never_translated_into_its_own_name() {
    // Source and destination swapped would make both directions the same packets.
    let nat = Nat {
        source: Some(NatRange {
            ports: Some((80, 80)),
            ..NatRange::address(SERVER)
        }),
        destination: Some(NatRange {
            ports: Some((5, 5)),
            ..NatRange::address(CLIENT)
        }),
        ..Nat::default()
    };
    let outcome = allocator().choose(&request(&tcp(5), &nat), &Table::default());
    assert_eq!(outcome, Outcome::Exhausted);
}

#[test]
fn a_range_is_checked_and_the_fault_named() {
    let good = range(2, Some((1, 2)));
    assert_eq!(good.check(Family::V4), Ok(()));
    let zero = NatRange {
        min_address: 0,
        max_address: 0,
        ports: None,
    };
    assert_eq!(zero.check(Family::V6), Ok(()));
    for (bad, text) in [
        (
            NatRange {
                max_address: 1,
                ..good
            },
            "last address",
        ),
        (
            NatRange {
                ports: Some((0, 5)),
                ..good
            },
            "port 0",
        ),
        (
            NatRange {
                ports: Some((6, 5)),
                ..good
            },
            "last port",
        ),
        (
            NatRange {
                max_address: 1 << 32,
                ..good
            },
            "IPv4",
        ),
    ] {
        let error = bad.check(Family::V4).expect_err("out of range");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(
        NatRange {
            max_address: 1 << 64,
            ..good
        }
        .check(Family::V6),
        Ok(())
    );
}

#[test]
fn an_empty_nat_translates_nothing() {
    let outcome = allocator().choose(&request(&tcp(5), &Nat::default()), &Table::default());
    assert_eq!(outcome, Outcome::Untouched);
}

#[test]
fn source_and_destination_are_translated_in_one_commit() {
    let table = Table::default();
    let nat = Nat {
        source: Some(range(1, Some((2000, 2001)))),
        destination: Some(NatRange {
            ports: Some((81, 82)),
            ..NatRange::address(SERVER + 1)
        }),
        ..Nat::default()
    };
    let allocator = allocator();
    let mut seen = HashSet::new();
    for client in 0..4 {
        let original = Tuple {
            src: CLIENT + client,
            ..tcp(5)
        };
        let binding = chosen(&allocator, &original, &nat, &table);
        assert_eq!((binding.reply.src, binding.reply.dst), (SERVER + 1, PUBLIC));
        assert_eq!(binding.kind, Kind::Both);
        assert!(seen.insert((binding.reply.sport, binding.reply.dport)));
        table.insert(&allocator, &binding);
    }
    let late = Tuple {
        src: CLIENT + 4,
        ..tcp(5)
    };
    assert_eq!(
        allocator.choose(&request(&late, &nat), &table),
        Outcome::Exhausted
    );
}

#[test]
fn hairpin_packets_go_out_as_the_other_tuple_reversed() {
    let nat = Nat {
        source: Some(NatRange::address(PUBLIC)),
        destination: Some(NatRange {
            ports: Some((8080, 8080)),
            ..NatRange::address(CLIENT + 1)
        }),
        ..Nat::default()
    };
    let original = Tuple {
        dst: PUBLIC,
        ..tcp(3000)
    };
    let binding = chosen(&allocator(), &original, &nat, &Table::default());
    let out = binding.after(Direction::Original);
    assert_eq!(
        (out.src, out.sport, out.dst, out.dport),
        (PUBLIC, 3000, CLIENT + 1, 8080)
    );
    assert_eq!(binding.after(Direction::Reply), original.reversed());
    assert_eq!(binding.kind(Direction::Reply), Kind::Both);
}

#[test]
fn state_bits_of_a_reply_are_the_opposite_ones() {
    let binding = Binding {
        original: tcp(1),
        reply: tcp(1).reversed(),
        kind: Kind::Source,
    };
    assert_eq!(binding.kind(Direction::Original), Kind::Source);
    assert_eq!(binding.kind(Direction::Reply), Kind::Destination);
}
