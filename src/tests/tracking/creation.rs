//! The order of checks when a packet may begin a connection (`conn_not_found`), and what is stored.

use super::*;
use crate::engine::action::Helper;
use crate::policy::timeouts::Policy;

/// A table with a single connection, and no place for more.
fn full() -> Engine {
    let engine = limited(1);
    pass(&engine, echo(Ip::v4(1), Ip::v4(2), 9, false), &COMMIT, 0);
    engine
}

fn reason(engine: &Engine, bytes: Vec<u8>, action: &Action) -> (u8, Reason) {
    let frame = pass(engine, bytes, action, 0);
    assert_eq!(frame.metadata.connection, ConnectionId::NONE);
    (bits(&frame), frame.metadata.reason)
}

#[test]
fn step_1_what_may_not_open_is_invalid_whatever_else_holds() {
    let syn_ack = segment(2, SYN | ACK, 1, 1).bytes();
    for action in [LOOK, COMMIT] {
        let verdict = reason(&full(), syn_ack.clone(), &action);
        assert_eq!(verdict, (INV, Reason::TcpSynAckFirst));
    }
}

#[test]
fn step_2_what_may_open_is_new_and_related_when_it_was_expected() {
    let engine = engine();
    assert_eq!(
        reason(&engine, question(), &LOOK),
        (NEW, Reason::NotCommitted)
    );
    let asking = Action {
        helper: Some(Helper::Tftp),
        ..COMMIT
    };
    let request = udp(Ip::v4(1), 5, Ip::v4(2), 69, b"\0\x01f\0octet\0");
    pass(&engine, request, &asking, 0);
    let data = udp(Ip::v4(2), 3333, Ip::v4(1), 5, b"\0\x03\0\x01data");
    let expected = reason(&engine, data, &LOOK);
    assert_eq!(expected, (NEW | REL, Reason::NotCommitted));
}

#[test]
fn step_3_without_commit_no_limit_is_asked() {
    let verdict = reason(&full(), question(), &LOOK);
    assert_eq!(verdict, (NEW, Reason::NotCommitted));
}

#[test]
fn step_4_the_zone_is_asked_before_the_table() {
    let engine = full();
    engine.set_zone_limit(0, Some(1));
    let verdict = reason(&engine, question(), &COMMIT);
    assert_eq!(verdict, (NEW, Reason::ZoneLimit));
    engine.set_zone_limit(0, None);
    let verdict = reason(&engine, question(), &COMMIT);
    assert_eq!(verdict, (NEW, Reason::TableFull));
}

#[test]
fn step_4_a_connection_that_the_table_refuses_does_not_count_in_its_zone() {
    let engine = full();
    engine.set_zone_limit(0, Some(2));
    for _ in 0..5 {
        assert_eq!(reason(&engine, question(), &COMMIT).1, Reason::TableFull);
    }
    assert_eq!(engine.zone_limit(0).count, 1);
}

#[test]
fn step_5_a_full_table_still_serves_the_connections_it_has() {
    let engine = full();
    assert_eq!(
        verdict(&engine, echo(Ip::v4(2), Ip::v4(1), 9, true), &COMMIT),
        EST | RPL
    );
    assert_eq!(reason(&engine, question(), &COMMIT).1, Reason::TableFull);
}

#[test]
fn step_6_a_connection_waits_as_the_policy_of_its_action_says() {
    let engine = engine();
    let of = |seconds| Policy {
        seconds: [("udp_first", seconds), ("udp_multiple", 2 * seconds)].into(),
        ..Policy::default()
    };
    engine.set_timeout_policy(4, of(7)).expect("a policy");
    let with_policy = Action {
        timeout_policy: Some(4),
        ..COMMIT
    };
    pass(&engine, question(), &with_policy, 0);
    assert_eq!(listed(&engine, 0).remaining, 7_000);
    assert_eq!(listed(&engine, 0).timeout_policy, Some(4));
    // The policy is read at every refresh, and the actions of later packets do not matter.
    engine
        .set_timeout_policy(4, of(9))
        .expect("the same policy");
    assert_eq!(listed(&engine, 0).remaining, 7_000);
    pass(&engine, answer(), &LOOK, 0);
    assert_eq!(listed(&engine, 0).remaining, 18_000);
}

#[test]
fn step_7_a_helper_is_stored_when_the_packet_can_be_its_control_channel() {
    let syn = |dport| Segment::v4(1, 7, 2, dport, SYN).bytes();
    let ask = |dport| udp(Ip::v4(1), 7, Ip::v4(2), dport, b"x");
    for (bytes, helper, stored) in [
        (syn(21), Helper::Ftp, true),
        (syn(2121), Helper::Ftp, true),
        (syn(21), Helper::Tftp, false),
        (syn(2121), Helper::Tftp, false),
        (ask(69), Helper::Tftp, true),
        (ask(6969), Helper::Tftp, true),
        (ask(69), Helper::Ftp, false),
        (ask(5060), Helper::Sip, true),
        (ask(69), Helper::Sip, false),
    ] {
        let engine = engine();
        let asking = Action {
            helper: Some(helper),
            ..COMMIT
        };
        pass(&engine, bytes, &asking, 0);
        let expected = stored.then_some(helper);
        assert_eq!(listed(&engine, 0).helper, expected, "{helper}");
    }
}

