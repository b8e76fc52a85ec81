/* Open vSwitch's userspace connection tracker as an engine.
 *
 * The tracker's own source file is compiled as part of this one, out of the unpacked Debian source
 * package, because the function that expires connections is private to it: called from here, its
 * cost is measured on the same clock as the other engine's, and not inside a thread that sleeps. The
 * code that runs is Open vSwitch's, unchanged.
 *
 * The descriptor is a dp_packet as a netdev hands it over: metadata just initialised, layer offsets
 * as flow extraction leaves them, receive checksum flags good. */
#include <config.h>

#include "conntrack.c"

#include "dp-packet.h"
#include "engine.h"
#include "openvswitch/vlog.h"
#include "timeval.h"

const char engine_name[] = "ovs";

const struct workload engine_workloads[] = { { NULL, NULL } };

struct engine {
    struct conntrack *tracker;
    long long epoch;
};

struct lane {
    struct dp_packet_batch batch;
    struct dp_packet packets[BATCH];
    struct conntrack *tracker;
};

struct engine *
engine_create(uint32_t limit)
{
    struct engine *engine = xmalloc(sizeof *engine);

    vlog_set_levels(NULL, VLF_CONSOLE, VLL_OFF);
    engine->tracker = conntrack_init();
    engine->epoch = time_msec();
    conntrack_set_maxconns(engine->tracker, limit);
    latch_set(&engine->tracker->clean_thread_exit);
    pthread_join(engine->tracker->clean_thread, NULL);
    ovsrcu_quiesce_start();
    return engine;
}

long long
engine_epoch(const struct engine *engine)
{
    return engine->epoch;
}

/* Its limit refuses. */
bool
engine_drop_early(struct engine *engine OVS_UNUSED)
{
    return false;
}

struct lane *
engine_lane(struct engine *engine)
{
    struct lane *lane = xmalloc_cacheline(sizeof *lane);

    memset(lane, 0, sizeof *lane);
    lane->tracker = engine->tracker;
    dp_packet_batch_init(&lane->batch);
    return lane;
}

void
engine_load(struct lane *lane, unsigned slot, void *frame, uint16_t length, enum family family)
{
    struct dp_packet *packet = &lane->packets[slot];
    uint16_t l4 = ETH_HEADER_LEN + (family == IPV4 ? IP_HEADER_LEN : IPV6_HEADER_LEN);

    dp_packet_use_const(packet, frame, length);
    packet->packet_type = htonl(PT_ETH);
    packet->l3_ofs = ETH_HEADER_LEN;
    packet->l4_ofs = l4;
    *dp_packet_ol_flags_ptr(packet) =
        DP_PACKET_OL_RX_IP_CKSUM_GOOD | DP_PACKET_OL_RX_L4_CKSUM_GOOD;
    pkt_metadata_init(&packet->md, ODP_PORT_C(1));
    lane->batch.packets[slot] = packet;
}

/* As dpif-netdev makes it of an action. */
static struct nat_action_info_t
nat_of(const struct translation *translation)
{
    struct nat_action_info_t nat = { .nat_action = 0 };

    if (translation->choose) {
        nat.nat_action = NAT_ACTION_SRC | (translation->low ? NAT_ACTION_SRC_PORT : 0);
        nat.min_addr.ipv4 = htonl(translation->first);
        nat.max_addr.ipv4 = htonl(translation->last);
        nat.min_port = translation->low;
        nat.max_port = translation->high;
    }
    return nat;
}

void
engine_execute(struct lane *lane, unsigned n, const struct request *request, long long now_ms)
{
    struct nat_action_info_t nat;

    if (request->nat) {
        nat = nat_of(request->nat);
    }
    lane->batch.count = n;
    conntrack_execute(lane->tracker, &lane->batch,
                      htons(request->family == IPV4 ? ETH_TYPE_IP : ETH_TYPE_IPV6),
                      false, request->commit, request->zone, NULL, NULL, 0, 0, NULL,
                      request->nat ? &nat : NULL, now_ms, DEFAULT_TP_ID);
}

uint8_t
engine_state(const struct lane *lane, unsigned slot)
{
    return lane->packets[slot].md.ct_state;
}

void
engine_rest(void)
{
    ovsrcu_quiesce();
}

void
engine_settle(void)
{
    ovsrcu_quiesce();
    ovsrcu_barrier();
}

struct swept
engine_sweep(struct engine *engine, long long now_ms)
{
    long long wake = conntrack_clean(engine->tracker, now_ms);
    bool complete = wake != 0;

    return (struct swept) {
        .complete = complete,
        .next_ms = complete ? wake : now_ms + CT_CLEAN_MIN_INTERVAL_MS,
    };
}

void
engine_flush_zone(struct engine *engine, uint16_t zone, long long now_ms OVS_UNUSED)
{
    conntrack_flush(engine->tracker, &zone);
}

size_t
engine_dump(struct engine *engine, long long now_ms OVS_UNUSED)
{
    struct conntrack_dump dump;
    struct ct_dpif_entry entry;
    int buckets;
    size_t n = 0;

    conntrack_dump_start(engine->tracker, &dump, NULL, &buckets);
    while (!conntrack_dump_next(&dump, &entry)) {
        ct_dpif_entry_uninit(&entry);
        n++;
    }
    conntrack_dump_done(&dump);
    return n;
}

uint32_t
engine_count(struct engine *engine)
{
    uint32_t n;

    conntrack_get_nconns(engine->tracker, &n);
    return n;
}
