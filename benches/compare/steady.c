/* Packets of a table that does not change: established ones, those of nobody, those that come a
 * second time.
 *
 * Connections are drawn at random, directions too, so that at a million of them every packet finds
 * its connection's memory cold. TCP packets carry data in valid sequence, one after the other; only
 * where threads share connections are they bare acknowledgements, since no order is defined there.
 * Through translation, clients share sixteen addresses and keep their ports; an established packet is
 * then asked for with ct(nat), and the engine rewrites it.
 * A ring in which the thread was disturbed is not counted (clock.h). */
#include <stdlib.h>

#include "team.h"
#include "traffic.h"
#include "workload.h"

/* Rings measured by each thread: about a million packets; and rings before, not measured. */
enum { RINGS = 512, WARM_UP = 48 };

enum kind { ESTABLISHED, SHARED, SECOND, MISS };

struct steady {
    const struct cell *cell;
    enum kind kind;
    struct engine *engine;
    struct flows flows;
    struct flows strangers;
    double *ns;
    double *quiet;
    uint64_t *bad;
};

/* The flows that belong to a thread. */
static void
share_of(const struct steady *steady, unsigned number, uint32_t *first, uint32_t *count)
{
    uint32_t each = steady->flows.count / steady->cell->threads;

    *first = each * number;
    *count = each;
}

static void
fill_ring(struct steady *steady, struct worker *worker, uint32_t first, uint32_t count)
{
    for (unsigned i = 0; i < RING * BATCH; i++) {
        uint32_t flow = first + worker_random(worker, count);
        enum direction direction = worker_random(worker, 2) ? REPLY : ORIGINAL;
        struct packet packet;
        uint8_t state;

        switch (steady->kind) {
        case MISS:
            packet = flows_open_packet(&steady->strangers, flow, 0, &state);
            break;
        case SHARED:
            packet = flows_bare_packet(&steady->flows, flow, direction, &state);
            break;
        default:
            packet = flows_data_packet(&steady->flows, flow, direction, &state);
        }
        worker_put(worker, i, &packet, state);
    }
    worker_ready(worker);
}

static void
member(struct team *team, unsigned number, void *context)
{
    struct steady *steady = context;
    struct worker *worker = worker_new(steady->engine, number, steady->cell->headers);
    struct request request = flows_request(&steady->flows, false);
    struct tally tally = { .ticks = { 0 }, .units = { 0 } };
    uint32_t first, count;

    share_of(steady, number, &first, &count);
    worker_open(worker, &steady->flows, first, count);
    if (steady->kind == SHARED) {
        first = 0;
        count = steady->flows.count;
    }
    team_meet(team);
    for (unsigned round = 0; round < WARM_UP + RINGS; round++) {
        fill_ring(steady, worker, first, count);
        worker->now++;

        struct window window = window_open();
        uint64_t ticks = 0;
        for (unsigned batch = 0; batch < RING; batch++) {
            uint64_t once = worker_send(worker, batch, &request);

            ticks += steady->kind == SECOND ? worker_send_again(worker, batch, &request) : once;
        }
        if (round >= WARM_UP) {
            tally_add(&tally, ticks, RING * BATCH, window_undisturbed(&window));
        }
        engine_rest();
    }
    steady->ns[number] = tally_ns(&tally);
    steady->quiet[number] = tally_quiet(&tally);
    steady->bad[number] = worker->bad;
    team_meet(team);
}

static uint64_t
run(const struct cell *cell, enum kind kind)
{
    struct steady steady = {
        .cell = cell,
        .kind = kind,
        .engine = engine_create(cell->connections * 2 + 1024),
        .flows = flows_new(cell->connections, RESIDENT, cell->family, cell->transport, 1),
        .strangers = flows_new(cell->connections, STRANGER, cell->family, cell->transport, 1),
        .ns = calloc(cell->threads, sizeof(double)),
        .quiet = calloc(cell->threads, sizeof(double)),
        .bad = calloc(cell->threads, sizeof(uint64_t)),
    };
    double ns = 0, mpps = 0, quiet = 0;
    uint64_t bad = 0;

    if (cell->nat) {
        flows_translate(&steady.flows, &cell_pool);
    }
    team_run(cell->threads, member, &steady);
    for (unsigned i = 0; i < cell->threads; i++) {
        ns += steady.ns[i] / cell->threads;
        mpps += 1000 / steady.ns[i];
        quiet += steady.quiet[i] / cell->threads;
        bad += steady.bad[i];
    }
    report("ns_per_packet", ns);
    report("mpps", mpps);
    report("quiet", quiet);
    return bad;
}

uint64_t
workload_established(const struct cell *cell)
{
    return run(cell, ESTABLISHED);
}

uint64_t
workload_shared(const struct cell *cell)
{
    return run(cell, SHARED);
}

uint64_t
workload_second(const struct cell *cell)
{
    return run(cell, SECOND);
}

uint64_t
workload_miss(const struct cell *cell)
{
    return run(cell, MISS);
}
