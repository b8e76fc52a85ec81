/*
 * libctoffload: connection tracking for C switches.
 *
 * Copyright The libctoffload authors. Licensed under the Apache License, Version 2.0.
 *
 * Functions return 0 or a positive errno; ct_last_error() has the words. Structs that may grow begin
 * with their size, which the caller sets. Time is always an argument: milliseconds since any epoch.
 */

#ifndef CTOFFLOAD_H
#define CTOFFLOAD_H

/* Generated from src/ffi by `make header`; do not edit. */

#include <stddef.h>
#include <stdint.h>
#if defined(__GNUC__)
#define CT_API __attribute__((visibility("default")))
#else
#define CT_API
#endif


/**
 * Open vSwitch's userspace datapath, without its defects and races.
 */
#define CT_PROFILE_OVS 0

/**
 * Linux nf_conntrack with its default sysctls.
 */
#define CT_PROFILE_KERNEL 1

/**
 * As the kernel, with no mid-stream pickup and no liberal modes.
 */
#define CT_PROFILE_STRICT 2

/**
 * Count packets and bytes of each connection.
 */
#define CT_CONFIG_ACCOUNTING 1

/**
 * Sweep from a thread of the library, so that conntrack_sweep() need not be called.
 */
#define CT_CONFIG_BACKGROUND_SWEEP 2

/**
 * The connection is new: no packet was seen in the reply direction.
 */
#define CT_STATE_NEW 1

/**
 * The packet belongs to an established connection.
 */
#define CT_STATE_ESTABLISHED 2

/**
 * The packet is related to another connection.
 */
#define CT_STATE_RELATED 4

/**
 * The packet travels in the reply direction.
 */
#define CT_STATE_REPLY_DIR 8

/**
 * The packet could not be tracked.
 */
#define CT_STATE_INVALID 16

/**
 * The packet went through the tracker.
 */
#define CT_STATE_TRACKED 32

/**
 * The source of this packet was translated.
 */
#define CT_STATE_SRC_NAT 64

/**
 * The destination of this packet was translated.
 */
#define CT_STATE_DST_NAT 128

/**
 * The IPv4 header checksum was verified and is good.
 */
#define CT_PACKET_IP_CSUM_GOOD 1

/**
 * The IPv4 header checksum is bad; together with GOOD: to be completed at transmission.
 */
#define CT_PACKET_IP_CSUM_BAD 2

/**
 * The TCP, UDP or SCTP checksum was verified and is good.
 */
#define CT_PACKET_L4_CSUM_GOOD 4

/**
 * The TCP, UDP or SCTP checksum is bad; together with GOOD: to be completed at transmission.
 */
#define CT_PACKET_L4_CSUM_BAD 8

/**
 * The bytes must not be changed.
 */
#define CT_PACKET_READ_ONLY 16

/**
 * The offset is not known.
 */
#define CT_OFFSET_UNKNOWN 65535

/**
 * The connection of `connection` was found in the reply direction.
 */
#define CT_CONN_REPLY 1

/**
 * The connection of `connection` was found by an ICMP error.
 */
#define CT_CONN_ICMP_RELATED 2

/**
 * The packet is the datapath's again: `ct_packet.verdict`.
 */
#define CT_VERDICT_PASS 0

/**
 * The packet is a fragment that the library holds until its datagram is whole. Its bytes must stay
 * where they are until conntrack_take_fragments() gives it back.
 */
#define CT_VERDICT_HELD 1

/**
 * The source was translated: in `ct_packet.modified`.
 */
#define CT_MODIFIED_SRC 1

/**
 * The destination was translated.
 */
#define CT_MODIFIED_DST 2

/**
 * A helper changed the payload; `length_delta` says by how many bytes it grew.
 */
#define CT_MODIFIED_PAYLOAD 4

/**
 * The transport checksum holds the sum of the new pseudo-header; the device must complete it.
 */
#define CT_MODIFIED_L4_PARTIAL 8

/**
 * Store new connections.
 */
#define CT_ACTION_COMMIT 1

/**
 * A connection found in the reply direction is dropped and begun anew. Implies COMMIT.
 */
#define CT_ACTION_FORCE 2

/**
 * The `nat` member is meant, even when it translates nothing: packets of connections that were
 * committed with a translation are translated.
 */
#define CT_ACTION_NAT 4

/**
 * The `timeout_policy` member is meant.
 */
#define CT_ACTION_TIMEOUT_POLICY 8

/**
 * Sources are translated to the range `src`: in `ct_nat.flags`.
 */
#define CT_NAT_SRC 1

/**
 * Destinations are translated to the range `dst`.
 */
#define CT_NAT_DST 2

/**
 * Ports are chosen at random.
 */
#define CT_NAT_RANDOM 4

/**
 * Addresses are chosen by the source address alone, and are the same after a restart.
 */
#define CT_NAT_PERSISTENT 8

/**
 * No helper: `ct_action.helper`.
 */
#define CT_HELPER_NONE 0

/**
 * FTP, on TCP connections.
 */
#define CT_HELPER_FTP 1

/**
 * TFTP, on UDP connections.
 */
#define CT_HELPER_TFTP 2

/**
 * SIP, on UDP connections.
 */
#define CT_HELPER_SIP 3

/**
 * A packet was seen in the reply direction.
 */
#define CT_STATUS_SEEN_REPLY 2

/**
 * It would survive a full table.
 */
#define CT_STATUS_ASSURED 4

/**
 * Its source is translated.
 */
#define CT_STATUS_SRC_NAT 16

/**
 * Its destination is translated.
 */
#define CT_STATUS_DST_NAT 32

/**
 * TCP sequence numbers are checked.
 */
#define CT_OPTION_TCP_SEQ_CHK 0

/**
 * A TCP connection may be picked up in mid-stream (profiles kernel and strict).
 */
