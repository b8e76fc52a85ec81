/*
 * The seam of the adapter. Open vSwitch's connection tracker and this library have functions of the
 * same names, so no file can include both headers: tracker.c knows conntrack.h, engine.c knows
 * ctoffload.h, both know Open vSwitch's packets and listings, and this is what they say to each other.
 *
 * Functions return 0 or a positive errno, as both sides do. Times are Open vSwitch's: milliseconds of
 * time_msec(), which stands still or jumps when a test says so.
 */

#ifndef CTOFFLOAD_OVS_ENGINE_H
#define CTOFFLOAD_OVS_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "openvswitch/types.h"

struct ct_dpif_entry;
struct ct_dpif_exp;
struct ct_dpif_timeout_policy;
struct ct_dpif_tuple;
struct dp_packet;
struct dp_packet_batch;
struct ovs_key_ct_labels;

/* An instance of the library. */
struct engine;

/* The place of a dump. */
struct engine_dump;

/* A listing of the connections that helpers expect. */
struct engine_expectations;

/* The nat() part of a ct() action. */
struct engine_nat {
    bool src;                   /* Translate sources. */
    bool dst;                   /* Translate destinations. */
    uint8_t ip_version;         /* 4 or 6. */
    const void *min_address;    /* In network byte order, of ip_version. */
    const void *max_address;
    uint16_t min_port;          /* 0: no range of ports. */
    uint16_t max_port;
    bool random;                /* Choose ports at random. */
    bool persistent;            /* Choose addresses by the source's alone. */
};

/* A ct() action. */
struct engine_action {
    uint16_t zone;
    ovs_be16 dl_type;                       /* Of all packets. */
    bool commit;
    bool force;
    const uint32_t *mark;                   /* Value and mask, or NULL. */
    const struct ovs_key_ct_labels *label;  /* Value and mask, or NULL. */
    const char *helper;                     /* "ftp", "tftp" or NULL. */
    const struct engine_nat *nat;           /* NULL: no nat() part. */
    uint32_t timeout_policy;                /* 0: the default one. */
};

/* The zone that stands for all zones without a limit of their own, as in Open vSwitch. */
#define ENGINE_DEFAULT_ZONE -1

/* A zone's limit and its connections. */
struct engine_zone_limit {
    int32_t zone;               /* ENGINE_DEFAULT_ZONE: it has no limit of its own. */
    uint32_t limit;             /* 0: there is none, not even a default one. */
    uint32_t count;
};

int engine_create(struct engine **);
void engine_destroy(struct engine *);

/* What lib/ipf.h is about. */
struct ipf *engine_reassembly(struct engine *);

/* Packets that cannot be tracked are +trk+inv; fragments may be missing afterwards, and others be there. */
void engine_execute(struct engine *, struct dp_packet_batch *, const struct engine_action *,
                    long long now);
void engine_sweep(struct engine *, long long now);

struct engine_dump *engine_dump_create(struct engine *, const uint16_t *zone);
int engine_dump_next(struct engine_dump *, struct ct_dpif_entry *, long long now);
void engine_dump_destroy(struct engine_dump *);

#if OVS_VERSION >= 305
struct engine_expectations *engine_expectations_create(struct engine *, const uint16_t *zone,
                                                       long long now);
int engine_expectations_next(struct engine_expectations *, struct ct_dpif_exp *);
void engine_expectations_destroy(struct engine_expectations *);
#endif

int engine_flush(struct engine *, const uint16_t *zone, long long now);
int engine_flush_tuple(struct engine *, const struct ct_dpif_tuple *, uint16_t zone, long long now);

int engine_set_limit(struct engine *, uint32_t connections);
int engine_get_limit(struct engine *, uint32_t *connections);
int engine_get_count(struct engine *, uint32_t *connections, long long now);
int engine_set_sequence_check(struct engine *, bool on);
bool engine_get_sequence_check(struct engine *);

int engine_set_zone_limit(struct engine *, int32_t zone, uint32_t limit);
int engine_get_zone_limit(struct engine *, int32_t zone, struct engine_zone_limit *);
int engine_delete_zone_limit(struct engine *, int32_t zone);

int engine_set_timeout_policy(struct engine *, const struct ct_dpif_timeout_policy *);
int engine_delete_timeout_policy(struct engine *, uint32_t id);

#endif
