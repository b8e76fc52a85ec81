//! nf_conntrack's TCP: the six packetdrill scenarios of its selftests, and its rules.

use super::*;

const VALID: Outcome = Outcome::Valid;
const NEW: Outcome = Outcome::ValidNew;
const SACK: u16 = u16::MAX;

/// Handshake as in the scenarios: relative numbers, the answer begins at `answer`.
fn established() -> Talk {
    let opener = Tcp {
        wscale: Some(8),
        sack_permitted: true,
        ..segment(SYN, 0, 0, 0, SACK)
    };
    let mut talk = Talk::open(opener, KERNEL);
    run(
        &mut talk,
        &[
            ('<', SYN | ACK, 0, 0, 1, SACK, VALID, "SYN_RECV"),
            ('>', ACK, 0, 1, 1, SACK, VALID, "ESTABLISHED"),
        ],
    );
    talk
}

fn three_segments(talk: &mut Talk) {
    for start in [1, 1001, 2001] {
        assert_eq!(
            talk.reply(segment(ACK, 1000, start, 1, SACK)).outcome,
            VALID
        );
    }
    for ack in [1001, 2001, 3001] {
        assert_eq!(talk.original(segment(ACK, 0, 1, ack, SACK)).outcome, VALID);
    }
}

#[test]
fn scenario_rst_invalid_only_an_exact_reset_closes() {
    let mut talk = established();
    three_segments(&mut talk);
    let bad = |reason| Outcome::Invalid(reason);
    run(
        &mut talk,
        &[
            (
                '<',
                RST,
                0,
                0,
                0,
                0,
                bad(Reason::TcpResetSequence),
                "ESTABLISHED",
            ),
            (
                '<',
                RST,
                0,
                1_000_000,
                0,
                0,
                bad(Reason::TcpAboveWindow),
                "ESTABLISHED",
            ),
            (
                '<',
                RST,
                0,
                42,
                0,
                0,
                bad(Reason::TcpResetSequence),
                "ESTABLISHED",
            ),
            ('>', PSH | ACK, 1000, 1, 3001, SACK, VALID, "ESTABLISHED"),
            ('<', ACK, 0, 3001, 1001, SACK, VALID, "ESTABLISHED"),
            (
                '<',
                RST | ACK,
                0,
                3000,
                1001,
                0,
                bad(Reason::TcpResetSequence),
                "ESTABLISHED",
            ),
            ('<', RST | ACK, 0, 3001, 1001, 0, VALID, "CLOSE"),
        ],
    );
}

#[test]
fn scenario_inexact_rst_a_reset_after_a_fin_closes() {
    let mut talk = established();
    three_segments(&mut talk);
    run(
        &mut talk,
        &[
            ('>', PSH | ACK, 1000, 1, 3001, SACK, VALID, "ESTABLISHED"),
            ('<', FIN | ACK, 0, 3001, 1001, SACK, VALID, "FIN_WAIT"),
            ('>', ACK, 0, 1001, 3002, SACK, VALID, "CLOSE_WAIT"),
            ('>', RST | ACK, 0, 1001, 3002, SACK, VALID, "CLOSE"),
            ('<', RST, 0, 2001, 0, 0, VALID, "CLOSE"),
        ],
    );
}

#[test]
fn scenario_ack_loss_stall_a_received_segment_sent_again_passes() {
    let mut talk = Talk::open(segment(SYN, 0, 0, 0, 32792), KERNEL);
    run(
        &mut talk,
        &[
            ('<', SYN | ACK, 0, 0, 1, SACK, VALID, "SYN_RECV"),
            ('>', ACK, 0, 1, 1, SACK, VALID, "ESTABLISHED"),
        ],
    );
    for i in 0..46 {
        let start = 1 + i * 1460;
        assert_eq!(
            talk.original(segment(PSH | ACK, 1460, start, 1, 257))
                .outcome,
            VALID
        );
        assert_eq!(
            talk.reply(segment(ACK, 0, 1, start + 1460, SACK)).outcome,
            VALID
        );
    }
    let before = talk.state;
    let step = talk.original(segment(PSH | ACK, 1460, 1, 1, 257));
    assert_eq!((step.outcome, step.timeout), (VALID, None));
    assert_eq!(talk.state.words[..2], before.words[..2]);
}

