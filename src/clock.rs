//! Time, as a value that is passed in.
//!
//! Nothing in the engine reads a clock. The caller of every entry point says what time it is, in
//! milliseconds since any epoch it likes, so a datapath can use the cached clock of its polling
//! loop, a replay can use the clock of a capture, and a test can let a day pass in one line.

/// A point in time: milliseconds since the caller's own epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The largest time that a connection record can hold (48 bits: some 8,900 years).
    pub const MAX: Time = Time((1 << 48) - 1);

    /// A time from milliseconds; what lies beyond [`Time::MAX`] is held at that value.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Time {
        if millis > Time::MAX.0 {
            Time::MAX
        } else {
            Time(millis)
        }
    }

    /// Milliseconds since the caller's epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time plus `millis`, held at [`Time::MAX`].
    #[must_use]
    pub const fn plus(self, millis: u64) -> Time {
        Time::from_millis(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; zero when `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Time::MAX.plus(1), Time::MAX);
        assert_eq!(Time::from_millis(u64::MAX), Time::MAX);
        assert_eq!(Time::from_millis(3).since(Time::from_millis(5)), 0);
        assert_eq!(Time::from_millis(5).since(Time::from_millis(3)), 2);
    }
}
