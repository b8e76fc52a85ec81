//! The opaque handle of an instance: creation, destruction, the optional thread that sweeps.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use super::convert;
use super::guard::{Failure, guard, invalid};
use super::types::{CT_CONFIG_ACCOUNTING, CT_CONFIG_BACKGROUND_SWEEP, ct_config, ct_packet};
use super::workers::Workers;
use crate::clock::Time;
use crate::engine::config::{Config, DEFAULT_MAX_CONNECTIONS, Profile};
use crate::engine::fragments::Reassembly;
use crate::engine::{Budget, Engine};
use crate::error::Error;
use crate::fragment::Limits;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, thread};

/// How often the background thread sweeps, by default: that of Open vSwitch.
const SWEEP_INTERVAL_MS: u32 = 20_000;
/// Records that the background thread looks at before it sees whether it shall stop.
const SLICE: u32 = 65_536;

/// A connection tracker.
#[expect(non_camel_case_types, reason = "its name in C")]
pub struct conntrack {
    pub(super) engine: Arc<Engine>,
    pub(super) poisoned: AtomicBool,
    pub(super) fragments: Reassembly<ct_packet>,
    background: Option<Background>,
    workers: Workers,
}

struct Background {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
}

/// What packet threads and the sweeping thread share.
struct Shared {
    /// The latest time that a caller told.
    now: AtomicU64,
    stop: AtomicBool,
}

impl conntrack {
    pub(super) fn new(config: &Config) -> Result<conntrack, Error> {
        Ok(conntrack {
            engine: Arc::new(Engine::new(config)?),
            poisoned: AtomicBool::new(false),
            fragments: Reassembly::new(Limits::default(), false),
            background: None,
            workers: Workers::default(),
        })
    }

    /// Stops the workers that run, and starts others.
    pub(super) fn set_workers(&self, n: usize) -> Result<(), Error> {
        self.workers.set(&self.engine, n)
    }

    /// Notes the time for the background thread, if there is one.
    #[inline]
    pub(super) fn tell_time(&self, now: Time) {
        if let Some(background) = &self.background {
            let known = &background.shared.now;
            // Written once per millisecond at most, so packet threads don't contend for the line.
            if known.load(Ordering::Relaxed) < now.as_millis() {
                known.store(now.as_millis(), Ordering::Relaxed);
            }
        }
    }

    fn sweep_in_background(&mut self, interval: Duration) -> Result<(), Error> {
        let shared = Arc::new(Shared {
            now: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let (engine, of_thread) = (self.engine.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name("ct_clean".into())
            .spawn(move || sweep_until_told(&engine, &of_thread, interval))
            .map_err(|_| Error::NoMemory)?;
        self.background = Some(Background { shared, thread });
        Ok(())
    }
}

impl Drop for conntrack {
    fn drop(&mut self) {
        if let Some(background) = self.background.take() {
            background.shared.stop.store(true, Ordering::Relaxed);
            background.thread.thread().unpark();
            // A panic of the thread was its own; there is nothing left to save.
            drop(background.thread.join());
        }
        self.workers.stop();
        // Handles of flow tables may still refer to the engine; no provider outlives this call.
        self.engine.close_offload();
    }
}

/// The caller's clock goes on between calls: the latest time told, and what passed since.
fn sweep_until_told(engine: &Engine, shared: &Shared, interval: Duration) {
    let mut told = 0;
    let mut since = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        thread::park_timeout(interval);
        let latest = shared.now.load(Ordering::Relaxed);
        if latest != told {
            told = latest;
            since = Instant::now();
        }
        if told == 0 {
            continue;
        }
        let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Time::from_millis(told).plus(passed);
        loop {
            let swept = engine.sweep(now, Budget { records: SLICE });
            if swept.complete || shared.stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

/// The instance behind a handle.
pub(super) fn instance<'a>(handle: *const conntrack) -> Result<&'a conntrack, Failure> {
    peeked(peek(handle))
}

/// The instance, or nothing: for functions whose guard wants it before it was checked.
#[inline]
pub(super) fn peek<'a>(handle: *const conntrack) -> Option<&'a conntrack> {
    if handle.is_null() || !handle.is_aligned() {
        return None;
    }
    // SAFETY: the caller promises a handle that `conntrack_create` gave and that is not destroyed
    // before this call returns.
    Some(unsafe { &*handle })
}

/// The instance, after a guard had a look at it.
#[inline]
pub(super) fn peeked(instance: Option<&conntrack>) -> Result<&conntrack, Failure> {
    instance.ok_or_else(|| invalid("the instance is NULL"))
}

/// Creates a connection tracker.
///
/// `config` may be NULL for the defaults: profile `ovs`, 3,000,000 connections, no background thread.
/// `*out` receives the instance, to be destroyed with conntrack_destroy().
///
/// Returns 0; EINVAL for a setting out of range or a NULL `out`; E2BIG for a config of a later
/// version with members this one does not know; ENOMEM.
///
/// Threads: any.
///
/// # Safety
/// `config` is NULL or points to a struct of the size that it says; `out` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_create(
    config: *const ct_config,
    out: *mut *mut conntrack,
) -> c_int {
    guard(None, || {
        if out.is_null() {
            return Err(invalid("out is NULL"));
        }
        let mut settings = Config::default();
        let mut interval = SWEEP_INTERVAL_MS;
        let mut background = false;
        if !config.is_null() {
            let config = convert::read(config)?;
            if config.flags & !(CT_CONFIG_ACCOUNTING | CT_CONFIG_BACKGROUND_SWEEP) != 0 {
                return Err(invalid("ct_config.flags has unknown bits"));
            }
            if config.reserved != 0 {
                return Err(invalid("ct_config.reserved is not 0"));
            }
            settings.profile = match config.profile {
                0 => Profile::Ovs,
                1 => Profile::Kernel,
                2 => Profile::Strict,
                _ => return Err(invalid("ct_config.profile is not a CT_PROFILE_*")),
            };
            settings.max_connections = match config.max_connections {
                0 => DEFAULT_MAX_CONNECTIONS,
                limit => limit,
            };
            settings.initial_connections = config.initial_connections;
            settings.accounting = config.flags & CT_CONFIG_ACCOUNTING != 0;
            background = config.flags & CT_CONFIG_BACKGROUND_SWEEP != 0;
            if config.sweep_interval_ms != 0 {
                interval = config.sweep_interval_ms;
            }
        }
        let mut instance = conntrack::new(&settings)?;
        if background {
            instance.sweep_in_background(Duration::from_millis(u64::from(interval)))?;
        }
        convert::store(out, Box::into_raw(Box::new(instance)))
    })
}

/// Destroys a connection tracker and everything it holds. NULL is ignored.
///
/// Threads: no other call on the instance may be under way, and none may follow.
///
/// # Safety
/// `ct` is NULL or an instance that was not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn conntrack_destroy(ct: *mut conntrack) {
    guard(None, || {
        if !ct.is_null() {
            // SAFETY: the caller gives back what `conntrack_create` made, and nobody uses it.
            drop(unsafe { Box::from_raw(ct) });
        }
        Ok(())
    });
}
