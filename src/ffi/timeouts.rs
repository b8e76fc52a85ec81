//! Timeout policies: numbered, named, and of zones.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int};

use super::convert;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::ct_timeout_policy;
use crate::policy::timeouts::Policy;

/// Attributes by CT_TP_ATTR_*.
const ATTRIBUTES: [&str; 27] = [
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
    "generic",
    "gre",
    "gre_stream",
    "sctp_closed",
    "sctp_cookie_wait",
    "sctp_cookie_echoed",
    "sctp_established",
    "sctp_shutdown_sent",
    "sctp_shutdown_recd",
    "sctp_shutdown_ack_sent",
    "sctp_heartbeat_sent",
];

fn from_c(policy: &ct_timeout_policy) -> Result<Policy, Failure> {
    if policy.present >> ATTRIBUTES.len() != 0 {
        return Err(invalid("ct_timeout_policy.present has unknown bits"));
    }
    if policy.seconds[ATTRIBUTES.len()..]
        .iter()
        .any(|&seconds| seconds != 0)
    {
        return Err(invalid(
            "ct_timeout_policy.seconds: the last members must be 0",
        ));
    }
    let name = CStr::from_bytes_until_nul(&policy.name)
        .map_err(|_| invalid("ct_timeout_policy.name has no NUL"))?;
    let name = name
        .to_str()
        .map_err(|_| invalid("ct_timeout_policy.name is not UTF-8"))?;
    let seconds: BTreeMap<&'static str, u32> = ATTRIBUTES
        .iter()
        .enumerate()
        .filter(|(at, _)| policy.present >> at & 1 != 0)
        .map(|(at, name)| (*name, policy.seconds[at]))
        .collect();
    Ok(Policy {
        name: name.to_owned(),
        seconds,
    })
}

fn to_c(id: u32, policy: &Policy) -> ct_timeout_policy {
    let mut value = ct_timeout_policy {
        size: 0,
        id,
        present: 0,
        seconds: [0; 32],
        name: convert::text(&policy.name),
    };
    for (at, attribute) in ATTRIBUTES.iter().enumerate() {
        if let Some(&seconds) = policy.seconds.get(attribute) {
            value.present |= 1 << at;
            value.seconds[at] = seconds;
        }
    }
    value
}

/// Sets the timeout policy `policy->id`, or sets it anew: what is not in `present` is then as policy 0
/// says. It acts on living connections with their next packets. Policy 0 is the instance's own, for
/// connections without a policy.
///
/// Returns 0; EINVAL for unknown attributes or a name without NUL, and after 65,535 different numbers;
/// EEXIST when another policy has the name; E2BIG.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `policy` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_timeout_policy(
    ct: *mut conntrack,
    policy: *const ct_timeout_policy,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let policy = convert::read(policy)?;
        Ok(engine.set_timeout_policy(policy.id, from_c(&policy)?)?)
    })
}

/// Tells a timeout policy as it was set. The caller sets `policy->size`.
///
/// Returns 0, EINVAL, or ENOENT.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `policy` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_timeout_policy(
    ct: *mut conntrack,
    id: u32,
    policy: *mut ct_timeout_policy,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        convert::checked_size(policy)?;
        let found = engine.timeout_policy(id).ok_or(NO_POLICY)?;
        convert::write(policy, &to_c(id, &found))
    })
}

/// Deletes a timeout policy. Living connections and zones that have it are as policy 0 says, until one
/// with the number is set again. Policy 0 becomes as it is built in.
///
/// Returns 0, EINVAL, or ENOENT.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_delete_timeout_policy(ct: *mut conntrack, id: u32) -> c_int {
    guard(peek(ct), || {
        Ok(instance(ct)?.engine.delete_timeout_policy(id)?)
    })
}

/// Tells the number of the timeout policy with a name.
///
/// Returns 0, EINVAL, or ENOENT.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `name` is a NUL-terminated text; `id` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_find_timeout_policy(
    ct: *mut conntrack,
    name: *const c_char,
    id: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        if name.is_null() {
            return Err(invalid("name is NULL"));
        }
        // SAFETY: the pointer is not NULL, and the caller promises a NUL-terminated text.
        let name = unsafe { CStr::from_ptr(name) };
        // No policy has a name that is not UTF-8.
        let found = name
            .to_str()
            .ok()
            .and_then(|name| engine.find_timeout_policy(name));
        convert::store(id, found.ok_or(NO_POLICY)?)
    })
}

/// Fills `ids` with the numbers of up to `n` timeout policies, ascending, and `*total` with how many
/// there are. `ids` may be NULL when `n` is 0.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `ids` has room for `n` numbers; `total` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_timeout_policies(
    ct: *mut conntrack,
    ids: *mut u32,
    n: usize,
    total: *mut usize,
) -> c_int {
    guard(peek(ct), || {
        let numbers = instance(ct)?.engine.timeout_policies();
        convert::store_list(numbers.into_iter(), ids, n, total)
    })
}

/// Sets the timeout policy of connections that are committed in `zone` by actions that name none; with
/// `id` NULL, takes it away. A zone without one uses that of zone 0, and without that policy 0.
///
/// Returns 0, EINVAL, or ENOENT when there is no such policy.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `id` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_zone_timeout_policy(
    ct: *mut conntrack,
    zone: u16,
    id: *const u32,
) -> c_int {
    guard(peek(ct), || {
        let engine = &instance(ct)?.engine;
        let id = if id.is_null() {
            None
        } else {
            Some(convert::value(id)?)
        };
        Ok(engine.set_zone_timeout_policy(zone, id)?)
    })
}

/// Tells the timeout policy that was set for a zone.
///
/// Returns 0, EINVAL, or ENOENT when it has none of its own.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `id` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_zone_timeout_policy(
    ct: *mut conntrack,
    zone: u16,
    id: *mut u32,
) -> c_int {
    guard(peek(ct), || {
        let found = instance(ct)?.engine.zone_timeout_policy(zone);
        convert::store(id, found.ok_or(NO_POLICY)?)
    })
}

const NO_POLICY: Failure = Failure::Errno(libc::ENOENT, "there is no such timeout policy");

#[cfg(test)]
mod tests {
    use super::ATTRIBUTES;
    use crate::policy::timeouts::attributes;

    #[test]
    fn every_attribute_of_the_engine_has_a_number_once() {
        let mut numbered = ATTRIBUTES.to_vec();
        let mut known = attributes();
        numbered.sort_unstable();
        known.sort_unstable();
        assert_eq!(numbered, known);
    }
}
