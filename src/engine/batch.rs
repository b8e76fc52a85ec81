//! READ FIRST: the walk of a batch.
//!
//! A packet needs three cold cache lines: its own headers, the bucket of its connection, and the
//! connection's hot line. Waiting for each costs more than all the work in between. So a batch goes
//! through in stages, and each stage asks for the lines that the next one needs:
//!
//! ```text
//! stage 0   for every packet   ask for its headers
//! stage 1   for every packet   parse, key, hash; ask for the bucket line
//! stage 2   for every packet   compare the tags of the bucket; ask for the record's hot line, and
//!                              for that of its translation
//! stage 3   packet by packet   find and lock the connection, advance its state, write the verdict
//! ```
//!
//! Only stage 3 decides anything, and it goes in order: a packet sees what the packets before it in
//! the same batch did, so a batch gives the result of its packets one by one. What the stages before
//! found is a hint that stage 3 checks under the connection's lock, but for one thing: that a packet is nobody's
//! is certain when stage 2 says so, and stays so in a batch that stores nothing. A batch of one packet has nothing to
//! overlap, and first tries the ways of `alone`. Packets that stand in front of a batch and carry their
//! connection from an earlier pass do not go through the stages (see `cached`).
//!
//! The rules of stage 3 are those of Open vSwitch's `process_one` (lib/conntrack.c); the numbers in
//! the comments count its steps.

use super::Engine;
use super::action::Action;
use super::config::{Packed, Profile};
use super::descriptor::{Descriptor, Metadata, Modified, state};
use super::events::{Before, Ending};
use super::express::Straight;
use super::flow::FlowTableRef;
use super::follow;
use super::fragments::Fragments;
use super::look::Look;
use super::look::parsing;
use super::slot::{Others, Prepared, STAGE, Slot, Slots};
use super::statistics::{Counter, Tally};
use super::translate;
use crate::alg::expect::Parent;
use crate::clock::Time;
use crate::nat::Binding;
use crate::offload::dispatch::Dispatch;
use crate::packet::{self, Facts, Transport, fragment, proto};
use crate::policy::limits::Lot;
use crate::reason::Reason;
use crate::sync::processor::Loop;
use crate::table::{At, Flags, Guard, Inserts, Name, Probe};
use crate::track::timeout::Class;
use crate::track::{self, Outcome, handover};
use crate::tuple::{Direction, Tuple};

/// Connections that are not held to their window: packets of them may have gone by unseen.
pub(super) const LIBERAL: Flags = Flags::LIBERAL.and(Flags::HELD).and(Flags::RELEARN);
/// Connections whose packets are shown to offload providers, or to the merged flows.
const ELSEWHERE: Flags = Flags::OFFLOADED.and(Flags::RELEARN).and(Flags::MERGED);

/// Everything that is the same for all packets of a call.
pub(super) struct Batch<'e> {
    pub(super) engine: &'e Engine,
    pub(super) action: &'e Action,
    pub(super) at: At,
    pub(super) parse: &'static packet::Options,
    pub(super) switches: Packed,
    /// See [`Batch::track`].
    track: Option<track::Options>,
    pub(super) tally: Tally,
    /// Which packets may take the straight way.
    pub(super) straight: Straight,
    /// What a helper's expectation says of the present packet, which was not stored.
    pub(super) expected: Option<Parent>,
    /// The tuples of the connection that the present packet began.
    pub(super) stored: Option<(Tuple, Tuple)>,
    /// Kinds of events that anybody wants.
    pub(super) observed: u32,
    /// The present packet's connection as it was, for those who want to know of changes.
    pub(super) before: Option<Before>,
    /// Room in the zone for connections that this call stores.
    pub(super) lot: Lot<'e>,
    /// Connections that this call stores.
    pub(super) inserts: Inserts<'e>,
    /// What offload providers are to be told.
    pub(super) dispatch: Dispatch<'e>,
    /// The flow table of the zone.
    pub(super) flow_table: Option<FlowTableRef>,
}

/// What became of a packet whose connection was looked for.
pub(super) struct Judged<'e> {
    pub(super) state: u8,
    pub(super) reason: Reason,
    pub(super) connection: Option<(Guard<'e>, Direction)>,
}

impl Judged<'_> {
    pub(super) const fn invalid(reason: Reason) -> Self {
        Judged {
            state: state::INV,
            reason,
            connection: None,
        }
    }
}

