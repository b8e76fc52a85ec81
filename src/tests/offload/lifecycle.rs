//! From the add to the delete.

use super::{
    COMMIT, LOOK, ack, answer_udp, at, engine, open_tcp, open_udp, send, syn, syn_ack, with_dummy,
};
use crate::engine::Flush;
use crate::engine::action::{Action, Helper, Masked};
use crate::error::Error;
use crate::offload::dummy::Dummy;
use crate::offload::provider::{Context, OfferAt, Preferences, Provider, Refusal, Report, Taken};
use crate::offload::state::{State, Why};
use crate::packet::tcp_flags::{ACK, FIN, SYN};
use crate::sync::{Arc, Mutex, lock};
use crate::tests::packets::Segment;

#[test]
fn a_committed_packet_is_one_add() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let id = open_udp(&engine, 5, 1);
    assert_eq!(dummy.counts().added, 1);
    assert!(dummy.contains(id));
    let context = dummy.context(id).expect("added");
    assert_eq!(context.original.sport, 5);
    assert_eq!(context.reply, context.original.reversed());
    assert_eq!(context.timeout, 60_000);
}

#[test]
fn a_packet_that_is_not_committed_is_not_offered() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let packet = Segment::v4(1, 5, 2, 80, SYN);
    send(&engine, packet.bytes(), &LOOK, 1);
    assert_eq!(dummy.counts().added, 0);
}

#[test]
fn a_flush_is_one_delete_for_each_connection() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let ids: Vec<_> = (1..5).map(|port| open_udp(&engine, port, 1)).collect();
    assert_eq!(dummy.counts().added, 4);
    engine.flush(Flush::All, at(2)).expect("flushes");
    assert_eq!(dummy.counts().deleted, 4);
    assert_eq!(dummy.counts().flushed, 1);
    assert!(ids.iter().all(|id| !dummy.contains(*id)));
    while !engine
        .sweep(at(3), crate::engine::Budget { records: 65_536 })
        .complete
    {}
    assert_eq!(engine.connections(), 0);
    assert_eq!(dummy.counts().deleted, 4);
}

#[test]
fn the_first_reply_is_one_established() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let id = syn(&engine, 7, 1);
    assert_eq!((dummy.counts().added, dummy.counts().established), (1, 0));
    syn_ack(&engine, 7, 2);
    assert_eq!(dummy.counts().established, 1);
    assert!(dummy.is_bidirectional(id));
    ack(&engine, 7, 3);
    let more = Segment::v4(2, 80, 1, 7, ACK).numbers(501, 101);
    send(&engine, more.bytes(), &LOOK, 4);
    assert_eq!(dummy.counts().established, 1);
}

#[test]
fn a_handshake_in_one_batch_is_an_add_and_an_established() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let mut frames = [
        Segment::v4(1, 9, 2, 80, SYN).numbers(100, 0).frame(),
        Segment::v4(2, 80, 1, 9, SYN | ACK)
            .numbers(500, 101)
            .frame(),
        Segment::v4(1, 9, 2, 80, ACK).numbers(101, 501).frame(),
    ];
    engine.execute(&mut frames, &COMMIT, at(1));
    assert_eq!((dummy.counts().added, dummy.counts().established), (1, 1));
}

/// When it is offered, by a provider's preference.
fn adds_after_each_step(offer_at: OfferAt) -> [u64; 4] {
    let (engine, dummy) = with_dummy(Preferences {
        offer_at,
        ..Preferences::default()
    });
    let mut adds = [0; 4];
    syn(&engine, 7, 1);
    adds[0] = dummy.counts().added;
    syn_ack(&engine, 7, 2);
    adds[1] = dummy.counts().added;
    ack(&engine, 7, 3);
    adds[2] = dummy.counts().added;
    let reply = Segment::v4(2, 80, 1, 7, ACK).numbers(501, 101);
    send(&engine, reply.bytes(), &LOOK, 4);
    adds[3] = dummy.counts().added;
    adds
}

#[test]
fn a_connection_is_offered_when_the_provider_wants_it() {
    assert_eq!(adds_after_each_step(OfferAt::Commit), [1, 1, 1, 1]);
    assert_eq!(adds_after_each_step(OfferAt::FirstReply), [0, 1, 1, 1]);
    assert_eq!(
        adds_after_each_step(OfferAt::HandshakeComplete),
        [0, 0, 1, 1]
    );
    assert_eq!(adds_after_each_step(OfferAt::BothEstablished), [0, 0, 0, 1]);
}

#[test]
fn udp_is_offered_with_its_first_reply_when_a_complete_handshake_is_wanted() {
    let (engine, dummy) = with_dummy(Preferences {
        offer_at: OfferAt::HandshakeComplete,
        ..Preferences::default()
    });
    open_udp(&engine, 5, 1);
    assert_eq!(dummy.counts().added, 0);
    answer_udp(&engine, 5, 2);
    assert_eq!(dummy.counts().added, 1);
}

