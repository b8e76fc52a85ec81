/* This library as an engine, through its public header like any other user.
 *
 * A packet's descriptor is zeroed and filled when it is received: where it lies, its offsets, the
 * checksums that the card verified. The default profile is that of Open vSwitch. */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "ctoffload.h"
#include "engine.h"

const char engine_name[] = "ctoffload";

enum {
    ETHERNET = 14,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    SWEEP_BUDGET = 4096,  /* records: some microseconds */
    SWEEP_INTERVAL_MS = 10,
    EPOCH_MS = 1000000,
};

struct engine {
    struct conntrack *tracker;
};

struct lane {
    struct ct_packet packets[BATCH];
    struct conntrack *tracker;
};

static void
must(int error, const char *what)
{
    if (error) {
        errx(1, "%s: %s", what, ct_last_error());
    }
}

struct engine *
engine_create(uint32_t limit)
{
    struct ct_config config = { .size = sizeof config, .max_connections = limit };
    struct engine *engine = malloc(sizeof *engine);

    must(conntrack_create(&config, &engine->tracker), "conntrack_create");
    return engine;
}

long long
engine_epoch(const struct engine *engine)
{
    (void) engine;
    return EPOCH_MS;
}

struct lane *
engine_lane(struct engine *engine)
{
    struct lane *lane = aligned_alloc(64, (sizeof *lane + 63) / 64 * 64);

    memset(lane, 0, sizeof *lane);
    lane->tracker = engine->tracker;
    return lane;
}

void
engine_load(struct lane *lane, unsigned slot, void *frame, uint16_t length, enum family family)
{
    struct ct_packet *packet = &lane->packets[slot];

    memset(packet, 0, sizeof *packet);
    packet->data = frame;
    packet->length = length;
    packet->flags = CT_PACKET_IP_CSUM_GOOD | CT_PACKET_L4_CSUM_GOOD;
    packet->l3_offset = ETHERNET;
    packet->l4_offset = ETHERNET + (family == IPV4 ? IPV4_HEADER : IPV6_HEADER);
    packet->in_port = 1;
}

void
engine_execute(struct lane *lane, unsigned n, const struct request *request, long long now_ms)
{
    struct ct_action action = {
        .size = sizeof action,
        .flags = request->commit ? CT_ACTION_COMMIT : 0,
        .zone = request->zone,
    };

    must(conntrack_execute(lane->tracker, lane->packets, n, &action, now_ms),
         "conntrack_execute");
}

uint8_t
engine_state(const struct lane *lane, unsigned slot)
{
    return (uint8_t) lane->packets[slot].ct_state;
}

void
engine_rest(void)
{
}

void
engine_settle(void)
{
}

struct swept
engine_sweep(struct engine *engine, long long now_ms)
{
    struct ct_sweep sweep = { .size = sizeof sweep };

    must(conntrack_sweep(engine->tracker, now_ms, SWEEP_BUDGET, &sweep), "conntrack_sweep");
    return (struct swept) {
        .complete = sweep.complete,
        .next_ms = sweep.complete ? now_ms + SWEEP_INTERVAL_MS : now_ms,
    };
}

void
engine_flush_zone(struct engine *engine, uint16_t zone, long long now_ms)
{
    (void) now_ms;
    must(conntrack_flush(engine->tracker, &zone), "conntrack_flush");
}

size_t
engine_dump(struct engine *engine, long long now_ms)
{
    struct ct_dump dump = { .size = sizeof dump };
    struct ct_connection connection = { .size = sizeof connection };
    size_t n = 0;

    must(conntrack_dump_start(engine->tracker, NULL, &dump), "conntrack_dump_start");
    while (!conntrack_dump_next(engine->tracker, &dump, now_ms, &connection)) {
        n++;
    }
    return n;
}

uint32_t
engine_count(struct engine *engine)
{
    uint32_t n;

    must(conntrack_get_nconns(engine->tracker, &n), "conntrack_get_nconns");
    return n;
}
