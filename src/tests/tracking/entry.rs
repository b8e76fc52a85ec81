//! The way of a packet through `conntrack_execute` and `process_one`, step by step.

use super::*;
use crate::engine::action::Helper;

fn found(engine: &Engine) -> u64 {
    engine.counter(Counter::Found)
}

/// A defect of the original: once a packet with a cached connection has lent its helper, the rest of
/// the batch is committed with it.
#[test]
fn the_helper_of_a_cached_packet_is_not_lent_to_the_rest_of_its_batch() {
    let engine = engine();
    let with_helper = Action {
        helper: Some(Helper::Ftp),
        ..COMMIT
    };
    let control = Segment::v4(1, 7, 2, 2121, SYN).bytes();
    let control = pass(&engine, control, &with_helper, 0);
    assert_ne!(control.metadata.connection, ConnectionId::NONE);
    let stranger = Segment::v4(3, 8, 4, 8080, SYN).frame();
    let mut batch = [control, stranger];
    engine.execute(&mut batch, &COMMIT, Time::from_millis(1));
    let stranger = batch[1].metadata.connection;
    let stored = engine.connection(stranger, Time::from_millis(1));
    assert_eq!(stored.expect("committed").helper, None);
}

#[test]
fn what_the_reassembler_refused_stays_invalid_with_zero_metadata() {
    let engine = engine();
    let mut frame = Frame::ip(question());
    frame.metadata = Metadata {
        state: INV,
        mark: 5,
        label: 6,
        zone: 7,
        ..Metadata::default()
    };
    let frame = again(&engine, frame, &Action { zone: 3, ..COMMIT }, 0);
    let given = frame.metadata;
    assert_eq!((given.state, given.zone), (state::TRK | INV, 3));
    assert_eq!((given.mark, given.label), (0, 0));
    assert_eq!(frame.original, None);
    assert_eq!(engine.connections(), 0);
}

#[test]
fn a_packet_that_an_earlier_pass_found_invalid_is_judged_again() {
    let engine = engine();
    let mut frame = Frame::ip(question());
    frame.metadata.state = state::TRK | INV;
    let frame = again(&engine, frame, &COMMIT, 0);
    assert_eq!(bits(&frame), NEW);
    assert_eq!(engine.connections(), 1);
}

#[test]
fn a_cached_packet_is_not_judged_again() {
    let engine = engine();
    let first = pass(&engine, question(), &COMMIT, 0);
    pass(&engine, answer(), &LOOK, 1);
    // By now it would be established, and its connection would wait from here on.
    let second = again(&engine, first, &LOOK, 1_000);
    assert_eq!(bits(&second), NEW);
    assert_eq!(listed(&engine, 1_000).remaining, 30_000 - 999);
    assert_eq!(cached(&engine), 1);
}

#[test]
fn a_cached_packet_shows_and_sets_mark_and_label() {
    let engine = engine();
    let first = pass(&engine, question(), &COMMIT, 0);
    pass(&engine, answer(), &marking(5, LOOK), 0);
    let second = again(&engine, first, &LOOK, 0);
    assert_eq!(second.metadata.mark, 5);
    let label = Some(Masked { value: 3, mask: 3 });
    let set = Action {
        label,
        ..marking(9, LOOK)
    };
    let third = again(&engine, second, &set, 0);
    assert_eq!((third.metadata.mark, third.metadata.label), (9, 3));
    assert_eq!((listed(&engine, 0).mark, listed(&engine, 0).label), (9, 3));
    assert_eq!(cached(&engine), 2);
}

#[test]
fn a_cached_packet_that_is_translated_forgets_its_connection() {
    let engine = engine();
    pass(
        &engine,
        question(),
        &through(NatRange::address(Ip::v4(9).number())),
        0,
    );
    let first = pass(&engine, question(), &LOOK, 0);
    assert_ne!(first.metadata.connection, ConnectionId::NONE);
    let apply = Action {
        nat: Some(Nat::default()),
        ..LOOK
    };
    let second = again(&engine, first, &apply, 0);
    assert_eq!(bits(&second), NEW | state::SNAT);
    assert_eq!(second.metadata.connection, ConnectionId::NONE);
    assert_eq!(cached(&engine), 1);
}

