//! What begins, changes and ends the life of a merged flow.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::Time;
use crate::datapath::{Datapath, Packet, Settings, parse};
use crate::engine::action::{Action as Ask, Masked};
use crate::engine::config::Config;
use crate::engine::descriptor::{ConnectionId, Frame, state};
use crate::engine::{Cursor, Engine, Flush};
use crate::error::Error;
use crate::merge::action::Action;
use crate::merge::flow::{Field, Match};
use crate::merge::fold::{Filter, Refusal};
use crate::merge::key::Tunnel;
use crate::merge::merged::{Made, Used};
use crate::merge::statistics::Count;
use crate::merge::store::Settings as Room;
use crate::merge::trace::Trace;
use crate::offload::provider::{
    Context, FlowUse, Preferences, Provider, Refusal as No, Report, Taken,
};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::sync::StdArc;
use crate::tests::packets::{Segment, ethernet, fragments};

const RULES: &str = "table=0,tcp,in_port=1,actions=ct(zone=3,table=1)
    table=0,tcp,in_port=2,actions=ct(zone=3,table=1)
    table=1,ct_state=+new,actions=ct(commit,zone=3),output:2
    table=1,ct_state=+est,in_port=1,actions=output:2
    table=1,ct_state=+est,in_port=2,actions=output:1";

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn engine() -> Engine {
    let config = Config {
        seed: Some([5; 8]),
        accounting: true,
        ..Config::default()
    };
    Engine::new(&config).expect("defaults are valid")
}

fn datapath_with(room: Option<Room>) -> Datapath {
    let engine = engine();
    if let Some(room) = room {
        engine.enable_merging(&room, None).expect("memory");
    }
    let settings = Settings {
        cache: true,
        keep: true,
    };
    Datapath::new(engine, parse(RULES).expect("rules"), settings).expect("memory")
}

fn datapath() -> Datapath {
    datapath_with(None)
}

fn packet(client: u8, flags: u8, reply: bool, numbers: (u32, u32)) -> Packet {
    let segment = if reply {
        Segment::v4(2, 80, client, 1000, flags)
    } else {
        Segment::v4(client, 1000, 2, 80, flags)
    };
    let bytes = segment.numbers(numbers.0, numbers.1).bytes();
    let mut frame = Frame::ethernet(ethernet(&[], &bytes));
    frame.in_port = if reply { 2 } else { 1 };
    frame.trace = Some(Box::new(Trace::default()));
    Packet {
        frame,
        ..Packet::default()
    }
}

fn send(datapath: &mut Datapath, packet: Packet, now: u64) -> usize {
    datapath.run(&mut [packet], at(now)).len()
}

/// A handshake, one packet each way, and their merged flows.
fn establish(datapath: &mut Datapath, client: u8) {
    establish_at(datapath, client, 10);
}

fn establish_at(datapath: &mut Datapath, client: u8, now: u64) {
    for (flags, reply, numbers) in [
        (SYN, false, (100, 0)),
        (SYN | ACK, true, (500, 101)),
        (ACK, false, (101, 501)),
        (ACK, true, (501, 101)),
        (ACK, false, (101, 501)),
    ] {
        assert_eq!(
            send(datapath, packet(client, flags, reply, numbers), now),
            1
        );
    }
    datapath.engine().merge(100, at(now)).expect("nobody looks");
}

fn data(client: u8) -> Packet {
    packet(client, ACK, false, (101, 501))
}

fn hits(datapath: &Datapath) -> u64 {
    datapath.engine().merge_count(Count::Hits).expect("enabled")
}

fn flows(datapath: &Datapath) -> usize {
    datapath.engine().merged().expect("enabled")
}

/// Whether the next packet of the connection is carried by the cache.
fn is_carried(datapath: &mut Datapath, client: u8, now: u64) -> bool {
    let before = hits(datapath);
    assert_eq!(send(datapath, data(client), now), 1);
    hits(datapath) > before
}

