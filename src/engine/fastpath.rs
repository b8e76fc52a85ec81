//! The cache of merged flows: a packet is assumed to be established before anybody looks.
//!
//! ```text
//! stage 0   for every packet   ask for its headers
//! stage 1   for every packet   parse, flow key, hash; ask for the index line
//! stage 2   for every packet   ask for the flows noted there
//! stage 3   for every packet   compare masks; ask for the connections' hot lines
//! stage 4   packet by packet   are the connections still what they were? advance them, translate,
//!                              write the metadata
//! ```
//!
//! What is true of a flow is decided in stage 4, under each connection's lock: that the flag MERGED
//! stands, that the packet is a legal next step of an established connection. Everything else misses
//! and goes the normal way, untouched: FIN, SYN and RST, fragments, what is out of its window. A packet
//! that misses and can be merged begins its trace here.

use super::Engine;
use super::action::Action;
use super::batch::{Batch, LIBERAL};
use super::descriptor::{ConnectionId, Descriptor, Metadata, Modified, state};
use super::offload::LESSONS;
use super::slot::STAGE;
use super::statistics::Counter;
use crate::clock::Time;
use crate::merge::flow::Key;
use crate::merge::key::{Tunnel, key_of};
use crate::merge::merged::{Flow, Passing, Used};
use crate::merge::statistics::Count;
use crate::merge::store::Store;
use crate::packet::tcp_flags::{FIN, RST, SYN};
use crate::packet::{self, Facts, Transport, proto, rewrite};
use crate::reason::Reason;
use crate::sync::shelf::Visit;
use crate::table::{At, Flags, Guard};
use crate::track::timeout::Class;
use crate::track::{self, Outcome, Step, handover};
use crate::tuple::Direction;

/// A packet between the stages.
struct Slot<'v> {
    facts: Facts,
    key: Key,
    hash: u64,
    state: Prepared,
    flow: Option<&'v Flow>,
}

/// What stage 1 made of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prepared {
    /// It may have a merged flow.
    Look,
    /// It never has.
    Pass,
}

/// Whether the state of a connection is written, or only looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    Look,
    Carry,
}

impl Engine {
    /// Looks untracked packets up among the merged flows. For each one found, the connections went on,
    /// headers are translated, the metadata is that of the last tracking action, and `hit` is told its
    /// number and flow, whose remaining actions are for the datapath to do. All others are untouched;
    /// one that collects a trace begins it. `tunnel` says where the packet of a number came out of.
    /// Returns how many were found.
    pub fn fastpath<'v, P: Descriptor>(
        &self,
        visit: &'v Visit<'_, Flow>,
        packets: &mut [P],
        tunnel: &dyn Fn(usize) -> Tunnel,
        now: Time,
        hit: &mut dyn FnMut(usize, &'v Flow),
    ) -> usize {
        let Some(store) = self.merges.store() else {
            return 0;
        };
        let action = Action::default();
        let mut batch = Batch::new(self, &action, now);
        let mut slots: [Slot<'v>; STAGE] = std::array::from_fn(|_| Slot {
            facts: Facts::NONE,
            key: Key::default(),
            hash: 0,
            state: Prepared::Pass,
            flow: None,
        });
        let (mut hits, mut refused, mut misses) = (0, 0, 0);
        for (number, stage) in packets.chunks_mut(STAGE).enumerate() {
            let first = number * STAGE;
            batch.find_flows(store, visit, stage, &mut slots, &|i| tunnel(first + i));
            for (i, (packet, slot)) in stage.iter_mut().zip(&mut slots).enumerate() {
                match slot.flow.take() {
                    Some(flow) if batch.carry(store, packet, slot, flow).is_some() => {
                        hits += 1;
                        hit(first + i, flow);
                        continue;
                    }
                    Some(_) => refused += 1,
                    None => misses += 1,
                }
                begin_trace(store, packet, slot);
            }
            batch.dispatch.deliver(self);
        }
        self.statistics.add(&batch.tally);
        for (count, n) in [
            (Count::Hits, hits),
            (Count::Refused, refused),
            (Count::Misses, misses),
        ] {
            store.counts.add(count, n as u64);
        }
        hits
    }
}

fn begin_trace<P: Descriptor>(store: &Store, packet: &mut P, slot: &Slot<'_>) {
    if !packet.is_traced() {
        return;
    }
    if let Some(trace) = packet.trace() {
        match slot.state {
            Prepared::Look => trace.begin(slot.hash, store.version()),
            Prepared::Pass => trace.forget(),
        }
    }
}

