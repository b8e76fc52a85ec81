//! Sixteen weaknesses that are known of Open vSwitch's ct-offload series, and that this engine does
//! not have. Each test names the one that it shows to be absent.

use super::{
    COMMIT, LOOK, ack, answer_udp, at, engine, open_tcp, open_udp, send, syn, syn_ack, with_dummy,
};
use crate::engine::action::{Action, Helper, Masked};
use crate::engine::descriptor::{ConnectionId, Frame, state};
use crate::engine::{Budget, Engine, Flush};
use crate::error::Error;
use crate::nat::{Nat, NatRange};
use crate::offload::dummy::Dummy;
use crate::offload::provider::{
    Context, Delivery, OfferAt, Operation, OperationKind, OperationResult, Preferences, Provider,
    Refusal, Report, Taken,
};
use crate::offload::sim::{Behaviour, Sim};
use crate::offload::state::{State, Why};
use crate::offload::statistics::Count;
use crate::packet::tcp_flags::{ACK, SYN};
use crate::sync::{Arc, Mutex, Weak, lock, thread};
use crate::tests::packets::{Ip, Segment, udp};
use std::sync::mpsc;

type Add = dyn Fn(&Context) -> Result<Taken, Refusal> + Send + Sync;

/// A provider made of closures.
struct Scripted {
    name: &'static str,
    preferences: Preferences,
    add: Box<Add>,
    deleted: Arc<Mutex<Vec<ConnectionId>>>,
}

impl Scripted {
    fn new(
        name: &'static str,
        add: impl Fn(&Context) -> Result<Taken, Refusal> + Send + Sync + 'static,
    ) -> Scripted {
        Scripted {
            name,
            preferences: Preferences::default(),
            add: Box::new(add),
            deleted: Arc::default(),
        }
    }
}

impl Provider for Scripted {
    fn name(&self) -> &str {
        self.name
    }
    fn preferences(&self) -> Preferences {
        self.preferences
    }
    fn conn_add(&self, context: &Context) -> Result<Taken, Refusal> {
        (self.add)(context)
    }
    fn conn_del(&self, context: &Context) -> Report {
        lock(&self.deleted).push(context.id);
        Report::default()
    }
}

/// 1: one mutex around every callback of all threads.
#[test]
fn a_callback_on_one_thread_keeps_no_other_thread_waiting() {
    let engine = Arc::new(engine());
    let (inside, wait_inside) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let (inside, wait_release) = (Mutex::new(inside), Mutex::new(wait_release));
    let provider = Scripted::new("slow", move |context| {
        if context.original.sport == 1 {
            lock(&inside).send(()).expect("the test waits");
            lock(&wait_release).recv().expect("the test releases");
        }
        Ok(Taken::Now)
    });
    engine
        .register_provider(Box::new(provider), at(0))
        .expect("registers");
    let other = Arc::clone(&engine);
    let blocked = thread::spawn(move || open_udp(&other, 1, 1));
    wait_inside.recv().expect("the first callback runs");
    // While it does, others are added, found, flushed.
    let id = open_udp(&engine, 2, 1);
    answer_udp(&engine, 2, 2);
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(standing[0].state, State::Established);
    release.send(()).expect("the callback waits");
    blocked.join().expect("no panic");
}

/// 2: callbacks run on the packet thread, without a queue, a completion or a way to say "later".
#[test]
fn a_packet_thread_waits_for_no_queued_provider() {
    let (engine, dummy) = with_dummy(Preferences {
        delivery: Delivery::Queued,
        ..Preferences::default()
    });
    open_udp(&engine, 1, 1);
    assert_eq!(dummy.counts().added, 0);
    assert_eq!(engine.work(0, 1, 10), 1);
    assert_eq!(dummy.counts().added, 1);
}

/// 3: a flush between the creation and the add leaves a dead connection in the provider.
#[test]
fn a_connection_that_ends_while_it_is_added_is_deleted_after_its_add() {
    let engine = Arc::new(engine());
    let weak: Weak<Engine> = Arc::downgrade(&engine);
    let provider = Scripted::new("flushed", move |context| {
        let engine = weak.upgrade().expect("the test holds it");
        engine.flush(Flush::All, context.now).expect("flushes");
        Ok(Taken::Now)
    });
    let deleted = Arc::clone(&provider.deleted);
    engine
        .register_provider(Box::new(provider), at(0))
        .expect("registers");
    let id = open_udp(&engine, 1, 1);
    assert_eq!(*lock(&deleted), [id]);
    assert_eq!(engine.provider_held("flushed"), Some(0));
}