#[test]
fn both_directions_of_an_established_connection_are_merged() {
    let mut datapath = datapath();
    assert!(!is_carried(&mut datapath, 1, 5));
    establish(&mut datapath, 9);
    assert_eq!(flows(&datapath), 2);
    assert!(is_carried(&mut datapath, 9, 20));
    let reply = packet(9, ACK, true, (501, 101));
    assert_eq!(send(&mut datapath, reply, 21), 1);
    assert_eq!(hits(&datapath), 2);
    // Six packets and more met the rules of established ones, merged or not.
    let used: Vec<Used> = (0..5).map(|rule| datapath.used(rule)).collect();
    assert_eq!(used[0].packets + used[1].packets, 8);
    assert_eq!(used[3].last.max(used[4].last), 21);
}

#[test]
fn a_verdict_of_the_cache_is_that_of_the_tracker() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    let mut packets = [data(9)];
    datapath.run(&mut packets, at(20));
    assert_eq!(hits(&datapath), 1);
    let metadata = &packets[0].frame.metadata;
    assert_eq!(metadata.state, state::TRK | state::EST);
    assert_eq!(metadata.zone, 3);
    assert_ne!(metadata.connection, ConnectionId::NONE);
}

#[test]
fn what_begins_or_ends_a_connection_goes_the_normal_way() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    for flags in [SYN, FIN | ACK] {
        let before = hits(&datapath);
        send(&mut datapath, packet(9, flags, false, (101, 501)), 20);
        assert_eq!(hits(&datapath), before);
    }
    // It is closing: nobody carries its packets, and its flows go.
    assert!(!is_carried(&mut datapath, 9, 21));
    datapath.engine().merge(0, at(22)).expect("nobody looks");
    assert_eq!(flows(&datapath), 0);
}

#[test]
fn a_reset_and_a_fragment_go_the_normal_way() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    let whole = data(9).frame.bytes;
    for piece in fragments(&whole[14..], 7, 8) {
        let mut packet = data(9);
        packet.frame.bytes = ethernet(&[], &piece);
        send(&mut datapath, packet, 20);
    }
    send(&mut datapath, packet(9, RST | ACK, false, (101, 501)), 21);
    assert_eq!(hits(&datapath), 0);
}

#[test]
fn a_segment_outside_of_the_window_goes_the_normal_way() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    // With data: Open vSwitch is lenient with segments that have none.
    let segment = Segment::v4(9, 1000, 2, 80, ACK).numbers(9_000_000, 501);
    let mut far = data(9);
    far.frame.bytes = ethernet(&[], &segment.payload(10).bytes());
    let mut packets = [far];
    let out = datapath.run(&mut packets, at(20));
    assert_eq!((out.len(), hits(&datapath)), (0, 0));
    assert_eq!(packets[0].frame.metadata.state & state::INV, state::INV);
    assert!(is_carried(&mut datapath, 9, 21));
}

#[test]
fn without_windows_segments_pass_and_the_window_is_learned_again() {
    let mut datapath = datapath_with(Some(Room {
        windows: false,
        ..Room::default()
    }));
    establish(&mut datapath, 9);
    let far = || packet(9, ACK, false, (9_000_000, 501));
    assert_eq!(send(&mut datapath, far(), 20), 1);
    assert_eq!(hits(&datapath), 1);
    datapath.engine().flush_merged().expect("nobody looks");
    // The tracker begins the window again with what it sees now.
    assert_eq!(send(&mut datapath, far(), 21), 1);
}

#[test]
fn another_mark_revokes_at_once() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    let ask = Ask {
        zone: 3,
        mark: Some(Masked { value: 7, mask: 7 }),
        ..Ask::default()
    };
    let mut frames = [data(9).frame];
    datapath.engine().execute(&mut frames, &ask, at(20));
    assert!(!is_carried(&mut datapath, 9, 21));
    // A packet that went the normal way leaves a trace: the next flow knows the new mark.
    for _ in 0..3 {
        assert!(!is_carried(&mut datapath, 9, 21));
    }
    datapath.engine().merge(100, at(22)).expect("nobody looks");
    let mut packets = [data(9)];
    datapath.run(&mut packets, at(23));
    assert_eq!(hits(&datapath), 1);
    assert_eq!(packets[0].frame.metadata.mark, 7);
}

