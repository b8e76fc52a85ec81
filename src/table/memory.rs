//! Memory in planes: large, aligned, zeroed, never handed back while the table lives.
//!
//! A plane is one array of cache lines, mapped from the system in multiples of 2 MiB and aligned to
//! them, with transparent huge pages asked for: a look-up in a table of a million connections is a
//! third cheaper on 2 MiB pages than on 4 KiB ones. The system gives zeroed memory, and an all-zero
//! line is a free one, so a plane costs nothing until it is touched. A plane that would not fill one
//! huge page has ordinary ones, so that it does not take more than it needs.
//!
//! Under Miri and the loom model planes come from the allocator.

use super::entry::Line;
use crate::error::Error;

/// A huge page.
#[cfg(not(any(loom, miri)))]
const HUGE: usize = 2 << 20;
/// An ordinary page, as far as sizes go.
#[cfg(not(any(loom, miri)))]
const PAGE: usize = 4096;

/// An array of lines that lives as long as this value.
pub(super) struct Plane<T: Line> {
    first: *mut T,
    len: usize,
}

// SAFETY: a plane owns its memory as a box does; its lines are `Sync` where it matters (atomics), and
// it hands out shared references only.
unsafe impl<T: Line + Send> Send for Plane<T> {}
// SAFETY: as above.
unsafe impl<T: Line + Sync> Sync for Plane<T> {}

impl<T: Line> Plane<T> {
    /// `len` zeroed lines.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    #[cfg(not(any(loom, miri)))]
    pub(super) fn map(len: usize) -> Result<Plane<T>, Error> {
        let (size, unit) = extent::<T>(len);
        let slack = unit - PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the system's choice touches nothing of ours.
        let mapped =
            unsafe { libc::mmap(std::ptr::null_mut(), size + slack, access, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(Error::NoMemory);
        }
        let start = mapped as usize;
        let aligned = start.next_multiple_of(unit);
        unmap(start, aligned - start);
        unmap(aligned + size, start + slack - aligned);
        let first = mapped.wrapping_byte_add(aligned - start);
        if unit == HUGE {
            // SAFETY: the range is ours; a refusal of huge pages changes nothing but speed.
            unsafe { libc::madvise(first, size, libc::MADV_HUGEPAGE) };
        }
        Ok(Plane {
            first: first.cast(),
            len,
        })
    }

    /// `len` zeroed lines.
    #[cfg(any(loom, miri))]
    pub(super) fn map(len: usize) -> Result<Plane<T>, Error> {
        let lines: Box<[T]> = (0..len).map(|_| T::zeroed()).collect();
        Ok(Plane {
            first: Box::into_raw(lines).cast(),
            len,
        })
    }

    /// Touches the first `lines` lines, so that no packet waits for the system to zero them.
    #[cfg(not(any(loom, miri)))]
    pub(super) fn populate(&self, lines: usize) {
        const POPULATE_WRITE: libc::c_int = 23;
        let size = (lines.min(self.len) * size_of::<T>()).next_multiple_of(PAGE);
        // SAFETY: the range is ours, and populating does not change what it holds; where the system
        // does not know the advice it does nothing.
        unsafe { libc::madvise(self.first.cast(), size, POPULATE_WRITE) };
    }

    #[cfg(any(loom, miri))]
    pub(super) fn populate(&self, _lines: usize) {}

    /// The first line; the others follow.
    pub(super) fn as_ptr(&self) -> *mut T {
        self.first
    }
}

/// The bytes that `len` lines take, and the pages of which they are mapped.
#[cfg(not(any(loom, miri)))]
const fn extent<T>(len: usize) -> (usize, usize) {
    let size = len * size_of::<T>();
    let unit = if size < HUGE { PAGE } else { HUGE };
    (size.next_multiple_of(unit), unit)
}

/// Gives a range that was just mapped and never used back to the system.
#[cfg(not(any(loom, miri)))]
fn unmap(start: usize, size: usize) {
    if size > 0 {
        // SAFETY: the caller mapped the range a moment ago and gave no part of it to anybody.
        unsafe { libc::munmap(start as *mut libc::c_void, size) };
    }
}

impl<T: Line> Drop for Plane<T> {
    #[cfg(not(any(loom, miri)))]
    fn drop(&mut self) {
        let (size, _) = extent::<T>(self.len);
        // SAFETY: the plane owns the range, and whoever drops it has no reference into it left:
        // references borrow the table that owns the plane.
        unsafe { libc::munmap(self.first.cast(), size) };
    }

    #[cfg(any(loom, miri))]
    fn drop(&mut self) {
        let lines = std::ptr::slice_from_raw_parts_mut(self.first, self.len);
        // SAFETY: `map` made this box and nobody else frees it.
        drop(unsafe { Box::from_raw(lines) });
    }
}
