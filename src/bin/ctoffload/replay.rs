//! Packets of captures through the engine, by the clock of the capture.
//!
//! Time is milliseconds since the first packet and never goes back, whatever the time stamps do.
//! With several threads, packets are dealt out by their pair of hosts: each connection, its fragments
//! and its helper's data connections see their packets in order and on one thread, so verdicts, events
//! and listings are those of one thread. What depends on all connections at once, a full table, is
//! the exception.
//!
//! Fragments are held until their datagram is whole; their verdicts are told then.

use crate::capture::Packet;
use crate::filter::{Filter, Subject};
use crate::flow;
use crate::watch::{Change, Watch};
use ctoffload::clock::Time;
use ctoffload::engine::action::{Action, Helper};
use ctoffload::engine::config::{Config, Profile};
use ctoffload::engine::descriptor::{ConnectionId, Frame, Metadata, state};
use ctoffload::engine::flow::FlowTableRef;
use ctoffload::engine::fragments::Reassembly;
use ctoffload::engine::listing::Connection;
use ctoffload::engine::{Budget, Cursor, Engine};
use ctoffload::error::Error;
use ctoffload::fragment::Limits;
use ctoffload::offload::dummy::Dummy;
use ctoffload::offload::provider::{OfferAt, Preferences};
use ctoffload::offload::registry::Standing;
use ctoffload::packet::proto;
use ctoffload::policy::timeouts::Policy;
use ctoffload::reason::Reason;
use ctoffload::tuple::{Tuple, Zone};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

/// Packets that are dealt out to the threads at a time.
const ROUND: usize = 4096;
/// Records that one sweep looks at, and sweeps at most between two packets.
const SWEEP: Budget = Budget { records: 4096 };
const SWEEPS: usize = 64;
/// Milliseconds between sweeps.
const SWEEP_INTERVAL: u64 = 1000;

/// Which new connections are stored.
#[derive(Clone, Debug)]
pub enum Commit {
    /// All.
    New,
    /// None.
    Never,
    /// Those whose first packet passes.
    Matching(Filter),
}

/// How captures are replayed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Settings of the engine.
    pub config: Config,
    /// Checksums are verified.
    pub verify_checksums: bool,
    /// Zone of all packets.
    pub zone: Zone,
    /// Which connections are stored.
    pub commit: Commit,
    /// Helpers, each with the destination port of its control connections.
    pub helpers: Vec<(Helper, u16)>,
    /// Seconds of attributes of the instance's timeout policy.
    pub timeouts: BTreeMap<&'static str, u32>,
    /// Threads that track.
    pub threads: usize,
    /// The clock runs; otherwise nothing ever expires.
    pub expire: bool,
    /// Packets are looked up in a flow table first.
    pub flow_table: bool,
    /// The dummy provider is registered.
    pub offload: bool,
}

/// A packet that went through the tracker.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// Number in the order of reading, from 1.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Length on the wire.
    pub wire_len: u32,
    /// Its tuple; for an ICMP error that of the packet it answers.
    pub tuple: Option<Tuple>,
    /// The verdict.
    pub metadata: Metadata,
    /// Number of its connection, when it is stored.
    pub connection: Option<u64>,
}

/// A change, with its time on the clock of the capture.
pub type Timed = (u64, Change);

/// Who wants to know what happens, in the order of happening.
pub trait Listener {
    /// A connection changed.
    ///
    /// # Errors
    /// Those of the output.
    fn change(&mut self, change: &Timed) -> io::Result<()>;

    /// A packet was tracked; its changes were told before.
    ///
    /// # Errors
    /// Those of the output.
    fn packet(&mut self, packet: &Tracked) -> io::Result<()>;
}

/// A packet on its way.
struct Job {
    number: u64,
    time: u64,
    now: Time,
    wire_len: u32,
    tuple: Option<Tuple>,
    /// `None` when there is no IP packet to be tracked.
    frame: Option<Frame>,
    after: Option<Connection>,
    /// Fragments that are no longer held since.
    released: Vec<Frame>,
}

/// A replay under way.
pub struct Replay {
    engine: Engine,
    flow_table: Option<FlowTableRef>,
    /// One for each thread.
    reassemblies: Vec<Reassembly<Frame>>,
    /// Fragments that are held, by their number.
    held: HashMap<u32, Job>,
    plan: Plan,
    watch: Watch,
    waiting: Vec<Job>,
    packets: u64,
    first: Option<u64>,
    now: Time,
    swept: Time,
}

