/* What this engine has beside the tracker, and Open vSwitch's library has not: the flow table, in which
 * established packets are looked up instead of being tracked, and the cache of merged flows.
 *
 * Both are measured with the packets of the workload "established", and with the same packets by way of
 * the tracker in the same process. Merged flows are those of a pipeline of three zones: three ct()
 * actions, recirculation between them. What it costs without the cache is the tracker's part alone: the
 * datapath's own tables, which a cache saves as well, are not there. */
#include <string.h>

#include "engine_ctoffload.h"
#include "team.h"
#include "traffic.h"
#include "workload.h"

enum { RINGS = 256, WARM_UP = 16, ZONES = 3 };

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
track(struct worker *worker, struct ct_packet *packet, unsigned n, uint16_t zone)
{
    struct ct_action action = { .size = sizeof action, .zone = zone };

    engine_must(conntrack_execute(worker->lane->tracker, packet, n, &action, worker->now),
                "conntrack_execute");
}

static void
by_tracker(struct fastpath *fast, struct worker *worker)
{
    track(worker, worker->lane->packets, BATCH, fast->flows.zone);
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
            track(worker, &packets[i], 1, fast->flows.zone);
        }
    }
    fast->found += found;
}

static void
by_three_zones(struct fastpath *fast, struct worker *worker)
{
    (void) fast;
    for (uint16_t zone = 1; zone <= ZONES; zone++) {
        track(worker, worker->lane->packets, BATCH, zone);
    }
}

/* The filters that a packet meets are named by the number of passes before it, from one on. */
static void
by_cache(struct fastpath *fast, struct worker *worker)
{
    struct ct_packet *packets = worker->lane->packets;
    struct conntrack *tracker = worker->lane->tracker;
    const struct ct_merged_flow *flows[BATCH] = { NULL };
    uint64_t visit;

    for (unsigned i = 0; i < BATCH; i++) {
        packets[i].trace = &fast->traces[i];
    }
    engine_must(ct_fastpath_lookup(tracker, packets, NULL, BATCH, worker->now, flows, &visit),
                "ct_fastpath_lookup");
    engine_must(ct_fastpath_done(tracker, &visit), "ct_fastpath_done");
    for (unsigned i = 0; i < BATCH; i++) {
        if (flows[i]) {
            fast->found++;
            continue;
        }
        for (uint16_t zone = 1; zone <= ZONES; zone++) {
            ct_trace_filter(packets[i].trace, zone);
            track(worker, &packets[i], 1, zone);
        }
        ct_trace_filter(packets[i].trace, ZONES + 1);
        engine_must(ct_trace_end(tracker, packets[i].trace), "ct_trace_end");
    }
}

static struct ct_field_match
match(uint32_t field, uint8_t value, uint8_t mask)
{
    struct ct_field_match match = { .field = field };

    match.value[15] = value;
    match.mask[15] = mask;
    return match;
}

/* Every filter but the first is for packets of established connections. */
static void
tell_filters(struct conntrack *tracker)
{
    for (uint8_t chain = 0; chain <= ZONES; chain++) {
        struct ct_action action = { .size = sizeof action, .zone = chain + 1u };
        struct ct_field_match matches[] = {
            match(CT_FIELD_RECIRCULATION, chain, 0xff),
            match(CT_FIELD_CT_STATE, CT_STATE_ESTABLISHED, CT_STATE_ESTABLISHED),
        };
        struct ct_flow_action actions[] = {
            { .kind = chain < ZONES ? CT_FLOW_CT : CT_FLOW_OUTPUT,
              .number = chain < ZONES ? 0 : 2,
              .ct = chain < ZONES ? &action : NULL },
            { .kind = CT_FLOW_RECIRCULATE, .number = chain + 1u },
        };
        struct ct_flow_filter filter = {
            .size = sizeof filter,
            .cookie = chain + 1u,
            .matches = matches,
            .n_matches = chain ? 2 : 1,
            .actions = actions,
            .n_actions = chain < ZONES ? 2 : 1,
        };

        engine_must(ct_flow_filter_add(tracker, &filter), "ct_flow_filter_add");
    }
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
    struct ct_fastpath_config config = {
        .size = sizeof config,
        .flows = 2 * fast->flows.count,
        .traces = 2 * fast->flows.count,
    };

    (void) team;
    for (fast->flows.zone = 1; fast->flows.zone <= ZONES; fast->flows.zone++) {
        worker_open(worker, &fast->flows, 0, fast->flows.count);
    }
    report("tracked_ns_per_packet", measure(fast, worker, by_three_zones));
    engine_must(ct_fastpath_enable(tracker, &config), "ct_fastpath_enable");
    tell_filters(tracker);
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
