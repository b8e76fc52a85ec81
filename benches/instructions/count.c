/* Runs the hot functions of an engine under callgrind, which counts their instructions.
 *
 * The same packets as in the comparison (benches/compare), in one process: for each workload a table of
 * a thousand connections is filled, and what the engine then executes for a packet of each is written
 * out under the workload's name. Instructions are counted, not time: caches and neighbours do not matter,
 * and a figure is the same tomorrow. The program is linked with --wrap, so that every call of the engine
 * passes here, where counting is switched on and off around it; outside of valgrind nothing is counted.
 *
 * Prints lines "workload units": what the counts are to be divided by. */
#include <stdio.h>
#include <stdlib.h>

#include <valgrind/callgrind.h>

#include "count.h"
#include "workload.h"

enum { HOUR_MS = 3600 * 1000 };

const struct translation pool = {
    .choose = true, .first = 0xcb007101, .last = 0xcb007110, /* 203.0.113.1 to .16 */
};

static bool counting;
static uint64_t bad;

void __real_engine_execute(struct lane *, unsigned n, const struct request *, long long now_ms);
void __wrap_engine_execute(struct lane *, unsigned n, const struct request *, long long now_ms);
struct swept __real_engine_sweep(struct engine *, long long now_ms);
struct swept __wrap_engine_sweep(struct engine *, long long now_ms);

void
__wrap_engine_execute(struct lane *lane, unsigned n, const struct request *request,
                      long long now_ms)
{
    if (counting) {
        CALLGRIND_TOGGLE_COLLECT;
        __real_engine_execute(lane, n, request, now_ms);
        CALLGRIND_TOGGLE_COLLECT;
    } else {
        __real_engine_execute(lane, n, request, now_ms);
    }
}

struct swept
__wrap_engine_sweep(struct engine *engine, long long now_ms)
{
    struct swept swept;

    if (counting) {
        CALLGRIND_TOGGLE_COLLECT;
    }
    swept = __real_engine_sweep(engine, now_ms);
    if (counting) {
        CALLGRIND_TOGGLE_COLLECT;
    }
    return swept;
}

static struct scene
scene_new(enum family family, enum transport transport, const struct translation *nat,
          uint32_t limit)
{
    struct scene scene = {
        .engine = engine_create(limit),
        .flows = flows_new(CONNECTIONS, RESIDENT, family, transport, 1),
    };

    if (nat) {
        flows_translate(&scene.flows, nat);
    }
    scene.worker = worker_new(scene.engine, 0, WARM);
    return scene;
}

struct scene
scene_open(enum family family, enum transport transport, const struct translation *nat)
{
    struct scene scene = scene_new(family, transport, nat, 4 * CONNECTIONS);

    worker_open(scene.worker, &scene.flows, 0, CONNECTIONS);
    return scene;
}

static void
begin(void)
{
    CALLGRIND_ZERO_STATS;
    counting = true;
}

void
end(const struct scene *scene, const char *workload)
{
    counting = false;
    CALLGRIND_DUMP_STATS_AT(workload);
    printf("%s %u\n", workload, CONNECTIONS);
    bad += scene->worker->bad;
    engine_rest();
}

void
put_batch(struct scene *scene, uint32_t first)
{
    for (unsigned i = 0; i < BATCH; i++) {
        uint8_t state;
        struct packet packet =
            flows_data_packet(&scene->flows, first + i, i % 2 ? REPLY : ORIGINAL, &state);

        worker_put(scene->worker, i, &packet, state);
    }
}

static void
send_batch(struct scene *scene, uint32_t first)
{
    struct request request = flows_request(&scene->flows, false);

    put_batch(scene, first);
    worker_send(scene->worker, 0, &request);
}

void
send_all(struct scene *scene)
{
    for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
        send_batch(scene, first);
    }
}

static void
established(const char *workload, enum family family, enum transport transport,
            const struct translation *nat)
{
    struct scene scene = scene_open(family, transport, nat);

    send_all(&scene);
    begin();
    send_all(&scene);
    end(&scene, workload);
}

