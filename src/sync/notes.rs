//! Notes on the items of a batch, written in place, each once and each before any is read.
//!
//! What one stage of a batch learns of its items waits in an array for the next. To fill that array with
//! something before took four percent of an established packet's time, and six of a datagram's; a note
//! that is made first and then moved takes more. So the array begins as memory that says nothing, and
//! [`Notes::write`] hands out one place after another and gives the notes back when all of them are written.
//!
//! That they are is shown by types: whoever makes a note gets a [`Blank`], and has to give back a
//! [`Written`]. Only [`Blank::write`] makes one; and since both carry a lifetime that is each time
//! another and no other fits ("branded"), it is the one of this very place.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// Neither longer nor shorter will do.
type Brand<'n> = PhantomData<fn(&'n ()) -> &'n ()>;

/// A place for a note.
pub struct Blank<'n, T> {
    place: &'n mut MaybeUninit<T>,
    brand: Brand<'n>,
}

/// A place with its note.
pub struct Written<'n, T> {
    note: &'n mut T,
    /// Whose place it is.
    _brand: Brand<'n>,
}

impl<T> Deref for Written<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.note
    }
}

impl<T> DerefMut for Written<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        self.note
    }
}

impl<'n, T> Blank<'n, T> {
    /// Writes the note.
    #[inline(always)]
    pub fn write(self, note: T) -> Written<'n, T> {
        Written {
            note: self.place.write(note),
            _brand: self.brand,
        }
    }
}

/// Who makes notes of a kind on items of a kind. (A trait, not a closure, as in [`processor`](super::processor):
/// implementations are `#[inline(always)]`.)
pub trait Maker<I, T> {
    /// Makes a note on an item.
    fn note<'n>(&mut self, item: &I, blank: Blank<'n, T>) -> Written<'n, T>;
}

/// Room for `N` notes.
pub struct Notes<T, const N: usize>([MaybeUninit<T>; N]);

impl<T, const N: usize> Default for Notes<T, N> {
    /// Room that says nothing yet.
    #[inline(always)]
    fn default() -> Self {
        const { assert!(!std::mem::needs_drop::<T>(), "notes are written over") }
        Notes([const { MaybeUninit::uninit() }; N])
    }
}

impl<T, const N: usize> Notes<T, N> {
    /// Makes a note on each item, of the first `N` if there are more. What was written before is forgotten.
    #[inline(always)]
    pub fn write<I>(&mut self, items: &[I], mut maker: impl Maker<I, T>) -> &mut [T] {
        let notes = &mut self.0[..items.len().min(N)];
        for (item, place) in items.iter().zip(notes.iter_mut()) {
            let brand = PhantomData;
            maker.note(item, Blank { place, brand });
        }
        let written = std::ptr::from_mut(notes) as *mut [T];
        // SAFETY: a `MaybeUninit<T>` lies in memory as a `T`. The loop went over all of `notes`, since there
        // are as many items; and each time `maker` gave back what only `Blank::write` of that place makes.
        unsafe { &mut *written }
    }
}

/// Makes a note on a single item.
#[inline(always)]
pub fn note<I, T>(item: &I, mut maker: impl Maker<I, T>) -> T {
    let mut place = MaybeUninit::uninit();
    let blank = Blank {
        place: &mut place,
        brand: PhantomData,
    };
    maker.note(item, blank);
    // SAFETY: as in `Notes::write`.
    unsafe { place.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes twice an item, and where in itself it stands; and how many it was asked for.
    struct Twice<'a>(&'a [u32], usize);

    impl<'a> Maker<u32, (u32, Option<&'a u32>)> for &mut Twice<'a> {
        fn note<'n>(
            &mut self,
            item: &u32,
            blank: Blank<'n, (u32, Option<&'a u32>)>,
        ) -> Written<'n, (u32, Option<&'a u32>)> {
            self.1 += 1;
            let mut written = blank.write((0, self.0.iter().find(|other| *other == item)));
            written.0 = 2 * item;
            written
        }
    }

    #[test]
    fn each_item_gets_its_own_note_and_those_of_the_last_batch_are_gone() {
        let mut notes = Notes::<_, 4>::default();
        let all = [1, 2, 3, 4, 5];
        for items in [&all[..4], &all[2..], &all[..0], &all[..], &all[4..]] {
            let mut maker = Twice(&all, 0);
            let written = notes.write(items, &mut maker);
            let expected = items.iter().take(4).map(|item| (2 * item, Some(item)));
            assert_eq!(written, expected.collect::<Vec<_>>());
            assert_eq!(maker.1, items.len().min(4));
        }
        assert_eq!(note(&3, &mut Twice(&all, 0)), (6, Some(&3)));
    }
}
