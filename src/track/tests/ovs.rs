//! Open vSwitch's TCP, rule by rule.

use super::*;

const VALID: Outcome = Outcome::Valid;

fn established() -> Talk {
    let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
    run(
        &mut talk,
        &[
            ('<', SYN | ACK, 0, 5000, 1001, 8192, VALID, "ESTABLISHED"),
            ('>', ACK, 0, 1001, 5001, 8192, VALID, "ESTABLISHED"),
        ],
    );
    talk
}

#[test]
fn a_connection_is_settled_while_both_sides_are_established_and_a_datagram_s_once_it_was_answered()
{
    let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
    let settled = |talk: &Talk| is_settled(proto::TCP, &talk.state.words);
    assert!(!settled(&talk));
    let _step = talk.reply(segment(SYN | ACK, 0, 5000, 1001, 8192));
    assert!(!settled(&talk));
    let _step = talk.original(segment(ACK, 0, 1001, 5001, 8192));
    assert!(settled(&talk));
    let _step = talk.reply(segment(ACK, 10, 5001, 1001, 8192));
    assert!(settled(&talk) && !is_settled(proto::SCTP, &talk.state.words));
    let _step = talk.original(segment(FIN | ACK, 0, 1001, 5011, 8192));
    assert!(!settled(&talk));

    let mut words = open_other().state.words;
    let _step = advance_other(&mut words, Direction::Original);
    assert!(!is_settled(proto::UDP, &words));
    let _step = advance_other(&mut words, Direction::Reply);
    assert!(is_settled(proto::UDP, &words));
    let _step = advance_other(&mut words, Direction::Original);
    assert!(is_settled(proto::UDP, &words));
}

#[test]
fn the_typical_trace_has_the_states_and_timeouts_of_open_vswitch() {
    let opened = open(&tcp(segment(SYN, 0, 1000, 0, 8192)), &[], &OVS).expect("opens");
    assert_eq!(opened.timeout, Class::TcpFirstPacket);
    let mut talk = Talk {
        state: opened.state,
        options: OVS,
    };
    assert_eq!(talk.names().sides, ["SYN_SENT", "CLOSED"]);
    let trace = [
        (
            '<',
            SYN | ACK,
            5000,
            1001,
            Class::TcpOpening,
            ["ESTABLISHED", "SYN_SENT"],
        ),
        (
            '>',
            ACK,
            1001,
            5001,
            Class::TcpEstablished,
            ["ESTABLISHED", "ESTABLISHED"],
        ),
        (
            '>',
            FIN | ACK,
            1001,
            5001,
            Class::TcpClosing,
            ["CLOSING", "ESTABLISHED"],
        ),
        (
            '<',
            ACK,
            5001,
            1002,
            Class::TcpClosing,
            ["FIN_WAIT_2", "ESTABLISHED"],
        ),
        (
            '<',
            FIN | ACK,
            5001,
            1002,
            Class::TcpFinWait,
            ["FIN_WAIT_2", "CLOSING"],
        ),
        (
            '>',
            ACK,
            1002,
            5002,
            Class::TcpClosed,
            ["FIN_WAIT_2", "FIN_WAIT_2"],
        ),
    ];
    for (who, flags, seq, ack, class, sides) in trace {
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
        assert_eq!(talk.names().sides, sides, "{packet:?}");
    }
    assert_eq!(
        talk.names().combined,
        "TIME_WAIT",
        "FIN_WAIT_2 is listed as TIME_WAIT"
    );
    assert_eq!(
        talk.original(segment(SYN, 0, 1, 0, 100)).outcome,
        Outcome::New
    );
}

#[test]
fn a_reset_closes_both_sides() {
    let mut talk = established();
    let step = talk.reply(segment(RST, 0, 5001, 0, 0));
    assert_eq!(
        (step.outcome, step.timeout),
        (VALID, Some(Class::TcpClosed))
    );
    assert_eq!(talk.names().sides, ["TIME_WAIT", "TIME_WAIT"]);
}