/* Established packets that come one by one, a call for each. */
static void
single(const char *workload, enum family family, enum transport transport)
{
    struct scene scene = scene_open(family, transport, NULL);
    struct request request = flows_request(&scene.flows, false);

    send_all(&scene);
    begin();
    for (uint32_t flow = 0; flow < CONNECTIONS; flow++) {
        uint8_t state;
        struct packet packet =
            flows_data_packet(&scene.flows, flow, flow % 2 ? REPLY : ORIGINAL, &state);

        worker_put(scene.worker, 0, &packet, state);
        worker_send_some(scene.worker, 0, 1, &request);
    }
    end(&scene, workload);
}

/* A packet comes again while its descriptor still knows the connection. */
static void
second(void)
{
    struct scene scene = scene_open(IPV4, TCP, NULL);
    struct request request = flows_request(&scene.flows, false);

    CALLGRIND_ZERO_STATS;
    for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
        send_batch(&scene, first);
        counting = true;
        worker_send_again(scene.worker, 0, &request);
        counting = false;
    }
    end(&scene, "second-tcp4");
}

/* The first packet of every flow. */
static void
send_first(struct scene *scene, struct flows *flows, bool commit)
{
    struct request request = flows_request(flows, commit);

    for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint8_t state;
            struct packet packet = flows_open_packet(flows, first + i, 0, &state);

            worker_put(scene->worker, i, &packet, state);
        }
        worker_send(scene->worker, 0, &request);
    }
}

/* Packets of connections that nobody has, looked up only. */
static void
miss(void)
{
    struct scene scene = scene_open(IPV4, TCP, NULL);
    struct flows strangers = flows_new(CONNECTIONS, STRANGER, IPV4, TCP, 1);

    begin();
    send_first(&scene, &strangers, false);
    end(&scene, "miss-tcp4");
}

/* New connections in a table that is full of others which nobody answered: refused, or each drops one
 * of them. */
static void
full(const char *workload, bool drop_early)
{
    struct scene scene = scene_new(IPV4, UDP, NULL, CONNECTIONS);
    struct flows strangers = flows_new(CONNECTIONS, STRANGER, IPV4, UDP, 1);

    if (drop_early && !engine_drop_early(scene.engine)) {
        return;
    }
    send_first(&scene, &scene.flows, true);
    begin();
    send_first(&scene, &strangers, true);
    bad += engine_count(scene.engine) > CONNECTIONS;
    end(&scene, workload);
}

/* All packets that open a connection, in a table with as many others. */
static void
set_up(const char *workload, enum family family, enum transport transport,
       const struct translation *nat)
{
    struct scene scene = scene_open(family, transport, nat);
    struct flows newcomers = flows_new(CONNECTIONS, NEWCOMER, family, transport, 1);

    if (nat) {
        flows_translate(&newcomers, nat);
    }
    begin();
    worker_open(scene.worker, &newcomers, 0, CONNECTIONS);
    end(&scene, workload);
}

/* A full pass of the sweep: over live connections that were refreshed, and over expired ones. */
static void
sweep(void)
{
    struct scene scene = scene_open(IPV4, TCP, NULL);
    long long start = scene.worker->now;

    scene.worker->now = start + 20 * HOUR_MS;
    send_all(&scene);
    begin();
    while (!engine_sweep(scene.engine, start + 25 * HOUR_MS).complete) {
    }
    bad += engine_count(scene.engine) != CONNECTIONS;
    end(&scene, "sweep-live");
    begin();
    while (!engine_sweep(scene.engine, start + 50 * HOUR_MS).complete) {
    }
    bad += engine_count(scene.engine) != 0;
    end(&scene, "sweep-expired");
}

int
main(void)
{
    clock_calibrate();
    established("established-tcp4", IPV4, TCP, NULL);
    established("established-tcp6", IPV6, TCP, NULL);
    established("established-udp4", IPV4, UDP, NULL);
    established("established-udp6", IPV6, UDP, NULL);
    established("established-nat4", IPV4, TCP, &pool);
    single("single-tcp4", IPV4, TCP);
    second();
    miss();
    set_up("setup-tcp4", IPV4, TCP, NULL);
    set_up("setup-tcp6", IPV6, TCP, NULL);
    set_up("setup-udp4", IPV4, UDP, NULL);
    set_up("setup-nat4", IPV4, TCP, &pool);
    full("refused-udp4", false);
    full("evicting-udp4", true);
    sweep();
    for (const struct workload *workload = engine_workloads; workload->name; workload++) {
        bad += workload->run(NULL);
    }
    fflush(stdout);
    _Exit(bad != 0);
}
