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
 * The packet took the fast path of a flow table.
 */
#define CT_CONN_FLOW 4

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
 * It is in its zone's flow table.
 */
#define CT_STATUS_OFFLOAD 16384

/**
 * An offload provider carries it.
 */
#define CT_STATUS_HW_OFFLOAD 32768

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
 * A connection was stored: `ct_event.kind`, and a bit of `ct_listen.kinds`.
 */
#define CT_EVENT_NEW 1

/**
 * It changed: see `ct_event.changes`.
 */
#define CT_EVENT_UPDATE 2

/**
 * It ended: see `ct_event.ending`.
 */
#define CT_EVENT_DESTROY 4

/**
 * The state of its protocol, as listings name it: in `ct_event.changes`.
 */
#define CT_CHANGE_STATE 1

/**
 * It was answered for the first time, or became assured.
 */
#define CT_CHANGE_STATUS 2

/**
 * Its mark.
 */
#define CT_CHANGE_MARK 4

/**
 * Its label.
 */
#define CT_CHANGE_LABEL 8

/**
 * It was idle for too long, or its protocol was done with it: `ct_event.ending`.
 */
#define CT_ENDING_EXPIRED 1

/**
 * It was flushed.
 */
#define CT_ENDING_FLUSHED 2

/**
 * It made room in a full table.
 */
#define CT_ENDING_EARLY_DROP 3

/**
 * A packet began another connection in its place.
 */
#define CT_ENDING_REPLACED 4

/**
 * Input port: in `ct_field_match.field` and `ct_flow_action.field`.
 */
#define CT_FIELD_IN_PORT 0

/**
 * Recirculation id, or chain.
 */
#define CT_FIELD_RECIRCULATION 1

/**
 * Tunnel key.
 */
#define CT_FIELD_TUNNEL_ID 2

/**
 * Outer source address.
 */
#define CT_FIELD_TUNNEL_SRC 3

/**
 * Outer destination address.
 */
#define CT_FIELD_TUNNEL_DST 4

/**
 * Ethernet source.
 */
#define CT_FIELD_ETH_SRC 5

/**
 * EtherType of what the VLAN tags carry.
 */
#define CT_FIELD_ETH_TYPE 6

/**
 * Ethernet destination.
 */
#define CT_FIELD_ETH_DST 7

/**
 * 0: no fragment.
 */
#define CT_FIELD_FRAGMENT 8

/**
 * Outer VLAN: TPID in the high, TCI in the low half of 32 bits; 0: none.
 */
#define CT_FIELD_VLAN 9

/**
 * Inner VLAN.
 */
#define CT_FIELD_INNER_VLAN 10

/**
 * Source address.
 */
#define CT_FIELD_IP_SRC 11

/**
 * Destination address.
 */
#define CT_FIELD_IP_DST 12

/**
 * IP protocol.
 */
#define CT_FIELD_PROTO 13

/**
 * Type of service, or traffic class.
 */
#define CT_FIELD_TOS 14

/**
 * Time to live, or hop limit.
 */
#define CT_FIELD_TTL 15

/**
 * Source port, or ICMP type.
 */
#define CT_FIELD_PORT_SRC 16

/**
 * Destination port, or ICMP code.
 */
#define CT_FIELD_PORT_DST 17

/**
 * TCP flags.
 */
#define CT_FIELD_TCP_FLAGS 18

/**
 * CT_STATE_*.
 */
#define CT_FIELD_CT_STATE 19

/**
 * Zone.
 */
#define CT_FIELD_CT_ZONE 20

/**
 * Mark.
 */
#define CT_FIELD_CT_MARK 21

/**
 * Label.
 */
#define CT_FIELD_CT_LABEL 22

/**
 * The packet, as it is now, goes out of port `number`: `ct_flow_action.kind`.
 */
#define CT_FLOW_OUTPUT 0

/**
 * The bits `mask` of `field` are set to those of `value`.
 */
#define CT_FLOW_SET 1

/**
 * The VLAN tag `number`, TPID in the high half, is put on.
 */
#define CT_FLOW_PUSH_VLAN 2

/**
 * The outer VLAN tag is taken off.
 */
#define CT_FLOW_POP_VLAN 3

/**
 * The packet gets the tunnel headers that the datapath knows by `number`.
 */
#define CT_FLOW_TUNNEL_PUSH 4

/**
 * The packet is taken out of a tunnel. Not mergeable: look it up again behind the tunnel.
 */
#define CT_FLOW_TUNNEL_POP 5

/**
 * conntrack_execute() with `ct`. Without CT_ACTION_FORCE and a helper, mergeable.
 */
#define CT_FLOW_CT 6

/**
 * The packet goes on with the filters of chain, or recirculation id, `number`.
 */
#define CT_FLOW_RECIRCULATE 7

/**
 * Nothing more happens to the packet.
 */
#define CT_FLOW_DROP 8

/**
 * A meter decides. Not mergeable.
 */
#define CT_FLOW_METER 9

/**
 * A program decides. Not mergeable.
 */
#define CT_FLOW_USERSPACE 10

/**
 * Only in merged flows: the tracker set the whole `field` to `value`.
 */
#define CT_FLOW_TRACKED 11

/**
 * The cache does not hold TCP to its window: in `ct_fastpath_config.flags`.
 */
#define CT_FASTPATH_NO_WINDOWS 1

/**
 * Offered when it is created and committed (Open vSwitch's ct-offload series): `offer_at`.
 */
#define CT_OFFER_AT_COMMIT 0

/**
 * Offered at its first packet in the reply direction.
 */
#define CT_OFFER_AT_FIRST_REPLY 1

/**
 * Offered when the TCP handshake is complete; other protocols as CT_OFFER_AT_FIRST_REPLY.
 */
#define CT_OFFER_AT_HANDSHAKE 2

/**
 * Offered when packets of both directions were seen after it was established.
 */
#define CT_OFFER_AT_BOTH 3

/**
 * Callbacks run on workers, through bounded queues, not on the packet thread: in
 * `ct_offload_class.flags`.
 */
#define CT_OFFLOAD_QUEUED 1

/**
 * Helpers' control connections are offered too.
 */
#define CT_OFFLOAD_WANTS_CONTROL 2

/**
 * Only connections of `ct_offload_class.zone` are offered.
 */
#define CT_OFFLOAD_ONE_ZONE 4

/**
 * The window scale is known: in `ct_offload_tcp_side.flags`.
 */
#define CT_TCP_SIDE_SCALE 1

/**
 * This side sent a FIN.
 */
#define CT_TCP_SIDE_CLOSE_INITIATED 2

/**
 * The other side acknowledged that FIN.
 */
#define CT_TCP_SIDE_LAST_ACK_SEEN 4

/**
 * This side sent data that is not acknowledged.
 */
#define CT_TCP_SIDE_DATA_UNACKED 8

/**
 * `ct_offload_ctx.tcp` is meant.
 */
#define CT_OFFLOAD_CTX_TCP 1

/**
 * `last_used_ms` is known: in `ct_offload_report.flags`.
 */
#define CT_OFFLOAD_REPORT_USED 1

/**
 * The original side sent a FIN or RST that only the device saw.
 */
#define CT_OFFLOAD_REPORT_CLOSING_ORIGINAL 2

/**
 * The replying side did.
 */
#define CT_OFFLOAD_REPORT_CLOSING_REPLY 4

