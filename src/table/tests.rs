//! The table against a plain map, and with threads.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::packet::proto;
use crate::tuple::QueryKind;

pub(super) fn table(limit: u32) -> Table {
    let secret = Secret::new([0x9e37_79b9_7f4a_7c15; 8]);
    Table::new(&Config {
        secret,
        limit,
        initial: 0,
        extension: false,
    })
    .expect("memory")
}

pub(super) fn tuple(i: u32, family: Family) -> Tuple {
    Tuple {
        src: 0x0a00_0000 + u128::from(i),
        dst: 0x0b00_0001,
        sport: 1000,
        dport: 80,
        zone: (i % 3) as u16,
        proto: proto::UDP,
        family,
        query: QueryKind::None,
        question: true,
    }
}

/// A connection to be inserted, with its original tuple.
pub(super) struct Fresh {
    pub(super) original: Tuple,
    new: New,
}

impl std::ops::Deref for Fresh {
    type Target = New;

    fn deref(&self) -> &New {
        &self.new
    }
}

impl std::ops::DerefMut for Fresh {
    fn deref_mut(&mut self) -> &mut New {
        &mut self.new
    }
}

pub(super) fn new(original: Tuple, reply: Option<Tuple>, expiry: u64) -> Fresh {
    let new = New {
        reply,
        flags: Flags::default(),
        created: Time::from_millis(0),
        expiry: Time::from_millis(expiry),
        policy: 0,
        mark: 0,
        protocol: [0; 3],
        label: 0,
        parent: ConnectionId::NONE,
        helper: 0,
        in_port: 0,
        extension: None,
    };
    Fresh { original, new }
}

pub(super) fn insert<'t>(
    table: &'t Table,
    fresh: &Fresh,
    now: u64,
) -> Result<Guard<'t>, InsertError> {
    let at = at(table, fresh.original.zone, now);
    table.insert(&fresh.new, &table.name(&fresh.original), &at)
}

fn at(table: &Table, zone: u16, now: u64) -> At {
    At {
        now: Time::from_millis(now),
        epoch: table.zones().epoch(zone),
    }
}

pub(super) fn find<'t>(
    table: &'t Table,
    tuple: &Tuple,
    now: u64,
) -> Option<(Guard<'t>, Direction)> {
    let (key, side) = tuple.key();
    let hash = table.hash(&key);
    let probe = table.probe(table.prefetch(hash), hash);
    table.find(probe, hash, &key, side, &at(table, tuple.zone, now))
}

/// The slot that a probe of a tuple leads to, if any.
fn probed(table: &Table, tuple: &Tuple) -> Option<u32> {
    let hash = table.hash(&tuple.key().0);
    let probe = table.probe(table.prefetch(hash), hash);
    (!probe.is_none()).then_some(probe.slot)
}

/// What a tuple looks like after its source was translated.
pub(super) fn translated(original: &Tuple, i: u32) -> Tuple {
    Tuple {
        dst: 0x0c00_0000,
        dport: 2000_u16.wrapping_add(i as u16),
        ..original.reversed()
    }
}

#[test]
fn a_connection_is_found_from_both_sides_in_its_direction() {
    let table = table(10);
    for family in [Family::V4, Family::V6] {
        let original = tuple(1, family);
        drop(insert(&table, &new(original, None, 10), 0).expect("room"));
        let (guard, direction) = find(&table, &original, 0).expect("original");
        assert_eq!(
            (guard.original(), direction),
            (original, Direction::Original)
        );
        drop(guard);
        let (guard, direction) = find(&table, &original.reversed(), 0).expect("reply");
        assert_eq!(
            (guard.reply(), direction),
            (original.reversed(), Direction::Reply)
        );
    }
}

#[test]
fn where_the_tags_of_two_records_fit_the_right_one_is_looked_at_first() {
    let count: u32 = if cfg!(miri) { 100 } else { 20_000 };
    let table = table(count);
    let tuples: Vec<Tuple> = (0..count).map(|i| tuple(i, Family::V4)).collect();
    let slots: Vec<u32> = (tuples.iter())
        .map(|tuple| {
            let guard = insert(&table, &new(*tuple, None, 10), 0).expect("room");
            guard.number
        })
        .collect();
    // By tags alone one in a hundred and twenty would be wrong.
    let looked_at = tuples.iter().zip(slots);
    let wrong = looked_at.filter(|(tuple, slot)| probed(&table, tuple).is_some_and(|s| s != *slot));
    assert!(wrong.count() as u32 <= count / 500);
}