#define CT_OPTION_TCP_LOOSE 1

/**
 * Only a RST that hits the expected sequence number closes (profiles kernel and strict).
 */
#define CT_OPTION_STRICT_RESET 2

/**
 * Checksums that the device did not verify are verified.
 */
#define CT_OPTION_VERIFY_CHECKSUMS 3

/**
 * Packets and bytes are counted per connection.
 */
#define CT_OPTION_ACCOUNTING 4

/**
 * A full table drops unanswered connections before it refuses new ones.
 */
#define CT_OPTION_EARLY_DROP 5

/**
 * TCP: a SYN was seen, or a first packet in mid-stream. This and the next ones are places in
 * `ct_timeout_policy.seconds` and bits of its `present`, numbered as Open vSwitch's
 * CT_DPIF_TP_ATTR_*; from CT_TP_ATTR_GENERIC on they are nf_conntrack's.
 */
#define CT_TP_ATTR_TCP_SYN_SENT 0

/**
 * TCP: one side is not established yet.
 */
#define CT_TP_ATTR_TCP_SYN_RECV 1

/**
 * TCP: both sides are established.
 */
#define CT_TP_ATTR_TCP_ESTABLISHED 2

/**
 * TCP: one side sent its FIN.
 */
#define CT_TP_ATTR_TCP_FIN_WAIT 3

/**
 * TCP: the FIN is acknowledged, the other side may still send (profiles kernel and strict).
 */
#define CT_TP_ATTR_TCP_CLOSE_WAIT 4

/**
 * TCP: both sides sent their FIN, the last is not acknowledged (profiles kernel and strict).
 */
#define CT_TP_ATTR_TCP_LAST_ACK 5

/**
 * TCP: both sides sent their FIN.
 */
#define CT_TP_ATTR_TCP_TIME_WAIT 6

/**
 * TCP: both FINs are acknowledged, or there was a RST.
 */
#define CT_TP_ATTR_TCP_CLOSE 7

/**
 * TCP: both sides sent a SYN (profiles kernel and strict).
 */
#define CT_TP_ATTR_TCP_SYN_SENT2 8

/**
 * TCP: too many retransmissions (profiles kernel and strict).
 */
#define CT_TP_ATTR_TCP_RETRANSMIT 9

/**
 * TCP: data is not acknowledged (profiles kernel and strict).
 */
#define CT_TP_ATTR_TCP_UNACK 10

/**
 * UDP and others: one packet (profile ovs).
 */
#define CT_TP_ATTR_UDP_FIRST 11

/**
 * UDP and others: several packets, all from the originator; nf_conntrack: UDP without a stream.
 */
#define CT_TP_ATTR_UDP_SINGLE 12

/**
 * UDP and others: packets both ways; nf_conntrack: a UDP stream.
 */
#define CT_TP_ATTR_UDP_MULTIPLE 13

/**
 * ICMP: a question without an answer; nf_conntrack: all of ICMP.
 */
#define CT_TP_ATTR_ICMP_FIRST 14

/**
 * ICMP: an answered question (profile ovs).
 */
#define CT_TP_ATTR_ICMP_REPLY 15

/**
 * A protocol that is not tracked by itself (profiles kernel and strict, as all below).
 */
#define CT_TP_ATTR_GENERIC 16

/**
 * GRE without a reply.
 */
#define CT_TP_ATTR_GRE 17

/**
 * GRE both ways.
 */
#define CT_TP_ATTR_GRE_STREAM 18

/**
 * SCTP CLOSED.
 */
#define CT_TP_ATTR_SCTP_CLOSED 19

/**
 * SCTP COOKIE_WAIT.
 */
#define CT_TP_ATTR_SCTP_COOKIE_WAIT 20

/**
 * SCTP COOKIE_ECHOED.
 */
#define CT_TP_ATTR_SCTP_COOKIE_ECHOED 21

/**
 * SCTP ESTABLISHED.
 */
#define CT_TP_ATTR_SCTP_ESTABLISHED 22

/**
 * SCTP SHUTDOWN_SENT.
 */
#define CT_TP_ATTR_SCTP_SHUTDOWN_SENT 23

/**
 * SCTP SHUTDOWN_RECD.
 */
#define CT_TP_ATTR_SCTP_SHUTDOWN_RECD 24

/**
 * SCTP SHUTDOWN_ACK_SENT.
 */
#define CT_TP_ATTR_SCTP_SHUTDOWN_ACK_SENT 25

/**
 * SCTP HEARTBEAT_SENT.
 */
#define CT_TP_ATTR_SCTP_HEARTBEAT_SENT 26

/**
 * No limit: `ct_zone_limit.limit`.
 */
#define CT_ZONE_LIMIT_NONE 4294967295

/**
 * `src_port` is meant: in `ct_tuple_filter.flags`.
 */
#define CT_MATCH_SRC_PORT 1

/**
 * `dst_port` is meant.
 */
#define CT_MATCH_DST_PORT 2

/**
 * `protocol` is meant.
 */
#define CT_MATCH_PROTOCOL 4

/**
 * `icmp_type` is meant.
 */
#define CT_MATCH_ICMP_TYPE 8

/**
 * `zone` is meant: in `ct_filter.flags`.
 */
#define CT_FILTER_ZONE 1

/**
 * `created_since_ms` is meant.
 */
#define CT_FILTER_SINCE 2

/**
 * `created_until_ms` is meant.
 */
#define CT_FILTER_UNTIL 4

/**
 * It may be so or not: a member of struct ct_filter.
 */
#define CT_ANY 0

/**
 * It must be so.
 */
#define CT_YES 1

/**
 * It must not be so.
 */
#define CT_NO 2

/**
 * A connection tracker.
 */
struct conntrack;

