/*
 * What Open vSwitch calls its connection tracker: the functions of lib/conntrack.h and
 * lib/conntrack-tp.h, without a tracker behind them. This file keeps what belongs to Open vSwitch: the
 * thread that sweeps by Open vSwitch's clock, and its copies of timeout policies. All else is engine.c's.
 */

#include <config.h>

#include <errno.h>

#include "cmap.h"
#include "conntrack.h"
#include "conntrack-tp.h"
#include "ct-dpif.h"
#include "dp-packet.h"
#include "hash.h"
#include "latch.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "timeval.h"
#include "util.h"

#include "engine.h"

VLOG_DEFINE_THIS_MODULE(conntrack);

BUILD_ASSERT_DECL(DEFAULT_ZONE == ENGINE_DEFAULT_ZONE);

/* Expired connections are invisible at once; sweeping gives their memory back. */
#define SWEEP_INTERVAL_MS 1000

#if OVS_VERSION >= 305
/* What Open vSwitch shows as long as nobody sets it. It is the longest time between two sweeps, which
 * here are never farther apart than SWEEP_INTERVAL_MS. */
#define SHOWN_SWEEP_INTERVAL_MS 20000
#endif

struct conntrack {
    struct engine *engine;

    struct latch exit;
    pthread_t sweeper;
#if OVS_VERSION >= 305
    atomic_uint32_t sweep_interval_ms;
#endif

    struct ovs_mutex policies_mutex;
    struct cmap policies;       /* Of struct timeout_policy, for timeout_policy_get(). */
};

/* --- instances ---------------------------------------------------------------------------------- */

static uint32_t
sweep_interval(const struct conntrack *ct OVS_UNUSED)
{
    uint32_t ms = SWEEP_INTERVAL_MS;

#if OVS_VERSION >= 305
    atomic_read_relaxed(&ct->sweep_interval_ms, &ms);
#endif
    return MIN(ms, SWEEP_INTERVAL_MS);
}

static void *
sweep_main(void *ct_)
{
    struct conntrack *ct = ct_;

    while (!latch_is_set(&ct->exit)) {
        long long int now = time_msec();

        engine_sweep(ct->engine, now);
        poll_timer_wait_until(now + sweep_interval(ct));
        latch_wait(&ct->exit);
        poll_block();
    }
    return NULL;
}

struct conntrack *
conntrack_init(void)
{
    struct conntrack *ct = xzalloc(sizeof *ct);
    int error = engine_create(&ct->engine);

    if (error) {
        ovs_abort(error, "cannot create a connection tracker of libctoffload");
    }
    ovs_mutex_init(&ct->policies_mutex);
    cmap_init(&ct->policies);
    latch_init(&ct->exit);
#if OVS_VERSION >= 305
    atomic_init(&ct->sweep_interval_ms, SHOWN_SWEEP_INTERVAL_MS);
#endif
    ct->sweeper = ovs_thread_create("ct_clean", sweep_main, ct);
    return ct;
}

void
conntrack_destroy(struct conntrack *ct)
{
    struct timeout_policy *policy;

    latch_set(&ct->exit);
    pthread_join(ct->sweeper, NULL);
    latch_destroy(&ct->exit);

    CMAP_FOR_EACH (policy, node, &ct->policies) {
        cmap_remove(&ct->policies, &policy->node, hash_int(policy->policy.id, 0));
        ovsrcu_postpone(free, policy);
    }
    cmap_destroy(&ct->policies);
    ovs_mutex_destroy(&ct->policies_mutex);
    engine_destroy(ct->engine);
    free(ct);
}

struct ipf *
conntrack_ipf_ctx(struct conntrack *ct)
{
    return engine_reassembly(ct->engine);
}

/* --- packets ------------------------------------------------------------------------------------ */