#[test]
fn the_packets_of_a_control_channel_go_the_whole_way_in_every_pass() {
    let helped = |helper| Action {
        helper: Some(helper),
        ..COMMIT
    };
    let syn = |sport, dport| Segment::v4(1, sport, 2, dport, SYN).bytes();
    let ask = |sport, dport| udp(Ip::v4(1), sport, Ip::v4(2), dport, b"\0\x01f\0octet\0");
    for (bytes, action, whole) in [
        (syn(7, 21), COMMIT, true),
        (syn(21, 7), COMMIT, true),
        (ask(7, 69), COMMIT, true),
        (syn(7, 2121), helped(Helper::Ftp), true),
        (ask(7, 6969), helped(Helper::Tftp), true),
        (ask(69, 7), COMMIT, false),
        (ask(7, 21), COMMIT, false),
        (syn(7, 69), COMMIT, false),
        (syn(7, 80), COMMIT, false),
    ] {
        let engine = engine();
        let first = pass(&engine, bytes.clone(), &action, 0);
        again(&engine, first, &LOOK, 0);
        let expected = if whole { (1, 0) } else { (0, 1) };
        assert_eq!((found(&engine), cached(&engine)), expected, "{bytes:?}");
    }
}

#[test]
fn a_control_channel_is_known_by_the_ports_of_the_packet_itself() {
    let engine = engine();
    let ask = udp(Ip::v4(1), 7, Ip::v4(2), 69, b"\0\x01f\0octet\0");
    let reply = udp(Ip::v4(2), 69, Ip::v4(1), 7, b"\0\x05\0\0no");
    pass(&engine, ask, &COMMIT, 0);
    let reply = pass(&engine, reply, &LOOK, 0);
    again(&engine, reply, &LOOK, 0);
    assert_eq!((found(&engine), cached(&engine)), (1, 1));
    // Behind a translation the server's own port is that of the channel.
    let engine = limited(10);
    let inside = NatRange {
        ports: Some((21, 21)),
        ..NatRange::address(Ip::v4(3).number())
    };
    let led = Action {
        nat: Some(Nat {
            destination: Some(inside),
            ..Nat::default()
        }),
        ..COMMIT
    };
    let syn = || Segment::v4(1, 7, 2, 2121, SYN).bytes();
    pass(&engine, syn(), &led, 0);
    let from_outside = pass(&engine, syn(), &LOOK, 0);
    again(&engine, from_outside, &LOOK, 0);
    assert_eq!((found(&engine), cached(&engine)), (1, 1));
    let answer = Segment::v4(3, 21, 1, 7, SYN | ACK).numbers(1, 1001).bytes();
    let from_inside = pass(&engine, answer, &LOOK, 0);
    again(&engine, from_inside, &LOOK, 0);
    assert_eq!((found(&engine), cached(&engine)), (3, 1));
}

#[test]
fn under_force_a_cached_connection_is_looked_at() {
    let engine = engine();
    pass(&engine, question(), &COMMIT, 0);
    let reply = pass(&engine, answer(), &LOOK, 0);
    assert_eq!(bits(&reply), EST | RPL);
    let forced = again(&engine, reply, &FORCE, 0);
    assert_eq!(bits(&forced), NEW);
    assert_eq!(cached(&engine), 0);
}

/// The original caches a pointer; an id whose connection has ended names nobody.
#[test]
fn a_cached_connection_that_has_ended_is_no_connection() {
    let engine = engine();
    let first = pass(&engine, question(), &COMMIT, 0);
    engine
        .flush(Flush::Tuple(listed(&engine, 0).original), Time::default())
        .expect("it is there");
    let second = again(&engine, first.clone(), &LOOK, 0);
    assert_eq!(bits(&second), NEW);
    assert_eq!(second.metadata.connection, ConnectionId::NONE);
    // Nor when it expired, or another connection has taken its place.
    let other = pass(&engine, question(), &COMMIT, 0);
    assert_ne!(other.metadata.connection, first.metadata.connection);
    pass(&engine, answer(), &LOOK, 0);
    assert_eq!(bits(&again(&engine, first, &LOOK, 0)), EST);
    let late = again(&engine, other, &LOOK, 1_000_000);
    assert_eq!(late.metadata.reason, Reason::NotCommitted);
}

#[test]
fn the_cache_of_another_zone_is_not_used() {
    let engine = engine();
    let first = pass(&engine, question(), &COMMIT, 0);
    let zone = Action { zone: 4, ..LOOK };
    let second = again(&engine, first, &zone, 0);
    assert_eq!((bits(&second), second.metadata.zone), (NEW, 4));
    assert_eq!((cached(&engine), found(&engine)), (0, 0));
}

