/* Every function with arguments that make no sense: an errno, a message, and nothing broken. */
#include "check.h"

static void timeouts(struct conntrack *ct)
{
    struct ct_timeout_policy policy = {.size = sizeof policy, .id = 5};
    uint32_t id = 0, ids[2] = {9, 9};
    size_t total = 9;

    CHECK(conntrack_set_timeout_policy(NULL, &policy) == EINVAL);
    CHECK(conntrack_set_timeout_policy(ct, NULL) == EINVAL);
    policy.present = 1u << 27;
    CHECK(conntrack_set_timeout_policy(ct, &policy) == EINVAL);
    policy.present = 0;
    policy.seconds[31] = 1;
    CHECK(conntrack_set_timeout_policy(ct, &policy) == EINVAL);
    policy.seconds[31] = 0;
    memset(policy.name, 'x', sizeof policy.name);
    CHECK(conntrack_set_timeout_policy(ct, &policy) == EINVAL);
    memcpy(policy.name, "\xff\xfe", 3);
    CHECK(conntrack_set_timeout_policy(ct, &policy) == EINVAL);
    policy.size = 10;
    CHECK(conntrack_set_timeout_policy(ct, &policy) == EINVAL);
    CHECK(conntrack_get_timeout_policy(ct, 0, &policy) == EINVAL);
    policy.size = sizeof policy;
    CHECK(conntrack_get_timeout_policy(NULL, 0, &policy) == EINVAL);
    CHECK(conntrack_get_timeout_policy(ct, 0, NULL) == EINVAL);
    CHECK(conntrack_get_timeout_policy(ct, 5, &policy) == ENOENT && policy.id == 5);
    CHECK(conntrack_delete_timeout_policy(NULL, 0) == EINVAL);
    CHECK(conntrack_delete_timeout_policy(ct, 5) == ENOENT);
    CHECK(conntrack_find_timeout_policy(NULL, "a", &id) == EINVAL);
    CHECK(conntrack_find_timeout_policy(ct, NULL, &id) == EINVAL);
    CHECK(conntrack_find_timeout_policy(ct, "\xff", &id) == ENOENT);
    CHECK(conntrack_find_timeout_policy(ct, "a", NULL) == ENOENT);
    CHECK(conntrack_get_timeout_policies(NULL, ids, 2, &total) == EINVAL);
    CHECK(conntrack_get_timeout_policies(ct, NULL, 2, &total) == EINVAL && total == 9);
    CHECK(conntrack_get_timeout_policies(ct, ids, 2, NULL) == EINVAL && ids[0] == 9);
    CHECK(conntrack_get_timeout_policies(ct, ids, 2, &total) == 0 && total == 1 && ids[0] == 0);
    CHECK(conntrack_set_zone_timeout_policy(NULL, 0, &id) == EINVAL);
    id = 5;
    CHECK(conntrack_set_zone_timeout_policy(ct, 0, &id) == ENOENT);
    CHECK(conntrack_set_zone_timeout_policy(ct, 0, (uint32_t *)((char *)ids + 1)) == EINVAL);
    CHECK(conntrack_get_zone_timeout_policy(NULL, 0, &id) == EINVAL);
    CHECK(conntrack_get_zone_timeout_policy(ct, 0, &id) == ENOENT && id == 5);
}

static void zones(struct conntrack *ct)
{
    struct ct_zone_limit limit = {.zone = 9};
    uint32_t n = 7;
    size_t total = 9;

    CHECK(conntrack_set_zone_limit(NULL, 0, 1) == EINVAL);
    CHECK(conntrack_set_zone_limit(ct, 0, CT_ZONE_LIMIT_NONE) == EINVAL);
    CHECK(conntrack_delete_zone_limit(NULL, 0) == EINVAL);
    CHECK(conntrack_delete_zone_limit(ct, 0) == ENOENT);
    CHECK(conntrack_set_default_zone_limit(NULL, 0) == EINVAL);
    CHECK(conntrack_get_default_zone_limit(NULL, &n) == EINVAL && n == 7);
    CHECK(conntrack_get_default_zone_limit(ct, NULL) == EINVAL);
    CHECK(conntrack_set_zone_guarantee(NULL, 0, 0) == EINVAL);
    CHECK(conntrack_get_zone_limit(NULL, 0, &limit) == EINVAL && limit.zone == 9);
    CHECK(conntrack_get_zone_limit(ct, 0, NULL) == EINVAL);
    CHECK(conntrack_get_zone_limits(NULL, &limit, 1, &total) == EINVAL);
    CHECK(conntrack_get_zone_limits(ct, NULL, 1, &total) == EINVAL && total == 9);
    CHECK(conntrack_get_zone_limits(ct, &limit, 1, NULL) == EINVAL && limit.zone == 9);
    CHECK(conntrack_get_zone_limits(ct, &limit, 1, &total) == 0 && total == 0);
}

