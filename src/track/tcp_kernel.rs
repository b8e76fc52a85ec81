//! TCP of the kernel machine: one state for the connection, as Linux nf_conntrack keeps it.
//!
//! A segment has a [`Kind`], and the table of [`super::tcp_table`] names the next state. The rest, in
//! this file, is what the table cannot say: segments that are let through because the two ends may
//! know better than we do (*ignored*: a SYN on an open connection, an answer to it), resets, which
//! must prove that they come from the other end (RFC 5961), connections that begin anew, and waits
//! that are cut short. Windows are checked in [`super::tcp_window`].
//!
//! Facts from net/netfilter/nf_conntrack_proto_tcp.c. Two differences: a segment that is invalid
//! leaves the whole state alone (there, an answer that is refused has already begun its side's
//! window); and no invalid segment shortens a wait (there, a FIN and a RST outside the window do).

use super::protocol_flags::{
    BE_LIBERAL, CLOSE_INIT, DATA_UNACKNOWLEDGED, MAXACK_SET, SACK_PERM, WINDOW_SCALE,
};
use super::tcp_table::{Kind, Next, State, next};
use super::tcp_window::{self, Peer, Verdict, end_of};
use super::timeout::Class;
use super::{Opened, Options, Outcome, Step, TcpNames, at_or_after};
use crate::packet::Tcp;
use crate::packet::tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};
use crate::reason::Reason;
use crate::tuple::Direction;

/// Repetitions of one segment after which the connection waits for less.
const MAX_REPEATS: u8 = 3;

/// A challenge acknowledgement may come (RFC 5961, section 4): not that of the last FIN.
const CHALLENGE: u8 = 1 << 6;
/// Both ends sent a SYN.
const SIMULTANEOUS: u8 = 1 << 7;

/// What is remembered of the last segment that counted or was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    kind: Kind,
    reply: bool,
    seq: u32,
    ack: u32,
    end: u32,
    window: u16,
    scale: u8,
    flags: u8,
    repeats: u8,
}

impl Last {
    /// Counts a repetition of the same acknowledgement.
    pub(super) fn repeat(&mut self, tcp: &Tcp, ack: u32, end: u32, direction: Direction) {
        let reply = direction == Direction::Reply;
        let same = self.reply == reply
            && self.seq == tcp.seq
            && self.ack == ack
            && self.end == end
            && self.window == tcp.window;
        self.repeats = if same {
            (self.repeats + 1).min(MAX_REPEATS)
        } else {
            0
        };
        self.reply = reply;
        self.seq = tcp.seq;
        self.ack = ack;
        self.end = end;
        self.window = tcp.window;
    }

    const fn was(&self, kind: Kind, direction: Direction) -> bool {
        self.kind as u8 == kind as u8 && self.reply == matches!(direction, Direction::Reply)
    }
}

