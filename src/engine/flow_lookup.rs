//! The fast path of flow tables: a batch is looked up among the flows of a zone, before it is tracked.
//!
//! The stages are those of `batch`; only the last one differs. It asks for the flag FLOW instead of a
//! state machine's opinion, and leaves every packet alone that does not get its verdict here.
//!
//! Nothing of a flow moves with its packets but the time at which it expires, and that only once in a
//! while. So a plain packet's flow is only looked at: no lock, nothing written, and processors that have
//! packets of the same flow share its line. The lock is taken for what is to be written, and for labels,
//! which cannot be read whole without it. What is not plain goes the long way, by the rules of
//! `flow_table::passage`; a test holds both ways against each other.

use super::batch::Batch;
use super::descriptor::{ConnectionId, Descriptor, Metadata, Modified, state};
use super::express::NAT;
use super::slot::{Others, Prepared, STAGE, Slot, Slots};
use super::{translate, verdict};
use crate::clock::Time;
use crate::offload::flow_table::{self, Count, FlowTable, Passage};
use crate::packet::proto;
use crate::sync::processor::Loop;
use crate::table::{Flags, Guard};
use crate::tuple::Direction;

/// A flow's expiry is moved when it would move by so many milliseconds, and not for less.
const REFRESH: u64 = 1_000;

/// A call: the table, and what was found in it.
pub(super) struct Lookup<'t> {
    table: &'t FlowTable,
    timeout: u64,
    /// Of flows that expire later than this nothing is to be written: they were refreshed a moment ago,
    /// and their packets are not counted.
    fresh: Time,
    hits: usize,
    refused: usize,
}

impl<'t> Lookup<'t> {
    fn new(table: &'t FlowTable, now: Time, accounting: bool) -> Lookup<'t> {
        let timeout = table.timeout();
        // No flow waits for longer than the table says, and some not as long.
        let fresh = now.plus(timeout - REFRESH.min(timeout));
        Lookup {
            table,
            timeout,
            fresh: if accounting { Time::MAX } else { fresh },
            hits: 0,
            refused: 0,
        }
    }
}

/// What a look-up in a flow table gives.
enum Found {
    /// The packet has its verdict.
    Yes,
    /// The tracker must see it.
    Refused,
    /// It has no flow.
    No,
}

impl<'e, P, H> Loop<P, Slots<'e>, (&mut Others, &mut Lookup<'_>, &mut H)> for Batch<'e>
where
    P: Descriptor,
    H: FnMut(&mut P),
{
    #[inline(always)]
    fn run(
        &mut self,
        packets: &mut [P],
        slots: &mut Slots<'e>,
        (others, lookup, hit): (&mut Others, &mut Lookup<'_>, &mut H),
    ) {
        let slots = self.look_up(packets, slots, others);
        for (packet, slot) in packets.iter_mut().zip(slots.iter()) {
            let found = self
                .look_at_flow(packet, slot, lookup)
                .or_else(|| self.look_closely_at_flow(packet, slot, lookup))
                .map_or_else(|| self.flow(packet, slot, others, lookup), |()| Found::Yes);
            match found {
                Found::Yes => {
                    lookup.hits += 1;
                    hit(packet);
                }
                Found::Refused => lookup.refused += 1,
                Found::No => {}
            }
        }
    }
}

impl<'e> Batch<'e> {
    /// The fast path for all packets. Returns how many of them had a flow.
    pub(super) fn run_flows<P: Descriptor>(
        mut self,
        table: &FlowTable,
        packets: &mut [P],
        hit: &mut impl FnMut(&mut P),
    ) -> usize {
        let processor = self.engine.processor;
        let mut others = Others::new();
        let mut lookup = Lookup::new(table, self.at.now, self.switches.accounting());
        let all = packets.len();
        let mut slots = Slots::default();
        for packets in packets.chunks_mut(STAGE) {
            let rest = (&mut others, &mut lookup, &mut *hit);
            processor.run(&mut self, packets, &mut slots, rest);
        }
        let Lookup { hits, refused, .. } = lookup;
        for (count, n) in [
            (Count::Hits, hits),
            (Count::Refused, refused),
            (Count::Misses, all - hits - refused),
        ] {
            table.add(count, n as u64);
        }
        hits
    }

    /// What a packet of a flow is told, but for mark and label.
    #[inline(always)]
    fn verdict_of_flow(&self, id: ConnectionId, flags: Flags, direction: Direction) -> Metadata {
        let reply = direction == Direction::Reply;
        let bit = |on: bool, bit: u8| u8::from(on) * bit;
        let answered = flags.contains(Flags::SEEN_REPLY);
        Metadata {
            connection: if flags.has_any(NAT) {
                ConnectionId::NONE
            } else {
                id
            },
            state: state::TRK
                | if answered { state::EST } else { state::NEW }
                | bit(flags.contains(Flags::RELATED), state::REL)
                | bit(reply, state::RPL),
            reply,
            zone: self.action.zone,
            ..Metadata::default()
        }
    }

    /// Deals with a plain packet of an answered flow of which nothing is to be written. `None`: nothing
    /// was changed.
    #[inline(always)]
    fn look_at_flow<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        lookup: &Lookup<'_>,
    ) -> Option<()> {
        if slot.prepared != Prepared::Plain {
            return None;
        }
        let table = &self.engine.table;
        let (key, side) = (&slot.key, slot.side);
        let with = Flags::FLOW.and(Flags::SEEN_REPLY);
        let without = Flags::LABEL.and(Flags::RELATED);
        let (view, direction) = table.view::<false>(slot.probe, key, side, with, without)?;
        // What expires so late has not expired.
        if view.expires() <= lookup.fresh || view.epoch() != self.at.epoch {
            return None;
        }
        if !flow_table::is_fast(&slot.segment, key.family(), packet.bytes()) {
            return None;
        }
        let mark = view.mark();
        let original = packet.wants_original().then(|| view.names().original());
        if !view.holds() {
            return None;
        }
        let reply = direction == Direction::Reply;
        packet.set_metadata(&Metadata {
            connection: view.id(),
            state: state::TRK | state::EST | if reply { state::RPL } else { 0 },
            reply,
            zone: self.action.zone,
            mark,
            ..Metadata::default()
        });
        if let Some(original) = &original {
            packet.set_original(Some(original));
        }
        Some(())
    }

    /// Deals with a plain packet of any flow that nobody else is writing to. `None`: nothing was changed.
    #[inline(never)]
    fn look_closely_at_flow<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        lookup: &Lookup<'_>,
    ) -> Option<()> {
        if slot.prepared != Prepared::Plain {
            return None;
        }
        let (table, any) = (&self.engine.table, Flags::default());
        let (key, side) = (&slot.key, slot.side);
        let (view, direction) = table.view::<true>(slot.probe, key, side, Flags::FLOW, any)?;
        let flags = view.flags();
        let answered = flags.contains(Flags::SEEN_REPLY) || direction == Direction::Original;
        let fast = answered && flow_table::is_fast(&slot.segment, key.family(), packet.bytes());
        let related = flags.contains(Flags::RELATED);
        // Of a related connection the tuple of its parent is told.
        if !fast || !view.is_visible(&self.at) || related && packet.wants_original() {
            return None;
        }
        let mut metadata = self.verdict_of_flow(view.id(), flags, direction);
        metadata.mark = view.mark();
        let after = translate::kind(flags).map(|kind| match direction {
            Direction::Original => (kind, view.names().reply().reversed()),
            Direction::Reply => (kind, view.names().original().reversed()),
        });
        let original = packet.wants_original().then(|| view.names().original());
        let locked = if view.expires() > lookup.fresh && !flags.contains(Flags::LABEL) {
            if !view.holds() {
                return None;
            }
            None
        } else {
            let guard = view.lock()?;
            verdict::read_mark_and_label(&guard, &mut metadata);
            Some(guard)
        };
        let modified = match &after {
            // It may fail, and nothing was changed then.
            Some((kind, after)) => {
                let l4_partial =
                    translate::rewrite_plain(packet, slot.segment, after.key()).ok()?;
                translate::tell(kind.in_direction(direction), l4_partial, &mut metadata)
            }
            None => Modified::default(),
        };
        if let Some(guard) = locked {
            drop(self.use_flow(guard, direction, slot.segment.ip_len(), lookup));
        }
        packet.set_metadata(&metadata);
        if after.is_some() {
            packet.set_modified(modified);
        }
        if let Some(original) = &original {
            packet.set_original(Some(original));
        }
        Some(())
    }

    /// A flow lives on, and counts the packet that says so.
    fn use_flow(
        &self,
        mut guard: Guard<'e>,
        direction: Direction,
        bytes: u64,
        lookup: &Lookup<'_>,
    ) -> Guard<'e> {
        if self.switches.accounting() {
            guard.count(direction, bytes);
        }
        let timeout = match guard.ports().0 {
            // The connection waits for longer than any flow.
            proto::TCP => lookup.timeout,
            _ => self.engine.flow_timeout(&guard, lookup.table),
        };
        let until = self.at.now.plus(timeout);
        if until.since(guard.expires()) >= REFRESH.min(timeout) {
            guard.set_expiry(until);
        }
        guard
    }

