//! What a segment does to the numbers of both sides in the Open vSwitch machine, number by number: by all
//! rules, and by the straight way, which must agree with them.

use super::*;
use crate::track::tcp::{self, CLOSED, CLOSING, ESTABLISHED, FIN_WAIT_2, class_of};

const VALID: Outcome = Outcome::Valid;
/// 65535 + 1500: how far an acknowledgement may be off, and how far soft segments may be.
const FAR: u32 = 67_035;
const SYN_SENT: u8 = 2;
const TIME_WAIT: u8 = 10;

fn step(talk: &mut Talk, packet: Tcp, direction: Direction) -> Step {
    let mut words = talk.state.words;
    let by_rules = tcp::advance_by_rules(&mut words, &packet, direction, &talk.options);
    let step = match direction {
        Direction::Original => talk.original(packet),
        Direction::Reply => talk.reply(packet),
    };
    assert_eq!((step, talk.state.words), (by_rules, words), "{packet:?}");
    step
}

fn original(talk: &mut Talk, packet: Tcp) -> Step {
    step(talk, packet, Direction::Original)
}

fn reply(talk: &mut Talk, packet: Tcp) -> Step {
    step(talk, packet, Direction::Reply)
}

/// Highest number sent, highest allowed, largest window.
fn numbers(talk: &Talk, side: usize) -> (u32, u32, u16) {
    let peer = tcp::unpack(&talk.state.words)[side];
    (peer.low, peer.high, peer.window)
}

fn states(talk: &Talk) -> [u8; 2] {
    tcp::unpack(&talk.state.words).map(|peer| peer.state)
}

/// A stream with data from both sides: the originator has sent up to 1101 and may up to 9193, the
/// other one has sent up to 5101 and may up to 9293.
fn stream() -> Talk {
    let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
    for (from, packet) in [
        ('<', segment(SYN | ACK, 0, 5000, 1001, 8192)),
        ('>', segment(ACK, 100, 1001, 5001, 8192)),
        ('<', segment(ACK, 100, 5001, 1101, 8092)),
    ] {
        let step = match from {
            '>' => original(&mut talk, packet),
            _ => reply(&mut talk, packet),
        };
        assert_eq!(step.outcome, VALID);
    }
    assert_eq!(numbers(&talk, 0), (1101, 9193, 8192));
    assert_eq!(numbers(&talk, 1), (5101, 13_193, 8192));
    talk
}

fn reset() -> Talk {
    let mut talk = stream();
    assert_eq!(
        original(&mut talk, segment(RST | ACK, 0, 1101, 5101, 0)).outcome,
        VALID
    );
    talk
}

#[test]
fn the_first_segment_sets_its_sides_numbers_and_leaves_the_others_open() {
    for (flags, len, high) in [
        (SYN, 0, 1002),
        (SYN, 10, 1012),
        (ACK, 0, 1001),
        (ACK, 10, 1011),
        (FIN | ACK, 10, 1012),
        (RST, 0, 1001),
    ] {
        let talk = Talk::open(segment(flags, len, 1000, 1, 500), OVS);
        assert_eq!(numbers(&talk, 0), (1000, high, 500), "{flags:#x} {len}");
        assert_eq!(numbers(&talk, 1), (0, 1, 1));
        assert_eq!(states(&talk), [SYN_SENT, CLOSED]);
    }
}

#[test]
fn a_first_window_is_at_least_one_and_divided_by_its_scale_rounding_up() {
    for (window, wscale, expected) in [
        (0, None, 1),
        (0, Some(3), 1),
        (8, Some(3), 1),
        (9, Some(3), 2),
        (u16::MAX, Some(14), 4),
        (u16::MAX, None, u16::MAX),
    ] {
        let opener = Tcp {
            wscale,
            ..segment(SYN, 0, 1000, 0, window)
        };
        let talk = Talk::open(opener, OVS);
        assert_eq!(numbers(&talk, 0).2, expected, "{window} {wscale:?}");
    }
}

