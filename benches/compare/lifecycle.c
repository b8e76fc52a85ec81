/* Connections that come and go.
 *
 * Set-up opens connections in an empty table that grows as it fills, and looks afterwards whether
 * every one of them is there. Churn opens each, sends data
 * both ways and closes it, eight packets, while time advances so that a steady number of closed ones
 * waits for its expiry; each engine sweeps when it says it would, and the sweep is part of the price
 * of a packet. */
#include <stdlib.h>

#include "team.h"
#include "traffic.h"
#include "workload.h"

struct lifecycle {
    const struct cell *cell;
    struct engine *engine;
    struct flows flows;
    struct tally *all;
    struct tally *first_packet;
    uint64_t *bad;
};

/* Puts one packet of each of BATCH flows into a batch of the ring. */
typedef struct packet packet_maker(struct flows *, uint32_t flow, unsigned step, uint8_t *state);

static void
put_group(struct worker *worker, struct flows *flows, uint32_t first, unsigned batch,
          unsigned steps, packet_maker *make)
{
    for (unsigned step = 0; step < steps; step++) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint8_t state;
            struct packet packet = make(flows, first + i, step, &state);

            worker_put(worker, (batch + step) * BATCH + i, &packet, state);
        }
    }
}

/* Sends a packet of each connection that was opened; a lost one gets a wrong verdict. */
static void
check_all(struct worker *worker, struct flows *flows, uint32_t first, uint32_t count)
{
    struct request request = flows_request(flows, false);

    for (uint32_t done = 0; done + BATCH <= count; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint8_t state;
            struct packet packet = flows_bare_packet(flows, first + done + i, ORIGINAL, &state);

            worker_put(worker, i, &packet, state);
        }
        worker_send(worker, 0, &request);
        engine_rest();
    }
}

static void
setup_member(struct team *team, unsigned number, void *context)
{
    struct lifecycle *life = context;
    struct worker *worker = worker_new(life->engine, number, life->cell->headers);
    struct request request = flows_request(&life->flows, true);
    unsigned steps = flows_opening(&life->flows);
    unsigned groups = RING / steps;
    uint32_t each = life->flows.count / life->cell->threads;
    uint32_t first = each * number;
    uint32_t done = 0;

    team_meet(team);
    for (; done + groups * BATCH <= each; done += groups * BATCH) {
        uint64_t ticks = 0, opening = 0;

        for (unsigned group = 0; group < groups; group++) {
            put_group(worker, &life->flows, first + done + group * BATCH, group * steps, steps,
                      flows_open_packet);
        }
        worker_ready(worker);
        worker->now++;

        struct window window = window_open();
        for (unsigned batch = 0; batch < groups * steps; batch++) {
            uint64_t once = worker_send(worker, batch, &request);

            ticks += once;
            opening += batch % steps == 0 ? once : 0;
        }
        bool undisturbed = window_undisturbed(&window);
        tally_add(&life->all[number], ticks, groups * BATCH, undisturbed);
        tally_add(&life->first_packet[number], opening, groups * BATCH, undisturbed);
        engine_rest();
    }
    team_meet(team);
    check_all(worker, &life->flows, first, done);
    life->bad[number] = worker->bad;
    team_meet(team);
}

static struct packet
churn_packet(struct flows *flows, uint32_t flow, unsigned step, uint8_t *state)
{
    static const enum direction directions[] = {
        ORIGINAL, REPLY, ORIGINAL, ORIGINAL, REPLY, ORIGINAL, REPLY, ORIGINAL,
    };
    enum direction direction = directions[step];
    struct packet packet;

    if (step < 3) {
        return flows_open_packet(flows, flow, step, state);
    }
    if (step < 5) {
        return flows_data_packet(flows, flow, direction, state);
    }
    packet = flows_bare_packet(flows, flow, direction, state);
    if (step < 7) {
        packet.flags |= FIN;
        flows->next[flow][direction]++;
    }
    return packet;
}

enum {
    CHURN_STEPS = 8,
    CHURN_GROUPS = RING / CHURN_STEPS,
    CHURN_PER_MS = 3, /* connections opened per millisecond of the engine's time */
};

static void
churn_member(struct team *team, unsigned number, void *context)
{
    struct lifecycle *life = context;
    struct worker *worker = worker_new(life->engine, number, life->cell->headers);
    struct request request = flows_request(&life->flows, true);
    long long next_sweep = worker->now;

    team_meet(team);
    for (uint32_t first = 0; first + CHURN_GROUPS * BATCH <= life->flows.count;
         first += CHURN_GROUPS * BATCH) {
        uint64_t ticks = 0;

        for (unsigned group = 0; group < CHURN_GROUPS; group++) {
            put_group(worker, &life->flows, first + group * BATCH, group * CHURN_STEPS,
                      CHURN_STEPS, churn_packet);
        }
        worker_ready(worker);
        worker->now += CHURN_GROUPS * BATCH / CHURN_PER_MS;

        struct window window = window_open();
        for (unsigned batch = 0; batch < RING; batch++) {
            ticks += worker_send(worker, batch, &request);
        }
        if (worker->now >= next_sweep) {
            uint64_t from = ticks_before();

            next_sweep = engine_sweep(life->engine, worker->now).next_ms;
            ticks += ticks_after() - from;
        }
        tally_add(&life->all[number], ticks, CHURN_GROUPS * BATCH, window_undisturbed(&window));
        engine_rest();
    }
    life->bad[number] = worker->bad;
    team_meet(team);
}

static uint64_t
run(const struct cell *cell, void (*member)(struct team *, unsigned, void *))
{
    struct lifecycle life = {
        .cell = cell,
        .engine = engine_create(cell->connections * 2 + 1024),
        .flows = flows_new(cell->connections, NEWCOMER, cell->family, cell->transport, 1),
        .all = calloc(cell->threads, sizeof(struct tally)),
        .first_packet = calloc(cell->threads, sizeof(struct tally)),
        .bad = calloc(cell->threads, sizeof(uint64_t)),
    };
    double ns = 0, first = 0, rate = 0, quiet = 0;
    uint64_t bad = 0;

    team_run(cell->threads, member, &life);
    for (unsigned i = 0; i < cell->threads; i++) {
        double each = tally_ns(&life.all[i]);

        ns += each / cell->threads;
        rate += 1000 / each;
        quiet += tally_quiet(&life.all[i]) / cell->threads;
        bad += life.bad[i];
        if (life.first_packet[i].units[0] + life.first_packet[i].units[1]) {
            first += tally_ns(&life.first_packet[i]) / cell->threads;
        }
    }
    report("ns_per_connection", ns);
    report("million_connections_per_second", rate);
    report("ns_first_packet", first);
    report("quiet", quiet);
    return bad;
}

uint64_t
workload_setup(const struct cell *cell)
{
    return run(cell, setup_member);
}

uint64_t
workload_churn(const struct cell *cell)
{
    return run(cell, churn_member);
}