#[test]
fn a_probe_is_certain_of_a_miss_and_only_then() {
    let count = if cfg!(miri) { 60 } else { 20_000 };
    let table = table(count);
    let (here, elsewhere) = (tuple(1, Family::V4), tuple(2, Family::V4));
    let probe = |tuple: &Tuple| {
        let hash = table.hash(&tuple.key().0);
        table.probe(table.prefetch(hash), hash)
    };
    assert!(probe(&here).is_miss());
    drop(insert(&table, &new(here, None, 10), 0).expect("room"));
    assert!(!probe(&here).is_none() && !probe(&here).is_miss());
    assert!(probe(&elsewhere).is_miss());
    // Nothing is certain of a place that is not known, or in a shard that has grown since.
    let hash = table.hash(&elsewhere.key().0);
    assert!(!table.probe(Place::NONE, hash).is_miss());
    let place = table.prefetch(hash);
    for i in 10..count {
        drop(insert(&table, &new(tuple(i, Family::V4), None, 10), 0).expect("room"));
    }
    assert!(!table.probe(place, hash).is_miss());
}

#[test]
fn a_translated_connection_is_found_by_its_reply_tuple_and_not_by_the_reversed_one() {
    let table = table(10);
    for family in [Family::V4, Family::V6] {
        let original = tuple(1, family);
        let reply = translated(&original, 1);
        drop(insert(&table, &new(original, Some(reply), 10), 0).expect("room"));
        assert!(find(&table, &original.reversed(), 0).is_none());
        let (guard, direction) = find(&table, &reply, 0).expect("by reply");
        assert_eq!((guard.original(), guard.reply()), (original, reply));
        assert_eq!(direction, Direction::Reply);
        table.remove(guard);
        assert!(find(&table, &reply, 0).is_none());
        assert!(find(&table, &original, 0).is_none());
    }
}

#[test]
fn a_reply_tuple_belongs_to_one_connection_only() {
    let table = table(10);
    let reply = translated(&tuple(1, Family::V4), 1);
    drop(insert(&table, &new(tuple(1, Family::V4), Some(reply), 10), 0).expect("room"));
    let other = Tuple {
        zone: reply.zone,
        ..tuple(4, Family::V4)
    };
    let error = insert(&table, &new(other, Some(reply), 10), 0).map(drop);
    assert_eq!(error, Err(InsertError::ReplyExists));
    assert!(table.occupied(&reply, &at(&table, reply.zone, 0)));
    assert!(!table.occupied(&reply, &at(&table, reply.zone, 10)));
    assert_eq!(table.len(), 1);
}

#[test]
fn an_id_names_one_life() {
    let table = table(10);
    let id = insert(&table, &new(tuple(1, Family::V4), None, 10), 0)
        .expect("room")
        .id();
    let guard = table.get(id).expect("it lives");
    table.remove(guard);
    assert!(table.get(id).is_none());
    let next = insert(&table, &new(tuple(2, Family::V4), None, 10), 0)
        .expect("room")
        .id();
    assert_eq!(next.number(), id.number());
    assert_ne!(next, id);
    assert!(table.get(id).is_none());
    assert!(table.get(ConnectionId::new(1, u32::MAX)).is_none());
    assert!(table.get(ConnectionId::NONE).is_none());
}

#[test]
fn a_shortened_timeout_is_noticed_by_the_sweep() {
    let table = table(10);
    let mut guard = insert(&table, &new(tuple(1, Family::V4), None, 90_000_000), 0).expect("room");
    guard.set_expiry(Time::from_millis(1000));
    drop(guard);
    let sweep = |now| {
        table.sweep(
            SweepAt {
                now: Time::from_millis(now),
            },
            u32::MAX,
            &mut Sweep::Remove,
        )
    };
    assert_eq!(sweep(900).removed, 0);
    assert_eq!(sweep(3000).removed, 1);
    assert_eq!(sweep(3000).looked_at, 0);
}

#[test]
fn what_a_sweep_keeps_comes_up_again() {
    let table = table(10);
    drop(insert(&table, &new(tuple(1, Family::V4), None, 1000), 0).expect("room"));
    let until = Time::from_millis(10_000);
    let at = |now| SweepAt {
        now: Time::from_millis(now),
    };
    let swept = table.sweep(at(3000), u32::MAX, &mut |guard| Sweep::Keep(guard, until));
    assert_eq!(swept.removed, 0);
    assert!(find(&table, &tuple(1, Family::V4), 5000).is_some());
    assert_eq!(
        table
            .sweep(at(12_000), u32::MAX, &mut Sweep::Remove)
            .removed,
        1
    );
}

