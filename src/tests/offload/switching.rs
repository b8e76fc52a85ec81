//! Providers come and go, and offload is switched off and on, while there are connections.

use super::{answer_udp, at, engine, open_udp, with_dummy};
use crate::engine::Engine;
use crate::error::Error;
use crate::offload::dummy::Dummy;
use crate::offload::provider::{Context, Preferences, Provider, Refusal, Report, Taken};
use crate::offload::state::{SLOTS, State, Why};
use crate::sync::{Arc, Mutex, Weak, lock};

#[test]
fn unregistering_deletes_everything_that_was_held() {
    let (engine, dummy) = with_dummy(Preferences::default());
    for port in 1..100 {
        open_udp(&engine, port, 1);
    }
    engine
        .unregister_provider("dummy", at(2))
        .expect("registered");
    assert_eq!(dummy.counts().deleted, 99);
    assert!(dummy.is_empty());
    answer_udp(&engine, 5, 3);
    assert_eq!(dummy.counts().established, 0);
    assert_eq!(engine.connections(), 99);
}

#[test]
fn connections_that_exist_are_offered_to_who_comes_later_with_their_next_packets() {
    let engine = engine();
    let id = open_udp(&engine, 5, 1);
    let dummy = Dummy::new(Preferences::default());
    engine
        .register_provider(Box::new(dummy.clone()), at(2))
        .expect("registers");
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(
        (standing[0].state, standing[0].why),
        (State::None, Why::Idle)
    );
    assert_eq!(dummy.counts().added, 0);
    answer_udp(&engine, 5, 3);
    assert_eq!((dummy.counts().added, dummy.counts().established), (1, 0));
    answer_udp(&engine, 5, 4);
    assert_eq!((dummy.counts().added, dummy.counts().established), (1, 1));
}

#[test]
fn a_provider_that_comes_again_begins_anew() {
    let (engine, dummy) = with_dummy(Preferences::default());
    open_udp(&engine, 5, 1);
    engine
        .unregister_provider("dummy", at(2))
        .expect("registered");
    let second = Dummy::new(Preferences::default());
    engine
        .register_provider(Box::new(second.clone()), at(3))
        .expect("registers");
    answer_udp(&engine, 5, 4);
    assert_eq!(second.counts().added, 1);
    assert_eq!(dummy.counts().added, 1);
}

#[test]
fn switched_off_nothing_is_held_and_switched_on_it_comes_back() {
    let (engine, dummy) = with_dummy(Preferences::default());
    let id = open_udp(&engine, 5, 1);
    engine.set_offload(false, at(2));
    assert!(!engine.offload());
    assert_eq!(dummy.counts().deleted, 1);
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(
        (standing[0].state, standing[0].why),
        (State::None, Why::Off)
    );
    assert_eq!(standing[0].since, at(2));
    open_udp(&engine, 6, 3);
    assert_eq!(dummy.counts().added, 1);
    engine.set_offload(true, at(4));
    answer_udp(&engine, 5, 5);
    answer_udp(&engine, 6, 5);
    assert_eq!(dummy.counts().added, 3);
    assert_eq!(dummy.len(), 2);
}

#[test]
fn there_is_room_for_eight_providers() {
    struct Named(String);
    impl Provider for Named {
        fn name(&self) -> &str {
            &self.0
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
    }
    let engine = engine();
    let register = |i: usize| engine.register_provider(Box::new(Named(format!("p{i}"))), at(0));
    for i in 0..SLOTS {
        register(i).expect("there is room");
    }
    let id = open_udp(&engine, 5, 1);
    let standing = engine.offload_standing(id).expect("it lives");
    assert!(
        standing
            .iter()
            .all(|standing| standing.state == State::Added)
    );
    assert!(matches!(register(SLOTS), Err(Error::Again(_))));
    engine.unregister_provider("p3", at(1)).expect("registered");
    register(SLOTS).expect("a place is free again");
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(standing.last().map(|s| s.state), Some(State::None));
}

/// Calls back into the engine from its callbacks.
struct Meddler {
    engine: Mutex<Weak<Engine>>,
    what: fn(&Engine, &Context),
    deleted: Arc<Mutex<u32>>,
}

impl Provider for Meddler {
    fn name(&self) -> &str {
        "meddler"
    }
    fn preferences(&self) -> Preferences {
        Preferences::default()
    }
    fn conn_add(&self, context: &Context) -> Result<Taken, Refusal> {
        if let Some(engine) = lock(&self.engine).upgrade() {
            (self.what)(&engine, context);
        }
        Ok(Taken::Now)
    }
    fn conn_del(&self, _context: &Context) -> Report {
        *lock(&self.deleted) += 1;
        Report::default()
    }
}

fn meddled(what: fn(&Engine, &Context)) -> (Arc<Engine>, Arc<Mutex<u32>>) {
    let engine = Arc::new(engine());
    let deleted = Arc::default();
    let meddler = Meddler {
        engine: Mutex::new(Arc::downgrade(&engine)),
        what,
        deleted: Arc::clone(&deleted),
    };
    engine
        .register_provider(Box::new(meddler), at(0))
        .expect("registers");
    (engine, deleted)
}

#[test]
fn a_callback_may_unregister_its_own_provider() {
    let (engine, deleted) = meddled(|engine, context| {
        engine
            .unregister_provider("meddler", context.now)
            .expect("from its own callback");
    });
    let id = open_udp(&engine, 5, 1);
    assert!(engine.providers().is_empty());
    assert_eq!(*lock(&deleted), 0);
    assert!(engine.connection(id, at(2)).is_some());
    open_udp(&engine, 6, 2);
}

#[test]
fn a_callback_may_flush_what_is_being_added() {
    let (engine, deleted) = meddled(|engine, context| {
        engine
            .flush(crate::engine::Flush::Tuple(context.original), context.now)
            .expect("it exists");
    });
    let id = open_udp(&engine, 5, 1);
    assert_eq!(*lock(&deleted), 1);
    assert!(engine.connection(id, at(2)).is_none());
    assert_eq!(engine.provider_held("meddler"), Some(0));
}

#[test]
fn a_callback_may_query_and_switch_off() {
    let (engine, deleted) = meddled(|engine, context| {
        assert!(engine.connection(context.id, context.now).is_some());
        engine.set_offload(false, context.now);
    });
    let id = open_udp(&engine, 5, 1);
    assert!(!engine.offload());
    assert_eq!(*lock(&deleted), 1);
    assert!(engine.connection(id, at(2)).is_some());
    assert_eq!(engine.provider_held("meddler"), Some(0));
}

#[test]
fn the_end_of_the_engine_is_a_delete_for_everything() {
    let (engine, dummy) = with_dummy(Preferences::default());
    open_udp(&engine, 5, 1);
    drop(engine);
    assert_eq!(dummy.counts().deleted, 1);
}
