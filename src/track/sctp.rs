//! SCTP of the kernel machine: associations by their chunks and verification tags.
//!
//! Both ends of an association choose a tag that the other must put into every packet (RFC 9260,
//! section 8.5). Seeing INIT and INIT ACK we know both, so a packet with another tag is forged. Some
//! chunks have rules of their own (8.5.1). A packet may carry several chunks: each is a step, and a
//! packet of which one chunk is refused changes nothing.
//!
//! The table and the treatment of collisions (both ends send INIT) and of a second path (a first
//! packet with HEARTBEAT) follow net/netfilter/nf_conntrack_proto_sctp.c. State: both tags in the
//! first word, the rest in the third.

use super::timeout::Class;
use super::{Listing, Opened, Outcome, Step};
use crate::packet::Facts;
use crate::reason::Reason;
use crate::tuple::Direction;

/// Chunk types that matter (RFC 9260, section 3.2).
mod chunk {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const HEARTBEAT_ACK: u8 = 5;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const ERROR: u8 = 9;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Length of the common header.
const HEADER: usize = 12;
/// Length of a chunk's header.
const CHUNK_HEADER: usize = 4;
/// The T bit: the sender had no association and mirrors the tag.
const TAG_REFLECTED: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    None = 0,
    Closed = 1,
    CookieWait = 2,
    CookieEchoed = 3,
    Established = 4,
    ShutdownSent = 5,
    ShutdownReceived = 6,
    ShutdownAckSent = 7,
    HeartbeatSent = 8,
}

