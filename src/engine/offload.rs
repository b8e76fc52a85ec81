//! Offload as the engine's users see it, and the engine as the offload room sees it.
//!
//! The engine owns the connections: here it shows them to the providers ([`Connections`]) and says
//! what the protocol's state means. Everything else is passed on to the room's own registry.

use super::Engine;
use super::batch::Batch;
use super::descriptor::{ConnectionId, state};
use super::events::Ending;
use super::statistics::Counter;
use crate::clock::Time;
use crate::error::Error;
use crate::offload::connections::{Connections, Tracked};
use crate::offload::dispatch::{Dispatch, Returns, Seen};
use crate::offload::provider::{Delta, Provider, Refusal, Report};
use crate::offload::registry::Standing;
use crate::offload::statistics::Count;
use crate::packet::proto;
use crate::table::{Flags, Guard};
use crate::track::handover::{self, TcpSide};
use crate::track::{self, Step};
use crate::tuple::Direction;

/// Packets during which the window of a connection that came back is learned instead of enforced.
pub const LESSONS: u8 = 16;

impl Engine {
    /// The state of a connection's protocol.
    pub(super) fn tracked_state(&self, guard: &Guard<'_>) -> track::State {
        let mut state = track::State {
            words: guard.protocol(),
            extension: [0; 8],
        };
        if track::uses_extension(self.machine(), guard.ports().0) {
            state.extension = guard.extension();
        }
        state
    }

    pub(super) fn set_tracked_state(&self, guard: &mut Guard<'_>, state: &track::State) {
        let protocol = guard.ports().0;
        let settled = self.machine() == track::Machine::Ovs;
        let mut flags = guard.flags();
        flags.set(
            Flags::SETTLED,
            settled && track::is_settled(protocol, &state.words),
        );
        guard.set_flags(flags);
        guard.set_protocol(state.words);
        if track::uses_extension(self.machine(), protocol) {
            guard.set_extension(state.extension);
        }
    }

    /// Registers an offload provider. Connections that exist are offered to it with their next packets.
    ///
    /// # Errors
    /// See [`Registry::register`](crate::offload::registry::Registry::register).
    pub fn register_provider(&self, provider: Box<dyn Provider>, now: Time) -> Result<(), Error> {
        self.offload.register(provider, self, now)
    }

    /// Unregisters a provider: when this returns, none of its callbacks runs and none will, and
    /// everything that it held got its `conn_del`.
    ///
    /// # Errors
    /// See [`Registry::unregister`](crate::offload::registry::Registry::unregister).
    pub fn unregister_provider(&self, name: &str, now: Time) -> Result<(), Error> {
        self.offload.unregister(name, self, now)
    }

    /// Switches offload on or off. Off: every connection comes back to software before this returns.
    pub fn set_offload(&self, on: bool, now: Time) {
        if on {
            self.offload.switch_on(self);
        } else {
            self.offload.switch_off(self, now);
        }
    }

    /// Offload is switched on.
    #[must_use]
    pub fn offload(&self) -> bool {
        self.offload.is_on()
    }

    /// Names of the providers, in the order in which they are called.
    #[must_use]
    pub fn providers(&self) -> Vec<String> {
        self.offload.names()
    }

    /// Says what came of an add that the provider had answered with
    /// [`Taken::Later`](crate::offload::provider::Taken::Later).
    ///
    /// # Errors
    /// [`Error::NotFound`] when no such add is under way.
    pub fn complete_offload(
        &self,
        provider: &str,
        id: ConnectionId,
        outcome: Result<(), Refusal>,
        now: Time,
    ) -> Result<(), Error> {
        self.offload.complete(provider, id, outcome, self, now)
    }

    /// A provider reports on a connection that it has, without being asked.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not have the connection.
    pub fn report_offload(
        &self,
        provider: &str,
        id: ConnectionId,
        report: &Report,
        now: Time,
    ) -> Result<(), Error> {
        self.offload.report(provider, id, report, self, now)
    }