/**
 * A tuple: source and destination as one packet carries them. Addresses in network byte order, an
 * IPv4 address in the first four bytes; everything else in host byte order.
 */
struct ct_tuple {
  /**
   * Source address.
   */
  uint8_t src[16];
  /**
   * Destination address.
   */
  uint8_t dst[16];
  /**
   * Source port; ICMP: the identifier.
   */
  uint16_t src_port;
  /**
   * Destination port; ICMP: the identifier.
   */
  uint16_t dst_port;
  /**
   * Zone.
   */
  uint16_t zone;
  /**
   * 4 or 6; 0: no tuple.
   */
  uint8_t ip_version;
  /**
   * IP protocol.
   */
  uint8_t protocol;
  /**
   * ICMP type; otherwise 0.
   */
  uint8_t icmp_type;
  /**
   * ICMP code; otherwise 0.
   */
  uint8_t icmp_code;
  /**
   * Must be 0.
   */
  uint8_t reserved[2];
};

/**
 * What an instance counted.
 */
struct ct_stats {
  /**
   * sizeof(struct ct_stats), set by the caller.
   */
  size_t size;
  /**
   * Connections, those that expired and are not swept yet included.
   */
  uint64_t connections;
  /**
   * Packets whose connection was found.
   */
  uint64_t found;
  /**
   * Packets handled by the connection id they carried.
   */
  uint64_t cached;
  /**
   * Packets that may open a connection.
   */
  uint64_t new_;
  /**
   * Connections stored.
   */
  uint64_t insert;
  /**
   * Packets that are invalid.
   */
  uint64_t invalid;
  /**
   * Connections not stored because the table was full.
   */
  uint64_t table_full;
  /**
   * Connections removed to make room.
   */
  uint64_t early_drop;
  /**
   * Connections removed.
   */
  uint64_t delete_;
  /**
   * Translated packets whose connection was not found.
   */
  uint64_t lookup_natted_miss;
  /**
   * TCP packets outside the window that were let through.
   */
  uint64_t tcp_seq_chk_bypass;
  /**
   * Connections that helpers announced and that are expected.
   */
  uint64_t expect_create;
  /**
   * Announced connections that are not, because there were too many.
   */
  uint64_t expect_full;
  /**
   * Connections not stored because no address and port of their NAT range was free.
   */
  uint64_t nat_exhausted;
  /**
   * Connections not stored because the search of their NAT range ended before it had seen it all.
   */
  uint64_t nat_unsettled;
};

/**
 * Where a dump stands.
 */
struct ct_dump {
  /**
   * sizeof(struct ct_dump), set by the caller.
   */
  size_t size;
  /**
   * The library's own.
   */
  uint64_t position;
  /**
   * The library's own.
   */
  uint32_t zone;
  /**
   * The library's own.
   */
  uint32_t reserved;
};

/**
 * A connection, as listings show it.
 */
struct ct_connection {
  /**
   * sizeof(struct ct_connection), set by the caller.
   */
  size_t size;
  /**
   * Its id.
   */
  uint64_t id;
  /**
   * Tuple of packets in the original direction.
   */
  struct ct_tuple original;
  /**
   * Tuple of packets in the reply direction, as they arrive.
   */
  struct ct_tuple reply;
  /**
   * Mark.
   */
  uint32_t mark;
  /**
   * CT_STATUS_* (numbers of nf_conntrack's IPS_*).
   */
  uint32_t status;
  /**
   * Label, most significant byte first.
   */
  uint8_t label[16];
  /**
   * Milliseconds until it expires.
   */
  uint64_t remaining_ms;
  /**
   * When it was created.
   */
  uint64_t created_ms;
  /**
   * Packets of the original and of the reply direction, with accounting.
   */
  uint64_t packets[2];
  /**
   * Bytes of the original and of the reply direction, with accounting.
   */
  uint64_t bytes[2];
  /**
   * State of the connection (TCP, SCTP), NUL-terminated; empty for other protocols.
   */
  uint8_t state[24];
  /**
   * TCP: state of the originating and of the replying side.
   */
  uint8_t side_state[2][24];
  /**
   * TCP: window scale of both sides; 255 where it is not known.
   */
  uint8_t window_scale[2];
  /**
   * TCP: flags of both sides, with the numbers of nf_conntrack's IP_CT_TCP_FLAG_*.
   */
  uint8_t tcp_flags[2];
  /**
   * CT_HELPER_*.
   */
  uint32_t helper;
  /**
   * The original tuple of the connection whose helper announced this one; `ip_version` 0: none.
   */
  struct ct_tuple parent;
  /**
   * Number of the timeout policy that it was committed with; 0: the instance's.
   */
  uint32_t timeout_policy;
  /**
   * 0.
   */
  uint32_t reserved;
};

/**
 * A part of a tuple. All zero: any tuple.
 */
struct ct_tuple_filter {
  /**
   * CT_MATCH_*.
   */
  uint32_t flags;
  /**
   * 4 or 6; 0: any, and no address may be named.
   */
  uint8_t ip_version;
  /**
   * IP protocol.
   */
  uint8_t protocol;
  /**
   * ICMP type of packets with this tuple.
   */
  uint8_t icmp_type;
  /**
   * Must be 0.
   */
  uint8_t reserved;
  /**
   * Source port; ICMP: the identifier.
   */
  uint16_t src_port;
  /**
   * Destination port; ICMP: the identifier.
   */
  uint16_t dst_port;
  /**
   * Source address, as in struct ct_tuple.
   */
  uint8_t src[16];
  /**
   * Which bits of the source address matter; all zero: any address.
   */
  uint8_t src_mask[16];
  /**
   * Destination address.
   */
  uint8_t dst[16];
  /**
   * Which bits of the destination address matter.
   */
  uint8_t dst_mask[16];
};

/**
 * Which connections are meant: those that all members allow. All zero but `size`: every one.
 */
