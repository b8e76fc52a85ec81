/* Timeout policies, limits and guarantees of zones, filters. */
#include "check.h"

#include <pthread.h>

static struct conntrack *ct;

/* One datagram; its verdict. */
static struct ct_packet track(struct ct_action *action, uint32_t src, uint32_t dst, int64_t now)
{
    struct udp p = udp(src, 1000, dst, 53);
    struct ct_packet one = packet(&p);
    CHECK(conntrack_execute(ct, &one, 1, action, now) == 0);
    return one;
}

static struct ct_connection find(uint16_t zone, uint32_t src, uint32_t dst, int64_t now)
{
    struct ct_connection c = {.size = sizeof c};
    struct ct_tuple tuple = {.src = {10, (uint8_t)(src >> 16), (uint8_t)(src >> 8), (uint8_t)src},
                             .dst = {10, (uint8_t)(dst >> 16), (uint8_t)(dst >> 8), (uint8_t)dst},
                             .src_port = 1000, .dst_port = 53, .zone = zone, .ip_version = 4,
                             .protocol = 17};
    int error = conntrack_lookup(ct, &tuple, now, &c);
    CHECK(error == 0 || error == ENOENT);
    if (error)
        c.id = 0;
    return c;
}

static void set_first(uint32_t id, uint32_t seconds, const char *name)
{
    struct ct_timeout_policy policy = {.size = sizeof policy, .id = id,
                                       .present = 1u << CT_TP_ATTR_UDP_FIRST};
    policy.seconds[CT_TP_ATTR_UDP_FIRST] = seconds;
    strcpy((char *)policy.name, name);
    CHECK(conntrack_set_timeout_policy(ct, &policy) == 0);
}

static void policies(void)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    struct ct_timeout_policy policy = {.size = sizeof policy};
    uint32_t ids[4] = {77, 77, 77, 77}, id = 99;
    size_t total = 0;

    set_first(7, 5, "short");
    set_first(3, 500, "long");
    CHECK(conntrack_get_timeout_policy(ct, 7, &policy) == 0);
    CHECK(policy.id == 7 && policy.present == 1u << CT_TP_ATTR_UDP_FIRST);
    CHECK(policy.seconds[CT_TP_ATTR_UDP_FIRST] == 5 && policy.seconds[0] == 0);
    CHECK(strcmp((char *)policy.name, "short") == 0);
    CHECK(conntrack_find_timeout_policy(ct, "long", &id) == 0 && id == 3);
    CHECK(conntrack_find_timeout_policy(ct, "none", &id) == ENOENT && id == 3);
    CHECK(conntrack_find_timeout_policy(ct, "", &id) == ENOENT);
    policy.id = 8;
    CHECK(conntrack_set_timeout_policy(ct, &policy) == EEXIST);
    CHECK(conntrack_get_timeout_policies(ct, ids, 2, &total) == 0);
    CHECK(total == 3 && ids[0] == 0 && ids[1] == 3 && ids[2] == 77);

    /* Named by the action, then by the zone, then by zone 0, then by nobody. */
    commit.flags |= CT_ACTION_TIMEOUT_POLICY;
    commit.timeout_policy = 7;
    track(&commit, 1, 2, 0);
    CHECK(find(0, 1, 2, 0).remaining_ms == 5000 && find(0, 1, 2, 0).timeout_policy == 7);
    commit.flags &= ~(uint32_t)CT_ACTION_TIMEOUT_POLICY;
    commit.zone = 4;
    track(&commit, 1, 2, 0);
    CHECK(find(4, 1, 2, 0).remaining_ms == 60000 && find(4, 1, 2, 0).timeout_policy == 0);
    id = 7;
    CHECK(conntrack_set_zone_timeout_policy(ct, 0, &id) == 0);
    track(&commit, 1, 3, 0);
    CHECK(find(4, 1, 3, 0).remaining_ms == 5000);
    id = 3;
    CHECK(conntrack_set_zone_timeout_policy(ct, 4, &id) == 0);
    track(&commit, 1, 4, 0);
    CHECK(find(4, 1, 4, 0).remaining_ms == 500000);
    id = 0;
    CHECK(conntrack_get_zone_timeout_policy(ct, 4, &id) == 0 && id == 3);
    CHECK(conntrack_get_zone_timeout_policy(ct, 5, &id) == ENOENT && id == 3);
    CHECK(conntrack_set_zone_timeout_policy(ct, 4, NULL) == 0);
    CHECK(conntrack_get_zone_timeout_policy(ct, 4, &id) == ENOENT);
    id = 1234;
    CHECK(conntrack_set_zone_timeout_policy(ct, 4, &id) == ENOENT);

    /* An edit acts with the next packet; so does the end of a policy. */
    policy = (struct ct_timeout_policy){.size = sizeof policy, .id = 3,
                                        .present = 1u << CT_TP_ATTR_UDP_SINGLE};
    policy.seconds[CT_TP_ATTR_UDP_SINGLE] = 9;
    CHECK(conntrack_set_timeout_policy(ct, &policy) == 0);
    CHECK(find(4, 1, 4, 0).remaining_ms == 500000);
    track(&commit, 1, 4, 0);
    CHECK(find(4, 1, 4, 0).remaining_ms == 9000);
    CHECK(conntrack_delete_timeout_policy(ct, 3) == 0);
    CHECK(conntrack_delete_timeout_policy(ct, 3) == ENOENT);
    CHECK(conntrack_get_timeout_policy(ct, 3, &policy) == ENOENT);
    track(&commit, 1, 4, 0);
    CHECK(find(4, 1, 4, 0).remaining_ms == 60000);
    /* The instance itself. */
    set_first(0, 11, "");
    CHECK(conntrack_set_zone_timeout_policy(ct, 0, NULL) == 0);
    track(&commit, 1, 5, 0);
    CHECK(find(4, 1, 5, 0).remaining_ms == 11000);
    CHECK(conntrack_delete_timeout_policy(ct, 0) == 0);
    track(&commit, 1, 6, 0);
    CHECK(find(4, 1, 6, 0).remaining_ms == 60000);
    CHECK(conntrack_flush(ct, NULL) == 0 && conntrack_sweep(ct, 0, 0, NULL) == 0);
}

