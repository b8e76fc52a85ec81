//! A lock for a handful of instructions: one byte's worth of state, no system call.
//!
//! Used where a thread's own data must still be safe when another thread shares its stripe, so the
//! lock is nearly always free.

use crossbeam_utils::Backoff;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use super::{AtomicBool, Ordering, pause};

/// A value behind a spin lock.
pub struct Spin<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a guard, and only one guard exists at a time, so sharing
// the lock moves the value between threads: that needs `T: Send` and nothing more.
unsafe impl<T: Send> Sync for Spin<T> {}

impl<T> Spin<T> {
    /// An unlocked value.
    pub fn new(value: T) -> Spin<T> {
        Spin {
            locked: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Locks.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let backoff = Backoff::new();
        // Acquire: pairs with the Release in `SpinGuard::drop`.
        while self.locked.swap(true, Ordering::Acquire) {
            pause(&backoff);
        }
        SpinGuard { spin: self }
    }

    /// Locks if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        // Acquire: as in `lock`. A guard may only come into being when the lock was free: dropping one
        // unlocks.
        (!self.locked.swap(true, Ordering::Acquire)).then(|| SpinGuard { spin: self })
    }
}

/// The right to the value; gives it back when dropped.
pub struct SpinGuard<'a, T> {
    spin: &'a Spin<T>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one, so nobody writes the value while it is borrowed.
        unsafe { &*self.spin.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one and is borrowed mutably, so nobody else sees the value.
        unsafe { &mut *self.spin.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // Release: what was written under the lock happens before the next `lock`.
        self.spin.locked.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Spin;

    #[test]
    fn increments_under_the_lock_are_not_lost() {
        let spin = Spin::new(0_u32);
        let rounds = if cfg!(miri) { 20 } else { 10_000 };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..rounds).for_each(|_| *spin.lock() += 1));
            }
        });
        assert_eq!(*spin.lock(), 3 * rounds);
    }

    #[test]
    fn a_held_lock_cannot_be_tried_however_often() {
        let spin = Spin::new(());
        let held = spin.lock();
        assert!(spin.try_lock().is_none());
        // A failed attempt must not have given the holder's lock away.
        assert!(spin.try_lock().is_none());
        drop(held);
        assert!(spin.try_lock().is_some());
    }
}
