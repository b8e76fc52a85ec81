//! The cache of merged flows: a packet is assumed to be established before anybody looks.
//!
//! ```text
//! stage 0   for every packet   ask for its headers
//! stage 1   for every packet   parse, flow key, hash; ask for the index line
//! stage 2   for every packet   read the place noted there; ask for the lines of the flow
//! stage 3   for every packet   compare; ask for the connections' hot lines
//! stage 4   packet by packet   are the connections still what they were? advance them, translate,
//!                              write the metadata
//! ```
//!
//! What is true of a flow is decided in stage 4, under each connection's lock: that the flag MERGED
//! stands, that the packet is a legal next step of an established connection. An acknowledgement inside
//! the window, or a datagram, makes that step as in `express`. Everything else misses
//! and goes the normal way, untouched: FIN, SYN and RST, fragments, what is out of its window. A packet
//! that misses and can be merged begins its trace here.

use super::Engine;
use super::action::Action;
use super::batch::{Batch, LIBERAL};
use super::descriptor::{ConnectionId, Descriptor, Metadata, Modified, state};
use super::flow_key::{Keys, Others, Prepared, Slot, Slots};
use super::offload::LESSONS;
use super::slot::STAGE;
use super::statistics::Counter;
use crate::clock::Time;
use crate::merge::key::Tunnel;
use crate::merge::merged::{Flow, Passing, Used};
use crate::merge::statistics::Count;
use crate::merge::store::Store;
use crate::packet::{Facts, Tcp, proto, rewrite};
use crate::reason::Reason;
use crate::sync::processor::Loop;
use crate::sync::shelf::Visit;
use crate::table::{At, Flags, Guard};
use crate::track::timeout::Class;
use crate::track::{self, Outcome, Step, handover};
use crate::tuple::Direction;

/// What may pass a connection straight.
enum Way {
    /// An acknowledgement, perhaps.
    Segment(Tcp),
    /// A datagram of UDP.
    Datagram,
}

/// Whether the state of a connection is written, or only looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    Look,
    Carry,
}

/// A call: where flows are looked for, and what became of the packets.
struct Cache<'v> {
    store: &'v Store,
    visit: &'v Visit<'v, Flow>,
    /// Packets of established connections ask for nothing but a step of Open vSwitch's machine.
    straight: bool,
    /// Packets of the stages before.
    done: usize,
    hits: usize,
    refused: usize,
}

impl Engine {
    /// Looks untracked packets up among the merged flows. For each one found, the connections went on,
    /// headers are translated, the metadata is that of the last tracking action, and `hit` is told its
    /// number and flow, whose remaining actions are for the datapath to do. All others are untouched;
    /// one that collects a trace begins it. `tunnel` says where the packet of a number came out of.
    /// Returns how many were found.
    pub fn fastpath<'v, P: Descriptor>(
        &'v self,
        visit: &'v Visit<'v, Flow>,
        packets: &mut [P],
        tunnel: &impl Fn(usize) -> Tunnel,
        now: Time,
        hit: &mut impl FnMut(usize, &'v Flow),
    ) -> usize {
        let Some(store) = self.merges.store() else {
            return 0;
        };
        let action = Action::default();
        let mut batch = Batch::new(self, &action, now);
        let mut cache = Cache {
            store,
            visit,
            straight: !batch.is_kernel()
                && !batch.switches.accounting()
                && store.settings().windows,
            done: 0,
            hits: 0,
            refused: 0,
        };
        let mut others = Others::new();
        let mut slots = Slots::default();
        for stage in packets.chunks_mut(STAGE) {
            let rest = (&mut cache, &mut others, tunnel, &mut *hit);
            self.processor.run(&mut batch, stage, &mut slots, rest);
            cache.done += stage.len();
        }
        self.statistics.add(&batch.tally);
        let Cache { hits, refused, .. } = cache;
        for (count, n) in [
            (Count::Hits, hits),
            (Count::Refused, refused),
            (Count::Misses, packets.len() - hits - refused),
        ] {
            store.counts.add(count, n as u64);
        }
        hits
    }
}

