/*
 * Packets: an instance of the library, and the way of a packet there and back. Nothing is decided here.
 * A dp_packet is described to the library where it lies, up to 32 of them per call, and what the library
 * says of it is written to its metadata. The metadata has one word for the tracker's own use, a pointer;
 * it holds the connection's id, which needs no reference and is harmless when the connection is gone.
 */

#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "coverage.h"
#include "dp-packet.h"
#include "odp-netlink.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"

#include "checksums.h"
#include "library.h"

VLOG_DEFINE_THIS_MODULE(conntrack_engine);

/* The names of Open vSwitch's own tracker: its users and its tests look for them. */
COVERAGE_DEFINE(conntrack_full);
COVERAGE_DEFINE(conntrack_l3csum_err);
COVERAGE_DEFINE(conntrack_l4csum_err);
COVERAGE_DEFINE(conntrack_lookup_natted_miss);
#if OVS_VERSION >= 305
COVERAGE_DEFINE(conntrack_zone_full);
#endif
COVERAGE_DEFINE(conntrack_tcp_seq_chk_bypass);
COVERAGE_DEFINE(conntrack_tcp_seq_chk_failed);
COVERAGE_DEFINE(conntrack_invalid_tcp_flags);

/* Room for these is made with the instance: memory that is touched for the first time would have the first
 * packet of a daemon wait, for tens of milliseconds on a virtual machine. */
#define INITIAL_CONNECTIONS 4096

/* By how much a helper may lengthen a packet: an address and a port of IPv6, in words. */
#define GROWTH 64

#define FTP_PORT 21

BUILD_ASSERT_DECL(CS_NEW == CT_STATE_NEW);
BUILD_ASSERT_DECL(CS_ESTABLISHED == CT_STATE_ESTABLISHED);
BUILD_ASSERT_DECL(CS_RELATED == CT_STATE_RELATED);
BUILD_ASSERT_DECL(CS_REPLY_DIR == CT_STATE_REPLY_DIR);
BUILD_ASSERT_DECL(CS_INVALID == CT_STATE_INVALID);
BUILD_ASSERT_DECL(CS_TRACKED == CT_STATE_TRACKED);
BUILD_ASSERT_DECL(CS_SRC_NAT == CT_STATE_SRC_NAT);
BUILD_ASSERT_DECL(CS_DST_NAT == CT_STATE_DST_NAT);
BUILD_ASSERT_DECL(sizeof(struct conn *) >= sizeof(uint64_t));

/* What the library's reasons mean to Open vSwitch. */
enum meaning {
    NOTHING,
    BAD_IP_CHECKSUM,
    BAD_L4_CHECKSUM,
    BAD_TCP_FLAGS,
    BAD_TCP_SEQUENCE,
    FULL,
    ZONE_FULL,
    NAT_EXHAUSTED,
    DATAGRAM_TOO_LONG,
    FRAGMENT_EXPIRED,
};

/* --- instances ---------------------------------------------------------------------------------- */

static enum meaning
meaning_of(const char *reason)
{
    static const struct {
        const char *reason;
        enum meaning meaning;
    } table[] = {
        { "IpChecksum", BAD_IP_CHECKSUM },
        { "L4Checksum", BAD_L4_CHECKSUM },
        { "TcpFlags", BAD_TCP_FLAGS },
        { "TcpAboveWindow", BAD_TCP_SEQUENCE },
        { "TcpBelowWindow", BAD_TCP_SEQUENCE },
        { "TcpAckAboveData", BAD_TCP_SEQUENCE },
        { "TcpAckTooOld", BAD_TCP_SEQUENCE },
        { "TcpResetSequence", BAD_TCP_SEQUENCE },
        { "TableFull", FULL },
        { "ZoneLimit", ZONE_FULL },
        { "NatExhausted", NAT_EXHAUSTED },
        { "DatagramTooLong", DATAGRAM_TOO_LONG },
        { "FragmentExpired", FRAGMENT_EXPIRED },
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (!strcmp(reason, table[i].reason)) {
            return table[i].meaning;
        }
    }
    return NOTHING;
}