#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let opener = Tcp {
        wscale: Some(7),
        ..segment(SYN, 0, 1000, 0, 8192)
    };
    let mut talk = Talk::open(opener, OVS);
    let answer = Tcp {
        wscale: Some(7),
        ..segment(SYN | ACK, 0, 5000, 1001, 640)
    };
    assert_eq!(reply(&mut talk, answer).outcome, VALID);
    // Kept in units of its scale, but what it allows is what it says, rounded to such a unit.
    assert_eq!(numbers(&talk, 1).2, 5);
    assert_eq!(numbers(&talk, 0).1, 1001 + 640);
    // Sent again, when both scales are known.
    let again = segment(SYN | ACK, 0, 5000, 1001, 700);
    assert_eq!(reply(&mut talk, again).outcome, VALID);
    assert_eq!(numbers(&talk, 0).1, 1001 + 700);
}

#[test]
fn a_sides_first_segment_brings_its_own_numbers_and_is_not_held_to_its_acknowledgement() {
    for ack in [1001, 0, 1001 + FAR + 1, 1000_u32.wrapping_sub(FAR + 1)] {
        let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
        let step = reply(&mut talk, segment(SYN | ACK, 0, 5000, ack, 4000));
        assert_eq!(
            (step.outcome, step.timeout),
            (VALID, Some(Class::TcpOpening))
        );
        let (low, high, window) = numbers(&talk, 1);
        assert_eq!((low, high, window), (5001, 5001 + 8192, 4000), "{ack}");
        assert_eq!(states(&talk), [ESTABLISHED, SYN_SENT]);
    }
}

#[test]
fn without_an_acknowledgement_there_is_none_to_check() {
    let open = || {
        let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
        let _answer = reply(&mut talk, segment(SYN | ACK, 0, 900_000, 1001, 8192));
        talk
    };
    // A reset without ACK, and one of a stack that sets ACK and leaves the number zero.
    for flags in [RST, RST | ACK] {
        let step = original(&mut open(), segment(flags, 0, 1001, 0, 0));
        assert_eq!(
            (step.outcome, step.timeout),
            (VALID, Some(Class::TcpClosed))
        );
    }
    // Zero is a number like any other to a segment that is no reset.
    let step = original(&mut open(), segment(ACK, 0, 1001, 0, 8192));
    assert_eq!(step, Step::invalid(Reason::TcpAckTooOld));
}

#[test]
fn a_segment_without_data_is_taken_to_be_where_its_sender_is() {
    for seq in [0, 1101, 77_777, u32::MAX] {
        let mut talk = stream();
        let step = original(&mut talk, segment(ACK, 0, seq, 5101, 8192));
        assert_eq!(step.outcome, VALID, "{seq}");
        assert_eq!(numbers(&talk, 0).0, 1101);
    }
    // One byte more, and its number counts.
    let step = original(&mut stream(), segment(ACK, 1, 77_777, 5101, 8192));
    assert_eq!(step.outcome, Outcome::Invalid(Reason::TcpAboveWindow));
}

#[test]
fn data_may_begin_one_window_before_what_was_sent_and_end_at_what_is_allowed() {
    for (seq, len, expected) in [
        (1101, 8092, None),
        (1101, 8093, Some(Reason::TcpAboveWindow)),
        (1101_u32.wrapping_sub(8192), 1, None),
        (1101_u32.wrapping_sub(8193), 1, Some(Reason::TcpBelowWindow)),
    ] {
        let step = original(&mut stream(), segment(ACK, len, seq, 5101, 8192));
        let expected = expected.map_or(VALID, Outcome::Invalid);
        assert_eq!(step.outcome, expected, "{seq} {len}");
    }
}

