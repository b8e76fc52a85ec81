//! The rules of a choice, one test each, against a plain set of occupied tuples.

use std::cell::RefCell;
use std::collections::HashSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::packet::proto;
use crate::tuple::hash::Secret;

/// A table that is a set, and remembers what it was asked.
#[derive(Default)]
struct Table {
    taken: RefCell<HashSet<Tuple>>,
    asked: RefCell<Vec<Tuple>>,
}

impl Occupancy for Table {
    fn occupied(&self, tuple: &Tuple) -> bool {
        self.asked.borrow_mut().push(*tuple);
        self.taken.borrow().contains(tuple)
    }
}

impl Table {
    fn insert(&self, allocator: &Allocator, binding: &Binding) {
        let mut taken = self.taken.borrow_mut();
        assert!(
            taken.insert(binding.reply),
            "two connections with one reply tuple"
        );
        taken.insert(binding.original);
        drop(taken);
        allocator.changed(&binding.original, &binding.reply, self);
    }

    fn remove(&self, allocator: &Allocator, binding: &Binding) {
        self.taken.borrow_mut().remove(&binding.reply);
        self.taken.borrow_mut().remove(&binding.original);
        allocator.changed(&binding.original, &binding.reply, self);
    }

    fn asked(&self) -> Vec<Tuple> {
        self.asked.take()
    }
}

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

const SECRET: [u64; 8] = [3, 141, 592, 653, 589, 793, 238, 462];
const CLIENT: u128 = 0x0a00_0001;
const SERVER: u128 = 0x0b00_0001;
const PUBLIC: u128 = 0xc000_0200;

fn allocator() -> Allocator {
    Allocator::new(Secret::new(SECRET), 1 << 20)
}

const fn tcp(sport: u16) -> Tuple {
    Tuple {
        src: CLIENT,
        dst: SERVER,
        sport,
        dport: 80,
        zone: 7,
        proto: proto::TCP,
        family: Family::V4,
        query: QueryKind::None,
        question: true,
    }
}

fn echo(family: Family, id: u16) -> Tuple {
    Tuple {
        sport: id,
        dport: id,
        proto: if family == Family::V4 {
            proto::ICMP
        } else {
            proto::ICMPV6
        },
        family,
        query: QueryKind::Echo,
        ..tcp(id)
    }
}

fn range(addresses: u128, ports: Option<(u16, u16)>) -> NatRange {
    NatRange {
        min_address: PUBLIC,
        max_address: PUBLIC + addresses - 1,
        ports,
    }
}

fn snat(range: NatRange) -> Nat {
    Nat {
        source: Some(range),
        ..Nat::default()
    }
}

fn dnat(range: NatRange) -> Nat {
    Nat {
        destination: Some(range),
        ..Nat::default()
    }
}

fn request<'a>(original: &'a Tuple, nat: &'a Nat) -> Request<'a> {
    Request {
        original,
        nat,
        epoch: 0,
        random: 0x5eed,
    }
}

fn chosen(allocator: &Allocator, original: &Tuple, nat: &Nat, table: &Table) -> Binding {
    match allocator.choose(&request(original, nat), table) {
        Outcome::Chosen(binding) => binding,
        other => panic!("{other:?}"),
    }
}

/// What is asked when nothing is free: the candidates in order, each the first time it is named.
fn order(original: &Tuple, nat: &Nat) -> Vec<Tuple> {
    #[derive(Default)]
    struct Full(RefCell<Vec<Tuple>>, RefCell<HashSet<Tuple>>);
    impl Occupancy for Full {
        fn occupied(&self, tuple: &Tuple) -> bool {
            if self.1.borrow_mut().insert(*tuple) {
                self.0.borrow_mut().push(*tuple);
            }
            true
        }
    }
    let full = Full::default();
    assert_ne!(
        std::mem::discriminant(&allocator().choose(&request(original, nat), &full)),
        std::mem::discriminant(&Outcome::Untouched)
    );
    full.0.into_inner()
}