struct ct_filter {
  /**
   * sizeof(struct ct_filter).
   */
  size_t size;
  /**
   * CT_FILTER_*.
   */
  uint32_t flags;
  /**
   * With CT_FILTER_ZONE: the zone.
   */
  uint16_t zone;
  /**
   * A packet was seen in the reply direction: CT_ANY, CT_YES or CT_NO.
   */
  uint8_t seen_reply;
  /**
   * It would survive a full table: CT_ANY, CT_YES or CT_NO.
   */
  uint8_t assured;
  /**
   * Its source or destination is translated: CT_ANY, CT_YES or CT_NO.
   */
  uint8_t translated;
  /**
   * Must be 0.
   */
  uint8_t reserved[7];
  /**
   * Mark; bits outside the mask must be 0.
   */
  uint32_t mark;
  /**
   * Which bits of the mark matter; 0: none.
   */
  uint32_t mark_mask;
  /**
   * Label, most significant byte first; bits outside the mask must be 0.
   */
  uint8_t label[16];
  /**
   * Which bits of the label matter.
   */
  uint8_t label_mask[16];
  /**
   * With CT_FILTER_SINCE: it was created at this time or after.
   */
  uint64_t created_since_ms;
  /**
   * With CT_FILTER_UNTIL: it was created at this time or before.
   */
  uint64_t created_until_ms;
  /**
   * Tuple of packets in the original direction.
   */
  struct ct_tuple_filter original;
  /**
   * Tuple of packets in the reply direction, as they arrive.
   */
  struct ct_tuple_filter reply;
};

/**
 * A connection that a helper expects.
 */
struct ct_expectation {
  /**
   * The tuple of its first packet; the source port is 0: any.
   */
  struct ct_tuple tuple;
  /**
   * The original tuple of the connection that announced it.
   */
  struct ct_tuple parent;
  /**
   * The id of that connection.
   */
  uint64_t parent_id;
  /**
   * Milliseconds until it ends; UINT64_MAX: with its parent.
   */
  uint64_t remaining_ms;
  /**
   * The mark that the connection will have.
   */
  uint32_t mark;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * The label that it will have, most significant byte first.
   */
  uint8_t label[16];
};

/**
 * A packet, described where it is. Two cache lines: the caller fills the first, the library the
 * second. Before a packet's first pass the second line must be zero; between passes (recirculation)
 * it stays as it is. 64-byte alignment is best, 8-byte alignment is required.
 */
struct ct_packet {
  /**
   * First contiguous byte: of the frame, or of the IP header with `l3_offset` 0.
   */
  uint8_t *data;
  /**
   * Contiguous bytes at `data`; all headers must be among them. The library changes it (and
   * `total_length` and `tailroom`) when a helper changes the length of the payload.
   */
  uint32_t length;
  /**
   * Length of the whole packet from `data` on, when it is chained; 0: `length`.
   */
  uint32_t total_length;
  /**
   * CT_PACKET_*.
   */
  uint32_t flags;
  /**
   * Offset of the IP header; CT_OFFSET_UNKNOWN: `data` begins with an Ethernet header.
   */
  uint16_t l3_offset;
  /**
   * Offset of the transport header, or CT_OFFSET_UNKNOWN. Not read in this version.
   */
  uint16_t l4_offset;
  /**
   * Bytes behind `length` that a helper may use when the payload grows.
   */
  uint32_t tailroom;
  /**
   * Input port.
   */
  uint32_t in_port;
  /**
   * The datapath's own: a packet pointer, an index. Never read.
   */
  uint64_t cookie;
  /**
   * Where to put the connection's original tuple, and where to find it in a later pass; or NULL.
   */
  struct ct_tuple *orig_tuple;
  /**
   * Must be 0.
   */
  uint64_t reserved_in[2];
  /**
   * The connection: what the last pass found, 0 for none. An id, not a pointer.
   */
  uint64_t connection;
  /**
   * CT_STATE_*; 0 for a packet that was not tracked.
   */
  uint32_t ct_state;
  /**
   * Zone of the last pass.
   */
  uint16_t ct_zone;
  /**
   * CT_VERDICT_*.
   */
  uint8_t verdict;
  /**
   * Why it is invalid or was not stored: see ct_reason_text().
   */
  uint8_t reason;
  /**
   * Connection mark.
   */
  uint32_t ct_mark;
  /**
   * CT_MODIFIED_*: what was rewritten by this call.
   */
  uint32_t modified;
  /**
   * Connection label, most significant byte first.
   */
  uint8_t ct_label[16];
  /**
   * Bytes by which this call made the packet longer; negative: shorter.
   */
  int32_t length_delta;
  /**
   * CT_CONN_*.
   */
  uint32_t connection_flags;
  /**
   * Left alone.
   */
  uint64_t reserved_out[2];
};

/**
 * Addresses and ports to translate to.
 */
struct ct_nat_range {
  /**
   * Lowest address, as in struct ct_tuple; all zero: packets keep theirs.
   */
  uint8_t min_address[16];
  /**
   * Highest address, inclusive; all zero: `min_address`.
   */
  uint8_t max_address[16];
  /**
   * Lowest port; 0: no range of ports, they are kept where that is possible.
   */
  uint16_t min_port;
  /**
   * Highest port, inclusive; 0: `min_port`.
   */
  uint16_t max_port;
  /**
   * Must be 0.
   */
  uint32_t reserved;
};

/**
 * The `nat()` part of an action.
 */
struct ct_nat {
  /**
   * CT_NAT_*. Neither CT_NAT_SRC nor CT_NAT_DST: new connections are not translated.
   */
  uint32_t flags;
  /**
   * 4 or 6: the addresses' version. 0: no address is named.
   */
  uint8_t ip_version;
  /**
   * Must be 0.
   */
  uint8_t reserved[3];
  /**
   * New sources.
   */
  struct ct_nat_range src;
  /**
   * New destinations.
   */
  struct ct_nat_range dst;
};

