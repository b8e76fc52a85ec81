//! Flow tables: established connections whose packets skip the state machine.
//!
//! This is netfilter's flow table (nf_flow_table) with the rules of `act_ct`: one table for a zone,
//! counted by reference; connections enter it by themselves once they are established, and packets are
//! looked up in it before anything else. What does not belong on a fast path leaves it: fragments, IP
//! options, a time to live that is used up, and everything that begins or ends a TCP connection. A flow
//! that saw no packet for its timeout goes back to the tracker, its window to be learned again.
//!
//! There is no second table behind it. A flow is a connection with the flag
//! [`Flags::FLOW`](crate::table::Flags::FLOW): a look-up touches the same two cache lines as the
//! tracker's own, mark, label and translation are always those of the connection, and a flow cannot
//! outlive its connection. While the flag is set, the record's expiry is the flow's.
//!
//! This module holds the tables and the rules, which are pure; the engine walks the packets.

use std::collections::BTreeMap;

use crate::packet::{Facts, Family, Segment, Transport, proto, tcp_flags};
use crate::sync::counter::{Counters, counts};
use crate::sync::snapshot::{Loaded, Snapshot};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, StdArc, lock};
use crate::table::Flags;
use crate::tuple::{Direction, Zone};

/// Milliseconds without a packet after which a flow leaves its table, unless it is said otherwise
/// (NF_FLOW_TIMEOUT).
pub const TIMEOUT: u64 = 30_000;

counts! {
    /// A count of a flow table.
    Hits, "Packets that were found.";
    Misses, "Packets without a flow.";
    Refused, "Packets with a flow that do not belong on the fast path.";
    Added, "Flows that entered.";
    Closed, "Flows that left because of a SYN, FIN or RST.";
    Aged, "Flows that left because no packet came.";
    Removed, "Flows that were taken out.";
}

const COUNTS: usize = Count::ALL.len();

/// The flow table of a zone.
pub struct FlowTable {
    zone: Zone,
    timeout: AtomicU64,
    counts: Counters<COUNTS>,
}

impl FlowTable {
    /// Its zone.
    #[must_use]
    pub const fn zone(&self) -> Zone {
        self.zone
    }

    /// Milliseconds without a packet after which a flow leaves.
    #[must_use]
    pub fn timeout(&self) -> u64 {
        self.timeout.load(Ordering::Relaxed)
    }

    /// Sets it. Flows that are in the table follow with their next packets.
    pub fn set_timeout(&self, millis: u64) {
        self.timeout.store(millis.max(1), Ordering::Relaxed);
    }

    /// A count.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.counts.sum(count as usize)
    }

    /// Adds to a count.
    pub fn add(&self, count: Count, n: u64) {
        self.counts.add(count as usize, n);
    }
}

struct Entry {
    table: StdArc<FlowTable>,
    references: u32,
}

/// The flow tables of an instance.
pub struct FlowTables {
    current: Snapshot<BTreeMap<Zone, StdArc<FlowTable>>>,
    any: AtomicBool,
    writer: Mutex<BTreeMap<Zone, Entry>>,
}

impl Default for FlowTables {
    fn default() -> FlowTables {
        FlowTables {
            current: Snapshot::new(BTreeMap::new()),
            any: AtomicBool::new(false),
            writer: Mutex::default(),
        }
    }
}

/// Whether the last reference to a table was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Others still use it.
    Remains,
    /// Nobody does: its flows are to be taken out.
    Last,
    /// The zone has no table.
    Absent,
}

impl FlowTables {
    /// Some zone has a table: read once per batch.
    #[must_use]
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The table of a zone.
    #[must_use]
    pub fn of(&self, zone: Zone) -> Option<StdArc<FlowTable>> {
        if self.any() {
            self.load().get(&zone).cloned()
        } else {
            None
        }
    }

    fn load(&self) -> Loaded<BTreeMap<Zone, StdArc<FlowTable>>> {
        self.current.load()
    }

    /// Takes a reference to the table of a zone, which begins with the first.
    pub fn get(&self, zone: Zone) -> StdArc<FlowTable> {
        let mut writer = lock(&self.writer);
        let entry = writer.entry(zone).or_insert_with(|| Entry {
            table: StdArc::new(FlowTable {
                zone,
                timeout: AtomicU64::new(TIMEOUT),
                counts: Counters::new(),
            }),
            references: 0,
        });
        entry.references += 1;
        let table = entry.table.clone();
        self.publish(&writer);
        table
    }

    /// Gives a reference back.
    pub fn put(&self, zone: Zone) -> Put {
        let mut writer = lock(&self.writer);
        let Some(entry) = writer.get_mut(&zone) else {
            return Put::Absent;
        };
        entry.references -= 1;
        if entry.references > 0 {
            return Put::Remains;
        }
        writer.remove(&zone);
        self.publish(&writer);
        Put::Last
    }