impl<'e> Batch<'e> {
    /// Stages 0 to 3.
    fn find_flows<'v, P: Descriptor>(
        &mut self,
        store: &Store,
        visit: &'v Visit<'_, Flow>,
        packets: &[P],
        slots: &mut [Slot<'v>],
        tunnel: &dyn Fn(usize) -> Tunnel,
    ) {
        for packet in packets {
            packet.prefetch();
        }
        for (i, (packet, slot)) in packets.iter().zip(slots.iter_mut()).enumerate() {
            slot.state = Prepared::Pass;
            slot.flow = None;
            if let Some(key) = self.flow_key(packet, slot, &tunnel(i)) {
                slot.key = key;
                slot.hash = store.hash(&slot.key);
                slot.state = Prepared::Look;
            }
        }
        let looked = |slot: &&mut Slot<'v>| slot.state == Prepared::Look;
        let count = packets.len();
        for slot in slots[..count].iter_mut().filter(looked) {
            store.prefetch(visit, slot.hash);
        }
        for slot in slots[..count].iter_mut().filter(looked) {
            slot.flow = store.find(visit, slot.hash, &slot.key);
            let passings = slot.flow.iter().flat_map(|flow| &flow.made.passings);
            passings.for_each(|passing| self.engine.table.prefetch_record(passing.id));
        }
    }

    /// The flow key of a packet that a merged flow may carry.
    fn flow_key<P: Descriptor>(
        &self,
        packet: &P,
        slot: &mut Slot<'_>,
        tunnel: &Tunnel,
    ) -> Option<Key> {
        if packet.pass().state != 0 {
            return None;
        }
        let (bytes, hints) = (packet.bytes(), packet.hints());
        match packet::express(bytes, &hints, &self.parse) {
            Some(facts) => slot.facts = facts,
            None => packet::parse_into(&mut slot.facts, bytes, &hints, &self.parse).ok()?,
        }
        match &slot.facts.transport {
            Transport::Tcp(tcp) if tcp.flags & (SYN | FIN | RST) == 0 => {}
            Transport::Udp(..) | Transport::Sctp(..) => {}
            _ => return None,
        }
        key_of(&slot.facts, bytes, &hints, packet.in_port(), tunnel)
    }

    /// Stage 4 for one packet that fits a flow. `None`: it has to go the normal way.
    fn carry<P: Descriptor>(
        &mut self,
        store: &Store,
        packet: &mut P,
        slot: &Slot<'_>,
        flow: &Flow,
    ) -> Option<()> {
        let made = &flow.made;
        let hints = packet.hints();
        if hints.read_only && made.metadata.translates() {
            return None;
        }
        let bytes = u64::from(hints.total_len).max(packet.bytes().len() as u64);
        let now = self.at.now.as_millis();
        let Some((last, others)) = made.passings.split_last() else {
            flow.count(Used {
                packets: 1,
                bytes,
                last: now,
            });
            return Some(());
        };
        // A step of Open vSwitch's machine may be made twice with the same packet, so the first
        // connections may go on although a later one refuses; what counts packets may not.
        if !others.is_empty() && (self.kernel || self.switches.accounting) {
            for passing in &made.passings {
                self.cross(store, packet, slot, passing, Intent::Look)?;
            }
        }
        for passing in others {
            self.cross(store, packet, slot, passing, Intent::Carry)?;
        }
        let guard = self.cross(store, packet, slot, last, Intent::Carry)?;
        // Every packet of this flow has this connection's lock now.
        flow.count_alone(bytes, now);
        if packet.wants_original() {
            self.write_original(packet, guard);
        } else {
            drop(guard);
        }
        self.tally.add(Counter::Found, made.passings.len() as u64);
        self.finish(packet, &slot.facts, flow, last);
        Some(())
    }

