//! Filtered dumps and flushes against the plainest way to have them: list everything, and ask the
//! filter about each.

use proptest::prelude::*;

use crate::engine::action::{Action, Nat, NatRange};
use crate::engine::descriptor::Frame;
use crate::engine::filter::{Filter, TupleFilter};
use crate::engine::listing::Connection;
use crate::engine::{Budget, Cursor, Engine, Flush};
use crate::packet::Family;
use crate::tests::ground::{COMMIT, at, limited};
use crate::tests::packets::{Ip, udp};
use crate::tuple::Zone;

/// Zones, among them that of records that were never used, and the last.
const ZONES: [Zone; 4] = [0, 1, 256, Zone::MAX];
/// Hosts of either family.
const HOSTS: u8 = 12;

fn host(host: u8, family: Family) -> Ip {
    match family {
        Family::V4 => Ip::v4(host),
        Family::V6 => Ip::v6(host),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(&ZONES[..])
}

/// What happens to the table.
#[derive(Clone, Debug)]
enum Event {
    /// A connection of these two hosts begins, its source or destination translated or neither.
    Begin(Family, [u8; 2], u16, Zone, Option<(bool, u8)>),
    /// One of those that are listed is flushed.
    Flush(prop::sample::Index),
    FlushZone(Zone),
    /// So many seconds pass, and the sweep comes by.
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let hosts = [1..HOSTS, 1..HOSTS];
    let nat = prop::option::of((any::<bool>(), 100..103_u8));
    prop_oneof![
        12 => (family(), hosts, 1..40_u16, zone(), nat)
            .prop_map(|(family, hosts, port, zone, nat)| Event::Begin(family, hosts, port, zone, nat)),
        3 => any::<prop::sample::Index>().prop_map(Event::Flush),
        1 => zone().prop_map(Event::FlushZone),
        1 => (1..40_u64).prop_map(Event::Pass),
    ]
}

/// A part of a tuple: addresses whole, or of a network; perhaps a port.
fn part() -> impl Strategy<Value = TupleFilter> {
    let masks = prop::sample::select(vec![u128::MAX, !0 << 96 | 0xffff_ffff, !3, 0]);
    let address = || prop::option::weighted(0.4, (1..HOSTS, masks.clone()));
    let public = || prop::option::weighted(0.1, 100..103_u8);
    (
        family(),
        address(),
        address(),
        public(),
        prop::option::weighted(0.1, 1..40_u16),
        any::<bool>(),
    )
        .prop_map(|(family, src, dst, public, sport, named)| {
            let part = |(number, mask)| (host(number, family).number(), mask);
            let public = public.map(|number| part((number, u128::MAX)));
            TupleFilter {
                src: src.map(part),
                dst: public.or(dst.map(part)),
                sport,
                family: named.then_some(family),
                ..TupleFilter::default()
            }
        })
}

fn filter() -> impl Strategy<Value = Filter> {
    let part = || prop_oneof![Just(TupleFilter::default()), part()];
    (
        prop::option::of(zone()),
        part(),
        part(),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(zone, original, reply, translated)| Filter {
            zone,
            original,
            reply,
            translated,
            ..Filter::default()
        })
}

/// What happened, up to the time that it gives.
fn live(engine: &Engine, events: &[Event]) -> u64 {
    let mut now = 0;
    for event in events {
        match event {
            Event::Begin(family, [from, to], port, zone, nat) => {
                let nat = nat.map(|(of_source, public)| {
                    let range = Some(NatRange::address(host(public, *family).number()));
                    let [source, destination] = if of_source {
                        [range, None]
                    } else {
                        [None, range]
                    };
                    Nat {
                        source,
                        destination,
                        ..Nat::default()
                    }
                });
                let action = Action {
                    zone: *zone,
                    nat,
                    ..COMMIT
                };
                let packet = udp(host(*from, *family), *port, host(*to, *family), 53, b"?");
                let mut frames = [Frame::ip(packet)];
                engine.execute(&mut frames, &action, at(now));
            }
            Event::Flush(which) => {
                let listed = all(engine, now);
                if !listed.is_empty() {
                    let tuple = which.get(&listed).original;
                    engine
                        .flush(Flush::Tuple(tuple), at(now))
                        .expect("it is listed");
                }
            }
            Event::FlushZone(zone) => {
                engine.flush(Flush::Zone(*zone), at(now)).expect("always");
            }
            Event::Pass(seconds) => {
                now += 1_000 * seconds;
                let budget = Budget { records: 1_000 };
                while !engine.sweep(at(now), budget).complete {}
            }
        }
    }
    now
}

fn all(engine: &Engine, now: u64) -> Vec<Connection> {
    let mut cursor = Cursor::default();
    std::iter::from_fn(|| engine.next(&mut cursor, at(now))).collect()
}

fn matching(engine: &Engine, filter: &Filter, now: u64) -> Vec<Connection> {
    let mut cursor = Cursor::default();
    std::iter::from_fn(|| engine.next_matching(&mut cursor, filter, at(now))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(23),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_filtered_dump_gives_what_a_whole_dump_and_the_filter_give(
        events in prop::collection::vec(event(), 1..200),
        filters in prop::collection::vec(filter(), 20),
    ) {
        let engine = limited(1_000);
        let now = live(&engine, &events);
        let known = all(&engine, now);
        for filter in &filters {
            let means: Vec<Connection> =
                known.iter().filter(|known| filter.matches(known)).copied().collect();
            prop_assert_eq!(matching(&engine, filter, now), means, "{:?}", filter);
        }
        let filter = &filters[0];
        let meant = known.iter().filter(|known| filter.matches(known)).count();
        prop_assert_eq!(engine.flush_matching(filter, at(now)) as usize, meant);
        let rest: Vec<Connection> =
            known.iter().filter(|known| !filter.matches(known)).copied().collect();
        prop_assert_eq!(all(&engine, now), rest);
    }
}

/// A thousand connections of as many clients, in four zones, the source of every third translated.
fn crowd() -> Engine {
    let engine = limited(2_000);
    for number in 0..1_000_u16 {
        let nat = Nat {
            source: Some(NatRange::address(Ip::v4(200).number())),
            ..Nat::default()
        };
        let action = Action {
            zone: ZONES[usize::from(number) % 4],
            nat: (number % 3 == 0).then_some(nat),
            ..COMMIT
        };
        let [high, low] = number.to_be_bytes();
        let client = Ip::V4([10, 1, high, low]);
        let packet = udp(client, 1_000 + number, Ip::v4(53), 53, b"?");
        engine.execute(&mut [Frame::ip(packet)], &action, at(0));
    }
    engine
}

/// How many a dump gives, and how many records it opened for that.
fn cost(engine: &Engine, filter: &Filter) -> (usize, u32) {
    let mut cursor = Cursor::default();
    let step = || engine.next_matching(&mut cursor, filter, at(0));
    let found = std::iter::from_fn(step).count();
    (found, cursor.looked_at())
}

#[test]
fn a_dump_of_a_zone_opens_the_records_of_that_zone_and_no_other() {
    let engine = crowd();
    for zone in ZONES {
        let filter = Filter {
            zone: Some(zone),
            ..Filter::default()
        };
        assert_eq!(cost(&engine, &filter), (250, 250));
        let mut cursor = Cursor::new(Some(zone));
        while engine.next(&mut cursor, at(0)).is_some() {}
        assert_eq!(cursor.looked_at(), 250);
    }
}

#[test]
fn a_dump_by_a_whole_address_of_either_tuple_opens_few_of_the_others() {
    let engine = crowd();
    let whole = |address: Ip| Some((address.number(), u128::MAX));
    let part = TupleFilter::default();
    let filter = |original, reply| Filter {
        original,
        reply,
        ..Filter::default()
    };
    let client = whole(Ip::V4([10, 1, 1, 7]));
    let of = |src, dst| TupleFilter { src, dst, ..part };
    for (filter, meant) in [
        (filter(of(client, None), part), 1),
        (filter(part, of(None, client)), 1),
        (filter(of(client, whole(Ip::v4(53))), part), 1),
        (filter(part, of(None, whole(Ip::v4(200)))), 334),
        (filter(of(None, whole(Ip::v4(54))), part), 0),
    ] {
        let (found, looked_at) = cost(&engine, &filter);
        assert_eq!(found, meant, "{filter:?}");
        assert!(looked_at as usize <= meant + 20, "{looked_at} {filter:?}");
    }
    // A network is no address: all are opened, but those of other zones.
    let network = filter(
        of(Some((Ip::V4([10, 1, 1, 0]).number(), !0xff)), None),
        part,
    );
    let (found, looked_at) = cost(&engine, &network);
    assert!(found == 256 && looked_at >= 1_000, "{looked_at}");
    let in_zone = Filter {
        zone: Some(256),
        ..network
    };
    assert_eq!(cost(&engine, &in_zone), (64, 250));
}

#[test]
fn an_ipv4_address_is_whole_without_the_bits_above_it_only_where_the_family_is_named() {
    let engine = crowd();
    let filter = |family| Filter {
        original: TupleFilter {
            src: Some((Ip::V4([10, 1, 1, 7]).number(), u128::from(u32::MAX))),
            family,
            ..TupleFilter::default()
        },
        ..Filter::default()
    };
    let (found, looked_at) = cost(&engine, &filter(Some(Family::V4)));
    assert!(found == 1 && looked_at < 20, "{looked_at}");
    let (found, looked_at) = cost(&engine, &filter(None));
    assert!(found == 1 && looked_at >= 1_000, "{looked_at}");
}
