//! UDP of the kernel machine (the Open vSwitch machine treats it as any other protocol).
//!
//! A question and its answer must not look like a stream, so nf_conntrack gives the long timeout,
//! and calls the connection worth keeping, only to a connection that has a reply and still talks two
//! seconds after its first packet. The word holds that moment (48 bits) and the reply's bit.

use super::timeout::Class;
use super::{Opened, Outcome, Step};
use crate::clock::Time;
use crate::tuple::Direction;

/// Milliseconds from the first packet to the moment when traffic both ways is a stream.
const STREAM_AFTER: u64 = 2_000;
const ANSWERED: u64 = 1 << 63;

pub(super) const fn open(now: Time) -> Opened {
    Opened::new([now.plus(STREAM_AFTER).as_millis(), 0, 0], Class::KernelUdp)
}

/// What a connection in this state waits for, once two seconds have passed.
pub(super) const fn waiting(word: u64) -> Class {
    if word & ANSWERED != 0 {
        Class::KernelUdpStream
    } else {
        Class::KernelUdp
    }
}

#[inline]
pub(super) fn advance(word: &mut u64, direction: Direction, now: Time) -> Step {
    let answered = *word & ANSWERED != 0;
    if direction == Direction::Reply {
        *word |= ANSWERED;
    }
    if *word & ANSWERED == 0 {
        return Step::new(Outcome::ValidNew, Class::KernelUdp);
    }
    if answered && now.as_millis() > *word & !ANSWERED {
        let mut step = Step::new(Outcome::Valid, Class::KernelUdpStream);
        step.assured = true;
        return step;
    }
    Step::new(Outcome::Valid, Class::KernelUdp)
}
