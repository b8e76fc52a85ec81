//! Outputs, verdicts, tracker and counters with the cache are those without it.

use proptest::prelude::*;

use super::worlds::{Draw, Traffic, rules};
use crate::clock::Time;
use crate::datapath::{Datapath, Output, Packet, Settings, parse};
use crate::engine::config::{Config, Profile};
use crate::engine::descriptor::{Frame, Metadata};
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::merge::statistics::Count;
use crate::merge::trace::Trace;

/// Packets of one world.
const PACKETS: usize = 400;

fn datapath(text: &str, profile: Profile, accounting: bool, cache: bool) -> Datapath {
    let engine = Engine::new(&Config {
        seed: Some([5; 8]),
        profile,
        accounting,
        ..Config::default()
    });
    let engine = engine.expect("defaults are valid");
    let rules = parse(text).expect("rules that were written here");
    Datapath::new(engine, rules, Settings { cache, keep: true }).expect("memory")
}

fn send(datapath: &mut Datapath, bytes: &[u8], port: u32, now: Time) -> (Vec<Output>, Metadata) {
    let mut frame = Frame::ethernet(bytes.to_vec());
    frame.in_port = port;
    frame.trace = Some(Box::new(Trace::default()));
    let mut packets = [Packet {
        frame,
        ..Packet::default()
    }];
    let outputs = datapath.run(&mut packets, now);
    let [packet] = packets;
    // Which pass found the connection is not part of the verdict.
    let metadata = Metadata {
        connection: crate::tuple::ConnectionId::NONE,
        reply: false,
        ..packet.frame.metadata
    };
    (outputs, metadata)
}

/// Everything that a list of the connections says, in a fixed order.
fn connections(engine: &Engine, now: Time) -> Vec<String> {
    let mut cursor = Cursor::new(None);
    let next = || engine.next(&mut cursor, now);
    let mut all: Vec<String> = std::iter::from_fn(next)
        .map(|connection| format!("{connection:?}"))
        .collect();
    all.sort_unstable();
    all
}

/// One world: how many packets the cache carried, or what differs.
fn compare(seed: u64, profile: Profile) -> Result<u64, TestCaseError> {
    let mut draw = Draw::new(seed);
    let text = rules(&mut draw);
    let mut traffic = Traffic::new(&mut draw);
    let accounting = draw.one_in(2);
    let mut plain = datapath(&text, profile, accounting, false);
    let mut cached = datapath(&text, profile, accounting, true);
    let mut now = Time::from_millis(1_000);
    for number in 0..PACKETS {
        let packet = traffic.packet(&mut draw);
        let (expected, verdict) = send(&mut plain, &packet.bytes, packet.port, now);
        let (outputs, cached_verdict) = send(&mut cached, &packet.bytes, packet.port, now);
        prop_assert_eq!(&outputs, &expected, "packet {} of\n{}", number, text);
        prop_assert_eq!(cached_verdict, verdict, "packet {} of\n{}", number, text);
        if packet.port == 1
            && let Some(out) = expected.iter().find(|out| out.port == 2)
        {
            traffic.reached(packet.talk, &out.bytes);
        }
        if !draw.one_in(3) {
            cached.engine().merge(16, now).expect("nobody looks");
        }
        now = now.plus(draw.below(400));
        if draw.one_in(100) {
            now = now.plus(40_000);
            for engine in [plain.engine(), cached.engine()] {
                engine.sweep(now, Budget { records: 1_000 });
            }
        }
        if draw.one_in(150) {
            let zone = 1 + draw.below(6) as u16;
            for engine in [plain.engine(), cached.engine()] {
                engine.flush(Flush::Zone(zone), now).expect("a zone");
            }
        }
    }
    for rule in 0..plain.rules().rules.len() {
        let (own, with_cache) = (plain.used(rule), cached.used(rule));
        prop_assert_eq!(with_cache, own, "{}", plain.rules().rules[rule].text);
    }
    for port in [1, 2, 9] {
        prop_assert_eq!(cached.sent(port), plain.sent(port));
    }
    prop_assert_eq!(
        connections(cached.engine(), now),
        connections(plain.engine(), now)
    );
    Ok(cached.engine().merge_count(Count::Hits).expect("enabled"))
}

/// Worlds, or as many as the environment says.
fn cases() -> u32 {
    let asked = std::env::var("CTOFFLOAD_MERGE_CASES");
    asked.map_or(150, |text| text.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_datapath_with_the_cache_does_what_one_without_it_does(seed: u64) {
        compare(seed, Profile::Ovs)?;
    }

    #[test]
    fn the_cache_is_right_for_the_kernels_tracker_too(seed: u64) {
        compare(seed, Profile::Kernel)?;
    }
}

#[test]
fn the_cache_carries_a_good_part_of_this_traffic() {
    let hits: u64 = (0..50)
        .map(|seed| compare(seed, Profile::Ovs).expect("equal"))
        .sum();
    assert!(hits > 50 * PACKETS as u64 / 5, "{hits}");
}
