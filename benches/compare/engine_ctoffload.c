/* This library as an engine, through its public header like any other user.
 *
 * A packet's descriptor is zeroed and filled when it is received: where it lies, its offsets, the
 * checksums that the card verified. The default profile is that of Open vSwitch. */
#include <arpa/inet.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "engine_ctoffload.h"

const char engine_name[] = "ctoffload";

enum {
    ETHERNET = 14,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    SWEEP_BUDGET = 4096,  /* records: some microseconds */
    SWEEP_INTERVAL_MS = 10,
    EPOCH_MS = 1000000,
};

void
engine_must(int error, const char *what)
{
    if (error) {
        errx(1, "%s: %s", what, ct_last_error());
    }
}

struct engine *
engine_create(uint32_t limit)
{
    /* PREPARED=1 in the environment: memory for all connections is made ready here, and not as they
     * come. Open vSwitch has nothing like it, so the comparison leaves it out. */
    struct ct_config config = {
        .size = sizeof config,
        .max_connections = limit,
        .initial_connections = getenv("PREPARED") ? limit : 0,
    };
    struct engine *engine = malloc(sizeof *engine);

    engine_must(conntrack_create(&config, &engine->tracker), "conntrack_create");
    return engine;
}

long long
engine_epoch(const struct engine *engine)
{
    (void) engine;
    return EPOCH_MS;
}

bool
engine_drop_early(struct engine *engine)
{
    engine_must(conntrack_set_option(engine->tracker, CT_OPTION_EARLY_DROP, 1), "conntrack_set_option");
    return true;
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

static struct ct_nat
nat_of(const struct translation *translation)
{
    struct ct_nat nat = { .flags = 0 };

    if (translation->choose) {
        uint32_t first = htonl(translation->first), last = htonl(translation->last);

        nat.flags = CT_NAT_SRC;
        nat.ip_version = 4;
        memcpy(nat.src.min_address, &first, sizeof first);
        memcpy(nat.src.max_address, &last, sizeof last);
        nat.src.min_port = translation->low;
        nat.src.max_port = translation->high;
    }
    return nat;
}

void
engine_execute(struct lane *lane, unsigned n, const struct request *request, long long now_ms)
{
    struct ct_action action = {
        .size = sizeof action,
        .flags = (request->commit ? CT_ACTION_COMMIT : 0) | (request->nat ? CT_ACTION_NAT : 0),
        .zone = request->zone,
    };

    if (request->nat) {
        action.nat = nat_of(request->nat);
    }
    engine_must(conntrack_execute(lane->tracker, lane->packets, n, &action, now_ms),
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

    engine_must(conntrack_sweep(engine->tracker, now_ms, SWEEP_BUDGET, &sweep), "conntrack_sweep");
    return (struct swept) {
        .complete = sweep.complete,
        .next_ms = sweep.complete ? now_ms + SWEEP_INTERVAL_MS : now_ms,
    };
}

void
engine_flush_zone(struct engine *engine, uint16_t zone, long long now_ms)
{
    (void) now_ms;
    engine_must(conntrack_flush(engine->tracker, &zone), "conntrack_flush");
}

size_t
engine_dump(struct engine *engine, long long now_ms)
{
    struct ct_dump dump = { .size = sizeof dump };
    struct ct_connection connection = { .size = sizeof connection };
    size_t n = 0;

    engine_must(conntrack_dump_start(engine->tracker, NULL, &dump), "conntrack_dump_start");
    while (!conntrack_dump_next(engine->tracker, &dump, now_ms, &connection)) {
        n++;
    }
    return n;
}

uint32_t
engine_count(struct engine *engine)
{
    uint32_t n;

    engine_must(conntrack_get_nconns(engine->tracker, &n), "conntrack_get_nconns");
    return n;
}
