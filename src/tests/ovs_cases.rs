//! What cases of Open vSwitch's `tests/system-traffic.at` ask of the tracker, with their flow tables
//! as sequences of actions: those about states, zones, marks and labels. `docs/rules-nat.md` lists all
//! of their names, and where the others are shown.

use crate::engine::action::{Action, Masked, Nat, NatRange};
use crate::engine::descriptor::{Frame, state};
use crate::engine::filter::{Filter, TupleFilter};
use crate::engine::listing::Connection;
use crate::engine::{Cursor, Engine, Flush};
use crate::packet::tcp_flags::{ACK, FIN, PSH, SYN};
use crate::packet::{Family, proto};
use crate::tests::ground::{COMMIT, LOOK, at, engine};
use crate::tests::packets::{Ip, Segment, echo, ip, udp, unreachable};
use crate::tuple::Zone;

const NEW: u8 = state::NEW;
const EST: u8 = state::EST;
const REL: u8 = state::REL;
const RPL: u8 = state::RPL;
const INV: u8 = state::INV;

/// `ct(...)` for a packet that may have passed others before.
fn ct(engine: &Engine, frame: Frame, action: &Action) -> Frame {
    let mut frames = [frame];
    engine.execute(&mut frames, action, at(0));
    let [frame] = frames;
    assert_ne!(frame.metadata.state & state::TRK, 0);
    frame
}

fn first(engine: &Engine, bytes: Vec<u8>, action: &Action) -> Frame {
    ct(engine, Frame::ip(bytes), action)
}

/// The bits but TRK.
fn bits(frame: &Frame) -> u8 {
    frame.metadata.state & !state::TRK
}

fn listed(engine: &Engine) -> Vec<Connection> {
    let mut cursor = Cursor::default();
    std::iter::from_fn(|| engine.next(&mut cursor, at(0))).collect()
}

const fn zoned(zone: Zone, action: Action) -> Action {
    Action { zone, ..action }
}

