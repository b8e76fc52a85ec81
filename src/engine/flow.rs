//! Flow tables of zones: which connections enter them, and how they leave again. What becomes of the
//! packets is said in `flow_lookup`.

use super::Engine;
use super::action::Action;
use super::batch::Batch;
use super::descriptor::{ConnectionId, Descriptor, state};
use crate::clock::Time;
use crate::error::Error;
use crate::nat::Nat;
use crate::offload::aging::{self, Expired};
use crate::offload::connections::Connections;
use crate::offload::flow_table::{self, Candidate, Count, FlowTable, Put};
use crate::offload::provider::Delta;
use crate::packet::Facts;
use crate::sync::StdArc;
use crate::table::{Flags, Guard};
use crate::track::Step;
use crate::tuple::Zone;

/// A reference to the flow table of a zone.
pub type FlowTableRef = StdArc<FlowTable>;

impl Engine {
    /// Takes a reference to the flow table of a zone. With the first one, connections of the zone begin
    /// to enter it as they become established.
    pub fn flow_table_get(&self, zone: Zone) -> FlowTableRef {
        self.flows.get(zone)
    }

    /// Gives a reference back. With the last one, all flows of the zone go back to the tracker.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the zone has no flow table.
    pub fn flow_table_put(&self, zone: Zone, now: Time) -> Result<(), Error> {
        match self.flows.put(zone) {
            Put::Remains => Ok(()),
            Put::Absent => Err(Error::NotFound("the zone has no flow table".into())),
            Put::Last => {
                let mut position = 0;
                while let Some(guard) = self.table.next(&mut position) {
                    if guard.zone() == zone && guard.flags().contains(Flags::FLOW) {
                        self.leave_flow(guard, TIMEOUT_UNKNOWN, now);
                    }
                }
                Ok(())
            }
        }
    }

    /// Puts a connection into its zone's flow table, whatever its state.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such connection or its zone has no table.
    pub fn flow_add(&self, id: ConnectionId, now: Time) -> Result<(), Error> {
        let absent = || Error::NotFound("there is no such connection, or no flow table".into());
        let mut guard = self.table.get(id).ok_or_else(absent)?;
        if !guard.is_visible(&self.at(guard.zone(), now)) {
            return Err(absent());
        }
        let table = self.flows.of(guard.zone()).ok_or_else(absent)?;
        self.enter_flow(&mut guard, &table, now);
        Ok(())
    }

    /// Takes a connection out of its zone's flow table.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is in none.
    pub fn flow_remove(&self, id: ConnectionId, now: Time) -> Result<(), Error> {
        let guard = self.flow_of(id)?;
        let table = self.flows.of(guard.zone());
        let timeout = table.as_ref().map_or(TIMEOUT_UNKNOWN, |t| t.timeout());
        if let Some(table) = table {
            table.add(Count::Removed, 1);
        }
        self.leave_flow(guard, timeout, now);
        Ok(())
    }

    /// Looks a batch up in a flow table. A packet that is found has its verdict, and its headers are
    /// translated; all others are untouched, and are for [`Engine::execute`]. Returns how many were
    /// found; `hit` is given each of them.
    pub fn flow_lookup<P: Descriptor>(
        &self,
        table: &FlowTable,
        packets: &mut [P],
        now: Time,
        hit: &mut impl FnMut(&mut P),
    ) -> usize {
        let action = Action {
            zone: table.zone(),
            nat: Some(Nat::default()),
            ..Action::default()
        };
        Batch::new(self, &action, now).run_flows(table, packets, hit)
    }

    /// Hardware carried packets of a flow: they are added to its connection's counters, and the flow
    /// lives on from their last one (netfilter's FLOW_CLS_STATS). To be told once.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the connection is in no flow table: nothing was added.
    pub fn flow_carried(
        &self,
        id: ConnectionId,
        carried: [Delta; 2],
        last_used: Time,
        now: Time,
    ) -> Result<(), Error> {
        let mut guard = self.flow_of(id)?;
        self.carried(Some(&mut guard), carried);
        if let Some(table) = self.flows.of(guard.zone()) {
            let until = last_used.min(now).plus(self.flow_timeout(&guard, &table));
            if until > guard.expires() {
                guard.set_expiry(until);
            }
        }
        Ok(())
    }

