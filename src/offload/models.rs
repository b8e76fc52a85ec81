//! Offload under the loom model checker: one connection, one provider, two threads that do what must
//! not go wrong. Every model counts the executions that do harm: none as it is, some with one step left
//! out, or the model would not be able to see the harm.

use super::connections::{Connections, Tracked};
use super::dispatch::{Dispatch, Seen};
use super::flows::Flows;
use super::provider::{
    Context, Delivery, Delta, FlowUse, Preferences, Provider, Refusal, Report, Taken, TcpSide,
};
use super::registry::Registry;
use crate::clock::Time;
use crate::packet::{Family, proto};
use crate::sync::{Arc, AtomicU32, Ordering, Site, harms, thread};
use crate::table::{self, At, Flags, Guard, New, Probe, Table};
use crate::tuple::hash::Secret;
use crate::tuple::{ConnectionId, Direction, QueryKind, Tuple};

const NOW: Time = Time::from_millis(1);
const AT: At = At { now: NOW, epoch: 0 };

/// A table with one connection at most, and the registry beside it.
struct World {
    table: Table,
    registry: Registry,
    calls: Arc<Calls>,
}

/// What the provider was told, counted.
#[derive(Default)]
struct Calls {
    added: AtomicU32,
    established: AtomicU32,
    deleted: AtomicU32,
    /// The provider left; it must not be called any more.
    left: AtomicU32,
    late: AtomicU32,
}

impl Calls {
    fn count(&self, counter: &AtomicU32) {
        if self.left.load(Ordering::Relaxed) != 0 {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn sums(&self) -> [u32; 3] {
        [&self.added, &self.established, &self.deleted].map(|n| n.load(Ordering::Relaxed))
    }
}

struct Told(Arc<Calls>, Delivery);

impl Provider for Told {
    fn name(&self) -> &str {
        "told"
    }
    fn preferences(&self) -> Preferences {
        Preferences {
            delivery: self.1,
            ..Preferences::default()
        }
    }
    fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
        self.0.count(&self.0.added);
        Ok(Taken::Now)
    }
    fn conn_established(&self, _context: &Context) -> bool {
        self.0.count(&self.0.established);
        true
    }
    fn conn_del(&self, _context: &Context) -> Report {
        self.0.count(&self.0.deleted);
        Report::default()
    }
}

impl World {
    fn new(delivery: Delivery) -> Arc<World> {
        let config = table::Config {
            secret: Secret::new([7; 8]),
            limit: 100,
            initial: 0,
            extension: false,
        };
        let world = World {
            table: Table::new(&config).expect("memory"),
            registry: Registry::new(),
            calls: Arc::new(Calls::default()),
        };
        let told = Told(world.calls.clone(), delivery);
        world
            .registry
            .register(Box::new(told), &world, NOW)
            .expect("the first one");
        Arc::new(world)
    }

    fn tuple() -> Tuple {
        Tuple {
            src: 1,
            dst: 2,
            sport: 3,
            dport: 80,
            zone: 0,
            proto: proto::UDP,
            family: Family::V4,
            query: QueryKind::None,
            question: true,
        }
    }

    fn seen(direction: Direction) -> Seen {
        Seen {
            direction,
            established: direction == Direction::Reply,
            complete: false,
            ending: false,
            in_port: 1,
            now: NOW,
        }
    }

    /// The first packet.
    fn commit(&self) {
        let mut dispatch = Dispatch::new(&self.registry);
        let new = New {
            reply: None,
            flags: Flags::default(),
            created: NOW,
            expiry: Time::from_millis(1 << 40),
            policy: 0,
            mark: 0,
            protocol: [0; 3],
            label: 0,
            parent: ConnectionId::NONE,
            helper: 0,
            in_port: 0,
            extension: None,
        };
        let name = self.table.name(&World::tuple());
        if let Ok(mut guard) = self.table.insert(&new, &name, &AT)
            && dispatch.is_active()
        {
            dispatch.on_commit(&mut guard, &World::seen(Direction::Original));
        }
        dispatch.deliver(self);
    }