#[test]
fn a_reset_must_hit_within_one() {
    for (seq, legal) in [
        (4999, false),
        (5000, true),
        (5001, true),
        (5002, true),
        (5003, false),
    ] {
        let mut talk = established();
        let before = talk.state;
        let step = talk.reply(segment(RST, 0, seq, 0, 0));
        if legal {
            assert_eq!(step.outcome, VALID, "{seq}");
        } else {
            assert_eq!(step, Step::invalid(Reason::TcpResetSequence), "{seq}");
            assert_eq!(talk.state, before);
        }
    }
}

#[test]
fn illegal_flags_neither_open_nor_continue() {
    for flags in [
        SYN | RST,
        SYN | FIN,
        SYN | FIN | ACK,
        SYN | RST | ACK,
        0,
        FIN,
        PSH,
        URG,
        FIN | RST,
        PSH | SYN,
        URG | SYN,
        PSH | RST,
    ] {
        let packet = segment(flags, 0, 1001, 5001, 100);
        assert_eq!(
            open(&tcp(packet), &[], &OVS),
            Err(Reason::TcpFlags),
            "{flags:#x}"
        );
        let step = established().original(packet);
        assert_eq!(step, Step::invalid(Reason::TcpFlags), "{flags:#x}");
    }
}

#[test]
fn a_syn_ack_cannot_open_a_connection() {
    let packet = tcp(segment(SYN | ACK, 0, 1, 1, 100));
    for options in [OVS, KERNEL] {
        assert_eq!(open(&packet, &[], &options), Err(Reason::TcpSynAckFirst));
    }
}

#[test]
fn a_lone_ack_fin_or_reset_may_open_a_connection() {
    for flags in [ACK, FIN | ACK, RST, RST | ACK, PSH | ACK] {
        let opened = open(&tcp(segment(flags, 0, 1, 1, 100)), &[], &OVS).expect("opens");
        assert_eq!(opened.timeout, Class::TcpFirstPacket);
    }
}

#[test]
fn a_repeated_syn_stays_new_and_keeps_the_first_numbers() {
    let mut talk = Talk::open(segment(SYN, 0, 1000, 0, 8192), OVS);
    let before = talk.state;
    let step = talk.original(segment(SYN, 0, 77_777, 0, 1));
    assert_eq!(
        (step.outcome, step.timeout),
        (Outcome::ValidNew, Some(Class::TcpFirstPacket))
    );
    assert_eq!(talk.state, before);
}

#[test]
fn a_syn_begins_anew_only_when_both_sides_are_closed() {
    let mut talk = established();
    assert_ne!(
        talk.original(segment(SYN, 0, 9_000_000, 0, 100)).outcome,
        Outcome::New
    );
    let _closed = talk.original(segment(RST | ACK, 0, 1001, 5001, 0));
    assert_eq!(
        talk.original(segment(SYN, 0, 9_000_000, 0, 100)).outcome,
        Outcome::New
    );
    assert_eq!(
        talk.reply(segment(SYN, 0, 9_000_000, 0, 100)).outcome,
        Outcome::New
    );
}

/// One row for each comparison of the window, on both sides of its edge. The originator's `low` is its
/// SYN itself, because nothing that it sent since has data.
#[test]
fn each_edge_of_the_window_has_its_reason() {
    let far = 66_999 + 36; // 65535 + 1500
    let rows = [
        (ACK, 8192, 1001, 5001, None),
        (ACK, 8193, 1001, 5001, Some(Reason::TcpAboveWindow)),
        (ACK, 1, 1000_u32.wrapping_sub(8192), 5001, None),
        (
            ACK,
            1,
            1000_u32.wrapping_sub(8193),
            5001,
            Some(Reason::TcpBelowWindow),
        ),
        (ACK, 0, 1001, 5001 + far, None),
        (ACK, 0, 1001, 5001 + far + 1, Some(Reason::TcpAckAboveData)),
        (ACK, 0, 1001, 5001_u32.wrapping_sub(far), None),
        (
            ACK,
            0,
            1001,
            5001_u32.wrapping_sub(far + 1),
            Some(Reason::TcpAckTooOld),
        ),
    ];
    for (flags, len, seq, ack, refused) in rows {
        let mut talk = established();
        let before = talk.state;
        let step = talk.original(segment(flags, len, seq, ack, 8192));
        match refused {
            None => assert_eq!(step.outcome, VALID, "{len} {seq} {ack}"),
            Some(reason) => {
                assert_eq!(step, Step::invalid(reason), "{len} {seq} {ack}");
                assert_eq!(talk.state, before);
            }
        }
    }
}

