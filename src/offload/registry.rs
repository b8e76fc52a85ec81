//! Which providers there are.
//!
//! The list is read by every batch and changes a few times a day: a snapshot, replaced whole under the
//! `ct_offload` lock. That lock is never held while a provider is called or waited for, so callbacks
//! may register, unregister and switch.
//!
//! **Leaving.** [`Registry::unregister`] takes the provider off the list, retires its gate, waits until
//! no callback of it runs, sends the deletes of what it holds, and wipes its byte in all records.
//! Batches that began with the old list may still hold events for it: they find the gate retired and
//! undo what they began. Its slot is used again only when the last of them is over. A provider may unregister itself in a callback: the
//! one callback that does so is not waited for. From a callback of *another* provider the answer is
//! [`Error::Busy`]: two of those could wait for each other.
//!
//! **Switching off** is the same without leaving: gates are shut for what brings connections, and what
//! is held comes back. Nothing is lost, because connections that enter before the gate is shut are
//! waited for, and those after it don't.

use super::admission;
use super::aging;
use super::connections::Connections;
use super::dispatch::Events;
use super::gate::{Errand, Gate};
use super::holds::{Holds, Noted, Position, UserData};
use super::provider::{DEFAULT_QUEUE, Delivery, Delta, Preferences, Provider, Refusal, Report};
use super::serve;
use super::state::{Byte, SLOTS, Slot, State, Why, Word};
use super::statistics::{Count, Counts};
use crate::clock::Time;
use crate::error::Error;
use crate::sync::snapshot::{Loaded, Snapshot};
use crate::sync::stash::Stash;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, StdArc, Weak, lock};
use crate::table::Flags;
use crate::tuple::{ConnectionId, Zone};

/// Connections that are handled between two looks at the clock of a long job.
const CHUNK: usize = 64;

/// A provider that is registered.
pub(super) struct Registered {
    pub(super) provider: Box<dyn Provider>,
    pub(super) name: String,
    pub(super) slot: Slot,
    /// Number of the registration, to tell those that had the same slot apart.
    pub(super) number: u32,
    pub(super) since: Time,
    pub(super) preferences: Preferences,
    pub(super) gate: Gate,
    pub(super) holds: Holds,
    pub(super) counts: Counts,
    /// No offers before this time, in milliseconds: the device said that it is full.
    pub(super) resting: AtomicU64,
    /// Some connection was put off for want of room.
    pub(super) unmet: AtomicBool,
}

impl Registered {
    /// Whether another connection may be offered now.
    pub(super) fn room(&self, now: Time) -> Result<(), Why> {
        let capacity = self.preferences.capacity as usize;
        let full = capacity != 0 && self.holds.len() >= capacity;
        if full || self.resting.load(Ordering::Relaxed) > now.as_millis() {
            Err(Why::Capacity)
        } else {
            Ok(())
        }
    }
}

/// The providers of an instance, in the order in which they are called.
#[derive(Default)]
pub(super) struct List {
    pub(super) providers: Vec<StdArc<Registered>>,
    /// Offload is switched on.
    pub(super) on: bool,
}

impl List {
    fn named(&self, name: &str) -> Option<&StdArc<Registered>> {
        self.providers.iter().find(|entry| entry.name == name)
    }
}

/// How far a connection got in one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The provider's name.
    pub provider: String,
    /// How far it got.
    pub state: State,
    /// Why not further; meaningful when the provider does not have it.
    pub why: Why,
    /// Since when; for a refusal that is long past, since the connection's creation.
    pub since: Time,
    /// What the provider carried of it, original then reply direction.
    pub carried: [Delta; 2],
}

/// What only writers look at.
struct Writer {
    /// Who has or had each slot. A slot is free again when nobody has that provider's entry any more:
    /// no list, no batch that began with an older one.
    slots: [Weak<Registered>; SLOTS],
    next_number: u32,
    on: bool,
}

/// The providers of an instance.
pub struct Registry {
    list: Snapshot<List>,
    /// Somebody is registered and offload is on.
    active: AtomicBool,
    /// When offload was switched off.
    off_since: AtomicU64,
    /// The `ct_offload` lock.
    writer: Mutex<Writer>,
    /// Buffers for events, to be used again.
    pub(super) buffers: Stash<Events>,
    /// Who gets the places of full devices.
    pub(super) rounds: admission::Rounds,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// Nobody is registered; offload is switched on.
    #[must_use]
    pub fn new() -> Registry {
        Registry {
            list: Snapshot::new(List {
                providers: Vec::new(),
                on: true,
            }),
            active: AtomicBool::new(false),
            off_since: AtomicU64::new(0),
            writer: Mutex::new(Writer {
                slots: std::array::from_fn(|_| Weak::new()),
                next_number: 0,
                on: true,
            }),
            buffers: Stash::new(),
            rounds: admission::Rounds::new(admission::Round::default()),
        }
    }

