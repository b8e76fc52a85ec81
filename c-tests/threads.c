/* Many threads on one instance, on connections of their own and on shared ones, with flushes, sweeps
 * and changes of limits beside them. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4
#define BATCH 32

static struct conntrack *ct;
static atomic_int running = THREADS;

static void *track(void *argument)
{
    uint32_t self = (uint32_t)(uintptr_t)argument;
    struct ct_action commit = action(CT_ACTION_COMMIT, 0), shared = action(CT_ACTION_COMMIT, 1);
    struct udp bytes[BATCH], common[BATCH];
    struct ct_packet packets[BATCH];
    uint32_t count = rounds(3000);

    for (uint32_t round = 0; round < count; round++) {
        for (uint32_t i = 0; i < BATCH; i++) {
            bytes[i] = udp(self << 16 | (round % 64 * BATCH + i), 1000, 0xff0000, 53);
            packets[i] = packet(&bytes[i]);
        }
        CHECK(conntrack_execute(ct, packets, BATCH, &commit, round) == 0);
        for (uint32_t i = 0; i < BATCH; i++) {
            CHECK(packets[i].ct_state == NEW && packets[i].connection != 0);
            common[i] = i % 2 ? udp(i / 2, 7, 1000, 7) : udp(1000, 7, i / 2, 7);
            packets[i] = packet(&common[i]);
        }
        CHECK(conntrack_execute(ct, packets, BATCH, &shared, round) == 0);
        for (uint32_t i = 0; i < BATCH; i++) {
            uint32_t state = packets[i].ct_state;
            CHECK(state == NEW || state == EST || state == REPLY);
        }
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    uint16_t shared_zone = 1;
    uint32_t n;

    CHECK(conntrack_create(NULL, &ct) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, track, (void *)i) == 0);
    while (atomic_load(&running) > 0) {
        CHECK(conntrack_flush(ct, &shared_zone) == 0);
        CHECK(conntrack_sweep(ct, 0, 4096, NULL) == 0);
        CHECK(conntrack_set_option(ct, CT_OPTION_TCP_SEQ_CHK, 1) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(conntrack_flush(ct, NULL) == 0);
    CHECK(conntrack_sweep(ct, 0, 0, NULL) == 0);
    CHECK(conntrack_get_nconns(ct, &n) == 0 && n == 0);
    conntrack_destroy(ct);
    return 0;
}
