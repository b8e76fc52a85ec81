//! Random rules and random traffic against plain models.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// Every reply tuple that a rule allows, by brute force.
fn allowed(original: &Tuple, nat: &Nat) -> HashSet<Tuple> {
    let ends = |range: &NatRange, own: u128, ports: (u16, u16)| -> Vec<(u128, u16)> {
        let (min, max) = if range.min_address == 0 {
            (own, own)
        } else {
            (range.min_address, range.max_address)
        };
        (min..=max)
            .flat_map(|a| (ports.0..=ports.1).map(move |p| (a, p)))
            .collect()
    };
    let kept = NatRange::address(original.src);
    let source = nat.source.unwrap_or(kept);
    let class = source.ports.unwrap_or(super::port::class(original.sport));
    let mut sources = ends(&source, original.src, class);
    if source.ports.is_none() {
        // The packet's own port with the address of the hash: allowed at any address here.
        let own: Vec<_> = sources.iter().map(|s| (s.0, original.sport)).collect();
        sources.extend(own);
    }
    let destination = nat.destination.unwrap_or(NatRange::address(original.dst));
    let ports = destination
        .ports
        .unwrap_or((original.dport, original.dport));
    let destinations = ends(&destination, original.dst, ports);
    let mut all = HashSet::new();
    for s in &sources {
        for d in &destinations {
            all.insert(reply_tuple(
                original,
                &Choice {
                    source: Some(*s),
                    destination: Some(*d),
                },
            ));
        }
    }
    all
}

#[derive(Clone, Debug)]
enum Op {
    Open { client: u8, server: u8, sport: u16 },
    Close(u16),
    Vanish(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0_u8..40, 0_u8..2, 590_u16..620).prop_map(|(client, server, sport)| Op::Open { client, server, sport }),
        2 => any::<u16>().prop_map(Op::Close),
        1 => any::<u16>().prop_map(Op::Vanish),
    ]
}

