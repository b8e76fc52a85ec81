/*
 * What the files that know ctoffload.h share: the instance, and values that look different on the two
 * sides.
 */

#ifndef CTOFFLOAD_OVS_LIBRARY_H
#define CTOFFLOAD_OVS_LIBRARY_H

#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#include "openvswitch/list.h"
#include "ovs-atomic.h"
#include "openvswitch/types.h"
#include "ovs-thread.h"

#include <ctoffload.h>

#include "dp-packet.h"
#include "engine.h"

struct engine_offload;
struct fragment;

struct engine {
    struct conntrack *tracker;
    atomic_count fragments;             /* That have a record. Without any there is nothing to collect. */
    uint8_t meanings[UINT8_MAX + 1];    /* enum meaning, by the library's number of the reason. */

    struct ovs_mutex mutex;             /* One sweeps at a time, and a flush waits for its turn. */
    struct ct_stats reported;           /* Statistics that went into coverage counters. */

    struct ipf *reassembly;
    struct engine_offload *offload;
};

/* The library's label has its most significant byte first. */
static inline void
label_to_library(uint8_t to[16], ovs_u128 label)
{
    const uint64_t words[2] = { htobe64(label.u64.hi), htobe64(label.u64.lo) };

    memcpy(to, words, sizeof words);
}

static inline ovs_u128
label_from_library(const uint8_t from[16])
{
    uint64_t words[2];
    ovs_u128 label;

    memcpy(words, from, sizeof words);
    label.u64.hi = be64toh(words[0]);
    label.u64.lo = be64toh(words[1]);
    return label;
}

static inline bool
is_icmp(uint8_t protocol)
{
    return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* Packets that go the same way from the ct() action on that they are at. */
struct fragment_kind {
    uint32_t recirc_id;
    odp_port_t in_port;
    uint16_t zone;
    ovs_be16 dl_type;
};

static inline struct fragment_kind
fragment_kind(const struct dp_packet *packet, const struct engine_action *action)
{
    return (struct fragment_kind) {
        .recirc_id = packet->md.recirc_id,
        .in_port = packet->md.in_port.odp_port,
        .zone = action->zone,
        .dl_type = action->dl_type,
    };
}

/* A connection as Open vSwitch lists it; to be given back with ct_dpif_entry_uninit(). */
void engine_entry(struct ct_dpif_entry *, const struct ct_connection *);

/* Writes what the library said of a packet into its metadata. */
void engine_conclude(struct dp_packet *, const struct ct_packet *);

#if OVS_VERSION >= 400
/* It is a fragment of a datagram that did not become a whole, which is dropped. */
bool engine_gave_up(const struct engine *, const struct ct_packet *);
#endif

/* The library decides what a fragment is, and what it holds must have a record. So this says yes to every
 * fragment of any make, and to some packets that are none: IPv6 with extension headers. */
static inline bool
may_be_fragment(const void *l3)
{
    const struct ip_header *ip = l3;
    const struct ovs_16aligned_ip6_hdr *ip6 = l3;

    if (OVS_LIKELY(IP_VER(ip->ip_ihl_ver) == 4)) {
        return IP_IS_FRAGMENT(ip->ip_frag_off);
    }
    switch (ip6->ip6_ctlun.ip6_un1.ip6_un1_nxt) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_ICMPV6:
    case IPPROTO_SCTP:
        return false;
    default:
        return true;
    }
}

/* Fragments. reassembly_note() makes a record of what may be one, which is the packet's cookie: then its
 * original tuple is in the record, and unless the library holds the packet it is to be forgotten.
 * reassembly_collect() has those that came back go on with a batch: reassembly_fill() adds them to it, or as
 * many as there is room for. */
struct ipf *reassembly_create(struct engine *);
void reassembly_destroy(struct ipf *);
struct fragment *reassembly_note(struct ipf *, struct dp_packet *, const struct engine_action *);
struct ct_tuple *reassembly_original(struct fragment *);
void reassembly_forget(struct ipf *, struct fragment *);
void reassembly_collect(struct ipf *, struct dp_packet_batch *, const struct fragment_kind *, long long now);
bool reassembly_fill(struct ipf *, struct dp_packet_batch *, const struct fragment_kind *);
void reassembly_run(struct ipf *, long long now);

#if OVS_VERSION < 400
/* More of a kind is to be had from reassembly_fill() than there was room for in the batch of the ct() action
 * that this thread executes. */
void pipeline_more(struct ipf *, const struct fragment_kind *);
#endif

/* An instance's offload. Its tracker is destroyed after engine_offload_unlist() and before
 * engine_offload_destroy(). engine_offload_run() is for one thread at a time. */
struct engine_offload *engine_offload_create(struct engine *, long long now);
void engine_offload_unlist(struct engine_offload *);
void engine_offload_destroy(struct engine_offload *);
void engine_offload_run(struct engine_offload *, long long now);

#endif