impl State {
    const fn from_bits(bits: u64) -> State {
        match bits & 15 {
            1 => State::Closed,
            2 => State::CookieWait,
            3 => State::CookieEchoed,
            4 => State::Established,
            5 => State::ShutdownSent,
            6 => State::ShutdownReceived,
            7 => State::ShutdownAckSent,
            8 => State::HeartbeatSent,
            _ => State::None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            State::None => "NONE",
            State::Closed => "CLOSED",
            State::CookieWait => "COOKIE_WAIT",
            State::CookieEchoed => "COOKIE_ECHOED",
            State::Established => "ESTABLISHED",
            State::ShutdownSent => "SHUTDOWN_SENT",
            State::ShutdownReceived => "SHUTDOWN_RECD",
            State::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            State::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    const fn class(self) -> Class {
        match self {
            State::None | State::Closed => Class::SctpClosed,
            State::CookieWait => Class::SctpCookieWait,
            State::CookieEchoed => Class::SctpCookieEchoed,
            State::Established => Class::SctpEstablished,
            State::ShutdownSent => Class::SctpShutdownSent,
            State::ShutdownReceived => Class::SctpShutdownReceived,
            State::ShutdownAckSent => Class::SctpShutdownAckSent,
            State::HeartbeatSent => Class::SctpHeartbeatSent,
        }
    }
}

/// The table: direction, chunk, state -> next state; `None` is a chunk that may not stand there.
const fn next(direction: Direction, kind: u8, state: State) -> Option<State> {
    use State as S;
    let original = matches!(direction, Direction::Original);
    if kind == chunk::DATA
        || (kind == 3 || kind > chunk::COOKIE_ACK) && kind != chunk::SHUTDOWN_COMPLETE
    {
        return Some(state);
    }
    if !original && matches!(state, S::None) {
        return None;
    }
    if matches!(state, S::HeartbeatSent | S::None) {
        return young(original, kind, state);
    }
    Some(match (kind, state) {
        (chunk::ABORT, _) => S::Closed,
        (chunk::INIT, S::ShutdownSent | S::ShutdownReceived) if original => S::Closed,
        (chunk::INIT_ACK, S::Closed) if !original => S::CookieWait,
        (chunk::SHUTDOWN, S::Established) if original => S::ShutdownSent,
        (chunk::SHUTDOWN, S::Established) => S::ShutdownReceived,
        (chunk::SHUTDOWN_ACK, S::ShutdownSent | S::ShutdownReceived) => S::ShutdownAckSent,
        (chunk::ERROR, S::CookieEchoed) if !original => S::Closed,
        (chunk::COOKIE_ECHO, S::CookieWait) => S::CookieEchoed,
        (chunk::COOKIE_ACK, S::CookieEchoed) => S::Established,
        (chunk::SHUTDOWN_COMPLETE, S::ShutdownAckSent) => S::Closed,
        // INIT again on a fresh association: the originator repeats itself, the state stays.
        (_, state) => state,
    })
}

/// The table's columns of connections that have no association yet.
const fn young(original: bool, kind: u8, state: State) -> Option<State> {
    use State as S;
    let heartbeat = matches!(state, S::HeartbeatSent);
    match (kind, original) {
        (chunk::HEARTBEAT, _) => Some(S::HeartbeatSent),
        (chunk::HEARTBEAT_ACK, false) => Some(S::Established),
        (chunk::HEARTBEAT_ACK, true) if heartbeat => Some(S::HeartbeatSent),
        (_, false) => None,
        (chunk::INIT, true) if heartbeat => Some(S::CookieWait),
        (chunk::SHUTDOWN_ACK, true) => Some(S::ShutdownAckSent),
        (_, true) => Some(S::Closed),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Association {
    tags: [u32; 2],
    /// An INIT was seen from this side and not yet answered by COOKIE ACK.
    init: [bool; 2],
    state: State,
    /// The side whose HEARTBEAT carried an unknown tag.
    stray_heartbeat: Option<Direction>,
    seen_reply: bool,
    assured: bool,
}

impl Association {
    const fn unpack(words: &[u64; 3]) -> Association {
        let rest = words[2];
        Association {
            tags: [words[0] as u32, (words[0] >> 32) as u32],
            init: [rest >> 4 & 1 != 0, rest >> 5 & 1 != 0],
            state: State::from_bits(rest),
            stray_heartbeat: match rest >> 6 & 3 {
                0 => None,
                1 => Some(Direction::Original),
                _ => Some(Direction::Reply),
            },
            seen_reply: rest >> 8 & 1 != 0,
            assured: rest >> 9 & 1 != 0,
        }
    }

    const fn pack(&self) -> [u64; 3] {
        let stray = match self.stray_heartbeat {
            None => 0,
            Some(direction) => direction as u64 + 1,
        };
        let rest = self.state as u64
            | (self.init[0] as u64) << 4
            | (self.init[1] as u64) << 5
            | stray << 6
            | (self.seen_reply as u64) << 8
            | (self.assured as u64) << 9;
        [self.tags[0] as u64 | (self.tags[1] as u64) << 32, 0, rest]
    }
}

/// The chunks of a packet.
pub(super) fn chunk_bytes<'p>(facts: &Facts, bytes: &'p [u8]) -> &'p [u8] {
    let start = usize::from(facts.l4) + HEADER;
    let end = (usize::from(facts.l4) + facts.l4_len as usize).min(bytes.len());
    bytes.get(start..end).unwrap_or(&[])
}

#[derive(Clone, Copy)]
struct Chunk<'p> {
    kind: u8,
    flags: u8,
    body: &'p [u8],
}

impl Chunk<'_> {
    /// The initiate tag of INIT and INIT ACK.
    fn initiate_tag(&self) -> Option<u32> {
        // The tag is followed by 12 more bytes of fixed fields.
        self.body
            .get(..16)
            .and_then(|body| body.first_chunk())
            .map(|tag| u32::from_be_bytes(*tag))
    }
}

/// Walks the chunks. Each step consumes at least a chunk header, so the walk ends.
#[derive(Clone)]
struct Chunks<'p>(&'p [u8]);

impl<'p> Iterator for Chunks<'p> {
    type Item = Chunk<'p>;

    fn next(&mut self) -> Option<Chunk<'p>> {
        let [kind, flags, high, low] = *self.0.first_chunk::<CHUNK_HEADER>()?;
        let length = usize::from(u16::from_be_bytes([high, low])).max(CHUNK_HEADER);
        let body = self.0.get(CHUNK_HEADER..length.min(self.0.len()))?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Chunk { kind, flags, body })
    }
}