#[test]
fn a_connection_that_is_flushed_has_no_flow() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    datapath
        .engine()
        .flush(Flush::Zone(3), at(20))
        .expect("a zone");
    let mut packets = [data(9)];
    datapath.run(&mut packets, at(21));
    assert_eq!(hits(&datapath), 0);
}

#[test]
fn an_expired_connection_has_no_flow() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    assert!(!is_carried(&mut datapath, 9, 90_000_000));
}

#[test]
fn a_filter_that_goes_takes_its_flows_and_leaves_its_count() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    assert!(is_carried(&mut datapath, 9, 20));
    let engine = datapath.engine();
    let mut position = 0;
    let mut parents = Vec::new();
    while let Some(flow) = engine.next_merged(&mut position).expect("enabled") {
        parents.push(flow.parents);
    }
    assert_eq!(parents.len(), 2);
    let carried: Vec<u64> = parents[0]
        .iter()
        .map(|&cookie| engine.filter_used(cookie).expect("a filter").packets)
        .collect();
    assert!(carried.iter().all(|&n| n == carried[0]));
    let used = engine.filter_remove(parents[0][0]).expect("a filter");
    assert_eq!(used.packets, carried[0]);
    assert_eq!(engine.merged().expect("enabled"), 1);
    // The other parent keeps what the flow carried.
    let other = engine.filter_used(parents[0][1]).expect("a filter");
    assert_eq!(other.packets, carried[0]);
    let gone = engine.filter_used(parents[0][0]);
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

#[test]
fn a_trace_of_a_filter_that_changed_since_is_dropped() {
    let mut datapath = datapath();
    for (flags, reply, numbers) in [
        (SYN, false, (100, 0)),
        (SYN | ACK, true, (500, 101)),
        (ACK, false, (101, 501)),
    ] {
        send(&mut datapath, packet(9, flags, reply, numbers), 10);
    }
    let engine = datapath.engine();
    for cookie in 1..=engine.filters().expect("enabled") as u64 {
        engine
            .filter_update(cookie, Filter::default())
            .expect("a filter");
    }
    engine.merge(100, at(11)).expect("nobody looks");
    assert_eq!(engine.merged().expect("enabled"), 0);
    assert!(engine.merge_count(Count::Stale).expect("enabled") > 0);
}

#[test]
fn a_port_that_goes_takes_flows_from_it_and_to_it() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    assert_eq!(datapath.engine().port_removed(7).expect("nobody looks"), 0);
    assert_eq!(datapath.engine().port_removed(2).expect("nobody looks"), 2);
    assert!(!is_carried(&mut datapath, 9, 20));
}

#[test]
fn a_full_cache_evicts_what_was_not_used() {
    let mut datapath = datapath_with(Some(Room {
        flows: 8,
        ..Room::default()
    }));
    for client in 10..14 {
        establish(&mut datapath, client);
    }
    assert_eq!(flows(&datapath), 8);
    for client in 11..14 {
        assert!(is_carried(&mut datapath, client, 50));
        let reply = packet(client, ACK, true, (501, 101));
        assert_eq!(send(&mut datapath, reply, 50), 1);
    }
    establish_at(&mut datapath, 20, 55);
    assert_eq!(flows(&datapath), 8);
    assert_eq!(
        datapath
            .engine()
            .merge_count(Count::Evicted)
            .expect("enabled"),
        2
    );
    for client in [11, 12, 13, 20] {
        assert!(is_carried(&mut datapath, client, 60), "{client}");
    }
}

#[test]
fn what_cannot_be_merged_is_listed_with_its_reason() {
    let engine = engine();
    engine
        .enable_merging(&Room::default(), None)
        .expect("memory");
    let filter = Filter {
        matches: Match::any().with(Field::EthType, 0x0800),
        actions: vec![Action::Meter(1), Action::Output(1)],
    };
    engine.filter_add(1, filter).expect("the first");
    let mut trace = Trace::default();
    trace.begin(0, 1);
    trace.filter(1);
    engine.trace_end(&trace);
    engine.merge(10, at(1)).expect("nobody looks");
    let refusals = engine.merge_refusals().expect("enabled");
    assert!(refusals.contains(&(Refusal::Action, 1)));
    assert_eq!(engine.merge_count(Count::Rejected).expect("enabled"), 1);
}

