/* Listeners: what they hear, in which order, and what becomes of it when they do not listen. */
#include "check.h"

#include <pthread.h>

static struct conntrack *ct;

static struct ct_listener *listen_to(uint32_t kinds, uint32_t capacity)
{
    struct ct_listen config = {.size = sizeof config, .kinds = kinds, .capacity = capacity};
    struct ct_listener *listener = NULL;
    CHECK(conntrack_listen(ct, &config, &listener) == 0 && listener != NULL);
    return listener;
}

static uint64_t track(uint16_t zone, uint32_t mark, uint32_t src, int64_t now)
{
    struct ct_action commit = action(CT_ACTION_COMMIT, zone);
    struct udp p = udp(src, 1000, 0x10000, 53);
    struct ct_packet one = packet(&p);
    commit.mark = mark;
    commit.mark_mask = UINT32_MAX;
    CHECK(conntrack_execute(ct, &one, 1, &commit, now) == 0);
    return one.connection;
}

static size_t take(struct ct_listener *listener, struct ct_event *events, size_t n, uint64_t *lost)
{
    size_t taken = 77;
    memset(events, 0, n * sizeof *events);
    events[0].size = sizeof *events;
    CHECK(conntrack_take_events(listener, events, n, &taken, lost) == 0 && taken <= n);
    return taken;
}

static void a_life(void)
{
    struct ct_listener *all = listen_to(CT_EVENT_NEW | CT_EVENT_UPDATE | CT_EVENT_DESTROY, 16);
    struct ct_listener *ends = listen_to(CT_EVENT_DESTROY, 16);
    struct udp back = udp(0x10000, 53, 1, 1000);
    struct ct_packet reply = packet(&back);
    struct ct_action look = action(0, 3);
    struct ct_event events[8];
    uint64_t lost = 9, id = track(3, 1, 1, 100);

    CHECK(conntrack_execute(ct, &reply, 1, &look, 200) == 0 && reply.ct_state == REPLY);
    CHECK(track(3, 2, 1, 300) == id);
    CHECK(track(3, 2, 1, 400) == id);
    CHECK(conntrack_flush(ct, &look.zone) == 0);
    CHECK(conntrack_sweep(ct, 500, 0, NULL) == 0);
    CHECK(take(all, events, 8, &lost) == 4 && lost == 0);
    for (int i = 0; i < 4; i++) {
        CHECK(events[i].size == sizeof *events && events[i].connection.size == sizeof events[i].connection);
        CHECK(events[i].connection.id == id && events[i].connection.original.zone == 3);
    }
    CHECK(events[0].kind == CT_EVENT_NEW && events[0].time_ms == 100);
    CHECK(events[0].changes == 0 && events[0].ending == 0 && events[0].connection.mark == 1);
    CHECK(events[1].kind == CT_EVENT_UPDATE && events[1].changes == CT_CHANGE_STATUS);
    CHECK(events[1].time_ms == 200 && events[1].connection.status & CT_STATUS_SEEN_REPLY);
    CHECK(events[2].kind == CT_EVENT_UPDATE && events[2].changes == CT_CHANGE_MARK);
    CHECK(events[2].connection.mark == 2);
    CHECK(events[3].kind == CT_EVENT_DESTROY && events[3].ending == CT_ENDING_FLUSHED);
    CHECK(events[3].time_ms == 500);
    CHECK(events[3].connection.packets[0] == 3 && events[3].connection.packets[1] == 1);
    CHECK(take(ends, events, 8, &lost) == 1 && events[0].kind == CT_EVENT_DESTROY);
    CHECK(take(all, events, 8, &lost) == 0);
    conntrack_unlisten(all);
    conntrack_unlisten(ends);
}

static void losses(void)
{
    struct ct_listener *listener = listen_to(CT_EVENT_NEW, 4);
    struct ct_event events[8];
    uint64_t lost = 0;

    for (uint32_t i = 0; i < 10; i++)
        track(4, 0, i, 0);
    CHECK(take(listener, events, 3, NULL) == 3);
    CHECK(take(listener, events, 8, &lost) == 1 && lost == 6);
    CHECK(take(listener, events, 8, &lost) == 0 && lost == 0);
    track(4, 0, 100, 0);
    CHECK(take(listener, events, 8, &lost) == 1 && lost == 0);
    conntrack_unlisten(listener);
}