#[test]
fn scenario_syn_challenge_ack_the_connection_begins_anew() {
    let opener = Tcp {
        wscale: Some(8),
        sack_permitted: true,
        ..segment(SYN, 0, 0, 0, SACK)
    };
    let mut talk = Talk::open(opener, KERNEL);
    run(
        &mut talk,
        &[
            (
                '<',
                ACK,
                0,
                145_824_453,
                643_160_523,
                240,
                VALID,
                "SYN_SENT",
            ),
            ('>', RST, 0, 643_160_523, 0, 0, VALID, "CLOSE"),
        ],
    );
    assert_eq!(talk.original(opener).outcome, Outcome::New);
}

#[test]
fn scenario_synack_old_an_answer_to_an_old_syn_is_invalid_and_harmless() {
    let opener = Tcp {
        wscale: Some(8),
        sack_permitted: true,
        ..segment(SYN, 0, 0, 0, SACK)
    };
    let mut talk = Talk::open(opener, KERNEL);
    let before = talk.state;
    let old = Tcp {
        wscale: Some(0),
        ..segment(SYN | ACK, 0, 145_824_453, 643_160_523, 240)
    };
    assert_eq!(talk.reply(old), Step::invalid(Reason::TcpAckAboveData));
    assert_eq!(talk.state, before);
    let again = talk.original(opener);
    assert_eq!(
        (again.outcome, again.timeout),
        (NEW, None),
        "a repeated SYN refreshes nothing"
    );
    let right = Tcp {
        wscale: Some(0),
        ..segment(SYN | ACK, 0, 145_758_918, 1, 250)
    };
    assert_eq!(talk.reply(right).outcome, VALID);
    let step = talk.original(segment(ACK, 0, 1, 145_758_919, 256));
    assert_eq!((step.outcome, step.assured), (VALID, true));
    assert_eq!(talk.names().combined, "ESTABLISHED");
}

#[test]
fn scenario_synack_reuse_a_syn_on_an_open_connection_passes_and_its_reset_clears_it() {
    let mut talk = established();
    run(
        &mut talk,
        &[
            ('>', PSH | ACK, 100, 1, 1, 257, VALID, "ESTABLISHED"),
            ('<', ACK, 0, 1, 101, 256, VALID, "ESTABLISHED"),
            ('>', SYN, 0, 2000, 0, 32792, VALID, "ESTABLISHED"),
            ('<', ACK, 0, 1, 101, 256, VALID, "ESTABLISHED"),
            ('>', RST | ACK, 0, 101, 1, 257, VALID, "CLOSE"),
        ],
    );
    assert_eq!(
        talk.original(segment(SYN, 0, 2000, 0, 32792)).outcome,
        Outcome::New
    );
}

#[test]
fn the_typical_trace_has_the_states_and_timeouts_of_nf_conntrack() {
    let mut talk = Talk::open(segment(SYN, 0, 0, 0, 8192), KERNEL);
    let trace = [
        (
            '<',
            SYN | ACK,
            0,
            1,
            Class::KernelTcpSynRecv,
            "SYN_RECV",
            false,
        ),
        (
            '>',
            ACK,
            1,
            1,
            Class::KernelTcpEstablished,
            "ESTABLISHED",
            true,
        ),
        (
            '>',
            FIN | ACK,
            1,
            1,
            Class::KernelTcpFinWait,
            "FIN_WAIT",
            true,
        ),
        (
            '<',
            ACK,
            1,
            2,
            Class::KernelTcpCloseWait,
            "CLOSE_WAIT",
            true,
        ),
        (
            '<',
            FIN | ACK,
            1,
            2,
            Class::KernelTcpLastAck,
            "LAST_ACK",
            true,
        ),
        ('>', ACK, 2, 2, Class::KernelTcpTimeWait, "TIME_WAIT", true),
    ];
    for (who, flags, seq, ack, class, name, assured) in trace {
        let packet = segment(flags, 0, seq, ack, 8192);
        let step = if who == '>' {
            talk.original(packet)
        } else {
            talk.reply(packet)
        };
        assert_eq!(
            (step.outcome, step.timeout),
            (VALID, Some(class)),
            "{packet:?}"
        );
        assert_eq!(
            (talk.names().combined, step.assured),
            (name, assured),
            "{packet:?}"
        );
    }
    assert_eq!(
        talk.original(segment(SYN, 0, 9, 0, 8192)).outcome,
        Outcome::New
    );
}

