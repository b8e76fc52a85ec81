//! Merged flows and the tracker: which connections a trace went through, what they say now, and what
//! becomes of their flows when they change.
//!
//! A connection whose packets a merged flow may carry has the flag MERGED in its record. The cache looks
//! at it under the record's lock before it carries a packet, so clearing the flag revokes all flows of
//! the connection at once, on whatever thread and without waiting: that is what happens when its mark or
//! label changes, when it begins to close, or when a flow table takes it. A connection that ended has no
//! record any more. What remains is clearing away, which [`Engine::merge`] does off the packet threads.
//!
//! A flag that was cleared is set again only after all flows of the connection are gone.

use super::Engine;
use super::descriptor::{ConnectionId, Descriptor, Metadata, Modified, state};
use super::translate;
use crate::clock::Time;
use crate::error::Error;
use crate::merge::action::{Translated, Verdict};
use crate::merge::fold::{Filter, Refusal, Step, fold};
use crate::merge::merged::{Flow, Made, Passing, Used, divide};
use crate::merge::statistics::Count;
use crate::merge::store::{Gone, Listed, Settings, Store};
use crate::merge::trace::{Crossing, Met, Trace};
use crate::nat::{Place, Rewrite};
use crate::offload::connections::Connections;
use crate::offload::flows::Flows;
use crate::offload::provider::{Delta, FlowUse};
use crate::packet::{Family, proto};
use crate::sync::shelf::{Ticket, Visit};
use crate::sync::{AtomicPtr, AtomicU64, Mutex, OnceLock, Ordering, StdArc};
use crate::table::{Flags, Guard};
use crate::track::handover;
use crate::tuple::hash::Secret;
use crate::tuple::{Direction, Tuple};
use std::any::Any;

/// Milliseconds between two questions to providers about the flows that they carry.
const ASK_AFTER: u64 = 1_000;

/// What the boundary to the datapath's language makes of a flow, and what of that it shows for a packet.
pub type Render = fn(&Made) -> (StdArc<dyn Any + Send + Sync>, AtomicPtr<()>);

/// Merged flows of an instance, once somebody wants them.
pub(super) struct Merges {
    secret: Secret,
    enabled: OnceLock<Enabled>,
}

struct Enabled {
    store: Store,
    render: Option<Render>,
    /// Held by whoever merges.
    merging: Mutex<()>,
    /// When providers were asked last.
    asked: AtomicU64,
}

impl Merges {
    pub(super) const fn new(secret: Secret) -> Merges {
        Merges {
            secret,
            enabled: OnceLock::new(),
        }
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.enabled.get().map(|enabled| &enabled.store)
    }
}

/// What one call of [`Engine::merge`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// Traces that were looked at.
    pub traces: usize,
    /// Flows that were made.
    pub merged: usize,
    /// Flows that were revoked because their connections are others.
    pub revoked: usize,
}

impl Engine {
    /// Makes room for merged flows. To be called once, before filters are added.
    ///
    /// # Errors
    /// [`Error::Exists`] the second time, [`Error::Invalid`], [`Error::NoMemory`].
    pub fn enable_merging(&self, settings: &Settings, render: Option<Render>) -> Result<(), Error> {
        let enabled = Enabled {
            store: Store::new(settings, self.merges.secret)?,
            render,
            merging: Mutex::new(()),
            asked: AtomicU64::new(0),
        };
        let twice = |_enabled| Error::Exists("merged flows are enabled already".into());
        self.merges.enabled.set(enabled).map_err(twice)
    }

    fn enabled(&self) -> Result<&Enabled, Error> {
        self.merges
            .enabled
            .get()
            .ok_or_else(|| Error::NotFound("merged flows are not enabled".into()))
    }

    fn store(&self) -> Result<&Store, Error> {
        Ok(&self.enabled()?.store)
    }

    /// What was chosen for merged flows.
    ///
    /// # Errors
    /// [`Error::NotFound`] when they are not enabled, as for all that follows.
    pub fn merge_settings(&self) -> Result<Settings, Error> {
        Ok(*self.store()?.settings())
    }

    /// Tells of a filter of the datapath, by a name of the datapath's own.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one of this name.
    pub fn filter_add(&self, cookie: u64, filter: Filter) -> Result<(), Error> {
        self.store()?.add(cookie, filter)
    }

