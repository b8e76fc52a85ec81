/* Structs that grow: an older caller's are shorter, a newer caller's longer. */
#include "check.h"

#define GUARD 0x5a5a5a5a5a5a5a5aull

/* A struct of a later version, filled by this one: what this one does not know stays as it is. */
#define LATER(type)          \
    struct {                 \
        type known;          \
        uint64_t more;       \
        uint64_t guard;      \
    }

static void outputs_of_a_later_version(struct conntrack *ct, uint64_t connection)
{
    LATER(struct ct_stats) stats = {.more = GUARD, .guard = GUARD};
    LATER(struct ct_sweep) sweep = {.more = GUARD, .guard = GUARD};
    LATER(struct ct_connection) row = {.more = GUARD, .guard = GUARD};
    LATER(struct ct_dump) dump = {.guard = GUARD};
    stats.known.size = sizeof stats.known + 8;
    sweep.known.size = sizeof sweep.known + 8;
    row.known.size = sizeof row.known + 8;
    dump.known.size = sizeof dump.known + 8;
    CHECK(conntrack_get_stats(ct, &stats.known) == 0 && stats.known.insert == 1);
    CHECK(stats.known.size == sizeof stats.known + 8);
    CHECK(stats.more == GUARD && stats.guard == GUARD);
    CHECK(conntrack_sweep(ct, 0, 0, &sweep.known) == 0 && sweep.known.complete == 1);
    CHECK(sweep.more == GUARD && sweep.guard == GUARD);
    CHECK(conntrack_get(ct, connection, 0, &row.known) == 0 && row.known.id == connection);
    CHECK(row.more == GUARD && row.guard == GUARD);
    CHECK(conntrack_dump_start(ct, NULL, &dump.known) == 0);
    CHECK(conntrack_dump_next(ct, &dump.known, 0, &row.known) == 0);
    CHECK(conntrack_dump_next(ct, &dump.known, 0, &row.known) == ENODATA);
    CHECK(dump.more == 0 && dump.guard == GUARD && row.more == GUARD);
    /* A dump is read as well: what is not known must be zero. */
    dump.more = 1;
    CHECK(conntrack_dump_next(ct, &dump.known, 0, &row.known) == E2BIG);
}

static void settings_of_a_later_version(void)
{
    struct conntrack *ct = NULL;
    LATER(struct ct_config) config = {.guard = GUARD};
    config.known.size = sizeof config.known + 8;
    CHECK(conntrack_create(&config.known, &ct) == 0);
    conntrack_destroy(ct);
    ct = NULL;
    config.more = 1;
    CHECK(conntrack_create(&config.known, &ct) == E2BIG && ct == NULL);
    config.known.size = SIZE_MAX;
    CHECK(conntrack_create(&config.known, &ct) == EINVAL && ct == NULL);
}

int main(void)
{
    struct conntrack *ct;
    struct udp p = udp(1, 1, 2, 2);
    struct ct_packet one = packet(&p);
    struct {
        struct ct_action action;
        uint64_t more;
    } newer = {.action = action(CT_ACTION_COMMIT, 0)};
    struct {
        size_t size;
        uint64_t connections;
        uint64_t guard;
    } older = {.size = 16, .guard = 0x5a5a5a5a5a5a5a5aull};

    CHECK(conntrack_create(NULL, &ct) == 0);
    newer.action.size = sizeof newer;
    CHECK(conntrack_execute(ct, &one, 1, &newer.action, 0) == 0);
    newer.more = 1;
    CHECK(conntrack_execute(ct, &one, 1, &newer.action, 0) == E2BIG);
    newer.action.size = 8;
    CHECK(conntrack_execute(ct, &one, 1, &newer.action, 0) == EINVAL);

    /* A struct shorter than the first version ever was is refused; the guard is untouched. */
    CHECK(conntrack_get_stats(ct, (struct ct_stats *)&older) == EINVAL);
    CHECK(older.guard == 0x5a5a5a5a5a5a5a5aull);

    struct {
        struct ct_connection connection;
        uint64_t guard;
    } row = {.guard = 0x5a5a5a5a5a5a5a5aull};
    row.connection.size = sizeof row.connection;
    CHECK(conntrack_get(ct, one.connection, 0, &row.connection) == 0);
    CHECK(row.guard == 0x5a5a5a5a5a5a5a5aull);
    CHECK(row.connection.size == sizeof row.connection);
    outputs_of_a_later_version(ct, one.connection);
    settings_of_a_later_version();
    conntrack_destroy(ct);
    return 0;
}