static void zones(void)
{
    struct ct_listen config = {.size = sizeof config, .kinds = CT_EVENT_NEW, .capacity = 8,
                               .flags = CT_FILTER_ZONE, .zone = 6};
    struct ct_listener *listener;
    struct ct_event events[8];

    CHECK(conntrack_listen(ct, &config, &listener) == 0);
    track(5, 0, 1, 0);
    track(6, 0, 1, 0);
    CHECK(take(listener, events, 8, NULL) == 1 && events[0].connection.original.zone == 6);
    conntrack_unlisten(listener);
}

/* A caller with a longer struct, as of a later header. */
static void later_callers(void)
{
    struct later {
        struct ct_event event;
        uint64_t more;
    } events[3];
    struct ct_listener *listener = listen_to(CT_EVENT_NEW, 8);
    size_t taken;

    memset(events, 0, sizeof events);
    events[0].event.size = sizeof *events;
    events[1].more = 42;
    track(7, 0, 1, 0);
    track(7, 0, 2, 0);
    CHECK(conntrack_take_events(listener, &events[0].event, 3, &taken, NULL) == 0 && taken == 2);
    CHECK(events[0].event.connection.original.src[3] == 1);
    CHECK(events[1].event.connection.original.src[3] == 2 && events[1].more == 42);
    conntrack_unlisten(listener);
}

#define THREADS 3

static void *traffic(void *number)
{
    uint32_t n = rounds(5000), base = (uint32_t)(uintptr_t)number * 100000;
    for (uint32_t i = 0; i < n; i++) {
        track(8, i & 1, base + i % 500, 0);
        if (i % 1000 == 999)
            CHECK(conntrack_sweep(ct, 0, 0, NULL) == 0);
    }
    return NULL;
}

static void *visitor(void *unused)
{
    uint32_t n = rounds(500);
    struct ct_event events[4];
    (void)unused;
    for (uint32_t i = 0; i < n; i++) {
        struct ct_listener *listener = listen_to(CT_EVENT_UPDATE, 2);
        uint64_t lost;
        take(listener, events, 4, &lost);
        conntrack_unlisten(listener);
    }
    return NULL;
}

/* Events are taken while packets flow: every connection begins once, and every event is heard or
 * counted. */
static void together(void)
{
    struct ct_listener *listener = listen_to(CT_EVENT_NEW, 64);
    pthread_t threads[THREADS + 1];
    struct ct_event events[16];
    struct ct_stats stats = {.size = sizeof stats};
    uint64_t before, lost, heard = 0, all_lost = 0;
    size_t taken;

    CHECK(conntrack_get_stats(ct, &stats) == 0);
    before = stats.insert;
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, traffic, (void *)i) == 0);
    CHECK(pthread_create(&threads[THREADS], NULL, visitor, NULL) == 0);
    for (int i = 0; i < 2000; i++) {
        heard += take(listener, events, 16, &lost);
        all_lost += lost;
    }
    for (int i = 0; i < THREADS + 1; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    while ((taken = take(listener, events, 16, &lost)) > 0 || lost > 0) {
        heard += taken;
        all_lost += lost;
    }
    CHECK(conntrack_get_stats(ct, &stats) == 0);
    CHECK(heard + all_lost == stats.insert - before);
    conntrack_unlisten(listener);
}

int main(void)
{
    struct ct_config config = {.size = sizeof config, .flags = CT_CONFIG_ACCOUNTING};
    struct ct_listener *survivor;
    struct ct_event event;

    CHECK(conntrack_create(&config, &ct) == 0);
    a_life();
    losses();
    zones();
    later_callers();
    together();
    survivor = listen_to(CT_EVENT_NEW, 2);
    track(9, 0, 1, 0);
    conntrack_destroy(ct);
    CHECK(take(survivor, &event, 1, NULL) == 1);
    conntrack_unlisten(survivor);
    return 0;
}
