//! Timeout policies: how long a connection may be idle, by what it waits for.
//!
//! A policy has a number and perhaps a name, and sets some *attributes*: those of Open vSwitch's
//! `CT_Timeout_Policy`, and more of nf_conntrack's. What it leaves out is as the instance has it:
//! policy 0, which sets what it is told to and is otherwise built in.
//!
//! A connection remembers which policy it was committed with. The durations are read whenever it is
//! prolonged, so an edited policy acts on living connections with their next packets. A policy that is
//! deleted leaves them as the instance has it, until one of the same number is set again. (These are
//! Open vSwitch's rules.)
//!
//! In a connection's record a policy is a place of 16 bits. A number keeps its place for ever, so
//! nothing must be told about connections when policies come and go, and none ever gets the
//! durations of a stranger; [`MOST`] different numbers are enough for any life.
//!
//! A zone may have a policy, which is used when an action names none; else zone 0's is. The places of
//! the 65,536 zones stand in pages, made when a zone of theirs first gets a policy.
//!
//! Reading takes no lock. Changes take one, and publish a new list when a number is new.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::sync::snapshot::Snapshot;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, lock};
use crate::track::timeout::Class;
use crate::tuple::Zone;

/// Numbers that an instance can know in its life, policy 0 not counted.
pub const MOST: usize = u16::MAX as usize;

/// A duration that is as the instance has it.
const UNSET: u64 = u64::MAX;

/// A policy, as it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its name; empty for none.
    pub name: String,
    /// Seconds by attribute, for those that it sets. See [`attributes`].
    pub seconds: BTreeMap<&'static str, u32>,
}