static void limits(void)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, 9);
    struct ct_zone_limit zone, list[2];
    struct ct_stats stats = {.size = sizeof stats};
    size_t total;
    uint32_t limit = 5, stored = 0;

    track(&commit, 1, 2, 0);
    CHECK(conntrack_get_zone_limit(ct, 9, &zone) == 0);
    CHECK(zone.zone == 9 && zone.limit == CT_ZONE_LIMIT_NONE && zone.count == 1);
    CHECK(conntrack_set_zone_limit(ct, 9, 3) == 0);
    for (uint32_t i = 0; i < 5; i++)
        stored += track(&commit, 1, 100 + i, 0).connection != 0;
    CHECK(stored == 2);
    CHECK(strcmp(ct_reason_name(track(&commit, 1, 300, 0).reason), "ZoneLimit") == 0);
    /* In this profile 0 admits nothing. */
    CHECK(conntrack_set_zone_limit(ct, 10, 0) == 0);
    commit.zone = 10;
    CHECK(track(&commit, 1, 2, 0).connection == 0);
    CHECK(conntrack_delete_zone_limit(ct, 10) == 0);
    CHECK(conntrack_delete_zone_limit(ct, 10) == ENOENT);
    CHECK(track(&commit, 1, 2, 0).connection != 0);
    CHECK(conntrack_get_stats(ct, &stats) == 0 && stats.zone_full == 5);
    /* The default holds for the others. */
    CHECK(conntrack_get_default_zone_limit(ct, &limit) == 0 && limit == CT_ZONE_LIMIT_NONE);
    CHECK(conntrack_set_default_zone_limit(ct, 1) == 0);
    CHECK(conntrack_get_default_zone_limit(ct, &limit) == 0 && limit == 1);
    CHECK(track(&commit, 1, 3, 0).connection == 0);
    CHECK(conntrack_set_default_zone_limit(ct, 0) == 0);
    CHECK(conntrack_get_default_zone_limit(ct, &limit) == 0 && limit == CT_ZONE_LIMIT_NONE);
    CHECK(track(&commit, 1, 3, 0).connection != 0);

    CHECK(conntrack_get_zone_limits(ct, NULL, 0, &total) == 0 && total == 2);
    CHECK(conntrack_get_zone_limits(ct, list, 2, &total) == 0 && total == 2);
    CHECK(list[0].zone == 9 && list[0].limit == 3 && list[0].count == 3);
    CHECK(list[1].zone == 10 && list[1].limit == CT_ZONE_LIMIT_NONE && list[1].count == 2);
    /* A flushed zone is empty at once. */
    CHECK(conntrack_flush(ct, &list[0].zone) == 0);
    CHECK(conntrack_get_zone_limit(ct, 9, &zone) == 0 && zone.count == 0);
    CHECK(conntrack_delete_zone_limit(ct, 9) == 0);
    CHECK(conntrack_flush(ct, NULL) == 0 && conntrack_sweep(ct, 0, 0, NULL) == 0);
}