fn new_source_ports(asked: &[Tuple]) -> Vec<u16> {
    asked.iter().map(|t| t.dport).collect()
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
fn rule_6_the_walk_does_not_give_up_before_the_range_is_seen() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1, u16::MAX))));
    let free = 12_345;
    for port in (1..=u16::MAX).filter(|p| *p != free) {
        table.taken.borrow_mut().insert(Tuple {
            dst: PUBLIC,
            dport: port,
            ..tcp(1).reversed()
        });
    }
    let mut searches = 1;
    let found = loop {
        match allocator.choose(&request(&tcp(1000), &nat), &table) {
            Outcome::Chosen(binding) => break binding,
            Outcome::Unsettled => searches += 1,
            other => panic!("{other:?}"),
        }
        assert!(
            table.asked().len() <= PROBES as usize + 2 * 256,
            "a search is bounded"
        );
    };
    assert_eq!(found.reply.dport, free);
    assert!(searches <= 17, "{searches} searches");
}

#[test]
fn rule_7_a_full_range_is_exhausted_and_said_at_once() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1999))));
    let live = full(&allocator, &table, &nat);
    table.asked();
    assert_eq!(
        allocator.choose(&request(&LATE, &nat), &table),
        Outcome::Exhausted
    );
    assert!(
        table.asked().len() < 100,
        "a full range costs a constant number of questions"
    );
    table.remove(&allocator, &live[500]);
    assert_eq!(
        chosen(&allocator, &LATE, &nat, &table).reply.dport,
        live[500].reply.dport
    );
}

#[test]
fn a_connection_that_vanished_silently_is_found_by_looking_again() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1999))));
    full(&allocator, &table, &nat);
    assert_eq!(
        allocator.choose(&request(&LATE, &nat), &table),
        Outcome::Exhausted
    );
    table.taken.borrow_mut().remove(&Tuple {
        dst: PUBLIC,
        dport: 1777,
        ..tcp(1).reversed()
    });
    let again = (0..1000 / 64 + 1)
        .find_map(|_| match allocator.choose(&request(&LATE, &nat), &table) {
            Outcome::Chosen(binding) => Some(binding),
            _ => None,
        })
        .expect("found within one turn of the recheck");
    assert_eq!(again.reply.dport, 1777);
}

/// Fills the ports 1000 to 1999 and lets one more search find them full.
fn full(allocator: &Allocator, table: &Table, nat: &Nat) -> Vec<Binding> {
    let live = (0..1000)
        .map(|client| {
            let original = Tuple {
                src: CLIENT + client,
                ..tcp(5000)
            };
            let binding = chosen(allocator, &original, nat, table);
            table.insert(allocator, &binding);
            binding
        })
        .collect();
    let outcome = allocator.choose(&request(&LATE, nat), table);
    assert_eq!(outcome, Outcome::Exhausted);
    live
}

/// One connection more.
const LATE: Tuple = Tuple {
    src: CLIENT + 5000,
    ..tcp(5000)
};

#[test]
fn a_bitmap_only_proposes_and_the_table_decides() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1999))));
    let live = full(&allocator, &table, &nat);
    for binding in &live[100..200] {
        table.remove(&allocator, binding);
    }
    // Stored by a thread that has not told yet.
    let mut free: HashSet<u16> = live[100..200].iter().map(|b| b.reply.dport).collect();
    for binding in &live[100..199] {
        table.taken.borrow_mut().insert(binding.reply);
        free.remove(&binding.reply.dport);
    }
    assert!(free.contains(&chosen(&allocator, &LATE, &nat, &table).reply.dport));
}

#[test]
fn a_pool_of_another_epoch_starts_from_nothing() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1999))));
    let live = full(&allocator, &table, &nat);
    // Flushed, and all but one stored again by other threads.
    table.taken.borrow_mut().remove(&Tuple {
        dst: PUBLIC,
        dport: 1777,
        ..tcp(1).reversed()
    });
    assert_eq!(live.len(), 1000);
    let flushed = Request {
        epoch: 1,
        ..request(&LATE, &nat)
    };
    let Outcome::Chosen(binding) = allocator.choose(&flushed, &table) else {
        panic!("one is free")
    };
    assert_eq!(binding.reply.dport, 1777);
}

