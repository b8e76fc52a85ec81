//! The plain way of stage 3: packets that `express` does not take because their connection is not
//! established yet, or no longer, or because there is none.
//!
//! They need the rules of their protocol, but most of what the whole way asks about does not concern
//! them: helpers, providers, expectations, listeners, quoted packets. Whatever does is left to the
//! whole way, and nothing was changed then; so everything here follows from the rules of `batch`, and
//! the model's traffic runs through both.

use super::batch::{Batch, LIBERAL};
use super::descriptor::{ConnectionId, Descriptor, Metadata, state};
use super::express::WATCHED;
use super::slot::Slot;
use super::statistics::Counter;
use super::verdict;
use crate::packet::proto;
use crate::reason::Reason;
use crate::table::{Flags, Guard, InsertError, New, Probe};
use crate::track::{self, Outcome};
use crate::tuple::Direction;

/// What marks the connections whose steps somebody else is told of.
const PARTICULAR: Flags = WATCHED.and(Flags::MERGED);

impl<'e> Batch<'e> {
    /// Deals with a plain packet that did not go straight. `None`: nothing was changed.
    #[inline(always)]
    pub(super) fn go_plainly<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
    ) -> Option<()> {
        if !self.straight.is_open() || packet.is_traced() || self.observed != 0 {
            return None;
        }
        let before = self.straight.carried(&packet.pass())?;
        let table = &self.engine.table;
        let (key, side) = (&slot.key, slot.side);
        // In steps, so that what the probe saw stays in registers; first for those that nobody watches.
        let found = table
            .find_with::<true>(
                slot.probe,
                key,
                side,
                &self.at,
                Flags::default(),
                PARTICULAR,
            )
            .or_else(|| table.find_probed(slot.probe, key, side, &self.at));
        match found.or_else(|| table.find(Probe::NONE, slot.hash, key, side, &self.at)) {
            Some((guard, direction)) => self.step(packet, slot, guard, direction, before),
            None if self.action.commit => self.begin(packet, slot, before),
            None => self.pass_by(packet, slot),
        }
    }

    /// Deals with a plain packet of an open way that is nobody's at first sight, and is not looked up again. `None`:
    /// nothing was changed.
    #[inline(never)]
    pub(super) fn go_past<P: Descriptor>(&mut self, packet: &mut P, slot: &Slot<'e>) -> Option<()> {
        debug_assert!(self.straight.is_open());
        if packet.is_traced() || !self.action.commit {
            return None;
        }
        let before = self.straight.carried(&packet.pass())?;
        // To store it is to look again.
        if let Some(opened) = self.open(packet, slot) {
            return opened.ok();
        }
        let table = &self.engine.table;
        if !table.is_missed(slot.place, slot.probe, slot.hash) {
            return None;
        }
        self.begin_wholly(packet, slot, before)
    }

    /// The packet's connection makes a step.
    #[inline(always)]
    fn step<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        mut guard: Guard<'e>,
        direction: Direction,
        before: u8,
    ) -> Option<()> {
        let flags = guard.flags();
        if flags.has_any(PARTICULAR) {
            return None;
        }
        let mut words = guard.protocol();
        let step = if slot.segment.proto == proto::TCP {
            let tcp = slot.segment.tcp(packet.bytes())?;
            track::advance_tcp(&mut words, &tcp, direction, || {
                let mut options = self.track();
                options.liberal |= flags.has_any(LIBERAL);
                options
            })
        } else {
            track::advance_other(&mut words, direction)
        };
        let reply = direction == Direction::Reply;
        let reply_bit = if reply { state::RPL } else { 0 };
        let bits = match step.outcome {
            Outcome::Valid if !step.remove => (before | state::EST | reply_bit) & !state::NEW,
            Outcome::ValidNew => before | state::NEW,
            _ => return None,
        };
        self.tally.track(&step);
        self.tally.add(Counter::Found, 1);
        guard.set_protocol(words);
        let mut changed = flags;
        changed.set_if(Flags::SEEN_REPLY, reply);
        changed.set_if(Flags::ASSURED, step.assured);
        changed.set(Flags::SETTLED, self.settles(slot.segment.proto, &words));
        guard.set_flags(changed);
        if let Some(class) = step.timeout {
            let wait = self.wait(guard.policy(), class, step.at_most);
            guard.set_expiry(self.at.now.plus(wait));
        }
        let mut metadata = Metadata {
            connection: self.name(guard.id()),
            state: bits | state::TRK,
            reply,
            zone: self.action.zone,
            ..Metadata::default()
        };
        verdict::read_mark_and_label(&guard, &mut metadata);
        if self.action.nat.is_some() {
            self.pass::<P, true>(packet, &slot.segment, guard, direction, metadata);
        } else {
            self.pass::<P, false>(packet, &slot.segment, guard, direction, metadata);
        }
        Some(())
    }

    /// The first packet of a connection: if it needs more than its own state, the whole way from here
    /// on, where nothing is asked again.
    #[inline(always)]
    fn begin<P: Descriptor>(&mut self, packet: &mut P, slot: &Slot<'e>, before: u8) -> Option<()> {
        if let Some(Ok(())) = self.open(packet, slot) {
            return Some(());
        }
        self.begin_wholly(packet, slot, before)
    }

    /// The first packet of a connection, of which more has to be asked.
    #[inline(always)]
    fn begin_wholly<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
        before: u8,
    ) -> Option<()> {
        let facts = slot.key.facts(slot.side, &slot.segment, packet.bytes())?;
        let judged = self.unknown(packet, &facts, &slot.tuple(), &slot.name(), before);
        self.write(packet, slot, &facts, judged);
        Some(())
    }

    /// Stores a connection of which nobody but the table has to know. `None`: nothing was changed, and
    /// whatever stands against it is told by the whole way. Nothing was changed either when the table
    /// does not take it, unless it is full: one that drops early has room for one more then.
    #[inline(never)]
    fn open<P: Descriptor>(
        &mut self,
        packet: &mut P,
        slot: &Slot<'e>,
    ) -> Option<Result<(), InsertError>> {
        let (engine, zone) = (self.engine, self.action.zone);
        let table = &engine.table;
        if self.observed != 0
            || self.action.nat.is_some()
            || self.action.helper.is_some()
            || self.dispatch.is_active()
            || !engine.expectations.is_empty()
            || engine.translations.is_watching()
            || table.is_full() && !self.switches.early_drop()
        {
            return None;
        }
        let opened = if slot.segment.proto == proto::TCP {
            track::open_tcp(&slot.segment.tcp(packet.bytes())?).ok()?
        } else {
            track::open_other()
        };
        let policy = engine.timeouts.place(zone, self.action.timeout_policy);
        let now = self.at.now;
        let new = New {
            reply: None,
            flags: Flags::default(),
            created: now,
            expiry: now.plus(self.wait(policy, opened.timeout, opened.at_most)),
            policy,
            mark: 0,
            protocol: opened.state.words,
            label: 0,
            parent: ConnectionId::NONE,
            helper: 0,
            in_port: packet.in_port(),
            extension: None,
        };
        let free = || i64::from(table.limit()) - i64::from(table.len());
        self.lot.admit(free).ok()?;
        // Nobody goes for a packet whose connection the one before it has just begun.
        let missed = || table.is_missed(slot.place, slot.probe, slot.hash);
        if table.is_full() && !(missed() && self.make_room()) {
            self.lot.give_back();
            return None;
        }
        let (at, ample) = (&self.at, self.lot.is_ample());
        let inserted = self
            .inserts
            .insert_at(slot.place, &new, &slot.name(), at, ample);
        let mut guard = match inserted {
            Ok(guard) => guard,
            Err(error) => {
                self.lot.give_back();
                return Some(Err(error));
            }
        };
        self.tally.add(Counter::New, 1);
        self.tally.add(Counter::Committed, 1);
        if engine.offload.is_active() {
            guard = self.shown(guard, new.in_port);
        }
        let metadata = Metadata {
            connection: guard.id(),
            state: state::NEW | state::TRK,
            zone,
            ..Metadata::default()
        };
        drop(guard);
        if packet.wants_original() {
            verdict::tell_tuple(packet, &slot.key, slot.side);
        }
        packet.set_metadata(&metadata);
        Some(Ok(()))
    }

    /// Somebody registered since the batch began. Moves the guard, as the usual way has it in registers.
    #[cold]
    #[inline(never)]
    fn shown(&mut self, mut guard: Guard<'e>, in_port: u32) -> Guard<'e> {
        self.show_new(&mut guard, in_port);
        guard
    }

    /// Deals with nobody's packet, which is not to be stored, of an open way. `None`: nothing was changed.
    #[inline(never)]
    pub(super) fn pass_by<P: Descriptor>(&mut self, packet: &mut P, slot: &Slot<'e>) -> Option<()> {
        debug_assert!(self.straight.is_open());
        if packet.is_traced() || !self.engine.expectations.is_empty() {
            return None;
        }
        self.straight.carried(&packet.pass())?;
        if slot.segment.proto == proto::TCP
            && !track::may_open_tcp(&slot.segment.numbers(packet.bytes())?)
        {
            return None;
        }
        self.tally.add(Counter::New, 1);
        if packet.wants_original() {
            verdict::tell_tuple(packet, &slot.key, slot.side);
        }
        packet.set_metadata(&Metadata {
            state: state::NEW | state::TRK,
            reason: Reason::NotCommitted,
            zone: self.straight.zone(),
            ..Metadata::default()
        });
        Some(())
    }
}
