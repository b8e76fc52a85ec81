//! A device with fewer places than there are connections.

use super::{LOOK, at, engine, open_udp, send};
use crate::engine::descriptor::ConnectionId;
use crate::engine::{Budget, Engine};
use crate::offload::provider::{Delivery, Delta, OfferAt, Preferences};
use crate::offload::sim::{Behaviour, Sim};
use crate::offload::state::{State, Why};
use crate::tests::packets::{Ip, udp};
use crate::tuple::Direction;

const PLACES: u32 = 16;

fn device() -> (Engine, Sim) {
    let engine = engine();
    let sim = Sim::new(Behaviour {
        latency: 0,
        preferences: Preferences {
            offer_at: OfferAt::Commit,
            delivery: Delivery::Inline,
            capacity: PLACES,
            ..Preferences::default()
        },
        ..Behaviour::default()
    });
    engine
        .register_provider(Box::new(sim.clone()), at(0))
        .expect("registers");
    (engine, sim)
}

/// A second of traffic: `rate` packets of each connection, carried by whoever has it.
fn traffic(engine: &Engine, sim: &Sim, connections: &[(ConnectionId, u16, u64)], now: u64) {
    sim.run_until(at(now));
    for &(id, port, rate) in connections {
        let carried = Delta {
            packets: rate,
            bytes: 28 * rate,
        };
        if rate > 0 && !sim.carry(id, Direction::Original, carried) {
            for _ in 0..rate {
                let packet = udp(Ip::v4(1), port, Ip::v4(2), 53, b"?");
                send(engine, packet, &LOOK, now);
            }
        }
    }
    engine.sweep(at(now), Budget { records: 65_536 });
}

#[test]
fn a_full_device_says_why_and_keeps_what_it_has() {
    let (engine, sim) = device();
    let ids: Vec<_> = (1..=20).map(|port| open_udp(&engine, port, 1)).collect();
    assert_eq!(sim.connections().len(), PLACES as usize);
    let standing = engine.offload_standing(ids[19]).expect("it lives");
    assert_eq!(
        (standing[0].state, standing[0].why),
        (State::None, Why::Capacity)
    );
}

#[test]
fn free_places_go_to_those_that_were_put_off() {
    let (engine, sim) = device();
    let ids: Vec<_> = (1..=20).map(|port| open_udp(&engine, port, 1)).collect();
    engine
        .flush(
            crate::engine::Flush::Tuple(engine.connection(ids[0], at(2)).expect("lives").original),
            at(2),
        )
        .expect("exists");
    for now in [2_000, 4_000] {
        engine.sweep(at(now), Budget { records: 65_536 });
    }
    assert_eq!(sim.connections().len(), PLACES as usize);
}

#[test]
fn the_fast_drive_out_the_slow_one_by_one() {
    let (engine, sim) = device();
    let mut connections = Vec::new();
    // The first come first; they are slow, the last ones fast.
    for port in 1..=40u16 {
        let rate = if port > 24 { 50 } else { 1 };
        connections.push((open_udp(&engine, port, 1), port, rate));
    }
    for second in 1..60 {
        traffic(&engine, &sim, &connections, second * 1_500);
    }
    let fast = |id: ConnectionId| connections[24..].iter().any(|c| c.0 == id);
    let carried = sim.connections();
    assert_eq!(carried.len(), PLACES as usize);
    assert!(
        carried.iter().all(|id| fast(*id)),
        "a slow one is still carried"
    );
}

#[test]
fn equals_do_not_flap() {
    let (engine, sim) = device();
    let connections: Vec<_> = (1..=40u16)
        .map(|port| (open_udp(&engine, port, 1), port, 10 + u64::from(port % 7)))
        .collect();
    let before = sim.connections();
    for second in 1..40 {
        traffic(&engine, &sim, &connections, second * 1_500);
    }
    assert_eq!(sim.connections(), before);
}
