/* A dump while connections come and go: those that stay are listed exactly once. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define STABLE 500

static struct conntrack *ct;
static atomic_int stop;

static void *churn(void *unused)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, 2);
    uint16_t zone = 2;
    (void)unused;
    for (uint32_t i = 0; !atomic_load(&stop); i++) {
        struct udp p = udp(i & 0xffff, 9, 0x10000, 9);
        struct ct_packet one = packet(&p);
        CHECK(conntrack_execute(ct, &one, 1, &commit, 0) == 0);
        if (i % 5000 == 0) {
            CHECK(conntrack_flush(ct, &zone) == 0);
            CHECK(conntrack_sweep(ct, 0, 0, NULL) == 0);
        }
    }
    return NULL;
}

int main(void)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, 1);
    pthread_t thread;
    uint16_t zone = 1;
    uint32_t count = rounds(200);

    CHECK(conntrack_create(NULL, &ct) == 0);
    for (uint32_t i = 0; i < STABLE; i++) {
        struct udp p = udp(i, 5, 0x20000, 5);
        struct ct_packet one = packet(&p);
        CHECK(conntrack_execute(ct, &one, 1, &commit, 0) == 0);
    }
    CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    for (uint32_t round = 0; round < count; round++) {
        static unsigned char seen[STABLE];
        struct ct_dump dump = {.size = sizeof dump};
        struct ct_connection c = {.size = sizeof c};
        int error;
        memset(seen, 0, sizeof seen);
        CHECK(conntrack_dump_start(ct, round % 2 ? &zone : NULL, &dump) == 0);
        while ((error = conntrack_dump_next(ct, &dump, 0, &c)) == 0) {
            if (c.original.zone == 1) {
                uint32_t i = (uint32_t)c.original.src[2] << 8 | c.original.src[3];
                CHECK(i < STABLE && !seen[i]);
                seen[i] = 1;
            }
        }
        CHECK(error == ENODATA);
        for (int i = 0; i < STABLE; i++)
            CHECK(seen[i]);
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    conntrack_destroy(ct);
    return 0;
}