int
engine_create(struct engine **engine_)
{
    const struct ct_config config = {
        .size = sizeof config,
        .profile = CT_PROFILE_OVS,
        .initial_connections = INITIAL_CONNECTIONS,
    };
    struct engine *engine = xzalloc(sizeof *engine);
    int error = conntrack_create(&config, &engine->tracker);

    if (error) {
        VLOG_ERR("%s", ct_last_error());
        free(engine);
        return error;
    }
    for (int reason = 0; reason <= UINT8_MAX; reason++) {
        engine->meanings[reason] = meaning_of(ct_reason_name(reason));
    }
    ovs_mutex_init(&engine->mutex);
    engine->reassembly = reassembly_create(engine);
    engine->offload = engine_offload_create(engine, time_msec());
    VLOG_DBG("connections are tracked by libctoffload %s", ct_version());
    *engine_ = engine;
    return 0;
}

void
engine_destroy(struct engine *engine)
{
    engine_offload_unlist(engine->offload);
    conntrack_destroy(engine->tracker);
    reassembly_destroy(engine->reassembly);
    engine_offload_destroy(engine->offload);
    ovs_mutex_destroy(&engine->mutex);
    free(engine);
}

/* Counters that the library keeps for all packets at once. */
static void
report_statistics(struct engine *engine)
    OVS_REQUIRES(engine->mutex)
{
    struct ct_stats now = { .size = sizeof now };

    if (!conntrack_get_stats(engine->tracker, &now)) {
        COVERAGE_ADD(conntrack_lookup_natted_miss,
                     now.lookup_natted_miss - engine->reported.lookup_natted_miss);
        COVERAGE_ADD(conntrack_tcp_seq_chk_bypass,
                     now.tcp_seq_chk_bypass - engine->reported.tcp_seq_chk_bypass);
        engine->reported = now;
    }
}

void
engine_sweep(struct engine *engine, long long now)
{
    ovs_mutex_lock(&engine->mutex);
    conntrack_sweep(engine->tracker, now, 0, NULL);
    report_statistics(engine);
    reassembly_run(engine->reassembly, now);
    engine_offload_run(engine->offload, now);
    ovs_mutex_unlock(&engine->mutex);
}

/* --- original tuples ---------------------------------------------------------------------------- */

/* A packet's original tuple has ICMP's type and code in the place of ports, and no identifier. */
static void
original_to_library(struct ct_tuple *to, const struct pkt_metadata *md)
{
    ovs_be16 src_port, dst_port;

    memset(to, 0, sizeof *to);
    if (md->ct_orig_tuple_ipv6) {
        const struct ovs_key_ct_tuple_ipv6 *from = &md->ct_orig_tuple.ipv6;

        memcpy(to->src, &from->ipv6_src, sizeof from->ipv6_src);
        memcpy(to->dst, &from->ipv6_dst, sizeof from->ipv6_dst);
        to->protocol = from->ipv6_proto;
        src_port = from->src_port;
        dst_port = from->dst_port;
        to->ip_version = to->protocol ? 6 : 0;
    } else {
        const struct ovs_key_ct_tuple_ipv4 *from = &md->ct_orig_tuple.ipv4;

        memcpy(to->src, &from->ipv4_src, sizeof from->ipv4_src);
        memcpy(to->dst, &from->ipv4_dst, sizeof from->ipv4_dst);
        to->protocol = from->ipv4_proto;
        src_port = from->src_port;
        dst_port = from->dst_port;
        to->ip_version = to->protocol ? 4 : 0;
    }
    to->zone = md->ct_zone;
    if (is_icmp(to->protocol)) {
        to->icmp_type = ntohs(src_port);
        to->icmp_code = ntohs(dst_port);
    } else {
        to->src_port = ntohs(src_port);
        to->dst_port = ntohs(dst_port);
    }
}

static void
original_from_library(struct pkt_metadata *md, const struct ct_tuple *from)
{
    ovs_be16 src_port = htons(is_icmp(from->protocol) ? from->icmp_type : from->src_port);
    ovs_be16 dst_port = htons(is_icmp(from->protocol) ? from->icmp_code : from->dst_port);

    md->ct_orig_tuple_ipv6 = from->ip_version == 6;
    if (from->ip_version == 6) {
        struct ovs_key_ct_tuple_ipv6 *to = &md->ct_orig_tuple.ipv6;

        memcpy(&to->ipv6_src, from->src, sizeof to->ipv6_src);
        memcpy(&to->ipv6_dst, from->dst, sizeof to->ipv6_dst);
        to->src_port = src_port;
        to->dst_port = dst_port;
        to->ipv6_proto = from->protocol;
    } else if (from->ip_version == 4) {
        struct ovs_key_ct_tuple_ipv4 *to = &md->ct_orig_tuple.ipv4;

        memcpy(&to->ipv4_src, from->src, sizeof to->ipv4_src);
        memcpy(&to->ipv4_dst, from->dst, sizeof to->ipv4_dst);
        to->src_port = src_port;
        to->dst_port = dst_port;
        to->ipv4_proto = from->protocol;
    } else {
        memset(&md->ct_orig_tuple, 0, sizeof md->ct_orig_tuple);
    }
}

