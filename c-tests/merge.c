/* Merged flows as a datapath uses them: filters told, packets traced, the cache asked, a provider told. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the provider was told. */
static atomic_ulong added, deleted, asked;

static int flow_add(void *user, const struct ct_merged_flow *flow)
{
    (void)user;
    CHECK(flow->size == sizeof *flow && flow->n_connections == 1 && flow->connections[0].zone == 3);
    CHECK(flow->n_actions == 1 && flow->actions[0].kind == CT_FLOW_OUTPUT);
    /* The whole flow has the tracker's metadata too. */
    CHECK(flow->n_all_actions > 1 && flow->all_actions[0].kind == CT_FLOW_TRACKED);
    int ports = 0;
    for (size_t i = 0; i < flow->n_matches; i++) {
        ports += flow->matches[i].field == CT_FIELD_PORT_SRC
                 || flow->matches[i].field == CT_FIELD_PORT_DST;
    }
    CHECK(ports == 2);
    added++;
    return 0;
}

static void flow_del(void *user, uint64_t number, struct ct_flow_use *used)
{
    (void)user;
    CHECK(number != 0 && used->size == sizeof *used && used->packets == 0);
    used->packets = 2;
    used->bytes = 200;
    deleted++;
}

static void flow_stats(void *user, uint64_t number, struct ct_flow_use *used)
{
    (void)user;
    (void)number;
    used->packets = 1;
    used->bytes = 100;
    used->last_used_ms = 5000;
    asked++;
}

static struct ct_field_match field(uint32_t name, uint8_t value, uint8_t mask)
{
    struct ct_field_match match;
    memset(&match, 0, sizeof match);
    match.field = name;
    match.value[15] = value;
    match.mask[15] = mask;
    return match;
}

static struct ct_flow_action does(uint32_t kind, uint32_t number)
{
    struct ct_flow_action action;
    memset(&action, 0, sizeof action);
    action.kind = kind;
    action.number = number;
    return action;
}

/* Filters 1 and 2 track what comes from ports 1 and 2, 11 and 12 forward what is established. */
static void tell_filters(struct conntrack *ct)
{
    struct ct_action track = action(0, 3);
    for (uint8_t port = 1; port <= 2; port++) {
        struct ct_field_match matches[] = {
            field(CT_FIELD_IN_PORT, port, 0xff),
            field(CT_FIELD_RECIRCULATION, 0, 0xff),
            field(CT_FIELD_CT_STATE, CT_STATE_ESTABLISHED, CT_STATE_ESTABLISHED),
        };
        struct ct_flow_action actions[] = {does(CT_FLOW_CT, 0), does(CT_FLOW_RECIRCULATE, 1)};
        actions[0].ct = &track;
        struct ct_flow_filter filter = {sizeof filter, port, matches, 2, actions, 2};
        CHECK(ct_flow_filter_add(ct, &filter) == 0);
        CHECK(ct_flow_filter_add(ct, &filter) == EEXIST);

        matches[1] = field(CT_FIELD_RECIRCULATION, 1, 0xff);
        actions[0] = does(CT_FLOW_OUTPUT, 3u - port);
        filter.cookie = 10u + port;
        filter.n_matches = 3;
        filter.n_actions = 1;
        CHECK(ct_flow_filter_add(ct, &filter) == 0);
    }
}