/**
 * The `ct()` action: what is asked for every packet of a batch.
 */
struct ct_action {
  /**
   * sizeof(struct ct_action).
   */
  size_t size;
  /**
   * CT_ACTION_*.
   */
  uint32_t flags;
  /**
   * Zone to track in.
   */
  uint16_t zone;
  /**
   * Must be 0.
   */
  uint16_t reserved;
  /**
   * Mark to set; bits outside the mask must be 0.
   */
  uint32_t mark;
  /**
   * Which bits of the mark to set; 0: none.
   */
  uint32_t mark_mask;
  /**
   * Label to set, most significant byte first; bits outside the mask must be 0.
   */
  uint8_t label[16];
  /**
   * Which bits of the label to set; 0: none.
   */
  uint8_t label_mask[16];
  /**
   * CT_HELPER_*: the helper of connections that this action commits.
   */
  uint32_t helper;
  /**
   * With CT_ACTION_TIMEOUT_POLICY: the timeout policy of connections that this action commits.
   */
  uint32_t timeout_policy;
  /**
   * With CT_ACTION_NAT: how to translate.
   */
  struct ct_nat nat;
};

/**
 * What a sweep did.
 */
struct ct_sweep {
  /**
   * sizeof(struct ct_sweep), set by the caller.
   */
  size_t size;
  /**
   * Records looked at.
   */
  uint32_t looked_at;
  /**
   * Connections removed.
   */
  uint32_t removed;
  /**
   * 1: everything that was due has been dealt with.
   */
  uint32_t complete;
  /**
   * 0.
   */
  uint32_t reserved;
};

/**
 * How an instance is made.
 */
struct ct_config {
  /**
   * sizeof(struct ct_config).
   */
  size_t size;
  /**
   * CT_PROFILE_*.
   */
  uint32_t profile;
  /**
   * Limit of connections; 0: 3,000,000.
   */
  uint32_t max_connections;
  /**
   * Connections for which memory is made ready at once; 0: none, the table grows.
   */
  uint32_t initial_connections;
  /**
   * CT_CONFIG_*.
   */
  uint32_t flags;
  /**
   * Milliseconds between sweeps of the background thread; 0: 20,000.
   */
  uint32_t sweep_interval_ms;
  /**
   * Must be 0.
   */
  uint32_t reserved;
};

/**
 * How fragments are reassembled (Open vSwitch's `ipf`). Members that are 0 have their defaults.
 */
struct ct_ipf {
  /**
   * sizeof(struct ct_ipf).
   */
  size_t size;
  /**
   * 1: IPv4 fragments are held and reassembled.
   */
  uint32_t v4;
  /**
   * 1: IPv6 fragments are held and reassembled.
   */
  uint32_t v6;
  /**
   * Fragments held at most; 0: 1000. At most 5000.
   */
  uint32_t max_frags;
  /**
   * Smallest IPv4 fragment that is not the last one, from its IP header on; 0: 1200.
   */
  uint16_t min_v4_frag_size;
  /**
   * The same for IPv6; 0: 1280.
   */
  uint16_t min_v6_frag_size;
  /**
   * Milliseconds in which a datagram must become whole; 0: 15,000.
   */
  uint32_t lifetime_ms;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * Bytes of all packets that are held, at most; 0: 16 MiB.
   */
  uint64_t max_bytes;
};

/**
 * What was counted of the fragments of one IP version.
 */
struct ct_ipf_counts {
  /**
   * Held, or the last of their datagram.
   */
  uint64_t accepted;
  /**
   * Of datagrams that became whole.
   */
  uint64_t completed;
  /**
   * Of datagrams that did not in their time.
   */
  uint64_t expired;
  /**
   * Below the minimum size.
   */
  uint64_t too_small;
  /**
   * Overlapping another one.
   */
  uint64_t overlapping;
  /**
   * Not held because too much was held already.
   */
  uint64_t full;
  /**
   * Given back by conntrack_flush_fragments().
   */
  uint64_t flushed;
};

/**
 * Settings and counts of reassembly.
 */
struct ct_ipf_status {
  /**
   * sizeof(struct ct_ipf_status), set by the caller.
   */
  size_t size;
  /**
   * 1: IPv4 fragments are held.
   */
  uint32_t v4;
  /**
   * 1: IPv6 fragments are held.
   */
  uint32_t v6;
  /**
   * Fragments held at most.
   */
  uint32_t max_frags;
  /**
   * Fragments held now.
   */
  uint32_t frags;
  /**
   * Smallest IPv4 fragment that is not the last one.
   */
  uint16_t min_v4_frag_size;
  /**
   * Smallest IPv6 fragment that is not the last one.
   */
  uint16_t min_v6_frag_size;
  /**
   * Milliseconds in which a datagram must become whole.
   */
  uint32_t lifetime_ms;
  /**
   * Bytes of all packets that are held, at most.
   */
  uint64_t max_bytes;
  /**
   * Of IPv4.
   */
  struct ct_ipf_counts counts_v4;
  /**
   * Of IPv6.
   */
  struct ct_ipf_counts counts_v6;
};

/**
 * How long connections may be idle, by what they wait for (Open vSwitch's CT_Timeout_Policy).
 */
struct ct_timeout_policy {
  /**
   * sizeof(struct ct_timeout_policy).
   */
  size_t size;
  /**
   * Its number. 0 is the instance itself: what other policies leave out is as it says.
   */
  uint32_t id;
  /**
   * Bit 1 << CT_TP_ATTR_* for each member of `seconds` that is meant. What is left out is as
   * policy 0 says, and there as it is built in.
   */
  uint32_t present;
  /**
   * Seconds, by CT_TP_ATTR_*. Those beyond the last attribute must be 0.
   */
  uint32_t seconds[32];
  /**
   * Its name, NUL-terminated UTF-8; empty: none.
   */
  uint8_t name[64];
};

