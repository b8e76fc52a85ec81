//! A merged flow as the cache has it: what it matches, in few words; what the cache does to a packet;
//! what is left for the datapath; and how often it was used.
//!
//! The cache does what the tracker would have done: it translates, and it writes the connection's
//! metadata. It does so before anything else, so a translation has to be movable to the front of the
//! actions ([`divide`]): nothing before it may show the packet to anybody.

use std::any::Any;
use std::mem::offset_of;

use super::action::Action;
use super::flow::{Field, Key, Match, WORDS};
use super::fold::Merged;
use crate::sync::line::LINE;
use crate::sync::{AtomicU64, Ordering, StdArc};
use crate::tuple::{ConnectionId, Direction, Zone};
use smallvec::SmallVec;

/// A connection that the packets of a flow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The connection.
    pub id: ConnectionId,
    /// Direction of the packets.
    pub direction: Direction,
    /// The zone.
    pub zone: Zone,
}

impl Passing {
    const NONE: Passing = Passing {
        id: ConnectionId::NONE,
        direction: Direction::Original,
        zone: 0,
    };
}

/// What the tracker leaves with a packet at the end of its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// State bits; zero: it was never tracked.
    pub state: u8,
    /// Zone.
    pub zone: Zone,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// New source address.
    pub src: Option<u128>,
    /// New destination address.
    pub dst: Option<u128>,
    /// New source port.
    pub sport: Option<u16>,
    /// New destination port.
    pub dport: Option<u16>,
}

impl Metadata {
    /// The packet is translated.
    #[must_use]
    pub const fn translates(&self) -> bool {
        self.src.is_some() || self.dst.is_some() || self.sport.is_some() || self.dport.is_some()
    }

    fn brief(&self) -> Option<Brief> {
        (!self.translates() && self.label == 0).then_some(Brief {
            state: self.state,
            zone: self.zone,
            mark: self.mark,
        })
    }

    fn set(&mut self, field: Field, value: u128) {
        match field {
            Field::CtState => self.state = value as u8,
            Field::CtZone => self.zone = value as Zone,
            Field::CtMark => self.mark = value as u32,
            Field::CtLabel => self.label = value,
            Field::IpSrc => self.src = Some(value),
            Field::IpDst => self.dst = Some(value),
            Field::PortSrc => self.sport = Some(value as u16),
            Field::PortDst => self.dport = Some(value as u16),
            _ => {}
        }
    }
}

const fn is_metadata(field: Field) -> bool {
    matches!(
        field,
        Field::CtState | Field::CtZone | Field::CtMark | Field::CtLabel
    )
}

/// Divides the actions of a merged flow into what the cache does at once and what is left for the
/// datapath. `None` when the packet is shown to somebody before its translation.
#[must_use]
pub fn divide(actions: &[Action]) -> Option<(Metadata, Vec<Action>)> {
    let mut metadata = Metadata::default();
    let mut rest: Vec<Action> = Vec::new();
    for action in actions {
        match *action {
            Action::Tracked(field, value) => {
                metadata.set(field, value);
                let shown =
                    |action: &Action| matches!(action, Action::Output(_) | Action::TunnelPush(_));
                if !is_metadata(field) && rest.iter().any(shown) {
                    return None;
                }
                // What was set before is overwritten.
                rest.retain(|before| !matches!(before, Action::Set(set, ..) if *set == field));
            }
            other => rest.push(other),
        }
    }
    Some((metadata, rest))
}

/// Packets and bytes, and when the last of them came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the first byte of the frame on.
    pub bytes: u64,
    /// Time of the last packet in milliseconds; 0: none came.
    pub last: u64,
}

impl Used {
    /// Both.
    #[must_use]
    pub fn and(self, other: Used) -> Used {
        Used {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            last: self.last.max(other.last),
        }
    }