/* One packet through the datapath: the port where it leaves; 0: dropped. */
static uint32_t forward(struct conntrack *ct, struct udp *p, uint32_t port, int64_t now)
{
    static _Thread_local struct ct_trace trace;
    struct ct_packet packet_ = packet(p);
    const struct ct_merged_flow *flow = NULL;
    uint64_t visit = 7;
    uint32_t out = 0;

    packet_.in_port = port;
    packet_.trace = &trace;
    CHECK(ct_fastpath_lookup(ct, &packet_, NULL, 1, now, &flow, &visit) == 0 && visit != 0);
    if (flow != NULL) {
        CHECK(packet_.ct_state & CT_STATE_ESTABLISHED && packet_.ct_zone == 3);
        out = flow->actions[0].number;
    } else {
        CHECK(packet_.ct_state == 0);
    }
    CHECK(ct_fastpath_done(ct, &visit) == 0 && visit == 0);
    if (out != 0) {
        return out;
    }
    struct ct_action track = action(0, 3), commit = action(CT_ACTION_COMMIT, 3);
    ct_trace_filter(&trace, port);
    CHECK(conntrack_execute(ct, &packet_, 1, &track, now) == 0);
    if (packet_.ct_state == NEW) {
        ct_trace_abort(&trace);
        CHECK(conntrack_execute(ct, &packet_, 1, &commit, now) == 0);
    } else {
        ct_trace_filter(&trace, 10 + port);
    }
    CHECK(ct_trace_end(ct, &trace) == 0);
    return 3 - port;
}

static struct ct_fastpath_stats stats_of(struct conntrack *ct)
{
    struct ct_fastpath_stats stats = {.size = sizeof stats};
    CHECK(ct_fastpath_get_stats(ct, &stats) == 0);
    return stats;
}

static uint64_t carried(struct conntrack *ct, uint64_t cookie)
{
    struct ct_flow_use used = {.size = sizeof used};
    CHECK(ct_flow_filter_get_use(ct, cookie, &used) == 0);
    return used.packets;
}

static void life(struct conntrack *ct)
{
    struct udp question = udp(1, 5, 2, 53), answer = udp(2, 53, 1, 5);
    struct ct_offload_class provider = {
        .size = sizeof provider, .name = "flows",
        .flow_add = flow_add, .flow_del = flow_del, .flow_stats = flow_stats,
    };
    struct ct_merge_work work = {.size = sizeof work};

    CHECK(ct_offload_register(ct, &provider, 0) == 0);
    CHECK(forward(ct, &question, 1, 1) == 2);
    CHECK(forward(ct, &answer, 2, 2) == 1);
    CHECK(forward(ct, &question, 1, 3) == 2);
    CHECK(stats_of(ct).hits == 0);
    CHECK(ct_merge_run(ct, 0, 4, &work) == 0);
    CHECK(work.traces == 2 && work.merged == 2 && added == 2);
    CHECK(forward(ct, &question, 1, 5) == 2);
    CHECK(forward(ct, &answer, 2, 6) == 1);
    CHECK(forward(ct, &answer, 2, 7) == 1);
    CHECK(stats_of(ct).hits == 3 && stats_of(ct).flows == 2 && stats_of(ct).filters == 4);
    CHECK(carried(ct, 1) == 1 && carried(ct, 11) == 1 && carried(ct, 2) == 2 && carried(ct, 12) == 2);

    /* What hardware carried is asked once a second. */
    CHECK(ct_merge_run(ct, 0, 5000, NULL) == 0 && asked == 2);
    CHECK(ct_merge_run(ct, 0, 5100, NULL) == 0 && asked == 2);
    CHECK(carried(ct, 1) == 2);

    struct ct_merged_listing listing = {.size = sizeof listing};
    int listed = 0;
    while (ct_fastpath_list(ct, &listing) == 0) {
        CHECK(listing.n_parents == 2 && listing.n_connections == 1 && listing.offloaded);
        listed++;
    }
    CHECK(listed == 2);

    /* A filter goes: its flow is revoked, the provider told, nothing that was carried is lost. */
    struct ct_flow_use used = {.size = sizeof used};
    CHECK(ct_flow_filter_remove(ct, 1, &used) == 0 && deleted == 1);
    CHECK(used.packets == 4 && carried(ct, 11) == 4);
    CHECK(ct_flow_filter_remove(ct, 1, NULL) == ENOENT);
    uint64_t revoked = 9;
    CHECK(ct_fastpath_port_removed(ct, 9, &revoked) == 0 && revoked == 0);
    CHECK(ct_fastpath_port_removed(ct, 2, &revoked) == 0 && revoked == 1 && deleted == 2);
    CHECK(ct_offload_unregister(ct, "flows", 8000) == 0);
    CHECK(stats_of(ct).released == 2 && stats_of(ct).flows == 0);
}

