//! UDP, ICMP, GRE, others and SCTP.

use super::*;
use crate::packet::Query;

const VALID: Outcome = Outcome::Valid;
const NEW: Outcome = Outcome::ValidNew;

fn step(state: &mut State, facts: &Facts, direction: Direction, options: &Options) -> Step {
    advance(state, facts, &[], direction, options)
}

#[test]
fn open_vswitch_keeps_three_states_of_everything_but_tcp_and_icmp() {
    for (number, transport) in [
        (proto::UDP, Transport::Udp(1, 2)),
        (proto::SCTP, Transport::Sctp(1, 2, 9)),
        (proto::GRE, Transport::Other),
    ] {
        let facts = facts(number, transport);
        let opened = open(&facts, &[], &OVS).expect("anything opens");
        assert_eq!(opened.timeout, Class::OtherFirst);
        let mut state = opened.state;
        for _ in 0..2 {
            let first = step(&mut state, &facts, Direction::Original, &OVS);
            assert_eq!(
                (first.outcome, first.timeout),
                (NEW, Some(Class::OtherMultiple))
            );
        }
        for direction in [Direction::Reply, Direction::Original] {
            let both = step(&mut state, &facts, direction, &OVS);
            assert_eq!(
                (both.outcome, both.timeout),
                (VALID, Some(Class::OtherBidirectional))
            );
        }
    }
}

#[test]
fn only_questions_open_an_icmp_connection() {
    let of = |family, number, kind| Facts {
        family,
        ..facts(number, Transport::Query(Query { kind, id: 1 }))
    };
    for (kind, ovs, kernel) in [
        (8, Ok(Class::IcmpFirst), Ok(Class::KernelIcmp)),
        (13, Ok(Class::IcmpFirst), Ok(Class::KernelIcmp)),
        (15, Ok(Class::IcmpFirst), Ok(Class::KernelIcmp)),
        (17, Err(Reason::IcmpType), Ok(Class::KernelIcmp)),
        (0, Err(Reason::IcmpReplyFirst), Err(Reason::IcmpReplyFirst)),
        (16, Err(Reason::IcmpReplyFirst), Err(Reason::IcmpReplyFirst)),
        (42, Err(Reason::IcmpType), Err(Reason::IcmpType)),
    ] {
        let packet = of(Family::V4, proto::ICMP, kind);
        assert_eq!(
            open(&packet, &[], &OVS).map(|opened| opened.timeout),
            ovs,
            "{kind}"
        );
        assert_eq!(
            open(&packet, &[], &KERNEL).map(|opened| opened.timeout),
            kernel,
            "{kind}"
        );
    }
    for (kind, expected) in [
        (128, Ok(Class::IcmpFirst)),
        (129, Err(Reason::IcmpReplyFirst)),
        (8, Err(Reason::IcmpType)),
    ] {
        let packet = of(Family::V6, proto::ICMPV6, kind);
        assert_eq!(
            open(&packet, &[], &OVS).map(|opened| opened.timeout),
            expected,
            "{kind}"
        );
    }
}

#[test]
fn a_query_is_new_until_it_is_answered() {
    let facts = facts(proto::ICMP, Transport::Query(Query { kind: 8, id: 1 }));
    for (options, first, reply) in [
        (OVS, Class::IcmpFirst, Class::IcmpReply),
        (KERNEL, Class::KernelIcmp, Class::KernelIcmp),
    ] {
        let mut state = open(&facts, &[], &options).expect("a question").state;
        let again = step(&mut state, &facts, Direction::Original, &options);
        assert_eq!((again.outcome, again.timeout), (NEW, Some(first)));
        for direction in [Direction::Reply, Direction::Original] {
            let answer = step(&mut state, &facts, direction, &options);
            assert_eq!((answer.outcome, answer.timeout), (VALID, Some(reply)));
            assert!(!answer.assured);
        }
    }
}

