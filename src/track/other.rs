//! Protocols that only know "answered" and "not answered": in the Open vSwitch machine UDP, SCTP and
//! all others (its module `conntrack-other`), in the kernel machine GRE and those without a tracker.
//!
//! The first word of the state is one of the three numbers below.

use super::timeout::Class;
use super::{Opened, Outcome, Step};
use crate::packet::proto;
use crate::tuple::Direction;

/// One packet so far.
pub(super) const FIRST: u64 = 0;
/// Several packets, all from the originator.
pub(super) const MULTIPLE: u64 = 1;
/// There was a reply.
pub(super) const BIDIRECTIONAL: u64 = 2;

#[inline]
fn follow(word: &mut u64, direction: Direction) -> u64 {
    if *word != BIDIRECTIONAL {
        *word = if direction == Direction::Reply {
            BIDIRECTIONAL
        } else {
            MULTIPLE
        };
    }
    *word
}

/// Open vSwitch: every packet refreshes; only an answered connection is established.
#[inline]
pub(super) fn advance(word: &mut u64, direction: Direction) -> Step {
    match follow(word, direction) {
        BIDIRECTIONAL => Step::new(Outcome::Valid, Class::OtherBidirectional),
        _ => Step::new(Outcome::ValidNew, Class::OtherMultiple),
    }
}

/// The word of a connection's state that [`is_answered`] asks.
pub const STATE: usize = 0;

/// In this state of the Open vSwitch machine every packet is valid, changes nothing and waits for
/// [`Class::OtherBidirectional`].
#[must_use]
#[inline]
pub const fn is_answered(word: u64) -> bool {
    word == BIDIRECTIONAL
}

/// What a connection in this state waits for.
pub(super) const fn waiting(word: u64) -> Class {
    match word {
        FIRST => Class::OtherFirst,
        MULTIPLE => Class::OtherMultiple,
        _ => Class::OtherBidirectional,
    }
}

/// The same in the kernel machine.
pub(super) const fn waiting_kernel(word: u64, protocol: u8) -> Class {
    match (protocol, word) {
        (proto::GRE, BIDIRECTIONAL) => Class::KernelGreStream,
        (proto::GRE, _) => Class::KernelGre,
        _ => Class::KernelGeneric,
    }
}

pub(super) const fn open_kernel(protocol: u8) -> Opened {
    match protocol {
        proto::GRE => Opened::new([FIRST, 0, 0], Class::KernelGre),
        _ => Opened::new([FIRST, 0, 0], Class::KernelGeneric),
    }
}

/// nf_conntrack: GRE becomes a stream with the first packet *after* a reply; the generic tracker has
/// one timeout and no stream.
pub(super) fn advance_kernel(word: &mut u64, protocol: u8, direction: Direction) -> Step {
    let answered = *word == BIDIRECTIONAL;
    let outcome = match follow(word, direction) {
        BIDIRECTIONAL => Outcome::Valid,
        _ => Outcome::ValidNew,
    };
    let class = match (protocol, answered) {
        (proto::GRE, true) => Class::KernelGreStream,
        (proto::GRE, false) => Class::KernelGre,
        _ => Class::KernelGeneric,
    };
    let mut step = Step::new(outcome, class);
    step.assured = class == Class::KernelGreStream;
    step
}
