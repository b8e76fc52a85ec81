//! What hardware had done with a packet when it gave up on it.
//!
//! A device that handles some stages of a pipeline hands the rest to software together with a small
//! number, all that its registers have room for. The number stands for a [`Miss`]: the chain
//! (recirculation id) at which to go on, the port, what was already rewritten. The datapath takes a
//! number for each combination that it programs ([`Misses::get`]) and gives it back when it is done
//! ([`Misses::put`]); equal combinations share one, as in NVIDIA's miss contexts and tc's
//! `tcf_exts_init_ex` cookies.
//!
//! Reading is one look into a snapshot. Numbers begin at 1 and are used again only after the last
//! reference to them was given back.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::sync::snapshot::Snapshot;
use crate::sync::{Mutex, lock};

/// Numbers that may be in use at a time: what a 16-bit register holds.
pub const MOST: usize = u16::MAX as usize;

/// Where a packet stands in its pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    /// Chain, or recirculation id, at which the packet goes on.
    pub chain: u32,
    /// Port through which it came.
    pub in_port: u32,
    /// What was rewritten already: the SNAT and DNAT bits of its state.
    pub done: u8,
    /// The datapath's own.
    pub cookie: u64,
}

struct Entry {
    miss: Miss,
    references: u32,
}

#[derive(Default)]
struct Writer {
    numbers: BTreeMap<Miss, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

/// The numbers of an instance.
pub struct Misses {
    current: Snapshot<Vec<Option<Miss>>>,
    writer: Mutex<Writer>,
}

impl Default for Misses {
    fn default() -> Misses {
        Misses {
            current: Snapshot::new(Vec::new()),
            writer: Mutex::default(),
        }
    }
}

impl Misses {
    /// A number for this combination, and a reference to it.
    ///
    /// # Errors
    /// [`Error::Again`] when [`MOST`] are in use.
    pub fn get(&self, miss: &Miss) -> Result<u32, Error> {
        let mut writer = lock(&self.writer);
        if let Some(&number) = writer.numbers.get(miss) {
            if let Some(entry) = &mut writer.entries[number as usize - 1] {
                entry.references += 1;
            }
            return Ok(number);
        }
        let number = match writer.free.pop() {
            Some(number) => number,
            None if writer.entries.len() < MOST => {
                writer.entries.push(None);
                writer.entries.len() as u32
            }
            None => return Err(Error::Again(format!("{MOST} miss contexts are in use"))),
        };
        writer.entries[number as usize - 1] = Some(Entry {
            miss: *miss,
            references: 1,
        });
        writer.numbers.insert(*miss, number);
        self.publish(&writer);
        Ok(number)
    }

    /// Gives a reference back.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the number is not in use.
    pub fn put(&self, number: u32) -> Result<(), Error> {
        let mut writer = lock(&self.writer);
        let absent = || Error::NotFound("no miss context has this number".into());
        let index = (number as usize).checked_sub(1).ok_or_else(absent)?;
        let entry = writer
            .entries
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or_else(absent)?;
        entry.references -= 1;
        if entry.references > 0 {
            return Ok(());
        }
        let miss = entry.miss;
        writer.entries[index] = None;
        writer.numbers.remove(&miss);
        writer.free.push(number);
        self.publish(&writer);
        Ok(())
    }

    /// What a number stands for.
    #[must_use]
    pub fn of(&self, number: u32) -> Option<Miss> {
        let index = (number as usize).checked_sub(1)?;
        self.current.load().get(index).copied().flatten()
    }

    fn publish(&self, writer: &Writer) {
        let all = writer
            .entries
            .iter()
            .map(|entry| entry.as_ref().map(|entry| entry.miss));
        self.current.store(all.collect());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Miss, Misses};

    const ONE: Miss = Miss {
        chain: 7,
        in_port: 1,
        done: 0,
        cookie: 0,
    };

    #[test]
    fn equal_combinations_share_a_number_until_the_last_reference_is_given_back() {
        let misses = Misses::default();
        let number = misses.get(&ONE).expect("the first");
        assert_eq!(misses.get(&ONE), Ok(number));
        let other = misses.get(&Miss { chain: 8, ..ONE }).expect("the second");
        assert_ne!(number, other);
        assert_eq!(misses.of(number), Some(ONE));
        misses.put(number).expect("in use");
        assert_eq!(misses.of(number), Some(ONE));
        misses.put(number).expect("in use");
        assert_eq!(misses.of(number), None);
        assert!(misses.put(number).is_err());
    }

    #[test]
    fn zero_stands_for_nothing() {
        let misses = Misses::default();
        assert_eq!(misses.of(0), None);
        assert!(misses.put(0).is_err());
    }
}