/// Whoever fills descriptors may be wrong.
#[test]
fn a_connection_is_not_shown_to_a_packet_that_carries_it_into_another_zone() {
    let engine = engine();
    let mut first = pass(&engine, question(), &COMMIT, 0);
    first.metadata.zone = 4;
    let second = again(&engine, first, &Action { zone: 4, ..LOOK }, 0);
    assert_eq!((bits(&second), second.metadata.zone), (NEW, 4));
    assert_eq!(second.metadata.connection, ConnectionId::NONE);
    assert_eq!((cached(&engine), found(&engine)), (0, 0));
}

#[test]
fn a_packet_without_headers_is_invalid_in_every_pass_and_shows_nothing() {
    let engine = engine();
    let mut frame = Frame::ip(question()[..20].to_vec());
    for _ in 0..2 {
        frame = again(&engine, frame, &marking(5, COMMIT), 0);
        assert_eq!(frame.metadata.state, state::TRK | INV);
        assert_eq!(frame.metadata.reason, Reason::Truncated);
        assert_eq!((frame.metadata.mark, frame.original), (0, None));
    }
}

#[test]
fn entering_another_zone_clears_the_bits_of_the_last_one() {
    let engine = engine();
    handshake(&engine);
    let zone = Action { zone: 4, ..COMMIT };
    let packet = || segment(1, ACK, 101, 501);
    let first = pass(&engine, packet().bytes(), &LOOK, 0);
    assert_eq!(bits(&first), EST);
    assert_eq!(bits(&again(&engine, first, &zone, 0)), NEW);
    let mut elsewhere = packet().frame();
    elsewhere.metadata.state = state::TRK | REL | state::SNAT;
    assert_eq!(bits(&again(&engine, elsewhere, &zone, 0)), EST);
    let answer = segment(2, ACK, 501, 101);
    let mut elsewhere = answer.frame();
    elsewhere.metadata.state = state::TRK | REL | NEW;
    assert_eq!(bits(&again(&engine, elsewhere, &zone, 0)), EST | RPL);
    // In the same zone bits that nothing revokes stay.
    let mut related = packet().frame();
    related.metadata.state = state::TRK | REL;
    let related = again(&engine, related, &LOOK, 0);
    assert_eq!(bits(&related), EST | REL);
}

#[test]
fn a_translated_packet_that_is_not_found_is_counted_and_judged_by_its_own_tuple() {
    let engine = engine();
    let mut frame = Frame::ip(question());
    frame.metadata.state = state::TRK | NEW | state::SNAT;
    let frame = again(&engine, frame, &COMMIT, 0);
    assert_eq!(engine.counter(Counter::TranslatedMiss), 1);
    assert_eq!(bits(&frame), NEW);
    let original = listed(&engine, 0).original;
    assert_eq!((original.sport, original.dport), (5, 53));
}

#[test]
fn force_keeps_a_connection_that_the_packet_found_as_its_originator() {
    let engine = engine();
    let first = pass(&engine, question(), &COMMIT, 0);
    pass(&engine, answer(), &LOOK, 0);
    let forced = pass(&engine, question(), &FORCE, 0);
    assert_eq!(bits(&forced), EST);
    assert_eq!(forced.metadata.connection, first.metadata.connection);
}

#[test]
fn force_stores_as_commit_does() {
    let engine = engine();
    let only_force = Action {
        commit: false,
        ..FORCE
    };
    assert_eq!(verdict(&engine, question(), &only_force), NEW);
    assert_eq!(engine.connections(), 1);
}

/// A defect of the original: the packet that began the connection anew stays cached as a reply of it,
/// so its next pass with `nat` is translated the wrong way.
#[test]
fn after_force_the_packet_is_the_originator_of_its_connection() {
    let engine = engine();
    pass(&engine, question(), &COMMIT, 0);
    let mut forced = pass(&engine, answer(), &FORCE, 0);
    assert_eq!(bits(&forced), NEW);
    assert!(!forced.metadata.reply);
    forced = again(&engine, forced, &LOOK, 0);
    assert!(!forced.metadata.reply);
    assert_eq!(bits(&forced), NEW);
    assert_eq!(listed(&engine, 0).original.sport, 53);
}

