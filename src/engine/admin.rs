//! The control plane's hands on the table: one connection, a listing, a flush.

use super::action::Helper;
use super::descriptor::ConnectionId;
use super::events::Ending;
use super::filter::{Filter, TupleFilter};
use super::listing::{Connection, Counters, ProtocolListing};
use super::{Cursor, Engine, Flush};
use crate::alg::expect::Expectation;
use crate::clock::Time;
use crate::error::Error;
use crate::offload::aging;
use crate::offload::dispatch::Dispatch;
use crate::table::{At, Flags, Guard, Names, Probe};
use crate::track;
use crate::tuple::{Tuple, Zone};

impl Engine {
    /// The next connection of a dump; `None` at its end. A connection that lives throughout the
    /// dump is listed exactly once, whatever happens to others meanwhile.
    ///
    /// A dump of one zone is quick: connections of others are passed over by two bytes each, and an
    /// empty zone is known by its count.
    pub fn next(&self, cursor: &mut Cursor, now: Time) -> Option<Connection> {
        self.next_named(cursor, &Filter::default(), now)
    }

    /// The next connection of a dump whose tuples are meant.
    fn next_named(&self, cursor: &mut Cursor, filter: &Filter, now: Time) -> Option<Connection> {
        let zone = cursor.zone;
        // Who was counted before the dump began is counted as long as it lives.
        if zone.is_some_and(|zone| self.limits.count(zone, self.table.zones().epoch(zone)) == 0) {
            return None;
        }
        let of_original = zone.is_some() || filter.original != TupleFilter::default();
        let of_reply = filter.reply != TupleFilter::default();
        let suits = |names: &Names<'_>| {
            let original_suits = |original: &Tuple| {
                zone.is_none_or(|zone| zone == original.zone) && filter.original.matches(original)
            };
            (!of_original || original_suits(&names.original()))
                && (!of_reply || filter.reply.matches(&names.reply()))
        };
        let wanted = filter.wanted(zone);
        loop {
            let guard = self.table.next_where(&mut cursor.walk, &wanted, suits)?;
            if guard.is_visible(&self.at(guard.zone(), now)) {
                return Some(self.listed(guard, now));
            }
        }
    }

    /// The connection with this id, if it still lives.
    #[must_use]
    pub fn connection(&self, id: ConnectionId, now: Time) -> Option<Connection> {
        let guard = self.table.get(id)?;
        let visible = guard.is_visible(&self.at(guard.zone(), now));
        visible.then(|| self.listed(guard, now))
    }

    /// The connection to which a packet with `tuple` belongs, in either direction.
    #[must_use]
    pub fn lookup(&self, tuple: &Tuple, now: Time) -> Option<Connection> {
        self.find(tuple, now).map(|guard| self.listed(guard, now))
    }

    /// The connections that helpers expect.
    #[must_use]
    pub fn expected(&self, now: Time) -> Vec<Expectation> {
        let mut expected = Vec::new();
        self.expectations.each(|expectation| {
            if expectation.expires > now {
                expected.push(*expectation);
            }
        });
        expected
    }

    /// Flushes connections; they are invisible when this returns.
    ///
    /// A zone is flushed in constant time, whatever it holds; its records are reclaimed by the sweep
    /// and count as connections until then.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no connection has the tuple.
    pub fn flush(&self, what: Flush, now: Time) -> Result<(), Error> {
        match what {
            Flush::All => {
                self.table.zones().flush_all();
                self.offload.flush(None, self, now);
            }
            Flush::Zone(zone) => {
                self.table.zones().flush(zone);
                self.offload.flush(Some(zone), self, now);
            }
            Flush::Tuple(tuple) => {
                let guard = self
                    .find(&tuple, now)
                    .ok_or_else(|| Error::NotFound("no connection has this tuple".into()))?;
                self.remove_now(guard, now);
            }
        }
        Ok(())
    }

    /// The next connection of a dump that a filter means; `None` at its end. One that names a zone makes
    /// it a dump of that zone.
    ///
    /// Where it names a zone or a whole address of either tuple, only records whose summary fits are
    /// opened: all of the zone, and one in 256 with other addresses. Any other filter, also one of a
    /// prefix of an address, costs a look at one line of each connection.
    pub fn next_matching(
        &self,
        cursor: &mut Cursor,
        filter: &Filter,
        now: Time,
    ) -> Option<Connection> {
        let mut within = Cursor {
            zone: cursor.zone.or(filter.zone),
            ..*cursor
        };
        let found = std::iter::from_fn(|| self.next_named(&mut within, filter, now))
            .find(|connection| filter.matches(connection));
        cursor.walk = within.walk;
        found
    }

    /// Removes the connections that a filter means, and tells how many there were. One that names a
    /// whole tuple and zone is looked up; any other is looked for among all connections, as
    /// [`Engine::next_matching`] says.
    pub fn flush_matching(&self, filter: &Filter, now: Time) -> u32 {
        if let Some(tuple) = filter.exact() {
            return self
                .lookup(&tuple, now)
                .map_or(0, |found| self.flush_one(&found, filter, now));
        }
        let mut cursor = Cursor::new(filter.zone);
        let mut removed = 0;
        while let Some(connection) = self.next_matching(&mut cursor, filter, now) {
            removed += self.flush_one(&connection, filter, now);
        }
        removed
    }

    /// Removes a connection that was listed, unless it has changed or ended since.
    fn flush_one(&self, connection: &Connection, filter: &Filter, now: Time) -> u32 {
        let Some(guard) = self.table.get(connection.id) else {
            return 0;
        };
        if !filter.matches(&self.listing(&guard, now)) {
            return 0;
        }
        self.remove_now(guard, now);
        1
    }

    /// Removes a connection and tells the providers that have it.
    fn remove_now(&self, guard: Guard<'_>, now: Time) {
        let mut dispatch = Dispatch::new(&self.offload);
        self.remove(guard, Ending::Flushed, &mut dispatch, now);
        dispatch.deliver(self);
    }

    fn find(&self, tuple: &Tuple, now: Time) -> Option<Guard<'_>> {
        let (key, side) = tuple.key();
        let hash = self.table.hash(&key);
        let at = self.at(tuple.zone, now);
        self.table
            .find(Probe::NONE, hash, &key, side, &at)
            .map(|(guard, _)| guard)
    }

    pub(super) fn at(&self, zone: Zone, now: Time) -> At {
        At {
            now,
            epoch: self.table.zones().epoch(zone),
        }
    }

    fn listed(&self, guard: Guard<'_>, now: Time) -> Connection {
        let mut connection = self.listing(&guard, now);
        let policy = guard.policy();
        if guard.flags().contains(Flags::RELATED) {
            let parent = guard.parent();
            drop(guard);
            connection.parent = self.parent_tuple(parent, connection.id);
        } else {
            drop(guard);
        }
        connection.timeout_policy = self.policy_number(policy);
        connection
    }

    /// The number of the policy with this place, for listings: that of the instance is none.
    pub(super) fn policy_number(&self, place: u16) -> Option<u32> {
        if place == 0 {
            return None;
        }
        self.timeouts.number(place)
    }

    /// A connection without what other rooms know of it.
    pub(super) fn listing(&self, guard: &Guard<'_>, now: Time) -> Connection {
        let flags = guard.flags();
        let original = guard.original();
        let state = self.tracked_state(guard);
        let machine = self.machine();
        Connection {
            id: guard.id(),
            original,
            reply: guard.reply(),
            mark: guard.mark(),
            label: if flags.contains(Flags::LABEL) {
                guard.label()
            } else {
                0
            },
            remaining: self.remaining(guard, now),
            created: guard.created(),
            seen_reply: flags.contains(Flags::SEEN_REPLY),
            assured: flags.contains(Flags::ASSURED),
            source_nat: flags.contains(Flags::SOURCE_NAT),
            destination_nat: flags.contains(Flags::DESTINATION_NAT),
            flow: flags.contains(Flags::FLOW),
            offloaded: flags.contains(Flags::HELD) && aging::is_held(guard.offload()),
            parent: None,
            helper: Helper::from_number(guard.helper()),
            timeout_policy: None,
            protocol: ProtocolListing::of(&track::listing(&state, original.proto, machine)),
            counters: self.settings.read().accounting().then(|| {
                guard
                    .counters()
                    .map(|(packets, bytes)| Counters { packets, bytes })
            }),
        }
    }
}
