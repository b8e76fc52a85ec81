//! Ranges that run full, and the bitmaps behind them.

use super::*;

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
                            allocator.came(&binding.original, &binding.reply, &occupied);
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

#[test]
fn no_port_is_lost_while_threads_open_and_close() {
    use std::sync::Mutex;

    let allocator = allocator();
    let taken = Mutex::new(HashSet::<Tuple>::new());
    let occupied = |tuple: &Tuple| taken.lock().expect("no panic").contains(tuple);
    let nat = snat(range(1, Some((1000, 1299))));
    let refused = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2_u128 {
            let (allocator, taken, nat, refused) = (&allocator, &taken, &nat, &refused);
            scope.spawn(move || {
                let mut live: Vec<Binding> = Vec::new();
                for client in 0..4000 {
                    let original = Tuple {
                        src: CLIENT + client + thread * 10_000,
                        ..tcp(5)
                    };
                    match allocator.choose(&request(&original, nat), &occupied) {
                        Outcome::Chosen(binding) => {
                            if taken.lock().expect("no panic").insert(binding.reply) {
                                allocator.came(&binding.original, &binding.reply, &occupied);
                                live.push(binding);
                            }
                        }
                        _ => {
                            refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            for binding in live.drain(..) {
                                taken.lock().expect("no panic").remove(&binding.reply);
                                allocator.went(&binding.original, &binding.reply, &occupied);
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(refused.into_inner() > 0, "the range ran full");
    // Every bit says what the table says: the rest fits exactly.
    let free = 300 - taken.lock().expect("no panic").len();
    for client in 0..=free as u128 {
        let original = Tuple {
            src: CLIENT + client + 50_000,
            ..tcp(5)
        };
        match allocator.choose(&request(&original, &nat), &occupied) {
            Outcome::Chosen(binding) => {
                assert!(
                    client < free as u128 && taken.lock().expect("no panic").insert(binding.reply)
                );
                allocator.came(&binding.original, &binding.reply, &occupied);
            }
            outcome => {
                assert_eq!((outcome, client), (Outcome::Exhausted, free as u128));
            }
        }
    }
}