/* --- packets ------------------------------------------------------------------------------------ */

#if OVS_VERSION >= 400
/* It carries its connection, and the library does not parse it. */
static bool
is_cached(const struct dp_packet *packet, const struct engine_action *action)
{
    return packet->md.ct_state && packet->md.conn && packet->md.ct_zone == action->zone;
}
#endif

/* A control channel of FTP: its packets may grow when addresses in them are translated. */
static bool
may_grow(const struct dp_packet *packet, const struct engine_action *action)
{
    const struct tcp_header *tcp = dp_packet_l4(packet);

    return dp_packet_l4_size(packet) > TCP_HEADER_LEN
           && (action->helper || tcp->tcp_src == htons(FTP_PORT)
               || tcp->tcp_dst == htons(FTP_PORT));
}

/* Only what the library reads: mark and label of an earlier pass are the connection's, and an original tuple
 * is looked at for a packet that was translated. */
static void
describe(struct ct_packet *to, struct ct_tuple *original, struct engine *engine,
         struct dp_packet *packet, const struct engine_action *action)
{
    const struct pkt_metadata *md = &packet->md;

    memset(to, 0, offsetof(struct ct_packet, connection));
    to->in_port = odp_to_u32(md->in_port.odp_port);
    to->orig_tuple = original;
    /* Without a transport header there is nothing to track, which an empty packet says. */
    if (OVS_LIKELY(packet->l3_ofs != UINT16_MAX && packet->l4_ofs != UINT16_MAX)) {
        char *data = dp_packet_data(packet);

        if (OVS_UNLIKELY(may_be_fragment(data + packet->l3_ofs))) {
            struct fragment *fragment = reassembly_note(engine->reassembly, packet, action);

            to->cookie = (uintptr_t) fragment;
            to->orig_tuple = reassembly_original(fragment);
        }
        if (action->nat) {
            if (OVS_UNLIKELY(packet->source == DPBUF_MALLOC && may_grow(packet, action))) {
                dp_packet_prealloc_tailroom(packet, GROWTH);
            }
            to->tailroom = dp_packet_tailroom(packet) + dp_packet_l2_pad_size(packet);
            data = dp_packet_data(packet);
        }
        to->data = (void *) data;
        to->length = dp_packet_size(packet) - dp_packet_l2_pad_size(packet);
        to->flags = checksums(packet);
        to->l3_offset = packet->l3_ofs;
        to->l4_offset = packet->l4_ofs;
    }

    /* Of a packet that was not tracked nothing else is defined. */
    to->ct_state = md->ct_state;
    to->ct_zone = md->ct_state ? md->ct_zone : 0;
    to->connection = 0;
    to->connection_flags = 0;
    if (md->ct_state && md->conn) {
        to->connection = (uintptr_t) md->conn;
        to->connection_flags = (md->reply ? CT_CONN_REPLY : 0)
                               | (md->icmp_related ? CT_CONN_ICMP_RELATED : 0);
    }
    if (OVS_UNLIKELY(md->ct_state & (CS_SRC_NAT | CS_DST_NAT))) {
        original_to_library(to->orig_tuple, md);
    }
}

