//! A long array that begins as zeros: memory is touched where something is written, not before, and lies in
//! huge pages when there is enough of it.
//!
//! What every packet finds by an index lies in such arrays. On ordinary pages a look-up among tens of
//! thousands of lines waits for the page table as long as for the line. Under the loom model the elements
//! are made one by one, as its atomics are no zeros.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Deref;
use std::ptr::NonNull;

use super::AtomicU64;

/// A huge page.
const HUGE: usize = 2 << 20;

/// What can be made of zeros.
///
/// # Safety
/// All-zero bytes are a value of it, and the same as [`Zeroed::zeroed`]; nothing has to be dropped. Under
/// loom the first need not be.
pub unsafe trait Zeroed: Sized {
    /// It, made of zeros.
    fn zeroed() -> Self;
}

/// A line of words.
#[repr(align(64))]
pub struct Line(pub [AtomicU64; 8]);

// SAFETY: a native atomic has the representation of its number.
unsafe impl Zeroed for Line {
    fn zeroed() -> Line {
        Line(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// An array whose elements begin as zeros.
pub struct Array<T> {
    memory: NonNull<u8>,
    layout: Layout,
    first: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its elements as a boxed slice does.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T: Zeroed> Array<T> {
    /// `len` elements; `None` without the memory.
    #[must_use]
    pub fn new(len: usize) -> Option<Array<T>> {
        let size = Layout::array::<T>(len).ok()?.size();
        let align = if size < HUGE { align_of::<T>() } else { HUGE };
        // Whole pages: what is over is never touched.
        let size = size.checked_next_multiple_of(align)?;
        // Memory of a greater alignment would be zeroed by hand, and touched.
        let layout = Layout::from_size_align(size.checked_add(align)?, 1).ok()?;
        // SAFETY: the layout's size is not zero, as no alignment is.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let ahead = memory.as_ptr().align_offset(align);
        // SAFETY: less than `align` bytes ahead, and so many were allocated beside `size`.
        let first = unsafe { memory.add(ahead) };
        if align == HUGE {
            want_huge_pages(first, size);
        }
        let array = Array {
            memory,
            layout,
            first: first.cast(),
            len,
        };
        #[cfg(loom)]
        for i in 0..len {
            // SAFETY: an element of the array, which has nothing to drop and is nobody else's yet.
            unsafe { array.first.add(i).write(T::zeroed()) };
        }
        Some(array)
    }
}

fn want_huge_pages(first: NonNull<u8>, size: usize) {
    #[cfg(not(any(loom, miri)))]
    // SAFETY: whole huge pages from an aligned address on, inside of what was allocated; advice changes
    // nothing but speed, and a refusal nothing at all.
    unsafe {
        libc::madvise(
            first.as_ptr().cast(),
            size / HUGE * HUGE,
            libc::MADV_HUGEPAGE,
        );
    }
    #[cfg(any(loom, miri))]
    let _ = (first, size);
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: so many elements, aligned and valid since `new`, lie there as long as this lives.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        #[cfg(loom)]
        for i in 0..self.len {
            // SAFETY: elements of the model were written one by one, and nobody uses them any more.
            unsafe { self.first.add(i).drop_in_place() };
        }
        // SAFETY: allocated with this layout, and nobody has a reference into it.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;
    use crate::sync::line::LINE;

    #[test]
    fn an_array_begins_as_zeros_on_whole_lines() {
        for len in [0, 1, 100, (HUGE + HUGE / 2) / size_of::<Line>()] {
            let array = Array::<Line>::new(len).expect("memory");
            assert_eq!((array.len(), array.as_ptr().addr() % LINE), (len, 0));
            let ends = || [array.first(), array.last()].into_iter().flatten();
            for line in ends() {
                assert_eq!(line.0[7].load(Ordering::Relaxed), 0);
            }
            for line in ends() {
                line.0[7].store(9, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Array::<Line>::new(usize::MAX / 64).is_none());
    }
}