/// The names of all attributes, each once.
#[must_use]
pub fn attributes() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for name in Class::ALL.iter().map(|class| class.attribute()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The durations of one policy, in milliseconds.
struct Durations([AtomicU64; Class::COUNT]);

impl Durations {
    fn unset() -> Durations {
        Durations(std::array::from_fn(|_| AtomicU64::new(UNSET)))
    }

    fn built_in() -> Durations {
        let durations = Durations::unset();
        durations.set(&Policy::default(), true);
        durations
    }

    fn set(&self, policy: &Policy, built_in: bool) {
        for class in Class::ALL {
            let seconds = policy.seconds.get(class.attribute()).copied();
            let seconds = seconds.or(built_in.then(|| class.default_seconds()));
            let millis = seconds.map_or(UNSET, |seconds| u64::from(seconds) * 1000);
            self.0[class.index()].store(millis, Ordering::Relaxed);
        }
    }
}

/// What the control plane knows.
struct Known {
    policies: BTreeMap<u32, Policy>,
    places: BTreeMap<u32, u16>,
}

/// What readers see.
struct Published {
    /// By place, from 1 on.
    durations: Vec<Arc<Durations>>,
    /// By number.
    places: BTreeMap<u32, u16>,
    /// By place.
    numbers: Vec<u32>,
}

const PAGES: usize = 256;
const PAGE: usize = 256;
/// A zone without a policy.
const NONE: u32 = u32::MAX;

/// The places of the policies of zones. Relaxed: a place orders nothing else.
struct OfZones {
    pages: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

impl OfZones {
    fn new() -> OfZones {
        OfZones {
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
        }
    }

    fn get(&self, zone: Zone) -> Option<u16> {
        let page = self.pages[usize::from(zone) / PAGE].get()?;
        u16::try_from(page[usize::from(zone) % PAGE].load(Ordering::Relaxed)).ok()
    }

    fn set(&self, zone: Zone, place: Option<u16>) {
        let page = self.pages[usize::from(zone) / PAGE]
            .get_or_init(|| (0..PAGE).map(|_| AtomicU32::new(NONE)).collect());
        let place = place.map_or(NONE, u32::from);
        page[usize::from(zone) % PAGE].store(place, Ordering::Relaxed);
    }
}

/// The policies of an instance.
pub struct Policies {
    instance: Durations,
    zones: OfZones,
    published: Snapshot<Published>,
    known: Mutex<Known>,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies::new()
    }
}

impl Policies {
    /// Policy 0 alone, as it is built in.
    #[must_use]
    pub fn new() -> Policies {
        Policies {
            instance: Durations::built_in(),
            zones: OfZones::new(),
            published: Snapshot::new(Published {
                durations: Vec::new(),
                places: BTreeMap::new(),
                numbers: vec![0],
            }),
            known: Mutex::new(Known {
                policies: BTreeMap::from([(0, Policy::default())]),
                places: BTreeMap::from([(0, 0)]),
            }),
        }
    }

    /// Milliseconds of idleness that a connection whose policy has this place may have.
    #[must_use]
    #[inline]
    pub fn millis(&self, place: u16, class: Class) -> u64 {
        if place != 0
            && let Some(millis) = self.own_millis(place, class)
        {
            return millis;
        }
        self.instance.0[class.index()].load(Ordering::Relaxed)
    }

    #[cold]
    fn own_millis(&self, place: u16, class: Class) -> Option<u64> {
        let published = self.published.load();
        let durations = published.durations.get(usize::from(place) - 1)?;
        match durations.0[class.index()].load(Ordering::Relaxed) {
            UNSET => None,
            millis => Some(millis),
        }
    }

    /// The place of the policy for a connection committed in `zone` by an action that names the policy
    /// `number`, or none. A number that was never set is as the instance has it.
    #[must_use]
    pub fn place(&self, zone: Zone, number: Option<u32>) -> u16 {
        match number {
            Some(number) => self.place_of(number),
            None => self.zones.get(zone).or_else(|| self.zones.get(0)),
        }
        .unwrap_or(0)
    }

    /// The place of a policy; `None` when its number was never set.
    #[must_use]
    pub fn place_of(&self, number: u32) -> Option<u16> {
        match number {
            0 => Some(0),
            _ => self.published.load().places.get(&number).copied(),
        }
    }

    /// The number of the policy with this place.
    #[must_use]
    pub fn number(&self, place: u16) -> Option<u32> {
        let published = self.published.load();
        published.numbers.get(usize::from(place)).copied()
    }

    /// Sets a policy, or sets it anew: attributes left out are then as the instance has them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an attribute that does not exist, with its name; [`Error::Exists`] when
    /// another policy has the name; [`Error::Invalid`] after [`MOST`] different numbers.
    pub fn set(&self, number: u32, policy: Policy) -> Result<(), Error> {
        let names = attributes();
        if let Some(name) = policy.seconds.keys().find(|name| !names.contains(name)) {
            return Err(Error::invalid(format!(
                "no timeout attribute is named {name}"
            )));
        }
        let mut known = lock(&self.known);
        let taken = known
            .policies
            .iter()
            .any(|(&other, known)| other != number && known.name == policy.name);
        if !policy.name.is_empty() && taken {
            return Err(Error::Exists(format!(
                "another timeout policy is named {}",
                policy.name
            )));
        }
        let place = match known.places.get(&number) {
            Some(&place) => place,
            None => {
                let place = u16::try_from(known.places.len())
                    .map_err(|_| Error::invalid("too many different timeout policies"))?;
                known.places.insert(number, place);
                place
            }
        };
        match place {
            0 => self.instance.set(&policy, true),
            _ => self.publish(&known, place).set(&policy, false),
        }
        known.policies.insert(number, policy);
        Ok(())
    }

    /// Publishes what is known, with durations at `place` at least, and gives these. Not for place 0.
    fn publish(&self, known: &Known, place: u16) -> Arc<Durations> {
        let mut durations = self.published.load().durations.clone();
        while durations.len() < usize::from(place) {
            durations.push(Arc::new(Durations::unset()));
        }
        let own = durations[usize::from(place) - 1].clone();
        let mut numbers = vec![0; known.places.len()];
        for (&number, &place) in &known.places {
            numbers[usize::from(place)] = number;
        }
        self.published.store(Published {
            durations,
            places: known.places.clone(),
            numbers,
        });
        own
    }

    /// Deletes a policy. Living connections, and zones that have it, are as the instance has it, until
    /// the number is set again. Policy 0 becomes as it is built in.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete(&self, number: u32) -> Result<(), Error> {
        let mut known = lock(&self.known);
        let place = known.places.get(&number).copied();
        if known.policies.remove(&number).is_none() {
            return Err(no_policy(number));
        }
        match place {
            Some(0) | None => {
                self.instance.set(&Policy::default(), true);
                known.policies.insert(0, Policy::default());
            }
            Some(place) => self.publish(&known, place).set(&Policy::default(), false),
        }
        Ok(())
    }

    /// A policy as it was set.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<Policy> {
        lock(&self.known).policies.get(&number).cloned()
    }

    /// The number of the policy with a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        lock(&self.known)
            .policies
            .iter()
            .find_map(|(&number, policy)| {
                (policy.name == name && !name.is_empty()).then_some(number)
            })
    }

    /// The numbers of all policies, ascending.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        lock(&self.known).policies.keys().copied().collect()
    }

    /// Sets the policy of a zone, or takes it away. It acts on connections that are committed from now
    /// on.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such policy.
    pub fn set_zone(&self, zone: Zone, number: Option<u32>) -> Result<(), Error> {
        let known = lock(&self.known);
        let place = match number {
            Some(number) if !known.policies.contains_key(&number) => return Err(no_policy(number)),
            Some(number) => known.places.get(&number).copied(),
            None => None,
        };
        self.zones.set(zone, place);
        Ok(())
    }

    /// The policy that was set for a zone.
    #[must_use]
    pub fn zone(&self, zone: Zone) -> Option<u32> {
        self.number(self.zones.get(zone)?)
    }
}