static void filters(struct conntrack *ct)
{
    struct ct_filter filter = {.size = sizeof filter}, bad;
    struct ct_dump dump = {.size = sizeof dump};
    struct ct_connection c = {.size = sizeof c};
    uint32_t n = 7;

    CHECK(conntrack_flush_matching(NULL, &filter, 0, &n) == EINVAL);
    CHECK(conntrack_flush_matching(ct, NULL, 0, &n) == EINVAL);
    CHECK(conntrack_dump_start(ct, NULL, &dump) == 0);
    CHECK(conntrack_dump_next_matching(NULL, &dump, &filter, 0, &c) == EINVAL);
    CHECK(conntrack_dump_next_matching(ct, NULL, &filter, 0, &c) == EINVAL);
    CHECK(conntrack_dump_next_matching(ct, &dump, NULL, 0, &c) == EINVAL);
    CHECK(conntrack_dump_next_matching(ct, &dump, &filter, 0, NULL) == EINVAL);
#define REFUSED(member, value)                                                    \
    do {                                                                          \
        bad = filter;                                                             \
        bad.member = (value);                                                     \
        CHECK(conntrack_flush_matching(ct, &bad, 0, &n) == EINVAL && n == 7);     \
        CHECK(conntrack_dump_next_matching(ct, &dump, &bad, 0, &c) == EINVAL);    \
    } while (0)
    REFUSED(size, 0);
    REFUSED(flags, 8);
    REFUSED(reserved[4], 1);
    REFUSED(flow, 3);
    REFUSED(offloaded, 9);
    REFUSED(mark, 1);
    REFUSED(label[0], 1);
    REFUSED(seen_reply, 3);
    REFUSED(assured, 255);
    REFUSED(translated, 3);
    REFUSED(original.flags, 16);
    REFUSED(original.reserved, 1);
    REFUSED(original.ip_version, 5);
    REFUSED(original.src_mask[0], 255); /* of which version? */
    REFUSED(reply.dst[0], 10);
    filter.original.ip_version = 4;
    REFUSED(original.dst_mask[4], 255);
    CHECK(conntrack_flush_matching(ct, &filter, 0, &n) == 0 && n == 0);
    CHECK(conntrack_dump_next_matching(ct, &dump, &filter, -1, &c) == ENODATA);
}

static void events(struct conntrack *ct)
{
    struct ct_listen config = {.size = sizeof config, .kinds = CT_EVENT_NEW, .capacity = 2}, bad;
    struct ct_listener *listener = NULL;
    struct ct_event event = {.size = sizeof event};
    size_t taken = 9;
    uint64_t lost = 9;

    CHECK(conntrack_listen(NULL, &config, &listener) == EINVAL);
    CHECK(conntrack_listen(ct, NULL, &listener) == EINVAL);
    CHECK(conntrack_listen(ct, &config, NULL) == EINVAL);
#define UNHEARD(member, value)                                                    \
    do {                                                                          \
        bad = config;                                                             \
        bad.member = (value);                                                     \
        CHECK(conntrack_listen(ct, &bad, &listener) == EINVAL && !listener);      \
    } while (0)
    UNHEARD(size, 3);
    UNHEARD(kinds, 0);
    UNHEARD(kinds, 8);
    UNHEARD(flags, 2);
    UNHEARD(capacity, 0);
    UNHEARD(capacity, UINT32_MAX);
    UNHEARD(reserved, 1);
    CHECK(conntrack_listen(ct, &config, &listener) == 0);
    CHECK(conntrack_take_events(NULL, &event, 1, &taken, &lost) == EINVAL);
    CHECK(conntrack_take_events(listener, NULL, 1, &taken, &lost) == EINVAL);
    CHECK(conntrack_take_events(listener, &event, 1, NULL, &lost) == EINVAL);
    event.size = 7;
    CHECK(conntrack_take_events(listener, &event, 1, &taken, &lost) == EINVAL);
    event.size = sizeof event + 4;
    CHECK(conntrack_take_events(listener, &event, 1, &taken, &lost) == EINVAL && taken == 9);
    CHECK(conntrack_take_events(listener, NULL, 0, &taken, NULL) == 0 && taken == 0);
    conntrack_unlisten(listener);
    conntrack_unlisten(NULL);
}