static void
account(const struct engine *engine, uint8_t reason, const struct engine_action *action)
{
    switch (engine->meanings[reason]) {
    case BAD_IP_CHECKSUM:
        COVERAGE_INC(conntrack_l3csum_err);
        break;
    case BAD_L4_CHECKSUM:
        COVERAGE_INC(conntrack_l4csum_err);
        break;
    case BAD_TCP_FLAGS:
        COVERAGE_INC(conntrack_invalid_tcp_flags);
        break;
    case BAD_TCP_SEQUENCE:
        COVERAGE_INC(conntrack_tcp_seq_chk_failed);
        break;
    case FULL:
        COVERAGE_INC(conntrack_full);
        break;
    case ZONE_FULL:
#if OVS_VERSION >= 305
        COVERAGE_INC(conntrack_zone_full);
#endif
        break;
    case NAT_EXHAUSTED: {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 5);

        /* The words that users and tests of Open vSwitch know. */
        VLOG_WARN_RL(&rl, "Unable to NAT due to tuple space exhaustion - if DoS attack, use "
                     "firewalling and/or zone partitioning.");
        break;
    }
    case DATAGRAM_TOO_LONG: {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(10, 10);

        VLOG_WARN_RL(&rl, "Unsupported big reassembled %s packet",
                     action->dl_type == htons(ETH_TYPE_IPV6) ? "v6" : "v4");
        break;
    }
    default:
        break;
    }
}

static inline void
conclude(struct dp_packet *packet, const struct ct_packet *from)
{
    struct pkt_metadata *md = &packet->md;

    md->ct_state = from->ct_state;
    md->ct_zone = from->ct_zone;
    md->ct_mark = from->ct_mark;
    md->ct_label = label_from_library(from->ct_label);
    md->conn = (struct conn *) (uintptr_t) from->connection;
    md->reply = from->connection_flags & CT_CONN_REPLY;
    md->icmp_related = from->connection_flags & CT_CONN_ICMP_RELATED;
    original_from_library(md, from->orig_tuple);

    if (OVS_UNLIKELY(from->length_delta)) {
        dp_packet_set_size(packet, from->length);
        dp_packet_set_l2_pad_size(packet, 0);
    }
#if OVS_VERSION >= 400
    /* Open vSwitch leaves it to the transmission, which mends what was said to be good and is not. */
    if (from->modified & (CT_MODIFIED_SRC | CT_MODIFIED_DST) && dp_packet_ip_checksum_valid(packet)) {
        dp_packet_ip_checksum_set_partial(packet);
    }
#endif
}

#if OVS_VERSION >= 400
bool
engine_gave_up(const struct engine *engine, const struct ct_packet *packet)
{
    enum meaning meaning = engine->meanings[packet->reason];

    return meaning == DATAGRAM_TOO_LONG || meaning == FRAGMENT_EXPIRED;
}
#endif

void
engine_conclude(struct dp_packet *packet, const struct ct_packet *from)
{
    conclude(packet, from);
}

/* The helper of an action. FTP and TFTP are those that Open vSwitch's userspace datapath has, and they
 * are told apart by the beginning of their names. */
static uint32_t
helper_number(const char *helper)
{
    if (!helper) {
        return CT_HELPER_NONE;
    } else if (!strncmp(helper, "ftp", 3)) {
        return CT_HELPER_FTP;
    } else if (!strncmp(helper, "tftp", 4)) {
        return CT_HELPER_TFTP;
    } else {
        return CT_HELPER_NONE;
    }
}

static void
nat_to_library(struct ct_nat *to, const struct engine_nat *from)
{
    struct ct_nat_range *range = from->src ? &to->src : &to->dst;
    size_t n = from->ip_version == 6 ? sizeof(struct in6_addr) : sizeof(ovs_be32);

    to->flags = (from->src ? CT_NAT_SRC : 0) | (from->dst ? CT_NAT_DST : 0);
    if (!to->flags) {
        return;
    }
    to->flags |= (from->random ? CT_NAT_RANDOM : 0) | (from->persistent ? CT_NAT_PERSISTENT : 0);
    to->ip_version = from->ip_version;
    memcpy(range->min_address, from->min_address, n);
    memcpy(range->max_address, from->max_address, n);
    range->min_port = from->min_port;
    range->max_port = from->max_port;
}

