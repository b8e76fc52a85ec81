//! A value that is replaced whole and read without a lock.
//!
//! Tables of policies and the list of providers change a few times a day and are read by every
//! batch. A writer builds a new value and publishes it; a reader gets whichever was current and keeps
//! it alive as long as it looks. This is arc-swap behind three methods, because arc-swap cannot run
//! under the model: there, a mutex stands in its place.

use super::Arc;

/// A shared, replaceable value.
pub struct Snapshot<T> {
    #[cfg(not(loom))]
    current: arc_swap::ArcSwap<T>,
    #[cfg(loom)]
    current: super::Mutex<Arc<T>>,
}

/// A value that a reader keeps as long as it looks.
#[cfg(not(loom))]
pub type Loaded<T> = arc_swap::Guard<Arc<T>>;
/// A value that a reader keeps as long as it looks.
#[cfg(loom)]
pub type Loaded<T> = Arc<T>;

impl<T> Snapshot<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> Snapshot<T> {
        #[cfg(not(loom))]
        let current = arc_swap::ArcSwap::from_pointee(value);
        #[cfg(loom)]
        let current = super::Mutex::new(Arc::new(value));
        Snapshot { current }
    }

    /// The current value.
    #[cfg(not(loom))]
    pub fn load(&self) -> Loaded<T> {
        self.current.load()
    }

    /// The current value.
    #[cfg(loom)]
    pub fn load(&self) -> Loaded<T> {
        super::lock(&self.current).clone()
    }

    /// Publishes a new value. Readers that began before may still look at the old one.
    pub fn store(&self, value: T) {
        #[cfg(not(loom))]
        self.current.store(Arc::new(value));
        #[cfg(loom)]
        {
            *super::lock(&self.current) = Arc::new(value);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Snapshot;

    #[test]
    fn a_reader_keeps_what_it_loaded() {
        let snapshot = Snapshot::new(1);
        let before = snapshot.load();
        snapshot.store(2);
        assert_eq!((**before, **snapshot.load()), (1, 2));
    }
}
