//! How long a connection may be idle, by timeout class.

use crate::track::Machine;
use crate::track::timeout::Class;

/// The durations of one policy: milliseconds for each class.
#[derive(Clone, Debug)]
pub struct Durations {
    millis: [u64; Class::COUNT],
}

impl Durations {
    /// The defaults of Open vSwitch or of the Linux kernel.
    #[must_use]
    pub fn of_machine(_machine: Machine) -> Durations {
        let mut millis = [0; Class::COUNT];
        for class in Class::ALL {
            millis[class.index()] = u64::from(class.default_seconds()) * 1000;
        }
        Durations { millis }
    }

    /// Milliseconds of idleness that a connection of policy `_policy` in `class` may have.
    #[must_use]
    #[inline]
    pub fn millis(&self, _policy: u16, class: Class) -> u64 {
        self.millis[class.index()]
    }
}
