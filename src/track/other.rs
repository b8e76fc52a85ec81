//! UDP, and every protocol that only knows "answered" and "not answered": Open vSwitch's module
//! `conntrack-other` and, for queries, `conntrack-icmp`.
//!
//! The first word of the protocol's state is one of the three numbers below.

use super::timeout::Class;
use super::{Outcome, Step};
use crate::tuple::Direction;

const FIRST: u64 = 0;
const MULTIPLE: u64 = 1;
const BIDIRECTIONAL: u64 = 2;

/// Every packet refreshes the timeout; only an answered connection is established.
#[inline]
pub(super) fn advance(word: &mut u64, direction: Direction) -> Step {
    *word = match (*word, direction) {
        (BIDIRECTIONAL, _) | (_, Direction::Reply) => BIDIRECTIONAL,
        (_, Direction::Original) => MULTIPLE,
    };
    match *word {
        BIDIRECTIONAL => Step::new(Outcome::Valid, Class::OtherBidirectional),
        _ => Step::new(Outcome::ValidNew, Class::OtherMultiple),
    }
}

/// A query is new until it is answered.
#[inline]
pub(super) fn advance_query(word: &mut u64, direction: Direction) -> Step {
    if direction == Direction::Reply {
        *word = BIDIRECTIONAL;
    }
    match *word {
        FIRST => Step::new(Outcome::ValidNew, Class::IcmpFirst),
        _ => Step::new(Outcome::Valid, Class::IcmpReply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originator_stays_new_until_a_reply_and_a_reply_is_for_good() {
        let mut word = FIRST;
        for _ in 0..3 {
            let step = advance(&mut word, Direction::Original);
            assert_eq!(step.outcome, Outcome::ValidNew);
            assert_eq!(step.timeout, Some(Class::OtherMultiple));
        }
        for direction in [Direction::Reply, Direction::Original] {
            let step = advance(&mut word, direction);
            assert_eq!(step.outcome, Outcome::Valid);
            assert_eq!(step.timeout, Some(Class::OtherBidirectional));
        }
    }

    #[test]
    fn a_query_is_established_by_its_answer() {
        let mut word = FIRST;
        let step = advance_query(&mut word, Direction::Original);
        assert_eq!(
            (step.outcome, step.timeout),
            (Outcome::ValidNew, Some(Class::IcmpFirst))
        );
        let step = advance_query(&mut word, Direction::Reply);
        assert_eq!(
            (step.outcome, step.timeout),
            (Outcome::Valid, Some(Class::IcmpReply))
        );
        let step = advance_query(&mut word, Direction::Original);
        assert_eq!(
            (step.outcome, step.timeout),
            (Outcome::Valid, Some(Class::IcmpReply))
        );
    }
}
