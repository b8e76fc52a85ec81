//! Packets through a merged flow come out as they do without it.

use proptest::prelude::*;

use super::action::{Action, CONNECTION, Ct, Translated, Verdict};
use super::flow::{Field, Key, Match};
use super::fold::{Filter, Merged, Refusal, Step, fold};
use super::pipeline::{Pipeline, apply};
use crate::packet::tcp_flags::ACK;

const CT: Ct = Ct {
    zone: 3,
    force: false,
    helper: false,
    mark: (0, 0),
    label: (0, 0),
};
const EST: u8 = 0x22;

/// A tracker without memory: what it says follows from addresses, ports and zone.
fn track(key: &Key, ct: &Ct) -> Verdict {
    let of = |field| key.get(field) as u64;
    let seed = of(Field::IpSrc)
        .wrapping_mul(31)
        .wrapping_add(of(Field::IpDst).wrapping_mul(17))
        .wrapping_add(of(Field::PortSrc).wrapping_mul(7))
        .wrapping_add(of(Field::PortDst))
        .wrapping_add(of(Field::Proto) + u64::from(ct.zone));
    let translates = |bit: u64, to: u128| (seed >> bit & 1 == 1).then_some((to, 4000 + bit as u16));
    Verdict {
        state: EST,
        zone: ct.zone,
        mark: (seed & 3) as u32,
        label: u128::from(seed & 1),
        established: true,
        tuple: CONNECTION.map(|field| key.get(field)),
        translated: Translated {
            src: translates(3, 77),
            dst: translates(4, 78),
        },
    }
}

/// Fields that the filters of the tests match and set, with values that collide often.
const PLAYED: [Field; 12] = [
    Field::InPort,
    Field::EthSrc,
    Field::EthDst,
    Field::Vlan,
    Field::InnerVlan,
    Field::IpSrc,
    Field::IpDst,
    Field::PortDst,
    Field::Tos,
    Field::CtMark,
    Field::CtLabel,
    Field::CtState,
];

/// Keys in which every field may be anything, or nothing.
pub(super) fn any_key() -> impl Strategy<Value = Key> {
    prop::collection::vec((any::<u128>(), any::<bool>()), Field::ALL.len()).prop_map(|values| {
        let set = Field::ALL.iter().zip(values).filter(|(_, (_, on))| *on);
        set.fold(Key::default(), |key, (field, (value, _))| {
            key.with(*field, value)
        })
    })
}

fn any_packet() -> impl Strategy<Value = Key> {
    prop::collection::vec(0u128..4, PLAYED.len()).prop_map(|values| {
        let headers = PLAYED
            .iter()
            .zip(values)
            .filter(|(field, _)| !matches!(field, Field::CtMark | Field::CtLabel | Field::CtState));
        let key = Key::default()
            .with(Field::EthType, 0x0800)
            .with(Field::Proto, 6)
            .with(Field::TcpFlags, u128::from(ACK));
        headers.fold(key, |key, (field, value)| key.with(*field, value))
    })
}

fn any_rewrite() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..PLAYED.len(), 0u128..4, 0u128..4)
            .prop_map(|(field, value, mask)| Action::Set(PLAYED[field], value, mask)),
        1 => (0u32..4).prop_map(Action::PushVlan),
        1 => Just(Action::PopVlan),
        2 => (0u32..4).prop_map(Action::Output),
        1 => (0u32..4).prop_map(Action::TunnelPush),
        3 => Just(Action::Ct(CT)),
    ]
}

