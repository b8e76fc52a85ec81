/* Flow tables and hardware misses, as a datapath uses them. */
#include "check.h"

static struct ct_packet send_udp(struct conntrack *ct, struct udp *p, uint16_t zone, int64_t now)
{
    struct ct_packet packet_ = packet(p);
    struct ct_action commit = action(CT_ACTION_COMMIT, zone);
    CHECK(conntrack_execute(ct, &packet_, 1, &commit, now) == 0);
    return packet_;
}

static void fast_path(struct conntrack *ct)
{
    struct ct_flow_table *table = NULL, *again = NULL;
    struct ct_flow_table_stats stats = {.size = sizeof stats};
    struct udp question = udp(1, 5, 2, 53), answer = udp(2, 53, 1, 5), stranger = udp(9, 9, 2, 53);
    CHECK(ct_flow_table_get(ct, 3, &table) == 0);
    CHECK(ct_flow_table_get(ct, 3, &again) == 0);
    CHECK(ct_flow_table_set_timeout(table, 0) == EINVAL);
    CHECK(ct_flow_table_set_timeout(table, 20000) == 0);
    uint64_t id = send_udp(ct, &question, 3, 1).connection;
    send_udp(ct, &answer, 3, 2);

    struct ct_packet batch[3] = {packet(&question), packet(&stranger), packet(&answer)};
    size_t hits = 9;
    CHECK(ct_flow_table_lookup(table, batch, 3, 3, &hits) == 0 && hits == 2);
    CHECK(batch[0].ct_state == EST && batch[0].ct_zone == 3 && batch[0].connection == id);
    CHECK(batch[0].connection_flags == CT_CONN_FLOW);
    CHECK(batch[1].ct_state == 0 && batch[1].connection_flags == 0);
    CHECK(batch[2].ct_state == REPLY);
    CHECK(batch[2].connection_flags == (CT_CONN_FLOW | CT_CONN_REPLY));

    struct ct_connection c = {.size = sizeof c};
    CHECK(conntrack_get(ct, id, 4, &c) == 0 && (c.status & CT_STATUS_OFFLOAD) != 0);
    CHECK(ct_flow_table_get_stats(table, &stats) == 0);
    CHECK(stats.zone == 3 && stats.timeout_ms == 20000);
    CHECK(stats.hits == 2 && stats.misses == 1 && stats.added == 1);

    uint64_t packets[2] = {2, 3}, bytes[2] = {200, 300};
    CHECK(ct_flow_table_carried(ct, id, packets, bytes, 4, 5) == 0);
    CHECK(ct_flow_table_carried(ct, 77, packets, bytes, 4, 5) == ENOENT);
    CHECK(ct_flow_table_remove(ct, id, 5) == 0);
    CHECK(ct_flow_table_remove(ct, id, 5) == ENOENT);
    CHECK(ct_flow_table_add(ct, id, 5) == 0);
    CHECK(ct_flow_table_add(ct, 77, 5) == ENOENT);
    CHECK(ct_flow_table_put(again, 6) == 0);
    batch[0] = packet(&question);
    CHECK(ct_flow_table_lookup(table, batch, 1, 6, &hits) == 0 && hits == 1);
    CHECK(ct_flow_table_put(table, 7) == 0);
    CHECK(conntrack_get(ct, id, 7, &c) == 0 && (c.status & CT_STATUS_OFFLOAD) == 0);
    CHECK(ct_flow_table_put(NULL, 7) == 0);
}

static void misses(struct conntrack *ct)
{
    struct udp question = udp(1, 6, 2, 53);
    uint64_t id = send_udp(ct, &question, 0, 1).connection;
    struct ct_miss miss = {.size = sizeof miss, .chain = 17, .in_port = 4,
                           .done = CT_STATE_SRC_NAT, .cookie = 99};
    struct ct_miss found = {.size = sizeof found};
    uint32_t number = 0, same = 0;
    CHECK(ct_miss_get(ct, &miss, &number) == 0 && number != 0);
    CHECK(ct_miss_get(ct, &miss, &same) == 0 && same == number);
    CHECK(ct_miss_put(ct, same) == 0);
    CHECK(ct_miss_lookup(ct, number, &found) == 0);
    CHECK(found.chain == 17 && found.in_port == 4 && found.cookie == 99);

    struct ct_packet batch[3] = {packet(&question), packet(&question), packet(&question)};
    batch[0].connection = id;
    batch[0].miss = number;
    batch[1].connection = id;
    batch[1].connection_flags = CT_CONN_REPLY;
    batch[2].connection = id + 1;
    size_t resumed = 9;
    CHECK(conntrack_resume(ct, batch, 3, 2, &resumed) == 0 && resumed == 2);
    CHECK(batch[0].ct_state == (NEW | CT_STATE_SRC_NAT));
    CHECK(batch[0].chain == 17 && batch[0].in_port == 4 && batch[0].connection == id);
    CHECK(batch[1].ct_state == REPLY && batch[1].chain == 0);
    CHECK(batch[2].ct_state == 0 && batch[2].connection == 0);

    CHECK(ct_miss_put(ct, number) == 0);
    CHECK(ct_miss_put(ct, number) == ENOENT);
    CHECK(ct_miss_lookup(ct, number, &found) == ENOENT);
    batch[0] = packet(&question);
    batch[0].connection = id;
    batch[0].miss = number;
    CHECK(conntrack_resume(ct, batch, 1, 3, &resumed) == 0 && resumed == 0);
}

int main(void)
{
    struct conntrack *ct = NULL;
    CHECK(conntrack_create(NULL, &ct) == 0);
    fast_path(ct);
    misses(ct);
    conntrack_destroy(ct);
    return 0;
}
