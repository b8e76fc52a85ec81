/* The table as a whole: what a pass of the sweep costs, what a connection weighs.
 *
 * A pass over live connections is made when every one of them was refreshed after its first expiry
 * was set, so that an engine which looks only where something may be due has to look everywhere. */
#include "clock.h"
#include "memory.h"
#include "team.h"
#include "traffic.h"
#include "workload.h"

enum { HOUR_MS = 3600 * 1000 };

struct table {
    const struct cell *cell;
    struct engine *engine;
    struct flows flows;
    uint64_t bad;
};

/* One packet of every connection. */
static void
refresh(struct worker *worker, struct flows *flows)
{
    struct request request = { .zone = flows->zone, .family = flows->family };

    for (uint32_t first = 0; first + BATCH <= flows->count; first += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint8_t state;
            struct packet packet = flows_bare_packet(flows, first + i, ORIGINAL, &state);

            worker_put(worker, i, &packet, state);
        }
        worker_send(worker, 0, &request);
        engine_rest();
    }
}

static double
full_pass(struct engine *engine, long long now)
{
    uint64_t from = clock_thread();

    while (!engine_sweep(engine, now).complete) {
    }
    return (double) (clock_thread() - from);
}

static void
sweep_member(struct team *team, unsigned number, void *context)
{
    struct table *table = context;
    struct worker *worker = worker_new(table->engine, number, WARM);
    uint32_t n = table->flows.count / BATCH * BATCH;
    long long start = worker->now;

    (void) team;
    worker_open(worker, &table->flows, 0, n);
    report("live_ns_nothing_due", full_pass(table->engine, start + 1000) / n);
    worker->now = start + 20 * HOUR_MS;
    refresh(worker, &table->flows);
    report("live_ns", full_pass(table->engine, start + 25 * HOUR_MS) / n);
    worker->bad += engine_count(table->engine) != n;
    report("expired_ns", full_pass(table->engine, start + 50 * HOUR_MS) / n);
    worker->bad += engine_count(table->engine) != 0;
    engine_rest();
    table->bad = worker->bad;
}

static void
memory_member(struct team *team, unsigned number, void *context)
{
    struct table *table = context;
    struct worker *worker = worker_new(table->engine, number, WARM);
    size_t before;

    (void) team;
    before = memory_resident();
    worker_open(worker, &table->flows, 0, table->flows.count);
    report("bytes_per_connection",
           (double) (memory_resident() - before) / table->flows.count);
    worker->bad += engine_count(table->engine) != table->flows.count;
    table->bad = worker->bad;
}

static uint64_t
run(const struct cell *cell, void (*member)(struct team *, unsigned, void *))
{
    struct table table = {
        .cell = cell,
        .engine = engine_create(cell->connections + 1024),
        .flows = flows_new(cell->connections, RESIDENT, cell->family, cell->transport, 1),
    };

    team_run(1, member, &table);
    return table.bad;
}

uint64_t
workload_sweep(const struct cell *cell)
{
    return run(cell, sweep_member);
}

uint64_t
workload_memory(const struct cell *cell)
{
    return run(cell, memory_member);
}