#[test]
fn an_acknowledgement_may_be_a_scaled_window_old_and_little_ahead() {
    let scaled = |flags, seq, ack| Tcp {
        wscale: Some(2),
        ..segment(flags, 0, seq, ack, 8192)
    };
    let open = || {
        let mut talk = Talk::open(scaled(SYN, 1000, 0), OVS);
        let _answer = reply(&mut talk, scaled(SYN | ACK, 900_000, 1001));
        let _third = original(&mut talk, segment(ACK, 0, 1001, 900_001, 8192));
        talk
    };
    let sent = 900_001;
    for (ack, expected) in [
        (sent - (FAR << 2), None),
        (sent - (FAR << 2) - 1, Some(Reason::TcpAckTooOld)),
        (sent + FAR, None),
        (sent + FAR + 1, Some(Reason::TcpAckAboveData)),
    ] {
        let step = original(&mut open(), segment(ACK, 0, 1001, ack, 8192));
        let expected = expected.map_or(VALID, Outcome::Invalid);
        assert_eq!(step.outcome, expected, "{ack}");
    }
}

#[test]
fn an_accepted_segment_moves_both_edges_and_only_forward() {
    let mut talk = stream();
    let _step = original(&mut talk, segment(ACK, 500, 1101, 5101, 9000));
    assert_eq!(numbers(&talk, 0), (1601, 9193, 9000));
    assert_eq!(numbers(&talk, 1), (5101, 5101 + 9000, 8192));
    // Old data, a smaller window: nothing moves back.
    let before = [numbers(&talk, 0), numbers(&talk, 1)];
    let _step = original(&mut talk, segment(ACK, 100, 1101, 5001, 10));
    assert_eq!([numbers(&talk, 0), numbers(&talk, 1)], before);
    // A closed window still allows the byte that probes it.
    let _step = reply(&mut talk, segment(ACK, 0, 5101, 9193, 0));
    assert_eq!(numbers(&talk, 0).1, 9193 + 1);
}

#[test]
fn fin_ack_and_reset_move_the_states() {
    let mut talk = stream();
    assert_eq!(states(&talk), [ESTABLISHED; 2]);
    let _fin = original(&mut talk, segment(FIN | ACK, 0, 1101, 5101, 8192));
    assert_eq!(states(&talk), [CLOSING, ESTABLISHED]);
    let _again = original(&mut talk, segment(FIN | ACK, 0, 1101, 5101, 8192));
    assert_eq!(states(&talk), [CLOSING, ESTABLISHED]);
    let _ack = reply(&mut talk, segment(ACK, 0, 5101, 1102, 8192));
    assert_eq!(states(&talk), [FIN_WAIT_2, ESTABLISHED]);
    let _late = original(&mut talk, segment(FIN | ACK, 0, 1101, 5101, 8192));
    assert_eq!(states(&talk), [FIN_WAIT_2, ESTABLISHED]);
    let _reset = reply(&mut talk, segment(RST, 0, 5101, 0, 0));
    assert_eq!(states(&talk), [TIME_WAIT; 2]);
}

#[test]
fn after_a_close_segments_pass_softly_up_to_a_limit_on_both_sides() {
    for (seq, len, expected) in [
        (1102, 9193 + FAR - 1102, VALID),
        (
            1102,
            9193 + FAR - 1101,
            Outcome::Invalid(Reason::TcpAboveWindow),
        ),
        (1101_u32.wrapping_sub(FAR), 1, VALID),
        (
            1101_u32.wrapping_sub(FAR + 1),
            1,
            Outcome::Invalid(Reason::TcpBelowWindow),
        ),
    ] {
        let mut talk = reset();
        let step = original(&mut talk, segment(ACK, len, seq, 5101, 8192));
        assert_eq!(
            (step.outcome, step.timeout),
            (expected, None),
            "{seq} {len}"
        );
    }
    // An open connection has no such limit.
    let step = original(
        &mut stream(),
        segment(ACK, 9193 - 1101 + 1, 1101, 5101, 8192),
    );
    assert_eq!(step, Step::invalid(Reason::TcpAboveWindow));
}

