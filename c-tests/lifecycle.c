/* An instance from its creation to its end: packets, listing, expiry, flush, destruction. */
#include "check.h"

int main(void)
{
    struct conntrack *ct = NULL;
    struct ct_config config = {.size = sizeof config, .max_connections = 1000,
                               .flags = CT_CONFIG_ACCOUNTING};
    struct ct_action commit = action(CT_ACTION_COMMIT, 7), look = action(0, 7);
    struct udp there = udp(1, 1000, 2, 53), back = udp(2, 53, 1, 1000);
    struct ct_packet first = packet(&there), second = packet(&back);
    struct ct_tuple original;
    uint32_t n = 0;

    CHECK(conntrack_create(&config, &ct) == 0);
    first.orig_tuple = &original;
    CHECK(conntrack_execute(ct, &first, 1, &commit, 1000) == 0);
    CHECK(first.ct_state == NEW && first.connection != 0 && first.ct_zone == 7);
    CHECK(original.ip_version == 4 && original.protocol == 17 && original.dst_port == 53);
    CHECK(original.src[0] == 10 && original.src[3] == 1);

    CHECK(conntrack_execute(ct, &second, 1, &look, 2000) == 0);
    CHECK(second.ct_state == REPLY && second.connection == first.connection);
    CHECK(second.connection_flags == CT_CONN_REPLY);
    CHECK(conntrack_get_nconns(ct, &n) == 0 && n == 1);

    struct ct_connection c = {.size = sizeof c};
    CHECK(conntrack_get(ct, first.connection, 2000, &c) == 0);
    CHECK(c.id == first.connection && c.remaining_ms == 30000 && c.created_ms == 1000);
    CHECK(c.packets[0] == 1 && c.packets[1] == 1 && c.bytes[0] == 29);
    CHECK(c.status & CT_STATUS_SEEN_REPLY);
    CHECK(memcmp(&c.original, &original, sizeof original) == 0);
    CHECK(conntrack_lookup(ct, &c.reply, 2000, &c) == 0);
    CHECK(conntrack_get(ct, first.connection, 32000, &c) == ENOENT);

    struct ct_sweep swept = {.size = sizeof swept};
    CHECK(conntrack_sweep(ct, 40000, 0, &swept) == 0);
    CHECK(swept.removed == 1 && swept.complete == 1);
    CHECK(conntrack_get_nconns(ct, &n) == 0 && n == 0);

    conntrack_clear(&first);
    CHECK(first.ct_state == 0 && first.connection == 0);
    CHECK(conntrack_execute(ct, &first, 1, &commit, 50000) == 0);
    CHECK(conntrack_flush_tuple(ct, &original, 50000) == 0);
    CHECK(conntrack_flush_tuple(ct, &original, 50000) == ENOENT);

    struct ct_stats stats = {.size = sizeof stats};
    CHECK(conntrack_get_stats(ct, &stats) == 0);
    CHECK(stats.insert == 2 && stats.found == 1 && stats.delete_ == 2);
    conntrack_destroy(ct);

    config.flags = CT_CONFIG_BACKGROUND_SWEEP;
    config.sweep_interval_ms = 10;
    CHECK(conntrack_create(&config, &ct) == 0);
    CHECK(conntrack_execute(ct, &first, 1, &commit, 1) == 0);
    conntrack_destroy(ct);
    CHECK(strcmp(ct_version(), "") != 0);
    return 0;
}