/* Offload: providers, flow tables, misses. */
static int add(void *user, const struct ct_offload_ctx *ctx)
{
    (void)user;
    (void)ctx;
    return 0;
}

static void del(void *user, const struct ct_offload_ctx *ctx, struct ct_offload_report *report)
{
    (void)user;
    (void)ctx;
    (void)report;
}

static void offload(struct conntrack *ct)
{
    struct ct_offload_class class = {.size = sizeof class, .name = "p", .conn_add = add,
                                     .conn_del = del};
    struct ct_offload_class bad = class;
    struct ct_offload_report report = {.size = sizeof report};
    struct ct_offload_standing standing = {.size = 3};
    struct ct_offload_stats stats = {.size = sizeof stats};
    struct ct_offload_dummy *dummy = NULL;
    struct ct_offload_dummy_counts counts = {.size = sizeof counts};
    struct ct_flow_table *table = NULL;
    struct ct_flow_table_stats flows = {.size = sizeof flows};
    struct ct_miss miss = {.size = sizeof miss};
    uint32_t n = 1;
    int on = 0;

    CHECK(ct_offload_register(NULL, &class, 0) == EINVAL);
    CHECK(ct_offload_register(ct, NULL, 0) == EINVAL);
    bad.size = 9;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad = class;
    bad.name = NULL;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad.name = "";
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad = class;
    bad.conn_add = NULL;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad = class;
    bad.conn_del = NULL;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad = class;
    bad.flags = 1u << 30;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad = class;
    bad.offer_at = 99;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    bad = class;
    bad.reserved = 1;
    CHECK(ct_offload_register(ct, &bad, 0) == EINVAL);
    CHECK(ct_offload_register(ct, &class, 0) == 0);
    CHECK(ct_offload_unregister(NULL, "p", 0) == EINVAL);
    CHECK(ct_offload_unregister(ct, NULL, 0) == EINVAL);
    CHECK(ct_offload_unregister(ct, "q", 0) == ENOENT);
    CHECK(ct_offload_enable(NULL, 1, 0) == EINVAL);
    CHECK(ct_offload_enabled(NULL, &on) == EINVAL);
    CHECK(ct_offload_enabled(ct, NULL) == EINVAL);
    CHECK(ct_offload_complete(NULL, "p", 1, 0, 0) == EINVAL);
    CHECK(ct_offload_complete(ct, NULL, 1, 0, 0) == EINVAL);
    CHECK(ct_offload_complete(ct, "p", 1, 0, 0) == ENOENT);
    CHECK(ct_offload_report(NULL, "p", 1, &report, 0) == EINVAL);
    CHECK(ct_offload_report(ct, "p", 1, NULL, 0) == EINVAL);
    CHECK(ct_offload_report(ct, NULL, 1, &report, 0) == EINVAL);
    CHECK(ct_offload_report(ct, "p", 1, &report, 0) == ENOENT);
    CHECK(ct_offload_give_back(NULL, "p", 1, 0) == EINVAL);
    CHECK(ct_offload_give_back(ct, NULL, 1, 0) == EINVAL);
    CHECK(ct_offload_give_back(ct, "q", 1, 0) == ENOENT);
    CHECK(ct_offload_set_data(NULL, "p", 1, NULL) == EINVAL);
    CHECK(ct_offload_set_data(ct, NULL, 1, NULL) == EINVAL);
    CHECK(ct_offload_set_data(ct, "p", 1, NULL) == ENOENT);
    CHECK(ct_offload_work(NULL, 0, 1, 1, NULL) == EINVAL);
    CHECK(ct_offload_work(ct, 1, 1, 1, NULL) == EINVAL);
    CHECK(ct_offload_work(ct, 0, 0, 1, NULL) == EINVAL);
    CHECK(ct_offload_start_workers(NULL, 1) == EINVAL);
    CHECK(ct_offload_start_workers(ct, 65) == EINVAL);
    CHECK(ct_offload_refresh(NULL, 0, NULL) == EINVAL);
    CHECK(ct_offload_get_standing(NULL, 1, &standing, &n) == EINVAL);
    CHECK(ct_offload_get_standing(ct, 1, &standing, NULL) == EINVAL);
    CHECK(ct_offload_get_standing(ct, 1, &standing, &n) == ENOENT);
    CHECK(ct_offload_get_stats(NULL, "p", &stats) == EINVAL);
    CHECK(ct_offload_get_stats(ct, NULL, &stats) == EINVAL);
    CHECK(ct_offload_get_stats(ct, "p", NULL) == EINVAL);
    CHECK(ct_offload_unregister(ct, "p", 0) == 0);

    CHECK(ct_offload_dummy_register(NULL, 0, &dummy) == EINVAL);
    CHECK(ct_offload_dummy_register(ct, 0, NULL) == EINVAL);
    CHECK(ct_offload_dummy_get_counts(NULL, &counts) == EINVAL);
    CHECK(ct_offload_dummy_reset_counts(NULL) == EINVAL);
    CHECK(ct_offload_dummy_contains(NULL, 1, &on, &on) == EINVAL);

    CHECK(ct_offload_sim_register(NULL, NULL, 0, NULL) == EINVAL);
    CHECK(ct_offload_sim_register(ct, NULL, 0, NULL) == EINVAL);
    CHECK(ct_offload_sim_run(NULL, 0) == EINVAL);
    CHECK(ct_offload_sim_carry(NULL, 0, 0, 0, 0, NULL) == EINVAL);
    CHECK(ct_offload_sim_close(NULL, 0, 0) == EINVAL);
    CHECK(ct_offload_sim_get_counts(NULL, NULL) == EINVAL);

    CHECK(ct_flow_table_get(NULL, 0, &table) == EINVAL);
    CHECK(ct_flow_table_get(ct, 0, NULL) == EINVAL);
    CHECK(ct_flow_table_lookup(NULL, NULL, 0, 0, NULL) == EINVAL);
    CHECK(ct_flow_table_add(NULL, 1, 0) == EINVAL);
    CHECK(ct_flow_table_carried(NULL, 1, NULL, NULL, 0, 0) == EINVAL);
    CHECK(ct_flow_table_carried(ct, 1, NULL, NULL, 0, 0) == EINVAL);
    CHECK(ct_flow_table_remove(NULL, 1, 0) == EINVAL);
    CHECK(ct_flow_table_set_timeout(NULL, 1) == EINVAL);
    CHECK(ct_flow_table_get_stats(NULL, &flows) == EINVAL);
    CHECK(ct_flow_table_get(ct, 0, &table) == 0);
    CHECK(ct_flow_table_lookup(table, NULL, 1, 0, NULL) == EINVAL);
    CHECK(ct_flow_table_get_stats(table, NULL) == EINVAL);
    CHECK(ct_flow_table_put(table, -1) == 0);

    CHECK(conntrack_resume(NULL, NULL, 0, 0, NULL) == EINVAL);
    CHECK(conntrack_resume(ct, NULL, 1, 0, NULL) == EINVAL);
    CHECK(conntrack_resume(ct, NULL, 0, 0, NULL) == 0);
    CHECK(ct_miss_get(NULL, &miss, &n) == EINVAL);
    CHECK(ct_miss_get(ct, NULL, &n) == EINVAL);
    CHECK(ct_miss_get(ct, &miss, NULL) == EINVAL);
    miss.done = 1;
    CHECK(ct_miss_get(ct, &miss, &n) == EINVAL);
    CHECK(ct_miss_put(NULL, 1) == EINVAL);
    CHECK(ct_miss_put(ct, 0) == ENOENT);
    CHECK(ct_miss_lookup(NULL, 1, &miss) == EINVAL);
    CHECK(ct_miss_lookup(ct, 1, &miss) == ENOENT);
}