/// 4: the connection's offload state is read without its lock.
#[test]
fn many_threads_of_replies_are_one_established() {
    let (engine, dummy) = with_dummy(Preferences::default());
    for port in 1..50 {
        open_udp(&engine, port, 1);
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for port in 1..50 {
                    answer_udp(&engine, port, 2);
                }
            });
        }
    });
    assert_eq!(dummy.counts().established, 49);
}

/// 5: without a provider that took it, a connection counts as offloaded, and its window is not checked.
#[test]
fn the_window_is_checked_unless_a_provider_took_the_connection() {
    let engine = engine();
    let refusing = Scripted::new("refusing", |_| Err(Refusal::Never));
    engine
        .register_provider(Box::new(refusing), at(0))
        .expect("registers");
    open_tcp(&engine, 7, 0);
    let far = Segment::v4(1, 7, 2, 80, ACK)
        .numbers(101 + (1 << 30), 501)
        .payload(10);
    let far = send(&engine, far.bytes(), &LOOK, 1);
    assert_eq!(far.metadata.state, state::TRK | state::INV);
}

/// Takes every other connection, in batches.
struct Half(&'static str, u16);

impl Provider for Half {
    fn name(&self) -> &str {
        self.0
    }
    fn preferences(&self) -> Preferences {
        Preferences::default()
    }
    fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
        Ok(Taken::Now)
    }
    fn conn_del(&self, _context: &Context) -> Report {
        Report::default()
    }
    fn batch_submit(&self, operations: &mut [Operation]) {
        for operation in operations {
            let takes = operation.context.original.sport % 2 == self.1;
            if operation.kind == OperationKind::Add {
                operation.result = if takes {
                    OperationResult::Done
                } else {
                    OperationResult::Refused(Refusal::Never)
                };
            }
        }
    }
}

/// 6: the result of one provider overwrites that of another, and a batch is filtered otherwise than a
/// single call.
#[test]
fn each_provider_has_its_own_result_in_a_batch() {
    let engine = engine();
    for (name, parity) in [("odd", 1), ("even", 0)] {
        engine
            .register_provider(Box::new(Half(name, parity)), at(0))
            .expect("registers");
    }
    for port in 1..5 {
        let id = open_udp(&engine, port, 1);
        let standing = engine.offload_standing(id).expect("it lives");
        let held: Vec<_> = standing.iter().map(|s| s.state == State::Added).collect();
        assert_eq!(held, [port % 2 == 1, port % 2 == 0]);
    }
}

/// 6: `can_offload` is asked for providers with batches too.
#[test]
fn what_can_offload_declines_is_in_no_batch() {
    struct Choosy(Arc<Mutex<Vec<OperationKind>>>);
    impl Provider for Choosy {
        fn name(&self) -> &str {
            "choosy"
        }
        fn preferences(&self) -> Preferences {
            Preferences::default()
        }
        fn can_offload(&self, context: &Context) -> bool {
            context.original.sport != 1
        }
        fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
            Ok(Taken::Now)
        }
        fn conn_del(&self, _context: &Context) -> Report {
            Report::default()
        }
        fn batch_submit(&self, operations: &mut [Operation]) {
            lock(&self.0).extend(operations.iter().map(|o| o.kind));
        }
    }
    let engine = engine();
    let kinds = Arc::default();
    engine
        .register_provider(Box::new(Choosy(Arc::clone(&kinds))), at(0))
        .expect("registers");
    let id = open_udp(&engine, 1, 1);
    assert_eq!(*lock(&kinds), [OperationKind::Policy]);
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(
        (standing[0].state, standing[0].why),
        (State::Failed, Why::Declined)
    );
}