    /// A filter is another one now. When this returns, no packet is handled by a flow that was merged
    /// from the old one, and providers have none.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Busy`] from a thread that is looking flows up.
    pub fn filter_update(&self, cookie: u64, filter: Filter) -> Result<(), Error> {
        let store = self.store()?;
        let gone = store.update(cookie, filter)?;
        self.tell_gone(store, &gone);
        Ok(())
    }

    /// A filter is gone; see [`Engine::filter_update`]. Returns what flows carried for it.
    ///
    /// # Errors
    /// As [`Engine::filter_update`].
    pub fn filter_remove(&self, cookie: u64) -> Result<Used, Error> {
        let store = self.store()?;
        let gone = store.retire(cookie)?;
        // What providers say at the end still goes to it.
        self.tell_gone(store, &gone);
        Ok(store.remove(cookie))
    }

    /// What merged flows carried for a filter, so far.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn filter_used(&self, cookie: u64) -> Result<Used, Error> {
        self.store()?.used(cookie)
    }

    /// Number of filters.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn filters(&self) -> Result<usize, Error> {
        Ok(self.store()?.filters())
    }

    /// A port is gone: flows from it and to it are revoked. Returns how many.
    ///
    /// # Errors
    /// [`Error::Busy`] from a thread that is looking flows up.
    pub fn port_removed(&self, port: u32) -> Result<usize, Error> {
        let store = self.store()?;
        let gone = store.clear_port(port)?;
        self.tell_gone(store, &gone);
        Ok(gone.len())
    }

    /// Revokes all merged flows. Returns how many.
    ///
    /// # Errors
    /// As [`Engine::port_removed`].
    pub fn flush_merged(&self) -> Result<usize, Error> {
        let store = self.store()?;
        let gone = store.clear()?;
        self.tell_gone(store, &gone);
        Ok(gone.len())
    }

    /// The next merged flow of a list; `position` begins at zero.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn next_merged(&self, position: &mut u32) -> Result<Option<Listed>, Error> {
        Ok(self.store()?.next(position))
    }

    /// Number of merged flows.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn merged(&self) -> Result<usize, Error> {
        Ok(self.store()?.len())
    }

    /// A count.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn merge_count(&self, count: Count) -> Result<u64, Error> {
        Ok(self.store()?.counts.get(count))
    }

    /// Why traces were rejected, and how many.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn merge_refusals(&self) -> Result<Vec<(Refusal, u64)>, Error> {
        Ok(self.store()?.refusals())
    }

    /// Begins to look flows up: whatever [`Engine::fastpath`] finds stays until the visit ends. A call
    /// that revokes waits for that.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn visit_merged(&self) -> Result<Visit<'_, Flow>, Error> {
        Ok(self.store()?.visit())
    }

    /// Ends a visit that was kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such visit.
    pub fn leave_merged(&self, ticket: Ticket) -> Result<(), Error> {
        if self.store()?.leave(ticket) {
            Ok(())
        } else {
            Err(Error::invalid("there is no such visit"))
        }
    }

    /// A packet came to the end of its way: what it met is looked at later, by [`Engine::merge`].
    #[inline]
    pub fn trace_end(&self, trace: &Trace) {
        if let Some(store) = self.merges.store() {
            store.send(trace);
        }
    }

    /// Does what is to be done off the packet threads: clears away the flows of connections that
    /// changed, makes flows of at most `budget` traces, asks providers once a second what they carried.
    /// One thread at a time; others return at once with nothing done.
    ///
    /// # Errors
    /// [`Error::Busy`] from a thread that is looking flows up.
    pub fn merge(&self, budget: usize, now: Time) -> Result<Merging, Error> {
        let enabled = self.enabled()?;
        let store = &enabled.store;
        let mut done = Merging::default();
        let Ok(_alone) = enabled.merging.try_lock() else {
            return Ok(done);
        };
        let gone = store.clear_changed(|id| !self.is_merged(id))?;
        self.tell_gone(store, &gone);
        done.revoked = gone.len();
        while done.traces < budget
            && let Some(trace) = store.next_trace()
        {
            done.traces += 1;
            match self.merge_trace(enabled, &trace, now) {
                Ok(made) => done.merged += usize::from(made),
                Err(why) => store.reject(why),
            }
        }
        if now.as_millis() >= enabled.asked.load(Ordering::Relaxed) + ASK_AFTER {
            enabled.asked.store(now.as_millis(), Ordering::Relaxed);
            for (number, providers) in store.in_providers() {
                self.offload.ask_flow(number, providers, self);
            }
        }
        Ok(done)
    }

    /// Whether a flow was made.
    fn merge_trace(&self, enabled: &Enabled, trace: &Trace, now: Time) -> Result<bool, Refusal> {
        let store = &enabled.store;
        let met = |met: Met| match met {
            Met::Filter(cookie) => Some(cookie),
            Met::Connection(_) => None,
        };
        let cookies: Vec<u64> = trace.met().filter_map(met).collect();
        let Some(filters) = store.filters_of(trace, &cookies) else {
            store.counts.add(Count::Stale, 1);
            return Ok(false);
        };
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut passings = Vec::new();
        let mut left = filters.iter();
        for met in trace.met() {
            match met {
                Met::Filter(_) => steps.extend(left.next().map(|filter| Step {
                    filter,
                    verdicts: Vec::new(),
                })),
                Met::Connection(crossing) => {
                    let step = steps.last_mut().ok_or(Refusal::Contradiction)?;
                    step.verdicts.push(self.verdict_of(store, &crossing, now)?);
                    passings.push(Passing {
                        id: crossing.id,
                        direction: crossing.direction,
                        zone: crossing.zone,
                    });
                }
            }
        }
        let merged = fold(&steps)?;
        if store.is_known(&merged.matches, &merged.actions, trace.hash()) {
            return Ok(false);
        }
        let divided = divide(&merged.actions).ok_or(Refusal::ShownBefore)?;
        let mut made = Made::new(store.number(), merged, divided, &passings);
        let mut shown = AtomicPtr::default();
        if let Some(render) = enabled.render {
            (made.rendered, shown) = render(&made);
        }
        let shape = store.shape(&made.merged.matches);
        let flow = Flow::new(made.clone(), shape, shown, now.as_millis());
        let (inserted, gone) = store.insert(flow, trace, &cookies);
        self.tell_gone(store, &gone);
        if inserted {
            let offered = self.offload.offer_flow(&made, self);
            store.counts.add(Count::Taken, offered.taken);
            store.counts.add(Count::Declined, offered.declined);
        }
        Ok(inserted)
    }

    /// What the tracker would say to the next packet of this kind, and from now on says until the flag
    /// MERGED is cleared.
    fn verdict_of(
        &self,
        store: &Store,
        crossing: &Crossing,
        now: Time,
    ) -> Result<Verdict, Refusal> {
        if !self.is_merged(crossing.id) && store.has_flows(crossing.id) {
            // They are of a time before the connection changed.
            let gone = store
                .clear_connection(crossing.id)
                .map_err(|_| Refusal::NotEstablished)?;
            self.tell_gone(store, &gone);
        }
        let mut guard = self.table.get(crossing.id).ok_or(Refusal::NotEstablished)?;
        let mut flags = guard.flags();
        if flags.contains(Flags::HELPER) {
            return Err(Refusal::Action);
        }
        if guard.zone() != crossing.zone {
            return Err(Refusal::Contradiction);
        }
        if !self.may_be_merged(&guard, now)
            || crossing.state & (state::EST | state::INV) != state::EST
        {
            return Err(Refusal::NotEstablished);
        }
        flags.insert(Flags::MERGED);
        guard.set_flags(flags);
        let arrived = match crossing.direction {
            Direction::Original => guard.original(),
            Direction::Reply => guard.reply(),
        };
        let translated = match translate::binding(&guard) {
            Some(binding) if crossing.translated => {
                let rewrite = Rewrite::of(&binding, crossing.direction, Place::Itself);
                let after = rewrite.tuple;
                // Ports follow whatever is translated.
                Translated {
                    src: Some((rewrite.src.unwrap_or(arrived.src), after.sport)),
                    dst: Some((rewrite.dst.unwrap_or(arrived.dst), after.dport)),
                }
            }
            _ => Translated::default(),
        };
        Ok(Verdict {
            state: crossing.state,
            zone: crossing.zone,
            mark: guard.mark(),
            label: if flags.contains(Flags::LABEL) {
                guard.label()
            } else {
                0
            },
            established: true,
            tuple: fields_of(&arrived),
            translated,
        })
    }

    /// It is established in both directions, goes on, and belongs to nobody else.
    fn may_be_merged(&self, guard: &Guard<'_>, now: Time) -> bool {
        let (protocol, ..) = guard.ports();
        let flags = guard.flags();
        let class = handover::waiting(&self.tracked_state(guard), protocol, self.machine());
        let complete = match protocol {
            proto::TCP => class.is_established(),
            proto::UDP | proto::SCTP => {
                flags.contains(Flags::SEEN_REPLY) && !handover::is_ending(class)
            }
            _ => false,
        };
        complete && !flags.contains(Flags::FLOW) && guard.is_visible(&self.at(guard.zone(), now))
    }

    fn is_merged(&self, id: ConnectionId) -> bool {
        let guard = self.table.get(id);
        guard.is_some_and(|guard| guard.flags().contains(Flags::MERGED))
    }

    /// No merged flow carries packets of this connection from now on.
    pub(super) fn unmerge(&self, guard: &mut Guard<'_>) {
        let mut flags = guard.flags();
        if flags.contains(Flags::MERGED) {
            flags.set(Flags::MERGED, false);
            guard.set_flags(flags);
            self.changed_flows(guard.id());
        }
    }

    /// The flows of this connection are to be cleared away.
    #[cold]
    pub(super) fn changed_flows(&self, id: ConnectionId) {
        if let Some(store) = self.merges.store() {
            store.changed(id);
        }
    }

    /// A packet that collects what it meets went through the tracker.
    #[cold]
    pub(super) fn trace<P: Descriptor>(
        &self,
        packet: &mut P,
        crossed: Option<(ConnectionId, Direction)>,
        metadata: &Metadata,
        modified: &Modified,
    ) {
        let (Some(store), Some(trace)) = (self.merges.store(), packet.trace()) else {
            return;
        };
        match crossed {
            Some((id, direction))
                if metadata.state & (state::EST | state::INV) == state::EST
                    && !metadata.icmp_related
                    && !modified.payload =>
            {
                if trace.is_begun() && !store.throttle().passes(id, direction) {
                    trace.throttle();
                }
                trace.connection(&Crossing {
                    id,
                    direction,
                    state: metadata.state,
                    translated: modified.source || modified.destination,
                    zone: metadata.zone,
                });
            }
            _ => trace.abort(),
        }
    }

    /// Providers are told what is gone.
    fn tell_gone(&self, store: &Store, gone: &[Gone]) {
        for flow in gone.iter().filter(|flow| flow.providers != 0) {
            let told = self.offload.drop_flow(flow.number, flow.providers, self);
            store.counts.add(Count::Released, told);
            store.departed(flow.number);
        }
    }
}