    /// The same packets, each of them by so many bytes longer.
    #[must_use]
    pub fn longer(self, bytes: i32) -> Used {
        Used {
            bytes: (self.bytes as i64).wrapping_add(self.packets as i64 * i64::from(bytes)) as u64,
            ..self
        }
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Used) -> Used {
        Used {
            packets: self.packets.wrapping_sub(before.packets),
            bytes: self.bytes.wrapping_sub(before.bytes),
            last: self.last,
        }
    }
}

/// What a merged flow is, for everybody who is told of it.
#[derive(Clone)]
pub struct Made {
    /// Its number: no two flows of an instance have the same.
    pub number: u64,
    /// The connections of its packets, in the order in which the tracker was asked.
    pub passings: SmallVec<[Passing; 2]>,
    /// What the cache does.
    pub metadata: Metadata,
    /// What is left for the datapath, in order.
    pub rest: StdArc<Vec<Action>>,
    /// The whole flow: translations and metadata among the actions.
    pub merged: StdArc<Merged>,
    /// What the boundary to the datapath's language made of it.
    pub rendered: StdArc<dyn Any + Send + Sync>,
}

impl Made {
    /// A flow that nobody has rendered.
    #[must_use]
    pub fn new(
        number: u64,
        merged: Merged,
        divided: (Metadata, Vec<Action>),
        passings: &[Passing],
    ) -> Made {
        let (metadata, rest) = divided;
        Made {
            number,
            passings: SmallVec::from_slice(passings),
            metadata,
            rest: StdArc::new(rest),
            merged: StdArc::new(merged),
            rendered: StdArc::new(()),
        }
    }
}

/// Connections of a flow whose passings lie beside its match.
const NEAR: usize = 4;

/// The line of a flow that every packet reads and writes.
#[repr(align(64))]
struct Head {
    packets: AtomicU64,
    bytes: AtomicU64,
    last: AtomicU64,
    /// The words of the key that it matches.
    which: [u8; WORDS],
    /// How many those are.
    count: u8,
    /// How many passings there are, if they are near.
    near: Option<u8>,
    /// What packets are told, if it is not much.
    brief: Option<Brief>,
}

/// What the tracker leaves with a packet that it does not translate and that has no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// State bits.
    pub state: u8,
    /// Zone.
    pub zone: Zone,
    /// Mark.
    pub mark: u32,
}

/// Mask and value of each word that a flow matches.
#[repr(align(64))]
struct Pairs([(u64, u64); WORDS]);

/// The passings of a flow, where they are few.
#[repr(align(64))]
struct Near([Passing; NEAR]);

/// A merged flow in the cache.
///
/// What packets look at lies in few lines ([`Flow::LINES`]), which are asked for together.
pub struct Flow {
    head: Head,
    near: Near,
    pairs: Pairs,
    /// What it is.
    pub made: Made,
    /// When it was made, in milliseconds.
    born: u64,
}

impl Flow {
    /// Where the lines lie that packets look at, with as many words as most flows match.
    pub const LINES: [usize; 4] = [
        offset_of!(Flow, head),
        offset_of!(Flow, near),
        offset_of!(Flow, pairs),
        offset_of!(Flow, pairs) + LINE,
    ];

    /// A flow that no packet has used.
    #[must_use]
    pub fn new(made: Made, now: u64) -> Flow {
        let mut which = [0; WORDS];
        let mut pairs = [(0, 0); WORDS];
        let mut count = 0;
        for (word, value, mask) in made.merged.matches.words() {
            which[count] = word as u8;
            pairs[count] = (mask, value);
            count += 1;
        }
        let mut near = Near([Passing::NONE; NEAR]);
        let few = made.passings.len() <= NEAR;
        for (place, passing) in near.0.iter_mut().zip(&made.passings) {
            *place = *passing;
        }
        Flow {
            head: Head {
                packets: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                last: AtomicU64::new(0),
                which,
                count: count as u8,
                near: few.then_some(made.passings.len() as u8),
                brief: made.metadata.brief(),
            },
            near,
            pairs: Pairs(pairs),
            made,
            born: now,
        }
    }