/// 7: an update extends by an interval of the sweep's, whatever the provider says.
#[test]
fn an_old_use_extends_from_then_and_not_from_now() {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        latency: 0,
        preferences: Preferences {
            offer_at: OfferAt::Commit,
            ..Preferences::default()
        },
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("registers");
    let id = open_udp(&engine, 5, 0);
    sim.run_until(at(10_000));
    let one = crate::offload::provider::Delta {
        packets: 1,
        bytes: 29,
    };
    sim.carry(id, crate::tuple::Direction::Original, one);
    engine.sweep(at(62_000), Budget { records: 65_536 });
    let listed = engine.connection(id, at(62_000)).expect("it lives");
    assert_eq!(listed.remaining, 8_000);
}

/// 8: providers learn nothing of zone, mark, label, translation, timeouts and TCP.
#[test]
fn a_provider_learns_everything_that_it_needs_to_carry_the_connection() {
    let (engine, dummy) = with_dummy(Preferences {
        offer_at: OfferAt::HandshakeComplete,
        ..Preferences::default()
    });
    let translating = Action {
        zone: 3,
        commit: true,
        mark: Some(Masked {
            value: 7,
            mask: u32::MAX,
        }),
        label: Some(Masked {
            value: 9,
            mask: u128::MAX,
        }),
        nat: Some(Nat {
            source: Some(NatRange::address(Ip::v4(99).number())),
            ..Nat::default()
        }),
        ..LOOK
    };
    let first = Segment::v4(1, 7, 2, 80, SYN).numbers(100, 0);
    send(&engine, first.bytes(), &translating, 1);
    let answer = Segment::v4(2, 80, 99, 7, SYN | ACK).numbers(500, 101);
    send(&engine, answer.bytes(), &translating, 2);
    let last = Segment::v4(1, 7, 2, 80, ACK).numbers(101, 501);
    let id = engine
        .lookup(
            &crate::tuple::Tuple {
                zone: 3,
                ..tuple_of(&last)
            },
            at(2),
        )
        .expect("stored")
        .id;
    send(&engine, last.bytes(), &translating, 3);
    let told = dummy.context(id).expect("added");
    assert_eq!((told.original.zone, told.mark, told.label), (3, 7, 9));
    assert_eq!(told.reply.dst, Ip::v4(99).number());
    assert_eq!(told.timeout, 86_400_000);
    assert_eq!(told.state, state::TRK | state::EST);
    let tcp = told.tcp.expect("TCP");
    // The opener's is that of its SYN until it sends data, see `handover::numbers`.
    assert_eq!((tcp[0].sent_end, tcp[1].sent_end), (100, 501));
}

fn tuple_of(segment: &Segment) -> crate::tuple::Tuple {
    crate::tuple::Tuple {
        src: segment.src.number(),
        dst: segment.dst.number(),
        sport: segment.sport,
        dport: segment.dport,
        zone: 0,
        proto: crate::packet::proto::TCP,
        family: crate::packet::Family::V4,
        query: crate::tuple::QueryKind::None,
        question: true,
    }
}

/// 9: a device is offered control connections, and hides what the helper must read.
#[test]
fn control_connections_stay_in_software() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let ftp = Action {
        helper: Some(Helper::Ftp),
        ..COMMIT
    };
    let packet = Segment::v4(1, 7, 2, 21, SYN).numbers(100, 0);
    send(&engine, packet.bytes(), &ftp, 1);
    assert_eq!(dummy.counts().added, 0);
}

/// 10: a flush is N deletes and the provider's own flush is never called; states stay set.
#[test]
fn a_flush_is_the_providers_flush_and_leaves_no_state() {
    let (engine, dummy) = with_dummy(Preferences::default());
    for port in 1..20 {
        open_udp(&engine, port, 1);
    }
    engine.flush(Flush::All, at(2)).expect("flushes");
    assert_eq!(dummy.counts().flushed, 1);
    assert!(dummy.is_empty());
    assert_eq!(engine.provider_held("dummy"), Some(0));
}

/// 11: unregistering leaves entries behind, and switching off needs a restart.
#[test]
fn nothing_is_left_in_a_provider_that_left() {
    let (engine, dummy) = with_dummy(Preferences::default());
    open_udp(&engine, 1, 1);
    engine.set_offload(false, at(2));
    assert!(dummy.is_empty());
    engine.set_offload(true, at(3));
    answer_udp(&engine, 1, 4);
    assert_eq!(dummy.len(), 1);
    engine
        .unregister_provider("dummy", at(5))
        .expect("registered");
    assert!(dummy.is_empty());
}

