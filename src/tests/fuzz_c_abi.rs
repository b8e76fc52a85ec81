//! The C functions with arbitrary descriptors, actions, queries and times: an errno or a verdict, never a
//! panic, never a byte outside what the caller gave.
//!
//! What a caller must promise is kept (a pointer is NULL or good, lengths are true); everything else is
//! free: offsets, flags, sizes, ids, second lines left from anywhere.
//!
//! The fuzz target and the replay of its corpus in the tests include this file.

use std::ptr;

use arbitrary::{Arbitrary, Unstructured};
use ctoffload::ffi::control::{
    conntrack_flush, conntrack_flush_tuple, conntrack_get_nconns, conntrack_set_maxconns,
    conntrack_set_option, conntrack_set_zone_liberal,
};
use ctoffload::ffi::dump::{
    conntrack_dump_next, conntrack_dump_start, conntrack_get, conntrack_lookup,
};
use ctoffload::ffi::execute::{conntrack_clear, conntrack_execute, conntrack_sweep};
use ctoffload::ffi::handle::{conntrack, conntrack_create, conntrack_destroy};
use ctoffload::ffi::types::{
    CT_PACKET_IP_CSUM_GOOD, CT_PACKET_L4_CSUM_GOOD, CT_STATE_TRACKED, ct_action, ct_config,
    ct_connection, ct_dump, ct_nat, ct_nat_range, ct_packet, ct_tuple,
};

