//! The control plane's hands on policies and limits.

use super::Engine;
use crate::clock::Time;
use crate::error::Error;
use crate::offload::dispatch::Dispatch;
use crate::offload::provider::Changed;
use crate::policy::limits::ZoneLimit;
use crate::policy::timeouts::Policy;
use crate::tuple::Zone;

impl Engine {
    /// Sets a timeout policy, or sets it anew; number 0 is that of the instance. It acts on living
    /// connections with their next packets.
    ///
    /// # Errors
    /// As [`crate::policy::timeouts::Policies::set`].
    pub fn set_timeout_policy(&self, number: u32, policy: Policy) -> Result<(), Error> {
        self.timeouts.set(number, policy)?;
        self.tell_policy(number);
        Ok(())
    }

    /// Deletes a timeout policy. Connections that have it are then as the instance has it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete_timeout_policy(&self, number: u32) -> Result<(), Error> {
        let place = self.timeouts.place_of(number);
        self.timeouts.delete(number)?;
        self.tell_place(place);
        Ok(())
    }

    fn tell_policy(&self, number: u32) {
        self.tell_place(self.timeouts.place_of(number));
    }

    /// Tells providers of the connections whose timeouts changed. What has no policy of its own goes by
    /// the instance's, place 0.
    fn tell_place(&self, place: Option<u16>) {
        let (Some(place), true) = (place, self.offload.is_active()) else {
            return;
        };
        let mut dispatch = Dispatch::new(&self.offload);
        let mut position = 0;
        while let Some(guard) = self.table.next(&mut position) {
            if guard.policy() == place {
                // The time of what they were told last: no packet caused this.
                dispatch.on_changed(&guard, Changed::Policy, Time::default());
                drop(guard);
                dispatch.deliver(self);
            }
        }
    }

    /// A timeout policy as it was set.
    #[must_use]
    pub fn timeout_policy(&self, number: u32) -> Option<Policy> {
        self.timeouts.get(number)
    }

    /// The number of the timeout policy with a name.
    #[must_use]
    pub fn find_timeout_policy(&self, name: &str) -> Option<u32> {
        self.timeouts.find(name)
    }

    /// The numbers of all timeout policies, ascending.
    #[must_use]
    pub fn timeout_policies(&self) -> Vec<u32> {
        self.timeouts.numbers()
    }

    /// Sets the timeout policy of connections committed in a zone by actions that name none; a zone
    /// without one uses zone 0's, and without that the instance's.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such policy.
    pub fn set_zone_timeout_policy(&self, zone: Zone, number: Option<u32>) -> Result<(), Error> {
        self.timeouts.set_zone(zone, number)
    }

    /// The timeout policy that was set for a zone.
    #[must_use]
    pub fn zone_timeout_policy(&self, zone: Zone) -> Option<u32> {
        self.timeouts.zone(zone)
    }

    /// Sets how many connections a zone may have, or takes its own limit away. A limit of 0 admits
    /// nothing in profile `ovs` and is none in the others. Connections beyond a limit stay.
    pub fn set_zone_limit(&self, zone: Zone, limit: Option<u32>) {
        self.limits.set(zone, limit);
    }

    /// Sets the limit of zones that have none of their own; `None` and 0: there is none.
    pub fn set_default_zone_limit(&self, limit: Option<u32>) {
        self.limits.set_default(limit.filter(|&limit| limit != 0));
    }

    /// The limit of zones that have none of their own.
    #[must_use]
    pub fn default_zone_limit(&self) -> Option<u32> {
        self.limits.default_limit()
    }

    /// Sets how many connections of the whole limit are kept for a zone; 0: none.
    pub fn set_zone_guarantee(&self, zone: Zone, guarantee: u32) {
        self.limits
            .set_guarantee(zone, guarantee, |zone| self.table.zones().epoch(zone));
    }

    /// Limit, guarantee and number of connections of a zone. What was flushed does not count, what
    /// expired counts until it is swept.
    #[must_use]
    pub fn zone_limit(&self, zone: Zone) -> ZoneLimit {
        self.limits.get(zone, self.table.zones().epoch(zone))
    }

    /// The same of all zones that have a limit, a guarantee or connections, ascending.
    #[must_use]
    pub fn zone_limits(&self) -> Vec<ZoneLimit> {
        let mut all = Vec::new();
        self.limits.each(
            |zone| self.table.zones().epoch(zone),
            |limit| all.push(*limit),
        );
        all
    }
}