/// 12: one state for all providers, so that what only one of them took cannot be said.
#[test]
fn a_connection_that_one_of_two_providers_took_is_held_by_that_one() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let refusing = Scripted::new("refusing", |_| Err(Refusal::Never));
    let deleted = Arc::clone(&refusing.deleted);
    engine
        .register_provider(Box::new(refusing), at(0))
        .expect("registers");
    let id = open_udp(&engine, 1, 1);
    let states: Vec<_> = engine
        .offload_standing(id)
        .expect("it lives")
        .iter()
        .map(|standing| standing.state)
        .collect();
    assert_eq!(states, [State::Added, State::Failed]);
    engine.flush(Flush::All, at(2)).expect("flushes");
    assert_eq!(dummy.counts().deleted, 1);
    assert!(lock(&deleted).is_empty());
}

/// 13: the port of a batch's first packet counts for all, and that of the replies is unknown.
#[test]
fn ports_are_those_of_each_packet() {
    let (engine, dummy) = with_dummy(Preferences {
        offer_at: OfferAt::FirstReply,
        ..Preferences::default()
    });
    let from_port = |bytes: Vec<u8>, in_port| Frame {
        in_port,
        ..Frame::ip(bytes)
    };
    let mut frames = [
        from_port(udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?"), 11),
        from_port(udp(Ip::v4(3), 5, Ip::v4(2), 53, b"?"), 12),
        from_port(udp(Ip::v4(2), 53, Ip::v4(1), 5, b"!"), 20),
        from_port(udp(Ip::v4(2), 53, Ip::v4(3), 5, b"!"), 21),
    ];
    engine.execute(&mut frames, &COMMIT, at(1));
    for (frame, ports) in frames.iter().zip([(11, 20), (12, 21)]) {
        let told = dummy.context(frame.metadata.connection).expect("added");
        assert_eq!((told.in_port_original, told.in_port_reply), ports);
    }
}

/// 14: the second pass of a packet through its zone changes the mark, and nobody hears of it.
#[test]
fn a_mark_that_the_second_pass_sets_is_told() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let mut frames = [Frame::ip(udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?"))];
    engine.execute(&mut frames, &COMMIT, at(1));
    let marking = Action {
        mark: Some(Masked {
            value: 7,
            mask: u32::MAX,
        }),
        ..LOOK
    };
    engine.execute(&mut frames, &marking, at(1));
    assert_eq!(
        engine.counter(crate::engine::statistics::Counter::Cached),
        1
    );
    assert_eq!(dummy.counts().changed, 1);
    let id = frames[0].metadata.connection;
    assert_eq!(dummy.context(id).expect("held").mark, 7);
}

/// 15: nothing is shown of offload in dumps and counters.
#[test]
fn listings_and_counters_tell_of_offload() {
    let (engine, _dummy) = with_dummy(Preferences::default());
    let id = syn(&engine, 7, 1);
    syn_ack(&engine, 7, 2);
    ack(&engine, 7, 3);
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(standing[0].provider, "dummy");
    assert_eq!(standing[0].since, at(1));
    assert_eq!(engine.provider_count("dummy", Count::Added), Some(1));
    assert_eq!(engine.provider_count("dummy", Count::Established), Some(1));
}

/// 16: a connection is known by its address in memory.
#[test]
fn a_late_answer_for_a_connection_whose_record_has_another_one_is_harmless() {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        preferences: Preferences {
            offer_at: OfferAt::Commit,
            ..Preferences::default()
        },
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("registers");
    let first = open_udp(&engine, 1, 1);
    engine
        .complete_offload("sim", first, Err(Refusal::Never), at(1))
        .expect("is awaited");
    engine.flush(Flush::All, at(2)).expect("flushes");
    engine.sweep(at(3), Budget { records: 65_536 });
    let second = open_udp(&engine, 1, 4);
    assert_eq!(first.number(), second.number(), "the record is used again");
    assert_ne!(first, second);
    let late = engine.complete_offload("sim", first, Ok(()), at(5));
    assert!(matches!(late, Err(Error::NotFound(_))));
    let standing = engine.offload_standing(second).expect("it lives");
    assert_eq!(standing[0].state, State::Pending);
    let dummy = Dummy::default();
    assert!(!dummy.contains(first));
}
