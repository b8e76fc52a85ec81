//! Generated traffic through the model and the engine.

use proptest::prelude::*;

use super::tracker::Seen;
use super::traffic::{STEP, Step, Traffic};
use super::{World, agree, bytes, engine};
use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::action::Action;
use crate::engine::config::{Config, Profile};
use crate::engine::descriptor::{Frame, Metadata};
use crate::sync::thread;

fn cases() -> u32 {
    std::env::var("CTOFFLOAD_MODEL_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn the_engine_decides_as_the_model(input in prop::collection::vec(any::<u8>(), 2..400 * STEP)) {
        agree(&input);
    }
}

#[test]
fn generated_traffic_reaches_what_it_is_meant_to_reach() {
    let mut sum = Seen::default();
    for seed in 0..200 {
        let seen = agree(&bytes(seed, 400));
        sum.established_acks += seen.established_acks;
        sum.answered += seen.answered;
        sum.invalid += seen.invalid;
        sum.cached += seen.cached;
        sum.related += seen.related;
        sum.forced += seen.forced;
        sum.again += seen.again;
    }
    let counts = [
        sum.established_acks,
        sum.answered,
        sum.invalid,
        sum.cached,
        sum.related,
        sum.forced,
        sum.again,
    ];
    assert!(counts.iter().all(|&count| count > 100), "{sum:?}");
}

#[test]
fn threads_with_hosts_of_their_own_agree_each_with_its_model() {
    let engine = engine(true);
    thread::scope(|scope| {
        for number in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                let mut world = World::new(engine, 32);
                let mut traffic = Traffic::new(20 * number);
                for round in 0..20 {
                    let input = bytes(u64::from(number) + 100 * round, 400);
                    let alone = input.as_chunks::<STEP>().0;
                    // Flushes and the clock belong to everybody.
                    let apart = alone.iter().filter(|step| !matches!(step[0] % 32, 27 | 28));
                    let input: Vec<u8> = apart.flatten().copied().collect();
                    world.run(&mut traffic, &input);
                }
            });
        }
    });
}

/// The verdicts of generated traffic in batches of `most` packets.
fn verdicts(profile: Profile, input: &[u8], most: usize) -> Vec<(u8, u32, u128)> {
    let engine = Engine::new(&Config {
        profile,
        seed: Some([7; 8]),
        ..Config::default()
    })
    .expect("a profile is valid");
    let mut traffic = Traffic::new(0);
    let mut verdicts = Vec::new();
    let mut now = 0;
    let mut batch: Vec<Frame> = Vec::new();
    let mut asked = Action::default();
    let mut run = |batch: &mut Vec<Frame>, action: &Action, now: u64| {
        engine.execute(batch, action, Time::from_millis(now));
        let told = |m: &Metadata| (m.state, m.mark, m.label);
        verdicts.extend(batch.drain(..).map(|frame| told(&frame.metadata)));
    };
    for bytes in input.as_chunks::<STEP>().0 {
        match traffic.step(bytes) {
            Step::Packet(_, bytes, action) => {
                if action != asked || batch.len() == most {
                    run(&mut batch, &asked, now);
                    asked = action;
                }
                batch.push(Frame::ip(bytes));
            }
            Step::Wait(millis) => {
                run(&mut batch, &asked, now);
                now += millis;
            }
            _ => {}
        }
    }
    run(&mut batch, &asked, now);
    verdicts
}

#[test]
fn a_batch_gives_the_result_of_its_packets_one_by_one_in_every_profile() {
    for profile in [Profile::Ovs, Profile::Kernel, Profile::Strict] {
        for seed in 0..40 {
            let input = bytes(seed, 400);
            assert_eq!(verdicts(profile, &input, 32), verdicts(profile, &input, 1));
        }
    }
}