#[test]
fn step_7_a_connection_that_was_committed_without_a_helper_never_gets_one() {
    let engine = engine();
    let syn = || Segment::v4(1, 7, 2, 21, SYN).bytes();
    pass(&engine, syn(), &COMMIT, 0);
    let late = Action {
        helper: Some(Helper::Ftp),
        ..COMMIT
    };
    pass(&engine, syn(), &late, 0);
    assert_eq!(listed(&engine, 0).helper, None);
}

/// A defect of the original: the names of an empty `nat` with `commit` are half those of a translated
/// connection, and stay behind when it ends.
#[test]
fn step_9_an_empty_nat_is_no_translation_and_ends_with_its_connection() {
    let engine = engine();
    let empty = Action {
        nat: Some(Nat::default()),
        ..COMMIT
    };
    pass(&engine, question(), &empty, 0);
    let connection = listed(&engine, 0);
    assert_eq!(connection.reply, connection.original.reversed());
    assert!(!connection.source_nat && !connection.destination_nat);
    assert_eq!(verdict(&engine, answer(), &empty), EST | RPL);
    engine
        .flush(Flush::Tuple(connection.reply), Time::default())
        .expect("it is found by its reply, too");
    for tuple in [connection.original, connection.reply] {
        assert_eq!(engine.lookup(&tuple, Time::default()), None);
    }
}

#[test]
fn step_9_a_connection_without_a_free_tuple_leaves_nothing_behind() {
    let engine = engine();
    let one_port = through(NatRange {
        ports: Some((5, 5)),
        ..NatRange::address(Ip::v4(9).number())
    });
    pass(&engine, question(), &one_port, 0);
    let other = || udp(Ip::v4(3), 5, Ip::v4(2), 53, b"?");
    let verdict = reason(&engine, other(), &one_port);
    assert_eq!(verdict, (NEW, Reason::NatExhausted));
    assert_eq!((engine.connections(), engine.zone_limit(0).count), (1, 1));
    // The same packet is welcome without the translation.
    assert_eq!(bits(&pass(&engine, other(), &COMMIT, 0)), NEW);
    assert_eq!(engine.connections(), 2);
}

#[test]
fn step_9_a_connection_whose_replies_are_another_ones_is_not_stored() {
    let service = |host| NatRange {
        ports: Some((53, 53)),
        ..NatRange::address(Ip::v4(host).number())
    };
    let behind = Action {
        nat: Some(Nat {
            destination: Some(service(2)),
            ..Nat::default()
        }),
        ..COMMIT
    };
    let engine = engine();
    // From 1:5 to 9:53, answered by 2:53.
    pass(&engine, udp(Ip::v4(1), 5, Ip::v4(9), 53, b"?"), &behind, 0);
    let straight = || udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?");
    let back = || udp(Ip::v4(9), 53, Ip::v4(1), 5, b"?");
    for first in [straight(), back()] {
        let verdict = reason(&engine, first, &COMMIT);
        assert_eq!(verdict, (NEW, Reason::ReplyTaken));
    }
    assert_eq!((engine.connections(), engine.zone_limit(0).count), (1, 1));
    // What a translation of the all-zero address is for.
    let resolving = through(NatRange::address(0));
    for (first, stored) in [(straight(), 2), (back(), 3)] {
        let sent = pass(&engine, first, &resolving, 0);
        assert_eq!(bits(&sent), NEW | state::SNAT);
        assert_eq!(engine.connections(), stored);
    }
    // And when the other one has ended, there is nothing in the way.
    let engine = self::engine();
    pass(&engine, udp(Ip::v4(1), 5, Ip::v4(9), 53, b"?"), &behind, 0);
    engine.flush(Flush::All, Time::default()).expect("all");
    assert_eq!(bits(&pass(&engine, straight(), &COMMIT, 0)), NEW);
    assert_eq!(engine.zone_limit(0).count, 1);
}

#[test]
fn step_10_the_first_packet_is_translated_itself() {
    let engine = engine();
    let hidden = through(NatRange::address(Ip::v4(9).number()));
    let first = pass(&engine, question(), &hidden, 0);
    assert_eq!(bits(&first), NEW | state::SNAT);
    assert_eq!(first.bytes, udp(Ip::v4(9), 5, Ip::v4(2), 53, b"?"));
}

#[test]
fn step_11_a_stored_connection_is_counted_everywhere_at_once() {
    let engine = engine();
    pass(&engine, question(), &COMMIT, 0);
    pass(&engine, question(), &COMMIT, 0);
    assert_eq!(engine.counter(Counter::Committed), 1);
    assert_eq!((engine.connections(), engine.zone_limit(0).count), (1, 1));
}