#[test]
fn who_looks_flows_up_cannot_revoke_them() {
    let mut datapath = datapath();
    establish(&mut datapath, 9);
    let engine = datapath.engine();
    let visit = engine.visit_merged().expect("enabled");
    assert!(matches!(engine.flush_merged(), Err(Error::Busy(_))));
    assert!(matches!(engine.merge(1, at(1)), Err(Error::Busy(_))));
    drop(visit);
    assert_eq!(engine.flush_merged().expect("nobody looks"), 2);
}

#[test]
fn merged_flows_have_to_be_enabled_once() {
    let engine = engine();
    assert!(matches!(engine.merge(1, at(1)), Err(Error::NotFound(_))));
    let none = Room {
        flows: 0,
        ..Room::default()
    };
    assert!(matches!(
        engine.enable_merging(&none, None),
        Err(Error::Invalid(_))
    ));
    engine
        .enable_merging(&Room::default(), None)
        .expect("memory");
    let again = engine.enable_merging(&Room::default(), None);
    assert!(matches!(again, Err(Error::Exists(_))));
    let filter = Filter::default();
    engine.filter_add(1, filter.clone()).expect("the first");
    assert!(matches!(
        engine.filter_add(1, filter.clone()),
        Err(Error::Exists(_))
    ));
    assert!(matches!(
        engine.filter_update(2, filter),
        Err(Error::NotFound(_))
    ));
}