#[test]
fn a_sweep_stops_at_its_budget_and_goes_on_from_there() {
    let table = table(100_000);
    let count = if cfg!(miri) { 40 } else { 5000 };
    for i in 0..count {
        drop(insert(&table, &new(tuple(i, Family::V4), None, 1000), 0).expect("room"));
    }
    let (mut removed, mut calls) = (0, 0);
    while removed < count {
        let at = SweepAt {
            now: Time::from_millis(5000),
        };
        let swept = table.sweep(at, 1, &mut Sweep::Remove);
        assert!(swept.looked_at <= due::BLOCK as u32);
        removed += swept.removed;
        calls += 1;
        assert!(calls < 10_000);
    }
    assert!(calls >= count / due::BLOCK as u32);
}

#[test]
fn a_flush_in_the_middle_of_a_sweep_misses_no_block() {
    let table = table(100_000);
    let count = if cfg!(miri) { 20 } else { 1000 };
    for i in 0..count {
        drop(insert(&table, &new(tuple(i, Family::V4), None, 1 << 40), 0).expect("room"));
    }
    let at = SweepAt {
        now: Time::from_millis(0),
    };
    table.zones().flush(0);
    assert!(!table.sweep(at, 1, &mut Sweep::Remove).complete);
    table.zones().flush_all();
    assert!(table.sweep(at, u32::MAX, &mut Sweep::Remove).complete);
    assert_eq!(table.len(), 0);
}

#[test]
fn early_drop_takes_the_unanswered_that_expires_first_and_spares_the_others() {
    let table = table(10);
    for i in 0..4 {
        let mut new = new(tuple(i, Family::V4), None, 1000 - u64::from(i));
        if i == 3 {
            new.flags.insert(Flags::SEEN_REPLY);
        }
        drop(insert(&table, &new, 0).expect("room"));
    }
    let evict = || table.victim().map(|guard| table.remove(guard));
    evict().expect("three may go");
    assert!(find(&table, &tuple(2, Family::V4), 0).is_none());
    evict().expect("two may go");
    evict().expect("one may go");
    assert_eq!(evict(), None);
    assert!(find(&table, &tuple(3, Family::V4), 0).is_some());
}

#[test]
fn early_drop_chooses_anew_when_its_next_choice_was_answered_or_prolonged_or_is_gone() {
    let table = table(10);
    for i in 0..6 {
        let new = new(tuple(i, Family::V4), None, 1000 + u64::from(i));
        drop(insert(&table, &new, 0).expect("room"));
    }
    let of = |i| {
        find(&table, &tuple(i, Family::V4), 0)
            .expect("it is there")
            .0
    };
    let evict = || {
        let guard = table.victim().expect("some may go");
        let source = guard.original();
        table.remove(guard);
        (0..6).find(|&i| tuple(i, Family::V4) == source)
    };
    assert_eq!(evict(), Some(0));
    // Chosen ahead is number 1.
    let mut guard = of(1);
    guard.set_flags(guard.flags().and(Flags::SEEN_REPLY));
    drop(guard);
    assert_eq!(evict(), Some(2));
    table.remove(of(3));
    assert_eq!(evict(), Some(4));
    of(5).set_expiry(Time::from_millis(5000));
    assert_eq!(evict(), Some(5), "it is the only one left");
    assert!(table.victim().is_none());
}

#[test]
fn the_limit_is_exact_and_can_be_moved() {
    for limit in [1, 7, 1000] {
        let table = table(limit);
        for i in 0..limit {
            drop(insert(&table, &new(tuple(i, Family::V4), None, 10), 0).expect("room"));
        }
        let next = new(tuple(limit, Family::V4), None, 10);
        assert_eq!(insert(&table, &next, 0).map(drop), Err(InsertError::Full));
        table.remove(find(&table, &tuple(0, Family::V4), 0).expect("there").0);
        drop(insert(&table, &next, 0).expect("room again"));
        table.set_limit(limit - 1);
        let (guard, _) = find(&table, &next.original, 0).expect("stays");
        table.remove(guard);
        assert_eq!(insert(&table, &next, 0).map(drop), Err(InsertError::Full));
        assert_eq!(table.len(), limit - 1);
    }
}

/// Removes what a sweep shows as the engine does: in stages.
pub(super) struct Stages<'t>(Removal<'t>);