/// Random bytes seldom are a packet; so half of them begin as one.
#[derive(Arbitrary, Debug)]
enum Bytes {
    Any(Vec<u8>),
    Made {
        tcp: bool,
        ends: u8,
        tcp_flags: u8,
        seq: u16,
        spoilt: Option<(u8, u8)>,
        payload: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
struct Packet {
    bytes: Bytes,
    null: bool,
    total_length: u32,
    flags: u32,
    l3_offset: u16,
    l4_offset: u16,
    connection: u64,
    ct_state: u32,
    ct_zone: u16,
    connection_flags: u32,
    tuple: Option<Tuple>,
}

#[derive(Arbitrary, Debug)]
struct Tuple {
    src: [u8; 16],
    dst: [u8; 16],
    ports: [u16; 2],
    zone: u16,
    ip_version: u8,
    protocol: u8,
    icmp: [u8; 2],
    reserved: [u8; 2],
}

#[derive(Arbitrary, Debug)]
struct Action {
    size: u16,
    flags: u32,
    zone: u16,
    mark: [u32; 2],
    label: [[u8; 16]; 2],
}

#[derive(Arbitrary, Debug)]
enum Call {
    Execute(Vec<Packet>, Action),
    /// The same packets again, as they came back: recirculation.
    Again(Action),
    Clear,
    Sweep(u32),
    Flush(Option<u16>),
    FlushTuple(Tuple),
    Lookup(Tuple),
    Get(u64),
    Dump {
        zone: Option<u16>,
        from: Option<u64>,
    },
    Limit(u32),
    Option(u32, u32),
    Liberal(u16, u32),
}

#[derive(Arbitrary, Debug)]
struct Input {
    profile: u8,
    flags: u8,
    limit: u16,
    calls: Vec<(Call, u16)>,
}

/// An IPv4 packet between a few ends, in either direction, perhaps with one byte spoilt. Its checksums are
/// zero, so it wants to be believed.
fn made(tcp: bool, ends: u8, tcp_flags: u8, seq: u16, payload: &[u8]) -> Vec<u8> {
    let (client, reply) = (ends & 3, ends & 4 != 0);
    let (src, dst) = if reply { (9, client) } else { (client, 9) };
    let (sport, dport) = if reply { (80, 50) } else { (50, 80) };
    let mut bytes = vec![
        0x45,
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        64,
        if tcp { 6 } else { 17 },
        0,
        0,
    ];
    bytes.extend([10, 0, 0, src, 10, 0, 0, dst, 0, sport, 0, dport]);
    if tcp {
        let [high, low] = seq.to_be_bytes();
        bytes.extend([
            0, 0, high, low, 0, 0, high, low, 0x50, tcp_flags, 0x20, 0, 0, 0, 0, 0,
        ]);
    } else {
        bytes.extend((8 + payload.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.extend(payload);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn bytes_of(from: Bytes) -> (Vec<u8>, bool) {
    match from {
        Bytes::Any(bytes) => (bytes, false),
        Bytes::Made {
            tcp,
            ends,
            tcp_flags,
            seq,
            spoilt,
            payload,
        } => {
            let payload = &payload[..payload.len().min(1000)];
            let mut bytes = made(tcp, ends, tcp_flags, seq, payload);
            if let Some((place, value)) = spoilt {
                let place = usize::from(place) % bytes.len();
                bytes[place] ^= value;
            }
            (bytes, true)
        }
    }
}

fn tuple(from: &Tuple) -> ct_tuple {
    ct_tuple {
        src: from.src,
        dst: from.dst,
        src_port: from.ports[0],
        dst_port: from.ports[1],
        zone: from.zone,
        ip_version: from.ip_version,
        protocol: from.protocol,
        icmp_type: from.icmp[0],
        icmp_code: from.icmp[1],
        reserved: from.reserved,
    }
}

/// A translation of sources, destinations or both.
fn nat(from: &Action) -> ct_nat {
    let address = |byte: u8| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 0, 0, byte]);
        address
    };
    let range = |bytes: &[u8; 16]| ct_nat_range {
        min_address: address(bytes[0]),
        max_address: address(bytes[1]),
        min_port: u16::from(bytes[2]),
        max_port: u16::from(bytes[3]) << (bytes[4] & 8),
        reserved: 0,
    };
    ct_nat {
        flags: from.flags >> 24 & 15,
        ip_version: if from.flags >> 28 == 0 { 0 } else { 4 },
        reserved: [0; 3],
        src: range(&from.label[0]),
        dst: range(&from.label[1]),
    }
}

/// An action in memory that is as long as it says; a size that can only be refused is said of one that
/// has its true length.
fn action(from: &Action) -> ct_action {
    ct_action {
        size: usize::from(from.size).min(size_of::<ct_action>()),
        flags: from.flags & 15,
        zone: from.zone,
        reserved: 0,
        mark: from.mark[0],
        mark_mask: from.mark[1] | from.mark[0],
        label: from.label[0],
        label_mask: from.label[1],
        helper: from.flags >> 8 & 7,
        timeout_policy: from.flags >> 16,
        nat: nat(from),
    }
}

/// Packets and the memory that their pointers lead to.
#[derive(Default)]
struct Batch {
    bytes: Vec<Vec<u8>>,
    tuples: Vec<ct_tuple>,
    packets: Vec<ct_packet>,
}

impl Batch {
    fn new(from: Vec<Packet>) -> Batch {
        let mut batch = Batch::default();
        for packet in &from {
            batch
                .tuples
                .push(packet.tuple.as_ref().map(tuple).unwrap_or_default());
        }
        for (place, packet) in from.into_iter().enumerate() {
            // SAFETY: numbers and pointers, for which zeros are valid.
            let mut made: ct_packet = unsafe { std::mem::zeroed() };
            let (bytes, is_made) = bytes_of(packet.bytes);
            batch.bytes.push(bytes);
            let bytes = batch.bytes.last_mut().expect("it was just pushed");
            made.length = bytes.len() as u32;
            made.data = if packet.null {
                ptr::null_mut()
            } else {
                bytes.as_mut_ptr()
            };
            made.total_length = if is_made { 0 } else { packet.total_length };
            made.flags = if is_made { GOOD } else { packet.flags };
            made.l3_offset = if is_made { 0 } else { packet.l3_offset };
            made.l4_offset = packet.l4_offset;
            made.cookie = place as u64;
            made.connection = packet.connection;
            made.ct_state = packet.ct_state;
            made.ct_zone = packet.ct_zone;
            made.connection_flags = packet.connection_flags;
            if packet.tuple.is_some() {
                made.orig_tuple = &mut batch.tuples[place];
            }
            batch.packets.push(made);
        }
        batch
    }

    fn execute(&mut self, ct: *mut conntrack, from: &Action, now: i64) {
        let before = self.packets.clone();
        let action = action(from);
        let (first, n) = (self.packets.as_mut_ptr(), self.packets.len());
        // SAFETY: the packets and what they point to are this batch's own, and alive.
        let status = unsafe { conntrack_execute(ct, first, n, &action, now) };
        assert!([0, EINVAL].contains(&status), "{status}");
        for (was, is) in before.iter().zip(&self.packets) {
            // The first line is the caller's.
            assert_eq!(
                (was.data, was.length, was.cookie),
                (is.data, is.length, is.cookie)
            );
            assert_eq!((was.flags, was.orig_tuple), (is.flags, is.orig_tuple));
            if status == 0 {
                assert!(is.ct_state & CT_STATE_TRACKED != 0);
            } else {
                assert_eq!((was.ct_state, was.connection), (is.ct_state, is.connection));
            }
        }
    }
}

const EINVAL: i32 = 22;
const GOOD: u32 = CT_PACKET_IP_CSUM_GOOD | CT_PACKET_L4_CSUM_GOOD;

fn zeroed<T: Copy>() -> T {
    // SAFETY: used for structs of numbers only.
    unsafe { std::mem::zeroed() }
}

/// One call; everything that it points to is alive until it returns.
fn call(ct: *mut conntrack, call: Call, now: i64, last: &mut Batch) {
    let mut row: ct_connection = zeroed();
    row.size = size_of::<ct_connection>();
    match call {
        Call::Execute(packets, action) => {
            *last = Batch::new(packets);
            last.execute(ct, &action, now);
        }
        Call::Again(action) => last.execute(ct, &action, now),
        Call::Clear => {
            for packet in &mut last.packets {
                // SAFETY: a packet of this batch.
                unsafe { conntrack_clear(packet) };
                assert_eq!((packet.ct_state, packet.connection), (0, 0));
            }
        }
        Call::Sweep(budget) => assert_eq!(
            // SAFETY: the instance is alive; NULL is allowed.
            unsafe { conntrack_sweep(ct, now, budget, ptr::null_mut()) },
            0
        ),
        Call::Flush(zone) => {
            let zone = zone.as_ref().map_or(ptr::null(), ptr::from_ref);
            // SAFETY: NULL or a number.
            assert_eq!(unsafe { conntrack_flush(ct, zone) }, 0);
        }
        // SAFETY: a tuple of this call.
        Call::FlushTuple(from) => _ = unsafe { conntrack_flush_tuple(ct, &tuple(&from), now) },
        // SAFETY: a tuple and a row of this call.
        Call::Lookup(from) => _ = unsafe { conntrack_lookup(ct, &tuple(&from), now, &mut row) },
        // SAFETY: a row of this call.
        Call::Get(id) => _ = unsafe { conntrack_get(ct, id, now, &mut row) },
        Call::Dump { zone, from } => dump(ct, zone, from, now, &mut row),
        // SAFETY: the instance is alive, here and below.
        Call::Limit(limit) => _ = unsafe { conntrack_set_maxconns(ct, limit) },
        Call::Option(option, value) => {
            // SAFETY: as above.
            _ = unsafe { conntrack_set_option(ct, option % 8, value % 3) }
        }
        Call::Liberal(zone, liberal) => {
            // SAFETY: as above.
            _ = unsafe { conntrack_set_zone_liberal(ct, zone, liberal % 3) }
        }
    }
}

/// A dump ends, also one that somebody wrote a position into.
fn dump(
    ct: *mut conntrack,
    zone: Option<u16>,
    from: Option<u64>,
    now: i64,
    row: &mut ct_connection,
) {
    let mut dump: ct_dump = zeroed();
    dump.size = size_of::<ct_dump>();
    let zone = zone.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: NULL or a number; a dump of this call.
    assert_eq!(unsafe { conntrack_dump_start(ct, zone, &mut dump) }, 0);
    dump.position = from.unwrap_or(dump.position);
    let mut connections = 0;
    // SAFETY: the instance is alive; a number of this call.
    assert_eq!(unsafe { conntrack_get_nconns(ct, &mut connections) }, 0);
    let mut rows = 0;
    // SAFETY: a dump and a row of this call.
    while unsafe { conntrack_dump_next(ct, &mut dump, now, row) } == 0 {
        rows += 1;
    }
    assert!(rows <= connections);
}

/// Any bytes as calls.
pub fn c_abi(input: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let mut config: ct_config = zeroed();
    config.size = size_of::<ct_config>();
    config.profile = u32::from(input.profile % 4);
    config.flags = u32::from(input.flags & 1);
    config.max_connections = u32::from(input.limit);
    let mut ct = ptr::null_mut();
    // SAFETY: a config and a pointer of this call.
    let status = unsafe { conntrack_create(&config, &mut ct) };
    if input.profile % 4 == 3 {
        assert!(status != 0 && ct.is_null());
        return;
    }
    assert_eq!(status, 0);
    let mut last = Batch::default();
    let mut now = 1_i64;
    for (what, later) in input.calls.into_iter().take(64) {
        now += i64::from(later) * 50;
        call(ct, what, now, &mut last);
    }
    // SAFETY: nobody uses the instance any more.
    unsafe { conntrack_destroy(ct) };
}