#[test]
fn udp_is_a_stream_only_two_seconds_after_its_first_packet() {
    let facts = facts(proto::UDP, Transport::Udp(1, 2));
    let at = |millis| Options {
        now: Time::from_millis(millis),
        ..KERNEL
    };
    let mut state = open(&facts, &[], &at(1000)).expect("opens").state;
    let mut talk = |millis, direction| {
        let step = step(&mut state, &facts, direction, &at(millis));
        (step.outcome, step.timeout.expect("refreshes"), step.assured)
    };
    assert_eq!(
        talk(9000, Direction::Original),
        (NEW, Class::KernelUdp, false)
    );
    assert_eq!(
        talk(9000, Direction::Reply),
        (VALID, Class::KernelUdp, false)
    );
    assert_eq!(
        talk(3000, Direction::Original),
        (VALID, Class::KernelUdp, false)
    );
    assert_eq!(
        talk(3001, Direction::Original),
        (VALID, Class::KernelUdpStream, true)
    );
}

#[test]
fn gre_is_a_stream_after_its_reply_and_the_generic_tracker_never() {
    for (number, first, later, assured) in [
        (proto::GRE, Class::KernelGre, Class::KernelGreStream, true),
        (89, Class::KernelGeneric, Class::KernelGeneric, false),
    ] {
        let facts = facts(number, Transport::Other);
        let opened = open(&facts, &[], &KERNEL).expect("opens");
        assert_eq!(opened.timeout, first);
        let mut state = opened.state;
        let mut talk = |direction| {
            let step = step(&mut state, &facts, direction, &KERNEL);
            (step.outcome, step.timeout, step.assured)
        };
        assert_eq!(talk(Direction::Original), (NEW, Some(first), false));
        assert_eq!(talk(Direction::Reply), (VALID, Some(first), false));
        assert_eq!(talk(Direction::Original), (VALID, Some(later), assured));
    }
}

mod chunk {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const HEARTBEAT_ACK: u8 = 5;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// An SCTP packet with chunks of (type, initiate tag): 20 bytes each, header at 20.
fn sctp(tag: u32, chunks: &[(u8, u32)]) -> (Facts, Vec<u8>) {
    let mut bytes = vec![0; 32];
    for &(kind, initiate) in chunks {
        bytes.extend([kind, 0, 0, 20]);
        bytes.extend(initiate.to_be_bytes());
        bytes.extend([0; 12]);
    }
    let length = (bytes.len() - 20) as u32;
    (
        Facts {
            l4_len: length,
            ..facts(proto::SCTP, Transport::Sctp(1, 2, tag))
        },
        bytes,
    )
}

fn sctp_step(state: &mut State, who: char, tag: u32, chunks: &[(u8, u32)]) -> Step {
    let direction = if who == '>' {
        Direction::Original
    } else {
        Direction::Reply
    };
    let (facts, bytes) = sctp(tag, chunks);
    advance(state, &facts, &bytes, direction, &KERNEL)
}

fn sctp_state(state: &State) -> &'static str {
    match listing(state, proto::SCTP, Machine::Kernel) {
        Listing::Sctp(name, _) => name,
        other => panic!("{other:?}"),
    }
}

fn association() -> State {
    let (facts, bytes) = sctp(0, &[(chunk::INIT, 0xa)]);
    let opened = open(&facts, &bytes, &KERNEL).expect("opens");
    assert_eq!(opened.timeout, Class::SctpClosed);
    let mut state = opened.state;
    for (who, tag, kind, initiate, name, class) in [
        (
            '<',
            0xa,
            chunk::INIT_ACK,
            0xb,
            "COOKIE_WAIT",
            Class::SctpCookieWait,
        ),
        (
            '>',
            0xb,
            chunk::COOKIE_ECHO,
            0,
            "COOKIE_ECHOED",
            Class::SctpCookieEchoed,
        ),
        (
            '<',
            0xa,
            chunk::COOKIE_ACK,
            0,
            "ESTABLISHED",
            Class::SctpEstablished,
        ),
    ] {
        let step = sctp_step(&mut state, who, tag, &[(kind, initiate)]);
        assert_eq!((step.outcome, step.timeout), (VALID, Some(class)));
        assert_eq!(sctp_state(&state), name);
        assert_eq!(step.assured, name == "ESTABLISHED");
    }
    state
}