static void misuse(struct conntrack *ct)
{
    struct udp p = udp(1, 1, 2, 2);
    struct ct_packet good = packet(&p);
    const struct ct_merged_flow *flow = NULL;
    struct ct_fastpath_config config = {.size = sizeof config};
    struct ct_flow_filter filter = {.size = sizeof filter, .cookie = 77};
    struct ct_field_match match = field(CT_FIELD_PROTO, 17, 0xff);
    struct ct_flow_action act = does(CT_FLOW_OUTPUT, 1);
    struct ct_flow_use used = {.size = sizeof used};
    struct ct_merged_listing listing = {.size = sizeof listing};
    uint64_t visit = 0, other = 1u << 20;

    CHECK(ct_fastpath_enable(NULL, &config) == EINVAL);
    CHECK(ct_fastpath_enable(ct, NULL) == EINVAL);
    CHECK(ct_fastpath_enable(ct, &config) == EEXIST);
    config.flags = 8;
    CHECK(ct_fastpath_enable(ct, &config) == EINVAL);
    CHECK(ct_flow_filter_add(NULL, &filter) == EINVAL);
    CHECK(ct_flow_filter_add(ct, NULL) == EINVAL);
    filter.n_matches = 1;
    CHECK(ct_flow_filter_add(ct, &filter) == EINVAL);
    filter.matches = &match;
    match.field = 99;
    CHECK(ct_flow_filter_add(ct, &filter) == EINVAL);
    match.field = CT_FIELD_PROTO;
    match.mask[0] = 1;
    CHECK(ct_flow_filter_add(ct, &filter) == EINVAL);
    match.mask[0] = 0;
    filter.n_actions = SIZE_MAX;
    filter.actions = &act;
    CHECK(ct_flow_filter_add(ct, &filter) == EINVAL);
    filter.n_actions = 1;
    act.kind = CT_FLOW_CT;
    CHECK(ct_flow_filter_add(ct, &filter) == EINVAL);
    act.kind = CT_FLOW_TRACKED;
    CHECK(ct_flow_filter_add(ct, &filter) == EINVAL);
    CHECK(ct_flow_filter_update(ct, NULL) == EINVAL);
    act.kind = CT_FLOW_DROP;
    CHECK(ct_flow_filter_update(ct, &filter) == ENOENT);
    CHECK(ct_flow_filter_get_use(ct, 77, &used) == ENOENT);
    CHECK(ct_flow_filter_get_use(ct, 77, NULL) == EINVAL);
    used.size = 3;
    CHECK(ct_flow_filter_remove(ct, 77, &used) == EINVAL);
    CHECK(ct_fastpath_lookup(NULL, &good, NULL, 1, 0, &flow, &visit) == EINVAL);
    CHECK(ct_fastpath_lookup(ct, NULL, NULL, 1, 0, &flow, &visit) == EINVAL);
    CHECK(ct_fastpath_lookup(ct, &good, NULL, 1, 0, NULL, &visit) == EINVAL);
    CHECK(ct_fastpath_lookup(ct, &good, NULL, 1, 0, &flow, NULL) == EINVAL);
    CHECK(good.ct_state == 0 && visit == 0);
    CHECK(ct_fastpath_done(ct, NULL) == 0);
    CHECK(ct_fastpath_done(ct, &visit) == 0);
    CHECK(ct_fastpath_done(ct, &other) == EINVAL);
    ct_trace_filter(NULL, 1);
    ct_trace_abort(NULL);
    CHECK(ct_trace_end(ct, NULL) == 0);
    CHECK(ct_trace_end(NULL, NULL) == EINVAL);

    /* Whatever the words of a trace are. */
    struct ct_trace trash;
    memset(&trash, 0xff, sizeof trash);
    ct_trace_filter(&trash, 1);
    ct_trace_abort(&trash);
    CHECK(ct_trace_end(ct, &trash) == 0);
    good.trace = &trash;
    memset(&trash, 0xa5, sizeof trash);
    struct ct_action track = action(0, 0);
    CHECK(conntrack_execute(ct, &good, 1, &track, 0) == 0);

    /* Who looks flows up cannot revoke them. */
    good = packet(&p);
    CHECK(ct_fastpath_lookup(ct, &good, NULL, 1, 0, &flow, &visit) == 0);
    CHECK(ct_fastpath_flush(ct) == EBUSY);
    CHECK(ct_merge_run(ct, 0, 0, NULL) == EBUSY);
    CHECK(ct_flow_filter_remove(ct, 2, NULL) == EBUSY);
    CHECK(ct_fastpath_done(ct, &visit) == 0);
    CHECK(ct_fastpath_flush(ct) == 0);
    CHECK(ct_fastpath_flush(NULL) == EINVAL);
    CHECK(ct_fastpath_port_removed(NULL, 1, NULL) == EINVAL);
    CHECK(ct_fastpath_list(ct, NULL) == EINVAL);
    CHECK(ct_fastpath_list(ct, &listing) == ENODATA);
    CHECK(ct_fastpath_get_stats(ct, NULL) == EINVAL);
    CHECK(ct_merge_run(NULL, 0, 0, NULL) == EINVAL);
    CHECK(strcmp(ct_merge_refusal_name(0), "empty") == 0);
    CHECK(strcmp(ct_merge_refusal_name(UINT32_MAX), "") == 0);
}