#[test]
fn every_destination_is_seen_wherever_the_walk_begins() {
    let allocator = allocator();
    let table = Table::default();
    let nat = Nat {
        source: Some(range(1, Some((2000, 2003)))),
        destination: Some(NatRange {
            min_address: SERVER + 1,
            max_address: SERVER + 3,
            ports: Some((81, 84)),
        }),
        ..Nat::default()
    };
    let mut seen = HashSet::new();
    for client in 0..48_u64 {
        let original = Tuple {
            src: CLIENT + u128::from(client),
            ..tcp(5)
        };
        let random = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let Outcome::Chosen(binding) = allocator.choose(
            &Request {
                random,
                ..request(&original, &nat)
            },
            &table,
        ) else {
            panic!("48 tuples are in range, {client} are taken");
        };
        assert!(seen.insert(binding.reply));
        table.insert(&allocator, &binding);
    }
    assert_eq!(
        allocator.choose(&request(&LATE, &nat), &table),
        Outcome::Exhausted
    );
}

#[test]
fn a_flushed_zone_is_free_at_once() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1999))));
    full(&allocator, &table, &nat);
    assert_eq!(
        allocator.choose(&request(&LATE, &nat), &table),
        Outcome::Exhausted
    );
    table.taken.borrow_mut().clear();
    let flushed = Request {
        epoch: 1,
        ..request(&LATE, &nat)
    };
    assert!(matches!(
        allocator.choose(&flushed, &table),
        Outcome::Chosen(_)
    ));
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

#[test]
fn without_memory_the_search_stays_bounded_and_does_not_claim_exhaustion() {
    let allocator = Allocator::new(Secret::new(SECRET), 0);
    let table = Table::default();
    let nat = snat(range(1, None));
    for port in 1..=u16::MAX {
        table.taken.borrow_mut().insert(Tuple {
            dst: PUBLIC,
            dport: port,
            ..tcp(1).reversed()
        });
    }
    let outcome = allocator.choose(&request(&tcp(5000), &nat), &table);
    assert_eq!(outcome, Outcome::Unsettled);
    assert!(table.asked().len() < PROBES as usize + 64);
    assert_eq!(allocator.dense(), (0, 0));
}

#[test]
fn a_pool_is_given_up_when_its_range_empties() {
    let allocator = allocator();
    let table = Table::default();
    let nat = snat(range(1, Some((1000, 1999))));
    let live = full(&allocator, &table, &nat);
    assert_eq!(allocator.dense().0, 1);
    for binding in &live {
        table.remove(&allocator, binding);
    }
    assert_eq!(allocator.dense(), (0, 0));
}

/// Every reply tuple that a rule allows, by brute force.
fn allowed(original: &Tuple, nat: &Nat) -> HashSet<Tuple> {
    let ends = |range: &NatRange, own: u128, ports: (u16, u16)| -> Vec<(u128, u16)> {
        let (min, max) = if range.min_address == 0 {
            (own, own)
        } else {
            (range.min_address, range.max_address)
        };
        (min..=max)
            .flat_map(|a| (ports.0..=ports.1).map(move |p| (a, p)))
            .collect()
    };
    let kept = NatRange::address(original.src);
    let source = nat.source.unwrap_or(kept);
    let class = source.ports.unwrap_or(super::port::class(original.sport));
    let mut sources = ends(&source, original.src, class);
    if source.ports.is_none() {
        // The packet's own port with the address of the hash: allowed at any address here.
        let own: Vec<_> = sources.iter().map(|s| (s.0, original.sport)).collect();
        sources.extend(own);
    }
    let destination = nat.destination.unwrap_or(NatRange::address(original.dst));
    let ports = destination
        .ports
        .unwrap_or((original.dport, original.dport));
    let destinations = ends(&destination, original.dst, ports);
    let mut all = HashSet::new();
    for s in &sources {
        for d in &destinations {
            all.insert(reply_tuple(
                original,
                &Choice {
                    source: Some(*s),
                    destination: Some(*d),
                },
            ));
        }
    }
    all
}

