/* The table as a whole: what a pass of the sweep costs, what a connection weighs.
 *
 * The sweep is measured in a table that has aged: every connection's memory was another's before, in
 * random order, as it is after hours of traffic (in a table filled once from empty, list order is
 * memory order, and a walk over it is faster than it will ever be again).
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
    struct request request = flows_request(flows, false);

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

/* Opens a range of flows one by one, alternating between two zones. */
static void
open_alternating(struct worker *worker, struct flows *flows, const uint16_t zones[2])
{
    for (uint32_t flow = 0; flow < flows->count; flow++) {
        struct request request = {
            .zone = zones[flow % 2], .commit = true, .family = flows->family,
        };
        uint8_t state;
        struct packet packet = flows_open_packet(flows, flow, 0, &state);

        worker_put(worker, 0, &packet, state);
        worker_send_some(worker, 0, 1, &request);
        engine_rest();
    }
}

/* Opens all flows of the table, each half in the holes that a flushed zone left. */
static void
open_aged(struct table *table, struct worker *worker, uint32_t n)
{
    static const uint16_t zones[] = { 2, 3 };
    struct flows earlier = flows_new(n, STRANGER, table->flows.family,
                                      table->flows.transport, 0);

    open_alternating(worker, &earlier, zones);
    for (unsigned half = 0; half < 2; half++) {
        engine_flush_zone(table->engine, zones[half], worker->now);
        while (!engine_sweep(table->engine, worker->now).complete) {
        }
        engine_settle();
        worker_open(worker, &table->flows, n / 2 * half, n / 2);
    }
}

/* A pass over the whole table. 'waited' receives how long the engine itself would have paused in it,
 * ms: what bounds the connections that it expires in a second, however fast it is. */
static double
full_pass(struct engine *engine, long long now, long long *waited)
{
    uint64_t from = clock_thread();
    struct swept swept;

    *waited = 0;
    while (!(swept = engine_sweep(engine, now)).complete) {
        *waited += swept.next_ms - now;
    }
    return (double) (clock_thread() - from);
}

static void
sweep_member(struct team *team, unsigned number, void *context)
{
    struct table *table = context;
    struct worker *worker = worker_new(table->engine, number, WARM);
    uint32_t n = table->flows.count / (2 * BATCH) * (2 * BATCH);
    long long start = worker->now, waited;

    (void) team;
    open_aged(table, worker, n);
    report("live_ns_nothing_due", full_pass(table->engine, start + 1000, &waited) / n);
    worker->now = start + 20 * HOUR_MS;
    refresh(worker, &table->flows);
    report("live_ns", full_pass(table->engine, start + 25 * HOUR_MS, &waited) / n);
    worker->bad += engine_count(table->engine) != n;
    report("expired_ns", full_pass(table->engine, start + 50 * HOUR_MS, &waited) / n);
    report("expired_wait_ms", (double) waited);
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
        .engine = engine_create(2 * cell->connections + 1024),
        .flows = flows_new(cell->connections, RESIDENT, cell->family, cell->transport, 1),
    };

    if (cell->nat) {
        flows_translate(&table.flows, &cell_pool);
    }
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
