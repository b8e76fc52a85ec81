//! A merged flow as the cache has it: what it matches, in few words; what the cache does to a packet;
//! what is left for the datapath; and how often it was used.
//!
//! The cache does what the tracker would have done: it translates, and it writes the connection's
//! metadata. It does so before anything else, so a translation has to be movable to the front of the
//! actions ([`divide`]): nothing before it may show the packet to anybody.

use std::any::Any;
use std::num::NonZeroU8;

use super::action::Action;
use super::flow::{Field, Key, Match, WORDS};
use super::fold::Merged;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, StdArc};
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
        if self.translates() || self.label != 0 {
            return None;
        }
        Some(Brief {
            state: NonZeroU8::new(self.state)?,
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

/// Connections of a flow that lie in its line of counters, if they are no more.
const NEAR: usize = 3;
/// Words of its key that lie in its first line.
const FIRST: usize = 6;
/// Words of its key that lie in its third line.
const FURTHER: usize = 7;

/// What the tracker leaves with a packet that it does not translate and that has no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// State bits.
    pub state: NonZeroU8,
    /// Zone.
    pub zone: Zone,
    /// Mark.
    pub mark: u32,
}

/// The words of a match that packets differ in: what is IPv4 has no more than the low word of an address.
fn words_of(matches: &Match) -> impl Iterator<Item = (usize, u64, u64)> {
    let is_v4 = matches.of(Field::EthType) == (0x0800, Field::EthType.full());
    let high = [Field::IpSrc.high_word(), Field::IpDst.high_word()];
    matches
        .words()
        .filter(move |&(word, value, _)| !(is_v4 && value == 0 && high.contains(&Some(word))))
}

/// Which bits of the key a flow matches. Many flows share one, so it is near when a packet comes.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    count: u8,
    which: [u8; WORDS],
    masks: [u64; WORDS],
}

impl Shape {
    /// That of a match.
    #[must_use]
    pub fn of(matches: &Match) -> Shape {
        let mut shape = Shape {
            count: 0,
            which: [0; WORDS],
            masks: [0; WORDS],
        };
        for (word, _, mask) in words_of(matches) {
            let at = usize::from(shape.count);
            (shape.which[at], shape.masks[at]) = (word as u8, mask);
            shape.count += 1;
        }
        shape
    }

    /// Whether a key has these values from word `from` of the shape on.
    #[inline(always)]
    fn fits(&self, key: &Key, values: &[u64], from: usize) -> bool {
        let all = usize::from(self.count).min(WORDS).max(from);
        let words = self.which[from..all].iter().zip(&self.masks[from..all]);
        words.zip(values).fold(0, |wrong, ((&which, mask), value)| {
            wrong | (key.word(usize::from(which)) ^ value) & mask
        }) == 0
    }
}

/// A merged flow in the cache.
///
/// What packets look at lies in two lines, with what the shelf says of the place, and in a third one where
/// the match is a long one, as those of IPv6 are. All other things are behind a pointer there.
pub struct Flow {
    shape: StdArc<Shape>,
    values: [u64; FIRST],

    packets: AtomicU64,
    bytes: AtomicU64,
    last: AtomicU64,
    /// Its connections.
    ids: [ConnectionId; NEAR],
    /// What the boundary to the datapath's language shows for it.
    shown: AtomicPtr<()>,
    told: Told,

    further: [u64; FURTHER],
    /// Always there. As an option it has no value to spare, for which the compiler would move it ahead.
    rest: Option<Box<Rest>>,
}

/// The brief metadata, and how many connections there are.
struct Told {
    mark: u32,
    zone: Zone,
    /// 0: there is no brief metadata.
    state: u8,
    /// How many connections, and above [`REPLIES`] the directions as bits; more than [`NEAR`]: they are not
    /// in these lines.
    count: u8,
}

/// Where the directions begin beside the number of connections.
const REPLIES: u32 = 4;

/// Connections of a flow that lie in its lines.
#[derive(Clone, Copy)]
pub struct Near<'f> {
    ids: &'f [ConnectionId],
    replies: u8,
}

impl<'f> Near<'f> {
    /// The connections.
    #[must_use]
    #[inline(always)]
    pub const fn ids(&self) -> &'f [ConnectionId] {
        self.ids
    }

    /// The direction of the packets in one of them.
    #[must_use]
    #[inline(always)]
    pub const fn direction(&self, number: usize) -> Direction {
        if self.replies >> number & 1 == 0 {
            Direction::Original
        } else {
            Direction::Reply
        }
    }
}

/// What few packets look at.
struct Rest {
    made: Made,
    /// When it was made, in milliseconds.
    born: u64,
}

/// Lines of a place that packets look at, with a short match and with a long one.
pub const LINES: [usize; 2] = [2, 3];

impl Flow {
    /// A flow that no packet has used. `shape` is that of its match, `shown` what the boundary made of it.
    #[must_use]
    pub fn new(made: Made, shape: StdArc<Shape>, shown: AtomicPtr<()>, now: u64) -> Flow {
        let (mut values, mut further) = ([0; FIRST], [0; FURTHER]);
        let places = values.iter_mut().chain(&mut further);
        for (place, (_, value, _)) in places.zip(words_of(&made.merged.matches)) {
            *place = value;
        }
        let (mut ids, mut count) = (
            [ConnectionId::NONE; NEAR],
            made.passings.len().min(NEAR + 1) as u8,
        );
        for (i, passing) in made.passings.iter().take(NEAR).enumerate() {
            ids[i] = passing.id;
            count |= (passing.direction as u8) << (REPLIES + i as u32);
        }
        let brief = made.metadata.brief();
        Flow {
            shape,
            values,
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            ids,
            shown,
            told: Told {
                mark: brief.map_or(0, |brief| brief.mark),
                zone: brief.map_or(0, |brief| brief.zone),
                state: brief.map_or(0, |brief| brief.state.get()),
                count,
            },
            further,
            rest: Some(Box::new(Rest { made, born: now })),
        }
    }