    /// Somebody may have to be told something: read once per batch.
    #[must_use]
    #[inline]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    pub(super) fn load(&self) -> Loaded<List> {
        self.list.load()
    }

    fn find(&self, name: &str) -> Result<StdArc<Registered>, Error> {
        self.load().named(name).cloned().ok_or_else(|| absent(name))
    }

    fn publish(&self, writer: &Writer, providers: Vec<StdArc<Registered>>) {
        let active = writer.on && !providers.is_empty();
        self.list.store(List {
            providers,
            on: writer.on,
        });
        self.active.store(active, Ordering::Release);
    }

    /// Registers a provider. Connections that exist are offered with their next packets.
    ///
    /// # Errors
    /// [`Error::Exists`] when one of this name is registered, [`Error::Again`] when all slots are taken
    /// or still in use by batches of a provider that left, [`Error::Invalid`] for an empty name, and
    /// whatever the provider's `init` answers.
    pub fn register(
        &self,
        provider: Box<dyn Provider>,
        connections: &dyn Connections,
        now: Time,
    ) -> Result<(), Error> {
        let name = provider.name().to_string();
        if name.is_empty() {
            return Err(Error::invalid("a provider needs a name"));
        }
        let exists = || Error::Exists(format!("a provider named {name} is registered"));
        if self.load().named(&name).is_some() {
            return Err(exists());
        }
        // A callback too: called without the lock.
        provider.init()?;
        let preferences = provider.preferences();
        let queue = match preferences.queue {
            0 => DEFAULT_QUEUE,
            limit => limit,
        };
        let queued = preferences.delivery == Delivery::Queued;
        {
            let mut writer = lock(&self.writer);
            let list = self.load();
            if list.named(&name).is_some() {
                return Err(exists());
            }
            let slot = (0..SLOTS)
                .find(|&slot| writer.slots[slot].strong_count() == 0)
                .and_then(Slot::new)
                .ok_or_else(|| {
                    Error::Again(format!("all {SLOTS} places of providers are taken"))
                })?;
            writer.next_number = writer.next_number.wrapping_add(1);
            let entry = Registered {
                name: name.clone(),
                slot,
                number: writer.next_number,
                since: now,
                preferences,
                gate: Gate::new(),
                holds: Holds::new(queued.then_some(queue as usize)),
                counts: Counts::new(),
                resting: AtomicU64::new(0),
                unmet: AtomicBool::new(false),
                provider,
            };
            if !writer.on {
                entry.gate.shut();
            }
            let entry = StdArc::new(entry);
            writer.slots[slot.index()] = StdArc::downgrade(&entry);
            let mut providers = list.providers.clone();
            let place = providers
                .iter()
                .position(|other| other.preferences.priority < preferences.priority)
                .unwrap_or(providers.len());
            providers.insert(place, entry);
            self.publish(&writer, providers);
        }
        self.invite(connections);
        Ok(())
    }

    /// The next packets of all connections are looked at for what providers want.
    fn invite(&self, connections: &dyn Connections) {
        let mut position = 0;
        while let Some(mut guard) = connections.next(&mut position) {
            let mut flags = guard.flags();
            flags.insert(Flags::OFFLOADED);
            guard.set_flags(flags);
        }
    }

    /// Unregisters a provider. When this returns, none of its callbacks runs and none will, and every
    /// connection that it held got its `conn_del`.
    ///
    /// Called from a callback of the same provider, it does not wait for that callback; the add that
    /// is in progress in it counts as refused.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Busy`] from a callback of another provider.
    pub fn unregister(
        &self,
        name: &str,
        connections: &dyn Connections,
        now: Time,
    ) -> Result<(), Error> {
        let entry = {
            let writer = lock(&self.writer);
            let list = self.load();
            let entry = list.named(name).cloned().ok_or_else(|| absent(name))?;
            if entry.gate.is_elsewhere() {
                return Err(Error::Busy(format!(
                    "{name} cannot be unregistered from a callback of another provider"
                )));
            }
            let mut providers = list.providers.clone();
            providers.retain(|other| other.number != entry.number);
            self.publish(&writer, providers);
            entry.gate.retire();
            entry
        };
        entry.gate.wait();
        entry.release_flows(connections);
        serve::drain(&entry, connections, now);
        let mut position = 0;
        while let Some(mut guard) = connections.next(&mut position) {
            if Word(guard.offload()).get(entry.slot) != Byte::NEW {
                serve::put(&mut guard, entry.slot, Byte::NEW);
            }
        }
        entry.provider.destroy();
        Ok(())
    }

    /// Unregisters everybody: for the end of the instance.
    ///
    /// # Errors
    /// [`Error::Busy`] from a callback.
    pub fn close(&self, connections: &dyn Connections, now: Time) -> Result<(), Error> {
        loop {
            let name = match self.load().providers.last() {
                Some(entry) => entry.name.clone(),
                None => return Ok(()),
            };
            match self.unregister(&name, connections, now) {
                // Somebody else did it.
                Ok(()) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Switches offload off: when this returns, no provider holds a connection, but for those of
    /// callbacks that the caller itself is in. Connections go on in software.
    pub fn switch_off(&self, connections: &dyn Connections, now: Time) {
        {
            let mut writer = lock(&self.writer);
            writer.on = false;
            self.off_since.store(now.as_millis(), Ordering::Relaxed);
            let providers = self.load().providers.clone();
            for entry in &providers {
                entry.gate.shut();
            }
            self.publish(&writer, providers);
        }
        let list = self.load();
        for entry in list.providers.iter() {
            if !entry.gate.is_elsewhere() {
                entry.gate.wait();
            }
            entry.release_flows(connections);
            recall(entry, connections, now, Why::Off, &|_| true);
            serve::work(entry, 0, 1, usize::MAX, connections);
        }
    }

    /// Switches offload on again: connections are offered with their next packets.
    pub fn switch_on(&self, connections: &dyn Connections) {
        {
            let mut writer = lock(&self.writer);
            writer.on = true;
            let providers = self.load().providers.clone();
            for entry in &providers {
                entry.gate.open();
            }
            self.publish(&writer, providers);
        }
        let list = self.load();
        let mut position = 0;
        while let Some(mut guard) = connections.next(&mut position) {
            for entry in &list.providers {
                let byte = Word(guard.offload()).get(entry.slot);
                if byte == Byte::not_now(Why::Off) {
                    serve::put(&mut guard, entry.slot, Byte::NEW);
                }
            }
        }
        self.invite(connections);
    }

    /// Offload is switched on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.load().on
    }

    pub(super) fn off_since(&self) -> Time {
        Time::from_millis(self.off_since.load(Ordering::Relaxed))
    }

    /// Takes what was flushed out of all providers at once; `None` for all zones. To be called after
    /// the table's own flush. Each provider's `flush` is called once when everything goes, and every
    /// connection gets its `conn_del`.
    pub fn flush(&self, zone: Option<Zone>, connections: &dyn Connections, now: Time) {
        let list = self.load();
        for entry in list.providers.iter() {
            match zone {
                None => {
                    serve::flush(entry, now);
                    recall(entry, connections, now, Why::GivenBack, &|_| true);
                }
                Some(zone) => recall(entry, connections, now, Why::GivenBack, &|of| of == zone),
            }
        }
    }

    /// A provider gives a connection back: it goes on in software.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such provider.
    pub fn give_back(
        &self,
        name: &str,
        id: ConnectionId,
        connections: &dyn Connections,
        now: Time,
    ) -> Result<(), Error> {
        let entry = self.find(name)?;
        serve::recall(&entry, &[id], Why::GivenBack, connections, now);
        Ok(())
    }

    /// Says what came of an add that the provider had answered with
    /// [`Taken::Later`](super::provider::Taken::Later).
    ///
    /// # Errors
    /// [`Error::NotFound`] when no such add is under way: it came too late, and nothing happens.
    pub fn complete(
        &self,
        name: &str,
        id: ConnectionId,
        outcome: Result<(), Refusal>,
        connections: &dyn Connections,
        now: Time,
    ) -> Result<(), Error> {
        let entry = self.find(name)?;
        if serve::complete(&entry, id, outcome, connections, now) {
            Ok(())
        } else {
            Err(Error::NotFound(
                "no add of this connection is under way".into(),
            ))
        }
    }

    /// A provider reports on a connection that it has, without being asked: traffic, the window, a FIN
    /// or RST that only it saw. The latest use extends the connection's expiry.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such provider, or it does not have the connection.
    pub fn report(
        &self,
        name: &str,
        id: ConnectionId,
        report: &Report,
        connections: &dyn Connections,
        now: Time,
    ) -> Result<(), Error> {
        let entry = self.find(name)?;
        let gone = || Error::NotFound(format!("{name} does not have this connection"));
        let _pass = entry.gate.enter(Errand::Back).ok_or_else(gone)?;
        if entry.holds.held(id).is_none() {
            return Err(gone());
        }
        if serve::note_report(&entry, id, report, now, connections) == Noted::Serve {
            serve::serve(&entry, [id], connections);
        } else {
            aging::extend(id, report, connections, now);
        }
        Ok(())
    }

    /// Sets the word that a provider keeps with a connection that it holds or is being offered. The
    /// former one is destroyed.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such provider, or it does not have the connection; the
    /// word is destroyed then.
    pub fn set_data(&self, name: &str, id: ConnectionId, data: usize) -> Result<(), Error> {
        let entry = self.find(name)?;
        let data = UserData::new(data, entry.provider.data_free());
        let gone = |_data| Error::NotFound(format!("{name} does not have this connection"));
        entry.holds.set_data(id, data).map_err(gone)
    }

    /// The word that a provider keeps with a connection.
    #[must_use]
    pub fn data(&self, name: &str, id: ConnectionId) -> Option<usize> {
        self.find(name).ok()?.holds.data(id)
    }

    /// Does what is queued for providers with queued delivery: `worker` of `workers` that share the
    /// queues, at most `budget` operations. Returns how many it did; zero means that it may wait. Any
    /// thread may call it; those of the library do nothing else.
    pub fn work(
        &self,
        worker: usize,
        workers: usize,
        budget: usize,
        connections: &dyn Connections,
    ) -> usize {
        let list = self.load();
        let mut done = 0;
        for entry in list.providers.iter() {
            if entry.preferences.delivery == Delivery::Queued && done < budget {
                done += serve::work(entry, worker, workers, budget - done, connections);
            }
        }
        done
    }

    /// How far a connection got in every provider, by its record's word and the time of its creation.
    #[must_use]
    pub fn standing(&self, id: ConnectionId, word: u64, created: Time) -> Vec<Standing> {
        let list = self.load();
        let of = |entry: &StdArc<Registered>| {
            let byte = Word(word).get(entry.slot);
            let held = entry.holds.held(id);
            let since = match (&held, list.on) {
                (Some(held), _) => held.since,
                (None, false) => self.off_since(),
                (None, true) => entry
                    .holds
                    .refused_since(id)
                    .unwrap_or_else(|| created.max(entry.since)),
            };
            let why = match byte.state {
                State::None if !list.on => Why::Off,
                State::None if created < entry.since && byte.why == Why::TooEarly => Why::Idle,
                _ => byte.why,
            };
            Standing {
                provider: entry.name.clone(),
                state: byte.state,
                why,
                since,
                carried: held.map_or([Delta::default(); 2], |held| held.carried),
            }
        };
        list.providers.iter().map(of).collect()
    }

    /// Names of the providers, in the order in which they are called.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let list = self.load();
        list.providers
            .iter()
            .map(|entry| entry.name.clone())
            .collect()
    }

    /// A count of a provider; `None` when it is not registered.
    #[must_use]
    pub fn count(&self, name: &str, count: Count) -> Option<u64> {
        self.find(name).ok().map(|entry| entry.counts.get(count))
    }

    /// Connections that wait for a provider's workers; `None` when it is not registered.
    #[must_use]
    pub fn waiting(&self, name: &str) -> Option<usize> {
        self.find(name).ok().map(|entry| entry.holds.waiting())
    }

    /// Connections that a provider holds or is being offered; `None` when it is not registered.
    #[must_use]
    pub fn held(&self, name: &str) -> Option<usize> {
        self.find(name).ok().map(|entry| entry.holds.len())
    }
}

fn absent(name: &str) -> Error {
    Error::NotFound(format!("no provider named {name} is registered"))
}

/// Takes connections of the chosen zones back from a provider.
fn recall(
    entry: &StdArc<Registered>,
    connections: &dyn Connections,
    now: Time,
    why: Why,
    of: &dyn Fn(Zone) -> bool,
) {
    let mut position = Position::default();
    while !position.is_at_end() {
        let wanted = |context: &super::provider::Context| of(context.original.zone);
        let ids = entry.holds.walk(&mut position, CHUNK, &wanted);
        serve::recall(entry, &ids, why, connections, now);
    }
}