/// The unpacked state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Association {
    pub(super) peers: [Peer; 2],
    pub(super) state: State,
    pub(super) last: Last,
    seen_reply: bool,
    assured: bool,
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl Association {
    pub(super) const fn unpack(from: &super::State) -> Association {
        let rest = from.words[2];
        let [a, b, c, d, ..] = from.extension;
        Association {
            peers: [
                Peer {
                    end: from.words[0] as u32,
                    max_end: (from.words[0] >> 32) as u32,
                    max_window: a as u32,
                    max_ack: (a >> 32) as u32,
                    scale: (rest >> 28) as u8 & 15,
                    flags: (rest >> 36) as u8 & 63,
                },
                Peer {
                    end: from.words[1] as u32,
                    max_end: (from.words[1] >> 32) as u32,
                    max_window: b as u32,
                    max_ack: (b >> 32) as u32,
                    scale: (rest >> 32) as u8 & 15,
                    flags: (rest >> 42) as u8 & 63,
                },
            ],
            state: State::from_bits(rest),
            last: Last {
                kind: Kind::from_bits(rest >> 4),
                reply: rest >> 7 & 1 != 0,
                seq: c as u32,
                ack: (c >> 32) as u32,
                end: d as u32,
                window: (rest >> 48) as u16,
                scale: (rest >> 24) as u8 & 15,
                flags: (rest >> 16) as u8,
                repeats: (rest >> 8) as u8 & 15,
            },
            seen_reply: rest >> 12 & 1 != 0,
            assured: rest >> 13 & 1 != 0,
        }
    }

    pub(super) const fn pack(&self) -> super::State {
        let [a, b] = &self.peers;
        let last = &self.last;
        let rest = self.state as u64
            | (last.kind as u64) << 4
            | (last.reply as u64) << 7
            | (last.repeats as u64) << 8
            | (self.seen_reply as u64) << 12
            | (self.assured as u64) << 13
            | (last.flags as u64) << 16
            | (last.scale as u64) << 24
            | (a.scale as u64) << 28
            | (b.scale as u64) << 32
            | (a.flags as u64) << 36
            | (b.flags as u64) << 42
            | (last.window as u64) << 48;
        super::State {
            words: [pair(a.end, a.max_end), pair(b.end, b.max_end), rest],
            extension: [
                pair(a.max_window, a.max_ack),
                pair(b.max_window, b.max_ack),
                pair(last.seq, last.ack),
                last.end as u64,
                0,
                0,
                0,
                0,
            ],
        }
    }
}

pub(super) fn open(tcp: &Tcp, options: &Options) -> Result<Opened, Reason> {
    if !is_valid(tcp.flags) {
        return Err(Reason::TcpFlags);
    }
    let kind = Kind::of(tcp.flags);
    let peers = match kind {
        Kind::Syn => [Peer::begun(tcp), Peer::default()],
        Kind::SynAck => return Err(Reason::TcpSynAckFirst),
        Kind::Ack if options.loose => {
            // The scales are not known, so the window cannot be held against anyone.
            let flags = SACK_PERM | BE_LIBERAL;
            [
                Peer::joined(tcp, 0, flags),
                Peer {
                    flags,
                    ..Peer::default()
                },
            ]
        }
        _ => return Err(Reason::TcpMidstream),
    };
    let mut connection = Association {
        peers,
        state: State::None,
        last: Last {
            kind: Kind::None,
            reply: false,
            seq: tcp.seq,
            ack: 0,
            end: end_of(tcp),
            window: tcp.window,
            scale: 0,
            flags: 0,
            repeats: 0,
        },
        seen_reply: false,
        assured: false,
    };
    let Next::To(state) = next(Direction::Original, kind, State::None) else {
        return Err(Reason::TcpState);
    };
    connection.state = state;
    connection.last.kind = kind;
    Ok(Opened {
        state: connection.pack(),
        timeout: state.class(),
        at_most: (state == State::Established).then_some(Class::KernelTcpUnacknowledged),
    })
}

/// The combinations of flags that nf_conntrack lets pass, whatever PSH says (`tcp_valid_flags`).
const VALID_FLAGS: [u8; 9] = [
    SYN,
    SYN | URG,
    SYN | ACK,
    RST,
    RST | ACK,
    FIN | ACK,
    FIN | ACK | URG,
    ACK,
    ACK | URG,
];

fn is_valid(flags: u8) -> bool {
    VALID_FLAGS.contains(&(flags & !PSH))
}

pub(super) fn advance(
    state: &mut super::State,
    tcp: &Tcp,
    direction: Direction,
    options: &Options,
) -> Step {
    if !is_valid(tcp.flags) {
        return Step::invalid(Reason::TcpFlags);
    }
    let mut connection = Association::unpack(state);
    let step = follow(&mut connection, tcp, direction, options);
    if matches!(step.outcome, Outcome::Valid | Outcome::ValidNew) {
        connection.seen_reply |= direction == Direction::Reply;
        *state = connection.pack();
    }
    step
}

