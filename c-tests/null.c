/* Every function with arguments that make no sense: an errno, a message, and nothing broken. */
#include "check.h"

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
    CHECK(strcmp(ct_reason_text(255), "unknown") == 0);
    conntrack_destroy(ct);
    conntrack_destroy(NULL);
    return 0;
}