#[test]
fn a_reset_that_answers_the_syn_removes_the_connection() {
    let mut talk = Talk::open(segment(SYN, 0, 100, 0, 8192), KERNEL);
    let step = talk.reply(segment(RST | ACK, 0, 0, 101, 0));
    assert_eq!((step.outcome, step.remove), (VALID, true));
}

#[test]
fn syns_that_cross_open_the_connection() {
    let mut talk = Talk::open(segment(SYN, 0, 100, 0, 8192), KERNEL);
    run(
        &mut talk,
        &[
            ('<', SYN, 0, 500, 0, 8192, VALID, "SYN_SENT2"),
            ('>', SYN | ACK, 0, 100, 501, 8192, VALID, "SYN_RECV"),
            ('<', ACK, 0, 501, 101, 8192, VALID, "ESTABLISHED"),
        ],
    );
}

#[test]
fn without_loose_a_lone_ack_cannot_open() {
    let packet = tcp(segment(ACK, 0, 1, 1, 100));
    let strict = Options {
        loose: false,
        ..KERNEL
    };
    assert_eq!(open(&packet, &[], &strict), Err(Reason::TcpMidstream));
    let opened = open(&packet, &[], &KERNEL).expect("loose");
    assert_eq!(opened.timeout, Class::KernelTcpEstablished);
    assert_eq!(opened.at_most, Some(Class::KernelTcpUnacknowledged));
    for flags in [FIN | ACK, RST] {
        let packet = tcp(segment(flags, 0, 1, 1, 100));
        assert_eq!(open(&packet, &[], &KERNEL), Err(Reason::TcpMidstream));
    }
}

#[test]
fn a_picked_up_stream_is_assured_by_its_answer_and_not_held_to_its_window() {
    let mut talk = Talk::open(segment(ACK, 10, 1000, 5000, 100), KERNEL);
    assert_eq!(talk.reply(segment(ACK, 0, 5000, 1010, 100)).outcome, VALID);
    let step = talk.original(segment(ACK, 1_000_000, 9_000_000, 5000, 100));
    assert_eq!(
        (step.outcome, step.bypassed, step.assured),
        (VALID, true, true)
    );
}

#[test]
fn unacknowledged_data_shortens_the_wait_until_it_is_acknowledged() {
    let mut talk = established();
    let step = talk.original(segment(PSH | ACK, 100, 1, 1, SACK));
    assert_eq!(step.at_most, Some(Class::KernelTcpUnacknowledged));
    let step = talk.reply(segment(ACK, 0, 1, 101, SACK));
    assert_eq!(step.at_most, None);
}

#[test]
fn three_repetitions_shorten_the_wait() {
    let mut talk = established();
    let packet = segment(ACK, 0, 1, 1, 500);
    for expected in [None, None, None, Some(Class::KernelTcpRetransmit)] {
        assert_eq!(talk.original(packet).at_most, expected);
    }
}

#[test]
fn a_challenge_ack_in_last_ack_is_not_the_last_ack() {
    let mut talk = established();
    run(
        &mut talk,
        &[
            ('>', FIN | ACK, 0, 1, 1, SACK, VALID, "FIN_WAIT"),
            ('<', FIN | ACK, 0, 1, 2, SACK, VALID, "LAST_ACK"),
            ('>', SYN, 0, 90_000, 0, SACK, VALID, "LAST_ACK"),
            ('<', ACK, 0, 2, 2, SACK, VALID, "LAST_ACK"),
        ],
    );
}