fn follow(
    connection: &mut Association,
    tcp: &Tcp,
    direction: Direction,
    options: &Options,
) -> Step {
    let kind = Kind::of(tcp.flags);
    let new = match next(direction, kind, connection.state) {
        Next::Invalid => return Step::invalid(Reason::TcpState),
        Next::Ignore => match ignore(connection, tcp, kind, direction) {
            Ignored::Passes => return passes(connection, direction),
            Ignored::Answers => State::SynRecv,
        },
        Next::To(State::SynSent) if connection.state >= State::TimeWait => {
            let closed = connection
                .peers
                .iter()
                .any(|peer| peer.flags & CLOSE_INIT != 0);
            if closed || connection.last.was(Kind::Rst, direction) {
                return Step::quiet(Outcome::New);
            }
            let _passes = ignore(connection, tcp, kind, direction);
            return passes(connection, direction);
        }
        Next::To(State::TimeWait) if is_challenge(connection, kind, direction) => {
            connection.last.flags &= !CHALLENGE;
            return passes(connection, direction);
        }
        Next::To(State::SynSent2) => {
            connection.last.flags |= SIMULTANEOUS;
            State::SynSent2
        }
        Next::To(State::SynRecv)
            if kind == Kind::Ack
                && direction == Direction::Reply
                && connection.last.flags & SIMULTANEOUS != 0 =>
        {
            State::Established
        }
        Next::To(State::Close) if kind == Kind::Rst => {
            match reset(connection, tcp, direction, options) {
                Reset::Closes => {
                    return accept(connection, State::Close, kind, direction, Verdict::Inside);
                }
                Reset::InWindow(new) => new,
                Reset::Invalid => return Step::invalid(Reason::TcpResetSequence),
            }
        }
        Next::To(new) => new,
    };
    match tcp_window::check(connection, tcp, kind, direction, options) {
        Verdict::Outside(reason) => Step::invalid(reason),
        Verdict::Late => passes(connection, direction),
        verdict => accept(connection, new, kind, direction, verdict),
    }
}

/// A legal segment that changes neither state nor timer.
fn passes(connection: &Association, direction: Direction) -> Step {
    Step::quiet(outcome(connection, direction))
}

fn outcome(connection: &Association, direction: Direction) -> Outcome {
    if connection.seen_reply || direction == Direction::Reply {
        Outcome::Valid
    } else {
        Outcome::ValidNew
    }
}

/// What an ignored segment turns out to be.
enum Ignored {
    /// It passes.
    Passes,
    /// It answers the SYN that was ignored before: both ends are in step and we were not.
    Answers,
}

/// A segment that may be the truth about a connection of which we know an old one: it passes, and
/// what it says is kept until the other side answers.
fn ignore(connection: &mut Association, tcp: &Tcp, kind: Kind, direction: Direction) -> Ignored {
    let last = &mut connection.last;
    if kind == Kind::SynAck && last.was(Kind::Syn, direction.opposite()) && tcp.ack == last.end {
        let opener = Peer {
            end: last.end,
            max_end: last.end,
            max_window: u32::from(last.window).max(1),
            max_ack: 0,
            scale: last.scale,
            flags: last.flags & (WINDOW_SCALE | SACK_PERM),
        };
        last.flags &= !CHALLENGE;
        connection.peers[direction.opposite() as usize] = opener;
        connection.peers[direction as usize] = Peer::default();
        connection.state = State::SynSent;
        return Ignored::Answers;
    }
    last.kind = kind;
    last.reply = direction == Direction::Reply;
    last.seq = tcp.seq;
    last.end = end_of(tcp);
    last.window = tcp.window;
    if kind == Kind::Syn {
        let opener = Peer::begun(tcp);
        last.scale = opener.scale;
        last.flags = opener.flags;
        if connection.state == State::LastAck {
            last.flags |= CHALLENGE;
        }
    }
    if kind == Kind::Ack && connection.state == State::SynSent {
        last.ack = tcp.ack;
    }
    Ignored::Passes
}

