//! Cache lines: padding, and asking for one before it is needed.

pub use crossbeam_utils::CachePadded;

/// Bytes of a line.
pub const LINE: usize = 64;

/// Asks the processor to bring the line of `target` into its first-level cache. Never faults.
#[inline(always)]
pub fn prefetch<T>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing architecturally and ignores addresses it cannot reach.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(target.cast()) }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}