/**
 * `tcp` holds the window as the device knows it.
 */
#define CT_OFFLOAD_REPORT_TCP 8

/**
 * conn_add: `ct_offload_op.kind`, in the order of Open vSwitch's enum.
 */
#define CT_OFFLOAD_OP_ADD 0

/**
 * conn_del; the provider may fill `report`.
 */
#define CT_OFFLOAD_OP_DEL 1

/**
 * conn_update; the provider fills `report`.
 */
#define CT_OFFLOAD_OP_UPD 2

/**
 * can_offload; `error` 0: yes.
 */
#define CT_OFFLOAD_OP_POLICY 3

/**
 * flush; `ctx` is of no connection.
 */
#define CT_OFFLOAD_OP_FLUSH 4

/**
 * conn_established; `error` 0: yes, EAGAIN: ask again.
 */
#define CT_OFFLOAD_OP_EST 5

/**
 * conn_changed.
 */
#define CT_OFFLOAD_OP_CHANGED 6

/**
 * `ct_offload_op.error` of an operation that the provider did not look at.
 */
#define CT_OFFLOAD_UNTOUCHED 65535

/**
 * Mark or label changed.
 */
#define CT_OFFLOAD_CHANGED_METADATA 1

/**
 * The timeouts changed.
 */
#define CT_OFFLOAD_CHANGED_POLICY 2

/**
 * The translation changed. Not sent by this version: a translation is for a connection's life.
 */
#define CT_OFFLOAD_CHANGED_NAT 3

/**
 * It was not offered: `ct_offload_standing.state`.
 */
#define CT_OFFLOAD_STATE_NONE 0

/**
 * An add is under way.
 */
#define CT_OFFLOAD_STATE_PENDING 1

/**
 * The provider has it.
 */
#define CT_OFFLOAD_STATE_ADDED 2

/**
 * The provider has it, and is being told that it is established.
 */
#define CT_OFFLOAD_STATE_ASKED 3

/**
 * The provider has it and knows that it is established.
 */
#define CT_OFFLOAD_STATE_ESTABLISHED 4

/**
 * A delete is under way.
 */
#define CT_OFFLOAD_STATE_CLOSING 5

/**
 * The provider refused it, and is not asked again.
 */
#define CT_OFFLOAD_STATE_FAILED 6

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
 * A reference to the flow table of a zone.
 */
struct ct_flow_table;

/**
 * Somebody who listens to an instance.
 */
struct ct_listener;

/**
 * The dummy provider, with the name "dummy".
 */
struct ct_offload_dummy;

/**
 * A simulated device, registered with the name "sim".
 */
struct ct_offload_sim;

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
  /**
   * Connections not stored because of their zone's limit or the guarantees of others.
   */
  uint64_t zone_full;
  /**
   * Fragments that were held.
   */
  uint64_t fragments_held;
  /**
   * Packets that offload providers report to have carried.
   */
  uint64_t offloaded;
  /**
   * Packets from hardware that went on where it left them.
   */
  uint64_t resumed;
};

/**
 * What the dummy provider counted.
 */
