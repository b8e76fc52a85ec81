//! Merged flows in providers: offered when they are made, taken back when they are revoked.
//!
//! Callbacks run under the provider's gate, on whatever thread merges or revokes, which is never a
//! packet thread. Callbacks of one flow come in order: add, then statistics, then delete.

use super::gate::Errand;
use super::provider::FlowUse;
use super::registry::{Registered, Registry};
use crate::merge::merged::Made;
use crate::sync::StdArc;

/// Who takes care of the flows that a provider has.
pub trait Flows {
    /// A provider took a flow. `false`: the flow is gone already.
    fn took(&self, number: u64, provider: u32) -> bool;

    /// The flows that this provider has, which are no longer its.
    fn release(&self, provider: u32) -> Vec<u64>;

    /// A provider carried packets of a flow that lives or is gone.
    fn merged_carried(&self, number: u64, used: &FlowUse);
}

impl Registered {
    /// The bit that stands for this provider.
    fn bit(&self) -> u32 {
        1 << self.slot.index()
    }

    fn delete(&self, number: u64, flows: &dyn Flows) {
        let used = self.provider.flow_del(number);
        flows.merged_carried(number, &used);
    }

    /// All its flows come back: nobody may offer it any meanwhile.
    pub(super) fn release_flows(&self, flows: &dyn Flows) {
        for number in flows.release(self.bit()) {
            self.delete(number, flows);
        }
    }
}

/// What came of an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Providers that took it.
    pub taken: u64,
    /// Providers that declined.
    pub declined: u64,
}

impl Registry {
    fn with(&self, provider: u32) -> impl Iterator<Item = StdArc<Registered>> {
        let list = self.load();
        let mut entries = list.providers.clone();
        entries.retain(|entry| entry.bit() & provider != 0);
        entries.into_iter()
    }

    /// Offers a flow to all providers that want flows.
    pub fn offer_flow(&self, flow: &Made, flows: &dyn Flows) -> Offered {
        let mut offered = Offered::default();
        for entry in self.with(u32::MAX) {
            if !entry.preferences.wants_flows {
                continue;
            }
            let Some(_pass) = entry.gate.enter(Errand::Forward) else {
                continue;
            };
            if !entry.provider.flow_add(flow) {
                offered.declined += 1;
            } else if flows.took(flow.number, entry.bit()) {
                offered.taken += 1;
            } else {
                entry.delete(flow.number, flows);
            }
        }
        offered
    }

    /// Tells providers that a flow is gone. How many were told.
    pub fn drop_flow(&self, number: u64, providers: u32, flows: &dyn Flows) -> u64 {
        let mut told = 0;
        for entry in self.with(providers) {
            if let Some(_pass) = entry.gate.enter(Errand::Back) {
                entry.delete(number, flows);
                told += 1;
            }
        }
        told
    }

    /// Asks providers what they carried of a flow since they were asked last.
    pub fn ask_flow(&self, number: u64, providers: u32, flows: &dyn Flows) {
        for entry in self.with(providers) {
            if let Some(_pass) = entry.gate.enter(Errand::Back) {
                let used = entry.provider.flow_stats(number);
                flows.merged_carried(number, &used);
            }
        }
    }
}