fn no_policy(number: u32) -> Error {
    Error::NotFound(format!("there is no timeout policy {number}"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn policy(pairs: &[(&'static str, u32)]) -> Policy {
        Policy {
            name: String::new(),
            seconds: pairs.iter().copied().collect(),
        }
    }

    #[test]
    fn every_attribute_of_open_vswitchs_schema_exists() {
        let names = attributes();
        for name in [
            "tcp_syn_sent",
            "tcp_syn_recv",
            "tcp_established",
            "tcp_fin_wait",
            "tcp_close_wait",
            "tcp_last_ack",
            "tcp_time_wait",
            "tcp_close",
            "tcp_syn_sent2",
            "tcp_retransmit",
            "tcp_unack",
            "udp_first",
            "udp_single",
            "udp_multiple",
            "icmp_first",
            "icmp_reply",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_policy_acts_by_its_attributes_and_leaves_the_rest_to_the_instance() {
        let policies = Policies::new();
        policies
            .set(5, policy(&[("udp_single", 7)]))
            .expect("valid");
        let place = policies.place(0, Some(5));
        assert_eq!(policies.millis(place, Class::OtherMultiple), 7000);
        assert_eq!(policies.millis(place, Class::KernelUdp), 7000);
        assert_eq!(policies.millis(place, Class::OtherFirst), 60_000);
        assert_eq!(policies.millis(0, Class::OtherMultiple), 60_000);
        policies.set(0, policy(&[("udp_first", 9)])).expect("valid");
        assert_eq!(policies.millis(place, Class::OtherFirst), 9000);
        assert_eq!(policies.millis(0, Class::OtherFirst), 9000);
    }

    #[test]
    fn setting_a_policy_anew_returns_what_is_left_out_to_the_default() {
        let policies = Policies::new();
        policies
            .set(5, policy(&[("udp_single", 7), ("udp_first", 8)]))
            .expect("valid");
        policies
            .set(5, policy(&[("udp_single", 9)]))
            .expect("valid");
        let place = policies.place(0, Some(5));
        assert_eq!(policies.millis(place, Class::OtherMultiple), 9000);
        assert_eq!(policies.millis(place, Class::OtherFirst), 60_000);
    }

    #[test]
    fn a_deleted_policy_leaves_its_connections_as_the_instance_has_it() {
        let policies = Policies::new();
        policies
            .set(5, policy(&[("udp_single", 7)]))
            .expect("valid");
        let place = policies.place(0, Some(5));
        policies.delete(5).expect("it is there");
        assert_eq!(policies.millis(place, Class::OtherMultiple), 60_000);
        assert!(matches!(policies.delete(5), Err(Error::NotFound(_))));
        policies
            .set(6, policy(&[("udp_single", 3)]))
            .expect("valid");
        assert_eq!(
            policies.millis(place, Class::OtherMultiple),
            60_000,
            "no stranger's"
        );
        policies
            .set(5, policy(&[("udp_single", 8)]))
            .expect("valid");
        assert_eq!(policies.millis(place, Class::OtherMultiple), 8000);
    }

    #[test]
    fn a_zone_falls_back_to_zone_0_and_then_to_the_instance() {
        let policies = Policies::new();
        policies
            .set(5, policy(&[("udp_single", 5)]))
            .expect("valid");
        policies
            .set(6, policy(&[("udp_single", 6)]))
            .expect("valid");
        let millis = |zone| policies.millis(policies.place(zone, None), Class::OtherMultiple);
        assert_eq!(millis(3), 60_000);
        policies.set_zone(0, Some(5)).expect("it is there");
        assert_eq!((millis(0), millis(3)), (5000, 5000));
        policies.set_zone(3, Some(6)).expect("it is there");
        assert_eq!((millis(0), millis(3)), (5000, 6000));
        policies.set_zone(3, None).expect("always");
        policies.set_zone(0, None).expect("always");
        assert_eq!((millis(3), policies.zone(0)), (60_000, None));
        assert!(policies.set_zone(3, Some(9)).is_err());
    }

    #[test]
    fn names_are_unique_and_attributes_known() {
        let policies = Policies::new();
        let named = |name: &str| Policy {
            name: name.into(),
            ..Policy::default()
        };
        policies.set(5, named("web")).expect("valid");
        assert!(matches!(
            policies.set(6, named("web")),
            Err(Error::Exists(_))
        ));
        policies.set(5, named("web")).expect("its own name");
        assert_eq!((policies.find("web"), policies.find("")), (Some(5), None));
        let wrong = policies.set(7, policy(&[("udp_forever", 1)]));
        assert!(wrong.is_err_and(|error| error.to_string().contains("udp_forever")));
        assert_eq!(policies.numbers(), [0, 5]);
    }

    #[test]
    fn the_longest_duration_does_not_wrap() {
        // Open vSwitch multiplies in 32 bits.
        let policies = Policies::new();
        policies
            .set(5, policy(&[("udp_single", u32::MAX)]))
            .expect("valid");
        let place = policies.place(0, Some(5));
        assert_eq!(
            policies.millis(place, Class::OtherMultiple),
            4_294_967_295_000
        );
    }
}