/// `exec(set_field:value/mask->ct_mark)`, and the same of the label.
fn setting(mark: (u32, u32), label: (u128, u128), action: Action) -> Action {
    let (value, mask) = mark;
    let mark = Some(Masked { value, mask });
    let (value, mask) = label;
    let label = Some(Masked { value, mask });
    Action {
        mark,
        label,
        ..action
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

/// A request for a page from host 1 to host 2, its answer and the end of it.
fn page(family: Family) -> Vec<(Sender, Vec<u8>)> {
    let host = |number| match family {
        Family::V4 => Ip::v4(number),
        Family::V6 => Ip::v6(number),
    };
    let segment = |from, flags, (seq, ack), payload| {
        let mut segment = Segment::v4(1, 40_000, 2, 80, flags);
        (segment.src, segment.dst) = (host(1), host(2));
        if from == Sender::Server {
            std::mem::swap(&mut segment.src, &mut segment.dst);
            std::mem::swap(&mut segment.sport, &mut segment.dport);
        }
        (from, segment.numbers(seq, ack).payload(payload).bytes())
    };
    use Sender::{Client, Server};
    vec![
        segment(Client, SYN, (100, 0), 0),
        segment(Server, SYN | ACK, (500, 101), 0),
        segment(Client, ACK, (101, 501), 0),
        segment(Client, ACK | PSH, (101, 501), 80),
        segment(Server, ACK | PSH, (501, 181), 300),
        segment(Server, ACK | FIN, (801, 181), 0),
        segment(Client, ACK | FIN, (181, 802), 0),
        segment(Server, ACK, (802, 182), 0),
    ]
}

/// What a segment of a page has when its connection is known.
fn of_page(number: usize, from: Sender) -> u8 {
    match (number, from) {
        (0, _) => NEW,
        (_, Sender::Client) => EST,
        (_, Sender::Server) => EST | RPL,
    }
}

/// "controller"
#[test]
fn an_answer_is_established_and_an_unsolicited_one_is_not() {
    let engine = engine();
    let answer = || udp(Ip::v4(2), 2, Ip::v4(1), 1, b"");
    assert_eq!(bits(&first(&engine, answer(), &LOOK)), NEW);
    first(&engine, udp(Ip::v4(1), 1, Ip::v4(2), 2, b""), &COMMIT);
    let frame = first(&engine, answer(), &LOOK);
    assert_eq!(bits(&frame), EST | RPL);
    let tuple = frame.original.expect("that of the connection");
    let expected = (Ip::v4(1).number(), 1, Ip::v4(2).number(), 2);
    assert_eq!((tuple.src, tuple.sport, tuple.dst, tuple.dport), expected);
}

/// "IPv4 ping", "IPv6 ping"
#[test]
fn a_ping_is_answered_by_an_established_reply_and_one_from_the_other_side_is_new() {
    for host in [Ip::v4 as fn(u8) -> Ip, Ip::v6] {
        let engine = engine();
        for turn in 0..3 {
            let asked = first(&engine, echo(host(1), host(2), 7, false), &COMMIT);
            assert_eq!(bits(&asked), if turn == 0 { NEW } else { EST });
            let answered = first(&engine, echo(host(2), host(1), 7, true), &LOOK);
            assert_eq!(bits(&answered), EST | RPL);
        }
        let known = listed(&engine);
        let types = known
            .iter()
            .map(|known| (known.original.icmp_type(), known.reply.icmp_type()));
        let expected = match host(1) {
            Ip::V4(_) => (8, 0),
            Ip::V6(_) => (128, 129),
        };
        assert!(types.eq([expected]));
        engine.flush(Flush::All, at(0)).expect("always");
        let asked = first(&engine, echo(host(2), host(1), 7, false), &LOOK);
        assert_eq!(bits(&asked), NEW);
        assert_eq!(listed(&engine), []);
    }
}

/// "invalid"
#[test]
fn the_answers_to_what_was_never_committed_belong_to_no_connection() {
    let engine = engine();
    for (number, (from, bytes)) in page(Family::V4).into_iter().enumerate() {
        let expected = match (number, from) {
            // Nobody asked.
            (1, _) => INV,
            // Sender the middle of a stream a connection may begin.
            _ => NEW,
        };
        assert_eq!(bits(&first(&engine, bytes, &LOOK)), expected, "{number}");
    }
    assert_eq!(listed(&engine), []);
}

/// "IPv4 HTTP", "IPv6 HTTP"; "zones", "zones from field", and where it is all that the tracker has to do
/// with it: "preserve registers", "multiple namespaces, internal ports"
#[test]
fn a_page_is_loaded_over_one_established_connection_of_its_zone() {
    for family in [Family::V4, Family::V6] {
        let engine = engine();
        for zone in [0, 1, 2, 0x1001, Zone::MAX] {
            for (number, (from, bytes)) in page(family).into_iter().enumerate() {
                let action = match from {
                    Sender::Client => zoned(zone, COMMIT),
                    Sender::Server => zoned(zone, LOOK),
                };
                let frame = first(&engine, bytes, &action);
                assert_eq!(bits(&frame), of_page(number, from), "{number} in {zone}");
                assert_eq!(frame.metadata.zone, zone);
                // In a second pass it is the same.
                let frame = ct(&engine, frame, &action);
                assert_eq!(bits(&frame), of_page(number, from), "{number} in {zone}");
            }
        }
        let zones = listed(&engine).into_iter().map(|known| known.original.zone);
        assert!(zones.eq([0, 1, 2, 0x1001, Zone::MAX]));
    }
}

/// "zones from other field", "zones from other field, more tests"
#[test]
fn a_zone_may_be_what_an_earlier_pass_has_shown() {
    let engine = engine();
    for zone in [5, 15] {
        let syn = || page(Family::V4).swap_remove(0).1;
        let frame = first(&engine, syn(), &zoned(zone, LOOK));
        let shown = frame.metadata.zone;
        ct(&engine, frame, &zoned(shown, COMMIT));
        assert_eq!(listed(&engine).last().map(|c| c.original.zone), Some(zone));

        let labelled = setting(
            (0, 0),
            (0xffff_0000 | u128::from(zone), 0xffff_ffff),
            COMMIT,
        );
        let frame = first(&engine, syn(), &zoned(zone, labelled));
        let of_label = frame.metadata.label as Zone;
        let frame = ct(&engine, frame, &zoned(of_label, COMMIT));
        assert_eq!((of_label, frame.metadata.zone), (zone, zone));
    }
    assert_eq!(listed(&engine).len(), 2);
}

/// "multiple bridges"
#[test]
fn a_page_is_established_in_each_of_two_zones_that_it_crosses() {
    let engine = engine();
    for (number, (from, bytes)) in page(Family::V4).into_iter().enumerate() {
        let frame = match from {
            Sender::Client => {
                let frame = first(&engine, bytes, &zoned(1, COMMIT));
                assert_eq!(bits(&frame), of_page(number, from));
                ct(&engine, frame, &zoned(2, LOOK))
            }
            Sender::Server => {
                let frame = first(&engine, bytes, &zoned(2, LOOK));
                assert_eq!(bits(&frame), of_page(number, from));
                let frame = ct(&engine, frame, &zoned(2, COMMIT));
                ct(&engine, frame, &zoned(1, LOOK))
            }
        };
        assert_eq!(bits(&frame), of_page(number, from), "{number}");
        if bits(&frame) == NEW {
            ct(&engine, frame, &zoned(2, COMMIT));
        }
    }
    let zones = listed(&engine).into_iter().map(|known| known.original.zone);
    assert!(zones.eq([1, 2]));
}

/// "multiple zones"
#[test]
fn a_packet_is_committed_to_two_zones_in_turn_and_answered_in_one() {
    let engine = engine();
    for (number, (from, bytes)) in page(Family::V4).into_iter().enumerate() {
        let frame = match from {
            Sender::Client => {
                let frame = first(&engine, bytes, &zoned(1, COMMIT));
                ct(&engine, frame, &zoned(2, COMMIT))
            }
            Sender::Server => first(&engine, bytes, &zoned(2, LOOK)),
        };
        assert_eq!(bits(&frame), of_page(number, from), "{number}");
        assert_eq!(frame.metadata.zone, 2);
    }
    let known: Vec<_> = listed(&engine)
        .iter()
        .map(|known| (known.original.zone, known.seen_reply))
        .collect();
    assert_eq!(known, [(1, false), (2, true)]);
}

/// "ct_mark", "ct_mark from register", "ct_label"
#[test]
fn answers_show_the_mark_and_label_of_their_connection_and_not_anothers() {
    let engine = engine();
    let label = 0x0a_000d_0000_0500_0001;
    for (client, mark, label) in [(1, 1, label), (3, 2, 2)] {
        let asked = udp(Ip::v4(client), 7, Ip::v4(client + 1), 53, b"?");
        let action = setting((mark, u32::MAX), (label, u128::MAX), COMMIT);
        first(&engine, asked, &action);
        let answer = udp(Ip::v4(client + 1), 53, Ip::v4(client), 7, b"!");
        let shown = first(&engine, answer, &LOOK).metadata;
        assert_eq!((shown.mark, shown.label), (mark, label));
    }
}

/// "ct_mark bit-fiddling", "ct_label bit-fiddling", "ct metadata, multiple zones"
#[test]
fn an_answer_may_set_further_bits_of_mark_and_label_in_its_zone_only() {
    let engine = engine();
    let asking = setting((0x5, 0x5), (0x5, 0x5), zoned(1, COMMIT));
    let answering = setting((0x2, 0x6), (0x2_0000_0000, 0x2_0000_0004), zoned(1, COMMIT));
    for (number, (from, bytes)) in page(Family::V4).into_iter().enumerate() {
        match from {
            Sender::Client => {
                let frame = first(&engine, bytes, &zoned(1, LOOK));
                assert_eq!(bits(&frame), of_page(number, from));
                if bits(&frame) == NEW {
                    let frame = ct(&engine, frame, &asking);
                    assert_eq!((frame.metadata.mark, frame.metadata.label), (5, 5));
                    ct(&engine, frame, &zoned(2, COMMIT));
                } else {
                    ct(&engine, frame, &zoned(2, LOOK));
                }
            }
            Sender::Server => {
                let frame = first(&engine, bytes, &answering);
                let shown = frame.metadata;
                assert_eq!((shown.mark, shown.label), (3, 0x2_0000_0001));
                let frame = ct(&engine, frame, &zoned(2, LOOK));
                assert_eq!((frame.metadata.mark, frame.metadata.label), (0, 0));
            }
        }
    }
    let known: Vec<_> = listed(&engine)
        .iter()
        .map(|known| (known.original.zone, known.mark, known.label))
        .collect();
    assert_eq!(known, [(1, 3, 0x2_0000_0001), (2, 0, 0)]);
}

/// "new connections"
#[test]
fn without_an_answer_nothing_is_ever_established() {
    let engine = engine();
    for packet in [
        udp(Ip::v4(1), 1, Ip::v4(2), 2, b""),
        page(Family::V4).swap_remove(0).1,
    ] {
        for _ in 0..3 {
            let frame = first(&engine, packet.clone(), &LOOK);
            assert_eq!(bits(&frame), NEW);
            assert_eq!(bits(&ct(&engine, frame, &COMMIT)), NEW);
        }
    }
    assert_eq!(listed(&engine).len(), 2);
}

/// "generic IP protocol"
#[test]
fn a_protocol_without_ports_is_tracked_by_its_addresses() {
    const VRRP: u8 = 112;
    let engine = engine();
    let group = Ip::V4([224, 0, 0, 18]);
    let packet = ip(Ip::v4(30), group, VRRP, &[0x21, 1, 100, 1]);
    for _ in 0..2 {
        let frame = first(&engine, packet.clone(), &LOOK);
        assert_eq!(bits(&frame), NEW);
        ct(&engine, frame, &COMMIT);
    }
    let known = listed(&engine);
    assert_eq!(known.len(), 1);
    let (original, reply) = (known[0].original, known[0].reply);
    assert_eq!(
        (original.proto, original.sport, original.dport),
        (VRRP, 0, 0)
    );
    assert_eq!(
        (original.src, original.dst),
        (Ip::v4(30).number(), group.number())
    );
    assert_eq!(reply, original.reversed());
}

/// "ICMP related"
#[test]
fn an_error_about_a_marked_connection_is_related_and_shows_its_mark() {
    let engine = engine();
    let asked = udp(Ip::v4(1), 7, Ip::v4(2), 10_000, b"?");
    first(
        &engine,
        asked.clone(),
        &setting((1, u32::MAX), (0, 0), COMMIT),
    );
    let frame = first(&engine, unreachable(Ip::v4(2), Ip::v4(1), &asked), &LOOK);
    assert_eq!((bits(&frame), frame.metadata.mark), (REL | RPL, 1));
}

/// "ICMP related to original direction"
#[test]
fn an_error_about_an_answer_is_related_in_the_original_direction() {
    let engine = engine();
    let zone = 34_673;
    let packet = |from, to| udp(Ip::v4(from), 53, Ip::v4(to), 53, b"");
    let passes = |bytes, action| {
        let frame = first(&engine, bytes, &LOOK);
        bits(&ct(&engine, frame, &zoned(zone, action)))
    };
    assert_eq!(passes(packet(1, 2), COMMIT), NEW);
    assert_eq!(passes(packet(2, 1), COMMIT), EST | RPL);
    for _ in 0..2 {
        let error = unreachable(Ip::v4(1), Ip::v4(2), &packet(2, 1));
        assert_eq!(passes(error, LOOK), REL);
    }
    assert_eq!(listed(&engine).len(), 1);
}

/// "ICMP related 2"
#[test]
fn an_error_from_midway_is_related_and_one_about_nothing_invalid_and_never_stored() {
    let engine = engine();
    let packet = |from: u8, port, to, dport| udp(Ip::v4(from), port, Ip::v4(to), dport, b" cias\n");
    let stranger = unreachable(Ip::v4(4), Ip::v4(3), &packet(3, 4_369, 4, 8_738));
    let frame = first(&engine, stranger, &COMMIT);
    assert_eq!((bits(&frame), listed(&engine).len()), (INV, 0));
    let asked = packet(1, 41_614, 2, 5_555);
    let question = first(&engine, asked.clone(), &COMMIT);
    assert_eq!(bits(&question), NEW);
    let midway = unreachable(Ip::v4(3), Ip::v4(1), &asked);
    let frame = first(&engine, midway, &COMMIT);
    assert_eq!(bits(&frame), REL | RPL);
    assert_eq!(frame.original, question.original);
    let known = listed(&engine);
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].original.proto, proto::UDP);
}