#[test]
fn an_sctp_association_opens_and_closes() {
    let mut state = association();
    assert_eq!(
        listing(&state, proto::SCTP, Machine::Kernel),
        Listing::Sctp("ESTABLISHED", [0xb, 0xa])
    );
    for (who, tag, kind, name) in [
        ('>', 0xb, chunk::DATA, "ESTABLISHED"),
        ('>', 0xb, chunk::SHUTDOWN, "SHUTDOWN_SENT"),
        ('<', 0xa, chunk::SHUTDOWN_ACK, "SHUTDOWN_ACK_SENT"),
        ('>', 0xb, chunk::SHUTDOWN_COMPLETE, "CLOSED"),
    ] {
        assert_eq!(sctp_step(&mut state, who, tag, &[(kind, 0)]).outcome, VALID);
        assert_eq!(sctp_state(&state), name);
    }
}

#[test]
fn a_wrong_verification_tag_changes_nothing() {
    for kind in [
        chunk::DATA,
        chunk::SHUTDOWN,
        chunk::ABORT,
        chunk::COOKIE_ECHO,
    ] {
        let mut state = association();
        let before = state;
        let step = sctp_step(&mut state, '>', 0xc, &[(kind, 0)]);
        assert_eq!(step, Step::invalid(Reason::SctpTag), "{kind}");
        assert_eq!(state, before);
    }
    let mut state = association();
    let step = sctp_step(&mut state, '>', 0xb, &[(chunk::INIT, 1)]);
    assert_eq!(
        step,
        Step::invalid(Reason::SctpTag),
        "INIT must have tag zero"
    );
}

#[test]
fn an_abort_closes_and_cannot_open() {
    let mut state = association();
    assert_eq!(
        sctp_step(&mut state, '<', 0xa, &[(chunk::ABORT, 0)]).outcome,
        VALID
    );
    assert_eq!(sctp_state(&state), "CLOSED");
    for kind in [chunk::ABORT, chunk::COOKIE_ACK, chunk::SHUTDOWN_COMPLETE] {
        let (facts, bytes) = sctp(1, &[(kind, 0)]);
        assert_eq!(open(&facts, &bytes, &KERNEL), Err(Reason::SctpState));
    }
}

#[test]
fn chunks_that_must_be_alone_or_first_are_checked() {
    let mut state = association();
    for chunks in [
        [(chunk::INIT, 1), (chunk::DATA, 0)],
        [(chunk::DATA, 0), (chunk::INIT_ACK, 1)],
        [(chunk::DATA, 0), (chunk::COOKIE_ACK, 0)],
    ] {
        let step = sctp_step(&mut state, '>', 0xb, &chunks);
        assert_eq!(step, Step::invalid(Reason::SctpChunk));
    }
    assert_eq!(
        sctp_step(&mut state, '>', 0xb, &[]),
        Step::invalid(Reason::SctpChunk)
    );
}

#[test]
fn a_second_path_begins_with_a_heartbeat() {
    let (facts, bytes) = sctp(0xb, &[(chunk::HEARTBEAT, 0)]);
    let opened = open(&facts, &bytes, &KERNEL).expect("opens");
    assert_eq!(opened.timeout, Class::SctpHeartbeatSent);
    let mut state = opened.state;
    let step = sctp_step(&mut state, '<', 0xa, &[(chunk::HEARTBEAT_ACK, 0)]);
    assert_eq!((step.outcome, step.assured), (VALID, true));
    assert_eq!(sctp_state(&state), "ESTABLISHED");
}

#[test]
fn a_stale_init_ack_does_not_change_the_tags() {
    let mut state = association();
    let before = state;
    let step = sctp_step(&mut state, '<', 0xa, &[(chunk::INIT_ACK, 0xdead)]);
    assert_eq!(step, Step::invalid(Reason::SctpTag));
    assert_eq!(state, before);
}
