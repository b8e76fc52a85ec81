//! A simulated device: takes time, has room for so many connections, loses answers, brings them late
//! and out of order, and lies. For tests of this engine, and of whoever drives it.
//!
//! The device has a clock of its own: [`Sim::run_until`] moves it. An add is answered with
//! [`Taken::Later`]; the answer is due after the latency, and [`Sim::run_until`] hands out the answers
//! that came, for the caller to pass on. Packets are carried by [`Sim::carry`], which counts them for
//! the next report, exactly once.

use std::collections::BTreeMap;

use super::provider::{
    Context, Delivery, Delta, OfferAt, Preferences, Provider, Refusal, Report, Taken, TcpSide,
};
use crate::clock::Time;
use crate::sync::{Arc, Mutex, lock};
use crate::tuple::{ConnectionId, Direction};

/// How the device behaves. Chances are out of 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Milliseconds until an add is answered; zero: at once, in the callback.
    pub latency: u64,
    /// Connections that it has room for; zero: no limit.
    pub capacity: usize,
    /// Chance that an add fails.
    pub failing: u8,
    /// Chance that the answer to an add never comes.
    pub losing: u8,
    /// Chance that an answer takes three times as long, so that others overtake it.
    pub reordering: u8,
    /// Chance that it claims that an idle connection was used a moment ago.
    pub lying: u8,
    /// It tracks TCP windows and reports them.
    pub windows: bool,
    /// What it wants of the engine.
    pub preferences: Preferences,
    /// Where its chances begin.
    pub seed: u64,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            latency: 1,
            capacity: 0,
            failing: 0,
            losing: 0,
            reordering: 0,
            lying: 0,
            windows: false,
            preferences: Preferences {
                offer_at: OfferAt::HandshakeComplete,
                delivery: Delivery::Queued,
                ..Preferences::default()
            },
            seed: 1,
        }
    }
}

/// The answer to an add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of which connection.
    pub id: ConnectionId,
    /// What came of it.
    pub outcome: Result<(), Refusal>,
}

/// What it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Adds that it accepted.
    pub added: u64,
    /// Deletes.
    pub deleted: u64,
    /// Deletes of connections that it did not have: never, unless the engine is wrong.
    pub strange: u64,
    /// Packets that it carried.
    pub packets: u64,
    /// Bytes that it carried.
    pub bytes: u64,
}

struct Rule {
    last_used: Option<Time>,
    unreported: [Delta; 2],
    closing: [bool; 2],
    tcp: Option<[TcpSide; 2]>,
}

#[derive(Default)]
struct Device {
    clock: Time,
    random: u64,
    counts: Counts,
    rules: BTreeMap<ConnectionId, Rule>,
    /// Answers by when they are due; the second number keeps them apart.
    due: BTreeMap<(Time, u64), Answer>,
    answers: u64,
}

impl Device {
    /// Happens with this chance out of 256 (xorshift64*).
    fn chance(&mut self, of: u8) -> bool {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let byte = (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8;
        byte < of
    }
}

/// A handle to the device; clones share it.
#[derive(Clone)]
pub struct Sim {
    device: Arc<Mutex<Device>>,
    behaviour: Behaviour,
}

impl Sim {
    /// A device.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> Sim {
        Sim {
            device: Arc::new(Mutex::new(Device {
                random: behaviour.seed | 1,
                ..Device::default()
            })),
            behaviour,
        }
    }

    /// Moves the device's clock. Returns the answers that were due, in the order in which they come.
    pub fn run_until(&self, now: Time) -> Vec<Answer> {
        let mut device = lock(&self.device);
        device.clock = device.clock.max(now);
        let after = (device.clock.plus(1), 0);
        let later = device.due.split_off(&after);
        let due = std::mem::replace(&mut device.due, later);
        due.into_values().collect()
    }

    /// Packets of a connection arrive at the device. Whether it carried them.
    pub fn carry(&self, id: ConnectionId, direction: Direction, carried: Delta) -> bool {
        let mut device = lock(&self.device);
        let clock = device.clock;
        let Some(rule) = device.rules.get_mut(&id) else {
            return false;
        };
        rule.last_used = Some(clock);
        let unreported = &mut rule.unreported[direction as usize];
        unreported.packets += carried.packets;
        unreported.bytes += carried.bytes;
        device.counts.packets += carried.packets;
        device.counts.bytes += carried.bytes;
        true
    }

    /// The device sees a FIN or RST of a connection that it carries.
    pub fn close(&self, id: ConnectionId, side: Direction) {
        if let Some(rule) = lock(&self.device).rules.get_mut(&id) {
            rule.closing[side as usize] = true;
        }
    }

    /// What it counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.device).counts
    }

    /// Connections that it carries.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionId> {
        lock(&self.device).rules.keys().copied().collect()
    }

    /// It carries this connection.
    #[must_use]
    pub fn contains(&self, id: ConnectionId) -> bool {
        lock(&self.device).rules.contains_key(&id)
    }
}

impl Rule {
    fn report(&mut self) -> Report {
        Report {
            last_used: self.last_used,
            carried: std::mem::take(&mut self.unreported),
            closing: self.closing,
            tcp: None,
        }
    }
}

impl Provider for Sim {
    fn name(&self) -> &str {
        "sim"
    }

    fn preferences(&self) -> Preferences {
        self.behaviour.preferences
    }

    fn conn_add(&self, context: &Context) -> Result<Taken, Refusal> {
        let behaviour = &self.behaviour;
        let mut device = lock(&self.device);
        device.clock = device.clock.max(context.now);
        if behaviour.capacity != 0 && device.rules.len() >= behaviour.capacity {
            return Err(Refusal::Full);
        }
        if device.chance(behaviour.failing) {
            return Err(Refusal::Never);
        }
        let rule = Rule {
            last_used: None,
            unreported: [Delta::default(); 2],
            closing: [false; 2],
            tcp: context.tcp,
        };
        device.rules.insert(context.id, rule);
        device.counts.added += 1;
        if behaviour.latency == 0 {
            return Ok(Taken::Now);
        }
        if !device.chance(behaviour.losing) {
            let slow = if device.chance(behaviour.reordering) {
                3
            } else {
                1
            };
            device.answers += 1;
            let at = (device.clock.plus(behaviour.latency * slow), device.answers);
            let answer = Answer {
                id: context.id,
                outcome: Ok(()),
            };
            device.due.insert(at, answer);
        }
        Ok(Taken::Later)
    }

    fn conn_update(&self, context: &Context) -> Report {
        let mut device = lock(&self.device);
        let lie = device.chance(self.behaviour.lying);
        let Some(rule) = device.rules.get_mut(&context.id) else {
            return Report::default();
        };
        let mut report = rule.report();
        if lie {
            report.last_used = Some(Time::MAX);
        }
        report
    }

    fn conn_del(&self, context: &Context) -> Report {
        let mut device = lock(&self.device);
        device.counts.deleted += 1;
        let Some(mut rule) = device.rules.remove(&context.id) else {
            device.counts.strange += 1;
            return Report::default();
        };
        let mut report = rule.report();
        if self.behaviour.windows {
            report.tcp = rule.tcp;
        }
        report
    }
}
