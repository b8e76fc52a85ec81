//! The gate in front of a provider: who is inside, and when is nobody any more?
//!
//! Every callback runs under a [`Pass`]. Shutting the gate and then waiting until it is empty gives the
//! promise of `unregister`: no callback runs and none will. Entering costs one atomic addition to a
//! line that only threads of the same stripe touch, so that packet threads don't meet here.
//!
//! Entering writes the count and then reads the state; shutting writes the state and then reads the
//! counts. Two fences stand between: at least one of the two sees the other.

use crossbeam_utils::{Backoff, CachePadded};

use crate::sync::stripe::{self, STRIPES};
use crate::sync::{AtomicU64, Ordering, Site, fence, inside, ordering, pause, takes_step};

/// No new connections: offload is switched off. Deletes still pass.
const SHUT: u64 = 1;
/// The provider is leaving: nothing passes.
const RETIRED: u64 = 2;

/// What a callback is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// A connection gets further into the provider.
    Forward,
    /// A connection comes back, or is asked about.
    Back,
}

impl Errand {
    const fn barred_by(self) -> u64 {
        match self {
            Errand::Forward => SHUT | RETIRED,
            Errand::Back => RETIRED,
        }
    }
}

/// The gate of one provider.
pub(super) struct Gate {
    state: AtomicU64,
    inside: Box<[CachePadded<AtomicU64>]>,
}

/// The right to call a provider; given back when dropped.
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    stripe: usize,
}

/// Orders what this thread did before what it reads next, for all threads.
fn after_all() {
    if takes_step(Site::GateFence) {
        fence(Ordering::SeqCst);
    }
}

impl Gate {
    /// An open gate.
    pub(super) fn new() -> Gate {
        Gate {
            state: AtomicU64::new(0),
            inside: (0..STRIPES)
                .map(|_| CachePadded::new(AtomicU64::new(0)))
                .collect(),
        }
    }

    /// Addresses are unique as long as somebody is inside.
    fn token(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Enters, unless the gate is closed for this errand.
    pub(super) fn enter(&self, errand: Errand) -> Option<Pass<'_>> {
        let stripe = stripe::current();
        self.inside[stripe].fetch_add(1, Ordering::Relaxed);
        inside::enter(self.token());
        let pass = Pass { gate: self, stripe };
        after_all();
        // Acquire: whoever sees the gate opened again sees what was done while it was shut.
        let open = self.state.load(Ordering::Acquire) & errand.barred_by() == 0;
        open.then_some(pass)
    }

    /// Lets nobody in who brings connections.
    pub(super) fn shut(&self) {
        self.state.fetch_or(SHUT, Ordering::AcqRel);
        after_all();
    }

    /// Lets everybody in again, unless the provider is leaving.
    pub(super) fn open(&self) {
        self.state.fetch_and(!SHUT, Ordering::AcqRel);
    }

    /// Lets nobody in, for good.
    pub(super) fn retire(&self) {
        self.state.fetch_or(RETIRED, Ordering::AcqRel);
        after_all();
    }

    /// The calling thread is inside another gate than this one.
    pub(super) fn is_elsewhere(&self) -> bool {
        let (here, anywhere) = inside::depth(self.token());
        anywhere > here
    }

    /// Waits until nobody is inside but, perhaps, the calling thread.
    pub(super) fn wait(&self) {
        let (own, _) = inside::depth(self.token());
        let backoff = Backoff::new();
        loop {
            // Acquire: pairs with the Release of whoever left.
            let count: u64 = self
                .inside
                .iter()
                .map(|stripe| stripe.load(Ordering::Acquire))
                .sum();
            if count <= own as u64 {
                return;
            }
            pause(&backoff);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        inside::leave(self.gate.token());
        // Release: what the callback did happens before the end of `wait`.
        self.gate.inside[self.stripe].fetch_sub(1, ordering(Site::GateLeave, Ordering::Release));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Errand, Gate};

    #[test]
    fn a_shut_gate_lets_connections_out_but_not_in() {
        let gate = Gate::new();
        gate.shut();
        assert!(gate.enter(Errand::Forward).is_none());
        assert!(gate.enter(Errand::Back).is_some());
        gate.open();
        assert!(gate.enter(Errand::Forward).is_some());
    }

    #[test]
    fn a_retired_gate_stays_closed() {
        let gate = Gate::new();
        gate.retire();
        gate.open();
        assert!(gate.enter(Errand::Back).is_none());
        gate.wait();
    }

    #[test]
    fn who_is_inside_does_not_wait_for_itself() {
        let (gate, other) = (Gate::new(), Gate::new());
        let pass = gate.enter(Errand::Forward).expect("open");
        gate.retire();
        gate.wait();
        assert!(!gate.is_elsewhere() && other.is_elsewhere());
        drop(pass);
        assert!(!other.is_elsewhere());
    }
}