/// Bit set of the chunk types below 64 in a packet, or the rule that it breaks: chunks that must be
/// alone are, chunks that must come first do.
fn contents(bytes: &[u8]) -> Result<u64, Reason> {
    let mut set = 0;
    let mut alone = false;
    let mut count = 0_u32;
    for piece in Chunks(bytes) {
        alone |= matches!(
            piece.kind,
            chunk::INIT | chunk::INIT_ACK | chunk::SHUTDOWN_COMPLETE
        );
        let first = matches!(piece.kind, chunk::COOKIE_ACK | chunk::COOKIE_ECHO);
        if count > 0 && (alone || first) {
            return Err(Reason::SctpChunk);
        }
        if piece.kind < 64 {
            set |= 1 << piece.kind;
        }
        count += 1;
    }
    if count == 0 {
        Err(Reason::SctpChunk)
    } else {
        Ok(set)
    }
}

const fn has(set: u64, kinds: &[u8]) -> bool {
    let mut i = 0;
    while i < kinds.len() {
        if set >> kinds[i] & 1 != 0 {
            return true;
        }
        i += 1;
    }
    false
}

pub(super) fn open(tag: u32, bytes: &[u8]) -> Result<Opened, Reason> {
    let set = contents(bytes)?;
    // Out of the blue (RFC 9260, section 8.4).
    if has(
        set,
        &[chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK],
    ) {
        return Err(Reason::SctpState);
    }
    let mut fresh = Association::unpack(&[0; 3]);
    for piece in Chunks(bytes) {
        if next(Direction::Original, piece.kind, State::None).is_none_or(|s| s == State::None) {
            return Err(Reason::SctpState);
        }
        match piece.kind {
            chunk::INIT if tag != 0 => return Err(Reason::SctpTag),
            chunk::INIT => {
                fresh.tags[1] = piece.initiate_tag().ok_or(Reason::SctpChunk)?;
            }
            chunk::HEARTBEAT => fresh.tags[0] = tag,
            _ => fresh.tags[1] = tag,
        }
    }
    match follow(&mut fresh, tag, bytes, set, Direction::Original) {
        Ok(_) => Ok(Opened::new(fresh.pack(), fresh.state.class())),
        Err(reason) => Err(reason),
    }
}

pub(super) fn advance(words: &mut [u64; 3], tag: u32, bytes: &[u8], direction: Direction) -> Step {
    let mut association = Association::unpack(words);
    let repeated = association.state == State::Closed;
    let followed = contents(bytes)
        .and_then(|set| Ok((set, follow(&mut association, tag, bytes, set, direction)?)));
    let (set, refresh) = match followed {
        Ok(followed) => followed,
        Err(reason) => return Step::invalid(reason),
    };
    association.seen_reply |= direction == Direction::Reply;
    *words = association.pack();
    let outcome = if association.seen_reply {
        Outcome::Valid
    } else {
        Outcome::ValidNew
    };
    let mut step = Step::new(outcome, association.state.class());
    step.assured = association.assured;
    // A repeated INIT or a HEARTBEAT with an unknown tag passes without keeping the connection.
    let init_again = repeated && association.state == State::Closed && has(set, &[chunk::INIT]);
    if init_again || refresh == Refresh::No {
        step.timeout = None;
    }
    step
}

/// Whether a packet starts the timer again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresh {
    Yes,
    No,
}