    /// A provider gives a connection back: it goes on in software.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such provider.
    pub fn give_back(&self, provider: &str, id: ConnectionId, now: Time) -> Result<(), Error> {
        self.offload.give_back(provider, id, self, now)
    }

    /// Sets the word that a provider keeps with a connection.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not have the connection.
    pub fn set_offload_data(
        &self,
        provider: &str,
        id: ConnectionId,
        data: usize,
    ) -> Result<(), Error> {
        self.offload.set_data(provider, id, data)
    }

    /// The word that a provider keeps with a connection.
    #[must_use]
    pub fn offload_data(&self, provider: &str, id: ConnectionId) -> Option<usize> {
        self.offload.data(provider, id)
    }

    /// Does what waits for providers with queued delivery: `worker` of `workers`, at most `budget`
    /// connections. Returns how many it served.
    pub fn work(&self, worker: usize, workers: usize, budget: usize) -> usize {
        self.offload.work(worker, workers, budget, self)
    }

    /// Asks the providers about everything that they hold, so that counters and expiry follow what
    /// hardware does. Returns how many connections were asked about.
    pub fn refresh_offload(&self, now: Time) -> usize {
        self.offload.refresh(self, now)
    }

    /// How far a connection got in every provider, and why not further; `None` when it ended.
    #[must_use]
    pub fn offload_standing(&self, id: ConnectionId) -> Option<Vec<Standing>> {
        let (word, created) = {
            let guard = self.table.get(id)?;
            (guard.offload(), guard.created())
        };
        Some(self.offload.standing(id, word, created))
    }

    /// A count of a provider; `None` when it is not registered.
    #[must_use]
    pub fn provider_count(&self, provider: &str, count: Count) -> Option<u64> {
        self.offload.count(provider, count)
    }

    /// Connections that a provider holds or is being offered; `None` when it is not registered.
    #[must_use]
    pub fn provider_held(&self, provider: &str) -> Option<usize> {
        self.offload.held(provider)
    }

    /// Connections that wait for a provider's workers; `None` when it is not registered.
    #[must_use]
    pub fn provider_waiting(&self, provider: &str) -> Option<usize> {
        self.offload.waiting(provider)
    }
}

impl Engine {
    /// Unregisters all providers: what they hold gets its `conn_del`. For the end of the instance, which
    /// does so by itself when nothing refers to it any more.
    pub fn close_offload(&self) {
        // Busy: this is a provider's callback. Its connections are gone all the same.
        let _closed = self.offload.close(self, Time::default());
    }
}

impl Drop for Engine {
    /// What providers hold gets its `conn_del`.
    fn drop(&mut self) {
        self.close_offload();
    }
}