int
conntrack_execute(struct conntrack *ct, struct dp_packet_batch *batch, ovs_be16 dl_type, bool force,
                  bool commit, uint16_t zone, const uint32_t *setmark,
                  const struct ovs_key_ct_labels *setlabel,
#if OVS_VERSION < 305
                  ovs_be16 tp_src OVS_UNUSED, ovs_be16 tp_dst OVS_UNUSED,
#endif
                  const char *helper, const struct nat_action_info_t *info, long long now,
                  uint32_t tp_id)
{
    struct engine_nat nat;
    struct engine_action action = {
        .zone = zone,
        .dl_type = dl_type,
        .commit = commit,
        .force = force,
        .mark = setmark,
        .label = setlabel,
        .helper = helper,
        .timeout_policy = tp_id,
    };

    if (info) {
        nat = (struct engine_nat) {
            .src = info->nat_action & NAT_ACTION_SRC,
            .dst = info->nat_action & NAT_ACTION_DST,
            .ip_version = dl_type == htons(ETH_TYPE_IPV6) ? 6 : 4,
            .min_address = &info->min_addr,
            .max_address = &info->max_addr,
            .min_port = info->min_port,
            .max_port = info->max_port,
#if OVS_VERSION >= 305
            .random = info->nat_flags & NAT_RANGE_RANDOM,
            .persistent = info->nat_flags & NAT_PERSISTENT,
#endif
        };
        action.nat = &nat;
    }

    engine_execute(ct->engine, batch, &action, now);
    return 0;
}

void
conntrack_clear(struct dp_packet *packet)
{
    packet->md.ct_state = 0;
    pkt_metadata_init_conn(&packet->md);
}

/* --- listings and flushes ----------------------------------------------------------------------- */

/* Open vSwitch has a struct conntrack_dump by value, whose members are for its own tracker. `ct` is the
 * only one that nobody else looks at and that can hold a pointer. */
static struct engine_dump *
dump_of(const struct conntrack_dump *dump)
{
    return (struct engine_dump *) dump->ct;
}

int
conntrack_dump_start(struct conntrack *ct, struct conntrack_dump *dump, const uint16_t *zone,
                     int *total_buckets)
{
    memset(dump, 0, sizeof *dump);
    dump->ct = (struct conntrack *) engine_dump_create(ct->engine, zone);
    *total_buckets = 1;
    return 0;
}

int
conntrack_dump_next(struct conntrack_dump *dump, struct ct_dpif_entry *entry)
{
    return engine_dump_next(dump_of(dump), entry, time_msec()) ? EOF : 0;
}

int
conntrack_dump_done(struct conntrack_dump *dump)
{
    engine_dump_destroy(dump_of(dump));
    dump->ct = NULL;
    return 0;
}

#if OVS_VERSION >= 305
int
conntrack_exp_dump_start(struct conntrack *ct, struct conntrack_dump *dump, const uint16_t *zone)
{
    memset(dump, 0, sizeof *dump);
    dump->ct = (struct conntrack *) engine_expectations_create(ct->engine, zone, time_msec());
    return 0;
}

int
conntrack_exp_dump_next(struct conntrack_dump *dump, struct ct_dpif_exp *expectation)
{
    return engine_expectations_next((struct engine_expectations *) dump->ct, expectation) ? EOF : 0;
}

int
conntrack_exp_dump_done(struct conntrack_dump *dump)
{
    engine_expectations_destroy((struct engine_expectations *) dump->ct);
    dump->ct = NULL;
    return 0;
}
#endif

int
conntrack_flush(struct conntrack *ct, const uint16_t *zone)
{
    return engine_flush(ct->engine, zone, time_msec());
}

int
conntrack_flush_tuple(struct conntrack *ct, const struct ct_dpif_tuple *tuple, uint16_t zone)
{
    int error = engine_flush_tuple(ct->engine, tuple, zone, time_msec());

    if (error) {
        VLOG_WARN("No connection to flush: a tuple must be that of the original direction, as it was "
                  "before translation (%s)", ovs_strerror(error));
    }
    return error;
}

/* --- settings ----------------------------------------------------------------------------------- */

int
conntrack_set_maxconns(struct conntrack *ct, uint32_t maxconns)
{
    return engine_set_limit(ct->engine, maxconns);
}

int
conntrack_get_maxconns(struct conntrack *ct, uint32_t *maxconns)
{
    return engine_get_limit(ct->engine, maxconns);
}

int
conntrack_get_nconns(struct conntrack *ct, uint32_t *nconns)
{
    return engine_get_count(ct->engine, nconns, time_msec());
}

int
conntrack_set_tcp_seq_chk(struct conntrack *ct, bool enabled)
{
    return engine_set_sequence_check(ct->engine, enabled);
}

bool
conntrack_get_tcp_seq_chk(struct conntrack *ct)
{
    return engine_get_sequence_check(ct->engine);
}

#if OVS_VERSION >= 305
int
conntrack_set_sweep_interval(struct conntrack *ct, uint32_t ms)
{
    atomic_store_relaxed(&ct->sweep_interval_ms, ms);
    return 0;
}