    fn rest(&self) -> &Rest {
        self.rest.as_deref().expect("it is made with one")
    }

    /// What it is.
    #[must_use]
    pub fn made(&self) -> &Made {
        &self.rest().made
    }

    /// What the boundary to the datapath's language shows for it.
    #[must_use]
    #[inline(always)]
    pub fn shown(&self) -> *mut () {
        self.shown.load(Ordering::Relaxed)
    }

    /// Its connections and the packets' directions, in the order in which the tracker was asked.
    #[must_use]
    pub fn passings(&self) -> &[Passing] {
        &self.made().passings
    }

    /// The connections that lie in its lines: none, when there are too many for that.
    #[must_use]
    #[inline(always)]
    pub fn near(&self) -> Near<'_> {
        let count = usize::from(self.told.count) & ((1 << REPLIES) - 1);
        Near {
            ids: if count > NEAR {
                &[]
            } else {
                &self.ids[..count]
            },
            replies: self.told.count >> REPLIES,
        }
    }

    /// How many connections its packets belong to.
    #[must_use]
    #[inline(always)]
    pub fn connections(&self) -> u64 {
        match usize::from(self.told.count) & ((1 << REPLIES) - 1) {
            few if few <= NEAR => few as u64,
            _ => self.passings().len() as u64,
        }
    }

    /// Its packets belong to no connection.
    #[must_use]
    #[inline(always)]
    pub const fn is_untracked(&self) -> bool {
        self.told.count == 0
    }

    /// What its packets are told, if there is no translation and no label.
    #[must_use]
    #[inline(always)]
    pub fn brief(&self) -> Option<Brief> {
        Some(Brief {
            state: NonZeroU8::new(self.told.state)?,
            zone: self.told.zone,
            mark: self.told.mark,
        })
    }

    /// Whether a packet is one of this flow.
    #[must_use]
    #[inline(always)]
    pub fn fits(&self, key: &Key) -> bool {
        let shape = &*self.shape;
        shape.fits(key, &self.values, 0)
            && (usize::from(shape.count) <= FIRST || self.fits_further(key))
    }

    #[inline(never)]
    fn fits_further(&self, key: &Key) -> bool {
        if usize::from(self.shape.count) > FIRST + FURTHER {
            return self.matches().fits(key);
        }
        self.shape.fits(key, &self.further, FIRST)
    }

    /// Counts a packet, by the only thread that does so now.
    #[inline]
    pub fn count_alone(&self, bytes: u64, now: u64) {
        let add = |to: &AtomicU64, n| to.store(to.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        add(&self.packets, 1);
        add(&self.bytes, bytes);
        if self.last.load(Ordering::Relaxed) < now {
            self.last.store(now, Ordering::Relaxed);
        }
    }

    /// Counts packets, whoever else does so.
    pub fn count(&self, used: Used) {
        self.packets.fetch_add(used.packets, Ordering::Relaxed);
        self.bytes.fetch_add(used.bytes, Ordering::Relaxed);
        self.last.fetch_max(used.last, Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn used(&self) -> Used {
        Used {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
        }
    }

    /// When it was last worth something: used, or made.
    #[must_use]
    pub fn recent(&self) -> u64 {
        self.last.load(Ordering::Relaxed).max(self.rest().born)
    }

    /// Its match.
    #[must_use]
    pub fn matches(&self) -> &Match {
        &self.made().merged.matches
    }

    /// It has to do with this port: its packets come from there or go there.
    #[must_use]
    pub fn uses_port(&self, port: u32) -> bool {
        let (from, mask) = self.matches().of(Field::InPort);
        let out = |action: &Action| matches!(action, Action::Output(to) if *to == port);
        mask != 0 && from == u128::from(port) & mask || self.made().merged.actions.iter().any(out)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::merge::tests::any_key;
    use crate::sync::line::LINE;
    use proptest::prelude::*;
    use std::mem::offset_of;

    #[test]
    fn what_packets_look_at_lies_in_few_lines() {
        // What the shelf says of a place stands before it.
        const STATE: usize = size_of::<u64>();
        assert_eq!(STATE + size_of::<Flow>(), 3 * LINE);
        for first in [offset_of!(Flow, shape), offset_of!(Flow, values)] {
            assert!(STATE + first < LINE);
        }
        let second = [
            offset_of!(Flow, packets),
            offset_of!(Flow, bytes),
            offset_of!(Flow, last),
            offset_of!(Flow, ids),
            offset_of!(Flow, shown),
            offset_of!(Flow, told),
        ];
        for second in second {
            assert_eq!((STATE + second) / LINE, 1);
        }
        assert_eq!((STATE + offset_of!(Flow, further)) / LINE, 2);
    }

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
            let shape = StdArc::new(Shape::of(&matches));
            let made = Made::new(1, merged, (Metadata::default(), Vec::new()), &[]);
            let flow = Flow::new(made, shape, AtomicPtr::default(), 0);
            let packet = if near { values } else { packet };
            prop_assert_eq!(flow.fits(&packet), matches.fits(&packet));
        }
    }
}
