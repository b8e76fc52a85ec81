//! The simulated device for C: a datapath's own tests offload to it.

use std::ffi::c_int;

use super::convert;
use super::execute::time;
use super::guard::{Failure, guard, invalid};
use super::handle::{conntrack, instance, peek};
use super::types::{ct_offload_sim_behaviour, ct_offload_sim_counts};
use crate::engine::Engine;
use crate::engine::descriptor::ConnectionId;
use crate::offload::provider::{Delivery, Delta, OfferAt, Preferences};
use crate::offload::sim::{Behaviour, Sim};
use crate::sync::Arc;
use crate::tuple::Direction;

/// A simulated device, registered with the name "sim".
#[expect(non_camel_case_types, reason = "its name in C")]
pub struct ct_offload_sim {
    engine: Arc<Engine>,
    sim: Sim,
}

fn device<'a>(handle: *const ct_offload_sim) -> Result<&'a ct_offload_sim, Failure> {
    if handle.is_null() || !handle.is_aligned() {
        return Err(invalid("the simulated device is NULL"));
    }
    // SAFETY: the caller promises a handle that `ct_offload_sim_register` gave and that is not freed.
    Ok(unsafe { &*handle })
}

fn chance(of_256: u32) -> Result<u8, Failure> {
    u8::try_from(of_256).map_err(|_| invalid("a chance of ct_offload_sim_behaviour is beyond 255"))
}

/// Registers a simulated device: it takes time to answer, has room for so many connections, fails,
/// loses answers, brings them out of order, and lies about use, all as `behaviour` says and the same in
/// every run. It is offered connections when their handshake is complete, through a queue. `*out`
/// receives a handle, to be freed before the instance is destroyed.
///
/// Returns 0; EEXIST when it is registered already; EINVAL; E2BIG.
///
/// Threads: any.
///
/// # Safety
/// `ct` is an instance; `behaviour` points to a struct of the size that it says; `out` points to a
/// pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_sim_register(
    ct: *mut conntrack,
    behaviour: *const ct_offload_sim_behaviour,
    now_ms: i64,
    out: *mut *mut ct_offload_sim,
) -> c_int {
    guard(peek(ct), || {
        let ct = instance(ct)?;
        if out.is_null() || !out.is_aligned() {
            return Err(invalid("out is NULL"));
        }
        let behaviour = convert::read(behaviour)?;
        let sim = Sim::new(Behaviour {
            latency: behaviour.latency_ms,
            capacity: behaviour.capacity as usize,
            failing: chance(behaviour.failing)?,
            losing: chance(behaviour.losing)?,
            reordering: chance(behaviour.reordering)?,
            lying: chance(behaviour.lying)?,
            windows: behaviour.windows != 0,
            preferences: Preferences {
                offer_at: OfferAt::HandshakeComplete,
                delivery: Delivery::Queued,
                ..Preferences::default()
            },
            seed: behaviour.seed,
        });
        ct.engine
            .register_provider(Box::new(sim.clone()), time(now_ms))?;
        let handle = ct_offload_sim {
            engine: ct.engine.clone(),
            sim,
        };
        convert::store(out, Box::into_raw(Box::new(handle)))
    })
}

/// Frees a handle. NULL is ignored. The provider itself is unregistered by ct_offload_unregister().
///
/// Threads: any; no other call with this handle may be under way.
///
/// # Safety
/// `sim` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_sim_free(sim: *mut ct_offload_sim) {
    guard(None, || {
        if !sim.is_null() {
            // SAFETY: the caller gives back what `ct_offload_sim_register` made.
            drop(unsafe { Box::from_raw(sim) });
        }
        Ok(())
    });
}

/// Moves the device's clock to `now_ms` and brings the answers that were due to the tracker, late ones
/// too.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `sim` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_sim_run(sim: *mut ct_offload_sim, now_ms: i64) -> c_int {
    guard(None, || {
        let device = device(sim)?;
        let now = time(now_ms);
        for answer in device.sim.run_until(now) {
            // Not found: the connection or the registration ended meanwhile, and nothing happens.
            let _late = device
                .engine
                .complete_offload("sim", answer.id, answer.outcome, now);
        }
        Ok(())
    })
}

/// Packets of a connection arrive at the device: in the reply direction if `reply` is not 0. `*carried`
/// (which may be NULL) becomes 1 when it carried them; otherwise they are for conntrack_execute().
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `sim` is a handle; `carried` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_sim_carry(
    sim: *mut ct_offload_sim,
    connection: u64,
    reply: c_int,
    packets: u64,
    bytes: u64,
    carried: *mut c_int,
) -> c_int {
    guard(None, || {
        let device = device(sim)?;
        let direction = direction(reply);
        let delta = Delta { packets, bytes };
        let took = device.sim.carry(ConnectionId(connection), direction, delta);
        if carried.is_null() {
            return Ok(());
        }
        convert::store(carried, c_int::from(took))
    })
}

const fn direction(reply: c_int) -> Direction {
    if reply == 0 {
        Direction::Original
    } else {
        Direction::Reply
    }
}

/// The device sees a FIN or RST of a connection that it carries, from the replying side if `reply` is
/// not 0. The tracker hears of it with the next report.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `sim` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_sim_close(
    sim: *mut ct_offload_sim,
    connection: u64,
    reply: c_int,
) -> c_int {
    guard(None, || {
        let side = direction(reply);
        device(sim)?.sim.close(ConnectionId(connection), side);
        Ok(())
    })
}

/// What the device counted. The caller sets `counts->size`.
///
/// Returns 0 or EINVAL.
///
/// Threads: any.
///
/// # Safety
/// `sim` is a handle; `counts` points to a struct of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ct_offload_sim_get_counts(
    sim: *mut ct_offload_sim,
    counts: *mut ct_offload_sim_counts,
) -> c_int {
    guard(None, || {
        let device = device(sim)?;
        let told = device.sim.counts();
        convert::write(
            counts,
            &ct_offload_sim_counts {
                size: 0,
                added: told.added,
                deleted: told.deleted,
                strange: told.strange,
                packets: told.packets,
                bytes: told.bytes,
                held: device.sim.connections().len() as u64,
            },
        )
    })
}