#[derive(Clone, Debug)]
enum Op {
    Open { client: u8, server: u8, sport: u16 },
    Close(u16),
    Vanish(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0_u8..40, 0_u8..2, 590_u16..620).prop_map(|(client, server, sport)| Op::Open { client, server, sport }),
        2 => any::<u16>().prop_map(Op::Close),
        1 => any::<u16>().prop_map(Op::Vanish),
    ]
}

fn rule() -> impl Strategy<Value = Nat> {
    let ports = prop_oneof![
        Just(None),
        (1_u16..2000, 0_u16..300).prop_map(|(a, n)| Some((a, a + n)))
    ];
    let side = prop::option::of((0_u128..4, ports).prop_map(|(n, ports)| {
        if n == 0 {
            NatRange {
                min_address: 0,
                max_address: 0,
                ports,
            }
        } else {
            range(n, ports)
        }
    }));
    (side.clone(), side, 0_u8..3).prop_map(|(source, mut destination, selection)| {
        if source.is_some()
            && let Some(range) = &mut destination
        {
            range.ports = range.ports.map(|(min, _)| (min, min + 2));
        }
        let selection = match selection {
            0 => NatSelection::Hash,
            1 => NatSelection::Random,
            _ => NatSelection::Persistent,
        };
        Nat {
            source,
            destination,
            selection,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() })]

    /// Chosen tuples are in range and free; none is refused while one is free and known to be;
    /// and live reply tuples stay distinct, through sparse and dense searches.
    #[test]
    fn a_choice_is_in_range_and_free_whenever_one_is(
        rule in rule(),
        ops in prop::collection::vec(op(), 1..900),
        vanishing in any::<bool>(),
    ) {
        let allocator = Allocator::new(Secret::new(SECRET), 1 << 16);
        let table = Table::default();
        let mut live: Vec<Binding> = Vec::new();
        let mut silent = false;
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Open { client, server, sport } => {
                    let original = Tuple {
                        src: CLIENT + u128::from(client),
                        dst: SERVER + u128::from(server),
                        ..tcp(sport)
                    };
                    if table.taken.borrow().contains(&original) {
                        continue;
                    }
                    let random = step as u64 * 0x9e37_79b9;
                    let request = Request { random, ..request(&original, &rule) };
                    table.asked();
                    let outcome = allocator.choose(&request, &table);
                    let asked = table.asked().len();
                    prop_assert!(asked <= PROBES as usize + 1024, "{} questions", asked);
                    match outcome {
                        Outcome::Untouched => prop_assert!(rule.kind().is_none()),
                        Outcome::Chosen(binding) => {
                            prop_assert!(allowed(&original, &rule).contains(&binding.reply));
                            prop_assert!(!table.taken.borrow().contains(&binding.reply));
                            prop_assert_ne!(binding.reply, original);
                            table.insert(&allocator, &binding);
                            live.push(binding);
                        }
                        Outcome::Exhausted if silent => {}
                        Outcome::Exhausted => {
                            let taken = table.taken.borrow();
                            let mut all = allowed(&original, &rule).into_iter();
                            let class = super::port::class(sport);
                            let free = all.find(|t| {
                                !taken.contains(t) && *t != original
                                    && (t.dport >= class.0 || rule.source.is_some_and(|r| r.ports.is_some()))
                            });
                            prop_assert_eq!(free, None);
                        }
                        Outcome::Unsettled => prop_assert!(false, "small ranges are always decided"),
                    }
                }
                Op::Close(pick) if !live.is_empty() => {
                    let binding = live.swap_remove(usize::from(pick) % live.len());
                    table.remove(&allocator, &binding);
                }
                Op::Vanish(pick) if vanishing && !live.is_empty() => {
                    // Flushed or expired: gone from the table, and nobody said so.
                    let binding = live.swap_remove(usize::from(pick) % live.len());
                    table.taken.borrow_mut().remove(&binding.reply);
                    table.taken.borrow_mut().remove(&binding.original);
                    silent = true;
                }
                Op::Close(_) | Op::Vanish(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, rng_seed: RngSeed::Fixed(13), ..ProptestConfig::default() })]

    /// A range that runs full and empties again and again: exhaustion is said exactly when as many
    /// connections live as there are ports, whether a bitmap answers or the table.
    #[test]
    fn bitmap_and_table_never_disagree(
        phases in prop::collection::vec((1_usize..400, 0_usize..400, any::<u64>()), 1..12),
    ) {
        let allocator = allocator();
        let table = Table::default();
        let nat = Nat { selection: NatSelection::Random, ..snat(range(1, Some((1000, 1299)))) };
        let mut live: Vec<Binding> = Vec::new();
        let mut client = 0;
        let mut was_dense = false;
        for (opens, closes, mut random) in phases {
            for _ in 0..opens {
                client += 1;
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let original = Tuple { src: CLIENT + client, ..tcp(5) };
                let request = Request { random: random >> 32, ..request(&original, &nat) };
                match allocator.choose(&request, &table) {
                    Outcome::Chosen(binding) => {
                        table.insert(&allocator, &binding);
                        live.push(binding);
                    }
                    outcome => {
                        prop_assert_eq!(outcome, Outcome::Exhausted);
                        prop_assert_eq!(live.len(), 300);
                        prop_assert_eq!(allocator.dense().0, 1);
                        was_dense = true;
                    }
                }
            }
            for _ in 0..closes.min(live.len()) {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let binding = live.swap_remove((random >> 32) as usize % live.len());
                table.remove(&allocator, &binding);
            }
            if live.len() < 149 && was_dense {
                prop_assert_eq!(allocator.dense(), (0, 0));
                was_dense = false;
            }
        }
    }

    /// What one direction's packets become is what the other direction's must be to get back.
    #[test]
    fn translating_there_and_back_gives_the_tuple(
        client in 1_u32.., sport in 1_u16.., rule in rule(),
    ) {
        let original = Tuple { src: u128::from(client), ..tcp(sport) };
        if let Outcome::Chosen(binding) =
            allocator().choose(&request(&original, &rule), &Table::default())
        {
            for direction in [Direction::Original, Direction::Reply] {
                let answer = binding.after(direction).reversed();
                prop_assert_eq!(answer, binding.before(direction.opposite()));
                prop_assert_eq!(
                    binding.after(direction.opposite()),
                    binding.before(direction).reversed()
                );
                // Naming only the translated addresses loses nothing.
                for place in [Place::Itself, Place::Quoted] {
                    let rewrite = Rewrite::of(&binding, direction, place);
                    let before = match place {
                        Place::Quoted => binding.before(direction).reversed(),
                        _ => binding.before(direction),
                    };
                    prop_assert_eq!(rewrite.src.unwrap_or(before.src), rewrite.tuple.src);
                    prop_assert_eq!(rewrite.dst.unwrap_or(before.dst), rewrite.tuple.dst);
                }
            }
        }
    }
}

#[test]
fn threads_that_want_the_same_tuples_never_share_one() {
    use std::sync::Mutex;

    let allocator = allocator();
    let taken = Mutex::new(HashSet::<Tuple>::new());
    let occupied = |tuple: &Tuple| taken.lock().expect("no panic").contains(tuple);
    let nat = snat(range(1, Some((1000, 1399))));
    let stored = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..2_u128 {
            let (allocator, taken, stored, nat) = (&allocator, &taken, &stored, &nat);
            scope.spawn(move || {
                for client in 0..200 {
                    let original = Tuple {
                        src: CLIENT + client + thread * 1000,
                        ..tcp(5)
                    };
                    loop {
                        let Outcome::Chosen(binding) =
                            allocator.choose(&request(&original, nat), &occupied)
                        else {
                            panic!("400 connections fit 400 ports");
                        };
                        if taken.lock().expect("no panic").insert(binding.reply) {
                            allocator.changed(&binding.original, &binding.reply, &occupied);
                            stored.lock().expect("no panic").push(binding.reply);
                            break;
                        }
                    }
                }
            });
        }
    });
    let distinct: HashSet<Tuple> = stored.lock().expect("no panic").iter().copied().collect();
    assert_eq!(distinct.len(), 400);
}