    /// The connections of its packets, in the order in which the tracker was asked.
    #[must_use]
    #[inline(always)]
    pub fn passings(&self) -> &[Passing] {
        match self.head.near {
            Some(few) => &self.near.0[..usize::from(few).min(NEAR)],
            None => &self.made.passings,
        }
    }

    /// What its packets are told, if there is no translation and no label.
    #[must_use]
    #[inline(always)]
    pub fn brief(&self) -> Option<Brief> {
        self.head.brief
    }

    /// Whether a packet is one of this flow.
    #[must_use]
    #[inline(always)]
    pub fn fits(&self, key: &Key) -> bool {
        let used = usize::from(self.head.count);
        let words = self.head.which[..used].iter().zip(&self.pairs.0[..used]);
        words.fold(0, |wrong, (&which, &(mask, value))| {
            wrong | (key.word(usize::from(which)) ^ value) & mask
        }) == 0
    }

    /// Counts a packet, by the only thread that does so now.
    #[inline]
    pub fn count_alone(&self, bytes: u64, now: u64) {
        let add = |to: &AtomicU64, n| to.store(to.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        add(&self.head.packets, 1);
        add(&self.head.bytes, bytes);
        if self.head.last.load(Ordering::Relaxed) < now {
            self.head.last.store(now, Ordering::Relaxed);
        }
    }

    /// Counts packets, whoever else does so.
    pub fn count(&self, used: Used) {
        self.head.packets.fetch_add(used.packets, Ordering::Relaxed);
        self.head.bytes.fetch_add(used.bytes, Ordering::Relaxed);
        self.head.last.fetch_max(used.last, Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn used(&self) -> Used {
        Used {
            packets: self.head.packets.load(Ordering::Relaxed),
            bytes: self.head.bytes.load(Ordering::Relaxed),
            last: self.head.last.load(Ordering::Relaxed),
        }
    }

    /// When it was last worth something: used, or made.
    #[must_use]
    pub fn recent(&self) -> u64 {
        self.head.last.load(Ordering::Relaxed).max(self.born)
    }

    /// Its match.
    #[must_use]
    pub fn matches(&self) -> &Match {
        &self.made.merged.matches
    }

    /// It has to do with this port: its packets come from there or go there.
    #[must_use]
    pub fn uses_port(&self, port: u32) -> bool {
        let (from, mask) = self.matches().of(Field::InPort);
        let out = |action: &Action| matches!(action, Action::Output(to) if *to == port);
        mask != 0 && from == u128::from(port) & mask || self.made.merged.actions.iter().any(out)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::merge::tests::any_key;
    use proptest::prelude::*;

    #[test]
    fn a_translation_moves_to_the_front_unless_somebody_saw_the_packet_before() {
        let set = Action::Set(Field::IpDst, 1, u128::MAX);
        let push = Action::PushVlan(5);
        let translate = Action::Tracked(Field::IpDst, 7);
        let state = Action::Tracked(Field::CtState, 0x22);
        let out = Action::Output(1);
        let (metadata, rest) = divide(&[set, push, translate, state, out]).expect("it moves");
        assert_eq!((metadata.dst, metadata.state), (Some(7), 0x22));
        assert_eq!(rest, [push, out]);
        assert_eq!(divide(&[out, translate]), None);
        assert!(divide(&[out, state, out]).is_some());
    }

    proptest! {
        #[test]
        fn a_flow_takes_what_its_match_takes(
            masks in any_key(),
            values in any_key(),
            packet in any_key(),
            near in any::<bool>(),
        ) {
            let mut matches = Match::any();
            for &field in Field::ALL {
                let (value, mask) = (values.get(field), masks.get(field));
                matches = matches.and(field, value, mask).expect("each field once");
            }
            let merged = Merged {
                matches,
                actions: Vec::new(),
                longer: Vec::new(),
            };
            let flow = Flow::new(Made::new(1, merged, (Metadata::default(), Vec::new()), &[]), 0);
            let packet = if near { values } else { packet };
            prop_assert_eq!(flow.fits(&packet), matches.fits(&packet));
        }
    }
}
