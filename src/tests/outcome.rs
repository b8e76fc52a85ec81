//! Open vSwitch's outcome table, row by row: which bits a packet gets in which situation, and whether a
//! connection is stored (lib/conntrack.c, `process_one` and `conn_not_found`). TRK is always among the
//! bits and not named.

use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::action::{Action, Masked};
use crate::engine::descriptor::{ConnectionId, Frame, state};
use crate::nat::{Nat, NatRange};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::reason::Reason;
use crate::tests::ground::{COMMIT, LOOK, engine, limited};
use crate::tests::packets::{Ip, Segment, echo, fragments, icmp, udp, unreachable};

const NEW: u8 = state::NEW;
const EST: u8 = state::EST;
const RPL: u8 = state::RPL;
const REL: u8 = state::REL;
const INV: u8 = state::INV;

fn pass(engine: &Engine, bytes: Vec<u8>, action: &Action) -> Frame {
    let mut frames = [Frame::ip(bytes)];
    engine.execute(&mut frames, action, Time::from_millis(1));
    let [frame] = frames;
    assert_ne!(frame.metadata.state & state::TRK, 0);
    frame
}

/// The bits but TRK, and whether there is a connection.
fn outcome(engine: &Engine, bytes: Vec<u8>, action: &Action) -> (u8, bool) {
    let given = pass(engine, bytes, action).metadata;
    let known = given.connection != ConnectionId::NONE;
    (given.state & !state::TRK, known)
}

fn question() -> Vec<u8> {
    udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?")
}

fn answer() -> Vec<u8> {
    udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!")
}

fn tcp(from: u8, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let (sport, to, dport) = if from == 1 { (7, 2, 80) } else { (80, 1, 7) };
    Segment::v4(from, sport, to, dport, flags)
        .numbers(seq, ack)
        .bytes()
}

fn handshake(engine: &Engine) {
    for bytes in [
        tcp(1, SYN, 100, 0),
        tcp(2, SYN | ACK, 500, 101),
        tcp(1, ACK, 101, 501),
    ] {
        pass(engine, bytes, &COMMIT);
    }
}

#[test]
fn what_cannot_be_parsed_is_invalid() {
    let engine = engine();
    let mut bad_sum = question();
    bad_sum[26] ^= 1;
    let port_zero = udp(Ip::v4(1), 0, Ip::v4(2), 53, b"?");
    let code = icmp(Ip::v4(1), Ip::v4(2), 8, 1, [0, 7, 0, 1], b"12345678");
    let neighbour = icmp(Ip::v6(1), Ip::v6(2), 135, 0, [0; 4], &[0; 16]);
    let later = fragments(&udp(Ip::v4(1), 5, Ip::v4(2), 53, &[0; 64]), 1, 32).remove(1);
    let cut = question()[..20].to_vec();
    for bytes in [bad_sum, port_zero, code, neighbour, later, cut] {
        let frame = pass(&engine, bytes.clone(), &COMMIT);
        assert_eq!(frame.metadata.state, state::TRK | INV, "{bytes:?}");
        assert_eq!((frame.metadata.mark, frame.metadata.label), (0, 0));
    }
    assert_eq!(engine.connections(), 0);
}

#[test]
fn an_icmp_error_about_nothing_known_is_invalid() {
    let error = unreachable(Ip::v4(2), Ip::v4(1), &question());
    assert_eq!(outcome(&engine(), error, &COMMIT), (INV, false));
}

#[test]
fn a_syn_ack_illegal_flags_and_icmp_replies_open_nothing() {
    for bytes in [
        tcp(1, SYN | ACK, 1, 1),
        tcp(1, SYN | FIN, 1, 0),
        tcp(1, FIN, 1, 0),
        tcp(1, 0, 1, 0),
        echo(Ip::v4(1), Ip::v4(2), 9, true),
        echo(Ip::v6(1), Ip::v6(2), 9, true),
    ] {
        assert_eq!(outcome(&engine(), bytes, &COMMIT), (INV, false));
    }
}

#[test]
fn without_commit_a_packet_that_may_open_is_new_and_not_stored() {
    let engine = engine();
    assert_eq!(outcome(&engine, question(), &LOOK), (NEW, false));
    assert_eq!(outcome(&engine, question(), &LOOK), (NEW, false));
    assert_eq!(engine.connections(), 0);
}

#[test]
fn with_commit_it_is_new_and_stored_with_its_mark() {
    let engine = engine();
    let marking = Action {
        mark: Some(Masked {
            value: 5,
            mask: u32::MAX,
        }),
        ..COMMIT
    };
    let frame = pass(&engine, question(), &marking);
    assert_eq!(frame.metadata.state, state::TRK | NEW);
    assert_eq!(frame.metadata.mark, 5);
    assert_eq!(engine.connections(), 1);
}

#[test]
fn in_a_full_table_it_is_new_not_stored_and_the_reason_says_so() {
    let engine = limited(1);
    pass(&engine, echo(Ip::v4(1), Ip::v4(2), 9, false), &COMMIT);
    let frame = pass(&engine, question(), &COMMIT);
    assert_eq!(frame.metadata.state, state::TRK | NEW);
    assert_eq!(frame.metadata.reason, Reason::TableFull);
    assert_eq!(frame.metadata.connection, ConnectionId::NONE);
}

