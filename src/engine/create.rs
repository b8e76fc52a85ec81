//! The cold path: a packet without a connection.
//!
//! The order of checks is that of Open vSwitch's `conn_not_found`: may the packet open a connection
//! at all; does the action commit; is there room. Whatever refuses leaves the packet NEW and not
//! stored, and says why in its reason.
//!
//! Two threads may bring the first packets of one connection at once. The table decides under the
//! bucket's lock who was first; the other one's packet is then the connection's second packet. (Open
//! vSwitch gives the loser a verdict with only TRK set.)

use super::batch::{Batch, Judged};
use super::descriptor::{ConnectionId, state};
use super::events::Ending;
use super::statistics::Counter;
use super::translate::Occupied;
use crate::alg::expect::Expectation;
use crate::nat::{Nat, Outcome};
use crate::packet::Facts;
use crate::policy::limits::Refused;
use crate::reason::Reason;
use crate::table::{Flags, Guard, InsertError, Name, New, Probe};
use crate::track;
use crate::tuple::{Direction, Tuple};

/// How often a connection is tried to be stored while other threads store and remove the same tuples.
const MOST_TRIES: u32 = 8;
/// Records that a full table looks through for flushed or expired ones before it refuses.
const RECLAIM: u32 = 256;

/// What became of a connection that was to be stored. (Not an enumeration that carries guards: those are
/// copied about in pieces, for which the processor waits each time.)
struct Storing<'e> {
    /// The one that stands in the table now.
    guard: Option<Guard<'e>>,
    /// It is another thread's, which was first, and the packet is of this direction in it.
    lost_to: Option<Direction>,
    /// Why there is none.
    reason: Reason,
}

impl<'e> Storing<'e> {
    fn lost_race((guard, direction): (Guard<'e>, Direction)) -> Self {
        Storing {
            guard: Some(guard),
            lost_to: Some(direction),
            reason: Reason::None,
        }
    }

    const fn refused(reason: Reason) -> Self {
        Storing {
            guard: None,
            lost_to: None,
            reason,
        }
    }
}

/// What became of a first packet.
pub(super) struct Created<'e> {
    /// The verdict, with the new connection if it was stored.
    pub(super) judged: Judged<'e>,
    /// Another thread was first: the connection is that one's, and the packet is yet to be judged.
    pub(super) lost_race: bool,
}

impl<'e> Created<'e> {
    const fn done(judged: Judged<'e>) -> Self {
        Created {
            judged,
            lost_race: false,
        }
    }
}

