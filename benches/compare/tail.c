/* The time of a batch while the other processor does something to the table.
 *
 * One thread sends batches to a million established connections and keeps a histogram; the other
 * one expires, flushes, inserts or lists a million others. The same histogram is kept before, with
 * the other processor idle, and both times, ring about, of a loop that calls no engine at all and
 * touches no memory: the machine pauses by itself, and no figure below that loop's can be told from a
 * pause.
 *
 * A flood is one first packet after the other of connections that nobody answers, into a table that is
 * full already: half of established connections, half of such ones. It is refused, or with early drop
 * each of them evicts an earlier one. */
#define _GNU_SOURCE
#include <err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "team.h"
#include "traffic.h"
#include "workload.h"

enum disturbance { EXPIRY, FLUSH, GROWTH, DUMP, FLOOD, EVICTION };

enum {
    ALONE_RINGS = 400,
    FLOOD_TURN = 4, /* a flow of the flood comes again when the table has turned over this often */
    RESIDENT_ZONE = 1,
    OTHER_ZONE = 2,
    LATER_MS = 1000 * 1000, /* beyond any UDP timeout, far below the established TCP one */
};

static const uint64_t DURATION_NS = 2000000000u; /* of what has no end by itself */

struct tail {
    const struct cell *cell;
    enum disturbance disturbance;
    struct engine *engine;
    struct flows residents;
    struct flows others;
    struct flows flood;
    _Atomic bool disturbing;
    struct phase {
        struct histogram batches, idle;
        struct tally tally; /* of the batches */
    } alone, beside;
    uint64_t bad[2];
    double longest_insert;
    struct tally inserted, flooded;
};

/* A loop of about two microseconds, a batch of the faster engine, that only computes. */
static void
idle_ring(struct histogram *histogram)
{
    for (unsigned batch = 0; batch < RING; batch++) {
        uint64_t from = ticks_before();

        for (unsigned i = 0; i < 6000; i++) {
            __asm__ volatile("" : : "r"(i) : "memory");
        }
        histogram_add(histogram, ticks_after() - from);
    }
}

static void
one_ring(struct tail *tail, struct worker *worker, struct phase *phase)
{
    struct request request = flows_request(&tail->residents, false);
    uint64_t all = 0;

    for (unsigned i = 0; i < RING * BATCH; i++) {
        uint32_t flow = worker_random(worker, tail->residents.count);
        enum direction direction = worker_random(worker, 2) ? REPLY : ORIGINAL;
        uint8_t state;
        struct packet packet = flows_data_packet(&tail->residents, flow, direction, &state);

        worker_put(worker, i, &packet, state);
    }
    worker_ready(worker);

    struct window window = window_open();
    for (unsigned batch = 0; batch < RING; batch++) {
        uint64_t ticks = worker_send(worker, batch, &request);

        histogram_add(&phase->batches, ticks);
        all += ticks;
    }
    tally_add(&phase->tally, all, RING, window_undisturbed(&window));
    engine_rest();
    idle_ring(&phase->idle);
}

static void
reader(struct team *team, struct tail *tail)
{
    struct worker *worker = worker_new(tail->engine, 0, tail->cell->headers);

    worker_open(worker, &tail->residents, 0, tail->residents.count);
    team_meet(team);
    team_meet(team);
    for (unsigned i = 0; i < ALONE_RINGS; i++) {
        one_ring(tail, worker, &tail->alone);
    }
    if (tail->disturbance == EXPIRY) {
        worker->now += LATER_MS;
    }
    team_meet(team);
    while (atomic_load(&tail->disturbing)) {
        one_ring(tail, worker, &tail->beside);
    }
    tail->bad[0] = worker->bad;
}

/* Sends the first packets of 'count' flows from 'first' on; the ticks that it took. */
static uint64_t
insert_some(struct worker *worker, struct flows *flows, uint32_t first, unsigned count)
{
    struct request request = flows_request(flows, true);

    for (unsigned i = 0; i < count; i++) {
        uint8_t state;
        struct packet packet = flows_open_packet(flows, first + i, 0, &state);

        worker_put(worker, i, &packet, state);
    }
    uint64_t ticks = worker_send_some(worker, 0, count, &request);

    engine_rest();
    return ticks;
}

static void
insert_others(struct tail *tail, struct worker *worker)
{
    for (uint32_t first = 0; first + BATCH <= tail->others.count; first += BATCH) {
        struct window window = window_open();
        uint64_t ticks = insert_some(worker, &tail->others, first, BATCH);

        tally_add(&tail->inserted, ticks, BATCH, window_undisturbed(&window));
    }
}

/* One connection per microsecond of the engine's time; between them it sweeps when it wants to, as
 * in the loop of a datapath, and may use the occasion to make room ahead. */