impl<'t> Judge<'t> for Stages<'t> {
    fn judge(&mut self, guard: Guard<'t>, _: Over) -> Sweep<'t> {
        self.0.begin(guard);
        Sweep::Removed
    }

    fn settle(&mut self) {
        self.0.finish();
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, bool, u64),
    Find(u32),
    Remove(u32),
    Flush(u16),
    Sweep,
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u32..200, any::<bool>(), 1u64..5000).prop_map(|(i, nat, ttl)| Op::Insert(i, nat, ttl)),
        3 => (0u32..200).prop_map(Op::Find),
        2 => (0u32..200).prop_map(Op::Remove),
        1 => (0u16..3).prop_map(Op::Flush),
        1 => Just(Op::Sweep),
        1 => (1u64..2000).prop_map(Op::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 256 },
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_table_is_a_map(ops in prop::collection::vec(op(), 1..if cfg!(miri) { 20 } else { 600 })) {
        let table = table(1000);
        // Tuple number -> (translated, expiry), visible ones only.
        let mut model: BTreeMap<u32, (bool, u64)> = BTreeMap::new();
        let mut now = 0;
        for op in ops {
            model.retain(|_, &mut (_, expiry)| expiry > now);
            match op {
                Op::Insert(i, nat, ttl) => {
                    let family = if i % 2 == 0 { Family::V4 } else { Family::V6 };
                    let original = tuple(i, family);
                    let reply = nat.then(|| translated(&original, i));
                    let result = insert(&table, &new(original, reply, now + ttl), now).map(drop);
                    let expected = if model.contains_key(&i) {
                        Err(InsertError::Exists)
                    } else {
                        Ok(())
                    };
                    prop_assert_eq!(result, expected);
                    model.entry(i).or_insert((nat, now + ttl));
                }
                Op::Find(i) | Op::Remove(i) => {
                    let family = if i % 2 == 0 { Family::V4 } else { Family::V6 };
                    let original = tuple(i, family);
                    let found = find(&table, &original, now);
                    prop_assert_eq!(found.is_some(), model.contains_key(&i));
                    drop(found);
                    if let Some((nat, expiry)) = model.get(&i).copied() {
                        let back = if nat { translated(&original, i) } else { original.reversed() };
                        let (guard, direction) = find(&table, &back, now).expect("both ways");
                        prop_assert_eq!(direction, Direction::Reply);
                        prop_assert_eq!(guard.expires().as_millis(), expiry);
                        if matches!(op, Op::Remove(_)) {
                            table.remove(guard);
                            model.remove(&i);
                        }
                    }
                }
                Op::Flush(zone) => {
                    table.zones().flush(zone);
                    model.retain(|i, _| (*i % 3) as u16 != zone);
                }
                Op::Sweep => {
                    let at = SweepAt { now: Time::from_millis(now) };
                    table.sweep(at, u32::MAX, &mut Stages(Removal::new(&table)));
                }
                Op::Advance(millis) => now += millis,
            }
        }
        model.retain(|_, &mut (_, expiry)| expiry > now);
        let mut position = 0;
        let mut listed = 0;
        while let Some(guard) = table.next(&mut position) {
            listed += usize::from(guard.is_visible(&at(&table, guard.zone(), now)));
        }
        prop_assert_eq!(listed, model.len());
        table.zones().flush_all();
        let at = SweepAt { now: Time::from_millis(now) };
        table.sweep(at, u32::MAX, &mut Sweep::Remove);
        prop_assert_eq!(table.len(), 0);
        prop_assert!(!table.zones().flush_pending());
    }
}

#[test]
fn nothing_is_lost_while_threads_insert_remove_and_the_table_grows() {
    let rounds = if cfg!(miri) { 4 } else { 40_000_u32 };
    let table = table(1_000_000);
    let stable: Vec<Tuple> = (0..if cfg!(miri) { 3 } else { 50 })
        .map(|i| tuple(i, Family::V4))
        .collect();
    for tuple in &stable {
        drop(insert(&table, &new(*tuple, None, 1 << 40), 0).expect("room"));
    }
    let write = |writer: u32| {
        for i in 0..rounds {
            let family = if i.is_multiple_of(5) {
                Family::V6
            } else {
                Family::V4
            };
            let original = tuple(writer * 1_000_000 + i, family);
            let reply = i
                .is_multiple_of(3)
                .then(|| translated(&original, writer * 20_000 + i));
            let clashes = matches!(
                insert(&table, &new(original, reply, 1 << 40), 0),
                Err(InsertError::ReplyExists)
            );
            assert!(clashes || find(&table, &original, 0).is_some());
            if !clashes && i % 2 == 0 {
                let (guard, _) = find(&table, &original, 0).expect("nobody else removes it");
                table.remove(guard);
            }
        }
    };
    std::thread::scope(|scope| {
        let writers = [scope.spawn(|| write(1)), scope.spawn(|| write(2))];
        while !writers.iter().all(|writer| writer.is_finished()) {
            for tuple in &stable {
                let (guard, _) = find(&table, &tuple.reversed(), 0).expect("never removed");
                assert_eq!(guard.original(), *tuple);
            }
            let at = SweepAt {
                now: Time::from_millis(5000),
            };
            assert_eq!(table.sweep(at, 1000, &mut Sweep::Remove).removed, 0);
        }
    });
    let mut position = 0;
    let mut listed = 0;
    while table.next(&mut position).is_some() {
        listed += 1;
    }
    assert_eq!(table.len(), listed);
}