/// The fields that a connection is known by, in a packet with this tuple.
fn fields_of(tuple: &Tuple) -> [u128; 6] {
    let kind = match tuple.family {
        Family::V4 => 0x0800,
        Family::V6 => 0x86dd,
    };
    [
        kind,
        u128::from(tuple.proto),
        tuple.src,
        tuple.dst,
        u128::from(tuple.sport),
        u128::from(tuple.dport),
    ]
}

impl Flows for Engine {
    fn took(&self, number: u64, provider: u32) -> bool {
        let store = self.merges.store();
        store.is_some_and(|store| store.took(number, provider))
    }

    fn release(&self, provider: u32) -> Vec<u64> {
        let store = self.merges.store();
        store.map_or(Vec::new(), |store| store.release(provider))
    }

    fn merged_carried(&self, number: u64, used: &FlowUse) {
        let Some(store) = self.merges.store() else {
            return;
        };
        if used.packets == 0 && used.last_used.is_none() {
            return;
        }
        let passings = store.carried(
            number,
            Used {
                packets: used.packets,
                bytes: used.bytes,
                last: used.last_used.map_or(0, Time::as_millis),
            },
        );
        for passing in passings {
            let mut delta = [Delta::default(); 2];
            delta[passing.direction as usize] = Delta {
                packets: used.packets,
                bytes: used.bytes,
            };
            let mut guard = self.table.get(passing.id);
            if let (Some(guard), Some(last)) = (&mut guard, used.last_used) {
                let until = last.plus(self.tracked(guard).timeout);
                if until > guard.expires() {
                    guard.set_expiry(until);
                }
            }
            Connections::carried(self, guard.as_mut(), delta);
        }
    }
}