#[test]
fn a_segment_that_passes_softly_moves_numbers_but_acknowledges_nothing() {
    // Its receiver has said nothing yet, so its acknowledgement is of nobody's numbers.
    let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
    let step = original(&mut talk, segment(ACK, 500, 1001, 5001, 9000));
    assert_eq!((step.outcome, step.timeout), (VALID, None));
    assert_eq!(numbers(&talk, 0), (1501, 1002, 9000));
    assert_eq!(numbers(&talk, 1).1, 5001 + 9000);
    assert_eq!(states(&talk), [SYN_SENT, CLOSED]);
    // FIN and RST count all the same.
    let step = original(&mut talk, segment(FIN | ACK, 500, 1501, 5001, 9000));
    assert_eq!((step.outcome, step.timeout), (VALID, None));
    assert_eq!(states(&talk), [CLOSING, CLOSED]);
    let step = original(&mut talk, segment(RST | ACK, 500, 2002, 5001, 9000));
    assert_eq!((step.outcome, step.timeout), (VALID, None));
    assert_eq!(states(&talk), [TIME_WAIT; 2]);
}

#[test]
fn a_syn_on_an_open_connection_is_judged_by_its_window() {
    let step = original(&mut stream(), segment(SYN, 0, 1101, 0, 8192));
    assert_eq!(
        (step.outcome, step.timeout),
        (VALID, Some(Class::TcpEstablished))
    );
    let step = original(&mut stream(), segment(SYN, 0, 5_000_000, 0, 8192));
    assert_eq!(step, Step::invalid(Reason::TcpAboveWindow));
    // One side that has closed is not enough to start over.
    let half_closed = || {
        let mut talk = stream();
        let _fin = original(&mut talk, segment(FIN | ACK, 0, 1101, 5101, 8192));
        let _ack = reply(&mut talk, segment(ACK, 0, 5101, 1102, 8192));
        assert_eq!(states(&talk), [FIN_WAIT_2, ESTABLISHED]);
        talk
    };
    let step = original(&mut half_closed(), segment(SYN, 0, 5_000_000, 0, 8192));
    assert_eq!(step, Step::invalid(Reason::TcpAboveWindow));
    let step = reply(&mut half_closed(), segment(SYN, 0, 5101, 0, 8192));
    assert_eq!(
        (step.outcome, step.timeout),
        (VALID, Some(Class::TcpClosing))
    );
}

#[test]
fn the_timeout_is_the_first_that_fits_both_states() {
    const STATES: [u8; 6] = [
        CLOSED,
        SYN_SENT,
        ESTABLISHED,
        CLOSING,
        FIN_WAIT_2,
        TIME_WAIT,
    ];
    for a in STATES {
        for b in STATES {
            let expected = if a >= FIN_WAIT_2 && b >= FIN_WAIT_2 {
                Class::TcpClosed
            } else if a >= CLOSING && b >= CLOSING {
                Class::TcpFinWait
            } else if a < ESTABLISHED || b < ESTABLISHED {
                Class::TcpOpening
            } else if a >= CLOSING || b >= CLOSING {
                Class::TcpClosing
            } else {
                Class::TcpEstablished
            };
            assert_eq!(class_of(a, b), expected, "{a} {b}");
        }
    }
}

#[test]
fn the_timeouts_have_open_vswitchs_names_and_seconds() {
    for (class, name, seconds) in [
        (Class::TcpFirstPacket, "tcp_syn_sent", 30),
        (Class::TcpOpening, "tcp_syn_recv", 30),
        (Class::TcpEstablished, "tcp_established", 86_400),
        (Class::TcpClosing, "tcp_fin_wait", 900),
        (Class::TcpFinWait, "tcp_time_wait", 45),
        (Class::TcpClosed, "tcp_close", 30),
        (Class::OtherFirst, "udp_first", 60),
        (Class::OtherMultiple, "udp_single", 60),
        (Class::OtherBidirectional, "udp_multiple", 30),
        (Class::IcmpFirst, "icmp_first", 60),
        (Class::IcmpReply, "icmp_reply", 30),
    ] {
        assert_eq!(
            (class.attribute(), class.default_seconds()),
            (name, seconds)
        );
    }
}