    /// Deals with any packet.
    #[inline(never)]
    fn flow<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        others: &Others,
        lookup: &Lookup<'_>,
    ) -> Found {
        let Some((guard, direction)) = self.find_slot(slot) else {
            return Found::No;
        };
        let Some(facts) = slot.facts(packet.bytes(), others) else {
            return Found::No;
        };
        let flags = guard.flags();
        if !flags.contains(Flags::FLOW) {
            return Found::No;
        }
        match flow_table::passage(&facts, packet.bytes(), direction, flags) {
            Passage::Fast => {}
            Passage::Slow => return Found::Refused,
            Passage::Close => {
                let table = lookup.table;
                table.add(Count::Closed, 1);
                let timeout = self.engine.flow_timeout(&guard, table);
                self.engine.leave_flow(guard, timeout, self.at.now);
                return Found::Refused;
            }
        }
        let mut metadata = self.verdict_of_flow(guard.id(), flags, direction);
        verdict::read_mark_and_label(&guard, &mut metadata);
        let mut modified = Modified::default();
        if let Some(binding) = translate::binding(&guard) {
            // It may fail, and nothing was changed then.
            match translate::translate(packet, &facts, &binding, direction, &mut metadata) {
                Ok(done) => modified = done,
                Err(_) => return Found::Refused,
            }
        }
        let guard = self.use_flow(guard, direction, facts.ip_len(), lookup);
        if packet.wants_original() {
            self.write_original(packet, guard);
        } else {
            drop(guard);
        }
        packet.set_metadata(&metadata);
        if modified != Modified::default() {
            packet.set_modified(modified);
        }
        Found::Yes
    }
}