impl Connections for Engine {
    fn get(&self, id: ConnectionId) -> Option<Guard<'_>> {
        self.table.get(id)
    }

    fn next(&self, position: &mut u32) -> Option<Guard<'_>> {
        self.table.next(position)
    }

    fn is_current(&self, guard: &Guard<'_>, now: Time) -> bool {
        guard.is_visible(&self.at(guard.zone(), now))
    }

    fn tracked(&self, guard: &Guard<'_>) -> Tracked {
        let (protocol, ..) = guard.ports();
        let state = self.tracked_state(guard);
        let class = handover::waiting(&state, protocol, self.machine());
        let flags = guard.flags();
        let seen = if flags.contains(Flags::SEEN_REPLY) {
            state::EST
        } else {
            state::NEW
        };
        let related = if flags.contains(Flags::RELATED) {
            state::REL
        } else {
            0
        };
        Tracked {
            state: state::TRK | seen | related,
            timeout: self.timeouts.millis(guard.policy(), class),
            ending: handover::is_ending(class),
            tcp: handover::numbers(&state, protocol, self.machine()),
        }
    }

    fn take_window(&self, guard: &mut Guard<'_>, window: Option<&[TcpSide; 2]>) {
        if guard.ports().0 != proto::TCP {
            return;
        }
        let mut state = self.tracked_state(guard);
        let mut flags = guard.flags();
        match window {
            Some(sides) => handover::adopt(&mut state, sides, self.machine()),
            None => handover::forget(&mut state, self.machine()),
        }
        self.set_tracked_state(guard, &state);
        guard.set_lessons(if window.is_none() { LESSONS } else { 0 });
        flags.set(Flags::RELEARN, window.is_none());
        guard.set_flags(flags);
    }

    fn closed(&self, guard: &mut Guard<'_>, sides: [bool; 2], now: Time) {
        self.telling(guard, now, |guard| {
            let (protocol, ..) = guard.ports();
            let mut state = self.tracked_state(guard);
            handover::close(&mut state, sides, protocol, self.machine());
            self.set_tracked_state(guard, &state);
            let class = handover::waiting(&state, protocol, self.machine());
            guard.set_expiry(now.plus(self.timeouts.millis(guard.policy(), class)));
        });
    }

    fn carried(&self, guard: Option<&mut Guard<'_>>, carried: [Delta; 2]) {
        let packets: u64 = carried.iter().map(|delta| delta.packets).sum();
        self.statistics.count(Counter::Offloaded, packets);
        if let Some(guard) = guard
            && self.settings.read().accounting()
        {
            guard.add_counts(carried.map(|delta| (delta.packets, delta.bytes)));
        }
    }

    fn remove(&self, guard: Guard<'_>, dispatch: &mut Dispatch<'_>, now: Time) {
        self.remove(guard, Ending::Expired, dispatch, now);
    }
}

impl<'e> Batch<'e> {
    /// Shows a packet's connection to the providers, and goes on with learning its window.
    #[cold]
    pub(super) fn show_providers(
        &mut self,
        guard: &mut Guard<'e>,
        in_port: u32,
        bits: u8,
        direction: Direction,
        step: &Step,
    ) {
        if guard.flags().contains(Flags::RELEARN) {
            self.learn(guard);
        }
        let ending = step.timeout.is_some_and(handover::is_ending);
        if ending {
            self.engine.unmerge(guard);
        }
        if !guard.flags().contains(Flags::OFFLOADED) {
            return;
        }
        let tcp = guard.ports().0 == proto::TCP;
        let established = step
            .timeout
            .is_some_and(track::timeout::Class::is_established);
        let seen = Seen {
            direction,
            established: bits & state::EST != 0,
            complete: if tcp {
                established
            } else {
                guard.flags().contains(Flags::SEEN_REPLY)
            },
            ending,
            in_port,
            now: self.at.now,
        };
        if self.dispatch.on_packet(guard, &seen) == Returns::Yes {
            self.engine.take_window(guard, None);
        }
    }

    /// One packet less to learn the window from.
    fn learn(&mut self, guard: &mut Guard<'e>) {
        let left = guard.lessons().saturating_sub(1);
        guard.set_lessons(left);
        if left == 0 {
            let mut state = self.engine.tracked_state(guard);
            handover::settle(&mut state, self.engine.machine());
            self.engine.set_tracked_state(guard, &state);
            let mut flags = guard.flags();
            flags.set(Flags::RELEARN, false);
            guard.set_flags(flags);
        }
    }

    /// Shows a new connection to the providers.
    #[inline]
    pub(super) fn show_new(&mut self, guard: &mut Guard<'e>, in_port: u32) {
        if self.dispatch.is_active() {
            let seen = Seen {
                direction: Direction::Original,
                established: false,
                complete: false,
                ending: false,
                in_port,
                now: self.at.now,
            };
            self.dispatch.on_commit(guard, &seen);
        } else if self.engine.offload.is_active() {
            // Somebody registered since the batch began: its next packet will be looked at.
            let mut flags = guard.flags();
            flags.insert(Flags::OFFLOADED);
            guard.set_flags(flags);
        }
    }
}