static void
action_to_library(struct ct_action *to, const struct engine_action *from)
{
    /* `nat` is looked at only with CT_ACTION_NAT. */
    memset(to, 0, offsetof(struct ct_action, nat));
    to->size = sizeof *to;
    to->zone = from->zone;
    to->flags = (from->commit ? CT_ACTION_COMMIT : 0) | (from->force ? CT_ACTION_FORCE : 0);
    to->helper = helper_number(from->helper);
    if (from->mark) {
        to->mark_mask = from->mark[1];
        to->mark = from->mark[0] & from->mark[1];
    }
    if (from->label) {
        ovs_u128 value, mask;

        memcpy(&value, &from->label[0], sizeof value);
        memcpy(&mask, &from->label[1], sizeof mask);
        label_to_library(to->label, ovs_u128_and(value, mask));
        label_to_library(to->label_mask, mask);
    }
    if (from->nat) {
        to->flags |= CT_ACTION_NAT;
        memset(&to->nat, 0, sizeof to->nat);
        nat_to_library(&to->nat, from->nat);
    }
    if (from->timeout_policy) {
        to->flags |= CT_ACTION_TIMEOUT_POLICY;
        to->timeout_policy = from->timeout_policy;
    }
}

/* Nobody looked at these packets, and the rules of the flow table shall know. */
static void
leave_untracked(struct ct_packet packets[], size_t n, uint16_t zone)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 5);

    VLOG_ERR_RL(&rl, "packets cannot be tracked: %s", ct_last_error());
    for (size_t i = 0; i < n; i++) {
        conntrack_clear(&packets[i]);
        memset(packets[i].orig_tuple, 0, sizeof *packets[i].orig_tuple);
        packets[i].ct_state = CT_STATE_INVALID | CT_STATE_TRACKED;
        packets[i].ct_zone = zone;
    }
}

/* Tracks `n` packets; those that come back at once are moved to the front. Returns how many. */
static inline size_t ALWAYS_INLINE
execute(struct engine *engine, struct dp_packet *batch[], size_t n, const struct engine_action *action_,
        const struct ct_action *action, long long now)
{
    struct ct_packet packets[NETDEV_MAX_BURST] __attribute__((aligned(64)));
    struct ct_tuple originals[NETDEV_MAX_BURST];
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        describe(&packets[i], &originals[i], engine, batch[i], action_);
    }
    if (OVS_UNLIKELY(conntrack_execute(engine->tracker, packets, n, action, now))) {
        leave_untracked(packets, n, action->zone);
    }
    for (size_t i = 0; i < n; i++) {
        struct dp_packet *packet = batch[i];

        if (OVS_UNLIKELY(packets[i].verdict == CT_VERDICT_HELD)) {
            continue;
        }
#if OVS_VERSION >= 400
        if (packets[i].data && !packets[i].cookie && !is_cached(packet, action_)) {
            enum meaning meaning = engine->meanings[packets[i].reason];

            checksums_verified(packet, action_->dl_type, !(packets[i].ct_state & CT_STATE_INVALID),
                               meaning == BAD_IP_CHECKSUM, meaning == BAD_L4_CHECKSUM);
        }
#endif
        conclude(packet, &packets[i]);
        if (OVS_UNLIKELY(packets[i].reason)) {
            account(engine, packets[i].reason, action_);
        }
        if (OVS_UNLIKELY(packets[i].cookie)) {
            reassembly_forget(engine->reassembly,
                              (struct fragment *) (uintptr_t) packets[i].cookie);
        }
        batch[kept++] = packet;
    }
    return kept;
}

void
engine_execute(struct engine *engine, struct dp_packet_batch *batch,
               const struct engine_action *action_, long long now)
{
    size_t n = dp_packet_batch_size(batch);
    struct fragment_kind kind;
    struct ct_action action;
    size_t kept = 0;

    if (!n) {
        return;
    }
    kind = fragment_kind(batch->packets[0], action_);
    action_to_library(&action, action_);
#if OVS_VERSION >= 400
    /* A batch may have grown. */
    for (size_t done = 0; done < n; done += NETDEV_MAX_BURST) {
        struct dp_packet **part = &batch->packets[done];
        size_t m = execute(engine, part, MIN(n - done, NETDEV_MAX_BURST), action_, &action, now);

        if (OVS_UNLIKELY(kept < done)) {
            memmove(&batch->packets[kept], part, m * sizeof *part);
        }
        kept += m;
    }
#else
    kept = execute(engine, batch->packets, n, action_, &action, now);
#endif
    batch->count = kept;
    if (OVS_UNLIKELY(atomic_count_get(&engine->fragments))) {
        reassembly_collect(engine->reassembly, batch, &kind, now);
    }
}

struct ipf *
engine_reassembly(struct engine *engine)
{
    return engine->reassembly;
}