static void guarantees(void)
{
    struct ct_action greedy = action(CT_ACTION_COMMIT, 1), poor = action(CT_ACTION_COMMIT, 2);
    struct ct_zone_limit zone;
    uint32_t before, stored = 0;

    CHECK(conntrack_get_nconns(ct, &before) == 0 && before == 0);
    CHECK(conntrack_set_maxconns(ct, 20) == 0);
    CHECK(conntrack_set_zone_guarantee(ct, 2, 5) == 0);
    CHECK(conntrack_get_zone_limit(ct, 2, &zone) == 0 && zone.guarantee == 5);
    for (uint32_t i = 0; i < 30; i++)
        stored += track(&greedy, i, 1000, 0).connection != 0;
    CHECK(stored == 15);
    stored = 0;
    for (uint32_t i = 0; i < 30; i++)
        stored += track(&poor, i, 1000, 0).connection != 0;
    CHECK(stored == 5);
    CHECK(conntrack_set_zone_guarantee(ct, 2, 0) == 0);
    CHECK(conntrack_set_maxconns(ct, 3000000) == 0);
    CHECK(conntrack_flush(ct, NULL) == 0 && conntrack_sweep(ct, 0, 0, NULL) == 0);
}

static uint32_t matching(const struct ct_filter *filter)
{
    struct ct_dump dump = {.size = sizeof dump};
    struct ct_connection c = {.size = sizeof c};
    uint32_t n = 0;
    int error;

    CHECK(conntrack_dump_start(ct, NULL, &dump) == 0);
    while ((error = conntrack_dump_next_matching(ct, &dump, filter, 100, &c)) == 0)
        n++;
    CHECK(error == ENODATA);
    return n;
}

static struct ct_filter everything(void)
{
    struct ct_filter filter;
    memset(&filter, 0, sizeof filter);
    filter.size = sizeof filter;
    return filter;
}