fn rule() -> impl Strategy<Value = Nat> {
    let ports = prop_oneof![
        Just(None),
        (1_u16..2000, 0_u16..300).prop_map(|(a, n)| Some((a, a + n)))
    ];
    let side = prop::option::of((0_u128..4, ports).prop_map(|(n, ports)| {
        if n == 0 {
            NatRange {
                min_address: 0,
                max_address: 0,
                ports,
            }
        } else {
            range(n, ports)
        }
    }));
    (side.clone(), side, 0_u8..3).prop_map(|(source, mut destination, selection)| {
        if source.is_some()
            && let Some(range) = &mut destination
        {
            range.ports = range.ports.map(|(min, _)| (min, min + 2));
        }
        let selection = match selection {
            0 => NatSelection::Hash,
            1 => NatSelection::Random,
            _ => NatSelection::Persistent,
        };
        Nat {
            source,
            destination,
            selection,
            family: None,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() })]

    /// Chosen tuples are in range and free; none is refused while one is free and known to be;
    /// and live reply tuples stay distinct, through sparse and dense searches.
    #[test]
    fn a_choice_is_in_range_and_free_whenever_one_is(
        rule in rule(),
        ops in prop::collection::vec(op(), 1..900),
        vanishing in any::<bool>(),
    ) {
        let allocator = Allocator::new(Secret::new(SECRET), 1 << 16);
        let table = Table::default();
        let mut live: Vec<Binding> = Vec::new();
        let mut silent = false;
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Open { client, server, sport } => {
                    let original = Tuple {
                        src: CLIENT + u128::from(client),
                        dst: SERVER + u128::from(server),
                        ..tcp(sport)
                    };
                    if table.taken.borrow().contains(&original) {
                        continue;
                    }
                    let random = step as u64 * 0x9e37_79b9;
                    let request = Request { random, ..request(&original, &rule) };
                    table.asked();
                    let outcome = allocator.choose(&request, &table);
                    let asked = table.asked().len();
                    prop_assert!(asked <= PROBES as usize + 1024, "{} questions", asked);
                    match outcome {
                        Outcome::Untouched => prop_assert!(rule.kind().is_none()),
                        Outcome::Chosen(binding) => {
                            prop_assert!(allowed(&original, &rule).contains(&binding.reply));
                            prop_assert!(!table.taken.borrow().contains(&binding.reply));
                            prop_assert_ne!(binding.reply, original);
                            table.insert(&allocator, &binding);
                            live.push(binding);
                        }
                        Outcome::Exhausted if silent => {}
                        Outcome::Exhausted => {
                            let taken = table.taken.borrow();
                            let mut all = allowed(&original, &rule).into_iter();
                            let class = super::port::class(sport);
                            let free = all.find(|t| {
                                !taken.contains(t) && *t != original
                                    && (t.dport >= class.0 || rule.source.is_some_and(|r| r.ports.is_some()))
                            });
                            prop_assert_eq!(free, None);
                        }
                        Outcome::Unsettled => prop_assert!(false, "small ranges are always decided"),
                    }
                }
                Op::Close(pick) if !live.is_empty() => {
                    let binding = live.swap_remove(usize::from(pick) % live.len());
                    table.remove(&allocator, &binding);
                }
                Op::Vanish(pick) if vanishing && !live.is_empty() => {
                    // Flushed or expired: gone from the table, and nobody said so.
                    let binding = live.swap_remove(usize::from(pick) % live.len());
                    table.taken.borrow_mut().remove(&binding.reply);
                    table.taken.borrow_mut().remove(&binding.original);
                    silent = true;
                }
                Op::Close(_) | Op::Vanish(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, rng_seed: RngSeed::Fixed(13), ..ProptestConfig::default() })]

    /// A range that runs full and empties again and again: exhaustion is said exactly when as many
    /// connections live as there are ports, whether a bitmap answers or the table.
    #[test]
    fn bitmap_and_table_never_disagree(
        phases in prop::collection::vec((1_usize..400, 0_usize..400, any::<u64>()), 1..12),
    ) {
        let allocator = allocator();
        let table = Table::default();
        let nat = Nat { selection: NatSelection::Random, ..snat(range(1, Some((1000, 1299)))) };
        let mut live: Vec<Binding> = Vec::new();
        let mut client = 0;
        let mut was_dense = false;
        for (opens, closes, mut random) in phases {
            for _ in 0..opens {
                client += 1;
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let original = Tuple { src: CLIENT + client, ..tcp(5) };
                let request = Request { random: random >> 32, ..request(&original, &nat) };
                match allocator.choose(&request, &table) {
                    Outcome::Chosen(binding) => {
                        table.insert(&allocator, &binding);
                        live.push(binding);
                    }
                    outcome => {
                        prop_assert_eq!(outcome, Outcome::Exhausted);
                        prop_assert_eq!(live.len(), 300);
                        prop_assert_eq!(allocator.dense().0, 1);
                        was_dense = true;
                    }
                }
            }
            for _ in 0..closes.min(live.len()) {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let binding = live.swap_remove((random >> 32) as usize % live.len());
                table.remove(&allocator, &binding);
            }
            if live.len() < 149 && was_dense {
                prop_assert_eq!(allocator.dense(), (0, 0));
                was_dense = false;
            }
        }
    }

    /// What one direction's packets become is what the other direction's must be to get back.
    #[test]
    fn translating_there_and_back_gives_the_tuple(
        client in 1_u32.., sport in 1_u16.., rule in rule(),
    ) {
        let original = Tuple { src: u128::from(client), ..tcp(sport) };
        if let Outcome::Chosen(binding) =
            allocator().choose(&request(&original, &rule), &Table::default())
        {
            for direction in [Direction::Original, Direction::Reply] {
                let answer = binding.after(direction).reversed();
                prop_assert_eq!(answer, binding.before(direction.opposite()));
                prop_assert_eq!(
                    binding.after(direction.opposite()),
                    binding.before(direction).reversed()
                );
                // Naming only the translated addresses loses nothing.
                for place in [Place::Itself, Place::Quoted] {
                    let rewrite = Rewrite::of(&binding, direction, place);
                    let before = match place {
                        Place::Quoted => binding.before(direction).reversed(),
                        _ => binding.before(direction),
                    };
                    prop_assert_eq!(rewrite.src.unwrap_or(before.src), rewrite.tuple.src);
                    prop_assert_eq!(rewrite.dst.unwrap_or(before.dst), rewrite.tuple.dst);
                }
            }
        }
    }
}
