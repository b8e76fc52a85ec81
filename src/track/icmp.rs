//! ICMP and ICMPv6 queries: a question opens, an answer establishes.
//!
//! That question and answer are of one kind, and who asked, is part of the connection's key and not
//! decided here. Errors are no steps: the engine relates them to the connection that they quote.

use super::other::{BIDIRECTIONAL, FIRST};
use super::timeout::Class;
use super::{Machine, Opened, Outcome, Step};
use crate::packet::{Family, Query};
use crate::reason::Reason;
use crate::tuple::{Direction, QueryKind};

pub(super) fn open(family: Family, query: &Query, machine: Machine) -> Result<Opened, Reason> {
    match (QueryKind::of(family, query.kind), machine) {
        (None, _) | (Some((QueryKind::Mask, _)), Machine::Ovs) => Err(Reason::IcmpType),
        (Some((_, false)), _) => Err(Reason::IcmpReplyFirst),
        (Some((_, true)), Machine::Ovs) => Ok(Opened::new([0; 3], Class::IcmpFirst)),
        (Some((_, true)), Machine::Kernel) => Ok(Opened::new([0; 3], Class::KernelIcmp)),
    }
}

/// What a connection in this state waits for (Open vSwitch).
pub(super) const fn waiting(word: u64) -> Class {
    match word {
        FIRST => Class::IcmpFirst,
        _ => Class::IcmpReply,
    }
}

/// Open vSwitch: new until it is answered.
#[inline]
pub(super) fn advance(word: &mut u64, direction: Direction) -> Step {
    if direction == Direction::Reply {
        *word = BIDIRECTIONAL;
    }
    match *word {
        FIRST => Step::new(Outcome::ValidNew, Class::IcmpFirst),
        _ => Step::new(Outcome::Valid, Class::IcmpReply),
    }
}

/// nf_conntrack: one timeout, and never worth keeping.
pub(super) fn advance_kernel(word: &mut u64, direction: Direction) -> Step {
    let mut step = advance(word, direction);
    step.timeout = Some(Class::KernelIcmp);
    step
}