#[test]
fn in_a_full_zone_it_is_new_not_stored_and_the_reason_says_so() {
    let engine = engine();
    engine.set_zone_limit(0, Some(1));
    pass(&engine, echo(Ip::v4(1), Ip::v4(2), 9, false), &COMMIT);
    let frame = pass(&engine, question(), &COMMIT);
    assert_eq!(frame.metadata.state, state::TRK | NEW);
    assert_eq!(frame.metadata.reason, Reason::ZoneLimit);
    let other_zone = Action { zone: 1, ..COMMIT };
    assert_eq!(outcome(&engine, question(), &other_zone), (NEW, true));
}

#[test]
fn without_a_free_tuple_it_is_new_not_stored_and_not_translated() {
    let engine = engine();
    let translating = Action {
        nat: Some(Nat {
            source: Some(NatRange {
                ports: Some((5, 5)),
                ..NatRange::address(Ip::v4(99).number())
            }),
            ..Nat::default()
        }),
        ..COMMIT
    };
    pass(
        &engine,
        udp(Ip::v4(3), 5, Ip::v4(2), 53, b"?"),
        &translating,
    );
    let frame = pass(&engine, question(), &translating);
    assert_eq!(frame.metadata.state, state::TRK | NEW);
    assert_eq!(frame.metadata.reason, Reason::NatExhausted);
    assert_eq!(frame.bytes, question());
    assert_eq!(engine.connections(), 1);
}

#[test]
fn a_syn_that_is_repeated_is_new_and_keeps_the_connection() {
    let engine = engine();
    pass(&engine, tcp(1, SYN, 100, 0), &COMMIT);
    assert_eq!(outcome(&engine, tcp(1, SYN, 700, 0), &COMMIT), (NEW, true));
    assert_eq!(engine.connections(), 1);
}

#[test]
fn a_syn_after_the_close_begins_another_connection() {
    let engine = engine();
    handshake(&engine);
    let first = pass(&engine, tcp(1, RST | ACK, 101, 501), &COMMIT);
    let again = pass(&engine, tcp(1, SYN, 9000, 0), &COMMIT);
    assert_eq!(again.metadata.state, state::TRK | NEW);
    assert_ne!(again.metadata.connection, first.metadata.connection);
    let not_committed = {
        pass(&engine, tcp(1, RST, 9000, 0), &COMMIT);
        outcome(&engine, tcp(1, SYN, 1, 0), &LOOK)
    };
    assert_eq!(not_committed, (NEW, false));
}

#[test]
fn a_valid_tcp_packet_is_established_in_its_direction() {
    let engine = engine();
    pass(&engine, tcp(1, SYN, 100, 0), &COMMIT);
    let reply = outcome(&engine, tcp(2, SYN | ACK, 500, 101), &LOOK);
    assert_eq!(reply, (EST | RPL, true));
    assert_eq!(outcome(&engine, tcp(1, ACK, 101, 501), &LOOK), (EST, true));
}

#[test]
fn a_tcp_packet_out_of_the_window_is_invalid_and_shows_its_connection() {
    let engine = engine();
    handshake(&engine);
    let far = Segment::v4(1, 7, 2, 80, ACK)
        .numbers(101 + (1 << 30), 501)
        .payload(10)
        .bytes();
    assert_eq!(outcome(&engine, far, &LOOK), (INV, true));
}

#[test]
fn an_unanswered_originator_stays_new_and_then_everybody_is_established() {
    let engine = engine();
    pass(&engine, question(), &COMMIT);
    assert_eq!(outcome(&engine, question(), &LOOK), (NEW, true));
    assert_eq!(outcome(&engine, question(), &LOOK), (NEW, true));
    assert_eq!(outcome(&engine, answer(), &LOOK), (EST | RPL, true));
    assert_eq!(outcome(&engine, question(), &LOOK), (EST, true));
}

#[test]
fn an_icmp_error_is_related_and_a_reply_when_it_quotes_the_originator() {
    let engine = engine();
    pass(&engine, question(), &COMMIT);
    let about_question = unreachable(Ip::v4(2), Ip::v4(1), &question());
    assert_eq!(outcome(&engine, about_question, &LOOK), (REL | RPL, true));
    let about_answer = unreachable(Ip::v4(1), Ip::v4(2), &answer());
    assert_eq!(outcome(&engine, about_answer, &LOOK), (REL, true));
}

#[test]
fn new_and_reply_never_stand_together_not_even_when_both_sides_open() {
    let engine = engine();
    pass(&engine, tcp(1, SYN, 100, 0), &COMMIT);
    assert_eq!(outcome(&engine, tcp(2, SYN, 500, 0), &LOOK), (NEW, true));
}

#[test]
fn another_zone_begins_with_a_clean_state() {
    let engine = engine();
    let mut frames = [Frame::ip(question())];
    engine.execute(&mut frames, &COMMIT, Time::from_millis(1));
    engine.execute(
        &mut frames,
        &Action { zone: 1, ..LOOK },
        Time::from_millis(1),
    );
    assert_eq!(frames[0].metadata.state, state::TRK | NEW);
    assert_eq!(frames[0].metadata.zone, 1);
    assert_eq!(frames[0].metadata.connection, ConnectionId::NONE);
}