/// The filters of one chain: they match the same bits of two fields, each other values, so that they do
/// not overlap.
fn any_chain(chain: u32, last: bool) -> impl Strategy<Value = Vec<Filter>> {
    let bits = (0..PLAYED.len(), 1u128..4, 0..PLAYED.len(), 0u128..4);
    let rewrites = prop::collection::vec(prop::collection::vec(any_rewrite(), 0..4), 16);
    (bits, rewrites).prop_map(
        move |((first, first_mask, second, second_mask), rewrites)| {
            let values = (0..4u128).flat_map(|a| (0..4u128).map(move |b| (a, b)));
            values
                .zip(rewrites)
                .filter_map(|((a, b), mut actions)| {
                    if a & !first_mask != 0 || b & !second_mask != 0 {
                        return None;
                    }
                    let matches = Match::any()
                        .with(Field::Recirculation, u128::from(chain))
                        .and(PLAYED[first], a, first_mask)?
                        .and(PLAYED[second], b, second_mask)?;
                    actions.push(if last {
                        Action::Output(9)
                    } else {
                        Action::Recirculate(chain + 1)
                    });
                    Some(Filter { matches, actions })
                })
                .collect()
        },
    )
}

fn any_pipeline() -> impl Strategy<Value = Pipeline> {
    (1u32..5)
        .prop_flat_map(|chains| {
            (0..chains)
                .map(|chain| any_chain(chain, chain + 1 == chains).boxed())
                .collect::<Vec<_>>()
        })
        .prop_map(|chains| Pipeline {
            filters: chains.concat(),
        })
}