impl<'v, P, T, H> Loop<P, Slots<'v>, (&mut Cache<'v>, &mut Others, &T, &mut H)> for Batch<'_>
where
    P: Descriptor,
    T: Fn(usize) -> Tunnel,
    H: FnMut(usize, &'v Flow),
{
    #[inline(always)]
    fn run(
        &mut self,
        packets: &mut [P],
        slots: &mut Slots<'v>,
        (cache, others, tunnel, hit): (&mut Cache<'v>, &mut Others, &T, &mut H),
    ) {
        let first = cache.done;
        let slots = self.find_flows(cache, packets, slots, others, &|i| tunnel(first + i));
        for (i, (packet, slot)) in packets.iter_mut().zip(slots.iter()).enumerate() {
            match slot.flow {
                Some(flow) if self.carry(cache, packet, slot, others, flow).is_some() => {
                    cache.hits += 1;
                    hit(first + i, flow);
                    continue;
                }
                Some(_) => cache.refused += 1,
                None => {}
            }
            begin_trace(cache.store, packet, slot);
        }
        self.dispatch.deliver(self.engine);
    }
}

fn begin_trace<P: Descriptor>(store: &Store, packet: &mut P, slot: &Slot<'_>) {
    if !packet.is_traced() {
        return;
    }
    if let Some(trace) = packet.trace() {
        match slot.prepared {
            Prepared::Pass => trace.forget(),
            _ => trace.begin(slot.hash, store.version()),
        }
    }
}

impl<'e> Batch<'e> {
    /// Stages 0 to 3.
    #[inline(always)]
    fn find_flows<'s, 'v, P: Descriptor>(
        &self,
        cache: &Cache<'v>,
        packets: &[P],
        slots: &'s mut Slots<'v>,
        others: &mut Others,
        tunnel: &impl Fn(usize) -> Tunnel,
    ) -> &'s mut [Slot<'v>] {
        let (store, visit) = (cache.store, cache.visit);
        others.clear();
        for packet in packets {
            packet.prefetch();
        }
        let slots = slots.write(packets, Keys::new(self, store, others, tunnel));
        for slot in slots.iter_mut() {
            if slot.prepared != Prepared::Pass {
                slot.hint = store.hint(visit, slot.hash, slot.is_wide());
            }
        }
        for slot in slots.iter_mut() {
            let Some(hint) = slot.hint else { continue };
            slot.flow = store.find(visit, hint, slot.hash, &slot.key);
            if let Some(flow) = slot.flow {
                for &id in flow.near().ids() {
                    self.engine.table.prefetch_record(id);
                }
            }
        }
        slots
    }

    /// Stage 4 for one packet that fits a flow. `None`: it has to go the normal way.
    #[inline(always)]
    fn carry<P: Descriptor>(
        &mut self,
        cache: &Cache<'_>,
        packet: &mut P,
        slot: &Slot<'_>,
        others: &Others,
        flow: &Flow,
    ) -> Option<()> {
        let hints = packet.hints();
        if hints.read_only && flow.brief().is_none() && flow.made().metadata.translates() {
            return None;
        }
        let bytes = u64::from(hints.total_len).max(packet.bytes().len() as u64);
        if flow.is_untracked() {
            flow.count(Used {
                packets: 1,
                bytes,
                last: self.at.now.as_millis(),
            });
            return Some(());
        }
        let way = match slot.prepared {
            Prepared::Plain(_) if cache.straight => match slot.segment.proto {
                proto::TCP => slot.segment.numbers(packet.bytes()).map(Way::Segment),
                _ => Some(Way::Datagram),
            },
            _ => None,
        };
        let near = flow.near();
        let passed = match &way {
            Some(way) => self.pass_straight(packet, flow, way, bytes),
            None => 0,
        };
        let last = match near.ids().last() {
            Some(&id) if near.ids().len() == passed => (id, near.direction(passed - 1)),
            _ => self.pass_by_rules(cache.store, packet, slot, others, flow, passed, bytes)?,
        };
        self.tally.add(Counter::Found, flow.connections());
        match flow.brief() {
            Some(said) => packet.set_metadata(&Metadata {
                connection: last.0,
                state: said.state.get(),
                reply: last.1 == Direction::Reply,
                zone: said.zone,
                mark: said.mark,
                ..Metadata::default()
            }),
            None => self.finish(packet, slot, others, flow, last),
        }
        Some(())
    }

    /// Metadata and translation.
    #[inline(never)]
    fn finish<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'_>,
        others: &Others,
        flow: &Flow,
        (last, direction): (ConnectionId, Direction),
    ) {
        let said = &flow.made().metadata;
        let mut metadata = Metadata {
            connection: if said.translates() {
                ConnectionId::NONE
            } else {
                last
            },
            state: said.state,
            reason: Reason::None,
            reply: direction == Direction::Reply,
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
            let facts = slot.facts(packet.bytes(), others);
            let done = facts.as_ref().map_or(Err(Reason::Truncated), |facts| {
                rewrite::headers(packet.bytes_mut(), facts, &hints, &change)?;
                Ok(super::translate::is_partial(facts, hints.l4_checksum))
            });
            match done {
                Ok(partial) => {
                    modified.source = said.state & state::SNAT != 0;
                    modified.destination = said.state & state::DNAT != 0;
                    modified.l4_partial = partial;
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

    /// A packet passes as many of its connections, from the first on, as [`Batch::cross`] would let it for
    /// being an acknowledgement inside the window or a datagram of an answered connection, and as nobody
    /// has locked. Returns how many; of the next nothing has changed.
    #[inline(always)]
    fn pass_straight<P: Descriptor>(
        &mut self,
        packet: &mut P,
        flow: &Flow,
        way: &Way,
        bytes: u64,
    ) -> usize {
        let table = &self.engine.table;
        let near = flow.near();
        let all = near.ids().len();
        // Connections of one flow have seen the same segments, so mostly what one makes of this one is what
        // all make of it.
        let (mut side, mut before, mut after) = (None, [0; 3], [0; 3]);
        for (number, &id) in near.ids().iter().enumerate() {
            let direction = near.direction(number);
            let Some(view) = table.view_of(id, Flags::MERGED, PARTICULAR) else {
                return number;
            };
            let Some(mut guard) = view.lock() else {
                return number;
            };
            let at = At {
                now: self.at.now,
                epoch: table.zones().epoch(guard.zone()),
            };
            if !guard.is_visible(&at) {
                return number;
            }
            let (class, until) = match way {
                Way::Segment(tcp) => {
                    let state = guard.protocol();
                    if side != Some(direction) || differ(&state, &before) {
                        let Some(next) = track::established(state, tcp, direction) else {
                            return number;
                        };
                        (side, before, after) = (Some(direction), state, next);
                    }
                    guard.set_protocol(after);
                    (Class::TcpEstablished, self.straight.tcp)
                }
                Way::Datagram if track::is_answered(guard.protocol()[track::OTHER_STATE]) => {
                    (Class::OtherBidirectional, self.straight.udp)
                }
                Way::Datagram => return number,
            };
            if guard.prolong(until).is_none() {
                guard = self.refreshed(guard, class);
            }
            if number + 1 == all {
                self.use_merged(packet, flow, guard, bytes);
            }
        }
        all
    }

    /// A packet passes the connections of a flow from number `passed` on, by all rules. Returns the last
    /// one. `None`: it is not for the cache to say.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "what `carry` knows of a packet")]
    fn pass_by_rules<P: Descriptor>(
        &mut self,
        store: &Store,
        packet: &mut P,
        slot: &Slot<'_>,
        others: &Others,
        flow: &Flow,
        passed: usize,
        bytes: u64,
    ) -> Option<(ConnectionId, Direction)> {
        let passings = flow.passings();
        // A step of Open vSwitch's machine may be made twice with the same packet, so the first
        // connections may go on although a later one refuses; what counts packets may not.
        if passings.len() > 1 && (self.is_kernel() || self.switches.accounting()) {
            for passing in passings {
                self.cross(store, packet, slot, others, passing, Intent::Look)?;
            }
        }
        let mut last = None;
        for (number, passing) in passings.iter().enumerate().skip(passed) {
            let guard = self.cross(store, packet, slot, others, passing, Intent::Carry)?;
            if number + 1 == passings.len() {
                self.use_merged(packet, flow, guard, bytes);
            }
            last = Some((passing.id, passing.direction));
        }
        last
    }

    /// A packet of a flow has passed all connections, of which this is the last.
    #[inline(always)]
    fn use_merged<P: Descriptor>(
        &mut self,
        packet: &mut P,
        flow: &Flow,
        guard: Guard<'e>,
        bytes: u64,
    ) {
        // Every packet of this flow has this connection's lock now.
        flow.count_alone(bytes, self.at.now.as_millis());
        if packet.wants_original() {
            self.write_original(packet, guard);
        }
    }

    /// A packet passes one of its connections, by all rules. `None`: it is not for the cache to say, and
    /// nothing has changed.
    #[inline(never)]
    fn cross<P: Descriptor>(
        &mut self,
        store: &Store,
        packet: &P,
        slot: &Slot<'_>,
        others: &Others,
        &Passing { id, direction, .. }: &Passing,
        intent: Intent,
    ) -> Option<Guard<'e>> {
        let engine = self.engine;
        let facts = slot.facts(packet.bytes(), others)?;
        let mut guard = engine.table.get(id)?;
        let at = At {
            now: self.at.now,
            epoch: engine.table.zones().epoch(guard.zone()),
        };
        if !guard.flags().contains(Flags::MERGED) || !guard.is_visible(&at) {
            return None;
        }
        let windows = store.settings().windows;
        self.advance(packet, &facts, &mut guard, direction, windows, intent)?;
        if intent == Intent::Carry && self.switches.accounting() {
            guard.count(direction, facts.ip_len());
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
        direction: Direction,
        windows: bool,
        intent: Intent,
    ) -> Option<()> {
        let engine = self.engine;
        let mut flags = guard.flags();
        let mut state = engine.tracked_state(guard);
        let tcp = facts.proto == proto::TCP;
        let step = if tcp && !windows {
            Step::staying(handover::waiting(&state, proto::TCP, engine.machine()))
        } else {
            let mut options = self.track();
            options.liberal = engine.zones.liberal(guard.zone()) || flags.has_any(LIBERAL);
            if flags.contains(Flags::RELEARN) {
                handover::relearn(&mut state, facts, direction, options.machine);
            }
            track::advance(&mut state, facts, packet.bytes(), direction, &options)
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
                handover::forget(&mut state, engine.machine());
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
            self.show_providers(guard, packet.in_port(), bits, direction, &step);
        }
        Some(())
    }
}

/// In few steps, and without their addresses, so that both stay in registers.
#[inline(always)]
const fn differ(one: &[u64; 3], other: &[u64; 3]) -> bool {
    (one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) != 0
}

/// Connections whose packets ask for more than a step of the state.
const PARTICULAR: Flags = Flags::OFFLOADED.and(Flags::RELEARN);