impl Replay {
    /// A replay with an empty engine.
    ///
    /// # Errors
    /// Those of [`Engine::new`].
    pub fn new(plan: Plan) -> Result<Replay, Error> {
        for &(helper, _) in &plan.helpers {
            Action {
                helper: Some(helper),
                ..Action::default()
            }
            .check()?;
        }
        let engine = Engine::new(&plan.config)?;
        let mut switches = engine.switches();
        switches.verify_checksums = plan.verify_checksums;
        engine.set_switches(switches)?;
        let timeouts = Policy {
            seconds: plan.timeouts.clone(),
            ..Policy::default()
        };
        engine.set_timeout_policy(0, timeouts)?;
        let limits = match plan.config.profile {
            Profile::Ovs => Limits::default(),
            // nf_defrag: no smallest size, and 30 seconds.
            Profile::Kernel | Profile::Strict => Limits {
                smallest_v4: 0,
                smallest_v6: 0,
                lifetime: 30_000,
                ..Limits::default()
            },
        };
        if plan.offload {
            let dummy = Dummy::new(Preferences {
                offer_at: OfferAt::HandshakeComplete,
                ..Preferences::default()
            });
            engine.register_provider(Box::new(dummy), Time::default())?;
        }
        let flow_table = plan.flow_table.then(|| engine.flow_table_get(plan.zone));
        Ok(Replay {
            engine,
            flow_table,
            reassemblies: (0..plan.threads)
                .map(|_| Reassembly::new(limits, true))
                .collect(),
            held: HashMap::new(),
            plan,
            watch: Watch::default(),
            waiting: Vec::new(),
            packets: 0,
            first: None,
            now: Time::default(),
            swept: Time::default(),
        })
    }

