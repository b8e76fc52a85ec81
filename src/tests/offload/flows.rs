//! Flow tables: who enters, what takes the fast path, how a flow ends.

use super::{COMMIT, LOOK, answer_udp, at, engine, open_tcp, open_udp, send, syn, syn_ack};
use crate::engine::action::{Action, Masked};
use crate::engine::descriptor::{ConnectionId, Frame, state};
use crate::engine::{Budget, Engine};
use crate::error::Error;
use crate::nat::{Nat, NatRange};
use crate::offload::flow_table::{Count, FlowTable};
use crate::offload::provider::Delta;
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::reason::Reason;
use crate::tests::packets::{Ip, Segment, fragments, udp, with_options};

fn look_up(engine: &Engine, table: &FlowTable, bytes: Vec<u8>, now: u64) -> Option<Frame> {
    let mut frames = [Frame::ip(bytes)];
    let mut told = 0;
    let n = engine.flow_lookup(table, &mut frames, at(now), &mut |_| told += 1);
    assert_eq!(n, told);
    let [frame] = frames;
    (n == 1).then_some(frame)
}

fn segment(seq: u32, ack: u32) -> Vec<u8> {
    Segment::v4(1, 7, 2, 80, ACK)
        .numbers(seq, ack)
        .payload(10)
        .bytes()
}

fn reply(seq: u32, ack: u32) -> Vec<u8> {
    Segment::v4(2, 80, 1, 7, ACK)
        .numbers(seq, ack)
        .payload(10)
        .bytes()
}

fn question(port: u16) -> Vec<u8> {
    udp(Ip::v4(1), port, Ip::v4(2), 53, b"?")
}

#[test]
fn tcp_enters_when_both_sides_are_established_and_is_found_in_both_directions() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    let id = syn(&engine, 7, 0);
    assert!(look_up(&engine, &table, segment(101, 501), 0).is_none());
    syn_ack(&engine, 7, 0);
    assert_eq!(table.count(Count::Added), 0);
    super::ack(&engine, 7, 0);
    assert_eq!(table.count(Count::Added), 1);
    let hit = look_up(&engine, &table, segment(101, 501), 1).expect("a flow");
    assert_eq!(hit.metadata.state, state::TRK | state::EST);
    assert_eq!(hit.metadata.connection, id);
    let hit = look_up(&engine, &table, reply(501, 111), 1).expect("a flow");
    assert_eq!(hit.metadata.state, state::TRK | state::EST | state::RPL);
    assert_eq!(
        (table.count(Count::Hits), table.count(Count::Misses)),
        (2, 1)
    );
}

#[test]
fn a_flow_skips_the_window_and_gives_it_back_to_be_learned() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    let id = open_tcp(&engine, 7, 0);
    let away = 1 << 30;
    assert!(look_up(&engine, &table, segment(101 + away, 501 + away), 1).is_some());
    engine.flow_remove(id, at(2)).expect("a flow");
    assert!(look_up(&engine, &table, segment(101 + away, 501 + away), 3).is_none());
    drop(table);
    engine.flow_table_put(0, at(3)).expect("held");
    for i in 0..16 {
        let packet = segment(111 + away + 10 * i, 501 + away);
        let state = send(&engine, packet, &LOOK, 4).metadata.state;
        assert_eq!(state, state::TRK | state::EST);
    }
    let far = send(&engine, segment(101, 501), &LOOK, 5);
    assert_eq!(far.metadata.state, state::TRK | state::INV);
}

#[test]
fn udp_enters_with_its_second_packet_and_the_first_answer_goes_to_the_tracker() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    open_udp(&engine, 5, 0);
    assert!(look_up(&engine, &table, question(5), 0).is_none());
    send(&engine, question(5), &LOOK, 1);
    let hit = look_up(&engine, &table, question(5), 1).expect("a flow");
    assert_eq!(hit.metadata.state, state::TRK | state::NEW);
    let answer = udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!");
    assert!(look_up(&engine, &table, answer.clone(), 2).is_none());
    answer_udp(&engine, 5, 2);
    let hit = look_up(&engine, &table, answer, 3).expect("a flow");
    assert_eq!(hit.metadata.state, state::TRK | state::EST | state::RPL);
    let hit = look_up(&engine, &table, question(5), 3).expect("a flow");
    assert_eq!(hit.metadata.state, state::TRK | state::EST);
}

#[test]
fn fin_and_rst_and_syn_end_the_flow_and_go_to_the_tracker() {
    for flags in [FIN | ACK, RST, SYN] {
        let engine = engine();
        let table = engine.flow_table_get(0);
        open_tcp(&engine, 7, 0);
        let last = Segment::v4(1, 7, 2, 80, flags).numbers(101, 501).bytes();
        assert!(look_up(&engine, &table, last, 1).is_none());
        assert_eq!(table.count(Count::Closed), 1);
        assert!(look_up(&engine, &table, segment(101, 501), 1).is_none());
    }
}

