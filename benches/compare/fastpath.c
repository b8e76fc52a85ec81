/* What this engine has beside the tracker, and Open vSwitch's library has not: the flow table, in which
 * established packets are looked up instead of being tracked, and the cache of merged flows.
 *
 * Both are measured with the packets of the workload "established", and with the same packets by way of
 * the tracker in the same process. Merged flows are those of a pipeline of three
 * zones. What it costs without the cache is the tracker's part alone: the datapath's own tables, which a
 * cache saves as well, are not there. */
#include "team.h"
#include "traffic.h"
#include "workload.h"
#include "zones.h"

enum { RINGS = 256, WARM_UP = 16 };

struct fastpath {
    const struct cell *cell;
    struct engine *engine;
    struct flows flows;
    struct ct_flow_table *table;
    struct ct_trace traces[BATCH];
    uint64_t sent, found;
    uint64_t bad;
};

/* A way of one batch that lies in the worker's lane. */
typedef void way(struct fastpath *, struct worker *);

static void
by_tracker(struct fastpath *fast, struct worker *worker)
{
    zones_track(worker->lane, 0, BATCH, fast->flows.zone, worker->now);
}

static void
by_flow_table(struct fastpath *fast, struct worker *worker)
{
    struct ct_packet *packets = worker->lane->packets;
    size_t found;

    engine_must(ct_flow_table_lookup(fast->table, packets, BATCH, worker->now, &found),
                "ct_flow_table_lookup");
    for (unsigned i = 0; found < BATCH && i < BATCH; i++) {
        if (!packets[i].ct_state) {
            zones_track(worker->lane, i, 1, fast->flows.zone, worker->now);
        }
    }
    fast->found += found;
}

static void
by_three_zones(struct fastpath *fast, struct worker *worker)
{
    (void) fast;
    for (uint16_t zone = 1; zone <= ZONES; zone++) {
        zones_track(worker->lane, 0, BATCH, zone, worker->now);
    }
}

static void
by_cache(struct fastpath *fast, struct worker *worker)
{
    fast->found += zones_fastpath(worker->lane, fast->traces, worker->now);
}

/* One packet of a flow chosen by 'draw', in a random direction. */
static void
put(struct fastpath *fast, struct worker *worker, unsigned index, uint32_t flow,
    enum direction direction)
{
    uint8_t state;
    struct packet packet = flows_data_packet(&fast->flows, flow, direction, &state);

    worker_put(worker, index, &packet, state);
}

static uint64_t
send(struct fastpath *fast, struct worker *worker, unsigned batch, way *way)
{
    ring_load(worker->ring, batch, BATCH, worker->lane);
    uint64_t from = ticks_before();

    way(fast, worker);
    uint64_t ticks = ticks_after() - from;

    for (unsigned i = 0; i < BATCH; i++) {
        worker->bad +=
            engine_state(worker->lane, i) != worker->expected[batch * BATCH + i];
    }
    fast->sent += BATCH;
    return ticks;
}

/* Both directions of every connection, in turn. */
static void
send_all(struct fastpath *fast, struct worker *worker, way *way)
{
    for (uint32_t first = 0; first + BATCH <= fast->flows.count; first += BATCH) {
        for (unsigned direction = ORIGINAL; direction <= REPLY; direction++) {
            for (unsigned i = 0; i < BATCH; i++) {
                put(fast, worker, i, first + i, direction);
            }
            send(fast, worker, 0, way);
        }
    }
}

static double
measure(struct fastpath *fast, struct worker *worker, way *way)
{
    struct tally tally = { .ticks = { 0 }, .units = { 0 } };

    for (unsigned round = 0; round < WARM_UP + RINGS; round++) {
        for (unsigned i = 0; i < RING * BATCH; i++) {
            put(fast, worker, i, worker_random(worker, fast->flows.count / BATCH * BATCH),
                worker_random(worker, 2) ? REPLY : ORIGINAL);
        }
        worker_ready(worker);
        worker->now++;
        if (round == WARM_UP) {
            fast->sent = fast->found = 0;
        }

        struct window window = window_open();
        uint64_t ticks = 0;
        for (unsigned batch = 0; batch < RING; batch++) {
            ticks += send(fast, worker, batch, way);
        }
        if (round >= WARM_UP) {
            tally_add(&tally, ticks, RING * BATCH, window_undisturbed(&window));
        }
    }
    return tally_ns(&tally);
}

static void
report_found(const struct fastpath *fast)
{
    report("found_percent", 100.0 * (double) fast->found / (double) fast->sent);
}

static void
flow_table_member(struct team *team, unsigned number, void *context)
{
    struct fastpath *fast = context;
    struct worker *worker = worker_new(fast->engine, number, fast->cell->headers);

    (void) team;
    worker_open(worker, &fast->flows, 0, fast->flows.count);
    report("tracked_ns_per_packet", measure(fast, worker, by_tracker));
    engine_must(ct_flow_table_get(fast->engine->tracker, fast->flows.zone, &fast->table),
                "ct_flow_table_get");
    send_all(fast, worker, by_tracker);
    report("ns_per_packet", measure(fast, worker, by_flow_table));
    report_found(fast);
    fast->bad = worker->bad;
}

static void
merged_member(struct team *team, unsigned number, void *context)
{
    struct fastpath *fast = context;
    struct conntrack *tracker = fast->engine->tracker;
    struct worker *worker = worker_new(fast->engine, number, fast->cell->headers);

    (void) team;
    for (fast->flows.zone = 1; fast->flows.zone <= ZONES; fast->flows.zone++) {
        worker_open(worker, &fast->flows, 0, fast->flows.count);
    }
    report("tracked_ns_per_packet", measure(fast, worker, by_three_zones));
    zones_enable(tracker, 2 * fast->flows.count);
    send_all(fast, worker, by_cache);
    engine_must(ct_merge_run(tracker, 0, worker->now, NULL), "ct_merge_run");
    report("ns_per_packet", measure(fast, worker, by_cache));
    report_found(fast);
    fast->bad = worker->bad;
}

static uint64_t
run(const struct cell *cell, void (*member)(struct team *, unsigned, void *))
{
    struct fastpath fast = {
        .cell = cell,
        .engine = engine_create((ZONES + 1) * cell->connections + 1024),
        .flows = flows_new(cell->connections, RESIDENT, cell->family, cell->transport, 1),
    };

    team_run(1, member, &fast);
    return fast.bad;
}

static uint64_t
workload_flow_table(const struct cell *cell)
{
    return run(cell, flow_table_member);
}

static uint64_t
workload_merged(const struct cell *cell)
{
    return run(cell, merged_member);
}

const struct workload engine_workloads[] = {
    { "flow-table", workload_flow_table },
    { "merged", workload_merged },
    { NULL, NULL },
};