impl<'e, P: Descriptor, F: Fragments<P>> Loop<P, Slots<'e>, (&mut Others, &F)> for Batch<'e> {
    #[inline(always)]
    fn run(
        &mut self,
        packets: &mut [P],
        slots: &mut Slots<'e>,
        (others, fragments): (&mut Others, &F),
    ) {
        self.run_stage(packets, slots, others, fragments);
    }
}

impl<'e> Batch<'e> {
    #[inline(always)]
    pub(super) fn new(engine: &'e Engine, action: &'e Action, now: Time) -> Batch<'e> {
        // First what may have to call somebody: the rest then comes to where it stays in one go.
        let switches = engine.settings.read();
        let flow_table = engine.flows.of(action.zone);
        let epoch = engine.table.zones().epoch(action.zone);
        Batch {
            dispatch: Dispatch::new(&engine.offload),
            engine,
            action,
            at: At { now, epoch },
            parse: parsing(engine.profile, switches.verify_checksums()),
            switches,
            track: None,
            tally: Tally::new(),
            straight: Straight::new(engine, action, switches, now, flow_table.is_none()),
            expected: None,
            stored: None,
            observed: engine.observers.wanted(),
            before: None,
            lot: engine.limits.lot(action.zone, epoch),
            inserts: Inserts::new(&engine.table),
            flow_table,
        }
    }

    /// As nf_conntrack does it, where Open vSwitch does it otherwise.
    #[inline(always)]
    pub(super) fn is_kernel(&self) -> bool {
        self.engine.profile != Profile::Ovs
    }

    /// How the state machines go. Most batches don't ask.
    #[inline]
    pub(super) fn track(&mut self) -> track::Options {
        match self.track {
            Some(options) => options,
            None => self.begin_to_track(),
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_to_track(&mut self) -> track::Options {
        *self.track.insert(track::Options {
            machine: self.engine.machine(),
            sequence_check: self.switches.tcp_sequence_check(),
            loose: self.switches.tcp_loose(),
            strict_reset: self.switches.strict_reset(),
            liberal: self.engine.zones.liberal(self.action.zone),
            now: self.at.now,
        })
    }

    /// All packets.
    #[inline(always)]
    pub(super) fn run<P: Descriptor, F: Fragments<P>>(mut self, packets: &mut [P], fragments: &F) {
        let again = matches!(&*packets, [first, ..] if self.is_cached(&first.pass()));
        let packets = match again {
            false => packets,
            true if self.action.nat.is_some() => self.go_again_in_front::<P, true>(packets),
            true => self.go_again_in_front::<P, false>(packets),
        };
        match packets.len() {
            0 => {}
            1 if !again => self.run_alone(packets, fragments),
            _ => self.run_stages(packets, fragments),
        }
        self.engine.statistics.add(&self.tally);
    }

    /// All packets, in stages of [`STAGE`].
    #[inline(never)]
    pub(super) fn run_stages<P: Descriptor, F: Fragments<P>>(
        &mut self,
        packets: &mut [P],
        fragments: &F,
    ) {
        let processor = self.engine.processor;
        let mut others = Others::new();
        let mut slots = Slots::default();
        for packets in packets.chunks_mut(STAGE) {
            processor.run(self, packets, &mut slots, (&mut others, fragments));
        }
    }

    /// Stages 0 to 2 for packets that are all to be looked up.
    #[inline(always)]
    pub(super) fn look_up<'s, P: Descriptor>(
        &mut self,
        packets: &[P],
        slots: &'s mut Slots<'e>,
        others: &mut Others,
    ) -> &'s mut [Slot<'e>] {
        others.clear();
        for packet in packets {
            packet.prefetch();
        }
        let slots = slots.write(packets, Look::<false>(self, others));
        self.probe_all(slots);
        slots
    }

    /// Stage 2.
    #[inline(always)]
    fn probe_all(&self, slots: &mut [Slot<'e>]) {
        for slot in slots {
            if slot.is_looked_up() {
                slot.probe = self.engine.table.probe(slot.place, slot.hash);
            }
        }
    }

    /// The connection of a packet that was looked up.
    pub(super) fn find_slot(&self, slot: &Slot<'e>) -> Option<(Guard<'e>, Direction)> {
        if !slot.is_looked_up() {
            return None;
        }
        let table = &self.engine.table;
        let (key, side) = (&slot.key, slot.side);
        table
            .find_probed(slot.probe, key, side, &self.at)
            .or_else(|| table.find(Probe::NONE, slot.hash, key, side, &self.at))
    }

    /// All stages for a few packets.
    #[inline(always)]
    fn run_stage<P: Descriptor, F: Fragments<P>>(
        &mut self,
        packets: &mut [P],
        slots: &mut Slots<'e>,
        others: &mut Others,
        fragments: &F,
    ) {
        others.clear();
        for packet in packets.iter() {
            packet.prefetch();
        }
        let slots = slots.write(packets, Look::<true>(self, others));
        self.probe_all(slots);
        if self.action.nat.is_some() {
            self.decide_all::<P, F, true>(packets, slots, others, fragments);
        } else {
            self.decide_all::<P, F, false>(packets, slots, others, fragments);
        }
        self.dispatch.deliver(self.engine);
    }

    /// Stage 3. `TRANSLATED`: of connections that may be translated.
    #[inline(always)]
    fn decide_all<P: Descriptor, F: Fragments<P>, const TRANSLATED: bool>(
        &mut self,
        packets: &mut [P],
        slots: &mut [Slot<'e>],
        others: &mut Others,
        fragments: &F,
    ) {
        let open = self.straight.is_open();
        for (packet, slot) in packets.iter_mut().zip(slots.iter_mut()) {
            let done = if slot.prepared != Prepared::Plain || !open {
                None
            } else if !slot.probe.is_none() {
                let (key, segment) = (&slot.key, &slot.segment);
                self.go_straight::<P, TRANSLATED>(packet, slot.probe, key, slot.side, segment)
            } else if slot.probe.is_miss() && !self.action.commit {
                self.pass_by(packet, slot)
            } else {
                self.go_past(packet, slot)
            };
            if done.is_none() {
                self.decide(packet, slot, others, fragments);
            }
        }
    }

    /// Stage 3 for a packet that does not go straight.
    #[inline(never)]
    fn decide<P: Descriptor, F: Fragments<P>>(
        &mut self,
        packet: &mut P,
        slot: &mut Slot<'e>,
        others: &mut Others,
        fragments: &F,
    ) {
        if slot.prepared == Prepared::Plain && self.go_plainly(packet, slot).is_some() {
            return;
        }
        if slot.prepared == Prepared::Cached {
            if self.go_again(packet).is_some() || self.process_cached(packet) {
                return;
            }
            *slot = self.looked_at(packet, others);
        }
        if let Some(facts) = slot.facts(packet.bytes(), others) {
            return self.process(packet, slot, &facts);
        }
        match slot.prepared {
            Prepared::Malformed(Reason::Fragment) => {
                let whole = fragment::of(packet.bytes(), &packet.hints())
                    .ok_or(Reason::Fragment)
                    .and_then(|fragment| self.reassemble(packet, &fragment, fragments));
                if let Err(reason) = whole {
                    self.malformed(packet, reason);
                }
            }
            Prepared::Malformed(reason) => self.malformed(packet, reason),
            Prepared::Refused => self.malformed(packet, packet.pass().reason),
            Prepared::Plain | Prepared::Other(_) | Prepared::Cached | Prepared::Unusual => {}
        }
    }

    /// All stages for a single packet, which is no fragment.
    pub(super) fn one<P: Descriptor>(&mut self, packet: &mut P) {
        let mut others = Others::new();
        let slot = self.looked_at(packet, &mut others);
        match (slot.prepared, slot.facts(packet.bytes(), &others)) {
            (_, Some(facts)) => self.process(packet, &slot, &facts),
            (Prepared::Malformed(reason), None) => self.malformed(packet, reason),
            _ => {}
        }
    }

    #[cold]
    fn malformed<P: Descriptor>(&mut self, packet: &mut P, reason: Reason) {
        self.tally.add(Counter::Invalid, 1);
        self.engine.statistics.reason(reason);
        packet.set_metadata(&Metadata {
            state: state::INV | state::TRK,
            reason,
            zone: self.action.zone,
            ..Metadata::default()
        });
        if packet.wants_original() {
            packet.set_original(None);
        }
    }

    /// Translates a packet. One that cannot be translated becomes invalid.
    pub(super) fn translate<P: Descriptor>(
        &mut self,
        packet: &mut P,
        facts: &Facts,
        binding: &Binding,
        direction: Direction,
        metadata: &mut Metadata,
    ) -> Modified {
        match translate::translate(packet, facts, binding, direction, metadata) {
            Ok(modified) => modified,
            Err(reason) => self.untranslated(reason, metadata),
        }
    }

    /// A packet cannot be translated: it becomes invalid.
    #[cold]
    pub(super) fn untranslated(&mut self, reason: Reason, metadata: &mut Metadata) -> Modified {
        metadata.state |= state::INV;
        metadata.reason = reason;
        self.tally.add(Counter::Invalid, 1);
        self.engine.statistics.reason(reason);
        Modified::default()
    }

    /// Steps 1 to 12 for one packet.
    fn process<P: Descriptor>(&mut self, packet: &mut P, slot: &Slot<'e>, facts: &Facts) {
        let last = packet.pass();
        // 1: entering another zone forgets the state of the last one.
        let before = if last.zone == self.action.zone {
            last.state
        } else {
            0
        };
        // 2: the look-up.
        let table = &self.engine.table;
        let (key, side) = (&slot.key, slot.side);
        let found = if before & (state::SNAT | state::DNAT) != 0 {
            self.find_translated(&slot.tuple())
        } else {
            table.find(slot.probe, slot.hash, key, side, &self.at)
        };
        let judged = match found {
            // 3: `force` drops a connection that this packet would only be the reply of.
            Some((guard, Direction::Reply)) if self.action.force => {
                let engine = self.engine;
                let why = Ending::Replaced;
                engine.remove(guard, why, &mut self.dispatch, self.at.now);
                self.unknown(packet, facts, &slot.tuple(), &slot.name(), before)
            }
            Some((guard, direction)) => self.known(packet, facts, before, guard, direction),
            None => self.unfound(packet, slot, facts, before),
        };
        self.write(packet, slot, facts, judged);
    }

    /// 2, for a packet that was translated earlier in this zone: its addresses are those of the
    /// other direction's tuple.
    #[cold]
    fn find_translated(&mut self, tuple: &Tuple) -> Option<(Guard<'e>, Direction)> {
        let (key, side) = tuple.reversed().key();
        let hash = self.engine.table.hash(&key);
        let found = self
            .engine
            .table
            .find(Probe::NONE, hash, &key, side, &self.at);
        if found.is_none() {
            self.tally.add(Counter::TranslatedMiss, 1);
        }
        found.map(|(guard, direction)| (guard, direction.opposite()))
    }

    /// A connection whose state is this one is [`Flags::SETTLED`].
    #[inline(always)]
    pub(super) fn settles(&self, protocol: u8, words: &[u64; 3]) -> bool {
        !self.is_kernel() && track::is_settled(protocol, words)
    }

    /// 5: the packet's connection is known: advance its state.
    fn known<P: Descriptor>(
        &mut self,
        packet: &P,
        facts: &Facts,
        before: u8,
        mut guard: Guard<'e>,
        direction: Direction,
    ) -> Judged<'e> {
        self.note(&guard);
        let mut bits = before;
        let reply_bit = if direction == Direction::Reply {
            state::RPL
        } else {
            0
        };
        if let Transport::Error(_) = facts.transport {
            bits |= state::REL | reply_bit;
            return Judged {
                state: bits,
                reason: Reason::None,
                connection: Some((guard, direction)),
            };
        }
        let mut flags = guard.flags();
        if flags.contains(Flags::RELATED) {
            bits |= state::REL;
        }
        let mut options = self.track();
        let own;
        let mut facts = facts;
        if flags.contains(Flags::HELPER) {
            let translated = before & (state::SNAT | state::DNAT) != 0;
            let control = self.engine.controls.get(guard.id());
            own = follow::own_numbers(facts, &control, direction, translated);
            facts = &own;
        }
        let extended = track::uses_extension(options.machine, facts.proto);
        let mut advancing = track::State {
            words: guard.protocol(),
            extension: if extended {
                guard.extension()
            } else {
                track::State::NONE.extension
            },
        };
        options.liberal |= flags.has_any(LIBERAL);
        if flags.contains(Flags::RELEARN) {
            handover::relearn(&mut advancing, facts, direction, options.machine);
        }
        let step = track::advance(&mut advancing, facts, packet.bytes(), direction, &options);
        self.tally.track(&step);
        let reason = match step.outcome {
            Outcome::Valid => {
                let answered = flags.contains(Flags::SEEN_REPLY) || direction == Direction::Reply;
                if self.is_kernel() && !answered {
                    bits |= state::NEW;
                } else {
                    bits = (bits | state::EST | reply_bit) & !state::NEW;
                }
                Reason::None
            }
            Outcome::ValidNew => {
                bits |= state::NEW;
                Reason::None
            }
            Outcome::Invalid(reason) => {
                bits = state::INV;
                self.engine.statistics.reason(reason);
                self.tally.add(Counter::Invalid, 1);
                reason
            }
            Outcome::New => {
                // The connection's own tuple: that of a translated packet is not its name.
                let tuple = match direction {
                    Direction::Original => guard.original(),
                    Direction::Reply => guard.reply(),
                };
                let engine = self.engine;
                let why = Ending::Replaced;
                engine.remove(guard, why, &mut self.dispatch, self.at.now);
                let name = engine.table.name(&tuple);
                return self.unknown(packet, facts, &tuple, &name, bits);
            }
        };
        guard.set_protocol(advancing.words);
        if extended {
            guard.set_extension(advancing.extension);
        }
        let mut changed = flags;
        // By this pass, whatever an earlier one thought of the packet.
        if direction == Direction::Reply && reason == Reason::None {
            changed.insert(Flags::SEEN_REPLY);
        }
        if step.assured {
            changed.insert(Flags::ASSURED);
        }
        changed.set(Flags::SETTLED, self.settles(facts.proto, &advancing.words));
        if changed != flags {
            flags = changed;
            guard.set_flags(flags);
        }
        if step.remove {
            // This packet is its last one.
            guard.set_expiry(self.at.now);
        } else if let Some(class) = step.timeout {
            let wait = self.wait(guard.policy(), class, step.at_most);
            guard.set_expiry(self.at.now.plus(wait));
        }
        if self.switches.accounting() {
            guard.count(direction, facts.ip_len());
        }
        if self.flow_table.is_some() && reason == Reason::None {
            self.show_flow_table(&mut guard, facts, packet.bytes(), bits, &step);
        }
        if flags.has_any(ELSEWHERE) && reason == Reason::None {
            self.show_providers(&mut guard, packet.in_port(), bits, direction, &step);
        }
        self.tally.add(Counter::Found, 1);
        Judged {
            state: bits,
            reason,
            connection: Some((guard, direction)),
        }
    }

    /// 6 and 7: no connection has the packet's tuple.
    fn unfound<P: Descriptor>(
        &mut self,
        packet: &P,
        slot: &Slot<'e>,
        facts: &Facts,
        before: u8,
    ) -> Judged<'e> {
        if before & (state::SNAT | state::DNAT) != 0
            && self.action.nat.is_none()
            && let Some((guard, direction)) = self.find_original(packet, slot)
        {
            return self.known(packet, facts, before, guard, direction);
        }
        if let Transport::Error(_) = facts.transport {
            self.tally.add(Counter::Invalid, 1);
            self.engine.statistics.reason(Reason::IcmpErrorUnrelated);
            return Judged::invalid(Reason::IcmpErrorUnrelated);
        }
        self.unknown(packet, facts, &slot.tuple(), &slot.name(), before)
    }

    /// 6: a packet that was translated elsewhere still knows the tuple it began with.
    #[cold]
    fn find_original<P: Descriptor>(
        &mut self,
        packet: &P,
        slot: &Slot<'e>,
    ) -> Option<(Guard<'e>, Direction)> {
        let original_of = slot.tuple();
        let mut original = packet.original()?;
        if original.family != original_of.family || original.proto == 0 {
            return None;
        }
        original.zone = self.action.zone;
        if matches!(original.proto, proto::ICMP | proto::ICMPV6) {
            original.sport = original_of.sport;
            original.dport = original_of.dport;
        }
        let (key, side) = original.key();
        let hash = self.engine.table.hash(&key);
        let (guard, _) = self
            .engine
            .table
            .find(Probe::NONE, hash, &key, side, &self.at)?;
        // The direction stays that of the packet's own look-up, which found nothing.
        Some((guard, Direction::Original))
    }

    /// 8: the packet begins a connection, if it may.
    pub(super) fn unknown<P: Descriptor>(
        &mut self,
        packet: &P,
        facts: &Facts,
        tuple: &Tuple,
        name: &Name,
        before: u8,
    ) -> Judged<'e> {
        let created = self.create(packet.bytes(), packet.in_port(), facts, tuple, name);
        match created.judged.connection {
            // Another thread stored the same connection a moment ago: this packet is its next one,
            // as if it had come that moment later.
            Some((guard, direction)) if created.lost_race => {
                self.known(packet, facts, before, guard, direction)
            }
            _ => created.judged,
        }
    }

    /// Milliseconds that a connection may be idle.
    #[inline]
    pub(super) fn wait(&self, policy: u16, class: Class, at_most: Option<Class>) -> u64 {
        let durations = &self.engine.timeouts;
        let millis = durations.millis(policy, class);
        at_most.map_or(millis, |other| millis.min(durations.millis(policy, other)))
    }
}