#[test]
fn nothing_is_lost_while_connections_leave_in_stages_and_come_again() {
    let (rounds, tuples) = if cfg!(miri) { (2, 6) } else { (400, 300_u32) };
    let table = table(1_000_000);
    let named = |i: u32| {
        let original = tuple(
            i,
            if i.is_multiple_of(5) {
                Family::V6
            } else {
                Family::V4
            },
        );
        (
            original,
            i.is_multiple_of(3).then(|| translated(&original, i)),
        )
    };
    let write = || {
        for i in (0..rounds).flat_map(|_| 0..tuples) {
            let (original, reply) = named(i);
            match insert(&table, &new(original, reply, 1000), 0).map(drop) {
                Ok(()) | Err(InsertError::Exists | InsertError::ReplyExists) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let sweep = || {
        let at = SweepAt {
            now: Time::from_millis(5000),
        };
        let swept = table.sweep(at, u32::MAX, &mut Stages(Removal::new(&table)));
        swept.removed
    };
    let removed = std::thread::scope(|scope| {
        let writers = [scope.spawn(write), scope.spawn(write)];
        let mut removed = 0;
        while !writers.iter().all(|writer| writer.is_finished()) {
            removed += sweep();
        }
        removed
    });
    assert!(removed > 0 || cfg!(miri));
    sweep();
    assert_eq!((table.len(), table.next(&mut 0).is_none()), (0, true));
    for (original, reply) in (0..tuples).map(named) {
        drop(insert(&table, &new(original, reply, 1000), 0).expect("its place is free again"));
        let back = reply.unwrap_or_else(|| original.reversed());
        assert!(find(&table, &back, 0).is_some());
    }
}

#[test]
fn a_connection_that_leaves_is_found_by_nobody_and_may_come_again_at_once() {
    let table = table(10);
    let original = tuple(3, Family::V4);
    let reply = translated(&original, 7);
    let stored = new(original, Some(reply), 1000);
    let guard = insert(&table, &stored, 0).expect("room");
    let first = guard.id();
    let mut removal = Removal::new(&table);
    removal.begin(guard);
    assert!(find(&table, &original, 0).is_none() && find(&table, &reply, 0).is_none());
    assert!(table.get(first).is_none());
    assert_eq!(table.len(), 1, "it still has its place");
    let names = removal
        .names()
        .map(|names| (names.original(), names.reply()));
    assert_eq!(names.collect::<Vec<_>>(), [(original, reply)]);
    let second = insert(&table, &stored, 0)
        .expect("nobody has the tuple")
        .id();
    assert_ne!(first.number(), second.number());
    removal.finish();
    assert_eq!(table.len(), 1);
    for tuple in [original, reply] {
        let (guard, _) = find(&table, &tuple, 0).expect("the second one stays");
        assert_eq!(guard.id(), second);
    }
}

#[test]
fn what_a_stage_began_is_removed_when_it_is_dropped() {
    let table = table(100);
    let mut removal = Removal::new(&table);
    for i in 0..STAGE as u32 + 1 {
        removal.begin(insert(&table, &new(tuple(i, Family::V4), None, 9), 0).expect("room"));
    }
    assert_eq!(table.len(), 1, "a full stage makes room for the next one");
    drop(removal);
    assert_eq!(table.len(), 0);
}

/// Open vSwitch takes its one lock for every packet that finds nothing, even if it stores nothing.
#[test]
fn a_look_up_takes_no_lock_of_the_index() {
    let table = table(10);
    let stored = tuple(0, Family::V4);
    drop(insert(&table, &new(stored, None, 9), 0).expect("there is room"));
    for (wanted, is_there) in [(stored, true), (tuple(3, Family::V4), false)] {
        let (key, side) = wanted.key();
        let hash = table.hash(&key);
        let _locked = table.shard(hash).lock(hash);
        let at = at(&table, wanted.zone, 0);
        let found = table.find(Probe::NONE, hash, &key, side, &at);
        assert_eq!(found.is_some(), is_there);
        drop(found);
        assert_eq!(table.occupied(&wanted, &at), is_there);
    }
}