    fn publish(&self, writer: &BTreeMap<Zone, Entry>) {
        let tables: BTreeMap<_, _> = writer
            .iter()
            .map(|(&zone, entry)| (zone, entry.table.clone()))
            .collect();
        let any = !tables.is_empty();
        self.current.store(tables);
        self.any.store(any, Ordering::Relaxed);
    }
}

/// What is known of a connection that may enter a flow table.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its protocol.
    pub proto: u8,
    /// Its flags.
    pub flags: Flags,
    /// The packet belongs to an established connection.
    pub established: bool,
    /// TCP: both sides are established.
    pub complete: bool,
}

/// Whether a connection may enter by the packet with these facts, which was valid (`act_ct`: established
/// TCP, any UDP that is confirmed, GRE without key and translation; no helper).
#[must_use]
pub fn may_enter(candidate: &Candidate, facts: &Facts, bytes: &[u8]) -> bool {
    let flags = candidate.flags;
    if flags.contains(Flags::HELPER) || !is_plain(facts, bytes) {
        return false;
    }
    match candidate.proto {
        proto::TCP => {
            candidate.established && candidate.complete && flags.contains(Flags::SEEN_REPLY)
        }
        proto::UDP => true,
        proto::GRE => {
            let translated = Flags::SOURCE_NAT.and(Flags::DESTINATION_NAT);
            candidate.established && !flags.has_any(translated) && is_plain_gre(facts, bytes)
        }
        _ => false,
    }
}

/// What a flow table does with a packet of one of its flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Passage {
    /// It takes the fast path.
    Fast,
    /// The tracker must see it; the flow stays.
    Slow,
    /// The tracker must see it, and the flow is over.
    Close,
}

/// Whether a packet may take the fast path.
pub fn passage(facts: &Facts, bytes: &[u8], direction: Direction, flags: Flags) -> Passage {
    if let Transport::Tcp(tcp) = &facts.transport
        && tcp.flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST) != 0
    {
        return Passage::Close;
    }
    let answered = flags.contains(Flags::SEEN_REPLY);
    let first_answer = direction == Direction::Reply && !answered;
    match &facts.transport {
        Transport::Error(_) | Transport::Query(_) => Passage::Slow,
        // The tracker makes the connection established.
        _ if first_answer => Passage::Slow,
        _ if is_plain(facts, bytes) => Passage::Fast,
        _ => Passage::Slow,
    }
}

/// Whether a plain packet may take the fast path by its headers, as [`passage`] says.
#[must_use]
#[inline(always)]
pub fn is_fast(segment: &Segment, family: Family, bytes: &[u8]) -> bool {
    let moves_on = segment.proto != proto::TCP
        || bytes
            .get(usize::from(segment.l4) + TCP_FLAGS)
            .is_some_and(|flags| flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST) == 0);
    moves_on && may_travel(usize::from(segment.l3), family, bytes)
}

/// Offset of the flags in a TCP header.
const TCP_FLAGS: usize = 13;

/// No options, and it may travel on.
fn is_plain(facts: &Facts, bytes: &[u8]) -> bool {
    let l3 = usize::from(facts.l3);
    let header = usize::from(facts.l4) - l3;
    let length = match facts.family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    header == length && may_travel(l3, facts.family, bytes)
}

/// Its time to live, or hop limit, is not used up.
#[inline(always)]
fn may_travel(l3: usize, family: Family, bytes: &[u8]) -> bool {
    let ttl = match family {
        Family::V4 => 8,
        Family::V6 => 7,
    };
    bytes.get(l3 + ttl).is_some_and(|&ttl| ttl > 1)
}

/// GRE version 0 without a key.
fn is_plain_gre(facts: &Facts, bytes: &[u8]) -> bool {
    let l4 = usize::from(facts.l4);
    match bytes.get(l4..l4 + 2) {
        Some(&[flags, version]) => flags & 0x20 == 0 && version & 7 == 0,
        _ => false,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{FlowTables, Put};

    #[test]
    fn a_table_lives_as_long_as_somebody_refers_to_it() {
        let tables = FlowTables::default();
        assert!(tables.of(3).is_none());
        let first = tables.get(3);
        let second = tables.get(3);
        assert!(std::ptr::eq(&*first, &*second));
        assert_eq!(tables.put(3), Put::Remains);
        assert!(tables.of(3).is_some() && tables.any());
        assert_eq!(tables.put(3), Put::Last);
        assert!(tables.of(3).is_none() && !tables.any());
        assert_eq!(tables.put(3), Put::Absent);
    }
}
