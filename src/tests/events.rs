//! What listeners hear of connections.

use crate::clock::Time;
use crate::engine::action::{Action, Masked};
use crate::engine::config::Config;
use crate::engine::descriptor::Frame;
use crate::engine::events::{Changes, Ending, Event, Kind, What};
use crate::engine::filter::Filter;
use crate::engine::listing::{Counters, ProtocolListing};
use crate::engine::{Budget, Engine, Flush};
use crate::observe::{Interest, Listener};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::policy::timeouts::Policy;
use crate::tests::packets::{Ip, Segment, udp};

const ALL: Interest = Interest {
    kinds: Kind::ALL,
    zone: None,
};
const CHANGED: Changes = Changes {
    state: false,
    status: false,
    mark: false,
    label: false,
};

fn engine() -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        accounting: true,
        ..Config::default()
    })
    .expect("valid")
}

fn commit() -> Action {
    Action {
        commit: true,
        ..Action::default()
    }
}

fn one(engine: &Engine, frame: Frame, action: &Action, now: u64) -> Frame {
    let mut frames = [frame];
    engine.execute(&mut frames, action, Time::from_millis(now));
    let [frame] = frames;
    frame
}

fn question(sport: u16) -> Frame {
    Frame::ip(udp(Ip::v4(1), sport, Ip::v4(2), 53, b"?"))
}

fn answer(sport: u16) -> Frame {
    Frame::ip(udp(Ip::v4(2), 53, Ip::v4(1), sport, b"!"))
}

fn heard(listener: &Listener<Event>) -> Vec<Event> {
    std::iter::from_fn(|| listener.next()).collect()
}

fn what(listener: &Listener<Event>) -> Vec<What> {
    heard(listener).iter().map(|event| event.what).collect()
}

fn sweep(engine: &Engine, now: u64) {
    let budget = Budget { records: u32::MAX };
    while !engine.sweep(Time::from_millis(now), budget).complete {}
}

#[test]
fn a_connection_is_new_then_answered_then_ends_with_its_counters() {
    let engine = engine();
    let listener = engine.listen(ALL, 16).expect("valid");
    let id = one(&engine, question(5), &commit(), 10).metadata.connection;
    one(&engine, question(5), &commit(), 20);
    one(&engine, answer(5), &commit(), 30);
    one(&engine, answer(5), &commit(), 40);
    sweep(&engine, 1_000_000);
    let events = heard(&listener);
    let times: Vec<u64> = events.iter().map(|event| event.at.as_millis()).collect();
    assert_eq!(times, [10, 30, 1_000_000]);
    assert_eq!(
        events.iter().map(|event| event.what).collect::<Vec<_>>(),
        [
            What::New,
            What::Update(Changes {
                status: true,
                ..CHANGED
            }),
            What::Destroy(Ending::Expired)
        ]
    );
    assert!(events.iter().all(|event| event.connection.id == id));
    assert!(!events[0].connection.seen_reply && events[1].connection.seen_reply);
    let counters = |packets| Counters {
        packets,
        bytes: packets * 29,
    };
    assert_eq!(
        events[2].connection.counters,
        Some([counters(2), counters(2)])
    );
}

#[test]
fn tcp_tells_its_states_and_nothing_of_packets_that_change_none() {
    let engine = engine();
    let update = Interest {
        kinds: Kind::Update.bit(),
        ..ALL
    };
    let listener = engine.listen(update, 32).expect("valid");
    let there = |flags, seq, ack| Segment::v4(1, 1000, 2, 80, flags).numbers(seq, ack);
    let back = |flags, seq, ack| Segment::v4(2, 80, 1, 1000, flags).numbers(seq, ack);
    let segments = [
        there(SYN, 100, 0),
        back(SYN | ACK, 500, 101),
        there(ACK, 101, 501),
        there(ACK, 101, 501).payload(10),
        back(ACK, 501, 111),
        there(ACK, 111, 501).payload(10),
        back(ACK, 501, 121),
        there(FIN | ACK, 121, 501),
        back(FIN | ACK, 501, 122),
        there(ACK, 122, 502),
    ];
    for (now, segment) in segments.iter().enumerate() {
        one(&engine, segment.frame(), &commit(), now as u64);
    }
    let events = heard(&listener);
    let states: Vec<_> = events
        .iter()
        .map(|event| match event.connection.protocol {
            ProtocolListing::Tcp(tcp) => (event.at.as_millis(), tcp.state),
            _ => panic!("not TCP"),
        })
        .collect();
    assert_eq!(states.first(), Some(&(1, "ESTABLISHED")));
    assert!(
        states.iter().all(|&(at, _)| !(3..7).contains(&at)),
        "{states:?}"
    );
    assert_eq!(states.last(), Some(&(9, "TIME_WAIT")));
    assert!(
        events
            .iter()
            .all(|event| matches!(event.what, What::Update(Changes { mark: false, .. })))
    );
}