    fn flow_of(&self, id: ConnectionId) -> Result<Guard<'_>, Error> {
        self.table
            .get(id)
            .filter(|guard| guard.flags().contains(Flags::FLOW))
            .ok_or_else(|| Error::NotFound("the connection is in no flow table".into()))
    }

    fn enter_flow(&self, guard: &mut Guard<'_>, table: &FlowTable, now: Time) {
        let mut flags = guard.flags();
        if !flags.contains(Flags::FLOW) {
            self.unmerge(guard);
            flags = guard.flags();
            flags.insert(Flags::FLOW.and(Flags::HELD));
            guard.set_flags(flags);
            table.add(Count::Added, 1);
        }
        guard.set_expiry(now.plus(self.flow_timeout(guard, table)));
    }

    /// How long a flow may be idle: no longer than its connection.
    pub(super) fn flow_timeout(&self, guard: &Guard<'_>, table: &FlowTable) -> u64 {
        table.timeout().min(self.tracked(guard).timeout)
    }

    /// A flow goes back to the tracker: it expires when its connection would, counted from its last
    /// packet, and its window is learned again.
    pub(super) fn leave_flow(&self, mut guard: Guard<'_>, timeout: u64, now: Time) {
        let last_used = last_used(&guard, timeout, now);
        self.forget_flow(&mut guard);
        let own = self.tracked(&guard).timeout;
        guard.set_expiry(last_used.plus(own));
    }

    fn forget_flow(&self, guard: &mut Guard<'_>) {
        let mut flags = guard.flags();
        flags.set(Flags::FLOW, false);
        flags.set(Flags::HELD, aging::is_held(guard.offload()));
        guard.set_flags(flags);
        self.take_window(guard, None);
    }

    /// A flow that saw no packet for its time: what the sweep is to ask about it.
    pub(super) fn aged_flow(&self, guard: &mut Guard<'_>) -> Expired {
        let table = self.flows.of(guard.zone());
        let timeout = match &table {
            Some(table) => {
                table.add(Count::Aged, 1);
                self.flow_timeout(guard, table)
            }
            None => TIMEOUT_UNKNOWN,
        };
        let last_used = Time::from_millis(guard.expires().as_millis().saturating_sub(timeout));
        // It stays held until the sweep has asked.
        self.forget_flow(guard);
        let mut flags = guard.flags();
        flags.insert(Flags::HELD);
        guard.set_flags(flags);
        Expired {
            id: guard.id(),
            last_used: Some(last_used),
        }
    }

    /// Milliseconds until a connection expires, as listings show them: a flow's are those that its
    /// connection would have.
    pub(super) fn remaining(&self, guard: &Guard<'_>, now: Time) -> u64 {
        if !guard.flags().contains(Flags::FLOW) {
            return guard.expires().since(now);
        }
        let timeout = self
            .flows
            .of(guard.zone())
            .map_or(TIMEOUT_UNKNOWN, |table| self.flow_timeout(guard, &table));
        let last_used = last_used(guard, timeout, now);
        last_used.plus(self.tracked(guard).timeout).since(now)
    }
}

/// When nobody knows the table's timeout any more, the flow counts as used until now.
const TIMEOUT_UNKNOWN: u64 = 0;

fn last_used(guard: &Guard<'_>, timeout: u64, now: Time) -> Time {
    let expires = guard.expires().as_millis();
    Time::from_millis(expires.saturating_sub(timeout)).min(now)
}

impl<'e> Batch<'e> {
    /// A packet of a connection was tracked in a zone that has a flow table: the connection may enter
    /// it, or is in it.
    #[cold]
    pub(super) fn show_flow_table(
        &mut self,
        guard: &mut Guard<'e>,
        facts: &Facts,
        bytes: &[u8],
        bits: u8,
        step: &Step,
    ) {
        let Some(table) = self.flow_table.clone() else {
            return;
        };
        let candidate = Candidate {
            proto: guard.ports().0,
            flags: guard.flags(),
            established: bits & state::EST != 0,
            complete: step
                .timeout
                .is_some_and(crate::track::timeout::Class::is_established),
        };
        let ends = step.timeout.is_some_and(crate::track::handover::is_ending);
        if candidate.flags.contains(Flags::FLOW) && ends {
            table.add(Count::Closed, 1);
            self.engine.forget_flow(guard);
        } else if candidate.flags.contains(Flags::FLOW) {
            let timeout = self.engine.flow_timeout(guard, &table);
            guard.set_expiry(self.at.now.plus(timeout));
        } else if flow_table::may_enter(&candidate, facts, bytes) {
            self.engine.enter_flow(guard, &table, self.at.now);
        }
    }
}