int main(void)
{
    struct conntrack *ct = NULL;
    struct ct_config config = {.size = sizeof config};
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    struct udp p = udp(1, 1, 2, 2);
    struct ct_packet good = packet(&p), nothing;
    struct ct_connection c = {.size = sizeof c};
    struct ct_dump dump = {.size = sizeof dump};
    struct ct_stats stats = {.size = sizeof stats};
    struct ct_tuple tuple = {.ip_version = 5};
    uint16_t zone = 0;
    uint32_t n = 42;
    uint64_t n64 = 42;

    CHECK(conntrack_create(NULL, NULL) == EINVAL);
    CHECK(strlen(ct_last_error()) > 0);
    config.profile = 9;
    CHECK(conntrack_create(&config, &ct) == EINVAL && ct == NULL);
    config.profile = 0;
    config.flags = 1u << 31;
    CHECK(conntrack_create(&config, &ct) == EINVAL && ct == NULL);
    config.flags = 0;
    config.max_connections = UINT32_MAX;
    CHECK(conntrack_create(&config, &ct) == EINVAL && ct == NULL);
    CHECK(conntrack_create(NULL, &ct) == 0);

    CHECK(conntrack_execute(NULL, &good, 1, &commit, 0) == EINVAL);
    CHECK(conntrack_execute(ct, NULL, 1, &commit, 0) == EINVAL);
    CHECK(conntrack_execute(ct, NULL, 0, &commit, 0) == 0);
    CHECK(conntrack_execute(ct, &good, 1, NULL, 0) == EINVAL);
    CHECK(conntrack_execute(ct, (struct ct_packet *)((char *)&good + 1), 1, &commit, 0) == EINVAL);
    commit.flags = 1u << 20;
    CHECK(conntrack_execute(ct, &good, 1, &commit, 0) == EINVAL);
    commit.flags = CT_ACTION_COMMIT;
    commit.mark = 1;
    CHECK(conntrack_execute(ct, &good, 1, &commit, 0) == EINVAL);
    commit.mark = 0;
    CHECK(good.ct_state == 0);

    memset(&nothing, 0, sizeof nothing);
    nothing.length = 1000;
    CHECK(conntrack_execute(ct, &nothing, 1, &commit, -1) == 0);
    CHECK(nothing.ct_state == INVALID && nothing.reason != 0);
    CHECK(strcmp(ct_reason_name(nothing.reason), "Truncated") == 0);
    good.l3_offset = 60000;
    CHECK(conntrack_execute(ct, &good, 1, &commit, 0) == 0 && good.ct_state == INVALID);

    conntrack_clear(NULL);
    CHECK(conntrack_sweep(NULL, 0, 0, NULL) == EINVAL);
    CHECK(conntrack_sweep(ct, -5, 0, NULL) == 0);
    CHECK(conntrack_flush(NULL, NULL) == EINVAL);
    CHECK(conntrack_flush_tuple(ct, NULL, 0) == EINVAL);
    CHECK(conntrack_flush_tuple(ct, &tuple, 0) == EINVAL);
    CHECK(conntrack_set_maxconns(NULL, 1) == EINVAL);
    CHECK(conntrack_set_maxconns(ct, UINT32_MAX) == EINVAL);
    CHECK(conntrack_get_maxconns(ct, NULL) == EINVAL);
    CHECK(conntrack_get_maxconns(ct, &n) == 0 && n == 3000000);
    CHECK(conntrack_get_nconns(NULL, &n) == EINVAL && n == 3000000);
    CHECK(conntrack_set_option(ct, 99, 1) == EINVAL);
    CHECK(conntrack_set_option(ct, CT_OPTION_TCP_SEQ_CHK, 2) == EINVAL);
    CHECK(conntrack_set_option(ct, CT_OPTION_TCP_SEQ_CHK, 0) == 0);
    CHECK(conntrack_get_option(ct, CT_OPTION_TCP_SEQ_CHK, &n) == 0 && n == 0);
    CHECK(conntrack_get_option(ct, CT_OPTION_TCP_SEQ_CHK, NULL) == EINVAL);
    CHECK(conntrack_set_zone_liberal(ct, 1, 7) == EINVAL);
    CHECK(conntrack_get_stats(ct, NULL) == EINVAL);
    stats.size = 3;
    CHECK(conntrack_get_stats(ct, &stats) == EINVAL);
    CHECK(conntrack_get_reason_count(ct, 255, &n64) == EINVAL && n64 == 42);
    CHECK(conntrack_dump_start(ct, NULL, NULL) == EINVAL);
    CHECK(conntrack_dump_start(ct, &zone, &dump) == 0);
    CHECK(conntrack_dump_next(ct, &dump, 0, NULL) == EINVAL);
    CHECK(conntrack_dump_next(ct, NULL, 0, &c) == EINVAL);
    CHECK(conntrack_dump_next(ct, &dump, 0, &c) == ENODATA);
    CHECK(conntrack_lookup(ct, NULL, 0, &c) == EINVAL);
    size_t total = 9;
    CHECK(conntrack_get_expectations(NULL, 0, NULL, 0, &total) == EINVAL);
    CHECK(conntrack_get_expectations(ct, 0, NULL, 1, &total) == EINVAL);
    CHECK(conntrack_get_expectations(ct, 0, NULL, 0, NULL) == EINVAL && total == 9);
    CHECK(conntrack_get_expectations(ct, 0, NULL, 0, &total) == 0 && total == 0);
    CHECK(conntrack_get(ct, 0, 0, &c) == ENOENT);
    CHECK(conntrack_get(ct, UINT64_MAX, 0, &c) == ENOENT);
    CHECK(conntrack_get(ct, 0, 0, NULL) == EINVAL);
    timeouts(ct);
    zones(ct);
    filters(ct);
    events(ct);
    offload(ct);
    CHECK(strcmp(ct_reason_text(255), "unknown") == 0);
    conntrack_destroy(ct);
    conntrack_destroy(NULL);
    return 0;
}