#[test]
fn the_end_of_a_connection_is_one_delete() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let id = open_tcp(&engine, 7, 1);
    let fin = Segment::v4(1, 7, 2, 80, FIN | ACK).numbers(101, 501);
    send(&engine, fin.bytes(), &LOOK, 5);
    assert_eq!(dummy.counts().deleted, 1);
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(
        (standing[0].state, standing[0].why),
        (State::None, Why::Closing)
    );
    engine.flush(Flush::All, at(6)).expect("flushes");
    assert_eq!(dummy.counts().deleted, 1);
}

#[test]
fn a_connection_that_is_replaced_is_deleted_before_the_next_is_added() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let first = open_udp(&engine, 5, 1);
    answer_udp(&engine, 5, 2);
    // The replier begins a connection of its own by force.
    let packet = crate::tests::packets::udp(
        crate::tests::packets::Ip::v4(2),
        53,
        crate::tests::packets::Ip::v4(1),
        5,
        b"!",
    );
    let force = Action {
        force: true,
        ..COMMIT
    };
    let second = send(&engine, packet, &force, 3).metadata.connection;
    assert!(!dummy.contains(first) && dummy.contains(second));
    assert_eq!((dummy.counts().added, dummy.counts().deleted), (2, 1));
}

#[test]
fn changes_of_mark_and_label_reach_who_holds_the_connection() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let id = open_udp(&engine, 5, 1);
    let marking = Action {
        mark: Some(Masked {
            value: 7,
            mask: u32::MAX,
        }),
        ..LOOK
    };
    let packet = || {
        use crate::tests::packets::{Ip, udp};
        udp(Ip::v4(1), 5, Ip::v4(2), 53, b"?")
    };
    send(&engine, packet(), &marking, 2);
    assert_eq!(dummy.counts().changed, 1);
    assert_eq!(dummy.context(id).expect("held").mark, 7);
    send(&engine, packet(), &marking, 3);
    assert_eq!(dummy.counts().changed, 1);
    let labelling = Action {
        label: Some(Masked {
            value: 3,
            mask: u128::MAX,
        }),
        ..LOOK
    };
    send(&engine, packet(), &labelling, 4);
    assert_eq!(dummy.counts().changed, 2);
    assert_eq!(dummy.context(id).expect("held").label, 3);
}

#[test]
fn a_change_of_a_policy_reaches_who_holds_its_connections() {
    use crate::policy::timeouts::Policy;
    let (engine, dummy) = with_dummy(Preferences::default());
    let policy = |seconds| Policy {
        seconds: [("udp_first", seconds)].into(),
        ..Policy::default()
    };
    engine.set_timeout_policy(4, policy(100)).expect("valid");
    assert_eq!(dummy.counts().changed, 0);
    let named = Action {
        timeout_policy: Some(4),
        ..COMMIT
    };
    let first = open_udp(&engine, 5, 1);
    let packet = Segment::v4(1, 6, 2, 80, SYN).numbers(100, 0);
    let second = send(&engine, packet.bytes(), &named, 2).metadata.connection;
    engine.set_timeout_policy(4, policy(50)).expect("valid");
    assert_eq!(dummy.counts().changed, 1);
    let told = dummy.context(second).expect("held");
    assert_eq!(
        (told.now, dummy.context(first).expect("held").now),
        (at(2), at(1))
    );
    engine.delete_timeout_policy(4).expect("is set");
    assert_eq!(dummy.counts().changed, 2);
}

#[test]
fn control_connections_are_offered_only_to_who_asks() {
    for (wants_control, adds) in [(false, 0), (true, 1)] {
        let (engine, dummy) = with_dummy(Preferences {
            wants_control,
            ..Preferences::default()
        });
        let ftp = Action {
            helper: Some(Helper::Ftp),
            ..COMMIT
        };
        let packet = Segment::v4(1, 7, 2, 21, SYN).numbers(100, 0);
        let id = send(&engine, packet.bytes(), &ftp, 1).metadata.connection;
        assert_eq!(dummy.counts().added, adds);
        if !wants_control {
            let standing = engine.offload_standing(id).expect("it lives");
            assert_eq!(
                (standing[0].state, standing[0].why),
                (State::Failed, Why::Helper)
            );
        }
    }
}

#[test]
fn a_provider_of_one_zone_gets_that_zone_only() {
    let (engine, dummy) = with_dummy(Preferences {
        zone: Some(3),
        ..Preferences::default()
    });
    open_udp(&engine, 5, 1);
    assert_eq!(dummy.counts().added, 0);
    let packet = Segment::v4(1, 5, 2, 80, SYN);
    let zone = Action { zone: 3, ..COMMIT };
    send(&engine, packet.bytes(), &zone, 2);
    assert_eq!(dummy.counts().added, 1);
}