static void
insert_one_by_one(struct tail *tail, struct worker *worker)
{
    long long next_sweep = worker->now;

    for (uint32_t flow = 0; flow < tail->others.count; flow++) {
        worker->now += flow % 1000 == 0;
        if (worker->now >= next_sweep) {
            next_sweep = engine_sweep(tail->engine, worker->now).next_ms;
        }
        uint64_t cpu = clock_thread();
        double ns = clock_ns(insert_some(worker, &tail->others, flow, 1));
        double ran = (double) (clock_thread() - cpu);

        /* What the thread did not run for is not the engine's. */
        ns = ns < ran ? ns : ran;
        tail->longest_insert = ns > tail->longest_insert ? ns : tail->longest_insert;
    }
}

static void
flood(struct tail *tail, struct worker *worker)
{
    uint64_t from = clock_thread();

    for (uint32_t first = 0; clock_thread() - from < DURATION_NS; first += BATCH) {
        struct window window = window_open();
        uint64_t ticks = insert_some(worker, &tail->flood, first % tail->flood.count, BATCH);

        tally_add(&tail->flooded, ticks, BATCH, window_undisturbed(&window));
    }
}

static void
disturb(struct tail *tail, struct worker *worker)
{
    switch (tail->disturbance) {
    case EXPIRY:
        while (!engine_sweep(tail->engine, worker->now + LATER_MS).complete) {
        }
        break;
    case FLUSH:
        engine_flush_zone(tail->engine, OTHER_ZONE, worker->now);
        while (!engine_sweep(tail->engine, worker->now).complete) {
        }
        break;
    case GROWTH:
        insert_one_by_one(tail, worker);
        break;
    case FLOOD:
    case EVICTION:
        flood(tail, worker);
        break;
    case DUMP: {
        uint64_t from = clock_thread();

        while (clock_thread() - from < DURATION_NS) {
            engine_dump(tail->engine, worker->now);
            engine_rest();
        }
        break;
    }
    }
}

static void
other(struct team *team, struct tail *tail)
{
    struct worker *worker = worker_new(tail->engine, 1, WARM);

    team_meet(team);
    if (tail->disturbance != GROWTH) {
        insert_others(tail, worker);
    }
    team_meet(team);
    atomic_store(&tail->disturbing, true);
    team_meet(team);
    disturb(tail, worker);
    atomic_store(&tail->disturbing, false);
    tail->bad[1] = worker->bad;
}

static void
member(struct team *team, unsigned number, void *context)
{
    if (number == 0) {
        reader(team, context);
    } else {
        other(team, context);
    }
}

static void
report_histogram(const char *phase, const char *of, const struct histogram *histogram)
{
    static const struct {
        const char *name;
        double quantile;
    } quantiles[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p999", 0.999 } };
    char metric[64];

    for (unsigned i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        snprintf(metric, sizeof metric, "%s%s_%s_ns", phase, of, quantiles[i].name);
        report(metric, histogram_quantile(histogram, quantiles[i].quantile));
    }
    snprintf(metric, sizeof metric, "%s%s_count", phase, of);
    report(metric, (double) histogram->total);
}

static void
report_phase(const char *name, const struct phase *phase)
{
    char metric[64];

    report_histogram(name, "", &phase->batches);
    report_histogram(name, "_idle", &phase->idle);
    snprintf(metric, sizeof metric, "%s_ns_per_packet", name);
    report(metric, tally_ns(&phase->tally) / BATCH);
}

static uint64_t
run(const struct cell *cell, enum disturbance disturbance)
{
    struct tail *tail = calloc(1, sizeof *tail);
    bool full = disturbance == FLOOD || disturbance == EVICTION;

    tail->cell = cell;
    tail->disturbance = disturbance;
    tail->engine = engine_create(cell->connections * (full ? 2 : 4));
    if (disturbance == EVICTION && !engine_drop_early(tail->engine)) {
        errx(2, "%s has no early drop", engine_name);
    }
    tail->residents = flows_new(cell->connections, RESIDENT, cell->family, TCP, RESIDENT_ZONE);
    tail->others = flows_new(cell->connections, NEWCOMER, cell->family, UDP, OTHER_ZONE);
    tail->flood = flows_new(FLOOD_TURN * cell->connections, STRANGER, cell->family, UDP, OTHER_ZONE);
    team_run(2, member, tail);
    report_phase("alone", &tail->alone);
    report_phase("beside", &tail->beside);
    if (disturbance == GROWTH) {
        report("longest_insert_us", tail->longest_insert / 1000);
    } else {
        report("insert_ns", tally_ns(&tail->inserted));
    }
    if (full) {
        report("flooded_ns", tally_ns(&tail->flooded));
        tail->bad[0] += engine_count(tail->engine) > 2 * cell->connections;
    }
    return tail->bad[0] + tail->bad[1];
}

uint64_t
workload_tail_expiry(const struct cell *cell)
{
    return run(cell, EXPIRY);
}

uint64_t
workload_tail_flush(const struct cell *cell)
{
    return run(cell, FLUSH);
}

uint64_t
workload_tail_growth(const struct cell *cell)
{
    return run(cell, GROWTH);
}

uint64_t
workload_tail_dump(const struct cell *cell)
{
    return run(cell, DUMP);
}

uint64_t
workload_flood(const struct cell *cell)
{
    return run(cell, FLOOD);
}

uint64_t
workload_eviction(const struct cell *cell)
{
    return run(cell, EVICTION);
}