    /// The time of the last packet, on the clock of the capture.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.nanoseconds(self.now)
    }

    /// Takes the next packet.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn packet(&mut self, packet: Packet, listener: &mut dyn Listener) -> io::Result<()> {
        self.packets += 1;
        let first = *self.first.get_or_insert(packet.time);
        if self.plan.expire {
            let elapsed = Time::from_millis(packet.time.saturating_sub(first) / 1_000_000);
            self.now = self.now.max(elapsed);
        }
        let (time, wire_len) = (packet.time, packet.wire_len);
        let frame = flow::frame(packet);
        let tuple = frame
            .as_ref()
            .and_then(|frame| flow::tuple(frame, self.plan.zone));
        let (number, now) = (self.packets, self.now);
        self.waiting.push(Job {
            number,
            time,
            now,
            wire_len,
            tuple,
            frame,
            after: None,
            released: Vec::new(),
        });
        let room = if self.plan.threads == 1 { 1 } else { ROUND };
        if self.waiting.len() >= room {
            self.settle(listener)
        } else {
            Ok(())
        }
    }

    /// Tracks the packets that still wait.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn settle(&mut self, listener: &mut dyn Listener) -> io::Result<()> {
        let mut jobs = std::mem::take(&mut self.waiting);
        if self.plan.threads == 1 {
            for job in &mut jobs {
                self.track(&self.reassemblies[0], job);
            }
        } else {
            self.track_on_threads(&mut jobs);
        }
        for job in jobs.drain(..) {
            self.tell_with_fragments(job, listener)?;
        }
        self.waiting = jobs;
        self.give_up(listener, |reassembly, now| reassembly.expire(now))?;
        if self.now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = self.now;
            for _ in 0..SWEEPS {
                if self.engine.sweep(self.now, SWEEP).complete {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Ends the replay: what still waits is tracked, and what is held is given up.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn finish(&mut self, listener: &mut dyn Listener) -> io::Result<()> {
        self.settle(listener)?;
        self.give_up(listener, |reassembly, _| reassembly.flush())
    }

    fn give_up(
        &mut self,
        listener: &mut dyn Listener,
        which: impl Fn(&Reassembly<Frame>, Time),
    ) -> io::Result<()> {
        for reassembly in &self.reassemblies {
            which(reassembly, self.now);
        }
        let released: Vec<Frame> = self.reassemblies.iter().flat_map(taken).collect();
        released
            .into_iter()
            .try_for_each(|frame| self.tell_released(frame, listener))
    }

    /// Tells of a packet that was tracked, and of the fragments that it made whole.
    fn tell_with_fragments(&mut self, mut job: Job, listener: &mut dyn Listener) -> io::Result<()> {
        let released = std::mem::take(&mut job.released);
        if job.frame.as_ref().is_some_and(|frame| frame.held) {
            self.held.insert(job.number as u32, job);
        } else {
            self.tell(&job, listener)?;
        }
        released
            .into_iter()
            .try_for_each(|frame| self.tell_released(frame, listener))
    }

    fn tell_released(&mut self, frame: Frame, listener: &mut dyn Listener) -> io::Result<()> {
        let Some(mut job) = self.held.remove(&frame.in_port) else {
            return Ok(());
        };
        job.frame = Some(frame);
        self.tell(&job, listener)
    }

    /// Every connection that lives, in the order of creation.
    #[must_use]
    pub fn connections(&self) -> Vec<(u64, Connection)> {
        let mut cursor = Cursor::new(None);
        let mut all = Vec::new();
        while let Some(connection) = self.engine.next(&mut cursor, self.now) {
            let number = self.watch.number(connection.id).unwrap_or(u64::MAX);
            all.push((number, connection));
        }
        all.sort_by_key(|(number, _)| *number);
        all
    }

    /// How far a connection got in each offload provider.
    #[must_use]
    pub fn standing(&self, id: ConnectionId) -> Vec<Standing> {
        self.engine.offload_standing(id).unwrap_or_default()
    }

    /// The engine's time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    fn track_on_threads(&self, jobs: &mut [Job]) {
        let mut lanes: Vec<Vec<&mut Job>> = Vec::new();
        lanes.resize_with(self.plan.threads, Vec::new);
        for job in jobs {
            let hosts = job.tuple.map(|tuple| (tuple.src, tuple.dst));
            let hosts = hosts.or_else(|| job.frame.as_ref().and_then(flow::fragment_hosts));
            lanes[hosts.map_or(0, |hosts| self.lane(hosts))].push(job);
        }
        std::thread::scope(|scope| {
            for (lane, reassembly) in lanes.into_iter().zip(&self.reassemblies) {
                if lane.is_empty() {
                    continue;
                }
                scope.spawn(|| {
                    for job in lane {
                        self.track(reassembly, job);
                    }
                });
            }
        });
    }

    /// One packet through the engine, and its connection right afterwards.
    fn track(&self, reassembly: &Reassembly<Frame>, job: &mut Job) {
        let Some(frame) = &mut job.frame else { return };
        let action = action(&self.plan, job.tuple.as_ref());
        // By this a fragment is known again when it comes back.
        frame.in_port = job.number as u32;
        let frames = std::slice::from_mut(frame);
        let found = self.flow_table.as_ref().map_or(0, |table| {
            self.engine.flow_lookup(table, frames, job.now, &mut |_| {})
        });
        if found == 0 {
            self.engine
                .execute_with(frames, &action, job.now, reassembly);
        }
        let id = frames[0].metadata.connection;
        if id != ConnectionId::NONE {
            job.after = self.engine.connection(id, job.now);
        }
        job.released = taken(reassembly).collect();
    }

    fn lane(&self, (src, dst): (u128, u128)) -> usize {
        let mut hasher = DefaultHasher::new();
        (src.min(dst), src.max(dst)).hash(&mut hasher);
        (hasher.finish() % self.plan.threads as u64) as usize
    }

    fn tell(&mut self, job: &Job, listener: &mut dyn Listener) -> io::Result<()> {
        for change in self.watch.expired(job.now) {
            listener.change(&(self.nanoseconds(change.at), change))?;
        }
        let frame = job.frame.as_ref();
        let mut connection = frame.and_then(|frame| self.watch.number(frame.metadata.connection));
        if let Some(after) = job.after {
            for change in self.watch.seen(after, job.now) {
                listener.change(&(job.time, change))?;
            }
            connection = self.watch.number(after.id);
            if self.watch.len() > self.plan.config.max_connections as usize {
                let engine = &self.engine;
                let exists = |id| engine.connection(id, job.now).is_some();
                for change in self.watch.vanished(job.now, exists) {
                    listener.change(&(job.time, change))?;
                }
            }
        }
        let not_ip = Metadata {
            state: state::TRK | state::INV,
            reason: Reason::NotIp,
            zone: self.plan.zone,
            ..Metadata::default()
        };
        listener.packet(&Tracked {
            number: job.number,
            time: job.time,
            wire_len: job.wire_len,
            // A fragment is known by its connection.
            tuple: job
                .tuple
                .or_else(|| frame.and_then(flow::tuple_of_connection)),
            metadata: frame.map_or(not_ip, |frame| frame.metadata),
            connection,
        })
    }

    fn nanoseconds(&self, time: Time) -> u64 {
        self.first
            .unwrap_or(0)
            .saturating_add(time.as_millis().saturating_mul(1_000_000))
    }
}

/// The fragments that are no longer held.
fn taken(reassembly: &Reassembly<Frame>) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(|| reassembly.take())
}

fn action(plan: &Plan, tuple: Option<&Tuple>) -> Action {
    let commit = match (&plan.commit, tuple) {
        (Commit::New, _) => true,
        (Commit::Matching(filter), Some(tuple)) => filter.matches(&Subject { tuple, states: &[] }),
        (Commit::Never, _) | (_, None) => false,
    };
    let helper = tuple.and_then(|tuple| {
        let serves = |helper: Helper| match helper {
            Helper::Ftp => tuple.proto == proto::TCP,
            Helper::Tftp | Helper::Sip => tuple.proto == proto::UDP,
        };
        plan.helpers
            .iter()
            .find(|(helper, port)| tuple.dport == *port && serves(*helper))
            .map(|(helper, _)| *helper)
    });
    Action {
        zone: plan.zone,
        commit,
        helper,
        ..Action::default()
    }
}

#[cfg(test)]
mod tests;
