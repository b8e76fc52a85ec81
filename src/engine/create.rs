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
use super::statistics::Counter;
use crate::packet::Facts;
use crate::reason::Reason;
use crate::table::{Flags, Guard, InsertError, New, Probe};
use crate::track;
use crate::tuple::{Direction, Tuple};

/// Records that a full table looks through for flushed or expired ones before it refuses.
const RECLAIM: u32 = 256;

pub(super) enum Created<'e> {
    /// The verdict, with the new connection if it was stored.
    Done(Judged<'e>),
    /// Another thread was first.
    LostRace(Guard<'e>, Direction),
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
    ) -> Created<'e> {
        let opened = match track::open(facts, bytes, &self.track) {
            Ok(opened) => opened,
            Err(reason) => {
                self.tally.add(Counter::Invalid, 1);
                self.engine.statistics.reason(reason);
                return Created::Done(Judged::invalid(reason));
            }
        };
        self.tally.add(Counter::New, 1);
        if !(self.action.commit || self.action.force) {
            return Created::Done(not_stored(Reason::NotCommitted));
        }
        let (key, side) = tuple.key();
        let hash = self.engine.table.hash(&key);
        let policy = self.engine.policy_index(self.action.timeout_policy);
        let mark = self.action.mark.map_or(0, |mark| mark.value);
        let label = self.action.label.map_or(0, |label| label.value);
        let mut flags = Flags::default();
        if label != 0 {
            flags.insert(Flags::LABEL);
        }
        let new = New {
            original: *tuple,
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
            parent: ConnectionId::NONE,
            helper: 0,
            in_port,
            extension: track::uses_extension(self.track.machine, facts.proto)
                .then_some(opened.state.extension),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.engine.table.insert(&new, hash, &self.at) {
                Ok(guard) => {
                    self.tally.add(Counter::Committed, 1);
                    if self.switches.accounting {
                        guard.count(Direction::Original, facts.ip_len());
                    }
                    return Created::Done(Judged {
                        state: state::NEW,
                        reason: Reason::None,
                        connection: Some((guard, Direction::Original)),
                    });
                }
                Err(InsertError::Exists) => {
                    let table = &self.engine.table;
                    match table.find(Probe::NONE, hash, &key, side, &self.at) {
                        Some((guard, direction)) => return Created::LostRace(guard, direction),
                        // It came and went between the two look-ups.
                        None if tries < 4 => {}
                        None => return Created::Done(not_stored(Reason::NoMemory)),
                    }
                }
                Err(InsertError::Full) if tries == 1 && self.make_room() => {}
                Err(InsertError::Full) => {
                    self.tally.add(Counter::TableFull, 1);
                    self.engine.statistics.reason(Reason::TableFull);
                    return Created::Done(not_stored(Reason::TableFull));
                }
                Err(InsertError::ReplyExists) => {
                    return Created::Done(not_stored(Reason::NatExhausted));
                }
                Err(InsertError::NoMemory) => {
                    self.engine.statistics.reason(Reason::NoMemory);
                    return Created::Done(not_stored(Reason::NoMemory));
                }
            }
        }
    }

    /// Tries to make room in a full table: first what is flushed already, then, in the profiles that
    /// do so, the oldest of some connections that never saw a reply.
    #[cold]
    fn make_room(&mut self) -> bool {
        if self.engine.table.zones().flush_pending() {
            let removed = self.engine.sweep_some(self.at.now, RECLAIM).removed;
            self.tally.add(Counter::Removed, u64::from(removed));
            if removed > 0 {
                return true;
            }
        }
        if self.switches.early_drop && self.engine.table.evict().is_some() {
            self.tally.add(Counter::EarlyDrop, 1);
            return true;
        }
        false
    }
}

fn not_stored<'e>(reason: Reason) -> Judged<'e> {
    Judged {
        state: state::NEW,
        reason,
        connection: None,
    }
}
