//! Which connections get the places of a device that has fewer than there are connections.
//!
//! A connection for which there was no place, in the device or in the queue to it, is put off. From
//! time to time ([`INTERVAL`]) the connections are gone through, in steps of the sweep's budget. At the
//! end of such a round free places go to the connections with the highest rates; and where a device is
//! full, a connection that was put off takes the place of one that is carried, if it has more than
//! twice its rate. That factor, and the rule that who came in stays for a whole round at least, keep
//! entries from flapping. Few places change in one round.
//!
//! A rate is what the connection's packet counter gained since the round before. Without accounting
//! nobody knows rates: then free places are filled as they come, and nobody is driven out.

use super::connections::Connections;
use super::holds::{Noted, Position};
use super::registry::{Registered, Registry};
use super::serve;
use super::state::{Why, Word};
use crate::clock::Time;
use crate::sync::spin::Spin;
use crate::sync::{Ordering, StdArc};
use crate::table::Guard;
use crate::tuple::ConnectionId;

/// Milliseconds from the beginning of one round to that of the next.
pub const INTERVAL: u64 = 1_000;
/// How many times the rate of a carried connection another must have to take its place.
const FACTOR: u32 = 2;
/// Candidates that a round keeps for each provider.
const CANDIDATES: usize = 1024;
/// The part of a device's places that may change in one round: one of so many.
const SHARE: usize = 16;
/// Connections asked about at a time.
const CHUNK: usize = 64;
/// Where packet counts of a sample wrap.
const WRAP: u32 = (1 << 24) - 1;

/// A connection that wants a place, and packets per round.
type Candidate = (u32, ConnectionId);

#[derive(Default)]
struct Wanted {
    /// Which registration.
    number: u32,
    candidates: Vec<Candidate>,
}

/// A round that is under way.
#[derive(Default)]
pub(super) struct Round {
    position: u32,
    under_way: bool,
    began: Time,
    wanted: Vec<Wanted>,
}

pub(super) type Rounds = Spin<Round>;

/// The packets that a connection gained since it was looked at last.
fn gained(guard: &mut Guard<'_>) -> u32 {
    let [(original, _), (reply, _)] = guard.counters();
    let packets = original.wrapping_add(reply) as u32 & WRAP;
    let gained = packets.wrapping_sub(guard.sample()) & WRAP;
    guard.set_sample(packets);
    gained
}

impl Registry {
    /// Goes on with the present round, or begins one if there is a reason and it is time. Looks at
    /// `budget` connections at most, and returns at once when another thread is at it.
    pub fn admit(&self, connections: &dyn Connections, now: Time, budget: u32) {
        let list = self.load();
        if !list.on {
            return;
        }
        let Some(mut round) = self.rounds.try_lock() else {
            return;
        };
        if !round.under_way {
            let unmet = list
                .providers
                .iter()
                .any(|entry| entry.unmet.load(Ordering::Relaxed));
            if !unmet || now.since(round.began) < INTERVAL {
                return;
            }
            let wanted = |entry: &StdArc<Registered>| {
                entry.unmet.store(false, Ordering::Relaxed);
                Wanted {
                    number: entry.number,
                    candidates: Vec::new(),
                }
            };
            *round = Round {
                position: 0,
                under_way: true,
                began: now,
                wanted: list.providers.iter().map(wanted).collect(),
            };
        }
        for _ in 0..budget {
            let Some(mut guard) = connections.next(&mut round.position) else {
                round.under_way = false;
                break;
            };
            if !connections.is_current(&guard, now) {
                continue;
            }
            let word = Word(guard.offload());
            if word.is_held() {
                // Looked at when its provider has told what it carried.
                continue;
            }
            let rate = gained(&mut guard);
            let id = guard.id();
            drop(guard);
            for entry in &list.providers {
                if word.get(entry.slot).is_put_off()
                    && let Some(wanted) = round.wanted.iter_mut().find(|w| w.number == entry.number)
                {
                    remember(&mut wanted.candidates, (rate, id));
                }
            }
        }
        if round.under_way {
            return;
        }
        let mut wanted = std::mem::take(&mut round.wanted);
        let lasted = now.since(round.began);
        drop(round);
        for entry in &list.providers {
            if let Some(wanted) = wanted.iter_mut().find(|w| w.number == entry.number) {
                let candidates = std::mem::take(&mut wanted.candidates);
                settle(entry, candidates, connections, now, lasted);
            }
        }
    }
}

/// Keeps the best candidates.
fn remember(candidates: &mut Vec<Candidate>, candidate: Candidate) {
    candidates.push(candidate);
    if candidates.len() == 2 * CANDIDATES {
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.truncate(CANDIDATES);
    }
}

/// The end of a round for one provider.
fn settle(
    entry: &StdArc<Registered>,
    mut candidates: Vec<Candidate>,
    connections: &dyn Connections,
    now: Time,
    lasted: u64,
) {
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    let mut candidates = candidates.into_iter();
    let capacity = entry.preferences.capacity as usize;
    let free = match capacity {
        0 => usize::MAX,
        places => places.saturating_sub(entry.holds.len()),
    };
    for (_, id) in candidates.by_ref().take(free.min(CANDIDATES)) {
        offer(entry, id, connections, now);
    }
    let rest: Vec<Candidate> = candidates.collect();
    if rest.is_empty() {
        return;
    }
    entry.unmet.store(true, Ordering::Relaxed);
    if capacity == 0 || rest[0].0 == 0 {
        return;
    }
    let stay = INTERVAL.max(lasted);
    let held = rates(entry, connections, now, stay);
    let changes = capacity.div_ceil(SHARE);
    for ((rate, id), (carried, loser)) in rest.into_iter().zip(held).take(changes) {
        if rate <= carried.saturating_mul(FACTOR) {
            break;
        }
        serve::recall(entry, &[loser], Why::Capacity, connections, now);
        offer(entry, id, connections, now);
    }
}

/// What the provider carries, slowest first, without those that came a short time ago. Counters are
/// brought up to date before they are looked at.
fn rates(
    entry: &StdArc<Registered>,
    connections: &dyn Connections,
    now: Time,
    stay: u64,
) -> Vec<Candidate> {
    let mut rates = Vec::new();
    let mut position = Position::default();
    while !position.is_at_end() {
        let ids = entry.holds.walk(&mut position, CHUNK, &|_| true);
        serve::update(entry, &ids, connections, now, &mut |_, _| {});
        for id in ids {
            let settled = entry
                .holds
                .held(id)
                .is_some_and(|held| now.since(held.since) > stay);
            if settled && let Some(mut guard) = connections.get(id) {
                rates.push((gained(&mut guard), id));
            }
        }
    }
    rates.sort_unstable();
    rates
}

/// Offers a connection that was put off.
fn offer(entry: &StdArc<Registered>, id: ConnectionId, connections: &dyn Connections, now: Time) {
    {
        let Some(mut guard) = connections.get(id) else {
            return;
        };
        let byte = Word(guard.offload()).get(entry.slot);
        if connections.tracked(&guard).ending {
            return;
        }
        match byte.offer() {
            Some(offered) => serve::put(&mut guard, entry.slot, offered),
            None => return,
        }
    }
    if serve::offer(entry, id, now, connections) == Noted::Serve {
        serve::serve(entry, [id], connections);
    }
}
