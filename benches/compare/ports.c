/* SNAT into a range of ports that is nearly used up.
 *
 * All clients are translated to one address with 64,512 ports, for each of as many servers as it takes
 * to make CONNECTIONS the number of all ports there are. The ranges are filled to just below a mark, and
 * the first packets of the next hundredth are timed: at 10, 90 and 99 percent. A connection for which the
 * engine found no port counts as a try, and how many those were is reported: an engine that gives up
 * early is fast. */
#include <stdio.h>

#include "team.h"
#include "traffic.h"
#include "workload.h"

enum { LOW = 1024, HIGH = 65535, PORTS = HIGH - LOW + 1 };

static const struct translation one_address = {
    .choose = true, .first = 0xcb007101, .last = 0xcb007101, .low = LOW, .high = HIGH,
};

struct ports {
    const struct cell *cell;
    struct engine *engine;
    struct flows flows;
    uint32_t servers;
    uint32_t opened; /* connections that have a port */
    uint32_t tried;
    uint64_t bad;
};

/* Tries one batch of new connections; the ticks that it took. */
static uint64_t
open_batch(struct ports *ports, struct worker *worker, bool cold)
{
    struct request request = flows_request(&ports->flows, true);
    uint64_t ticks;

    for (unsigned i = 0; i < BATCH; i++) {
        uint8_t state;
        struct packet packet =
            flows_open_packet(&ports->flows, ports->tried + i, 0, &state);

        packet.servers = ports->servers;
        worker_put(worker, i, &packet, state);
    }
    if (cold) {
        worker_ready(worker);
    }
    ticks = worker_try(worker, BATCH, &request);
    for (unsigned i = 0; i < BATCH; i++) {
        uint8_t state = engine_state(worker->lane, i);

        ports->opened += (state & STATE_SRC_NAT) != 0;
        worker->bad += (state | STATE_SRC_NAT) != (STATE_TRK | STATE_NEW | STATE_SRC_NAT);
    }
    ports->tried += BATCH;
    engine_rest();
    return ticks;
}

/* More tries are left. An engine that gives up may not reach a mark. */
static bool
may_try(const struct ports *ports)
{
    return ports->tried + BATCH <= ports->flows.count;
}

static void
measure_at(struct ports *ports, struct worker *worker, unsigned percent)
{
    uint32_t all = ports->servers * PORTS;
    uint32_t from = (uint32_t) ((uint64_t) all * percent / 100 - all / 200);
    uint32_t to = from + all / 100;
    struct tally tally = { .ticks = { 0 }, .units = { 0 } };
    char metric[64];

    while (ports->opened < from && may_try(ports)) {
        open_batch(ports, worker, false);
    }
    uint32_t opened = ports->opened, tried = ports->tried;
    while (ports->opened < to && may_try(ports)) {
        struct window window = window_open();
        uint64_t ticks = open_batch(ports, worker, true);

        tally_add(&tally, ticks, BATCH, window_undisturbed(&window));
    }
    tried = ports->tried - tried;
    opened = ports->opened - opened;
    snprintf(metric, sizeof metric, "ns_at_%u", percent);
    report(metric, tried ? tally_ns(&tally) : 0);
    snprintf(metric, sizeof metric, "gave_up_percent_at_%u", percent);
    report(metric, tried ? 100.0 * (tried - opened) / tried : 0);
}

static void
member(struct team *team, unsigned number, void *context)
{
    static const unsigned marks[] = { 10, 90, 99 };
    struct ports *ports = context;
    struct worker *worker = worker_new(ports->engine, number, ports->cell->headers);

    (void) team;
    for (unsigned i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        measure_at(ports, worker, marks[i]);
    }
    ports->bad = worker->bad;
}

uint64_t
workload_ports(const struct cell *cell)
{
    uint32_t servers = cell->connections < PORTS ? 1 : cell->connections / PORTS;
    struct ports ports = {
        .cell = cell,
        .servers = servers,
        .engine = engine_create(2 * servers * PORTS),
        .flows = flows_new(2 * servers * PORTS, NEWCOMER, cell->family, cell->transport, 1),
    };

    flows_translate(&ports.flows, &one_address);
    team_run(1, member, &ports);
    return ports.bad;
}
