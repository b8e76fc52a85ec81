/* The counted workloads that only this library has: packets by way of the flow table, and by way of the
 * merged flows of three zones, beside the three passes through the tracker which those spare. */
#include <valgrind/callgrind.h>

#include "count.h"
#include "workload.h"
#include "zones.h"

/* Loads a batch of data packets of the flows from 'first' on into the lane. */
static void
load_batch(struct scene *scene, uint32_t first)
{
    put_batch(scene, first);
    ring_load(scene->worker->ring, 0, BATCH, scene->worker->lane);
}

/* How many packets of the batch have not the verdict that they must have. */
static uint64_t
wrong(const struct worker *worker)
{
    uint64_t bad = 0;

    for (unsigned i = 0; i < BATCH; i++) {
        bad += engine_state(worker->lane, i) != worker->expected[i];
    }
    return bad;
}

static uint64_t
flow_table(const char *workload, enum transport transport, const struct translation *nat)
{
    struct scene scene = scene_open(IPV4, transport, nat);
    struct worker *worker = scene.worker;
    struct ct_flow_table *table;
    uint64_t bad = 0;

    engine_must(ct_flow_table_get(scene.engine->tracker, scene.flows.zone, &table),
                "ct_flow_table_get");
    send_all(&scene);
    CALLGRIND_ZERO_STATS;
    for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
        size_t found;

        load_batch(&scene, first);
        CALLGRIND_TOGGLE_COLLECT;
        engine_must(ct_flow_table_lookup(table, worker->lane->packets, BATCH, worker->now, &found),
                    "ct_flow_table_lookup");
        CALLGRIND_TOGGLE_COLLECT;
        bad += wrong(worker) + (found != BATCH);
    }
    end(&scene, workload);
    return bad;
}

static uint64_t
flow_table_tcp4(const struct cell *cell)
{
    (void) cell;
    return flow_table("flow-table-tcp4", TCP, NULL);
}

static uint64_t
flow_table_udp4(const struct cell *cell)
{
    (void) cell;
    return flow_table("flow-table-udp4", UDP, NULL);
}

static uint64_t
flow_table_nat4(const struct cell *cell)
{
    (void) cell;
    return flow_table("flow-table-nat4", TCP, &pool);
}

/* A scene whose flows are open in every zone. */
static struct scene
scene_open_zones(void)
{
    struct scene scene = scene_open(IPV4, TCP, NULL);

    for (scene.flows.zone = 2; scene.flows.zone <= ZONES; scene.flows.zone++) {
        worker_open(scene.worker, &scene.flows, 0, CONNECTIONS);
    }
    return scene;
}

static uint64_t
zones_tcp4(const struct cell *cell)
{
    struct scene scene = scene_open_zones();
    struct worker *worker = scene.worker;
    uint64_t bad = 0;

    (void) cell;
    CALLGRIND_ZERO_STATS;
    for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
        load_batch(&scene, first);
        CALLGRIND_TOGGLE_COLLECT;
        for (uint16_t zone = 1; zone <= ZONES; zone++) {
            zones_track(worker->lane, 0, BATCH, zone, worker->now);
        }
        CALLGRIND_TOGGLE_COLLECT;
        bad += wrong(worker);
    }
    end(&scene, "zones-tcp4");
    return bad;
}

/* A data packet of every flow; how many of them the cache had. */
static uint64_t
send_all_merged(struct scene *scene)
{
    static struct ct_trace traces[BATCH];
    struct worker *worker = scene->worker;
    uint64_t found = 0;

    for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
        load_batch(scene, first);
        CALLGRIND_TOGGLE_COLLECT;
        found += zones_fastpath(worker->lane, traces, worker->now);
        CALLGRIND_TOGGLE_COLLECT;
        worker->bad += wrong(worker);
    }
    return found;
}

static uint64_t
merged_tcp4(const struct cell *cell)
{
    struct scene scene = scene_open_zones();
    struct conntrack *tracker = scene.engine->tracker;

    (void) cell;
    /* So many that no line of the index is full. */
    zones_enable(tracker, 8 * CONNECTIONS);
    send_all_merged(&scene);
    engine_must(ct_merge_run(tracker, 0, scene.worker->now, NULL), "ct_merge_run");
    CALLGRIND_ZERO_STATS;
    uint64_t found = send_all_merged(&scene);
    end(&scene, "merged-tcp4");
    return found != CONNECTIONS;
}

const struct workload engine_workloads[] = {
    { "flow-table-tcp4", flow_table_tcp4 },
    { "flow-table-udp4", flow_table_udp4 },
    { "flow-table-nat4", flow_table_nat4 },
    { "zones-tcp4", zones_tcp4 },
    { "merged-tcp4", merged_tcp4 },
    { NULL, NULL },
};