static void filters(void)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, 1);
    struct ct_filter filter = everything();
    uint32_t removed = 77;

    /* Zone 1: 40 connections, every second one marked; zone 2: 10 later ones, answered. */
    for (uint32_t i = 0; i < 40; i++) {
        commit.mark_mask = i % 2 ? 0xff : 0;
        commit.mark = i % 2 ? 7 : 0;
        track(&commit, i, 0x10000 + i % 4, 0);
    }
    commit = action(CT_ACTION_COMMIT, 2);
    for (uint32_t i = 0; i < 10; i++) {
        struct udp back = udp(0x20000, 53, i, 1000);
        struct ct_packet reply = packet(&back);
        track(&commit, i, 0x20000, 50);
        CHECK(conntrack_execute(ct, &reply, 1, &commit, 60) == 0 && reply.ct_state == REPLY);
    }
    CHECK(matching(&filter) == 50);
    filter.flags = CT_FILTER_ZONE;
    filter.zone = 2;
    CHECK(matching(&filter) == 10);
    filter = everything();
    filter.mark = 5;
    filter.mark_mask = 5;
    CHECK(matching(&filter) == 20);
    filter = everything();
    filter.seen_reply = CT_YES;
    CHECK(matching(&filter) == 10);
    filter.seen_reply = CT_NO;
    CHECK(matching(&filter) == 40);
    filter.translated = CT_YES;
    CHECK(matching(&filter) == 0);
    filter = everything();
    /* Of UDP, no listing shows a state. */
    strcpy((char *)filter.state, "ESTABLISHED");
    CHECK(matching(&filter) == 0);
    strcpy((char *)filter.state, "WHATEVER");
    struct ct_dump dump_ = {.size = sizeof dump_};
    struct ct_connection nobody = {.size = sizeof nobody};
    CHECK(conntrack_dump_start(ct, NULL, &dump_) == 0);
    CHECK(conntrack_dump_next_matching(ct, &dump_, &filter, 60, &nobody) == EINVAL);
    filter = everything();
    filter.flags = CT_FILTER_SINCE;
    filter.created_since_ms = 1;
    CHECK(matching(&filter) == 10);
    filter.flags = CT_FILTER_UNTIL;
    CHECK(matching(&filter) == 40);
    filter = everything();
    filter.original = (struct ct_tuple_filter){.ip_version = 4, .dst = {10, 1}, .dst_mask = {255, 255}};
    CHECK(matching(&filter) == 40);
    filter.original.flags = CT_MATCH_PROTOCOL | CT_MATCH_DST_PORT;
    filter.original.protocol = 17;
    filter.original.dst_port = 54;
    CHECK(matching(&filter) == 0);
    filter = everything();
    filter.reply.flags = CT_MATCH_SRC_PORT;
    filter.reply.src_port = 53;
    CHECK(matching(&filter) == 50);

    /* What a filter means is removed, and nothing else. */
    filter = everything();
    filter.original = (struct ct_tuple_filter){.ip_version = 4, .dst = {10, 1, 0, 3},
                                               .dst_mask = {255, 255, 255, 255}};
    CHECK(conntrack_flush_matching(ct, &filter, 100, &removed) == 0 && removed == 10);
    CHECK(find(1, 3, 0x10003, 100).id == 0 && find(1, 2, 0x10002, 100).id != 0);
    /* A whole tuple with its zone. */
    filter.original.dst[3] = 2;
    filter.original.src[0] = 10;
    filter.original.src[3] = 2;
    memset(filter.original.src_mask, 255, 4);
    filter.original.flags = CT_MATCH_PROTOCOL | CT_MATCH_SRC_PORT | CT_MATCH_DST_PORT;
    filter.original.protocol = 17;
    filter.original.src_port = 1000;
    filter.original.dst_port = 53;
    filter.flags = CT_FILTER_ZONE;
    filter.zone = 2;
    CHECK(conntrack_flush_matching(ct, &filter, 100, &removed) == 0 && removed == 0);
    filter.zone = 1;
    CHECK(conntrack_flush_matching(ct, &filter, 100, &removed) == 0 && removed == 1);
    CHECK(find(1, 2, 0x10002, 100).id == 0);
    filter = everything();
    CHECK(conntrack_flush_matching(ct, &filter, 100, NULL) == 0 && matching(&filter) == 0);
}

static void *edit(void *unused)
{
    uint32_t n = rounds(500), id = 1;
    (void)unused;
    for (uint32_t i = 0; i < n; i++) {
        struct ct_filter filter = everything();
        set_first(1 + i % 3, i + 1, "");
        CHECK(conntrack_set_zone_timeout_policy(ct, (uint16_t)(i % 5), i % 2 ? &id : NULL) == 0);
        CHECK(conntrack_set_zone_limit(ct, (uint16_t)(i % 5), 50 + i % 20) == 0);
        CHECK(conntrack_set_zone_guarantee(ct, 3, i % 7) == 0);
        filter.seen_reply = CT_NO;
        if (i % 50 == 0)
            CHECK(conntrack_flush_matching(ct, &filter, 0, NULL) == 0);
        if (i % 3 == 0) {
            int error = conntrack_delete_timeout_policy(ct, 2);
            CHECK(error == 0 || error == ENOENT);
        }
    }
    return NULL;
}

static void *traffic(void *unused)
{
    uint32_t n = rounds(20000);
    (void)unused;
    for (uint32_t i = 0; i < n; i++) {
        struct ct_action commit = action(CT_ACTION_COMMIT, (uint16_t)(i % 5));
        track(&commit, i % 3000, 0x30000, 0);
    }
    return NULL;
}

/* Everything is edited while packets flow. */
static void together(void)
{
    pthread_t threads[3];
    struct ct_zone_limit list[5];
    size_t total;

    for (uint16_t zone = 0; zone < 5; zone++)
        CHECK(conntrack_set_zone_limit(ct, zone, 50) == 0);
    CHECK(pthread_create(&threads[0], NULL, edit, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, traffic, NULL) == 0);
    CHECK(pthread_create(&threads[2], NULL, traffic, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(conntrack_get_zone_limits(ct, list, 5, &total) == 0 && total == 5);
    for (int i = 0; i < 5; i++)
        CHECK(list[i].count <= 69);
}

int main(void)
{
    CHECK(conntrack_create(NULL, &ct) == 0);
    policies();
    limits();
    guarantees();
    filters();
    together();
    conntrack_destroy(ct);
    return 0;
}