    /// Metadata and translation.
    fn finish<P: Descriptor>(
        &mut self,
        packet: &mut P,
        facts: &Facts,
        flow: &Flow,
        last: &Passing,
    ) {
        let said = &flow.made.metadata;
        let mut metadata = Metadata {
            connection: if said.translates() {
                ConnectionId::NONE
            } else {
                last.id
            },
            state: said.state,
            reason: Reason::None,
            reply: last.direction == Direction::Reply,
            icmp_related: false,
            zone: said.zone,
            mark: said.mark,
            label: said.label,
        };
        let mut modified = Modified::default();
        if said.translates() {
            let hints = packet.hints();
            let change = rewrite::Change {
                src: said.src,
                dst: said.dst,
                sport: said.sport,
                dport: said.dport,
            };
            match rewrite::headers(packet.bytes_mut(), facts, &hints, &change) {
                Ok(()) => {
                    modified.source = said.state & state::SNAT != 0;
                    modified.destination = said.state & state::DNAT != 0;
                    modified.l4_partial = super::translate::is_partial(facts, hints.l4_checksum);
                }
                Err(reason) => {
                    metadata.state |= state::INV;
                    metadata.reason = reason;
                }
            }
        }
        packet.set_metadata(&metadata);
        if modified != Modified::default() {
            packet.set_modified(modified);
        }
    }

    /// A packet passes one of its connections, which is locked in the answer. `None`: it is not for
    /// the cache to say, and nothing has changed.
    fn cross<P: Descriptor>(
        &mut self,
        store: &Store,
        packet: &P,
        slot: &Slot<'_>,
        passing: &Passing,
        intent: Intent,
    ) -> Option<Guard<'e>> {
        let engine = self.engine;
        let mut guard = engine.table.get(passing.id)?;
        let flags = guard.flags();
        let at = At {
            now: self.at.now,
            epoch: engine.table.zones().epoch(passing.zone),
        };
        if !flags.contains(Flags::MERGED) || !guard.is_visible(&at) {
            return None;
        }
        let plain = !self.kernel && store.settings().windows;
        let straight = match &slot.facts.transport {
            Transport::Tcp(tcp) if plain && !flags.has_any(PARTICULAR) => {
                track::established(guard.protocol(), tcp, passing.direction)
            }
            _ => None,
        };
        if let Some(words) = straight {
            if intent == Intent::Carry {
                guard.set_protocol(words);
                let wait = self.wait(guard.policy(), Class::TcpEstablished, None);
                guard.set_expiry(self.at.now.plus(wait));
            }
        } else {
            let windows = store.settings().windows;
            self.advance(packet, &slot.facts, &mut guard, passing, windows, intent)?;
        }
        if intent == Intent::Carry && self.switches.accounting {
            guard.count(passing.direction, slot.facts.ip_len());
        }
        Some(guard)
    }

    /// A step of the state machine, of those that the cache may take.
    #[inline(never)]
    fn advance<P: Descriptor>(
        &mut self,
        packet: &P,
        facts: &Facts,
        guard: &mut Guard<'e>,
        passing: &Passing,
        windows: bool,
        intent: Intent,
    ) -> Option<()> {
        let engine = self.engine;
        let mut flags = guard.flags();
        let mut state = engine.tracked_state(guard);
        let tcp = facts.proto == proto::TCP;
        let step = if tcp && !windows {
            Step::staying(handover::waiting(&state, proto::TCP, self.track.machine))
        } else {
            let mut options = self.track;
            options.liberal = engine.zones.liberal(passing.zone) || flags.has_any(LIBERAL);
            if flags.contains(Flags::RELEARN) {
                handover::relearn(&mut state, facts, passing.direction, options.machine);
            }
            track::advance(
                &mut state,
                facts,
                packet.bytes(),
                passing.direction,
                &options,
            )
        };
        let class = step.timeout?;
        let goes_on = if tcp {
            class.is_established()
        } else {
            !handover::is_ending(class)
        };
        // Listeners are told of an assurance: the normal way does that.
        let changes = step.assured && !flags.contains(Flags::ASSURED);
        if step.outcome != Outcome::Valid || step.remove || !goes_on || changes {
            return None;
        }
        if intent == Intent::Look {
            return Some(());
        }
        if tcp && !windows {
            if !flags.contains(Flags::RELEARN) {
                handover::forget(&mut state, self.track.machine);
                flags.insert(Flags::RELEARN);
                guard.set_flags(flags);
                guard.set_lessons(LESSONS);
            }
        } else {
            self.tally.track(&step);
        }
        engine.set_tracked_state(guard, &state);
        let wait = self.wait(guard.policy(), class, step.at_most);
        guard.set_expiry(self.at.now.plus(wait));
        let learns = windows && flags.contains(Flags::RELEARN);
        if learns || flags.contains(Flags::OFFLOADED) {
            let bits = state::TRK | state::EST;
            self.show_providers(guard, packet.in_port(), bits, passing.direction, &step);
        }
        Some(())
    }
}

/// Connections whose packets ask for more than a step of the state.
const PARTICULAR: Flags = Flags::OFFLOADED.and(Flags::RELEARN);