#[test]
fn a_fin_that_went_to_the_tracker_first_ends_the_flow() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    open_tcp(&engine, 7, 0);
    let fin = Segment::v4(1, 7, 2, 80, FIN | ACK)
        .numbers(101, 501)
        .bytes();
    send(&engine, fin, &LOOK, 1);
    assert_eq!(table.count(Count::Closed), 1);
    let ack = Segment::v4(2, 80, 1, 7, ACK).numbers(501, 102).bytes();
    send(&engine, ack, &LOOK, 2);
    assert_eq!(table.count(Count::Added), 1, "it does not enter again");
}

#[test]
fn options_fragments_and_a_used_up_ttl_leave_the_fast_path_but_not_the_table() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    open_udp(&engine, 5, 0);
    send(&engine, question(5), &LOOK, 0);
    let mut old = question(5);
    old[8] = 1;
    crate::tests::packets::finish_ipv4(&mut old);
    let odd = [with_options(&question(5), &[1, 1, 1, 1]), old];
    for packet in odd {
        assert!(look_up(&engine, &table, packet, 1).is_none());
    }
    let long = udp(Ip::v4(1), 5, Ip::v4(2), 53, &[0; 64]);
    for fragment in fragments(&long, 7, 32) {
        assert!(look_up(&engine, &table, fragment, 1).is_none());
    }
    assert_eq!(table.count(Count::Refused), 2);
    assert!(look_up(&engine, &table, question(5), 1).is_some());
}

#[test]
fn control_connections_and_icmp_do_not_enter() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    let ftp = Action {
        helper: Some(crate::engine::action::Helper::Ftp),
        ..COMMIT
    };
    for (from, to, sport, dport, flags, seq, ack) in [
        (1, 2, 7, 21, SYN, 100, 0),
        (2, 1, 21, 7, SYN | ACK, 500, 101),
        (1, 2, 7, 21, ACK, 101, 501),
    ] {
        let packet = Segment::v4(from, sport, to, dport, flags).numbers(seq, ack);
        send(&engine, packet.bytes(), &ftp, 0);
    }
    for reply in [false, true, false] {
        let (from, to) = if reply { (2, 1) } else { (1, 2) };
        let ping = crate::tests::packets::echo(Ip::v4(from), Ip::v4(to), 9, reply);
        send(&engine, ping, &COMMIT, 0);
    }
    assert_eq!(table.count(Count::Added), 0);
}

#[test]
fn a_flow_is_idle_for_its_timeout_and_its_connection_for_the_rest_of_its_own() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    table.set_timeout(10_000);
    let id = open_tcp(&engine, 7, 0);
    look_up(&engine, &table, segment(101, 501), 5_000).expect("a flow");
    let listed = engine.connection(id, at(6_000)).expect("lives");
    assert_eq!(listed.remaining, 86_399_000);
    engine.sweep(at(14_000), Budget { records: 65_536 });
    assert_eq!(table.count(Count::Aged), 0);
    engine.sweep(at(18_000), Budget { records: 65_536 });
    assert_eq!(table.count(Count::Aged), 1);
    let listed = engine.connection(id, at(18_000)).expect("lives on");
    assert_eq!(listed.remaining, 86_387_000);
    assert!(look_up(&engine, &table, segment(101, 501), 19_000).is_none());
    send(&engine, segment(101, 501), &LOOK, 19_000);
    assert_eq!(table.count(Count::Added), 2);
}

#[test]
fn a_flow_lives_as_long_as_packets_come() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    open_udp(&engine, 5, 0);
    answer_udp(&engine, 5, 0);
    for second in 1..200 {
        look_up(&engine, &table, question(5), second * 1_000).expect("a flow");
        engine.sweep(at(second * 1_000), Budget { records: 65_536 });
    }
    engine.sweep(at(240_000), Budget { records: 65_536 });
    assert_eq!(engine.connections(), 0);
}

#[test]
fn a_flow_carries_mark_label_and_translation_of_its_connection() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    let translating = Action {
        nat: Some(Nat {
            source: Some(NatRange::address(Ip::v4(99).number())),
            ..Nat::default()
        }),
        mark: Some(Masked {
            value: 7,
            mask: u32::MAX,
        }),
        label: Some(Masked {
            value: 9,
            mask: u128::MAX,
        }),
        ..COMMIT
    };
    send(&engine, question(5), &translating, 0);
    send(&engine, question(5), &translating, 0);
    let hit = look_up(&engine, &table, question(5), 1).expect("a flow");
    assert_eq!((hit.metadata.mark, hit.metadata.label), (7, 9));
    assert!(hit.modified.source && !hit.modified.destination);
    assert_eq!(hit.metadata.state, state::TRK | state::NEW | state::SNAT);
    let [.., a, b, c, d] = Ip::v4(99).number().to_be_bytes();
    assert_eq!(hit.bytes[12..16], [a, b, c, d]);
    assert_eq!(hit.metadata.reason, Reason::None);
}

