//! What C reads in the header is what Rust compiled: sizes, offsets and widths of every member, and the
//! value of every constant.
//!
//! The header is generated from the sources, but its generator copies expressions and guesses types; here
//! a C compiler is asked instead. The lists below cannot fall behind: the patterns name every member
//! without `..`, and the constants are counted.

use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::offset_of;
use std::process::{Command, Stdio};

use crate::ffi::types::*;

fn width_of<S, M>(_: impl Fn(&S) -> &M) -> usize {
    size_of::<M>()
}

macro_rules! layouts {
    ($($name:ident { $($member:ident),* })*) => {
        fn layouts() -> String {
            let mut c = String::new();
            $(
                // Fails to compile when a member is missing from the list.
                let _ = |$name { $($member: _),* }: $name| ();
                let name = stringify!($name);
                claim(&mut c, format!("sizeof(struct {name})"), size_of::<$name>() as u64);
                $(
                    let member = stringify!($member);
                    let offset = offset_of!($name, $member) as u64;
                    claim(&mut c, format!("offsetof(struct {name}, {member})"), offset);
                    let width = width_of(|value: &$name| &value.$member) as u64;
                    claim(&mut c, format!("sizeof(((struct {name} *)0)->{member})"), width);
                )*
            )*
            c
        }
    };
}

macro_rules! constants {
    ($($name:ident)*) => {
        const CONSTANTS: &[(&str, u64)] = &[$((stringify!($name), $name as u64)),*];
    };
}

layouts! {
    ct_config { size, profile, max_connections, initial_connections, flags, sweep_interval_ms, reserved }
    ct_packet {
        data, length, total_length, flags, l3_offset, l4_offset, tailroom, in_port, cookie, orig_tuple,
        miss, reserved_in, trace, connection, ct_state, ct_zone, verdict, reason, ct_mark, modified, ct_label,
        length_delta, connection_flags, chain, reserved_out
    }
    ct_tuple {
        src, dst, src_port, dst_port, zone, ip_version, protocol, icmp_type, icmp_code, reserved
    }
    ct_nat_range { min_address, max_address, min_port, max_port, reserved }
    ct_nat { flags, ip_version, reserved, src, dst }
    ct_action {
        size, flags, zone, reserved, mark, mark_mask, label, label_mask, helper, timeout_policy, nat
    }
    ct_connection {
        size, id, original, reply, mark, status, label, remaining_ms, created_ms, packets, bytes, state,
        side_state, window_scale, tcp_flags, helper, parent, timeout_policy, reserved
    }
    ct_expectation { tuple, parent, parent_id, remaining_ms, mark, reserved, label }
    ct_ipf {
        size, v4, v6, max_frags, min_v4_frag_size, min_v6_frag_size, lifetime_ms, max_packet, max_bytes
    }
    ct_ipf_counts { accepted, completed, expired, too_small, overlapping, full, flushed }
    ct_ipf_status {
        size, v4, v6, max_frags, frags, min_v4_frag_size, min_v6_frag_size, lifetime_ms, max_bytes,
        counts_v4, counts_v6, max_packet, reserved
    }
    ct_offload_tcp_side {
        flags, scale, sent_end, reply_end, max_win, max_ack
    }
    ct_offload_ctx {
        size, connection, original, reply, mark, ct_state, label, in_port_original,
        in_port_reply, timeout_ms, now_ms, data, flags, reserved, tcp
    }
    ct_offload_report {
        size, flags, reserved, last_used_ms, packets, bytes, tcp
    }
    ct_offload_op {
        kind, changed, error, reserved, ctx, report
    }
    ct_offload_op_batch {
        size, ops, len
    }
    ct_offload_class {
        size, name, user, priority, offer_at, flags, capacity, queue, zone, reserved, init,
        destroy, batch_submit, can_offload, conn_add, conn_del, conn_update, conn_established,
        conn_changed, data_free, flush, flow_add, flow_del, flow_stats
    }
    ct_offload_standing {
        size, provider, state, reserved, why, since_ms, packets, bytes
    }
    ct_offload_stats {
        size, held, waiting, added, deleted, established, updated, changed, flushed, declined,
        refused, full, cancelled, late, packets, bytes
    }
    ct_flow_table_stats {
        size, zone, reserved, timeout_ms, hits, misses, refused, added, closed, aged, removed
    }
    ct_miss {
        size, chain, in_port, done, reserved, cookie
    }
    ct_offload_sim_behaviour {
        size, latency_ms, seed, capacity, failing, losing, reordering, lying, windows
    }
    ct_offload_sim_counts { size, added, deleted, strange, packets, bytes, held }
    ct_offload_dummy_counts {
        size, added, deleted, updated, established, changed, flushed, held
    }
    ct_timeout_policy { size, id, present, seconds, name }
    ct_zone_limit { zone, reserved, limit, guarantee, count }
    ct_tuple_filter {
        flags, ip_version, protocol, icmp_type, reserved, src_port, dst_port, src, src_mask, dst, dst_mask
    }
    ct_filter {
        size, flags, zone, seen_reply, assured, translated, flow, offloaded, reserved, mark, mark_mask, label, label_mask,
        created_since_ms, created_until_ms, original, reply, state
    }
    ct_listen { size, kinds, flags, capacity, zone, reserved }
    ct_event { size, kind, changes, ending, reserved, time_ms, connection }
    ct_dump { size, position, zone, reserved }
    ct_field_match {
        field, reserved, value, mask
    }
    ct_flow_action {
        kind, number, field, reserved, value, mask, ct
    }
    ct_flow_filter {
        size, cookie, matches, n_matches, actions, n_actions
    }
    ct_fastpath_config {
        size, flows, traces, flags, reserved
    }
    ct_trace {
        words
    }
    ct_tunnel {
        id, src, dst
    }
    ct_flow_connection {
        connection, zone, direction
    }
    ct_merged_flow {
        size, number, actions, n_actions, all_actions, n_all_actions, matches, n_matches, connections, n_connections
    }
    ct_flow_use {
        size, packets, bytes, last_used_ms
    }
    ct_merge_work {
        size, traces, merged, revoked
    }
    ct_merged_listing {
        size, position, n_parents, number, parents, packets, bytes, last_used_ms, offloaded, n_connections, connections
    }
    ct_fastpath_stats {
        size, flows, filters, hits, misses, refused, traces, processed, aborted, discarded, throttled, lost, stale, merged, known, rejected, evicted, revoked, taken, declined, released, refusals
    }
    ct_sweep { size, looked_at, removed, complete, reserved }
    ct_stats {
        size, connections, found, cached, new_, insert, invalid, table_full, early_drop, delete_,
        lookup_natted_miss, tcp_seq_chk_bypass, expect_create, expect_full, nat_exhausted, nat_unsettled,
        zone_full, fragments_held, offloaded, resumed
    }
}

