/* Structs that grow: an older caller's are shorter, a newer caller's longer. */
#include "check.h"

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
    conntrack_destroy(ct);
    return 0;
}
