//! Providers whose callbacks run on workers.

use super::{answer_udp, at, engine, open_udp, with_dummy};
use crate::engine::{Engine, Flush};
use crate::error::Error;
use crate::offload::dummy::Dummy;
use crate::offload::provider::{Delivery, OfferAt, Preferences, Refusal};
use crate::offload::sim::{Answer, Behaviour, Sim};
use crate::offload::state::{State, Why};
use crate::offload::statistics::Count;

const QUEUED: Preferences = Preferences {
    priority: 0,
    offer_at: OfferAt::Commit,
    delivery: Delivery::Queued,
    wants_control: false,
    capacity: 0,
    zone: None,
    queue: 0,
    wants_flows: false,
};

fn work(engine: &Engine) -> usize {
    (0..2).map(|worker| engine.work(worker, 2, 1_000)).sum()
}

#[test]
fn nothing_reaches_a_queued_provider_before_a_worker_runs() {
    let (engine, dummy) = with_dummy(QUEUED);
    let id = open_udp(&engine, 5, 1);
    answer_udp(&engine, 5, 2);
    assert_eq!(dummy.counts().added, 0);
    assert_eq!(engine.provider_waiting("dummy"), Some(1));
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(standing[0].state, State::Pending);
    assert_eq!(work(&engine), 1);
    assert_eq!((dummy.counts().added, dummy.counts().established), (1, 1));
    assert!(dummy.is_bidirectional(id));
}

#[test]
fn an_add_that_did_not_run_is_cancelled_by_the_end_of_its_connection() {
    let (engine, dummy) = with_dummy(QUEUED);
    open_udp(&engine, 5, 1);
    engine.flush(Flush::All, at(2)).expect("flushes");
    work(&engine);
    assert_eq!((dummy.counts().added, dummy.counts().deleted), (0, 0));
    assert_eq!(engine.provider_count("dummy", Count::Cancelled), Some(1));
    assert_eq!(engine.provider_held("dummy"), Some(0));
}

#[test]
fn a_full_queue_leaves_connections_in_software_and_offers_them_again() {
    let (engine, dummy) = with_dummy(Preferences {
        queue: 64,
        ..QUEUED
    });
    for port in 1..=200 {
        open_udp(&engine, port, 1);
    }
    let waiting = engine.provider_waiting("dummy").expect("registered");
    assert!(waiting <= 64, "{waiting} wait");
    work(&engine);
    assert_eq!(dummy.len(), waiting);
    let mut now = 2_000;
    while dummy.len() < 200 && now < 60_000 {
        engine.sweep(at(now), crate::engine::Budget { records: 65_536 });
        work(&engine);
        now += 1_000;
    }
    assert_eq!(dummy.len(), 200);
}

#[test]
fn a_delete_waits_for_an_add_that_is_under_way() {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        latency: 10,
        preferences: QUEUED,
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("registers");
    let id = open_udp(&engine, 5, 1);
    work(&engine);
    assert!(sim.contains(id));
    engine.flush(Flush::All, at(2)).expect("flushes");
    work(&engine);
    assert_eq!(sim.counts().deleted, 0);
    let answers = sim.run_until(at(20));
    assert_eq!(
        answers,
        [Answer {
            id,
            outcome: Ok(())
        }]
    );
    engine
        .complete_offload("sim", id, Ok(()), at(20))
        .expect("is awaited");
    work(&engine);
    assert_eq!((sim.counts().deleted, sim.counts().strange), (1, 0));
    assert_eq!(engine.provider_held("sim"), Some(0));
}

#[test]
fn a_completion_that_nobody_waits_for_is_harmless() {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        preferences: QUEUED,
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("registers");
    let id = open_udp(&engine, 5, 1);
    let late = |outcome| engine.complete_offload("sim", id, outcome, at(5));
    assert!(matches!(late(Ok(())), Err(Error::NotFound(_))));
    work(&engine);
    late(Ok(())).expect("is awaited");
    assert!(matches!(late(Ok(())), Err(Error::NotFound(_))));
    assert!(matches!(late(Err(Refusal::Never)), Err(Error::NotFound(_))));
    assert_eq!(engine.provider_count("sim", Count::Late), Some(3));
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(standing[0].state, State::Added);
}

#[test]
fn an_add_that_fails_late_is_a_refusal_with_its_reason() {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        preferences: QUEUED,
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim), at(0))
        .expect("registers");
    let id = open_udp(&engine, 5, 1);
    work(&engine);
    engine
        .complete_offload("sim", id, Err(Refusal::Never), at(7))
        .expect("is awaited");
    let standing = engine.offload_standing(id).expect("it lives");
    assert_eq!(
        (standing[0].state, standing[0].why),
        (State::Failed, Why::AddFailed)
    );
    assert_eq!(standing[0].since, at(7));
}

#[test]
fn unregistering_a_queued_provider_forgets_what_waits_and_deletes_what_it_holds() {
    let (engine, dummy) = with_dummy(QUEUED);
    open_udp(&engine, 5, 1);
    work(&engine);
    open_udp(&engine, 6, 2);
    engine
        .unregister_provider("dummy", at(3))
        .expect("registered");
    assert_eq!((dummy.counts().added, dummy.counts().deleted), (1, 1));
    assert_eq!(work(&engine), 0);
    let second = Dummy::new(QUEUED);
    engine
        .register_provider(Box::new(second.clone()), at(4))
        .expect("registers");
    answer_udp(&engine, 6, 5);
    work(&engine);
    assert_eq!(second.counts().added, 1);
}