#[test]
fn an_answer_to_an_ignored_syn_brings_us_into_step() {
    let mut talk = established();
    run(
        &mut talk,
        &[
            ('>', SYN, 0, 7_000_000, 0, 1000, VALID, "ESTABLISHED"),
            (
                '<',
                SYN | ACK,
                0,
                9_000_000,
                7_000_001,
                1000,
                VALID,
                "SYN_RECV",
            ),
            (
                '>',
                ACK,
                0,
                7_000_001,
                9_000_001,
                1000,
                VALID,
                "ESTABLISHED",
            ),
        ],
    );
}

#[test]
fn each_edge_of_the_window_has_its_verdict() {
    // Both windows are 65,535 and nothing was sent.
    let rows = [
        (1, 65_536, 1, Ok(true)),
        (1, 65_537, 1, Err(Reason::TcpAboveWindow)),
        (0, 1, 2, Err(Reason::TcpAckAboveData)),
        (0, 1, 1_u32.wrapping_sub(66_000), Ok(true)),
        (0, 1, 1_u32.wrapping_sub(66_001), Ok(false)),
        (0, 1_u32.wrapping_sub(65_535), 1, Ok(true)),
        (0, 1_u32.wrapping_sub(65_536), 1, Ok(false)),
    ];
    for (len, seq, ack, expected) in rows {
        let mut talk = established();
        let before = talk.state;
        let step = talk.original(segment(ACK, len, seq, ack, SACK));
        match expected {
            Ok(refreshed) => {
                assert_eq!(
                    (step.outcome, step.timeout.is_some()),
                    (VALID, refreshed),
                    "{seq} {ack}"
                );
            }
            Err(reason) => {
                // Data just beyond the window is late, not invalid: go two windows further.
                let step = match reason {
                    Reason::TcpAboveWindow => {
                        assert_eq!((step.outcome, step.timeout), (VALID, None));
                        talk.state = before;
                        talk.original(segment(ACK, len, seq + 2 * 65_536, ack, SACK))
                    }
                    _ => step,
                };
                assert_eq!(step, Step::invalid(reason), "{seq} {ack}");
                assert_eq!(talk.state, before);
            }
        }
    }
}

#[test]
fn selective_acknowledgements_count_when_they_were_agreed_on() {
    let opener = Tcp {
        sack_permitted: true,
        ..segment(SYN, 0, 0, 0, 1000)
    };
    let answer = Tcp {
        sack_permitted: true,
        ..segment(SYN | ACK, 0, 0, 1, 1000)
    };
    let mut talk = Talk::open(opener, KERNEL);
    let _step = talk.reply(answer);
    let _step = talk.original(segment(ACK, 0, 1, 1, 1000));
    let beyond = Tcp {
        sack: Some(5000),
        ..segment(ACK, 0, 1, 1, 1000)
    };
    assert_eq!(
        talk.reply(beyond).outcome,
        Outcome::Invalid(Reason::TcpAckAboveData)
    );
}

#[test]
fn without_strict_reset_any_reset_in_the_window_closes() {
    let mut talk = established();
    three_segments(&mut talk);
    talk.options.strict_reset = false;
    assert_eq!(talk.reply(segment(RST, 0, 3500, 0, 0)).outcome, VALID);
    assert_eq!(talk.names().combined, "CLOSE");
}

#[test]
fn flags_are_judged_as_nf_conntrack_judges_them() {
    // `tcp_valid_flags`, for all 64 combinations; PSH makes no difference.
    let valid = [
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
    for flags in 0..64 {
        let opened = open(&tcp(segment(flags, 0, 1, 1, 100)), &[], &KERNEL);
        let refused = opened == Err(Reason::TcpFlags);
        assert_eq!(refused, !valid.contains(&(flags & !PSH)), "{flags:#x}");
    }
}