impl<'e> Batch<'e> {
    /// A connection for the first packet with `tuple`, if it may open one.
    #[inline(never)]
    pub(super) fn create(
        &mut self,
        bytes: &[u8],
        in_port: u32,
        facts: &Facts,
        tuple: &Tuple,
        name: &Name,
    ) -> Created<'e> {
        let opened = match track::open(facts, bytes, &self.track()) {
            Ok(opened) => opened,
            Err(reason) => {
                self.tally.add(Counter::Invalid, 1);
                self.engine.statistics.reason(reason);
                return Created::done(Judged::invalid(reason));
            }
        };
        self.tally.add(Counter::New, 1);
        let expectation = self.engine.expectations.find(tuple, self.at.now);
        if !(self.action.commit || self.action.force) {
            return Created::done(self.not_stored(Reason::NotCommitted, expectation.as_ref()));
        }
        let parent = expectation.as_ref().map(|expectation| &expectation.parent);
        let policy = self
            .engine
            .timeouts
            .place(tuple.zone, self.action.timeout_policy);
        let helper = self.action.helper.filter(|helper| helper.fits(tuple));
        let (mark, label) = match parent {
            Some(parent) => (parent.mark, parent.label),
            None => (
                self.action.mark.map_or(0, |mark| mark.value),
                self.action.label.map_or(0, |label| label.value),
            ),
        };
        let mut flags = Flags::default();
        flags.set(Flags::LABEL, label != 0);
        flags.set(Flags::RELATED, parent.is_some());
        flags.set(Flags::HELPER, helper.is_some());
        let mut new = New {
            reply: None,
            flags,
            created: self.at.now,
            expiry: self
                .at
                .now
                .plus(self.wait(policy, opened.timeout, opened.at_most)),
            policy,
            mark,
            protocol: opened.state.words,
            label,
            parent: parent.map_or(ConnectionId::NONE, |parent| parent.id),
            helper: helper.map_or(0, |helper| helper as u8),
            in_port,
            extension: track::uses_extension(self.engine.machine(), facts.proto)
                .then_some(opened.state.extension),
        };
        let nat = match (&self.action.nat, &expectation) {
            (None, _) => None,
            (Some(_), Some(expectation)) => expectation.nat.as_ref(),
            (Some(nat), None) => Some(nat),
        };
        let stored = self.admit_and_store(&mut new, tuple, name, nat);
        let Some(mut guard) = stored.guard else {
            self.engine.statistics.reason(stored.reason);
            return Created::done(self.not_stored(stored.reason, expectation.as_ref()));
        };
        if let Some(direction) = stored.lost_to {
            return Created {
                judged: Judged {
                    state: 0,
                    reason: Reason::None,
                    connection: Some((guard, direction)),
                },
                lost_race: true,
            };
        }
        self.tally.add(Counter::Committed, 1);
        self.show_new(&mut guard, in_port);
        if self.switches.accounting() {
            guard.count(Direction::Original, facts.ip_len());
        }
        let mut bits = state::NEW;
        if let Some(parent) = parent {
            bits |= state::REL;
            self.engine.parents.created(guard.id(), parent.original);
        }
        Created::done(Judged {
            state: bits,
            reason: Reason::None,
            connection: Some((guard, Direction::Original)),
        })
    }

    /// Stores a connection if its zone may have one more.
    fn admit_and_store(
        &mut self,
        new: &mut New,
        tuple: &Tuple,
        name: &Name,
        nat: Option<&Nat>,
    ) -> Storing<'e> {
        let engine = self.engine;
        let free = || i64::from(engine.table.limit()) - i64::from(engine.table.len());
        if let Err(refused) = self.lot.admit(free) {
            self.tally.add(Counter::ZoneFull, 1);
            return Storing::refused(match refused {
                Refused::Zone => Reason::ZoneLimit,
                Refused::Reserved => Reason::TableFull,
            });
        }
        let stored = self.store(new, tuple, name, nat);
        if stored.guard.is_none() || stored.lost_to.is_some() {
            self.lot.give_back();
        }
        stored
    }

    /// Stores a connection, with a translation if there is a rule for one.
    fn store(
        &mut self,
        new: &mut New,
        tuple: &Tuple,
        name: &Name,
        nat: Option<&Nat>,
    ) -> Storing<'e> {
        let mut made_room = false;
        let mut tries = 0;
        loop {
            if let Some(nat) = nat
                && let Err(reason) = self.bind(new, tuple, nat)
            {
                return Storing::refused(reason);
            }
            if !made_room && self.engine.table.is_full() {
                made_room = self.make_room();
                if !made_room {
                    return self.refused_by_full_table(name);
                }
            }
            let ample = self.lot.is_ample();
            match self.inserts.insert(new, name, &self.at, ample) {
                Ok(guard) => {
                    let reply = new.reply.unwrap_or_else(|| tuple.reversed());
                    self.stored = Some((*tuple, reply));
                    return Storing {
                        guard: Some(guard),
                        lost_to: None,
                        reason: Reason::None,
                    };
                }
                Err(InsertError::Exists) => {
                    if let Some(found) = self.find_again(name) {
                        return Storing::lost_race(found);
                    }
                    // It came and went between the two look-ups.
                    tries += 1;
                    if tries == MOST_TRIES {
                        return Storing::refused(Reason::NoMemory);
                    }
                }
                Err(InsertError::ReplyExists) if new.reply.is_none() => {
                    return Storing::refused(Reason::ReplyTaken);
                }
                Err(InsertError::ReplyExists) => {
                    // Another thread took the same reply tuple a moment ago.
                    tries += 1;
                    if tries == MOST_TRIES {
                        self.tally.add(Counter::NatUnsettled, 1);
                        return Storing::refused(Reason::NatExhausted);
                    }
                }
                Err(InsertError::Full) if !made_room && self.make_room() => made_room = true,
                Err(InsertError::Full) => return self.refused_by_full_table(name),
                Err(InsertError::NoMemory) => return Storing::refused(Reason::NoMemory),
            }
        }
    }

    /// The connection that another thread may have stored for this packet meanwhile.
    fn find_again(&self, name: &Name) -> Option<(Guard<'e>, Direction)> {
        let Name { key, side, hash } = name;
        let table = &self.engine.table;
        table.find(Probe::NONE, *hash, key, *side, &self.at)
    }

    /// There is no room in the table, unless the connection has its place there already.
    fn refused_by_full_table(&mut self, name: &Name) -> Storing<'e> {
        match self.find_again(name) {
            Some(found) => Storing::lost_race(found),
            None => {
                self.tally.add(Counter::TableFull, 1);
                Storing::refused(Reason::TableFull)
            }
        }
    }

    /// Chooses the translation of a new connection. On its own, so that nobody else makes tuples ready for it.
    #[inline(never)]
    fn bind(&mut self, new: &mut New, tuple: &Tuple, nat: &Nat) -> Result<(), Reason> {
        if nat.family.is_some_and(|family| family != tuple.family) {
            return Err(Reason::NatFamily);
        }
        let occupied = Occupied::new(&self.engine.table, tuple.zone, self.at.now);
        match self.engine.translations.choose(tuple, nat, &occupied) {
            Outcome::Untouched => Ok(()),
            Outcome::Chosen(binding) => {
                new.reply = (binding.reply != tuple.reversed()).then_some(binding.reply);
                new.flags.set(Flags::SOURCE_NAT, binding.kind.source());
                new.flags
                    .set(Flags::DESTINATION_NAT, binding.kind.destination());
                Ok(())
            }
            Outcome::Exhausted => {
                self.tally.add(Counter::NatExhausted, 1);
                Err(Reason::NatExhausted)
            }
            Outcome::Unsettled => {
                self.tally.add(Counter::NatUnsettled, 1);
                Err(Reason::NatExhausted)
            }
        }
    }

    /// The verdict of a packet that may open a connection, which was not stored. When a helper
    /// expected it, it shows its parent's mark, label and tuple.
    fn not_stored(&mut self, reason: Reason, expectation: Option<&Expectation>) -> Judged<'e> {
        self.expected = expectation.map(|expectation| expectation.parent);
        Judged {
            state: state::NEW | if expectation.is_some() { state::REL } else { 0 },
            reason,
            connection: None,
        }
    }

    /// Tries to make room in a full table: first what is flushed already, then, in the profiles that
    /// do so, the oldest of some connections that never saw a reply.
    #[cold]
    pub(super) fn make_room(&mut self) -> bool {
        if self.engine.table.zones().flush_pending() {
            // What is held by a provider is left to the sweep: nobody is asked on the way of a packet.
            let mut left = Vec::new();
            let engine = self.engine;
            let removed = engine
                .sweep_some(self.at.now, RECLAIM, &mut self.dispatch, &mut left)
                .removed;
            self.tally.add(Counter::Removed, u64::from(removed));
            if removed > 0 {
                return true;
            }
        }
        self.inserts.tell();
        if self.switches.early_drop()
            && let Some(victim) = self.engine.table.victim()
        {
            let engine = self.engine;
            let why = Ending::EarlyDrop;
            engine.remove(victim, why, &mut self.dispatch, self.at.now);
            self.tally.add(Counter::EarlyDrop, 1);
            return true;
        }
        false
    }
}
