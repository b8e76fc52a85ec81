//! Limits of connections as users see them, and what holds in all 65,536 zones.

use crate::clock::Time;
use crate::engine::action::Action;
use crate::engine::config::{Config, Profile};
use crate::engine::descriptor::{Frame, state};
use crate::engine::statistics::Counter;
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::reason::Reason;
use crate::tests::packets::{Ip, udp};
use crate::tuple::Zone;

const ZONES: u32 = 65_536;

fn engine_of(profile: Profile) -> Engine {
    Engine::new(&Config {
        seed: Some([7; 8]),
        profile,
        ..Config::default()
    })
    .expect("defaults are valid")
}

fn engine() -> Engine {
    engine_of(Profile::Ovs)
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// Commits datagram `number` in a zone; why it was not stored.
fn commit_at(engine: &Engine, zone: Zone, number: u16, now: u64) -> Reason {
    let action = Action {
        zone,
        commit: true,
        ..Action::default()
    };
    let packet = udp(Ip::v4(1), 1000 + number, Ip::v4(2), 53, b"?");
    let mut frames = [Frame::ip(packet)];
    engine.execute(&mut frames, &action, at(now));
    let [frame] = frames;
    assert_eq!(frame.metadata.state, state::TRK | state::NEW);
    frame.metadata.reason
}

fn commit(engine: &Engine, zone: Zone, number: u16) -> Reason {
    commit_at(engine, zone, number, 0)
}

/// How many of these are stored.
fn stored(engine: &Engine, zone: Zone, numbers: std::ops::Range<u16>) -> usize {
    numbers
        .filter(|&number| commit(engine, zone, number) == Reason::None)
        .count()
}

#[test]
fn a_zone_may_have_no_more_than_its_limit_and_says_so() {
    let engine = engine();
    engine.set_zone_limit(7, Some(3));
    assert_eq!(stored(&engine, 7, 0..5), 3);
    assert_eq!(commit(&engine, 7, 9), Reason::ZoneLimit);
    assert_eq!(engine.counter(Counter::ZoneFull), 3);
    assert_eq!(stored(&engine, 8, 0..5), 5, "another zone");
    assert_eq!(engine.zone_limit(7).count, 3);
}

#[test]
fn an_explicit_limit_of_0_blocks_every_commit_in_profile_ovs_and_none_in_the_others() {
    for (profile, may) in [
        (Profile::Ovs, 0),
        (Profile::Kernel, 4),
        (Profile::Strict, 4),
    ] {
        let engine = engine_of(profile);
        engine.set_zone_limit(7, Some(0));
        assert_eq!(stored(&engine, 7, 0..4), may);
    }
}

#[test]
fn a_default_limit_of_0_is_none() {
    let engine = engine();
    engine.set_default_zone_limit(Some(2));
    assert_eq!(stored(&engine, 7, 0..4), 2);
    engine.set_default_zone_limit(Some(0));
    assert_eq!(engine.default_zone_limit(), None);
    assert_eq!(stored(&engine, 7, 2..6), 4);
}

#[test]
fn connections_from_before_the_limit_count() {
    // Open vSwitch counts from the first limit on.
    let engine = engine();
    assert_eq!(stored(&engine, 7, 0..3), 3);
    engine.set_zone_limit(7, Some(4));
    assert_eq!(stored(&engine, 7, 3..6), 1);
}

#[test]
fn a_limit_that_is_taken_away_leaves_the_default_and_keeps_the_count() {
    let engine = engine();
    engine.set_zone_limit(7, Some(10));
    assert_eq!(stored(&engine, 7, 0..4), 4);
    engine.set_default_zone_limit(Some(5));
    engine.set_zone_limit(7, None);
    let known = engine.zone_limit(7);
    assert_eq!((known.limit, known.count), (None, 4));
    assert_eq!(stored(&engine, 7, 4..8), 1);
}

#[test]
fn a_limit_below_the_count_lets_connections_stay_and_admits_none() {
    let engine = engine();
    assert_eq!(stored(&engine, 7, 0..4), 4);
    engine.set_zone_limit(7, Some(2));
    assert_eq!(
        (stored(&engine, 7, 4..6), engine.zone_limit(7).count),
        (0, 4)
    );
}

#[test]
fn an_unknown_zone_has_no_limit_and_no_connections() {
    let known = engine().zone_limit(9);
    assert_eq!((known.zone, known.limit, known.count), (9, None, 0));
}

#[test]
fn what_expired_counts_until_it_is_swept() {
    let engine = engine();
    engine.set_zone_limit(7, Some(2));
    assert_eq!(stored(&engine, 7, 0..2), 2);
    assert_eq!(commit_at(&engine, 7, 2, 60_000), Reason::ZoneLimit);
    let swept = engine.sweep(at(62_000), Budget { records: 100 });
    assert_eq!(swept.removed, 2);
    assert_eq!(commit_at(&engine, 7, 2, 62_000), Reason::None);
}

#[test]
fn the_global_limit_counts_what_is_not_swept_and_can_be_moved() {
    let engine = Engine::new(&Config {
        max_connections: 3,
        ..Config::default()
    })
    .expect("valid");
    assert_eq!(stored(&engine, 7, 0..5), 3);
    assert_eq!(commit_at(&engine, 7, 9, 60_000), Reason::TableFull);
    assert_eq!(engine.sweep(at(62_000), Budget { records: 100 }).removed, 3);
    assert_eq!(commit_at(&engine, 7, 9, 62_000), Reason::None);
    engine.set_max_connections(1).expect("valid");
    assert_eq!((engine.max_connections(), engine.connections()), (1, 1));
    assert_eq!(commit_at(&engine, 7, 8, 62_000), Reason::TableFull);
    engine.set_max_connections(2).expect("valid");
    assert_eq!(commit_at(&engine, 7, 8, 62_000), Reason::None);
}

#[test]
fn a_guaranteed_share_is_there_when_others_have_taken_all_else() {
    let engine = Engine::new(&Config {
        max_connections: 100,
        ..Config::default()
    })
    .expect("valid");
    engine.set_zone_guarantee(7, 20);
    engine.set_zone_guarantee(8, 10);
    assert_eq!(stored(&engine, 1, 0..200), 70);
    assert_eq!(commit(&engine, 1, 500), Reason::TableFull);
    assert_eq!(stored(&engine, 7, 0..200), 20);
    assert_eq!(stored(&engine, 8, 0..200), 10);
}

#[test]
fn each_of_65536_zones_is_flushed_alone() {
    let engine = engine();
    for zone in 0..=Zone::MAX {
        assert_eq!(commit(&engine, zone, 0), Reason::None);
    }
    assert_eq!(engine.connections(), ZONES);
    let all = engine.zone_limits();
    assert_eq!(all.len() as u32, ZONES);
    assert!(all.iter().all(|zone| zone.count == 1));
    let is_flushed = |zone: Zone| zone.is_multiple_of(3);
    for zone in (0..=Zone::MAX).filter(|&zone| is_flushed(zone)) {
        engine.flush(Flush::Zone(zone), at(0)).expect("always");
    }
    let mut here = vec![false; ZONES as usize];
    let mut cursor = Cursor::default();
    while let Some(listed) = engine.next(&mut cursor, at(0)) {
        here[usize::from(listed.original.zone)] = true;
        assert!(engine.lookup(&listed.reply, at(0)).is_some());
    }
    for zone in 0..=Zone::MAX {
        assert_eq!(here[usize::from(zone)], !is_flushed(zone));
        assert_eq!(engine.zone_limit(zone).count, u32::from(!is_flushed(zone)));
    }
    // A flushed zone is as good as new at once, before and after the sweep.
    assert_eq!(commit(&engine, 0, 0), Reason::None);
    while !engine.sweep(at(0), Budget { records: 4096 }).complete {}
    let left = (0..=Zone::MAX).filter(|&zone| !is_flushed(zone)).count() as u32 + 1;
    assert_eq!(engine.connections(), left);
    assert_eq!(engine.zone_limit(0).count, 1);
    // All the others, one by one.
    for zone in 0..=Zone::MAX {
        engine.flush(Flush::Zone(zone), at(0)).expect("always");
    }
    assert_eq!(engine.next(&mut Cursor::default(), at(0)), None);
    assert_eq!(engine.zone_limits(), []);
    while !engine.sweep(at(0), Budget { records: 4096 }).complete {}
    assert_eq!(engine.connections(), 0);
}

#[test]
fn each_of_65536_zones_keeps_its_own_limit() {
    let engine = engine();
    let limit = |zone: Zone| match zone % 4 {
        0 => None,
        own => Some(u32::from(own) - 1),
    };
    engine.set_default_zone_limit(Some(2));
    for zone in 0..=Zone::MAX {
        engine.set_zone_limit(zone, limit(zone));
    }
    let may = |zone| limit(zone).unwrap_or(2);
    for zone in 0..=Zone::MAX {
        assert_eq!(stored(&engine, zone, 0..3) as u32, may(zone), "{zone}");
    }
    let known = engine.zone_limits();
    assert_eq!(known.len() as u32, ZONES);
    for (zone, known) in (0..=Zone::MAX).zip(known) {
        assert_eq!(
            (known.zone, known.limit, known.count),
            (zone, limit(zone), may(zone))
        );
    }
    // After a flush each may have as many again.
    engine.flush(Flush::All, at(0)).expect("always");
    for zone in (0..=Zone::MAX).step_by(7) {
        assert_eq!(stored(&engine, zone, 0..3) as u32, may(zone), "{zone}");
    }
}