/**
 * What is known of a zone's connections.
 */
struct ct_zone_limit {
  /**
   * The zone.
   */
  uint16_t zone;
  /**
   * 0.
   */
  uint16_t reserved;
  /**
   * The limit of its own; CT_ZONE_LIMIT_NONE: it has none, and the default one holds.
   */
  uint32_t limit;
  /**
   * How many connections of the whole limit are kept for it; 0: none.
   */
  uint32_t guarantee;
  /**
   * Connections that it has. What was flushed does not count, what expired counts until it is
   * swept.
   */
  uint32_t count;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Flushes all connections, or those of `*zone`. They are invisible when this returns; their memory
 * is given back by the sweep, and until then they count as connections.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `zone` is NULL or points to a number.
 */
CT_API int conntrack_flush(struct conntrack *ct, const uint16_t *zone);

/**
 * Removes the connection to which packets with `*tuple` belong, in either direction.
 *
 * Returns 0, EINVAL, or ENOENT when there is none.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `tuple` points to a tuple.
 */
CT_API
int conntrack_flush_tuple(struct conntrack *ct,
                          const struct ct_tuple *tuple,
                          int64_t now_ms);

/**
 * Sets the limit of connections. Those beyond it stay.
 *
 * Returns 0, or EINVAL beyond 2^30.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_set_maxconns(struct conntrack *ct, uint32_t maxconns);

/**
 * Tells the limit of connections.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `maxconns` points to a number.
 */
CT_API int conntrack_get_maxconns(struct conntrack *ct, uint32_t *maxconns);

/**
 * Tells the number of connections, those that expired or were flushed and are not swept yet included.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `nconns` points to a number.
 */
CT_API
int conntrack_get_nconns(struct conntrack *ct,
                         uint32_t *nconns);

/**
 * Sets a switch, CT_OPTION_*, to 0 or 1. Batches that are under way may still use the old value.
 *
 * Returns 0, EINVAL, or ENOMEM (accounting).
 *
 * Threads: any; calls that change different switches at the same time are both heard.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_set_option(struct conntrack *ct, uint32_t option, uint32_t value);

/**
 * Tells a switch, CT_OPTION_*.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `value` points to a number.
 */
CT_API int conntrack_get_option(struct conntrack *ct, uint32_t option, uint32_t *value);

/**
 * Makes TCP in a zone liberal (1: sequence numbers are tracked, nothing is refused for them) or
 * strict again (0).
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_set_zone_liberal(struct conntrack *ct, uint16_t zone, uint32_t liberal);

/**
 * Tells what the instance counted since its creation.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any. Counters of threads at work are moments apart; each only grows.
 *
 * # Safety
 * `ct` is an instance; `stats` points to a struct of the size that it says.
 */
CT_API int conntrack_get_stats(struct conntrack *ct, struct ct_stats *stats);

/**
 * Tells how many packets had a reason, see ct_reason_text().
 *
 * Returns 0, or EINVAL for a number that is no reason.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `count` points to a number.
 */
CT_API int conntrack_get_reason_count(struct conntrack *ct, uint8_t reason, uint64_t *count);

/**
 * Begins a dump of all connections, or of those of `*zone`. The caller sets `dump->size`. A dump
 * holds nothing: it need not be ended.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any; a dump is for one thread at a time.
 *
 * # Safety
 * `ct` is an instance; `zone` is NULL or points to a number; `dump` points to a struct of the size
 * that it says.
 */
CT_API int conntrack_dump_start(struct conntrack *ct, const uint16_t *zone, struct ct_dump *dump);

/**
 * The next connection of a dump. The caller sets `connection->size`. A connection that lives
 * throughout the dump is listed exactly once, whatever happens to others meanwhile.
 *
 * Returns 0; ENODATA at the end; EINVAL.
 *
 * Threads: any; a dump is for one thread at a time.
 *
 * # Safety
 * `ct` is an instance; `dump` was begun; `connection` points to a struct of the size that it says.
 */
CT_API
int conntrack_dump_next(struct conntrack *ct,
                        struct ct_dump *dump,
                        int64_t now_ms,
                        struct ct_connection *connection);

/**
 * The next connection of a dump that `*filter` means, as conntrack_dump_next(). The filter may be
 * another one in every call.
 *
 * Returns 0; ENODATA at the end; EINVAL; E2BIG.
 *
 * Threads: any; a dump is for one thread at a time.
 *
 * # Safety
 * `ct` is an instance; `dump` was begun; `filter` and `connection` point to structs of the sizes that
 * they say.
 */
CT_API
int conntrack_dump_next_matching(struct conntrack *ct,
                                 struct ct_dump *dump,
                                 const struct ct_filter *filter,
                                 int64_t now_ms,
                                 struct ct_connection *connection);

/**
 * The connection to which packets with `*tuple` belong, in either direction.
 *
 * Returns 0, EINVAL, or ENOENT.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `tuple` points to a tuple, `connection` to a struct of the size that it says.
 */
CT_API
int conntrack_lookup(struct conntrack *ct,
                     const struct ct_tuple *tuple,
                     int64_t now_ms,
                     struct ct_connection *connection);

/**
 * The connection with this id, if it still lives.
 *
 * Returns 0, EINVAL, or ENOENT.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `connection` points to a struct of the size that it says.
 */
CT_API
int conntrack_get(struct conntrack *ct,
                  uint64_t id,
                  int64_t now_ms,
                  struct ct_connection *connection);

/**
 * Fills `array` with up to `n` of the connections that helpers expect, and `*total` with their number
 * at that moment. `array` may be NULL when `n` is 0.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `array` has room for `n` elements; `total` points to a number.
 */
CT_API
int conntrack_get_expectations(struct conntrack *ct,
                               int64_t now_ms,
                               struct ct_expectation *array,
                               size_t n,
                               size_t *total);

/**
 * Tracks a batch of packets at time `now_ms` (milliseconds since any epoch, the same in all calls).
 *
 * Every packet receives its verdict in its second line. The result is that of calling the function
 * for one packet after the other. A packet that is malformed is a packet like any other: it becomes
 * CT_STATE_INVALID. After an internal error every packet is left untracked (as by conntrack_clear())
 * and ENOTRECOVERABLE is returned.
 *
 * Returns 0; EINVAL for a NULL or misaligned argument, unknown flags, or values outside their
 * masks; E2BIG for an action of a later version. No packet was touched then.
 *
 * Threads: any number at once; no packet in two calls at the same time.
 *
 * # Safety
 * `ct` is an instance; `packets` points to `n` packets, whose `data` has `length` bytes that nobody
 * else writes during the call and whose `orig_tuple` is NULL or a tuple; `action` points to a struct
 * of the size that it says.
 */
CT_API
int conntrack_execute(struct conntrack *ct,
                      struct ct_packet *packets,
                      size_t n,
                      const struct ct_action *action,
                      int64_t now_ms);

/**
 * Makes a packet as if it had never been tracked (the `ct_clear` action). NULL is ignored.
 *
 * Threads: any; no packet in two calls at the same time.
 *
 * # Safety
 * `packet` is NULL or points to a packet.
 */
CT_API void conntrack_clear(struct ct_packet *packet);

/**
 * Gives back the memory of connections that expired or were flushed, looking at `budget` records at
 * most (0: no limit). Also maps memory for the connections to come, so that packets don't wait for
 * it. `out` may be NULL.
 *
 * A connection is invisible the moment it expires, swept or not. Call this from the datapath's own
 * loop, or have a thread do it (CT_CONFIG_BACKGROUND_SWEEP).
 *
 * Returns 0, EINVAL, or E2BIG.
 *
 * Threads: any; one sweeps at a time, others return at once with nothing done.
 *
 * # Safety
 * `ct` is an instance; `out` is NULL or points to a struct of the size that it says.
 */
CT_API
int conntrack_sweep(struct conntrack *ct,
                    int64_t now_ms,
                    uint32_t budget,
                    struct ct_sweep *out);

/**
 * Creates a connection tracker.
 *
 * `config` may be NULL for the defaults: profile `ovs`, 3,000,000 connections, no background thread.
 * `*out` receives the instance, to be destroyed with conntrack_destroy().
 *
 * Returns 0; EINVAL for a setting out of range or a NULL `out`; E2BIG for a config of a later
 * version with members this one does not know; ENOMEM.
 *
 * Threads: any.
 *
 * # Safety
 * `config` is NULL or points to a struct of the size that it says; `out` points to a pointer.
 */
CT_API
int conntrack_create(const struct ct_config *config,
                     struct conntrack **out);

/**
 * Destroys a connection tracker and everything it holds. NULL is ignored.
 *
 * Threads: no other call on the instance may be under way, and none may follow.
 *
 * # Safety
 * `ct` is NULL or an instance that was not destroyed yet.
 */
CT_API void conntrack_destroy(struct conntrack *ct);

/**
 * Says how fragments are dealt with. Until it is called none are held, and every fragment is
 * CT_STATE_INVALID.
 *
 * Once reassembly is on, conntrack_execute() may leave packets with CT_VERDICT_HELD: fragments that
 * wait for the others of their datagram. Such a packet, its bytes and its `orig_tuple` must stay where
 * they are; the descriptor itself was copied. When the last fragment comes it gets its verdict like any
 * packet, and the others get the same one and are there for conntrack_take_fragments(). Headers that
 * are translated are translated in every fragment; sizes stay as they were.
 *
 * Returns 0; EINVAL for a value out of range; E2BIG.
 *
 * Threads: any. What is held already stays held.
 *
 * # Safety
 * `ct` is an instance; `settings` points to a struct of the size that it says.
 */
CT_API
int conntrack_set_ipf(struct conntrack *ct,
                      const struct ct_ipf *settings);

/**
 * Tells how fragments are dealt with, and what was counted.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `status` points to a struct of the size that it says.
 */
CT_API int conntrack_get_ipf_status(struct conntrack *ct, struct ct_ipf_status *status);

/**
 * Gives back fragments that were held: up to `n` descriptors, as they were handed in, with their
 * verdicts; `*taken` receives how many. To be called after conntrack_execute(), and now and then when
 * no packets come. Fragments whose datagram did not become whole in its time are CT_STATE_INVALID.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any; each fragment is given back once.
 *
 * # Safety
 * `ct` is an instance; `packets` has room for `n` packets; `taken` points to a number.
 */
CT_API
int conntrack_take_fragments(struct conntrack *ct,
                             int64_t now_ms,
                             struct ct_packet *packets,
                             size_t n,
                             size_t *taken);

/**
 * Gives up all datagrams that are not whole. Their fragments are there for
 * conntrack_take_fragments(); to be called before conntrack_destroy(), which forgets what is held.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_flush_fragments(struct conntrack *ct);

/**
 * Sets the timeout policy `policy->id`, or sets it anew: what is not in `present` is then as policy 0
 * says. It acts on living connections with their next packets. Policy 0 is the instance's own, for
 * connections without a policy.
 *
 * Returns 0; EINVAL for unknown attributes or a name without NUL, and after 65,535 different numbers;
 * EEXIST when another policy has the name; E2BIG.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `policy` points to a struct of the size that it says.
 */
CT_API
int conntrack_set_timeout_policy(struct conntrack *ct,
                                 const struct ct_timeout_policy *policy);

/**
 * Tells a timeout policy as it was set. The caller sets `policy->size`.
 *
 * Returns 0, EINVAL, or ENOENT.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `policy` points to a struct of the size that it says.
 */
CT_API
int conntrack_get_timeout_policy(struct conntrack *ct,
                                 uint32_t id,
                                 struct ct_timeout_policy *policy);

/**
 * Deletes a timeout policy. Living connections and zones that have it are as policy 0 says, until one
 * with the number is set again. Policy 0 becomes as it is built in.
 *
 * Returns 0, EINVAL, or ENOENT.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API
int conntrack_delete_timeout_policy(struct conntrack *ct,
                                    uint32_t id);

/**
 * Tells the number of the timeout policy with a name.
 *
 * Returns 0, EINVAL, or ENOENT.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `name` is a NUL-terminated text; `id` points to a number.
 */
CT_API int conntrack_find_timeout_policy(struct conntrack *ct, const char *name, uint32_t *id);

/**
 * Fills `ids` with the numbers of up to `n` timeout policies, ascending, and `*total` with how many
 * there are. `ids` may be NULL when `n` is 0.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `ids` has room for `n` numbers; `total` points to a number.
 */
CT_API
int conntrack_get_timeout_policies(struct conntrack *ct,
                                   uint32_t *ids,
                                   size_t n,
                                   size_t *total);

/**
 * Sets the timeout policy of connections that are committed in `zone` by actions that name none; with
 * `id` NULL, takes it away. A zone without one uses that of zone 0, and without that policy 0.
 *
 * Returns 0, EINVAL, or ENOENT when there is no such policy.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `id` is NULL or points to a number.
 */
CT_API
int conntrack_set_zone_timeout_policy(struct conntrack *ct,
                                      uint16_t zone,
                                      const uint32_t *id);

/**
 * Tells the timeout policy that was set for a zone.
 *
 * Returns 0, EINVAL, or ENOENT when it has none of its own.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `id` points to a number.
 */
CT_API int conntrack_get_zone_timeout_policy(struct conntrack *ct, uint16_t zone, uint32_t *id);

/**
 * The version of this library, e.g. "0.1.0". Never NULL; lives as long as the library.
 *
 * Threads: any.
 */
CT_API const char *ct_version(void);

/**
 * The message of the calling thread's last failed call; empty before the first. Never NULL; lives
 * until the thread's next failed call.
 *
 * Threads: any.
 */
CT_API const char *ct_last_error(void);

/**
 * What a reason means, in a sentence; "unknown" for a number that is none. Never NULL.
 *
 * Threads: any.
 */
CT_API const char *ct_reason_text(uint8_t reason);

/**
 * The name of a reason, as in listings; "unknown" for a number that is none. Never NULL.
 *
 * Threads: any.
 */
CT_API const char *ct_reason_name(uint8_t reason);

/**
 * Sets how many connections a zone may have. Those beyond it stay. A limit of 0 admits nothing in
 * profile ovs, and is no limit in the others.
 *
 * Returns 0, or EINVAL (also for CT_ZONE_LIMIT_NONE; see conntrack_delete_zone_limit()).
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_set_zone_limit(struct conntrack *ct, uint16_t zone, uint32_t limit);

/**
 * Takes a zone's own limit away; the default one holds then.
 *
 * Returns 0, EINVAL, or ENOENT when it has none.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_delete_zone_limit(struct conntrack *ct, uint16_t zone);

/**
 * Sets the limit of zones that have none of their own; 0 or CT_ZONE_LIMIT_NONE: there is none.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_set_default_zone_limit(struct conntrack *ct, uint32_t limit);

/**
 * Tells the limit of zones that have none of their own; CT_ZONE_LIMIT_NONE: there is none.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `limit` points to a number.
 */
CT_API int conntrack_get_default_zone_limit(struct conntrack *ct, uint32_t *limit);

/**
 * Keeps room for `guarantee` connections of a zone, which no other zone may take from the limit of
 * conntrack_set_maxconns(); 0: none. Room that others have already becomes the zone's as they end.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int conntrack_set_zone_guarantee(struct conntrack *ct, uint16_t zone, uint32_t guarantee);

/**
 * Tells limit, guarantee and number of connections of a zone, in constant time. Every zone can be
 * asked for; connections are counted with and without a limit.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any. The number is that of a moment.
 *
 * # Safety
 * `ct` is an instance; `limit` points to a struct.
 */
CT_API
int conntrack_get_zone_limit(struct conntrack *ct,
                             uint16_t zone,
                             struct ct_zone_limit *limit);

/**
 * Fills `array` with up to `n` of the zones that have a limit, a guarantee or connections, ascending,
 * and `*total` with how many there are. `array` may be NULL when `n` is 0.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any. The numbers are moments apart.
 *
 * # Safety
 * `ct` is an instance; `array` has room for `n` elements; `total` points to a number.
 */
CT_API
int conntrack_get_zone_limits(struct conntrack *ct,
                              struct ct_zone_limit *array,
                              size_t n,
                              size_t *total);

/**
 * Removes the connections that `*filter` means. One that names protocol, both addresses and ports of
 * the original tuple, and the zone, is looked up; any other is looked for among all connections.
 *
 * `*removed` receives how many there were; `removed` may be NULL.
 *
 * Returns 0, EINVAL, or E2BIG.
 *
 * Threads: any. A connection that begins meanwhile may stay.
 *
 * # Safety
 * `ct` is an instance; `filter` points to a struct of the size that it says; `removed` is NULL or
 * points to a number.
 */
CT_API
int conntrack_flush_matching(struct conntrack *ct,
                             const struct ct_filter *filter,
                             int64_t now_ms,
                             uint32_t *removed);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CTOFFLOAD_H */