struct shared {
    struct conntrack *ct;
    atomic_int done;
    atomic_ulong packets;
};

static void *traffic(void *argument)
{
    struct shared *shared = argument;
    struct udp question = udp(3, 5, 4, 53), answer = udp(4, 53, 3, 5);
    for (uint32_t i = 0; !shared->done; i++) {
        CHECK(forward(shared->ct, &question, 1, 10) == 2);
        CHECK(forward(shared->ct, &answer, 2, 10) == 1);
        shared->packets += 2;
    }
    return NULL;
}

/* Threads forward while filters change under them and flows are merged and revoked. */
static void threads(struct conntrack *ct)
{
    struct shared shared = {.ct = ct};
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&thread[i], NULL, traffic, &shared) == 0);
    }
    uint32_t n = rounds(2000);
    for (uint32_t i = 0; i < n || stats_of(ct).hits < 100; i++) {
        CHECK(ct_merge_run(ct, 0, 10, NULL) == 0);
        CHECK(ct_fastpath_port_removed(ct, 1 + i % 2, NULL) == 0);
        if (i % 16 == 0) {
            CHECK(ct_merge_run(ct, 0, 10, NULL) == 0);
            CHECK(ct_fastpath_flush(ct) == 0);
            CHECK(conntrack_flush(ct, NULL) == 0);
        }
    }
    shared.done = 1;
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
    }
}

int main(void)
{
    struct conntrack *ct = NULL;
    struct ct_fastpath_config config = {.size = sizeof config, .flows = 64, .traces = 1024};
    uint64_t visit = 0;
    const struct ct_merged_flow *flow = NULL;
    CHECK(conntrack_create(NULL, &ct) == 0);
    CHECK(ct_merge_run(ct, 0, 0, NULL) == ENOENT);
    CHECK(ct_fastpath_lookup(ct, NULL, NULL, 0, 0, &flow, &visit) == ENOENT && visit == 0);
    CHECK(ct_fastpath_enable(ct, &config) == 0);
    tell_filters(ct);
    threads(ct);
    CHECK(ct_fastpath_flush(ct) == 0);
    conntrack_destroy(ct);

    CHECK(conntrack_create(NULL, &ct) == 0);
    CHECK(ct_fastpath_enable(ct, &config) == 0);
    tell_filters(ct);
    life(ct);
    misuse(ct);
    conntrack_destroy(ct);
    return 0;
}
