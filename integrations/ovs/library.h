/*
 * What the files that know ctoffload.h share: the instance, and values that look different on the two
 * sides.
 */

#ifndef CTOFFLOAD_OVS_LIBRARY_H
#define CTOFFLOAD_OVS_LIBRARY_H

#include <netinet/in.h>

#include "byte-order.h"
#include "openvswitch/list.h"
#include "openvswitch/types.h"
#include "ovs-thread.h"
#include "unaligned.h"

#include <ctoffload.h>

#include "engine.h"

struct engine_offload;

struct engine {
    struct conntrack *tracker;
    uint8_t meanings[UINT8_MAX + 1];    /* enum meaning, by the library's number of the reason. */

    struct ovs_mutex mutex;             /* One sweeps at a time, and a flush waits for its turn. */
    struct ct_stats reported;           /* Statistics that went into coverage counters. */

    struct engine_offload *offload;
};

/* The library's label has its most significant byte first. */
static inline void
label_to_library(uint8_t to[16], ovs_u128 label)
{
    put_unaligned_be64((void *) to, htonll(label.u64.hi));
    put_unaligned_be64((void *) (to + 8), htonll(label.u64.lo));
}

static inline ovs_u128
label_from_library(const uint8_t from[16])
{
    ovs_u128 label;

    label.u64.hi = ntohll(get_unaligned_be64((const void *) from));
    label.u64.lo = ntohll(get_unaligned_be64((const void *) (from + 8)));
    return label;
}

static inline bool
is_icmp(uint8_t protocol)
{
    return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* A connection as Open vSwitch lists it; to be given back with ct_dpif_entry_uninit(). */
void engine_entry(struct ct_dpif_entry *, const struct ct_connection *);

/* An instance's offload. Its tracker is destroyed after engine_offload_unlist() and before
 * engine_offload_destroy(). engine_offload_run() is for one thread at a time. */
struct engine_offload *engine_offload_create(struct engine *, long long now);
void engine_offload_unlist(struct engine_offload *);
void engine_offload_destroy(struct engine_offload *);
void engine_offload_run(struct engine_offload *, long long now);

#endif
