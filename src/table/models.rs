//! The table under the loom model checker: tiny (one shard, one bucket that is crowded by two entries,
//! chunks of four records), and otherwise the code that runs everywhere.
//!
//! Every model answers one question and counts the executions with a bad answer. Run as it is, the
//! count must be zero; run with one ordering weakened, the same model must count some, or it would not
//! be able to see the harm. Run with `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test
//! --release --lib loom_`.

use super::*;
use crate::packet::proto;
use crate::sync::{Arc, harms as bad, harms_bounded, thread};
use crate::sync::{AtomicU64, Site};
use crate::tuple::QueryKind;

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
    insert_tuple(table, tuple(i), i, expiry)
}

fn insert_tuple(table: &Table, original: Tuple, i: u16, expiry: u64) -> bool {
    let new = New {
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
    table.insert(&new, &table.name(&original), &AT).is_ok()
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
    let [writer, reader] = [table.clone(), table.clone()];
    let writing = thread::spawn(move || insert(&writer, 7, 1 << 40));
    let reading =
        thread::spawn(move || find(&reader, 7).is_some_and(|found| found != (tuple(7), 7)));
    assert!(writing.join().expect("the writer does not panic"));
    let wrong = reading.join().expect("the reader does not panic");
    wrong || find(&table, 7) != Some((tuple(7), 7))
}

#[test]
fn loom_a_connection_is_complete_when_it_is_found() {
    assert_eq!(bad(None, publish), 0);
}

/// The same with the roles of the threads changed: the model explores them differently.
fn publish_by_the_first_thread() -> bool {
    let table = table();
    let reader = table.clone();
    let thread =
        thread::spawn(move || find(&reader, 7).is_some_and(|found| found != (tuple(7), 7)));
    insert(&table, 7, 1 << 40);
    thread.join().expect("the reader does not panic")
}

#[test]
fn loom_a_connection_is_complete_whoever_looks() {
    assert_eq!(bad(None, publish_by_the_first_thread), 0);
}

/// Without its Release a tag leads to a slot, and to a record, that are not there for the reader, who
/// then reads memory that is nobody's. The model dies of that, so it runs in a process of its own.
#[test]
#[ignore = "dies: run by the model below"]
fn a_tag_that_publishes_nothing() {
    assert_eq!(bad(Some(Site::TagSet), publish_by_the_first_thread), 0);
}

#[test]
fn loom_a_tag_that_publishes_nothing_leads_to_memory_that_is_nobodys() {
    let run = |test: &str, ignored: bool| {
        let mut model = std::process::Command::new(std::env::current_exe().expect("it runs"));
        model
            .args(["--exact", test])
            .args(ignored.then_some("--ignored"));
        model.output().expect("the model starts").status.success()
    };
    let module = "table::models::";
    // The way to run a model so is right: the same one, with its Release, passes.
    let whole = "loom_a_connection_is_complete_whoever_looks";
    assert!(run(&format!("{module}{whole}"), false));
    assert!(!run(&format!("{module}a_tag_that_publishes_nothing"), true));
}

/// Two connections of which the first leaves its bucket at the first split.
fn moving(table: &Table) -> [u16; 2] {
    let bit = |i: &u16| table.hash(&tuple(*i).key().0) & 1 == 1;
    let first = (1..100).find(bit).expect("half of them");
    let second = (1..100).find(|i| !bit(i)).expect("half of them");
    [first, second]
}

/// The second insert crowds the only bucket, which is split: is the first connection ever not found?
///
/// The reader is the thread that is spawned: with the roles changed the model explores one execution.
fn split() -> bool {
    let table = table();
    let [first, second] = moving(&table);
    insert(&table, first, 1 << 40);
    let reader = table.clone();
    let thread = thread::spawn(move || find(&reader, first).is_none());
    insert(&table, second, 1 << 40);
    let missed = thread.join().expect("the reader does not panic");
    missed || find(&table, first).is_none() || find(&table, second).is_none()
}

#[test]
fn loom_a_connection_is_found_while_its_bucket_is_split() {
    assert_eq!(bad(None, split), 0);
}

#[test]
fn loom_a_search_that_does_not_look_again_misses_what_a_split_moved() {
    assert!(bad(Some(Site::SearchAgain), split) > 0);
}

/// The same question to somebody who looks at the one bucket that was the right one before.
fn glance_by(misses: fn(&Table, u64) -> bool) -> bool {
    let table = table();
    let [first, second] = moving(&table);
    insert(&table, first, 1 << 40);
    let reader = table.clone();
    let thread = thread::spawn(move || misses(&reader, reader.hash(&tuple(first).key().0)));
    insert(&table, second, 1 << 40);
    thread.join().expect("the reader does not panic")
}

fn glance() -> bool {
    glance_by(|table, hash| table.is_missed(table.prefetch(hash), Probe::NONE, hash))
}

/// By a probe, which asks besides whether the shard is still as it was.
fn certainty() -> bool {
    glance_by(|table, hash| table.probe(table.prefetch(hash), hash).is_miss())
}

#[test]
fn loom_a_glance_misses_nothing_while_its_bucket_is_split() {
    assert_eq!(bad(None, glance), 0);
}

#[test]
fn loom_a_glance_that_does_not_look_again_misses_what_a_split_moved() {
    assert!(bad(Some(Site::SearchAgain), glance) > 0);
}

#[test]
fn loom_a_probe_is_never_certain_of_a_miss_while_its_bucket_is_split() {
    assert_eq!(bad(None, certainty), 0);
}

#[test]
fn loom_a_probe_that_does_not_look_again_is_certain_of_what_is_wrong() {
    assert!(bad(Some(Site::SearchAgain), certainty) > 0);
}

/// Is a connection ever removed by one of two copies while its bucket is split, so that the other
/// remains, or inserted where nobody looks?
fn split_beside_a_removal() -> bool {
    let table = table();
    let [first, second] = moving(&table);
    insert(&table, first, 1 << 40);
    let remover = table.clone();
    let thread = thread::spawn(move || remove(&remover, first));
    assert!(insert(&table, second, 1 << 40));
    thread.join().expect("the remover does not panic");
    find(&table, first).is_some() || find(&table, second).is_none() || table.len() != 1
}

#[test]
fn loom_a_removal_beside_a_split_leaves_nothing() {
    // With two preemptions the waits for locks get too long for the model.
    assert_eq!(harms_bounded(None, Some(1), split_beside_a_removal), 0);
}

/// A connection leaves, and is stored again while its slot still leads to the record that it had: is it
/// ever not found then, or found though it was not stored again?
fn leave_beside_an_insert() -> bool {
    let table = table();
    insert(&table, 1, 1 << 40);
    let id = table.next(&mut 0).expect("it is there").id();
    let remover = table.clone();
    let thread = thread::spawn(move || {
        let mut removal = Removal::new(&remover);
        removal.begin(remover.get(id).expect("nobody else removes it"));
        removal.finish();
    });
    let stored = insert(&table, 1, 1 << 40);
    thread.join().expect("the remover does not panic");
    find(&table, 1).is_some() != stored || table.len() != u32::from(stored)
}

#[test]
fn loom_who_leaves_in_a_stage_leaves_room_for_the_same_connection() {
    // With two preemptions the waits for locks get too long for the model.
    assert_eq!(harms_bounded(None, Some(1), leave_beside_an_insert), 0);
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

/// Does a view that holds ever show the mark of the connection that took over the record?
fn view() -> bool {
    let table = table();
    insert(&table, 1, 1 << 40);
    let writer = table.clone();
    let thread = thread::spawn(move || {
        remove(&writer, 1);
        insert(&writer, 2, 1 << 40);
    });
    let (key, side) = tuple(1).key();
    let hash = table.hash(&key);
    let probe = table.probe(table.prefetch(hash), hash);
    let any = Flags::default();
    let wrong = table
        .view::<true>(probe, &key, side, any, any)
        .is_some_and(|(view, _)| {
            let mark = view.mark();
            view.holds() && mark != 1
        });
    thread.join().expect("the writer does not panic");
    wrong
}

#[test]
fn loom_a_view_that_holds_is_of_one_life() {
    assert_eq!(bad(None, view), 0);
}

#[test]
fn loom_canary_a_view_that_does_not_look_in_order_is_of_two_lives() {
    assert!(bad(Some(Site::ViewFence), view) > 0);
}

#[test]
fn loom_canary_a_record_that_is_filled_too_early_is_of_two_lives() {
    assert!(bad(Some(Site::FillFence), view) > 0);
}

/// Does a walk by zone and address ever pass over a connection of which its thread knows already, in a
/// record that was another's before? (Whoever found it waits for its lock; this one only looks.)
fn summary() -> bool {
    let table = table();
    insert(&table, 1, 1 << 40);
    remove(&table, 1);
    let other = Tuple {
        zone: 3,
        ..tuple(7)
    };
    let wanted = Wanted::in_zone(Some(3)).with(Address::OriginalSource, other.src);
    let met = move |table: &Table| {
        let mut walk = Walk::default();
        let guard = table.next_where(&mut walk, &wanted, |names| names.original() == other);
        guard.is_some()
    };
    let reader = table.clone();
    let thread = thread::spawn(move || reader.occupied(&other, &AT) && !met(&reader));
    assert!(insert_tuple(&table, other, 7, 1 << 40));
    let missed = thread.join().expect("the reader does not panic");
    missed || !met(&table)
}

#[test]
fn loom_a_walk_by_summary_meets_what_is_known() {
    assert_eq!(bad(None, summary), 0);
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

/// The same of two connections for which the number is lowered once, after both.
fn due_of_two() -> bool {
    let due = Arc::new((
        super::due::Due::new(),
        [AtomicU64::new(0), AtomicU64::new(0)],
    ));
    due.0.lower(0, Time::from_millis(1));
    let writer = due.clone();
    let thread = thread::spawn(move || {
        for expiry in &writer.1 {
            expiry.store(1, Relaxed);
        }
        writer.0.lower(2, Time::from_millis(1));
    });
    let late = Time::from_millis(10_000);
    let sweep = || {
        let claimed = due.0.claim(0, late, false);
        due.1
            .each_ref()
            .map(|expiry| claimed && expiry.load(Relaxed) == 1)
    };
    let first = sweep();
    thread.join().expect("the writer does not panic");
    let second = sweep();
    (0..2).any(|i| !(first[i] || second[i]))
}

#[test]
fn loom_no_sweep_overlooks_connections_that_are_told_of_together() {
    assert_eq!(bad(None, due_of_two), 0);
    assert!(bad(Some(Site::DueLower), due_of_two) > 0);
}

#[test]
fn loom_a_due_time_that_publishes_nothing_loses_connections() {
    assert!(bad(Some(Site::DueLower), due) > 0);
}