/// "SNAT with icmp_id" (4.0)
#[test]
fn pings_of_one_identifier_behind_one_address_get_identifiers_of_their_own() {
    let engine = engine();
    let public = Ip::v4(201);
    let translating = |source| Action {
        nat: Some(Nat {
            source,
            ..Nat::default()
        }),
        ..LOOK
    };
    let clients = [1, 3, 4];
    for client in clients {
        let asked = echo(Ip::v4(client), Ip::v4(2), 500, false);
        let frame = first(&engine, asked, &translating(None));
        assert_eq!(bits(&frame), NEW);
        let range = Some(NatRange::address(public.number()));
        let commit = Action {
            commit: true,
            ..translating(range)
        };
        ct(&engine, frame, &commit);
    }
    let known = listed(&engine);
    let mut identifiers: Vec<u16> = known.iter().map(|known| known.reply.dport).collect();
    assert_eq!(identifiers, [500, 501, 502]);
    for (known, client) in known.iter().zip(clients) {
        assert_eq!(known.original.src, Ip::v4(client).number());
        assert_eq!(
            (known.original.sport, known.reply.dst),
            (500, public.number())
        );
        let answer = echo(Ip::v4(2), public, known.reply.dport, true);
        let frame = first(&engine, answer, &translating(None));
        assert_eq!(bits(&frame) & (EST | RPL), EST | RPL);
        assert_eq!(frame.bytes[16..20], [10, 0, 0, client]);
    }
    identifiers.sort_unstable();
    identifiers.dedup();
    assert_eq!(identifiers.len(), 3);
}

/// "Flush many conntrack entries by port" (3.5)
#[test]
fn a_flush_by_source_port_in_a_zone_leaves_the_other_ports() {
    let engine = engine();
    let packet = |sport, dport| udp(Ip::v4(1), sport, Ip::v4(2), dport, b"");
    for dport in 1..=20 {
        first(&engine, packet(1, dport), &zoned(1, COMMIT));
    }
    first(&engine, packet(2, 1), &zoned(1, COMMIT));
    first(&engine, packet(1, 1), &zoned(2, COMMIT));
    let filter = Filter {
        zone: Some(1),
        original: TupleFilter {
            proto: Some(proto::UDP),
            sport: Some(1),
            ..TupleFilter::default()
        },
        ..Filter::default()
    };
    assert_eq!(engine.flush_matching(&filter, at(0)), 20);
    let rest: Vec<_> = listed(&engine)
        .iter()
        .map(|known| (known.original.zone, known.original.sport))
        .collect();
    assert_eq!(rest, [(1, 2), (2, 1)]);
}