/// An acknowledgement in LAST_ACK that answers a SYN and not the last FIN.
fn is_challenge(connection: &Association, kind: Kind, direction: Direction) -> bool {
    connection.state == State::LastAck
        && kind == Kind::Ack
        && connection.last.was(Kind::Syn, direction.opposite())
        && connection.last.flags & CHALLENGE != 0
}

/// What a RST does.
enum Reset {
    /// It closes, whatever the window says.
    Closes,
    /// If it is in the window, the connection goes to this state.
    InWindow(State),
    /// It is forged or stray.
    Invalid,
}

fn reset(connection: &Association, tcp: &Tcp, direction: Direction, options: &Options) -> Reset {
    let last = &connection.last;
    // The numbers of a connection that closes may be those of its successor.
    if connection.state.is_closing() {
        return Reset::Closes;
    }
    let established = connection.state == State::Established && connection.assured;
    let peer = &connection.peers[direction.opposite() as usize];
    let mut new = State::Close;
    if options.strict_reset && peer.flags & MAXACK_SET != 0 && last.kind != Kind::Syn {
        if tcp.seq == 0 && !established {
            return Reset::InWindow(State::Close);
        }
        if !at_or_after(tcp.seq, peer.max_ack) {
            return Reset::Invalid;
        }
        let exact = tcp.seq == peer.max_ack;
        let follows_own_data = last.was(Kind::Ack, direction) && tcp.seq == last.end;
        if !established || exact || follows_own_data {
            return Reset::InWindow(State::Close);
        }
        // The other end answers it with a challenge; a true one then comes back exact.
        new = connection.state;
    }
    let answers_syn = connection.seen_reply && last.kind == Kind::Syn;
    let answers_ack = !connection.assured && last.kind == Kind::Ack;
    if (answers_syn || answers_ack) && tcp.ack == last.end {
        return Reset::Closes;
    }
    let answers_challenge = connection.state == State::SynSent
        && last.was(Kind::Ack, Direction::Reply)
        && tcp.seq == last.ack;
    if answers_challenge {
        Reset::Closes
    } else {
        Reset::InWindow(new)
    }
}

/// The segment counts: the connection moves and its timer starts again.
fn accept(
    connection: &mut Association,
    new: State,
    kind: Kind,
    direction: Direction,
    verdict: Verdict,
) -> Step {
    let old = connection.state;
    connection.last.kind = kind;
    connection.last.reply = direction == Direction::Reply;
    connection.state = new;
    if old != new && new == State::FinWait {
        connection.peers[direction as usize].flags |= CLOSE_INIT;
    }
    let mut step = Step::new(outcome(connection, direction), new.class());
    step.bypassed = verdict == Verdict::Bypassed;
    let unacknowledged = connection
        .peers
        .iter()
        .any(|peer| peer.flags & DATA_UNACKNOWLEDGED != 0);
    if connection.last.repeats >= MAX_REPEATS {
        step.at_most = Some(Class::KernelTcpRetransmit);
    } else if unacknowledged {
        step.at_most = Some(Class::KernelTcpUnacknowledged);
    } else if connection.last.window == 0 {
        step.at_most = Some(Class::KernelTcpRetransmit);
    }
    if !connection.seen_reply {
        if kind == Kind::Rst {
            step.remove = true;
        } else if kind == Kind::Syn && old == State::SynSent {
            // Repeated SYNs must not keep a connection that nobody answers.
            step.timeout = None;
            step.at_most = None;
        } else if new == State::Established && step.at_most.is_none() {
            step.at_most = Some(Class::KernelTcpUnacknowledged);
        }
    } else if matches!(old, State::SynRecv | State::Established) && new == State::Established {
        connection.assured = true;
    }
    step.assured = connection.assured;
    step
}

pub(super) fn listing(state: &super::State) -> TcpNames {
    let connection = Association::unpack(state);
    let name = connection.state.name();
    TcpNames {
        sides: [name; 2],
        combined: name,
        window_scale: connection
            .peers
            .map(|peer| (peer.flags & WINDOW_SCALE != 0).then_some(peer.scale)),
        flags: connection.peers.map(|peer| peer.flags),
    }
}
