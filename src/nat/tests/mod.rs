//! The choice of a translation against a plain set of occupied tuples.

use std::cell::RefCell;
use std::collections::HashSet;

use super::*;
use crate::packet::proto;
use crate::tuple::hash::Secret;

mod full;
mod properties;
mod rules;

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
        allocator.came(&binding.original, &binding.reply, self);
    }

    fn remove(&self, allocator: &Allocator, binding: &Binding) {
        self.taken.borrow_mut().remove(&binding.reply);
        self.taken.borrow_mut().remove(&binding.original);
        allocator.went(&binding.original, &binding.reply, self);
    }

    fn asked(&self) -> Vec<Tuple> {
        self.asked.take()
    }
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