#[test]
fn marks_and_labels_are_told_when_they_become_others() {
    let engine = engine();
    let listener = engine.listen(ALL, 16).expect("valid");
    let marked = |mark, label| Action {
        mark: Some(Masked {
            value: mark,
            mask: 0xff,
        }),
        label: Some(Masked {
            value: label,
            mask: u128::MAX,
        }),
        ..commit()
    };
    one(&engine, question(5), &marked(1, 0), 0);
    let new = heard(&listener);
    assert_eq!((new[0].what, new[0].connection.mark), (What::New, 1));
    one(&engine, question(5), &marked(1, 0), 1);
    assert_eq!(what(&listener), []);
    // The second pass of the same packet goes by its connection's id.
    let frame = one(&engine, question(5), &marked(2, 0), 2);
    one(&engine, frame, &marked(3, 9), 3);
    let mark = Changes {
        mark: true,
        ..CHANGED
    };
    assert_eq!(
        what(&listener),
        [
            What::Update(mark),
            What::Update(Changes {
                label: true,
                ..mark
            })
        ]
    );
}

#[test]
fn the_reason_of_an_end_is_told() {
    let engine = engine();
    let destroy = Interest {
        kinds: Kind::Destroy.bit(),
        ..ALL
    };
    let listener = engine.listen(destroy, 16).expect("valid");
    let ending = |why| vec![What::Destroy(why)];
    let tuple = |sport| {
        one(&engine, question(sport), &commit(), 0);
        let id = one(&engine, question(sport), &commit(), 0)
            .metadata
            .connection;
        let listed = engine.connection(id, Time::from_millis(0));
        listed.expect("it lives").original
    };
    engine
        .flush(Flush::Tuple(tuple(1)), Time::from_millis(0))
        .expect("it lives");
    assert_eq!(what(&listener), ending(Ending::Flushed));
    tuple(2);
    assert_eq!(
        engine.flush_matching(&Filter::default(), Time::from_millis(0)),
        1
    );
    assert_eq!(what(&listener), ending(Ending::Flushed));
    tuple(3);
    engine
        .flush(Flush::Zone(0), Time::from_millis(0))
        .expect("always");
    assert_eq!(what(&listener), [], "not yet");
    sweep(&engine, 0);
    assert_eq!(what(&listener), ending(Ending::Flushed));
    // `force` from the other side.
    tuple(4);
    let force = Action {
        force: true,
        ..commit()
    };
    one(&engine, answer(4), &force, 0);
    assert_eq!(what(&listener), ending(Ending::Replaced));
    // A SYN after the end.
    let syn = Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0);
    let rst = Segment::v4(2, 80, 1, 1000, RST | ACK).numbers(0, 101);
    for segment in [&syn, &rst, &syn] {
        one(&engine, segment.frame(), &commit(), 1);
    }
    assert_eq!(what(&listener), ending(Ending::Replaced));
}