/// Whether a merged flow of `first`, made by `fold`, sends the other packets that it takes where the
/// pipeline sends them. `None`: there is none, or it takes no other.
fn is_equal(
    pipeline: &Pipeline,
    first: Key,
    others: &[Key],
    fold: fn(&[Step<'_>]) -> Result<Merged, Refusal>,
) -> Option<bool> {
    let outcome = pipeline.run(first, &mut track);
    let merged = fold(&outcome.trace).ok()?;
    let mut taken = others
        .iter()
        .filter(|key| merged.matches.fits(key))
        .peekable();
    taken.peek()?;
    let same = |key: &Key| {
        let mut expected = pipeline.run(*key, &mut track).outputs;
        for (_, key) in &mut expected {
            // Which chain it was in is not part of a packet.
            key.set(Field::Recirculation, 0);
        }
        expected == apply(&merged.actions, *key)
    };
    Some(taken.all(same))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_merged_flow_does_what_its_filters_do(
        pipeline in any_pipeline(),
        packets in prop::collection::vec(any_packet(), 64),
    ) {
        let (first, others) = packets.split_first().expect("64");
        // The packet itself is always taken.
        if let Ok(merged) = fold(&pipeline.run(*first, &mut track).trace) {
            prop_assert!(merged.matches.fits(first));
        }
        prop_assert_ne!(is_equal(&pipeline, *first, others, fold), Some(false));
        prop_assert_ne!(is_equal(&pipeline, *first, &packets, fold), Some(false));
    }
}

/// Fields in which the wrong merges below are wrong; all others they leave as they should be.
const MISTAKEN: [Field; 6] = [
    Field::InPort,
    Field::EthSrc,
    Field::EthDst,
    Field::Vlan,
    Field::InnerVlan,
    Field::Tos,
];

/// A merge with other matches in the mistaken fields.
fn mistaken(
    trace: &[Step<'_>],
    matches_of: impl Fn(Field, Match) -> Option<Match>,
) -> Result<Merged, Refusal> {
    let right = fold(trace)?;
    let mut matches = Some(Match::any());
    for &field in Field::ALL {
        matches = matches.and_then(|matches| {
            if MISTAKEN.contains(&field) {
                matches_of(field, matches)
            } else {
                let (value, mask) = right.matches.of(field);
                matches.and(field, value, mask)
            }
        });
    }
    let matches = matches.ok_or(Refusal::Contradiction)?;
    Ok(Merged { matches, ..right })
}

/// The first filter that says anything of a field decides what is matched there.
fn first_mask_wins(trace: &[Step<'_>]) -> Result<Merged, Refusal> {
    mistaken(trace, |field, matches| {
        let mut all = trace.iter().map(|step| step.filter.matches.of(field));
        match all.find(|(_, mask)| *mask != 0) {
            Some((value, mask)) => matches.and(field, value, mask),
            None => Some(matches),
        }
    })
}

/// Later filters are matched as they stand, whatever was written before.
fn rewritten_fields_are_matched(trace: &[Step<'_>]) -> Result<Merged, Refusal> {
    mistaken(trace, |field, matches| {
        let mut all = trace.iter().map(|step| step.filter.matches.of(field));
        all.try_fold(matches, |matches, (value, mask)| {
            matches.and(field, value, mask)
        })
    })
}

/// How the comparison ends for drawn pipelines, with this way to merge: equal, different.
fn compare(fold: fn(&[Step<'_>]) -> Result<Merged, Refusal>) -> (u32, u32) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let packets = prop::collection::vec(any_packet(), 64);
    let (mut equal, mut different) = (0, 0);
    for _ in 0..2_000 {
        let pipeline = any_pipeline().new_tree(&mut runner);
        let pipeline = pipeline.expect("it is never refused").current();
        let packets = packets.new_tree(&mut runner);
        let packets = packets.expect("it is never refused").current();
        match is_equal(&pipeline, packets[0], &packets[1..], fold) {
            Some(true) => equal += 1,
            Some(false) => different += 1,
            None => {}
        }
    }
    (equal, different)
}

#[test]
fn merged_flows_take_other_packets_often_and_always_rightly() {
    let (equal, different) = compare(fold);
    assert!(equal > 200, "{equal}");
    assert_eq!(different, 0);
}

/// The two mistakes that are known of such merges are seen by the comparison.
#[test]
fn wrong_merges_are_caught() {
    for wrong in [first_mask_wins, rewritten_fields_are_matched] {
        let (_, different) = compare(wrong);
        assert!(different > 0);
    }
}

fn filter(matches: Match, actions: &[Action]) -> Filter {
    Filter {
        matches,
        actions: actions.to_vec(),
    }
}

fn refusal(filters: Vec<Filter>, packet: Key) -> Option<Refusal> {
    let pipeline = Pipeline { filters };
    fold(&pipeline.run(packet, &mut track).trace).err()
}

#[test]
fn what_cannot_be_merged_is_refused_with_its_reason() {
    let packet = Key::default().with(Field::TcpFlags, u128::from(ACK));
    let any = || Match::any();
    let one = |actions: &[Action]| vec![filter(any(), actions)];
    assert_eq!(refusal(vec![], packet), Some(Refusal::Empty));
    assert_eq!(
        refusal(one(&[Action::Meter(1)]), packet),
        Some(Refusal::Action)
    );
    assert_eq!(
        refusal(one(&[Action::Userspace]), packet),
        Some(Refusal::Action)
    );
    let force = Ct { force: true, ..CT };
    assert_eq!(
        refusal(one(&[Action::Ct(force)]), packet),
        Some(Refusal::Action)
    );
    assert_eq!(
        refusal(one(&[Action::TunnelPop]), packet),
        Some(Refusal::TunnelPop)
    );
    let inside = [Action::TunnelPush(1), Action::Ct(CT)];
    assert_eq!(refusal(one(&inside), packet), Some(Refusal::InTunnel));
    let marks = Ct { mark: (8, 8), ..CT };
    assert_eq!(
        refusal(one(&[Action::Ct(marks)]), packet),
        Some(Refusal::Metadata)
    );
    let nowhere = vec![filter(
        any().with(Field::Recirculation, 0),
        &[Action::Recirculate(5)],
    )];
    assert_eq!(refusal(nowhere, packet), Some(Refusal::Unfinished));
    let round = one(&[Action::Recirculate(0)]);
    assert_eq!(refusal(round, packet), Some(Refusal::TooLong));
    assert_eq!(
        refusal(one(&[Action::Ct(CT), Action::Output(1)]), packet),
        None
    );
}

#[test]
fn a_connection_that_is_not_established_is_not_merged() {
    let pipeline = Pipeline {
        filters: vec![filter(Match::any(), &[Action::Ct(CT), Action::Output(1)])],
    };
    let mut young = |key: &Key, ct: &Ct| Verdict {
        established: false,
        ..track(key, ct)
    };
    let outcome = pipeline.run(Key::default(), &mut young);
    assert_eq!(fold(&outcome.trace), Err(Refusal::NotEstablished));
}
