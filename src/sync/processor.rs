//! What this processor has beyond the least that its architecture promises, used where it pays.
//!
//! The library is built for any x86-64. Most processors since 2013 also have the instructions of the
//! level that the System V ABI calls x86-64-v3: shifts and swaps without extra moves, counts of leading
//! and trailing zeros, wide vectors. The hot loop of a batch is about an eighth shorter with them. So
//! that loop is compiled twice, and each instance looks once, when it is made, which one it may run.
//!
//! Rust compiles a function for a level only by an attribute on the function itself, and inlines into
//! it whatever is marked so. Hence a trait whose method is always inlined, instead of a closure; and the
//! loop's arguments are arguments all the way, since the compiler only knows of those that they don't
//! overlap.

/// A loop over items, with room for notes and what else it needs, compiled for each level.
pub trait Loop<Item, Notes, Rest> {
    /// Runs. Implementations are `#[inline(always)]`, as is whatever in them is to gain.
    fn run(&mut self, items: &mut [Item], notes: &mut Notes, rest: Rest);
}

/// The level of the processor that this runs on.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Private, and true only if `detect` saw every feature that `run_v3` is compiled for.
    v3: bool,
}

impl Processor {
    /// Looks at the processor.
    #[must_use]
    pub fn detect() -> Processor {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        let v3 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("movbe")
            && is_x86_feature_detected!("popcnt");
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let v3 = false;
        Processor { v3 }
    }

    /// The least that the architecture promises.
    #[cfg(test)]
    #[must_use]
    pub const fn baseline() -> Processor {
        Processor { v3: false }
    }

    /// Runs a loop with all that the processor has.
    #[inline(always)]
    pub fn run<L, I, N, R>(self, work: &mut L, items: &mut [I], notes: &mut N, rest: R)
    where
        L: Loop<I, N, R>,
    {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if self.v3 {
            // SAFETY: `v3` is only set by `detect`, which saw each of the features.
            return unsafe { run_v3(work, items, notes, rest) };
        }
        run_baseline(work, items, notes, rest);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,movbe,popcnt")]
#[inline(never)]
fn run_v3<L: Loop<I, N, R>, I, N, R>(work: &mut L, items: &mut [I], notes: &mut N, rest: R) {
    work.run(items, notes, rest);
}

#[inline(never)]
fn run_baseline<L, I, N, R>(work: &mut L, items: &mut [I], notes: &mut N, rest: R)
where
    L: Loop<I, N, R>,
{
    work.run(items, notes, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts zeros into the notes.
    struct Zeros(u64);

    impl Loop<u64, [u32; 4], u64> for Zeros {
        #[inline(always)]
        fn run(&mut self, items: &mut [u64], notes: &mut [u32; 4], rest: u64) {
            for (item, note) in items.iter_mut().zip(notes) {
                *note = item.leading_zeros();
                *item = item.swap_bytes() ^ rest;
                self.0 += u64::from(item.count_ones());
            }
        }
    }

    #[test]
    fn every_level_gives_the_same() {
        let run = |processor: Processor| {
            let mut items = [0, 1, 0x1234_5678_9abc_def0, u64::MAX];
            let (mut zeros, mut notes) = (Zeros(0), [0; 4]);
            processor.run(&mut zeros, &mut items, &mut notes, 5);
            (zeros.0, items, notes)
        };
        assert_eq!(run(Processor::detect()), run(Processor::baseline()));
    }
}
