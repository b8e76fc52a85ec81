//! What happened to the connections, derived from what the engine says about each after each of its
//! packets.
//!
//! The engine is asked for a connection right after a packet of it was tracked; between two packets
//! a connection changes only by running out of time, and when that will be was said in the last
//! answer. So the events are exact and carry the exact time, without the engine being asked again:
//!
//! * an id that was not known: NEW; the connection that had the same key before: DESTROY;
//! * another state, status, mark, label or helper than before: UPDATE;
//! * the clock passes the moment at which it expires: DESTROY, at that moment.
//!
//! Only a full table that makes room by itself needs a look at all connections ([`Watch::vanished`]).

use crate::format::events::Kind;
use crate::format::state_name;
use ctoffload::clock::Time;
use ctoffload::engine::descriptor::ConnectionId;
use ctoffload::engine::listing::Connection;
use ctoffload::tuple::Key;
use std::collections::{BTreeMap, HashMap};

/// An event as it is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// When.
    pub at: Time,
    /// Number of the connection in the order of creation, from 1.
    pub number: u64,
    /// The connection afterwards, or as it was last.
    pub connection: Connection,
}

struct Live {
    number: u64,
    expires: Time,
    connection: Connection,
}

/// The connections that live, as they were seen last.
#[derive(Default)]
pub struct Watch {
    live: HashMap<ConnectionId, Live>,
    keys: HashMap<Key, ConnectionId>,
    due: BTreeMap<(Time, u64), ConnectionId>,
    created: u64,
}

impl Watch {
    /// Number of a connection that lives.
    #[must_use]
    pub fn number(&self, id: ConnectionId) -> Option<u64> {
        self.live.get(&id).map(|live| live.number)
    }

    /// Connections that live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Connections that expired until `now`, in the order in which they did.
    #[must_use]
    pub fn expired(&mut self, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((&(at, _), &id)) = self.due.first_key_value() {
            if at > now {
                break;
            }
            changes.extend(self.remove(id, at));
        }
        changes
    }

    /// A packet of this connection was tracked at `now`.
    #[must_use]
    pub fn seen(&mut self, connection: Connection, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        let id = connection.id;
        let expires = now.plus(connection.remaining);
        let number = if let Some(live) = self.live.get_mut(&id) {
            self.due.remove(&(live.expires, live.number));
            live.expires = expires;
            let before = std::mem::replace(&mut live.connection, connection);
            if differs(&before, &connection) {
                changes.push(Change {
                    kind: Kind::Update,
                    at: now,
                    number: live.number,
                    connection,
                });
            }
            live.number
        } else {
            for key in keys(&connection) {
                if let Some(old) = self.keys.get(&key).copied() {
                    changes.extend(self.remove(old, now));
                }
                self.keys.insert(key, id);
            }
            self.created += 1;
            let number = self.created;
            self.live.insert(
                id,
                Live {
                    number,
                    expires,
                    connection,
                },
            );
            changes.push(Change {
                kind: Kind::New,
                at: now,
                number,
                connection,
            });
            number
        };
        self.due.insert((expires, number), id);
        changes
    }

    /// Connections that are no longer there before their time, by the word of `exists`.
    #[must_use]
    pub fn vanished(&mut self, now: Time, exists: impl Fn(ConnectionId) -> bool) -> Vec<Change> {
        let mut gone: Vec<_> = self
            .live
            .iter()
            .filter(|(id, _)| !exists(**id))
            .map(|(id, l)| (l.number, *id))
            .collect();
        gone.sort_unstable();
        gone.into_iter()
            .filter_map(|(_, id)| self.remove(id, now))
            .collect()
    }

    fn remove(&mut self, id: ConnectionId, at: Time) -> Option<Change> {
        let live = self.live.remove(&id)?;
        self.due.remove(&(live.expires, live.number));
        for key in keys(&live.connection) {
            if self.keys.get(&key) == Some(&id) {
                self.keys.remove(&key);
            }
        }
        let connection = Connection {
            remaining: 0,
            ..live.connection
        };
        Some(Change {
            kind: Kind::Destroy,
            at,
            number: live.number,
            connection,
        })
    }
}

