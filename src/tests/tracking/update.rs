//! What a packet does to the state of a connection that was found (`conn_update_state`).

use super::*;

#[test]
fn an_icmp_error_is_related_and_touches_neither_state_nor_timeout() {
    let engine = engine();
    pass(&engine, question(), &COMMIT, 0);
    let about = |quoted: &[u8], from, to| unreachable(Ip::v4(from), Ip::v4(to), quoted);
    let asked = pass(&engine, about(&question(), 2, 1), &LOOK, 10_000);
    assert_eq!(bits(&asked), REL | RPL);
    let answered = pass(&engine, about(&answer(), 1, 2), &LOOK, 10_000);
    assert_eq!(bits(&answered), REL);
    let connection = listed(&engine, 10_000);
    assert_eq!(connection.remaining, 50_000);
    assert!(!connection.seen_reply, "an error is no answer");
    assert_eq!(bits(&pass(&engine, question(), &LOOK, 10_000)), NEW);
}

#[test]
fn an_icmp_error_about_a_tcp_connection_does_not_close_it() {
    let engine = engine();
    handshake(&engine);
    let quoted = segment(1, ACK, 101, 501).payload(9).bytes();
    let error = unreachable(Ip::v4(2), Ip::v4(1), &quoted);
    assert_eq!(bits(&pass(&engine, error, &LOOK, 1_000)), REL | RPL);
    assert_eq!(listed(&engine, 1_000).remaining, 86_400_000 - 1_000);
}

#[test]
fn a_valid_packet_gains_est_and_loses_new() {
    let engine = engine();
    let mut early = pass(&engine, question(), &COMMIT, 0);
    early.metadata.connection = ConnectionId::NONE;
    pass(&engine, answer(), &LOOK, 0);
    assert_eq!(bits(&again(&engine, early, &LOOK, 0)), EST);
}

#[test]
fn an_invalid_packet_loses_all_other_bits() {
    let engine = engine();
    handshake(&engine);
    let mut frame = Frame::ip(far());
    frame.metadata.state = state::TRK | EST | REL | RPL;
    let frame = again(&engine, frame, &LOOK, 0);
    assert_eq!(frame.metadata.state, state::TRK | INV);
    assert_eq!(frame.metadata.reason, Reason::TcpAboveWindow);
    assert_ne!(frame.metadata.connection, ConnectionId::NONE);
}

#[test]
fn an_invalid_packet_changes_neither_state_nor_timeout() {
    let engine = engine();
    handshake(&engine);
    let before = listed(&engine, 5_000);
    pass(&engine, far(), &LOOK, 5_000);
    assert_eq!(listed(&engine, 5_000), before);
}

#[test]
fn a_packet_that_starts_over_ends_the_old_connection_first() {
    let engine = engine();
    handshake(&engine);
    let old = listed(&engine, 0).id;
    pass(&engine, segment(1, RST | ACK, 101, 501).bytes(), &LOOK, 0);
    // Without commit the old one is gone and there is no new one.
    let syn = segment(1, SYN, 9_000, 0).bytes();
    assert_eq!(bits(&pass(&engine, syn.clone(), &LOOK, 0)), NEW);
    assert_eq!(engine.connection(old, Time::default()), None);
    assert_eq!(engine.connections(), 0);
    let begun = pass(&engine, syn, &COMMIT, 0);
    assert_ne!(begun.metadata.connection, old);
}

#[test]
fn the_side_that_starts_over_is_the_originator_from_then_on() {
    let engine = engine();
    handshake(&engine);
    pass(&engine, segment(1, RST | ACK, 101, 501).bytes(), &LOOK, 0);
    let syn = segment(2, SYN, 700, 0).bytes();
    assert_eq!(bits(&pass(&engine, syn, &COMMIT, 0)), NEW);
    assert_eq!(listed(&engine, 0).original.sport, 80);
    let answer = segment(1, SYN | ACK, 900, 701).bytes();
    assert_eq!(bits(&pass(&engine, answer, &LOOK, 0)), EST | RPL);
}

#[test]
fn a_packet_that_is_valid_and_new_gains_new() {
    let engine = engine();
    pass(&engine, segment(1, SYN, 100, 0).bytes(), &COMMIT, 0);
    let repeated = pass(&engine, segment(1, SYN, 100, 0).bytes(), &LOOK, 5_000);
    assert_eq!(bits(&repeated), NEW);
    assert_eq!(listed(&engine, 5_000).remaining, 30_000);
    let from_the_other_side = segment(2, SYN, 500, 0).bytes();
    assert_eq!(bits(&pass(&engine, from_the_other_side, &LOOK, 0)), NEW);
}