#[test]
fn the_last_reference_takes_all_flows_out() {
    let engine = engine();
    let first = engine.flow_table_get(0);
    let second = engine.flow_table_get(0);
    open_tcp(&engine, 7, 0);
    engine.flow_table_put(0, at(1)).expect("held twice");
    assert!(look_up(&engine, &first, segment(101, 501), 1).is_some());
    engine.flow_table_put(0, at(2)).expect("held once");
    assert!(look_up(&engine, &second, segment(101, 501), 3).is_none());
    assert!(matches!(
        engine.flow_table_put(0, at(3)),
        Err(Error::NotFound(_))
    ));
    // The tracker goes on with it.
    let state = send(&engine, segment(101, 501), &LOOK, 4).metadata.state;
    assert_eq!(state, state::TRK | state::EST);
}

#[test]
fn flows_are_of_one_zone() {
    let engine = engine();
    let other = engine.flow_table_get(5);
    open_tcp(&engine, 7, 0);
    assert_eq!(other.count(Count::Added), 0);
    assert!(look_up(&engine, &other, segment(101, 501), 1).is_none());
}

#[test]
fn packets_of_a_flow_are_counted_for_its_connection() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    let id = open_tcp(&engine, 7, 0);
    let packets = |now| {
        let listed = engine.connection(id, at(now)).expect("lives");
        listed.counters.expect("counted")[0].packets
    };
    let before = packets(1);
    look_up(&engine, &table, segment(101, 501), 1).expect("a flow");
    assert_eq!(packets(2), before + 1);
}

#[test]
fn what_hardware_carried_of_a_flow_is_added_once_and_keeps_it() {
    let engine = engine();
    let table = engine.flow_table_get(0);
    let id = open_tcp(&engine, 7, 0);
    let carried = [3, 4].map(|packets| Delta {
        packets,
        bytes: 100 * packets,
    });
    let used = at(25_000);
    engine
        .flow_carried(id, carried, used, at(28_000))
        .expect("a flow");
    let counters = |now| engine.connection(id, at(now)).expect("lives").counters;
    let [original, reply] = counters(28_000).expect("counted");
    assert_eq!((original.packets, reply.packets), (2 + 3, 1 + 4));
    engine.sweep(at(50_000), Budget { records: 65_536 });
    assert_eq!(table.count(Count::Aged), 0);
    engine.sweep(at(57_000), Budget { records: 65_536 });
    assert_eq!(table.count(Count::Aged), 1);
    let late = engine.flow_carried(id, carried, used, at(58_000));
    assert!(matches!(late, Err(Error::NotFound(_))));
}

/// The packet as a device hands it up.
fn from_hardware(id: ConnectionId, reply: bool, done: u8) -> Frame {
    let mut frame = Frame::ip(question(5));
    frame.metadata.connection = id;
    frame.metadata.reply = reply;
    frame.metadata.state = done;
    frame
}

#[test]
fn a_hardware_miss_goes_on_without_a_look_up() {
    let engine = engine();
    let marking = Action {
        zone: 3,
        mark: Some(Masked {
            value: 7,
            mask: u32::MAX,
        }),
        label: Some(Masked {
            value: 9,
            mask: u128::MAX,
        }),
        ..COMMIT
    };
    let id = send(&engine, question(5), &marking, 0).metadata.connection;
    let mut frames = [
        from_hardware(id, false, 0),
        from_hardware(id, true, state::SNAT),
    ];
    let restored = engine.resume(&mut frames, at(1), &mut |_| panic!("the id is valid"));
    assert_eq!(restored, 2);
    let [first, second] = &frames;
    assert_eq!(first.metadata.state, state::TRK | state::NEW);
    assert_eq!(
        (
            first.metadata.mark,
            first.metadata.label,
            first.metadata.zone
        ),
        (7, 9, 3)
    );
    assert_eq!(
        second.metadata.state,
        state::TRK | state::EST | state::RPL | state::SNAT
    );
}

#[test]
fn a_stale_id_is_refused_and_the_packet_can_be_tracked() {
    let engine = engine();
    let id = open_udp(&engine, 5, 0);
    engine
        .flush(crate::engine::Flush::All, at(1))
        .expect("flushes");
    let mut frames = [
        from_hardware(id, false, 0),
        from_hardware(ConnectionId(77), false, 0),
    ];
    let mut refused = Vec::new();
    assert_eq!(
        engine.resume(&mut frames, at(2), &mut |i| refused.push(i)),
        0
    );
    assert_eq!(refused, [0, 1]);
    engine.execute(&mut frames, &COMMIT, at(2));
    assert!(
        frames
            .iter()
            .all(|frame| frame.metadata.state & state::INV == 0)
    );
    assert_ne!(frames[0].metadata.connection, id);
}