/// The packet's chunks one after the other, on a copy that the caller keeps only when all are legal.
fn follow(
    association: &mut Association,
    tag: u32,
    bytes: &[u8],
    set: u64,
    direction: Direction,
) -> Result<Refresh, Reason> {
    const OWN_RULE: [u8; 7] = [
        chunk::INIT,
        chunk::SHUTDOWN_COMPLETE,
        chunk::COOKIE_ECHO,
        chunk::ABORT,
        chunk::SHUTDOWN_ACK,
        chunk::HEARTBEAT,
        chunk::HEARTBEAT_ACK,
    ];
    if !has(set, &OWN_RULE) && tag != association.tags[direction as usize] {
        return Err(Reason::SctpTag);
    }
    let mut refresh = Refresh::Yes;
    for piece in Chunks(bytes) {
        if verify(association, tag, &piece, set, direction, refresh)? == Refresh::No {
            refresh = Refresh::No;
            continue;
        }
        let new = next(direction, piece.kind, association.state).ok_or(Reason::SctpState)?;
        learn(association, &piece, direction)?;
        association.assured |= new == State::Established && association.state != new;
        association.state = new;
    }
    Ok(refresh)
}

/// The tag rules of single chunks (RFC 9260, section 8.5.1).
fn verify(
    association: &mut Association,
    tag: u32,
    piece: &Chunk<'_>,
    set: u64,
    direction: Direction,
    refresh: Refresh,
) -> Result<Refresh, Reason> {
    let own = association.tags[direction as usize];
    let legal = match piece.kind {
        chunk::INIT => tag == 0,
        chunk::ABORT | chunk::SHUTDOWN_COMPLETE => {
            let reflected = piece.flags & TAG_REFLECTED != 0;
            tag == if reflected {
                association.tags[direction.opposite() as usize]
            } else {
                own
            }
        }
        chunk::COOKIE_ECHO => tag == own,
        chunk::COOKIE_ACK => {
            association.init = [false; 2];
            true
        }
        chunk::HEARTBEAT | chunk::HEARTBEAT_ACK if own == 0 => {
            association.tags[direction as usize] = tag;
            true
        }
        chunk::HEARTBEAT | chunk::HEARTBEAT_ACK if tag == own => {
            association.stray_heartbeat = None;
            true
        }
        // The association was set up again on another path. Wait for the other end's word.
        chunk::HEARTBEAT => {
            if has(set, &[chunk::DATA]) || refresh == Refresh::No {
                return Err(Reason::SctpTag);
            }
            association.stray_heartbeat = Some(direction);
            return Ok(Refresh::No);
        }
        chunk::HEARTBEAT_ACK => {
            let answers = association.stray_heartbeat == Some(direction.opposite());
            if has(set, &[chunk::DATA]) || refresh == Refresh::No || !answers {
                return Err(Reason::SctpTag);
            }
            association.stray_heartbeat = None;
            association.tags[direction as usize] = tag;
            association.tags[direction.opposite() as usize] = 0;
            true
        }
        _ => true,
    };
    if legal {
        Ok(Refresh::Yes)
    } else {
        Err(Reason::SctpTag)
    }
}

/// INIT and INIT ACK tell the tag that the *other* side will use.
fn learn(
    association: &mut Association,
    piece: &Chunk<'_>,
    direction: Direction,
) -> Result<(), Reason> {
    let (side, other) = (direction as usize, direction.opposite() as usize);
    match piece.kind {
        chunk::INIT => {
            let tag = piece.initiate_tag().ok_or(Reason::SctpChunk)?;
            if association.init[side] && association.init[other] {
                association.init[other] = false;
            }
            association.init[side] = true;
            association.tags[other] = tag;
        }
        chunk::INIT_ACK => {
            let tag = piece.initiate_tag().ok_or(Reason::SctpChunk)?;
            let known = association.tags[other];
            let stale = !association.init[other] && known != 0 && known != tag;
            let collision = association.init[side] && association.init[other] && known != tag;
            if stale || collision {
                return Err(Reason::SctpTag);
            }
            association.tags[other] = tag;
        }
        _ => {}
    }
    Ok(())
}

/// What an association in this state waits for.
pub(super) fn waiting(words: &[u64; 3]) -> Class {
    Association::unpack(words).state.class()
}

pub(super) fn listing(words: &[u64; 3]) -> Listing {
    let association = Association::unpack(words);
    Listing::Sctp(association.state.name(), association.tags)
}
