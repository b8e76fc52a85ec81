//! Fragments: settings, counts, and the way back of those that were held.

use std::ffi::c_int;

use super::convert;
use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::{ct_ipf, ct_ipf_counts, ct_ipf_status, ct_packet};
use crate::engine::fragments::Reassembly;
use crate::fragment::{Count, Limits};
use crate::packet::Family;

/// What was set, and the defaults for the rest.
fn limits_from_c(settings: &ct_ipf) -> Limits {
    let default = Limits::default();
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    let or16 = |value: u16, default: u16| if value == 0 { default } else { value };
    Limits {
        fragments: or(u64::from(settings.max_frags), u64::from(default.fragments)) as u32,
        bytes: or(settings.max_bytes, default.bytes),
        smallest_v4: or16(settings.min_v4_frag_size, default.smallest_v4),
        smallest_v6: or16(settings.min_v6_frag_size, default.smallest_v6),
        lifetime: or(u64::from(settings.lifetime_ms), default.lifetime),
        longest: or(u64::from(settings.max_packet), u64::from(default.longest)) as u32,
    }
}

fn counts_of(reassembly: &Reassembly<ct_packet>, family: Family) -> ct_ipf_counts {
    let count = |count| reassembly.reassembler().count(family, count);
    ct_ipf_counts {
        accepted: count(Count::Accepted),
        completed: count(Count::Completed),
        expired: count(Count::Expired),
        too_small: count(Count::TooSmall),
        overlapping: count(Count::Overlapping),
        full: count(Count::Full),
        flushed: count(Count::Flushed),
    }
}

/// Says how fragments are dealt with. Until it is called none are held, and every fragment is
/// CT_STATE_INVALID.
///
/// Once reassembly is on, conntrack_execute() may leave packets with CT_VERDICT_HELD: fragments that
/// wait for the others of their datagram. Such a packet, its bytes and its `orig_tuple` must stay where
/// they are; the descriptor itself was copied. When the last fragment comes it gets its verdict like any
/// packet, and the others get the same one and are there for conntrack_take_fragments(). Headers that
/// are translated are translated in every fragment; sizes stay as they were.
///
/// Returns 0; EINVAL for a value out of range; E2BIG.
///
/// Threads: any. What is held already stays held.
///
/// # Safety
/// `ct` is an instance; `settings` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_set_ipf(ct: *mut conntrack, settings: *const ct_ipf) -> c_int {
    guard(peek(ct), || {
        let fragments = &instance(ct)?.fragments;
        let settings = convert::read(settings)?;
        if settings.v4 > 1 || settings.v6 > 1 {
            return Err(invalid("ct_ipf: v4 and v6 are 0 or 1"));
        }
        fragments.set_limits(limits_from_c(&settings))?;
        let reassembler = fragments.reassembler();
        reassembler.set_enabled(Family::V4, settings.v4 == 1);
        reassembler.set_enabled(Family::V6, settings.v6 == 1);
        Ok(())
    })
}

/// Tells how fragments are dealt with, and what was counted.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `status` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_get_ipf_status(
    ct: *mut conntrack,
    status: *mut ct_ipf_status,
) -> c_int {
    guard(peek(ct), || {
        let fragments = &instance(ct)?.fragments;
        let reassembler = fragments.reassembler();
        let limits = reassembler.limits();
        let value = ct_ipf_status {
            size: 0,
            v4: u32::from(reassembler.enabled(Family::V4)),
            v6: u32::from(reassembler.enabled(Family::V6)),
            max_frags: limits.fragments,
            frags: reassembler.held(),
            min_v4_frag_size: limits.smallest_v4,
            min_v6_frag_size: limits.smallest_v6,
            lifetime_ms: limits.lifetime as u32,
            max_bytes: limits.bytes,
            counts_v4: counts_of(fragments, Family::V4),
            counts_v6: counts_of(fragments, Family::V6),
            max_packet: limits.longest,
            reserved: 0,
        };
        convert::write(status, &value)
    })
}

/// Gives back fragments that were held: up to `n` descriptors, as they were handed in, with their
/// verdicts; `*taken` receives how many. To be called after conntrack_execute(), and now and then when
/// no packets come. Fragments whose datagram did not become whole in its time are CT_STATE_INVALID.
///
/// Returns 0 or EINVAL.
///
/// Threads: any; each fragment is given back once.
///
/// # Safety
/// `ct` is an instance; `packets` has room for `n` packets; `taken` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_take_fragments(
    ct: *mut conntrack,
    now_ms: i64,
    packets: *mut ct_packet,
    n: usize,
    taken: *mut usize,
) -> c_int {
    guard(peek(ct), || {
        let fragments = &instance(ct)?.fragments;
        convert::store(taken, 0)?;
        let places = convert::batch(packets, n)?;
        fragments.expire(time(now_ms));
        let mut count = 0;
        for place in places {
            let Some(packet) = fragments.take() else {
                break;
            };
            *place = packet;
            count += 1;
        }
        convert::store(taken, count)
    })
}

/// Gives up all datagrams that are not whole. Their fragments are there for
/// conntrack_take_fragments(); to be called before conntrack_destroy(), which forgets what is held.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_flush_fragments(ct: *mut conntrack) -> c_int {
    guard(peek(ct), || {
        instance(ct)?.fragments.flush();
        Ok::<(), Failure>(())
    })
}