#[test]
fn a_full_table_tells_whom_it_gave_up() {
    let engine = Engine::new(&Config {
        profile: crate::engine::config::Profile::Kernel,
        max_connections: 4,
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("valid");
    let listener = engine.listen(ALL, 32).expect("valid");
    for sport in 1..=5 {
        one(&engine, question(sport), &commit(), u64::from(sport));
    }
    let told = what(&listener);
    assert_eq!(told[..4], [What::New; 4]);
    assert_eq!(told[4..], [What::Destroy(Ending::EarlyDrop), What::New]);
}

#[test]
fn a_reset_that_ends_a_connection_at_once_is_its_end_and_no_change() {
    let engine = Engine::new(&Config {
        profile: crate::engine::config::Profile::Kernel,
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("valid");
    let listener = engine.listen(ALL, 8).expect("valid");
    let syn = Segment::v4(1, 1000, 2, 80, SYN).numbers(100, 0);
    let refused = Segment::v4(2, 80, 1, 1000, RST | ACK).numbers(0, 101);
    one(&engine, syn.frame(), &commit(), 0);
    one(&engine, refused.frame(), &commit(), 1);
    sweep(&engine, 5_000);
    assert_eq!(what(&listener), [What::New, What::Destroy(Ending::Expired)]);
}

#[test]
fn a_packet_that_is_not_committed_or_invalid_is_no_event() {
    let engine = engine();
    let listener = engine.listen(ALL, 16).expect("valid");
    one(&engine, question(5), &Action::default(), 0);
    one(&engine, Frame::ip(vec![0x45; 7]), &commit(), 0);
    assert_eq!(what(&listener), []);
}

#[test]
fn a_listener_of_a_zone_hears_of_that_zone() {
    let engine = engine();
    let seventh = Interest {
        zone: Some(7),
        ..ALL
    };
    let listener = engine.listen(seventh, 16).expect("valid");
    for zone in [6, 7, 8] {
        one(&engine, question(5), &Action { zone, ..commit() }, 0);
    }
    let zones: Vec<_> = heard(&listener)
        .iter()
        .map(|event| event.connection.original.zone)
        .collect();
    assert_eq!(zones, [7]);
}

#[test]
fn lost_events_are_counted_and_the_connections_are_none_the_worse() {
    let engine = engine();
    let listener = engine.listen(ALL, 4).expect("valid");
    let mut frames: Vec<Frame> = (1..=100).map(question).collect();
    engine.execute(&mut frames, &commit(), Time::default());
    assert_eq!((heard(&listener).len(), listener.lost()), (4, 96));
    assert_eq!(engine.connections(), 100);
    one(&engine, question(1000), &commit(), 0);
    assert_eq!((heard(&listener).len(), listener.lost()), (1, 0));
}

#[test]
fn the_policy_of_a_connection_is_told_by_its_number() {
    let engine = engine();
    engine
        .set_timeout_policy(77, Policy::default())
        .expect("valid");
    let listener = engine.listen(ALL, 4).expect("valid");
    let action = Action {
        timeout_policy: Some(77),
        ..commit()
    };
    one(&engine, question(5), &action, 0);
    assert_eq!(heard(&listener)[0].connection.timeout_policy, Some(77));
}

#[test]
fn nonsense_is_refused_and_a_listener_ends_when_it_is_dropped() {
    let engine = engine();
    assert!(engine.listen(Interest { kinds: 8, ..ALL }, 4).is_err());
    assert!(engine.listen(Interest { kinds: 0, ..ALL }, 4).is_err());
    assert!(engine.listen(ALL, 0).is_err());
    let listener = engine.listen(ALL, 4).expect("valid");
    one(&engine, question(5), &commit(), 0);
    drop(engine);
    assert_eq!(what(&listener), [What::New], "it outlives the engine");
}

#[test]
fn every_beginning_has_one_end_between_threads() {
    const THREADS: u16 = 3;
    let engine = engine();
    let listener = engine.listen(ALL, 1 << 16).expect("valid");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..400 {
                    // All threads use the same tuples.
                    let frame = if (round + thread) % 3 == 0 {
                        answer(round % 50)
                    } else {
                        question(round % 50)
                    };
                    one(engine, frame, &commit(), 0);
                    if round % 100 == 99 {
                        engine.flush(Flush::All, Time::default()).expect("always");
                    }
                }
            });
        }
    });
    engine.flush(Flush::All, Time::default()).expect("always");
    sweep(&engine, 0);
    assert_eq!(engine.connections(), 0);
    let mut living = std::collections::HashSet::new();
    for event in heard(&listener) {
        let id = event.connection.id;
        match event.what {
            What::New => assert!(living.insert(id), "new twice"),
            What::Update(_) => assert!(living.contains(&id), "changed before or after its life"),
            What::Destroy(_) => assert!(living.remove(&id), "ended twice"),
        }
    }
    assert_eq!((living.len(), listener.lost()), (0, 0));
}