#[test]
fn a_translated_packet_is_found_by_the_tuple_it_began_with() {
    let engine = engine();
    pass(&engine, question(), &marking(5, COMMIT), 0);
    let original = Some(listed(&engine, 0).original);
    // Something else has translated it since: by its own tuple nobody knows it.
    let moved = || {
        let mut frame = Frame::ip(udp(Ip::v4(8), 5, Ip::v4(9), 53, b"?"));
        frame.metadata.state = state::TRK | NEW | state::SNAT | state::DNAT;
        frame.original = original;
        frame
    };
    let frame = again(&engine, moved(), &LOOK, 0);
    assert_eq!(bits(&frame), NEW | state::SNAT | state::DNAT);
    assert_eq!(frame.metadata.mark, 5);
    assert_eq!(frame.original, original);
    // Not when this action translates, nor when no pass translated it.
    let apply = Action {
        nat: Some(Nat::default()),
        ..LOOK
    };
    assert_eq!(again(&engine, moved(), &apply, 0).metadata.mark, 0);
    let mut untouched = moved();
    untouched.metadata.state = state::TRK | NEW;
    assert_eq!(again(&engine, untouched, &LOOK, 0).metadata.mark, 0);
    // Nor in another zone, whose bits are no longer those of this packet.
    let zone = Action { zone: 4, ..LOOK };
    assert_eq!(again(&engine, moved(), &zone, 0).metadata.mark, 0);
}

#[test]
fn every_packet_shows_its_connections_original_tuple_or_else_its_own() {
    let engine = engine();
    let alone = pass(&engine, question(), &LOOK, 0)
        .original
        .expect("its own");
    assert_eq!((alone.sport, alone.dport), (5, 53));
    let invalid = segment(2, SYN | ACK, 1, 1);
    let own = pass(&engine, invalid.bytes(), &COMMIT, 0).original;
    assert_eq!(own.map(|tuple| (tuple.sport, tuple.dport)), Some((80, 7)));
    pass(&engine, question(), &COMMIT, 0);
    assert_eq!(pass(&engine, answer(), &LOOK, 0).original, Some(alone));
    let error = unreachable(Ip::v4(2), Ip::v4(1), &question());
    assert_eq!(pass(&engine, error, &LOOK, 0).original, Some(alone));
}

#[test]
fn the_tuple_of_a_query_shows_the_type_that_asked() {
    let engine = engine();
    for (a, b, asked) in [(Ip::v4(1), Ip::v4(2), 8), (Ip::v6(1), Ip::v6(2), 128)] {
        pass(&engine, echo(a, b, 9, false), &COMMIT, 0);
        let reply = pass(&engine, echo(b, a, 9, true), &LOOK, 0);
        let original = reply.original.expect("its connection's");
        assert_eq!(original.icmp_type(), asked);
        assert_eq!((original.sport, original.dport), (9, 9));
    }
}

#[test]
fn mark_and_label_are_set_without_commit_once_there_is_a_connection() {
    let engine = engine();
    let label = Some(Masked {
        value: 1 << 90,
        mask: 1 << 90,
    });
    let set = Action {
        label,
        ..marking(7, LOOK)
    };
    let before = pass(&engine, question(), &set, 0).metadata;
    assert_eq!((before.mark, before.label), (0, 0));
    pass(&engine, question(), &COMMIT, 0);
    let after = pass(&engine, answer(), &set, 0).metadata;
    assert_eq!((after.mark, after.label), (7, 1 << 90));
    let listed = listed(&engine, 0);
    assert_eq!((listed.mark, listed.label), (7, 1 << 90));
}

#[test]
fn a_mark_is_what_its_mask_leaves_of_the_old_one_and_the_value() {
    let engine = engine();
    pass(&engine, question(), &marking(0xffff_0000, COMMIT), 0);
    let masked = Action {
        mark: Some(Masked {
            value: 0x0012_0034,
            mask: 0x00ff_00ff,
        }),
        label: Some(Masked {
            value: 1 << 127 | 1,
            mask: 1 << 127 | 3,
        }),
        ..LOOK
    };
    let given = pass(&engine, question(), &masked, 0).metadata;
    assert_eq!(given.mark, 0xff12_0034);
    assert_eq!(given.label, 1 << 127 | 1);
}

#[test]
fn a_packet_keeps_its_connection_unless_the_action_translates() {
    let engine = engine();
    pass(&engine, question(), &COMMIT, 0);
    let kept = pass(&engine, question(), &LOOK, 0);
    assert_ne!(kept.metadata.connection, ConnectionId::NONE);
    let apply = Action {
        nat: Some(Nat::default()),
        ..LOOK
    };
    let forgotten = pass(&engine, question(), &apply, 0);
    assert_eq!(forgotten.metadata.connection, ConnectionId::NONE);
}

#[test]
fn clear_makes_a_packet_one_that_was_never_tracked() {
    let engine = engine();
    let mut frame = pass(&engine, question(), &marking(5, COMMIT), 0);
    pass(&engine, answer(), &LOOK, 0);
    Engine::clear(&mut frame.metadata);
    assert_eq!(frame.metadata, Metadata::default());
    assert_eq!(bits(&again(&engine, frame, &LOOK, 0)), EST);
    assert_eq!(cached(&engine), 0);
}