constants! {
    CT_FIELD_IN_PORT CT_FIELD_RECIRCULATION CT_FIELD_TUNNEL_ID CT_FIELD_TUNNEL_SRC CT_FIELD_TUNNEL_DST CT_FIELD_ETH_SRC CT_FIELD_ETH_TYPE CT_FIELD_ETH_DST CT_FIELD_FRAGMENT CT_FIELD_VLAN CT_FIELD_INNER_VLAN CT_FIELD_IP_SRC CT_FIELD_IP_DST CT_FIELD_PROTO CT_FIELD_TOS CT_FIELD_TTL CT_FIELD_PORT_SRC CT_FIELD_PORT_DST CT_FIELD_TCP_FLAGS CT_FIELD_CT_STATE CT_FIELD_CT_ZONE CT_FIELD_CT_MARK CT_FIELD_CT_LABEL CT_FLOW_OUTPUT CT_FLOW_SET CT_FLOW_PUSH_VLAN CT_FLOW_POP_VLAN CT_FLOW_TUNNEL_PUSH CT_FLOW_TUNNEL_POP CT_FLOW_CT CT_FLOW_RECIRCULATE CT_FLOW_DROP CT_FLOW_METER CT_FLOW_USERSPACE CT_FLOW_TRACKED CT_FASTPATH_NO_WINDOWS
    CT_OFFER_AT_COMMIT CT_OFFER_AT_FIRST_REPLY CT_OFFER_AT_HANDSHAKE CT_OFFER_AT_BOTH
    CT_OFFLOAD_QUEUED CT_OFFLOAD_WANTS_CONTROL CT_OFFLOAD_ONE_ZONE CT_TCP_SIDE_SCALE
    CT_TCP_SIDE_CLOSE_INITIATED CT_TCP_SIDE_LAST_ACK_SEEN CT_TCP_SIDE_DATA_UNACKED
    CT_OFFLOAD_CTX_TCP CT_OFFLOAD_REPORT_USED CT_OFFLOAD_REPORT_CLOSING_ORIGINAL
    CT_OFFLOAD_REPORT_CLOSING_REPLY CT_OFFLOAD_REPORT_TCP CT_OFFLOAD_OP_ADD CT_OFFLOAD_OP_DEL
    CT_OFFLOAD_OP_UPD CT_OFFLOAD_OP_POLICY CT_OFFLOAD_OP_FLUSH CT_OFFLOAD_OP_EST
    CT_OFFLOAD_OP_CHANGED CT_OFFLOAD_CHANGED_METADATA CT_OFFLOAD_CHANGED_POLICY
    CT_OFFLOAD_CHANGED_NAT CT_OFFLOAD_STATE_NONE CT_OFFLOAD_STATE_PENDING CT_OFFLOAD_STATE_ADDED
    CT_OFFLOAD_STATE_ASKED CT_OFFLOAD_STATE_ESTABLISHED CT_OFFLOAD_STATE_CLOSING
    CT_OFFLOAD_STATE_FAILED CT_CONN_FLOW CT_STATUS_OFFLOAD CT_STATUS_HW_OFFLOAD
    CT_OFFLOAD_UNTOUCHED
    CT_PROFILE_OVS CT_PROFILE_KERNEL CT_PROFILE_STRICT
    CT_CONFIG_ACCOUNTING CT_CONFIG_BACKGROUND_SWEEP
    CT_STATE_NEW CT_STATE_ESTABLISHED CT_STATE_RELATED CT_STATE_REPLY_DIR CT_STATE_INVALID
    CT_STATE_TRACKED CT_STATE_SRC_NAT CT_STATE_DST_NAT
    CT_PACKET_IP_CSUM_GOOD CT_PACKET_IP_CSUM_BAD CT_PACKET_L4_CSUM_GOOD CT_PACKET_L4_CSUM_BAD
    CT_PACKET_READ_ONLY CT_OFFSET_UNKNOWN CT_CONN_REPLY CT_CONN_ICMP_RELATED
    CT_VERDICT_PASS CT_VERDICT_HELD
    CT_MODIFIED_SRC CT_MODIFIED_DST CT_MODIFIED_PAYLOAD CT_MODIFIED_L4_PARTIAL
    CT_ACTION_COMMIT CT_ACTION_FORCE CT_ACTION_NAT CT_ACTION_TIMEOUT_POLICY
    CT_NAT_SRC CT_NAT_DST CT_NAT_RANDOM CT_NAT_PERSISTENT
    CT_HELPER_NONE CT_HELPER_FTP CT_HELPER_TFTP CT_HELPER_SIP
    CT_STATUS_SEEN_REPLY CT_STATUS_ASSURED CT_STATUS_SRC_NAT CT_STATUS_DST_NAT
    CT_OPTION_TCP_SEQ_CHK CT_OPTION_TCP_LOOSE CT_OPTION_STRICT_RESET CT_OPTION_VERIFY_CHECKSUMS
    CT_OPTION_ACCOUNTING CT_OPTION_EARLY_DROP
    CT_TP_ATTR_TCP_SYN_SENT CT_TP_ATTR_TCP_SYN_RECV CT_TP_ATTR_TCP_ESTABLISHED
    CT_TP_ATTR_TCP_FIN_WAIT CT_TP_ATTR_TCP_CLOSE_WAIT CT_TP_ATTR_TCP_LAST_ACK
    CT_TP_ATTR_TCP_TIME_WAIT CT_TP_ATTR_TCP_CLOSE CT_TP_ATTR_TCP_SYN_SENT2 CT_TP_ATTR_TCP_RETRANSMIT
    CT_TP_ATTR_TCP_UNACK CT_TP_ATTR_UDP_FIRST CT_TP_ATTR_UDP_SINGLE CT_TP_ATTR_UDP_MULTIPLE
    CT_TP_ATTR_ICMP_FIRST CT_TP_ATTR_ICMP_REPLY CT_TP_ATTR_GENERIC CT_TP_ATTR_GRE
    CT_TP_ATTR_GRE_STREAM CT_TP_ATTR_SCTP_CLOSED CT_TP_ATTR_SCTP_COOKIE_WAIT
    CT_TP_ATTR_SCTP_COOKIE_ECHOED CT_TP_ATTR_SCTP_ESTABLISHED CT_TP_ATTR_SCTP_SHUTDOWN_SENT
    CT_TP_ATTR_SCTP_SHUTDOWN_RECD CT_TP_ATTR_SCTP_SHUTDOWN_ACK_SENT CT_TP_ATTR_SCTP_HEARTBEAT_SENT
    CT_ZONE_LIMIT_NONE CT_MATCH_SRC_PORT CT_MATCH_DST_PORT CT_MATCH_PROTOCOL CT_MATCH_ICMP_TYPE
    CT_FILTER_ZONE CT_FILTER_SINCE CT_FILTER_UNTIL CT_ANY CT_YES CT_NO
    CT_EVENT_NEW CT_EVENT_UPDATE CT_EVENT_DESTROY CT_CHANGE_STATE CT_CHANGE_STATUS CT_CHANGE_MARK
    CT_CHANGE_LABEL CT_ENDING_EXPIRED CT_ENDING_FLUSHED CT_ENDING_EARLY_DROP CT_ENDING_REPLACED
}