/// The keys under which packets find a connection: two when its addresses are translated.
fn keys(connection: &Connection) -> impl Iterator<Item = Key> + use<> {
    let original = connection.original.key().0;
    let reply = connection.reply.key().0;
    std::iter::once(original).chain((reply != original).then_some(reply))
}

fn differs(before: &Connection, after: &Connection) -> bool {
    state_name(before) != state_name(after)
        || (before.seen_reply, before.assured) != (after.seen_reply, after.assured)
        || (before.mark, before.label, before.helper) != (after.mark, after.label, after.helper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctoffload::engine::listing::ProtocolListing;
    use ctoffload::packet::{Family, proto};
    use ctoffload::tuple::{QueryKind, Tuple};

    fn connection(id: u64, sport: u16, remaining: u64) -> Connection {
        let original = Tuple {
            src: 1,
            dst: 2,
            sport,
            dport: 53,
            zone: 0,
            proto: proto::UDP,
            family: Family::V4,
            query: QueryKind::None,
            question: true,
        };
        Connection {
            id: ConnectionId(id),
            original,
            reply: original.reversed(),
            mark: 0,
            label: 0,
            remaining,
            created: Time::default(),
            seen_reply: false,
            assured: false,
            source_nat: false,
            destination_nat: false,
            flow: false,
            offloaded: false,
            parent: None,
            helper: None,
            timeout_policy: None,
            protocol: ProtocolListing::None,
            counters: None,
        }
    }

    fn kinds(changes: &[Change]) -> Vec<(Kind, u64, u64)> {
        changes
            .iter()
            .map(|c| (c.kind, c.number, c.at.as_millis()))
            .collect()
    }

    #[test]
    fn connections_expire_in_order_and_at_their_own_time() {
        let mut watch = Watch::default();
        let t = Time::from_millis;
        assert_eq!(
            kinds(&watch.seen(connection(10, 1, 500), t(0))),
            [(Kind::New, 1, 0)]
        );
        assert_eq!(
            kinds(&watch.seen(connection(11, 2, 100), t(0))),
            [(Kind::New, 2, 0)]
        );
        assert!(watch.expired(t(99)).is_empty());
        assert_eq!(
            kinds(&watch.expired(t(10_000))),
            [(Kind::Destroy, 2, 100), (Kind::Destroy, 1, 500)]
        );
        assert_eq!(watch.len(), 0);
    }

    #[test]
    fn a_packet_postpones_the_expiry_and_updates_only_what_changed() {
        let mut watch = Watch::default();
        let t = Time::from_millis;
        let _ = watch.seen(connection(10, 1, 100), t(0));
        assert!(watch.seen(connection(10, 1, 100), t(50)).is_empty());
        assert!(watch.expired(t(149)).is_empty());
        let replied = Connection {
            seen_reply: true,
            ..connection(10, 1, 100)
        };
        assert_eq!(
            kinds(&watch.seen(replied, t(149))),
            [(Kind::Update, 1, 149)]
        );
    }

    #[test]
    fn a_new_life_under_the_same_key_destroys_the_old_one_first() {
        let mut watch = Watch::default();
        let t = Time::from_millis;
        let _ = watch.seen(connection(10, 1, 100), t(0));
        assert_eq!(
            kinds(&watch.seen(connection(12, 1, 100), t(7))),
            [(Kind::Destroy, 1, 7), (Kind::New, 2, 7)]
        );
        assert_eq!(watch.number(ConnectionId(12)), Some(2));
        assert_eq!(watch.number(ConnectionId(10)), None);
    }

    #[test]
    fn what_the_table_gave_up_is_destroyed_in_order_of_creation() {
        let mut watch = Watch::default();
        for (id, sport) in [(10, 1), (11, 2), (12, 3)] {
            let _ = watch.seen(connection(id, sport, 100), Time::default());
        }
        let gone = watch.vanished(Time::from_millis(5), |id| id == ConnectionId(11));
        assert_eq!(kinds(&gone), [(Kind::Destroy, 1, 5), (Kind::Destroy, 3, 5)]);
    }
}