uint32_t
conntrack_get_sweep_interval(struct conntrack *ct)
{
    uint32_t ms;

    atomic_read_relaxed(&ct->sweep_interval_ms, &ms);
    return ms;
}
#endif

/* --- limits of zones ---------------------------------------------------------------------------- */

#if OVS_VERSION >= 305
typedef struct conntrack_zone_info zone_answer;
typedef int32_t zone_to_delete;         /* DEFAULT_ZONE, too. */
#else
typedef struct conntrack_zone_limit zone_answer;
typedef uint16_t zone_to_delete;
#endif

zone_answer
zone_limit_get(struct conntrack *ct, int32_t zone)
{
    zone_answer answer = { .zone = DEFAULT_ZONE };
    struct engine_zone_limit limit;

    if (!engine_get_zone_limit(ct->engine, zone, &limit)) {
        answer.zone = limit.zone;
        answer.limit = limit.limit;
#if OVS_VERSION >= 305
        answer.count = limit.count;
#else
        atomic_count_set(&answer.count, limit.count);
#endif
    }
    return answer;
}

int
zone_limit_update(struct conntrack *ct, int32_t zone, uint32_t limit)
{
    int error = engine_set_zone_limit(ct->engine, zone, limit);

    if (error) {
        VLOG_WARN("Cannot limit zone %d to %u connections (%s)", zone, limit, ovs_strerror(error));
    } else {
        VLOG_INFO("Limited zone %d to %u connections", zone, limit);
    }
    return error;
}

int
zone_limit_delete(struct conntrack *ct, zone_to_delete zone)
{
    int error = engine_delete_zone_limit(ct->engine, zone);

    /* As in Open vSwitch's own tracker, what is not there is as good as deleted. */
    if (!error || error == ENOENT) {
        VLOG_INFO("%s the limit of zone %d", error ? "There was no need to delete" : "Deleted", zone);
        error = 0;
    }
    return error;
}

/* --- timeout policies --------------------------------------------------------------------------- */

static struct timeout_policy *
find_policy(const struct conntrack *ct, uint32_t id)
{
    struct timeout_policy *policy;

    CMAP_FOR_EACH_WITH_HASH (policy, node, hash_int(id, 0), &ct->policies) {
        if (policy->policy.id == id) {
            return policy;
        }
    }
    return NULL;
}

static void
forget_policy(struct conntrack *ct, struct timeout_policy *policy)
    OVS_REQUIRES(ct->policies_mutex)
{
    cmap_remove(&ct->policies, &policy->node, hash_int(policy->policy.id, 0));
    ovsrcu_postpone(free, policy);
}

struct timeout_policy *
timeout_policy_get(struct conntrack *ct, int32_t id)
{
    return find_policy(ct, id);
}

/* Attributes that `new` does not have stay as they were. */
int
timeout_policy_update(struct conntrack *ct, struct timeout_policy *new)
{
    struct timeout_policy *copy = xzalloc(sizeof *copy);
    struct timeout_policy *old;
    int error;

    ovs_mutex_lock(&ct->policies_mutex);
    old = find_policy(ct, new->policy.id);
    if (old) {
        copy->policy = old->policy;
    }
    copy->policy.id = new->policy.id;
    for (size_t i = 0; i < ARRAY_SIZE(new->policy.attrs); i++) {
        if (new->policy.present & (1u << i)) {
            copy->policy.attrs[i] = new->policy.attrs[i];
        }
    }
    copy->policy.present |= new->policy.present;

    error = engine_set_timeout_policy(ct->engine, &copy->policy);
    if (error) {
        free(copy);
    } else {
        if (old) {
            forget_policy(ct, old);
        }
        cmap_insert(&ct->policies, &copy->node, hash_int(copy->policy.id, 0));
    }
    ovs_mutex_unlock(&ct->policies_mutex);
    return error;
}

int
timeout_policy_delete(struct conntrack *ct, uint32_t id)
{
    struct timeout_policy *policy;
    int error;

    ovs_mutex_lock(&ct->policies_mutex);
    policy = find_policy(ct, id);
    if (policy) {
        error = engine_delete_timeout_policy(ct->engine, id);
        forget_policy(ct, policy);
    } else {
        error = ENOENT;
    }
    ovs_mutex_unlock(&ct->policies_mutex);
    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);

        VLOG_WARN_RL(&rl, "Cannot delete timeout policy %u (%s)", id, ovs_strerror(error));
    }
    return error;
}