fn claim(c: &mut String, what: String, value: u64) {
    writeln!(
        c,
        "_Static_assert({what} == {value}, \"{what} is {value} in Rust\");"
    )
    .expect("a string takes it");
}

/// Whether a C compiler believes the claims, and what it says.
fn compiles(claims: &str) -> (bool, String) {
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    let mut compiler = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Werror",
            "-fsyntax-only",
            include,
            "-x",
            "c",
            "-",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the C compiler that also links this test");
    let mut source = compiler.stdin.take().expect("it was asked for");
    write!(source, "#include <ctoffload.h>\n{claims}").expect("the compiler reads");
    drop(source);
    let output = compiler.wait_with_output().expect("the compiler ends");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn the_header_has_the_layout_that_rust_compiled() {
    let (agreed, words) = compiles(&layouts());
    assert!(agreed, "{words}");
}

#[test]
fn the_header_has_the_constants_that_rust_compiled() {
    let mut claims = String::new();
    for (name, value) in CONSTANTS {
        claim(&mut claims, (*name).to_string(), *value);
    }
    let (agreed, words) = compiles(&claims);
    assert!(agreed, "{words}");
    let declared: usize = [
        include_str!("../ffi/types.rs"),
        include_str!("../ffi/types/event.rs"),
        include_str!("../ffi/types/merge.rs"),
        include_str!("../ffi/types/offload.rs"),
        include_str!("../ffi/types/policy.rs"),
    ]
    .iter()
    .map(|source| source.matches("pub const CT_").count())
    .sum();
    assert_eq!(
        CONSTANTS.len(),
        declared,
        "a constant is missing from the list"
    );
}

#[test]
fn a_false_claim_is_not_believed() {
    let mut claims = String::new();
    claim(&mut claims, "CT_STATE_NEW".to_string(), 2);
    assert!(!compiles(&claims).0);
}

#[test]
fn state_bits_are_those_of_open_vswitch() {
    let bits = [
        CT_STATE_NEW,
        CT_STATE_ESTABLISHED,
        CT_STATE_RELATED,
        CT_STATE_REPLY_DIR,
        CT_STATE_INVALID,
        CT_STATE_TRACKED,
        CT_STATE_SRC_NAT,
        CT_STATE_DST_NAT,
    ];
    for (place, bit) in bits.into_iter().enumerate() {
        assert_eq!(bit, 1 << place);
    }
}

#[test]
fn a_packet_is_two_lines_one_for_each_side() {
    assert_eq!(size_of::<ct_packet>(), 128);
    assert_eq!(offset_of!(ct_packet, connection), 64);
}