#[test]
fn providers_are_called_by_priority_then_by_registration() {
    struct Named(&'static str, i32, Arc<Mutex<Vec<&'static str>>>);
    impl Provider for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn preferences(&self) -> Preferences {
            Preferences {
                priority: self.1,
                ..Preferences::default()
            }
        }
        fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
            lock(&self.2).push(self.0);
            Ok(Taken::Now)
        }
        fn conn_del(&self, _context: &Context) -> Report {
            Report::default()
        }
    }
    let engine = engine();
    let calls = Arc::default();
    for (name, priority) in [("b", 0), ("c", 0), ("a", 5), ("d", -1)] {
        let provider = Named(name, priority, Arc::clone(&calls));
        engine
            .register_provider(Box::new(provider), at(0))
            .expect("registers");
    }
    assert_eq!(engine.providers(), ["a", "b", "c", "d"]);
    open_udp(&engine, 5, 1);
    assert_eq!(*lock(&calls), ["a", "b", "c", "d"]);
}

#[test]
fn a_name_is_registered_once() {
    let (engine, _dummy) = with_dummy(Preferences::default());
    let again = engine.register_provider(Box::new(Dummy::default()), at(1));
    assert!(matches!(again, Err(Error::Exists(_))));
    engine
        .unregister_provider("dummy", at(2))
        .expect("is registered");
    assert!(matches!(
        engine.unregister_provider("dummy", at(2)),
        Err(Error::NotFound(_))
    ));
    engine
        .register_provider(Box::new(Dummy::default()), at(3))
        .expect("the name is free again");
}

#[test]
fn a_provider_that_cannot_begin_is_not_registered() {
    struct Broken;
    impl Provider for Broken {
        fn name(&self) -> &str {
            "broken"
        }
        fn preferences(&self) -> Preferences {
            Preferences::default()
        }
        fn init(&self) -> Result<(), Error> {
            Err(Error::Again("no such device".into()))
        }
        fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
            Ok(Taken::Now)
        }
        fn conn_del(&self, _context: &Context) -> Report {
            Report::default()
        }
    }
    let engine = engine();
    assert!(matches!(
        engine.register_provider(Box::new(Broken), at(0)),
        Err(Error::Again(_))
    ));
    assert!(engine.providers().is_empty());
}

#[test]
fn data_of_a_provider_are_freed_once_after_the_delete() {
    #[derive(Default)]
    struct Told {
        deleted: Vec<usize>,
        freed: Vec<(usize, usize)>,
    }
    struct Keeper(Arc<Mutex<Told>>);
    impl Provider for Keeper {
        fn name(&self) -> &str {
            "keeper"
        }
        fn preferences(&self) -> Preferences {
            Preferences::default()
        }
        fn data_free(&self) -> Box<dyn FnOnce(usize) + Send> {
            let told = Arc::clone(&self.0);
            Box::new(move |data| {
                let mut told = lock(&told);
                let deleted = told.deleted.len();
                told.freed.push((data, deleted));
            })
        }
        fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
            Ok(Taken::Now)
        }
        fn conn_del(&self, context: &Context) -> Report {
            lock(&self.0).deleted.push(context.data);
            Report::default()
        }
    }
    let engine = engine();
    let told = Arc::new(Mutex::new(Told::default()));
    engine
        .register_provider(Box::new(Keeper(Arc::clone(&told))), at(0))
        .expect("registers");
    let id = open_udp(&engine, 5, 1);
    engine.set_offload_data("keeper", id, 41).expect("held");
    engine.set_offload_data("keeper", id, 42).expect("held");
    assert_eq!(lock(&told).freed, [(41, 0)]);
    assert_eq!(engine.offload_data("keeper", id), Some(42));
    engine.flush(Flush::All, at(2)).expect("flushes");
    assert_eq!(lock(&told).deleted, [42]);
    assert_eq!(lock(&told).freed, [(41, 0), (42, 1)]);
    assert!(engine.set_offload_data("keeper", id, 43).is_err());
    assert_eq!(lock(&told).freed.last(), Some(&(43, 1)));
}

#[test]
fn established_is_asked_again_until_the_provider_is_ready() {
    struct Slow(Arc<Mutex<u32>>);
    impl Provider for Slow {
        fn name(&self) -> &str {
            "slow"
        }
        fn preferences(&self) -> Preferences {
            Preferences::default()
        }
        fn conn_add(&self, _context: &Context) -> Result<Taken, Refusal> {
            Ok(Taken::Now)
        }
        fn conn_established(&self, _context: &Context) -> bool {
            let mut asked = lock(&self.0);
            *asked += 1;
            *asked == 3
        }
        fn conn_del(&self, _context: &Context) -> Report {
            Report::default()
        }
    }
    let engine = engine();
    let asked = Arc::new(Mutex::new(0));
    engine
        .register_provider(Box::new(Slow(asked.clone())), at(0))
        .expect("registers");
    let id = open_udp(&engine, 5, 1);
    for now in 2..8 {
        answer_udp(&engine, 5, now);
    }
    assert_eq!(*lock(&asked), 3);
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(standing[0].state, State::Established);
}
