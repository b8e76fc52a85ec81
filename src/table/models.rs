//! The table under the loom model checker: tiny (one shard, one bucket that is crowded by two entries,
//! chunks of four records), and otherwise the code that runs everywhere.
//!
//! Every model answers one question and counts the executions with a bad answer. Run as it is, the
//! count must be zero; run with one ordering weakened, the same model must count some, or it would not
//! be able to see the harm. Run with `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test
//! --release --lib loom_`.

use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};

use super::*;
use crate::packet::proto;
use crate::sync::{Arc, thread, with_weak};
use crate::sync::{AtomicU64, Site};
use crate::tuple::QueryKind;

/// The number of executions in which `scenario` gives a bad answer.
fn bad(weak: Option<Site>, scenario: fn() -> bool) -> usize {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let explored = std::sync::Arc::new(AtomicUsize::new(0));
    let executions = explored.clone();
    with_weak(weak, || {
        let mut model = loom::model::Builder::new();
        // Inserts and sweeps are long for the model, but they end.
        model.max_branches = 100_000;
        model.check(move || {
            executions.fetch_add(1, StdOrdering::Relaxed);
            if scenario() {
                counted.fetch_add(1, StdOrdering::Relaxed);
            }
        });
    });
    let explored = explored.load(StdOrdering::Relaxed);
    assert!(explored > 1, "a model of one execution shows nothing");
    count.load(StdOrdering::Relaxed)
}

fn table() -> Arc<Table> {
    let secret = Secret::new([0x9e37_79b9_7f4a_7c15; 8]);
    let config = Config {
        secret,
        limit: 100,
        initial: 0,
        extension: false,
    };
    Arc::new(Table::new(&config).expect("memory"))
}

fn tuple(i: u16) -> Tuple {
    Tuple {
        src: 1,
        dst: 2,
        sport: i,
        dport: 80,
        zone: 0,
        proto: proto::UDP,
        family: Family::V4,
        query: QueryKind::None,
        question: true,
    }
}

const AT: At = At {
    now: Time::from_millis(0),
    epoch: 0,
};

/// Inserts connection `i` with mark `i`.
fn insert(table: &Table, i: u16, expiry: u64) -> bool {
    let new = New {
        original: tuple(i),
        reply: None,
        flags: Flags::default(),
        created: AT.now,
        expiry: Time::from_millis(expiry),
        policy: 0,
        mark: u32::from(i),
        protocol: [0; 3],
        label: 0,
        parent: ConnectionId::NONE,
        helper: 0,
        in_port: 0,
        extension: None,
    };
    table
        .insert(&new, table.hash(&tuple(i).key().0), &AT)
        .is_ok()
}

/// Tuple and mark of the connection that look-up `i` gives.
fn find(table: &Table, i: u16) -> Option<(Tuple, u32)> {
    let (key, side) = tuple(i).key();
    let (guard, _) = table.find(Probe::NONE, table.hash(&key), &key, side, &AT)?;
    Some((guard.original(), guard.mark()))
}

fn remove(table: &Table, i: u16) {
    let (key, side) = tuple(i).key();
    let found = table.find(Probe::NONE, table.hash(&key), &key, side, &AT);
    table.remove(found.expect("nobody else removes it").0);
}

/// Does a look-up ever give a connection that is not the one that was inserted?
fn publish() -> bool {
    let table = table();
    let writer = table.clone();
    let thread = thread::spawn(move || insert(&writer, 7, 1 << 40));
    let wrong = find(&table, 7).is_some_and(|found| found != (tuple(7), 7));
    assert!(thread.join().expect("the writer does not panic"));
    wrong || find(&table, 7) != Some((tuple(7), 7))
}

#[test]
fn loom_a_connection_is_complete_when_it_is_found() {
    assert_eq!(bad(None, publish), 0);
}

/// Does whoever locks a record ever see a part of what the last one changed?
fn change() -> bool {
    let table = table();
    insert(&table, 7, 1 << 40);
    let writer = table.clone();
    let thread = thread::spawn(move || {
        let mut position = 0;
        let mut guard = writer.next(&mut position).expect("it is there");
        let mut flags = guard.flags();
        flags.insert(Flags::ASSURED);
        guard.set_mark(9);
        guard.set_flags(flags);
    });
    let mut position = 0;
    let guard = table.next(&mut position).expect("it is there");
    let partly = guard.flags().contains(Flags::ASSURED) && guard.mark() != 9;
    drop(guard);
    thread.join().expect("the writer does not panic");
    partly
}

#[test]
fn loom_a_change_is_seen_whole() {
    assert_eq!(bad(None, change), 0);
}

#[test]
fn loom_canary_a_lock_that_publishes_nothing_shows_half_a_change() {
    assert!(bad(Some(Site::RecordUnlock), change) > 0);
}

/// Does a look-up ever give the connection that took over the record of another?
fn reuse() -> bool {
    let table = table();
    insert(&table, 1, 1 << 40);
    let writer = table.clone();
    let thread = thread::spawn(move || {
        remove(&writer, 1);
        insert(&writer, 2, 1 << 40);
    });
    let wrong = find(&table, 1).is_some_and(|found| found != (tuple(1), 1));
    thread.join().expect("the writer does not panic");
    wrong || find(&table, 1).is_some() || find(&table, 2) != Some((tuple(2), 2))
}

#[test]
fn loom_a_record_in_its_next_life_is_not_taken_for_its_last() {
    assert_eq!(bad(None, reuse), 0);
}

/// Do two threads ever both insert the same connection, or neither?
fn race() -> bool {
    let table = table();
    let other = table.clone();
    let thread = thread::spawn(move || insert(&other, 5, 1 << 40));
    let mine = insert(&table, 5, 1 << 40);
    let theirs = thread.join().expect("no panic");
    mine == theirs || table.len() != 1
}

#[test]
fn loom_one_of_two_threads_inserts_a_connection() {
    assert_eq!(bad(None, race), 0);
}

/// Is a connection that expires ever overlooked by all sweeps, because one ran while it was inserted?
/// The protocol of `due` alone: a record's expiry, and the number of its block.
fn due() -> bool {
    let due = Arc::new((super::due::Due::new(), AtomicU64::new(0)));
    // A neighbour, so that the block is due anyway.
    due.0.lower(0, Time::from_millis(1));
    let writer = due.clone();
    let thread = thread::spawn(move || {
        writer.1.store(1, Relaxed);
        writer.0.lower(1, Time::from_millis(1));
    });
    let late = Time::from_millis(10_000);
    let sweep = || due.0.claim(0, late, false) && due.1.load(Relaxed) == 1;
    let seen = sweep();
    thread.join().expect("the writer does not panic");
    !(seen || sweep())
}

#[test]
fn loom_no_sweep_overlooks_a_connection_for_good() {
    assert_eq!(bad(None, due), 0);
}

#[test]
fn loom_a_due_time_that_publishes_nothing_loses_connections() {
    assert!(bad(Some(Site::DueLower), due) > 0);
}
