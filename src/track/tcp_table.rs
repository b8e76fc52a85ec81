//! The states of a TCP connection in the kernel machine, and the table of their changes.
//!
//! The table is written as one `match`: the compiler proves that every direction, kind of segment and
//! state has an answer. What depends on more than these three is not here.

use super::timeout::Class;
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::tuple::Direction;

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum State {
    None = 0,
    SynSent = 1,
    SynRecv = 2,
    Established = 3,
    FinWait = 4,
    CloseWait = 5,
    LastAck = 6,
    TimeWait = 7,
    Close = 8,
    SynSent2 = 9,
}

impl State {
    pub(super) const fn from_bits(bits: u64) -> State {
        match bits & 15 {
            1 => State::SynSent,
            2 => State::SynRecv,
            3 => State::Established,
            4 => State::FinWait,
            5 => State::CloseWait,
            6 => State::LastAck,
            7 => State::TimeWait,
            8 => State::Close,
            9 => State::SynSent2,
            _ => State::None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            State::None => "NONE",
            State::SynSent => "SYN_SENT",
            State::SynRecv => "SYN_RECV",
            State::Established => "ESTABLISHED",
            State::FinWait => "FIN_WAIT",
            State::CloseWait => "CLOSE_WAIT",
            State::LastAck => "LAST_ACK",
            State::TimeWait => "TIME_WAIT",
            State::Close => "CLOSE",
            State::SynSent2 => "SYN_SENT2",
        }
    }

    pub(super) const fn class(self) -> Class {
        match self {
            State::None | State::SynSent => Class::KernelTcpSynSent,
            State::SynRecv => Class::KernelTcpSynRecv,
            State::Established => Class::KernelTcpEstablished,
            State::FinWait => Class::KernelTcpFinWait,
            State::CloseWait => Class::KernelTcpCloseWait,
            State::LastAck => Class::KernelTcpLastAck,
            State::TimeWait => Class::KernelTcpTimeWait,
            State::Close => Class::KernelTcpClose,
            State::SynSent2 => Class::KernelTcpSynSent2,
        }
    }

    pub(super) const fn is_closing(self) -> bool {
        matches!(
            self,
            State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close
        )
    }
}

/// What a segment is by its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Syn = 0,
    SynAck = 1,
    Fin = 2,
    Ack = 3,
    Rst = 4,
    None = 5,
}

impl Kind {
    pub(super) const fn of(flags: u8) -> Kind {
        if flags & RST != 0 {
            Kind::Rst
        } else if flags & SYN != 0 {
            if flags & ACK != 0 {
                Kind::SynAck
            } else {
                Kind::Syn
            }
        } else if flags & FIN != 0 {
            Kind::Fin
        } else if flags & ACK != 0 {
            Kind::Ack
        } else {
            Kind::None
        }
    }

    pub(super) const fn from_bits(bits: u64) -> Kind {
        match bits & 7 {
            0 => Kind::Syn,
            1 => Kind::SynAck,
            2 => Kind::Fin,
            3 => Kind::Ack,
            4 => Kind::Rst,
            _ => Kind::None,
        }
    }
}

/// What the table says.
#[derive(Clone, Copy)]
pub(super) enum Next {
    To(State),
    Ignore,
    Invalid,
}

/// The table: direction, kind, state -> next state.
pub(super) const fn next(direction: Direction, kind: Kind, state: State) -> Next {
    use Next::{Ignore, Invalid, To};
    use State as S;
    let original = matches!(direction, Direction::Original);
    match (kind, state) {
        (Kind::None, _) => Invalid,
        // Only the originator opens, and only it may open again; the other side's SYN crosses it.
        (Kind::Syn, S::None | S::TimeWait | S::Close) if original => To(S::SynSent),
        (Kind::Syn, S::SynSent) if original => To(S::SynSent),
        (Kind::Syn, S::SynSent | S::SynSent2) => To(S::SynSent2),
        (Kind::Syn, _) if original => Ignore,
        (Kind::Syn, _) => Invalid,
        (Kind::SynAck, S::None) => Invalid,
        (Kind::SynAck, S::SynSent) if original => Invalid,
        (Kind::SynAck, S::SynSent | S::SynSent2) => To(S::SynRecv),
        (Kind::SynAck, _) => Ignore,
        (Kind::Fin, S::None | S::SynSent | S::SynSent2) => Invalid,
        (Kind::Fin, S::SynRecv | S::Established) => To(S::FinWait),
        (Kind::Fin, S::FinWait | S::CloseWait | S::LastAck) => To(S::LastAck),
        (Kind::Ack, S::None) if original => To(S::Established),
        (Kind::Ack, S::None) => Invalid,
        (Kind::Ack, S::SynSent | S::SynSent2) if original => Invalid,
        (Kind::Ack, S::SynSent | S::SynSent2) => Ignore,
        (Kind::Ack, S::SynRecv) if !original => To(S::SynRecv),
        (Kind::Ack, S::SynRecv | S::Established) => To(S::Established),
        (Kind::Ack, S::FinWait | S::CloseWait) => To(S::CloseWait),
        (Kind::Ack, S::LastAck | S::TimeWait) => To(S::TimeWait),
        (Kind::Fin, S::TimeWait) => To(S::TimeWait),
        (Kind::Fin | Kind::Ack, S::Close) => To(S::Close),
        (Kind::Rst, S::None) => Invalid,
        (Kind::Rst, _) => To(S::Close),
    }
}
