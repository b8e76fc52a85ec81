//! The tracker: one map, everything else plain. The rules are those of Open vSwitch's
//! `process_one` and `conn_not_found` (lib/conntrack.c).

use std::collections::BTreeMap;

use super::tcp::{Answer, Segment, Tcp};
use crate::engine::action::Action;
use crate::engine::descriptor::state;

/// An endpoint pair as one packet carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tuple {
    pub(super) zone: u16,
    pub(super) v6: bool,
    pub(super) proto: u8,
    pub(super) src: u8,
    pub(super) dst: u8,
    pub(super) sport: u16,
    pub(super) dport: u16,
    /// An echo request, or not an echo at all.
    pub(super) question: bool,
}

impl Tuple {
    pub(super) fn reversed(self) -> Tuple {
        Tuple {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            question: self.question != self.is_echo(),
            ..self
        }
    }

    fn is_echo(self) -> bool {
        matches!(self.proto, 1 | 58)
    }
}

/// What a packet carries besides its tuple.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Tcp(Segment),
    /// UDP, and protocols without a tracker of their own.
    Plain,
    Echo,
    /// An ICMP error; the tuple is that of the packet it quotes.
    Error,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Its zone is the action's.
    pub(super) tuple: Tuple,
    pub(super) content: Content,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Tcp(Tcp),
    /// Packets of the originator alone: one, several; or both ways.
    Plain(u8),
    Echo(bool),
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    number: u64,
    state: State,
    expires: u64,
    mark: u32,
    label: u128,
    seen_reply: bool,
}

/// A verdict, and what a second pass needs of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: u8,
    pub(super) zone: u16,
    pub(super) mark: u32,
    pub(super) label: u128,
    /// Number of the connection, from 1; 0: none.
    pub(super) connection: u64,
}

/// A connection as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) original: Tuple,
    pub(super) remaining: u64,
    pub(super) mark: u32,
    pub(super) label: u128,
    pub(super) seen_reply: bool,
}

/// How often something happened that is worth happening.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(super) established_acks: u64,
    pub(super) answered: u64,
    pub(super) invalid: u64,
    pub(super) cached: u64,
    pub(super) related: u64,
    pub(super) forced: u64,
    pub(super) again: u64,
}

/// See the module's description.
pub(super) struct Model {
    connections: BTreeMap<Tuple, Connection>,
    numbers: u64,
    sequence_check: bool,
    pub(super) seen: Seen,
}

impl Model {
    pub(super) fn new(sequence_check: bool) -> Model {
        Model {
            connections: BTreeMap::new(),
            numbers: 0,
            sequence_check,
            seen: Seen::default(),
        }
    }

    /// The original tuple of the connection that a packet belongs to, and whether it is a reply.
    fn find(&self, tuple: &Tuple, now: u64) -> Option<(Tuple, bool)> {
        let lives = |key: &Tuple| self.connections.get(key).is_some_and(|c| c.expires > now);
        let reversed = tuple.reversed();
        if lives(tuple) {
            Some((*tuple, false))
        } else if lives(&reversed) {
            Some((reversed, true))
        } else {
            None
        }
    }