    fn find(&self) -> Option<Guard<'_>> {
        let (key, side) = World::tuple().key();
        let hash = self.table.hash(&key);
        let found = self.table.find(Probe::NONE, hash, &key, side, &AT)?;
        Some(found.0)
    }

    /// A packet of the reply direction.
    fn answer(&self) {
        let mut dispatch = Dispatch::new(&self.registry);
        if let Some(mut guard) = self.find() {
            let _stays = dispatch.on_packet(&mut guard, &World::seen(Direction::Reply));
        }
        dispatch.deliver(self);
    }

    /// The connection ends: by a flush of its tuple, by expiry, by early drop.
    fn end(&self) {
        let mut dispatch = Dispatch::new(&self.registry);
        if let Some(guard) = self.find() {
            self.remove(guard, &mut dispatch, NOW);
        }
        dispatch.deliver(self);
    }

    fn held(&self) -> Option<usize> {
        self.registry.held("told")
    }
}

impl Flows for World {
    fn took(&self, _number: u64, _provider: u32) -> bool {
        false
    }
    fn release(&self, _provider: u32) -> Vec<u64> {
        Vec::new()
    }
    fn merged_carried(&self, _number: u64, _used: &FlowUse) {}
}

impl Connections for World {
    fn get(&self, id: ConnectionId) -> Option<Guard<'_>> {
        self.table.get(id)
    }
    fn next(&self, position: &mut u32) -> Option<Guard<'_>> {
        self.table.next(position)
    }
    fn is_current(&self, _guard: &Guard<'_>, _now: Time) -> bool {
        true
    }
    fn tracked(&self, _guard: &Guard<'_>) -> Tracked {
        Tracked {
            state: 0,
            timeout: 1,
            ending: false,
            tcp: None,
        }
    }
    fn take_window(&self, _guard: &mut Guard<'_>, _window: Option<&[TcpSide; 2]>) {}
    fn closed(&self, _guard: &mut Guard<'_>, _sides: [bool; 2], _now: Time) {}
    fn carried(&self, _guard: Option<&mut Guard<'_>>, _carried: [Delta; 2]) {}
    fn remove(&self, guard: Guard<'_>, dispatch: &mut Dispatch<'_>, now: Time) {
        dispatch.on_remove(&guard, now);
        self.table.remove(guard);
    }
}

/// A provider leaves while a packet is on its way: is it called afterwards, or left with a connection?
fn leaving() -> bool {
    let world = World::new(Delivery::Inline);
    let sender = world.clone();
    let packets = thread::spawn(move || sender.commit());
    let left = world.registry.unregister("told", &*world, NOW);
    world.calls.left.store(1, Ordering::Relaxed);
    packets.join().expect("no panic");
    let [added, _, deleted] = world.calls.sums();
    left.is_err() || added != deleted || world.calls.late.load(Ordering::Relaxed) != 0
}

#[test]
fn loom_no_callback_runs_after_its_provider_left() {
    assert_eq!(harms(None, leaving), 0);
}

#[test]
fn loom_a_gate_without_fences_lets_a_callback_run_after_its_provider_left() {
    assert_ne!(harms(Some(Site::GateFence), leaving), 0);
}

/// What a callback did is seen by whoever unregistered its provider.
fn leaving_behind() -> bool {
    let world = World::new(Delivery::Inline);
    let sender = world.clone();
    let packets = thread::spawn(move || {
        sender.commit();
        sender.answer();
    });
    let left = world.registry.unregister("told", &*world, NOW);
    // Read at once, without joining the thread.
    let [added, _, deleted] = world.calls.sums();
    packets.join().expect("no panic");
    left.is_err() || added != deleted
}

#[test]
fn loom_what_callbacks_did_is_known_when_their_provider_has_left() {
    assert_eq!(harms(None, leaving_behind), 0);
}

/// Two packets of the reply direction on two threads: are they one `conn_established`?
fn established() -> bool {
    let world = World::new(Delivery::Inline);
    world.commit();
    let other = world.clone();
    let packets = thread::spawn(move || other.answer());
    world.answer();
    packets.join().expect("no panic");
    world.calls.sums() != [1, 1, 0]
}

#[test]
fn loom_established_is_told_exactly_once() {
    assert_eq!(harms(None, established), 0);
}

#[test]
fn loom_established_is_told_twice_when_the_record_does_not_remember() {
    assert_ne!(harms(Some(Site::AskOnce), established), 0);
}

/// A connection ends while it is added: does the provider keep it, or get a delete too many?
fn ending() -> bool {
    let world = World::new(Delivery::Inline);
    let sender = world.clone();
    let packets = thread::spawn(move || sender.commit());
    world.end();
    packets.join().expect("no panic");
    world.end();
    let [added, _, deleted] = world.calls.sums();
    added != deleted || world.held() != Some(0)
}

#[test]
fn loom_every_add_has_one_delete_however_the_end_comes() {
    assert_eq!(harms(None, ending), 0);
}

#[test]
fn loom_an_add_that_does_not_look_back_leaves_a_dead_connection_in_the_provider() {
    assert_ne!(harms(Some(Site::AddCompleted), ending), 0);
}

/// A flush of everything while a connection is added.
fn flushing() -> bool {
    let world = World::new(Delivery::Inline);
    let sender = world.clone();
    let packets = thread::spawn(move || sender.commit());
    world.registry.flush(None, &*world, NOW);
    packets.join().expect("no panic");
    world.end();
    let [added, _, deleted] = world.calls.sums();
    added != deleted || world.held() != Some(0)
}

#[test]
fn loom_a_flush_beside_an_add_leaves_nothing() {
    assert_eq!(harms(None, flushing), 0);
}

#[test]
fn loom_a_turn_that_ends_without_another_look_survives_a_flush() {
    assert_ne!(harms(Some(Site::TurnEnd), flushing), 0);
}

/// A worker takes from the queue while packets put into it, and then the rest is drained.
fn queued() -> bool {
    let world = World::new(Delivery::Queued);
    world.commit();
    let worker = world.clone();
    let works = thread::spawn(move || worker.registry.work(0, 1, 10, &*worker));
    world.answer();
    works.join().expect("no panic");
    while world.registry.work(0, 1, 10, &*world) > 0 {}
    let told = world.calls.sums();
    world.end();
    while world.registry.work(0, 1, 10, &*world) > 0 {}
    told != [1, 1, 0] || world.calls.sums() != [1, 1, 1] || world.held() != Some(0)
}

/// A reply comes while the connection is added by another thread.
fn answered_meanwhile() -> bool {
    let world = World::new(Delivery::Inline);
    let sender = world.clone();
    let packets = thread::spawn(move || sender.commit());
    world.answer();
    packets.join().expect("no panic");
    world.answer();
    world.calls.sums() != [1, 1, 0]
}

#[test]
fn loom_a_reply_during_the_add_is_told_once() {
    assert_eq!(harms(None, answered_meanwhile), 0);
}

#[test]
fn loom_nothing_is_lost_in_a_queue() {
    assert_eq!(harms(None, queued), 0);
}

#[test]
fn loom_a_turn_that_ends_without_another_look_loses_what_is_owed() {
    assert_ne!(harms(Some(Site::TurnEnd), queued), 0);
}

/// Offload is switched off while a packet is on its way: does a provider hold anything afterwards?
fn switching() -> bool {
    let world = World::new(Delivery::Inline);
    let sender = world.clone();
    let packets = thread::spawn(move || sender.commit());
    world.registry.switch_off(&*world, NOW);
    let [before, _, after] = world.calls.sums();
    packets.join().expect("no panic");
    let [added, _, deleted] = world.calls.sums();
    before != after || added != deleted || world.held() != Some(0)
}

#[test]
fn loom_nothing_is_held_when_offload_is_off() {
    assert_eq!(harms(None, switching), 0);
}

#[test]
fn loom_a_gate_without_fences_holds_connections_when_offload_is_off() {
    assert_ne!(harms(Some(Site::GateFence), switching), 0);
}