/// A revoking call returns while packets go on: none of them is handled by what it revoked.
#[test]
fn no_packet_is_handled_by_a_flow_after_it_was_revoked() {
    const ROUNDS: u64 = 300;
    let engine = StdArc::new(engine());
    let room = Room {
        flows: 64,
        ..Room::default()
    };
    engine.enable_merging(&room, None).expect("memory");
    // The number of the filter that is valid now is written into its action.
    let filter = |round: u64| Filter {
        matches: Match::any().with(Field::EthType, 0x0800),
        actions: vec![Action::Output(round as u32)],
    };
    let valid = StdArc::new(AtomicU64::new(0));
    let done = StdArc::new(AtomicBool::new(false));
    let carried = StdArc::new(AtomicU64::new(0));
    engine.filter_add(1, filter(0)).expect("the first");
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (engine, valid) = (engine.clone(), valid.clone());
            let (done, carried) = (done.clone(), carried.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut frames = [data(9).frame];
                    let visit = engine.visit_merged().expect("enabled");
                    // What is valid now stays so until somebody revokes it.
                    let from = valid.load(Ordering::SeqCst);
                    let mut seen = None;
                    let none = |_| Tunnel::default();
                    engine.fastpath(&visit, &mut frames, &none, at(1), &mut |_, flow| {
                        seen = Some(flow);
                    });
                    match seen {
                        Some(flow) => {
                            let Action::Output(round) = flow.made().rest[0] else {
                                panic!("{:?}", flow.made().rest);
                            };
                            assert!(u64::from(round) >= from, "{round} after {from}");
                            carried.fetch_add(1, Ordering::Relaxed);
                        }
                        None => {
                            if let Some(trace) = &mut frames[0].trace {
                                trace.filter(1);
                                engine.trace_end(trace);
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        engine.merge(8, at(round)).expect("nobody looks");
        engine.filter_update(1, filter(round)).expect("it is there");
        // From here on, nothing older may be seen.
        valid.store(round, Ordering::SeqCst);
        engine.merge(8, at(round)).expect("nobody looks");
        std::thread::yield_now();
    }
    done.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("no panic");
    }
    engine.flush_merged().expect("nobody looks");
    let used = engine.filter_used(1).expect("it is there");
    assert_eq!(used.packets, carried.load(Ordering::Relaxed));
}

/// A provider that takes flows and no connections.
#[derive(Default)]
struct Flows {
    calls: StdArc<Mutex<Vec<String>>>,
    reports: StdArc<AtomicU64>,
}

impl Flows {
    fn note(&self, call: String) {
        self.calls.lock().expect("no panic").push(call);
    }

    fn report(&self) -> FlowUse {
        let packets = self.reports.load(Ordering::Relaxed);
        FlowUse {
            packets,
            bytes: 100 * packets,
            last_used: Some(at(3_000)),
        }
    }
}

impl Provider for Flows {
    fn name(&self) -> &str {
        "flows"
    }
    fn preferences(&self) -> Preferences {
        Preferences {
            wants_flows: true,
            ..Preferences::default()
        }
    }
    fn can_offload(&self, _context: &Context) -> bool {
        false
    }
    fn conn_add(&self, _context: &Context) -> Result<Taken, No> {
        Err(No::Never)
    }
    fn conn_del(&self, _context: &Context) -> Report {
        Report::default()
    }
    fn flow_add(&self, flow: &Made) -> bool {
        self.note(format!("add {} {}", flow.number, flow.passings.len()));
        true
    }
    fn flow_stats(&self, number: u64) -> FlowUse {
        self.note(format!("stats {number}"));
        self.report()
    }
    fn flow_del(&self, number: u64) -> FlowUse {
        self.note(format!("del {number}"));
        self.report()
    }
}

#[test]
fn providers_take_flows_report_what_they_carried_and_give_them_back() {
    let mut datapath = datapath();
    let provider = Flows::default();
    let (calls, reports) = (provider.calls.clone(), provider.reports.clone());
    let take = || std::mem::take(&mut *calls.lock().expect("no panic"));
    let registered = datapath
        .engine()
        .register_provider(Box::new(provider), at(0));
    registered.expect("the first");
    establish(&mut datapath, 9);
    assert_eq!(take(), ["add 1 1", "add 2 1"]);
    let before: Vec<u64> = (0..5).map(|rule| datapath.used(rule).packets).collect();
    // Asked once a second: what hardware carried goes to parents and to the connection.
    reports.store(5, Ordering::Relaxed);
    datapath.engine().merge(0, at(3_000)).expect("nobody looks");
    assert_eq!(take(), ["stats 1", "stats 2"]);
    datapath.engine().merge(0, at(3_500)).expect("nobody looks");
    assert!(take().is_empty());
    let after: Vec<u64> = (0..5).map(|rule| datapath.used(rule).packets).collect();
    let more: u64 = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    assert_eq!(more, 2 * 2 * 5);
    let mut cursor = Cursor::new(None);
    let connection = datapath.engine().next(&mut cursor, at(3_500));
    let connection = connection.expect("it lives");
    let counters = connection.counters.expect("accounting is on");
    let counters = counters.map(|count| (count.packets, count.bytes));
    assert_eq!(counters, [(3 + 5, 40 * 3 + 500), (2 + 5, 40 * 2 + 500)]);
    // Revoked: told, and what was carried to the last is not lost.
    datapath.engine().port_removed(1).expect("nobody looks");
    assert_eq!(take(), ["del 1", "del 2"]);
    let last: u64 = (0..5).map(|rule| datapath.used(rule).packets).sum();
    assert_eq!(last, after.iter().sum::<u64>() + 2 * 2 * 5);
}

#[test]
fn a_provider_that_leaves_gives_its_flows_back() {
    let mut datapath = datapath();
    let provider = Flows::default();
    let calls = provider.calls.clone();
    let registered = datapath
        .engine()
        .register_provider(Box::new(provider), at(0));
    registered.expect("the first");
    establish(&mut datapath, 9);
    datapath
        .engine()
        .unregister_provider("flows", at(20))
        .expect("registered");
    let calls = calls.lock().expect("no panic").clone();
    assert_eq!(calls, ["add 1 1", "add 2 1", "del 1", "del 2"]);
    // The cache carries on.
    assert!(is_carried(&mut datapath, 9, 30));
}