#[test]
fn a_bypass_is_counted_only_when_the_window_was_missed() {
    for options in [
        Options {
            sequence_check: false,
            ..OVS
        },
        Options {
            liberal: true,
            ..OVS
        },
    ] {
        let mut talk = established();
        talk.options = options;
        let inside = talk.original(segment(ACK, 10, 1001, 5001, 8192));
        assert_eq!((inside.outcome, inside.bypassed), (VALID, false));
        let outside = talk.original(segment(ACK, 10, 90_000, 5001, 8192));
        assert_eq!((outside.outcome, outside.bypassed), (VALID, true));
        assert_eq!(outside.timeout, Some(Class::TcpEstablished));
    }
}

#[test]
fn awkward_packets_after_the_close_pass_without_a_refresh() {
    let mut talk = established();
    let _closed = talk.original(segment(RST | ACK, 0, 1001, 5001, 0));
    let step = talk.original(segment(ACK, 60_000, 1001, 5001, 8192));
    assert_eq!((step.outcome, step.timeout), (VALID, None));
    let step = talk.original(segment(ACK, 60_000, 900_000, 5001, 8192));
    assert_eq!(step.outcome, Outcome::Invalid(Reason::TcpAboveWindow));
}

#[test]
fn scales_count_only_when_both_sides_have_one() {
    let open_scaled = || {
        Talk::open(
            Tcp {
                wscale: Some(7),
                ..segment(SYN, 0, 1000, 0, 8192)
            },
            OVS,
        )
    };
    let answer = segment(SYN | ACK, 0, 5000, 1001, 8192);
    let mut both = open_scaled();
    let _step = both.reply(Tcp {
        wscale: Some(7),
        ..answer
    });
    let _step = both.original(segment(ACK, 0, 1001, 5001, 8192));
    assert_eq!(both.names().window_scale, [Some(7), Some(7)]);
    assert_eq!(both.names().flags, [protocol_flags::WINDOW_SCALE; 2]);
    let _step = both.reply(segment(ACK, 0, 5001, 1001, 8192));
    assert_eq!(
        both.original(segment(ACK, 1_000_000, 1001, 5001, 100))
            .outcome,
        VALID
    );

    let mut one = open_scaled();
    let _step = one.reply(answer);
    let _step = one.original(segment(ACK, 0, 1001, 5001, 8192));
    assert_eq!(one.names().window_scale, [None, None]);
    let step = one.original(segment(ACK, 1_000_000, 1001, 5001, 100));
    assert_eq!(step.outcome, Outcome::Invalid(Reason::TcpAboveWindow));
}

#[test]
fn multiplying_a_window_back_does_not_overflow() {
    let opener = Tcp {
        wscale: Some(14),
        ..segment(SYN, 0, 1000, 0, u16::MAX)
    };
    let mut talk = Talk::open(opener, OVS);
    let _step = talk.reply(segment(SYN | ACK, 0, 5000, 1001, 8192));
    let peers = tcp::unpack(&talk.state.words);
    assert_eq!(peers[0].window, u16::MAX, "in 16 bits it would be 0");
    assert_eq!(
        peers[1].high,
        5001 + u32::from(u16::MAX).max(u32::from(peers[0].window))
    );
}

#[test]
fn a_scale_beyond_fourteen_counts_as_fourteen() {
    let talk = Talk::open(
        Tcp {
            wscale: Some(200),
            ..segment(SYN, 0, 1, 0, 1)
        },
        OVS,
    );
    assert_eq!(talk.names().window_scale, [Some(14), None]);
}

#[test]
fn a_stream_picked_up_in_the_middle_uses_the_largest_scale() {
    let mut talk = Talk::open(segment(ACK, 100, 1000, 5000, 100), OVS);
    assert_eq!(talk.names().flags, [protocol_flags::BE_LIBERAL; 2]);
    assert_eq!(talk.reply(segment(ACK, 0, 5000, 1100, 100)).outcome, VALID);
    assert_eq!(
        talk.original(segment(ACK, 1_000_000, 1100, 5000, 100))
            .outcome,
        VALID
    );
    assert_eq!(talk.names().sides, ["ESTABLISHED", "ESTABLISHED"]);
}