    /// A packet that was given `before` by its last pass.
    pub(super) fn track(
        &mut self,
        packet: &Packet,
        action: &Action,
        before: &Verdict,
        now: u64,
    ) -> Verdict {
        let tuple = Tuple {
            zone: action.zone,
            ..packet.tuple
        };
        if before.connection != 0 && before.zone == action.zone && !action.force {
            let known =
                |(_, c): &(&Tuple, &Connection)| c.number == before.connection && c.expires > now;
            if let Some((&key, _)) = self.connections.iter().find(known) {
                self.seen.cached += 1;
                return self.verdict(before.state, Some(key), action);
            }
        }
        let bits = if before.zone == action.zone {
            before.state
        } else {
            0
        };
        let is_error = matches!(packet.content, Content::Error);
        // The key of an error is that of an answer to what it quotes.
        let key = if is_error { tuple.reversed() } else { tuple };
        let mut found = self.find(&key, now);
        if let Some((original, true)) = found
            && action.force
        {
            self.seen.forced += 1;
            self.connections.remove(&original);
            found = None;
        }
        let Some((original, reply)) = found else {
            if is_error {
                return self.verdict(state::INV, None, action);
            }
            return self.create(packet, &tuple, action, now);
        };
        let reply_bit = if reply { state::RPL } else { 0 };
        if is_error {
            self.seen.related += 1;
            return self.verdict(bits | state::REL | reply_bit, Some(original), action);
        }
        let check = self.sequence_check;
        let connection = self.connections.get_mut(&original).expect("it was found");
        let answer = match (&mut connection.state, &packet.content) {
            (State::Tcp(tcp), Content::Tcp(segment)) => {
                let straight = tcp.is_established();
                let answer = tcp.update(segment, reply, check);
                if straight && tcp.is_established() && matches!(answer, Answer::Valid(_)) {
                    self.seen.established_acks += 1;
                }
                answer
            }
            (State::Plain(phase), _) => {
                *phase = match (*phase, reply) {
                    (2, _) | (_, true) => 2,
                    _ => 1,
                };
                if *phase == 2 {
                    self.seen.answered += 1;
                    Answer::Valid(Some(30))
                } else {
                    Answer::StillNew(60)
                }
            }
            (State::Echo(answered), _) => {
                *answered |= reply;
                if *answered {
                    Answer::Valid(Some(30))
                } else {
                    Answer::StillNew(60)
                }
            }
            _ => unreachable!("a tuple has one protocol"),
        };
        let bits = match answer {
            Answer::Valid(wait) => {
                if let Some(seconds) = wait {
                    connection.expires = now + 1000 * seconds;
                }
                connection.seen_reply |= reply;
                (bits | state::EST | reply_bit) & !state::NEW
            }
            Answer::StillNew(seconds) => {
                connection.expires = now + 1000 * seconds;
                connection.seen_reply |= reply;
                bits | state::NEW
            }
            Answer::Invalid => {
                self.seen.invalid += 1;
                state::INV
            }
            Answer::Over => {
                self.seen.again += 1;
                self.connections.remove(&original);
                return self.create(packet, &tuple, action, now);
            }
        };
        self.verdict(bits, Some(original), action)
    }

    fn create(&mut self, packet: &Packet, tuple: &Tuple, action: &Action, now: u64) -> Verdict {
        let (state, seconds) = match &packet.content {
            Content::Tcp(segment) => match Tcp::open(segment) {
                Some(tcp) => (State::Tcp(tcp), 30),
                None => return self.verdict(state::INV, None, action),
            },
            Content::Plain => (State::Plain(0), 60),
            Content::Echo if tuple.question => (State::Echo(false), 60),
            Content::Echo | Content::Error => return self.verdict(state::INV, None, action),
        };
        if !(action.commit || action.force) {
            return self.verdict(state::NEW, None, action);
        }
        self.numbers += 1;
        let connection = Connection {
            number: self.numbers,
            state,
            expires: now + 1000 * seconds,
            mark: 0,
            label: 0,
            seen_reply: false,
        };
        // What expired long ago may still stand there.
        self.connections.remove(&tuple.reversed());
        self.connections.insert(*tuple, connection);
        self.verdict(state::NEW, Some(*tuple), action)
    }

    /// Mark and label are set whenever there is a connection.
    fn verdict(&mut self, bits: u8, key: Option<Tuple>, action: &Action) -> Verdict {
        let mut verdict = Verdict {
            state: bits | state::TRK,
            zone: action.zone,
            ..Verdict::default()
        };
        if let Some(connection) = key.and_then(|key| self.connections.get_mut(&key)) {
            if let Some(mark) = action.mark {
                connection.mark = mark.value | (connection.mark & !mark.mask);
            }
            if let Some(label) = action.label {
                connection.label = label.value | (connection.label & !label.mask);
            }
            verdict.mark = connection.mark;
            verdict.label = connection.label;
            verdict.connection = connection.number;
        }
        verdict
    }

    pub(super) fn flush_all(&mut self) {
        self.connections.clear();
    }

    pub(super) fn flush_zone(&mut self, zone: u16) {
        self.connections.retain(|tuple, _| tuple.zone != zone);
    }

    /// Whether there was such a connection.
    pub(super) fn flush_tuple(&mut self, tuple: &Tuple, now: u64) -> bool {
        let found = self.find(tuple, now);
        if let Some((original, _)) = found {
            self.connections.remove(&original);
        }
        found.is_some()
    }

    pub(super) fn list(&self, now: u64) -> Vec<Listed> {
        let lives = |(_, c): &(&Tuple, &Connection)| c.expires > now;
        let listed = |(tuple, c): (&Tuple, &Connection)| Listed {
            original: *tuple,
            remaining: c.expires - now,
            mark: c.mark,
            label: c.label,
            seen_reply: c.seen_reply,
        };
        self.connections.iter().filter(lives).map(listed).collect()
    }
}