struct ct_offload_dummy_counts {
  /**
   * sizeof(struct ct_offload_dummy_counts), set by the caller.
   */
  size_t size;
  /**
   * Calls of conn_add.
   */
  uint64_t added;
  /**
   * Calls of conn_del.
   */
  uint64_t deleted;
  /**
   * Calls of conn_update.
   */
  uint64_t updated;
  /**
   * Calls of conn_established.
   */
  uint64_t established;
  /**
   * Calls of conn_changed.
   */
  uint64_t changed;
  /**
   * Calls of flush.
   */
  uint64_t flushed;
  /**
   * Connections that it has now.
   */
  uint64_t held;
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
 *
 * One that names a zone, or a whole address of either tuple, is quick: of the other connections a few
 * bytes are compared, and one in 256 of those with another address is opened. Any other filter, also
 * one of an address with a shorter mask, opens every connection (of the zone, if it names one).
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
   * It is in its zone's flow table: CT_ANY, CT_YES or CT_NO.
   */
  uint8_t flow;
  /**
   * An offload provider carries it: CT_ANY, CT_YES or CT_NO.
   */
  uint8_t offloaded;
  /**
   * Must be 0.
   */
  uint8_t reserved[5];
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
  /**
   * State (TCP, SCTP) as in struct ct_connection, NUL-terminated; empty: any.
   */
  uint8_t state[24];
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
 * What a listener wants.
 */
struct ct_listen {
  /**
   * sizeof(struct ct_listen).
   */
  size_t size;
  /**
   * CT_EVENT_*; at least one.
   */
  uint32_t kinds;
  /**
   * CT_FILTER_ZONE: of `zone` alone. 0: of all zones.
   */
  uint32_t flags;
  /**
   * Events that wait for it at most, rounded up to a power of two; 1 to 2^24.
   */
  uint32_t capacity;
  /**
   * With CT_FILTER_ZONE: the zone.
   */
  uint16_t zone;
  /**
   * Must be 0.
   */
  uint16_t reserved;
};

/**
 * Something that happened to a connection.
 */
struct ct_event {
  /**
   * sizeof(struct ct_event), set by the caller.
   */
  size_t size;
  /**
   * CT_EVENT_*.
   */
  uint32_t kind;
  /**
   * With CT_EVENT_UPDATE: CT_CHANGE_*.
   */
  uint32_t changes;
  /**
   * With CT_EVENT_DESTROY: CT_ENDING_*.
   */
  uint32_t ending;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * The time of the call in which it did.
   */
  uint64_t time_ms;
  /**
   * The connection afterwards, or as it was last.
   */
  struct ct_connection connection;
};

/**
 * What a packet meets on its way. The words are the library's own; all zeros before the first use.
 */
struct ct_trace {
  /**
   * The library's own.
   */
  uint64_t words[35];
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
   * Offset of the transport header, or CT_OFFSET_UNKNOWN. Only a hint, where in memory headers that
   * are not in the cache are to be fetched from.
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
   * For conntrack_resume(): a number of ct_miss_get(), or 0.
   */
  uint32_t miss;
  /**
   * Must be 0.
   */
  uint32_t reserved_in;
  /**
   * Collects what the packet meets, for merged flows; or NULL.
   */
  struct ct_trace *trace;
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
   * From conntrack_resume(): the chain, or recirculation id, at which the packet goes on.
   */
  uint32_t chain;
  /**
   * Left alone.
   */
  uint32_t reserved_out[3];
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
 * What was counted of a flow table.
 */
struct ct_flow_table_stats {
  /**
   * sizeof(struct ct_flow_table_stats), set by the caller.
   */
  size_t size;
  /**
   * Its zone.
   */
  uint32_t zone;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * Milliseconds without a packet after which a flow leaves.
   */
  uint64_t timeout_ms;
  /**
   * Packets that were found.
   */
  uint64_t hits;
  /**
   * Packets without a flow.
   */
  uint64_t misses;
  /**
   * Packets with a flow that do not belong on the fast path.
   */
  uint64_t refused;
  /**
   * Flows that entered.
   */
  uint64_t added;
  /**
   * Flows that left because of a SYN, FIN or RST.
   */
  uint64_t closed;
  /**
   * Flows that left because no packet came.
   */
  uint64_t aged;
  /**
   * Flows that were taken out.
   */
  uint64_t removed;
};

/**
 * Where a packet stands in its pipeline.
 */
struct ct_miss {
  /**
   * sizeof(struct ct_miss).
   */
  size_t size;
  /**
   * Chain, or recirculation id, at which it goes on.
   */
  uint32_t chain;
  /**
   * Port through which it came.
   */
  uint32_t in_port;
  /**
   * CT_STATE_SRC_NAT and CT_STATE_DST_NAT: what was rewritten already.
   */
  uint32_t done;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * The datapath's own.
   */
  uint64_t cookie;
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
   * Longest packet that fragments may make, in bytes from its IP header on; 0: as long as IP allows.
   * The fragments of a longer one are CT_STATE_INVALID once all are there.
   */
  uint32_t max_packet;
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
  /**
   * Longest packet that fragments may make, in bytes from its IP header on.
   */
  uint32_t max_packet;
  /**
   * 0.
   */
  uint32_t reserved;
};

/**
 * What may be chosen for merged flows.
 */
struct ct_fastpath_config {
  /**
   * sizeof(struct ct_fastpath_config).
   */
  size_t size;
  /**
   * Merged flows, at most; 0: 32,000.
   */
  uint32_t flows;
  /**
   * Traces that wait to be looked at, at most; 0: 10,000.
   */
  uint32_t traces;
  /**
   * CT_FASTPATH_*.
   */
  uint32_t flags;
  /**
   * Must be 0.
   */
  uint32_t reserved;
};

/**
 * Bits of a field that a flow matches.
 */
struct ct_field_match {
  /**
   * CT_FIELD_*.
   */
  uint32_t field;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * The bits' values, as one number of 128 bits, most significant byte first.
   */
  uint8_t value[16];
  /**
   * Which bits.
   */
  uint8_t mask[16];
};

/**
 * An action of a flow.
 */
struct ct_flow_action {
  /**
   * CT_FLOW_*.
   */
  uint32_t kind;
  /**
   * Port, tag, chain, or number of a tunnel or meter.
   */
  uint32_t number;
  /**
   * CT_FIELD_*.
   */
  uint32_t field;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * As in struct ct_field_match.
   */
  uint8_t value[16];
  /**
   * Which bits.
   */
  uint8_t mask[16];
  /**
   * With CT_FLOW_CT: what is asked of the tracker. NULL in merged flows.
   */
  const struct ct_action *ct;
};

/**
 * A filter of the datapath: one that says all that had to be looked at to choose it, so that no two
 * filters take the same packet (a megaflow of Open vSwitch).
 */
struct ct_flow_filter {
  /**
   * sizeof(struct ct_flow_filter).
   */
  size_t size;
  /**
   * The datapath's name of it.
   */
  uint64_t cookie;
  /**
   * What it matches: `n_matches` of them, several of a field if need be.
   */
  const struct ct_field_match *matches;
  /**
   * How many.
   */
  size_t n_matches;
  /**
   * What it does, in order.
   */
  const struct ct_flow_action *actions;
  /**
   * How many.
   */
  size_t n_actions;
};

/**
 * What was carried.
 */
struct ct_flow_use {
  /**
   * sizeof(struct ct_flow_use).
   */
  size_t size;
  /**
   * Packets.
   */
  uint64_t packets;
  /**
   * Bytes, from the first byte of the frame on.
   */
  uint64_t bytes;
  /**
   * Time of the last packet; 0: there was none.
   */
  int64_t last_used_ms;
};

/**
 * The tunnel that a packet came out of; all zeros: none.
 */
struct ct_tunnel {
  /**
   * Tunnel key.
   */
  uint64_t id;
  /**
   * Outer source address, as the value of a field.
   */
  uint8_t src[16];
  /**
   * Outer destination address.
   */
  uint8_t dst[16];
};

/**
 * A connection that the packets of a merged flow belong to.
 */
struct ct_flow_connection {
  /**
   * Its id.
   */
  uint64_t connection;
  /**
   * The zone.
   */
  uint32_t zone;
  /**
   * 0: original direction, 1: reply direction.
   */
  uint32_t direction;
};

/**
 * A merged flow.
 */
struct ct_merged_flow {
  /**
   * sizeof(struct ct_merged_flow) as the library has it.
   */
  size_t size;
  /**
   * Its number: no two merged flows of an instance have the same.
   */
  uint64_t number;
  /**
   * What is left for the datapath to do with a packet that ct_fastpath_lookup() found, in order.
   */
  const struct ct_flow_action *actions;
  /**
   * How many.
   */
  size_t n_actions;
  /**
   * All actions, translations and metadata among them (CT_FLOW_TRACKED): for providers.
   */
  const struct ct_flow_action *all_actions;
  /**
   * How many.
   */
  size_t n_all_actions;
  /**
   * What it matches: packets as they come.
   */
  const struct ct_field_match *matches;
  /**
   * How many.
   */
  size_t n_matches;
  /**
   * The connections, in the order in which the tracker was asked.
   */
  const struct ct_flow_connection *connections;
  /**
   * How many.
   */
  size_t n_connections;
};

/**
 * What one call of ct_merge_run() did.
 */
struct ct_merge_work {
  /**
   * sizeof(struct ct_merge_work).
   */
  size_t size;
  /**
   * Traces that were looked at.
   */
  uint64_t traces;
  /**
   * Merged flows that were made.
   */
  uint64_t merged;
  /**
   * Merged flows that were revoked because their connections are others.
   */
  uint64_t revoked;
};

/**
 * A merged flow in a list.
 */
struct ct_merged_listing {
  /**
   * sizeof(struct ct_merged_listing).
   */
  size_t size;
  /**
   * The library's own: 0 to begin.
   */
  uint32_t position;
  /**
   * How many of `parents`.
   */
  uint32_t n_parents;
  /**
   * Its number.
   */
  uint64_t number;
  /**
   * The filters that it was merged from.
   */
  uint64_t parents[16];
  /**
   * Packets that it carried.
   */
  uint64_t packets;
  /**
   * Bytes.
   */
  uint64_t bytes;
  /**
   * Time of the last packet; 0: there was none.
   */
  int64_t last_used_ms;
  /**
   * Some provider has it.
   */
  uint32_t offloaded;
  /**
   * How many of `connections`.
   */
  uint32_t n_connections;
  /**
   * The connections of its packets.
   */
  uint64_t connections[16];
};

/**
 * What was counted of merged flows.
 */
struct ct_fastpath_stats {
  /**
   * sizeof(struct ct_fastpath_stats).
   */
  size_t size;
  /**
   * Merged flows that are there.
   */
  uint64_t flows;
  /**
   * Filters that are there.
   */
  uint64_t filters;
  /**
   * Packets that a merged flow carried.
   */
  uint64_t hits;
  /**
   * Packets without a merged flow.
   */
  uint64_t misses;
  /**
   * Packets with a merged flow that had to go the normal way.
   */
  uint64_t refused;
  /**
   * Traces that ended and wait or waited to be looked at.
   */
  uint64_t traces;
  /**
   * Traces that were looked at.
   */
  uint64_t processed;
  /**
   * Traces that met what no merged flow may contain.
   */
  uint64_t aborted;
  /**
   * Traces that met too much, or nothing.
   */
  uint64_t discarded;
  /**
   * Traces left out to save work.
   */
  uint64_t throttled;
  /**
   * Traces for which the queue had no place.
   */
  uint64_t lost;
  /**
   * Traces whose filters were others when they were looked at.
   */
  uint64_t stale;
  /**
   * Merged flows that were made.
   */
  uint64_t merged;
  /**
   * Traces whose merged flow was there already.
   */
  uint64_t known;
  /**
   * Traces that have no merged flow.
   */
  uint64_t rejected;
  /**
   * Merged flows that made room for others.
   */
  uint64_t evicted;
  /**
   * Merged flows that were revoked.
   */
  uint64_t revoked;
  /**
   * Merged flows that providers took.
   */
  uint64_t taken;
  /**
   * Merged flows that providers declined.
   */
  uint64_t declined;
  /**
   * Merged flows that providers had and were told to forget.
   */
  uint64_t released;
  /**
   * Why traces were rejected: see ct_merge_refusal_name().
   */
  uint64_t refusals[16];
};

/**
 * TCP numbers of one side: the fields of DPDK's `rte_flow_tcp_dir_param`.
 */
struct ct_offload_tcp_side {
  /**
   * CT_TCP_SIDE_*.
   */
  uint32_t flags;
  /**
   * Window scale.
   */
  uint32_t scale;
  /**
   * Highest sequence number sent, plus one.
   */
  uint32_t sent_end;
  /**
   * Highest sequence number that the other side allows, plus one.
   */
  uint32_t reply_end;
  /**
   * Largest window that this side announced, scaled.
   */
  uint32_t max_win;
  /**
   * Highest acknowledgement that this side sent.
   */
  uint32_t max_ack;
};

/**
 * What a provider is told of a connection. A copy: it is the provider's to keep.
 */
struct ct_offload_ctx {
  /**
   * sizeof(struct ct_offload_ctx) as the library has it.
   */
  size_t size;
  /**
   * The connection's id, which stays harmless after its end.
   */
  uint64_t connection;
  /**
   * Tuple of packets in the original direction.
   */
  struct ct_tuple original;
  /**
   * Tuple of packets in the reply direction; not the reverse of `original` under NAT.
   */
  struct ct_tuple reply;
  /**
   * Mark.
   */
  uint32_t mark;
  /**
   * CT_STATE_* that an established packet of the original direction carries.
   */
  uint32_t ct_state;
  /**
   * Label, most significant byte first.
   */
  uint8_t label[16];
  /**
   * Input port of the original direction.
   */
  uint32_t in_port_original;
  /**
   * Input port of the reply direction; 0 until a reply was seen.
   */
  uint32_t in_port_reply;
  /**
   * Milliseconds of idleness after which it expires in its present state.
   */
  uint64_t timeout_ms;
  /**
   * Time of the packet or call that caused this.
   */
  int64_t now_ms;
  /**
   * What ct_offload_set_data() set, or NULL.
   */
  void *data;
  /**
   * CT_OFFLOAD_CTX_*.
   */
  uint32_t flags;
  /**
   * Left alone.
   */
  uint32_t reserved;
  /**
   * TCP numbers, original then reply.
   */
  struct ct_offload_tcp_side tcp[2];
};

/**
 * What a provider knows of a connection. All zeros: nothing.
 */
struct ct_offload_report {
  /**
   * sizeof(struct ct_offload_report).
   */
  size_t size;
  /**
   * CT_OFFLOAD_REPORT_*.
   */
  uint32_t flags;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * When its last packet passed, by the clock of `now_ms`.
   */
  int64_t last_used_ms;
  /**
   * Packets carried since the last report, original then reply direction.
   */
  uint64_t packets[2];
  /**
   * Bytes carried since the last report, from the IP header on.
   */
  uint64_t bytes[2];
  /**
   * TCP numbers, original then reply.
   */
  struct ct_offload_tcp_side tcp[2];
};

/**
 * One operation of a batch.
 */
struct ct_offload_op {
  /**
   * CT_OFFLOAD_OP_*.
   */
  uint32_t kind;
  /**
   * CT_OFFLOAD_CHANGED_* of CT_OFFLOAD_OP_CHANGED.
   */
  uint32_t changed;
  /**
   * CT_OFFLOAD_UNTOUCHED; the provider sets 0 or an errno, with the meaning of the single callback.
   */
  int error;
  /**
   * Left alone.
   */
  uint32_t reserved;
  /**
   * With which connection.
   */
  struct ct_offload_ctx ctx;
  /**
   * Filled in by the provider where there is something to report.
   */
  struct ct_offload_report report;
};

/**
 * Several operations at once. What the provider leaves CT_OFFLOAD_UNTOUCHED goes through the single
 * callbacks afterwards.
 */
struct ct_offload_op_batch {
  /**
   * sizeof(struct ct_offload_op_batch).
   */
  size_t size;
  /**
   * The operations.
   */
  struct ct_offload_op *ops;
  /**
   * How many.
   */
  size_t len;
};

/**
 * An offload provider. `conn_add` and `conn_del` must be there, any other callback may be NULL.
 *
 * Callbacks run on packet threads, or on workers with CT_OFFLOAD_QUEUED; callbacks of different
 * connections at the same time, those of one connection one after the other: conn_add,
 * conn_established, conn_changed, conn_del. No lock of the library is held: a callback may call the
 * library, even to flush or to unregister its own provider. `user` is passed to each.
 */
struct ct_offload_class {
  /**
   * sizeof(struct ct_offload_class).
   */
  size_t size;
  /**
   * Its name, unique in the instance. Copied.
   */
  const char *name;
  /**
   * Passed to every callback.
   */
  void *user;
  /**
   * Higher ones are called first; equal ones in the order of registration.
   */
  int32_t priority;
  /**
   * CT_OFFER_AT_*.
   */
  uint32_t offer_at;
  /**
   * CT_OFFLOAD_*.
   */
  uint32_t flags;
  /**
   * Connections that the device has room for; 0: no limit that the library keeps.
   */
  uint32_t capacity;
  /**
   * Operations that may wait for a queued provider; 0: 50,000.
   */
  uint32_t queue;
  /**
   * With CT_OFFLOAD_ONE_ZONE: the zone.
   */
  uint16_t zone;
  /**
   * Must be 0.
   */
  uint16_t reserved;
  /**
   * Called once before it is registered; an errno refuses.
   */
  int (*init)(void *user);
  /**
   * Called once, after every other callback.
   */
  void (*destroy)(void *user);
  /**
   * Several operations at once.
   */
  void (*batch_submit)(void *user, struct ct_offload_op_batch *batch);
  /**
   * Whether it would carry this connection: not 0.
   */
  int (*can_offload)(void *user, const struct ct_offload_ctx *ctx);
  /**
   * It shall carry this connection. 0: done. EINPROGRESS: the device is working on it, and
   * ct_offload_complete() will say what came of it. EAGAIN, ENOSPC, ENOBUFS: full, offered again
   * later. Any other errno: never.
   */
  int (*conn_add)(void *user, const struct ct_offload_ctx *ctx);
  /**
   * It no longer carries this connection; exactly once after an add that was accepted. What it
   * carried since the last report may be told in `report`, which is all zero.
   */
  void (*conn_del)(void *user, const struct ct_offload_ctx *ctx, struct ct_offload_report *report);
  /**
   * When was it last used, in milliseconds of `now_ms`; 0: not known. More may be told in `report`,
   * which is all zero.
   */
  int64_t (*conn_update)(void *user,
                         const struct ct_offload_ctx *ctx,
                         struct ct_offload_report *report);
  /**
   * There was a reply. Not 0: the provider is ready. 0: it is asked again at the next reply.
   */
  int (*conn_established)(void *user, const struct ct_offload_ctx *ctx);
  /**
   * CT_OFFLOAD_CHANGED_*: something changed on a connection that it carries.
   */
  void (*conn_changed)(void *user, const struct ct_offload_ctx *ctx, uint32_t changed);
  /**
   * Frees what ct_offload_set_data() set, after the connection's conn_del.
   */
  void (*data_free)(void *user, void *data);
  /**
   * Everything it carries is to be dropped. A conn_del for each connection follows.
   */
  void (*flush)(void *user);
  /**
   * Offers a merged flow, which is the library's and lives as long as the call: 0 takes it. Not called
   * on a packet thread.
   */
  int (*flow_add)(void *user, const struct ct_merged_flow *flow);
  /**
   * A merged flow is revoked: when this returns, no packet is handled by it. `*used` is to become what
   * was carried since the last report.
   */
  void (*flow_del)(void *user, uint64_t number, struct ct_flow_use *used);
  /**
   * What was carried of a merged flow since the last report. Asked once a second.
   */
  void (*flow_stats)(void *user, uint64_t number, struct ct_flow_use *used);
};

/**
 * How far a connection got in one provider, and why not further.
 */
struct ct_offload_standing {
  /**
   * sizeof(struct ct_offload_standing), set by the caller, in each of an array.
   */
  size_t size;
  /**
   * The provider's name, NUL-terminated; cut off if it is long.
   */
  uint8_t provider[32];
  /**
   * CT_OFFLOAD_STATE_*.
   */
  uint32_t state;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * Why the provider does not have it: "declined", "device-full", ...; empty when it has it.
   */
  uint8_t why[24];
  /**
   * Since when.
   */
  int64_t since_ms;
  /**
   * Packets that the provider carried, original then reply direction.
   */
  uint64_t packets[2];
  /**
   * Bytes that the provider carried.
   */
  uint64_t bytes[2];
};

/**
 * What was counted of a provider.
 */
struct ct_offload_stats {
  /**
   * sizeof(struct ct_offload_stats), set by the caller.
   */
  size_t size;
  /**
   * Connections that it has or is being offered.
   */
  uint64_t held;
  /**
   * Connections that wait for its workers.
   */
  uint64_t waiting;
  /**
   * Adds that it accepted.
   */
  uint64_t added;
  /**
   * Deletes sent.
   */
  uint64_t deleted;
  /**
   * Times that it said yes to conn_established.
   */
  uint64_t established;
  /**
   * Times that it was asked when a connection was last used.
   */
  uint64_t updated;
  /**
   * Changes that it was told of.
   */
  uint64_t changed;
  /**
   * Flushes.
   */
  uint64_t flushed;
  /**
   * Connections that can_offload declined.
   */
  uint64_t declined;
  /**
   * Adds that failed.
   */
  uint64_t refused;
  /**
   * Offers that met a full device or a full queue.
   */
  uint64_t full;
  /**
   * Adds that were cancelled before they ran.
   */
  uint64_t cancelled;
  /**
   * Completions that came too late.
   */
  uint64_t late;
  /**
   * Packets that it carried, original then reply direction.
   */
  uint64_t packets[2];
  /**
   * Bytes that it carried.
   */
  uint64_t bytes[2];
};

/**
 * How a simulated device behaves. Chances are out of 256.
 */
struct ct_offload_sim_behaviour {
  /**
   * sizeof(struct ct_offload_sim_behaviour).
   */
  size_t size;
  /**
   * Milliseconds until an add is answered; 0: at once.
   */
  uint64_t latency_ms;
  /**
   * Where its chances begin.
   */
  uint64_t seed;
  /**
   * Connections that it has room for; 0: no limit.
   */
  uint32_t capacity;
  /**
   * Chance that an add fails.
   */
  uint32_t failing;
  /**
   * Chance that the answer to an add never comes.
   */
  uint32_t losing;
  /**
   * Chance that an answer takes three times as long, so that others overtake it.
   */
  uint32_t reordering;
  /**
   * Chance that it claims that an idle connection was used just now.
   */
  uint32_t lying;
  /**
   * Not 0: it reports TCP windows.
   */
  uint32_t windows;
};

/**
 * What a simulated device counted.
 */
struct ct_offload_sim_counts {
  /**
   * sizeof(struct ct_offload_sim_counts), set by the caller.
   */
  size_t size;
  /**
   * Adds that it accepted.
   */
  uint64_t added;
  /**
   * Deletes.
   */
  uint64_t deleted;
  /**
   * Deletes of connections that it did not have: none, unless something is wrong.
   */
  uint64_t strange;
  /**
   * Packets that it carried.
   */
  uint64_t packets;
  /**
   * Bytes that it carried.
   */
  uint64_t bytes;
  /**
   * Connections that it has now.
   */
  uint64_t held;
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
 * Registers a provider that takes every connection, records what it is told and carries nothing. It is
 * inline, is offered connections at commit, and says of each that it was used just now. `*out` receives
 * a handle to look at it, which stays valid after the provider was unregistered.
 *
 * Returns 0; EEXIST when it is registered already; EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `out` points to a pointer.
 */
CT_API
int ct_offload_dummy_register(struct conntrack *ct,
                              int64_t now_ms,
                              struct ct_offload_dummy **out);

/**
 * Frees a handle. NULL is ignored. The provider itself is unregistered by ct_offload_unregister().
 *
 * Threads: any; no other call with this handle may be under way.
 *
 * # Safety
 * `dummy` is NULL or a handle that was not freed.
 */
CT_API void ct_offload_dummy_free(struct ct_offload_dummy *dummy);

/**
 * What the dummy provider counted. The caller sets `counts->size`.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `dummy` is a handle; `counts` points to a struct of the size that it says.
 */
CT_API
int ct_offload_dummy_get_counts(struct ct_offload_dummy *dummy_,
                                struct ct_offload_dummy_counts *counts);

/**
 * Sets all counts to zero.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `dummy` is a handle.
 */
CT_API int ct_offload_dummy_reset_counts(struct ct_offload_dummy *dummy_);

/**
 * Whether the dummy provider has a connection (`*contains`), and whether it was told that it is
 * established (`*bidirectional`). Each may be NULL.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `dummy` is a handle; `contains` and `bidirectional` are NULL or point to numbers.
 */
CT_API
int ct_offload_dummy_contains(struct ct_offload_dummy *dummy_,
                              uint64_t connection,
                              int *contains,
                              int *bidirectional);

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
 * Begins to listen to what happens to connections. `*out` receives the listener, to be ended with
 * conntrack_unlisten(). Calls that are under way may still be unheard.
 *
 * The events of one connection are in order. Nothing waits for a listener: when as many events wait
 * for it as it has room for, others are lost to it, and conntrack_take_events() tells how many. What
 * expired or was flushed ends when conntrack_sweep(), or the background thread, gives its record back.
 *
 * Returns 0; EINVAL for a member out of range; E2BIG; ENOMEM.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `config` points to a struct of the size that it says; `out` points to a pointer.
 */
CT_API
int conntrack_listen(struct conntrack *ct,
                     const struct ct_listen *config,
                     struct ct_listener **out);

/**
 * Takes up to `n` of the events that wait for a listener, the oldest first. The caller sets `size` of
 * the first element; the others lie that far apart. `*taken` receives how many there were, and `*lost`
 * how many were lost since the last call; `lost` may be NULL, and what was lost is told by a later call
 * then.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any; each event is taken once. It may be called after the instance was destroyed.
 *
 * # Safety
 * `listener` is a listener; `events` has room for `n` elements of the size that the first one says;
 * `taken` points to a number, `lost` to one or is NULL.
 */
CT_API
int conntrack_take_events(struct ct_listener *listener,
                          struct ct_event *events,
                          size_t n,
                          size_t *taken,
                          uint64_t *lost);

/**
 * Ends a listener. What waits for it is forgotten. NULL is ignored.
 *
 * Threads: any; no other call on the listener may be under way, and none may follow. It may be called
 * after the instance was destroyed.
 *
 * # Safety
 * `listener` is NULL or a listener that was not ended yet.
 */
CT_API
void conntrack_unlisten(struct ct_listener *listener);

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
 * Takes a reference to the flow table of a zone; `*out` receives it, to be given back by
 * ct_flow_table_put(). With the first reference, connections of the zone begin to enter the table as
 * they become established (the rules are those of Linux's act_ct).
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `out` points to a pointer.
 */
CT_API
int ct_flow_table_get(struct conntrack *ct,
                      uint16_t zone,
                      struct ct_flow_table **out);

/**
 * Gives a reference back. With the last one, all flows of the zone go back to the tracker. NULL is
 * ignored. To be called before the instance is destroyed, or the memory stays.
 *
 * Returns 0.
 *
 * Threads: any; no other call with this handle may be under way.
 *
 * # Safety
 * `table` is NULL or a handle that was not given back.
 */
CT_API int ct_flow_table_put(struct ct_flow_table *table, int64_t now_ms);

/**
 * Looks a batch of untracked packets up in a flow table. A packet that is found has its verdict
 * (state, zone, mark, label, connection), is translated, and has CT_CONN_FLOW in its
 * `connection_flags`. All others keep `ct_state` 0 and are for conntrack_execute(). `*hits` (which may
 * be NULL) becomes how many were found.
 *
 * Returns 0 or EINVAL; no packet was touched then.
 *
 * Threads: any number at once; no packet in two calls at the same time.
 *
 * # Safety
 * As for conntrack_execute(); `table` is a handle; `hits` is NULL or points to a number.
 */
CT_API
int ct_flow_table_lookup(struct ct_flow_table *table,
                         struct ct_packet *packets,
                         size_t n,
                         int64_t now_ms,
                         size_t *hits);

/**
 * Puts a connection into its zone's flow table, whatever its state.
 *
 * Returns 0; ENOENT when there is no such connection, or its zone has no flow table.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int ct_flow_table_add(struct conntrack *ct, uint64_t connection, int64_t now_ms);

/**
 * Takes a connection out of its zone's flow table: it goes back to the tracker.
 *
 * Returns 0; ENOENT when it is in none.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int ct_flow_table_remove(struct conntrack *ct, uint64_t connection, int64_t now_ms);

/**
 * Hardware carried packets of a flow: they are added to its connection's counters, and the flow lives
 * on from `last_used_ms`, its last packet. `packets` and `bytes` are arrays of two numbers, original then
 * reply direction, since the last report. To be told once.
 *
 * Returns 0; ENOENT when the connection is in no flow table (nothing was added); EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `packets` and `bytes` point to two numbers each.
 */
CT_API
int ct_flow_table_carried(struct conntrack *ct,
                          uint64_t connection,
                          const uint64_t *packets,
                          const uint64_t *bytes,
                          int64_t last_used_ms,
                          int64_t now_ms);

/**
 * Sets after how many milliseconds without a packet a flow leaves; 30,000 unless set. At least 1.
 *
 * Returns 0; EINVAL for 0.
 *
 * Threads: any.
 *
 * # Safety
 * `table` is a handle.
 */
CT_API int ct_flow_table_set_timeout(struct ct_flow_table *table, uint64_t timeout_ms);

/**
 * What was counted of a flow table. The caller sets `stats->size`.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `table` is a handle; `stats` points to a struct of the size that it says.
 */
CT_API int ct_flow_table_get_stats(struct ct_flow_table *table, struct ct_flow_table_stats *stats);

/**
 * Restores the metadata of packets that hardware handled half-way, without a look-up. The caller sets
 * `connection`, CT_CONN_REPLY in `connection_flags` if the device met it in the reply direction, and
 * `miss`, or instead of it CT_STATE_SRC_NAT and CT_STATE_DST_NAT in `ct_state`. A packet whose id is
 * valid receives state, zone, mark, label, original tuple and `chain`. One whose id is stale, or whose
 * `miss` is not in use, has `ct_state` 0 and `connection` 0 afterwards and is for conntrack_execute().
 * `*resumed` (which may be NULL) becomes how many were restored.
 *
 * Returns 0 or EINVAL; no packet was touched then.
 *
 * Threads: any number at once; no packet in two calls at the same time.
 *
 * # Safety
 * As for conntrack_execute(); `resumed` is NULL or points to a number.
 */
CT_API
int conntrack_resume(struct conntrack *ct,
                     struct ct_packet *packets,
                     size_t n,
                     int64_t now_ms,
                     size_t *resumed);

/**
 * A number, from 1 to 65,535, that stands for where a packet stands when hardware gives up on it, for
 * a device to carry in a register; and a reference to it. Equal contexts have the same number.
 *
 * Returns 0; EAGAIN when all numbers are in use; EINVAL; E2BIG.
 *
 * Threads: any; not meant for packet threads.
 *
 * # Safety
 * `ct` is an instance; `miss` points to a struct of the size that it says; `number` points to a number.
 */
CT_API
int ct_miss_get(struct conntrack *ct,
                const struct ct_miss *miss,
                uint32_t *number);

/**
 * Gives a reference to a number back. With the last one it stands for nothing.
 *
 * Returns 0; ENOENT when it is not in use.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int ct_miss_put(struct conntrack *ct, uint32_t number);

/**
 * What a number stands for. The caller sets `miss->size`.
 *
 * Returns 0; ENOENT when it is not in use; EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `miss` points to a struct of the size that it says.
 */
CT_API int ct_miss_lookup(struct conntrack *ct, uint32_t number, struct ct_miss *miss);

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
 * Makes room for merged flows. To be called once, before any other function about them.
 *
 * Returns 0; EEXIST the second time; EINVAL; E2BIG; ENOMEM.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `config` points to a struct of the size that it says.
 */
CT_API int ct_fastpath_enable(struct conntrack *ct, const struct ct_fastpath_config *config);

/**
 * Tells of a filter of the datapath. Its matches and actions are copied.
 *
 * Returns 0; EEXIST when there is one with this cookie; ENOENT when merged flows are not enabled (so do
 * all functions that follow); EINVAL; E2BIG.
 *
 * Threads: any; not meant for packet threads.
 *
 * # Safety
 * `ct` is an instance; `filter` points to a struct of the size that it says, and its members to as many
 * elements as they say.
 */
CT_API
int ct_flow_filter_add(struct conntrack *ct,
                       const struct ct_flow_filter *filter);

/**
 * A filter matches or does something else now. Its counters stay. When this returns, no packet is
 * handled by a flow that was merged from the old one, and no provider has any.
 *
 * Returns 0; ENOENT; EBUSY between ct_fastpath_lookup() and ct_fastpath_done() of the same thread;
 * EINVAL; E2BIG. Nothing was changed then.
 *
 * Threads: any. Waits for packet threads that are between those two calls.
 *
 * # Safety
 * As for ct_flow_filter_add().
 */
CT_API int ct_flow_filter_update(struct conntrack *ct, const struct ct_flow_filter *filter);

/**
 * A filter is gone; as ct_flow_filter_update(). `*used`, unless NULL, becomes what merged flows carried
 * for it, to the last packet.
 *
 * Returns: as ct_flow_filter_update().
 *
 * Threads: any, as ct_flow_filter_update().
 *
 * # Safety
 * `ct` is an instance; `used` is NULL or points to a struct of the size that it says.
 */
CT_API
int ct_flow_filter_remove(struct conntrack *ct,
                          uint64_t cookie,
                          struct ct_flow_use *used);

/**
 * What merged flows carried for a filter, so far. The caller sets `used->size`.
 *
 * Returns 0; ENOENT; EINVAL.
 *
 * Threads: any; not meant for packet threads.
 *
 * # Safety
 * `ct` is an instance; `used` points to a struct of the size that it says.
 */
CT_API int ct_flow_filter_get_use(struct conntrack *ct, uint64_t cookie, struct ct_flow_use *used);

/**
 * Looks a batch of untracked packets up among the merged flows. For a packet that is found, `flows[i]`
 * becomes its flow, whose `actions` are left for the datapath to do: the packet is translated, has its
 * verdict, and its connections went on. All others keep `ct_state` 0, have `flows[i]` NULL and go the
 * normal way; those with a `trace` begin it.
 *
 * `tunnels` is NULL, or the tunnel that each packet came out of. `*visit` receives a number for
 * ct_fastpath_done(): until then the flows stay valid, and revoking calls of other threads wait.
 *
 * Returns 0, ENOENT or EINVAL; no packet was touched then, and `*visit` is 0.
 *
 * Threads: any number at once; no packet in two calls at the same time.
 *
 * # Safety
 * As for conntrack_execute(); `tunnels` is NULL or points to `n` tunnels; `flows` points to `n` pointers;
 * `visit` points to a number; each packet's `trace` is NULL or a trace of its own.
 */
CT_API
int ct_fastpath_lookup(struct conntrack *ct,
                       struct ct_packet *packets,
                       const struct ct_tunnel *tunnels,
                       size_t n,
                       int64_t now_ms,
                       const struct ct_merged_flow **flows,
                       uint64_t *visit);

/**
 * The flows of a ct_fastpath_lookup() are not used any more. `*visit` becomes 0; NULL and 0 are ignored.
 *
 * Returns 0; EINVAL for a number that no lookup gave.
 *
 * Threads: the one that called ct_fastpath_lookup().
 *
 * # Safety
 * `ct` is an instance; `visit` is NULL or points to a number.
 */
CT_API
int ct_fastpath_done(struct conntrack *ct,
                     uint64_t *visit);

/**
 * The packet met a filter. NULL, and a trace that was not begun, are ignored.
 *
 * Threads: any; no trace in two calls at the same time.
 *
 * # Safety
 * `trace` is NULL or a trace.
 */
CT_API void ct_trace_filter(struct ct_trace *trace, uint64_t cookie);

/**
 * The packet met something that no merged flow may contain: an upcall, a filter that has no cookie.
 *
 * Ignored, and Threads: as ct_trace_filter().
 *
 * # Safety
 * `trace` is NULL or a trace.
 */
CT_API void ct_trace_abort(struct ct_trace *trace);

/**
 * The packet came to the end of its way. What it met is copied, to be looked at by ct_merge_run(); the
 * trace is free for another packet.
 *
 * Returns 0; EINVAL.
 *
 * Threads: any; no trace in two calls at the same time. Does not wait and does not allocate.
 *
 * # Safety
 * `ct` is an instance; `trace` is NULL or a trace.
 */
CT_API
int ct_trace_end(struct conntrack *ct,
                 struct ct_trace *trace);

/**
 * Does what is to be done off the packet threads: clears away the flows of connections that changed,
 * looks at up to `budget` traces (0: all) and makes their flows, asks providers once a second what they
 * carried. To be called at least once a second by a thread of the datapath. `out` may be NULL.
 *
 * Returns 0; ENOENT; EBUSY between ct_fastpath_lookup() and ct_fastpath_done() of the same thread;
 * EINVAL; E2BIG.
 *
 * Threads: any; one merges at a time, others return at once with nothing done.
 *
 * # Safety
 * `ct` is an instance; `out` is NULL or points to a struct of the size that it says.
 */
CT_API
int ct_merge_run(struct conntrack *ct,
                 uint32_t budget,
                 int64_t now_ms,
                 struct ct_merge_work *out);

/**
 * A port is gone: merged flows from it and to it are revoked. When this returns, no packet is handled
 * by them. `*revoked`, unless NULL, becomes how many there were.
 *
 * Returns: as ct_flow_filter_update().
 *
 * Threads: any, as ct_flow_filter_update().
 *
 * # Safety
 * `ct` is an instance; `revoked` is NULL or points to a number.
 */
CT_API
int ct_fastpath_port_removed(struct conntrack *ct,
                             uint32_t port,
                             uint64_t *revoked);

/**
 * Revokes all merged flows. Filters stay.
 *
 * Returns: as ct_flow_filter_update().
 *
 * Threads: any, as ct_flow_filter_update().
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API int ct_fastpath_flush(struct conntrack *ct);

/**
 * The next merged flow of a list. The caller sets `listing->size`, and `position` to 0 to begin.
 *
 * Returns 0; ENODATA at the end; EINVAL.
 *
 * Threads: any; not meant for packet threads.
 *
 * # Safety
 * `ct` is an instance; `listing` points to a struct of the size that it says.
 */
CT_API int ct_fastpath_list(struct conntrack *ct, struct ct_merged_listing *listing);

/**
 * What was counted of merged flows. The caller sets `stats->size`.
 *
 * Returns 0; ENOENT; EINVAL.
 *
 * Threads: any; not meant for packet threads.
 *
 * # Safety
 * `ct` is an instance; `stats` points to a struct of the size that it says.
 */
CT_API int ct_fastpath_get_stats(struct conntrack *ct, struct ct_fastpath_stats *stats);

/**
 * The name of a reason why a trace has no merged flow: `i` counts `ct_fastpath_stats.refusals`. "" for
 * a number that is none. Never NULL.
 *
 * Threads: any.
 */
CT_API
const char *ct_merge_refusal_name(uint32_t i);

/**
 * Registers an offload provider. The struct is copied; `user` and the callbacks must stay valid until
 * ct_offload_unregister() has returned. Connections that exist are offered to it with their next
 * packets.
 *
 * Returns 0; EINVAL for a NULL name, a missing `conn_add` or `conn_del`, or unknown flags; EEXIST when
 * one of this name is registered; EAGAIN when eight are; what `init` answers; E2BIG.
 *
 * Threads: any; also from callbacks of other providers.
 *
 * # Safety
 * `ct` is an instance; `class` points to a struct of the size that it says, whose callbacks may be
 * called from any thread with its `user`.
 */
CT_API
int ct_offload_register(struct conntrack *ct,
                        const struct ct_offload_class *class_,
                        int64_t now_ms);

/**
 * Unregisters a provider. When this returns, none of its callbacks runs and none will; every
 * connection that it carried got its conn_del, and `destroy` was called. From one of its own
 * callbacks: that one call is not waited for.
 *
 * Returns 0; ENOENT when it is not registered; EBUSY from a callback of another provider.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `provider` is a text.
 */
CT_API int ct_offload_unregister(struct conntrack *ct, const char *provider, int64_t now_ms);

/**
 * Switches offload off (`on` 0) or on again. Off: when this returns no provider carries a connection,
 * and all go on in software. An add in progress (EINPROGRESS) is deleted when it completes. On is the
 * default.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API
int ct_offload_enable(struct conntrack *ct,
                      int on,
                      int64_t now_ms);

/**
 * Whether offload is switched on: `*on` becomes 1 or 0.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `on` points to a number.
 */
CT_API int ct_offload_enabled(struct conntrack *ct, int *on);

/**
 * Says what came of an add to which conn_add answered EINPROGRESS: `error` 0, or an errno as conn_add
 * would have given.
 *
 * Returns 0; ENOENT when no such add is under way: the connection or the provider ended meanwhile, and
 * nothing happens; EINVAL for `error` EINPROGRESS.
 *
 * Threads: any; also from inside conn_add.
 *
 * # Safety
 * `ct` is an instance; `provider` is a text.
 */
CT_API
int ct_offload_complete(struct conntrack *ct,
                        const char *provider,
                        uint64_t connection,
                        int error,
                        int64_t now_ms);

/**
 * Reports on a connection that a provider carries, without being asked: traffic, the TCP window, a FIN
 * or RST that only the device saw.
 *
 * Returns 0; ENOENT when the provider does not carry it; EINVAL; E2BIG.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `provider` is a text; `report` points to a struct of the size that it says.
 */
CT_API
int ct_offload_report(struct conntrack *ct,
                      const char *provider,
                      uint64_t connection,
                      const struct ct_offload_report *report,
                      int64_t now_ms);

/**
 * Gives a connection back: it goes on in software, and the provider gets its conn_del.
 *
 * Returns 0; ENOENT when there is no such provider; EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `provider` is a text.
 */
CT_API
int ct_offload_give_back(struct conntrack *ct,
                         const char *provider,
                         uint64_t connection,
                         int64_t now_ms);

/**
 * Sets what a provider keeps with a connection that it carries or is being offered. It comes back in
 * `ct_offload_ctx.data` and is freed by `data_free` after the connection's conn_del, or when it is
 * replaced.
 *
 * Returns 0; ENOENT when the provider does not have the connection: `data` was freed then; EINVAL.
 *
 * Threads: any; also from inside conn_add.
 *
 * # Safety
 * `ct` is an instance; `provider` is a text.
 */
CT_API
int ct_offload_set_data(struct conntrack *ct,
                        const char *provider,
                        uint64_t connection,
                        void *data);

/**
 * Does what waits for queued providers: `worker` (from 0) of `workers` threads that share the work,
 * at most `budget` connections. `*done` (which may be NULL) becomes how many there were.
 *
 * Returns 0; EINVAL when `worker` is not below `workers`.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `done` is NULL or points to a number.
 */
CT_API
int ct_offload_work(struct conntrack *ct,
                    uint32_t worker,
                    uint32_t workers,
                    uint32_t budget,
                    uint32_t *done);

/**
 * Starts `workers` threads of the library that do what ct_offload_work() does, until the instance is
 * destroyed. 0 stops those that were started.
 *
 * Returns 0; EBUSY from a worker's own callback; EAGAIN when a thread cannot be started; EINVAL for
 * more than 64.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance.
 */
CT_API
int ct_offload_start_workers(struct conntrack *ct,
                             uint32_t workers);

/**
 * Asks the providers about everything that they carry, so that counters and expiry follow what
 * hardware does. `*asked` (which may be NULL) becomes how many connections that were.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any; not meant for packet threads.
 *
 * # Safety
 * `ct` is an instance; `asked` is NULL or points to a number.
 */
CT_API int ct_offload_refresh(struct conntrack *ct, int64_t now_ms, uint64_t *asked);

/**
 * How far a connection got in every provider, and why not further. `standings` is an array of `*n`
 * structs, each with its `size` set; `*n` becomes how many were filled. One is filled for each
 * provider, in the order in which they are called.
 *
 * Returns 0; ENOENT when the connection ended; EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `standings` points to `*n` structs of the size that each says.
 */
CT_API
int ct_offload_get_standing(struct conntrack *ct,
                            uint64_t connection,
                            struct ct_offload_standing *standings,
                            uint32_t *n);

/**
 * What was counted of a provider. The caller sets `stats->size`.
 *
 * Returns 0; ENOENT when it is not registered; EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `provider` is a text; `stats` points to a struct of the size that it says.
 */
CT_API
int ct_offload_get_stats(struct conntrack *ct,
                         const char *provider,
                         struct ct_offload_stats *stats);

/**
 * Registers a simulated device: it takes time to answer, has room for so many connections, fails,
 * loses answers, brings them out of order, and lies about use, all as `behaviour` says and the same in
 * every run. It is offered connections when their handshake is complete, through a queue. `*out`
 * receives a handle, to be freed before the instance is destroyed.
 *
 * Returns 0; EEXIST when it is registered already; EINVAL; E2BIG.
 *
 * Threads: any.
 *
 * # Safety
 * `ct` is an instance; `behaviour` points to a struct of the size that it says; `out` points to a
 * pointer.
 */
CT_API
int ct_offload_sim_register(struct conntrack *ct,
                            const struct ct_offload_sim_behaviour *behaviour,
                            int64_t now_ms,
                            struct ct_offload_sim **out);

/**
 * Frees a handle. NULL is ignored. The provider itself is unregistered by ct_offload_unregister().
 *
 * Threads: any; no other call with this handle may be under way.
 *
 * # Safety
 * `sim` is NULL or a handle that was not freed.
 */
CT_API void ct_offload_sim_free(struct ct_offload_sim *sim);

/**
 * Moves the device's clock to `now_ms` and brings the answers that were due to the tracker, late ones
 * too.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `sim` is a handle.
 */
CT_API
int ct_offload_sim_run(struct ct_offload_sim *sim,
                       int64_t now_ms);

/**
 * Packets of a connection arrive at the device: in the reply direction if `reply` is not 0. `*carried`
 * (which may be NULL) becomes 1 when it carried them; otherwise they are for conntrack_execute().
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `sim` is a handle; `carried` is NULL or points to a number.
 */
CT_API
int ct_offload_sim_carry(struct ct_offload_sim *sim,
                         uint64_t connection,
                         int reply,
                         uint64_t packets,
                         uint64_t bytes,
                         int *carried);

/**
 * The device sees a FIN or RST of a connection that it carries, from the replying side if `reply` is
 * not 0. The tracker hears of it with the next report.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `sim` is a handle.
 */
CT_API
int ct_offload_sim_close(struct ct_offload_sim *sim,
                         uint64_t connection,
                         int reply);

/**
 * What the device counted. The caller sets `counts->size`.
 *
 * Returns 0 or EINVAL.
 *
 * Threads: any.
 *
 * # Safety
 * `sim` is a handle; `counts` points to a struct of the size that it says.
 */
CT_API
int ct_offload_sim_get_counts(struct ct_offload_sim *sim,
                              struct ct_offload_sim_counts *counts);

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
 * the original tuple, and the zone, is looked up; others are looked for as struct ct_filter says.
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
