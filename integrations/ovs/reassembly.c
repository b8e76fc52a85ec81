/*
 * Fragments, in the place of Open vSwitch's lib/ipf.c. The library holds them until their datagram is
 * whole and tracks it as one packet; here are the packets that it holds meanwhile. This file provides
 * lib/ipf.h for the commands `ovs-appctl dpctl/ipf-...`.
 *
 * A fragment that comes back goes on with the batch that brought the last one, if that is of its kind, and
 * so are those that the batch has no room for (pipeline.c). Others wait for a batch of their kind: fragments
 * whose datagram did not become whole, and those that came by another port than the last one. What waits
 * too long is dropped, as by Open vSwitch.
 */

#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip6.h>

#include "ct-dpif.h"
#include "dp-packet.h"
#include "flow.h"
#include "ipf.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

#include "library.h"

VLOG_DEFINE_THIS_MODULE(conntrack_reassembly);

/* Open vSwitch's bounds, and how long it keeps what finds no batch. */
#define SMALLEST_MINIMUM 400
#define MOST_FRAGMENTS 5000
#define MOST_WAITING_MS 10000

/* A datagram in one frame is no longer than Open vSwitch says that a frame may be. */
#define LONGEST_PACKET (UINT16_MAX - ETH_HEADER_LEN)

/* Later versions would also say where the routing header is. */
#if OVS_VERSION >= 305
#define AND_NO_ROUTING_HEADER , NULL
#else
#define AND_NO_ROUTING_HEADER
#endif

/* Fragments taken from the library at a time. */
#define TAKEN 32

/* What names a datagram. */
struct datagram {
    struct in6_addr src, dst;           /* IPv4 addresses are mapped. */
    uint32_t identification;
    struct fragment_kind kind;
    uint8_t protocol;                   /* IPv4 only: fragments of IPv6 may differ in it. */
};

/* A fragment in the library's hands, or on its way back. */
struct fragment {
    struct ovs_list node;               /* In `held` or in `waiting`. */
    struct dp_packet *packet;
    struct ct_tuple original;           /* Of the packet; must stay where it is. */
    struct datagram datagram;
    bool first, last;
    long long since;                    /* When it came back. */
};

struct ipf {
    struct engine *engine;

    struct ovs_mutex mutex;
    struct ovs_list held;               /* In the order of arrival. */
    struct ovs_list waiting;
    bool enabled[2];                    /* IPv4, IPv6. */
    uint32_t most;                      /* Fragments held at most. */
    uint32_t smallest[2];
    uint64_t purged[2];
};

/* --- instances ---------------------------------------------------------------------------------- */

static int
configure(struct ipf *ipf)
    OVS_REQUIRES(ipf->mutex)
{
    const struct ct_ipf settings = {
        .size = sizeof settings,
        /* The library's 0 is the default, Open vSwitch's is none. */
        .v4 = ipf->enabled[0] && ipf->most,
        .v6 = ipf->enabled[1] && ipf->most,
        .max_frags = ipf->most,
        .min_v4_frag_size = MIN(ipf->smallest[0], UINT16_MAX),
        .min_v6_frag_size = MIN(ipf->smallest[1], UINT16_MAX),
        .max_packet = LONGEST_PACKET,
    };

    return conntrack_set_ipf(ipf->engine->tracker, &settings);
}

struct ipf *
reassembly_create(struct engine *engine)
{
    struct ipf *ipf = xzalloc(sizeof *ipf);
    struct ct_ipf_status status = { .size = sizeof status };

    ipf->engine = engine;
    ovs_mutex_init(&ipf->mutex);
    ovs_list_init(&ipf->held);
    ovs_list_init(&ipf->waiting);
    atomic_count_init(&engine->fragments, 0);
    ovs_mutex_lock(&ipf->mutex);
    ipf->enabled[0] = ipf->enabled[1] = true;
    if (!conntrack_get_ipf_status(engine->tracker, &status)) {
        ipf->most = status.max_frags;
        ipf->smallest[0] = status.min_v4_frag_size;
        ipf->smallest[1] = status.min_v6_frag_size;
    }
    if (configure(ipf)) {
        VLOG_ERR("fragments are not reassembled: %s", ct_last_error());
    }
    ovs_mutex_unlock(&ipf->mutex);
    return ipf;
}

static void
forget(struct ipf *ipf, struct fragment *fragment)
    OVS_REQUIRES(ipf->mutex)
{
    ovs_list_remove(&fragment->node);
    atomic_count_dec(&ipf->engine->fragments);
    free(fragment);
}

/* No packets are tracked any more. */
void
reassembly_destroy(struct ipf *ipf)
{
    struct fragment *fragment;

    ovs_mutex_lock(&ipf->mutex);
    ovs_list_push_back_all(&ipf->waiting, &ipf->held);
    LIST_FOR_EACH_SAFE (fragment, node, &ipf->waiting) {
        dp_packet_delete(fragment->packet);
        forget(ipf, fragment);
    }
    ovs_mutex_unlock(&ipf->mutex);
    ovs_mutex_destroy(&ipf->mutex);
    free(ipf);
}

/* --- there -------------------------------------------------------------------------------------- */

static void
record_v4(struct fragment *to, const struct dp_packet *packet)
{
    const struct ip_header *ip = dp_packet_l3(packet);

    to->first = !(ip->ip_frag_off & htons(IP_FRAG_OFF_MASK));
    to->last = !(ip->ip_frag_off & htons(IP_MORE_FRAGMENTS));
    in6_addr_set_mapped_ipv4(&to->datagram.src, get_16aligned_be32(&ip->ip_src));
    in6_addr_set_mapped_ipv4(&to->datagram.dst, get_16aligned_be32(&ip->ip_dst));
    to->datagram.identification = ntohs(ip->ip_id);
    to->datagram.protocol = ip->ip_proto;
}

static void
record_v6(struct fragment *to, const struct dp_packet *packet)
{
    const struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);
    const struct ovs_16aligned_ip6_frag *header = NULL;
    uint8_t protocol = ip6->ip6_ctlun.ip6_un1.ip6_un1_nxt;
    const void *data = ip6 + 1;
    size_t size = dp_packet_l3_size(packet) - sizeof *ip6;
    uint8_t kind = 0;

    memcpy(&to->datagram.src, &ip6->ip6_src, sizeof to->datagram.src);
    memcpy(&to->datagram.dst, &ip6->ip6_dst, sizeof to->datagram.dst);
    if (parse_ipv6_ext_hdrs(&data, &size, &protocol, &kind, &header AND_NO_ROUTING_HEADER) && header) {
        to->first = !(header->ip6f_offlg & IP6F_OFF_MASK);
        to->last = !(header->ip6f_offlg & IP6F_MORE_FRAG);
        to->datagram.identification = ntohl(get_16aligned_be32(&header->ip6f_ident));
    }
}

/* What may be a fragment is noted as held before it is, because whoever brings the last one may have it
 * back at once. */
struct fragment *
reassembly_note(struct ipf *ipf, struct dp_packet *packet, const struct engine_action *action)
{
    const struct ip_header *ip = dp_packet_l3(packet);
    struct fragment *fragment = xzalloc(sizeof *fragment);

    if (IP_VER(ip->ip_ihl_ver) == 4) {
        record_v4(fragment, packet);
    } else if (dp_packet_l3_size(packet) >= sizeof(struct ovs_16aligned_ip6_hdr)) {
        record_v6(fragment, packet);
    }
    fragment->packet = packet;
    fragment->datagram.kind = fragment_kind(packet, action);
    ovs_mutex_lock(&ipf->mutex);
    ovs_list_push_back(&ipf->held, &fragment->node);
    atomic_count_inc(&ipf->engine->fragments);
    ovs_mutex_unlock(&ipf->mutex);
    return fragment;
}

struct ct_tuple *
reassembly_original(struct fragment *fragment)
{
    return &fragment->original;
}

/* It was not held. */
void
reassembly_forget(struct ipf *ipf, struct fragment *fragment)
{
    ovs_mutex_lock(&ipf->mutex);
    forget(ipf, fragment);
    ovs_mutex_unlock(&ipf->mutex);
}

/* --- and back ----------------------------------------------------------------------------------- */

/* Takes what the library gives back. */
static void
take(struct ipf *ipf, long long now)
    OVS_REQUIRES(ipf->mutex)
{
    struct ct_packet packets[TAKEN] __attribute__((aligned(64)));
    size_t n;

    do {
        n = 0;
        if (conntrack_take_fragments(ipf->engine->tracker, now, packets, TAKEN, &n)) {
            return;
        }
        for (size_t i = 0; i < n; i++) {
            struct fragment *fragment = (struct fragment *) (uintptr_t) packets[i].cookie;

#if OVS_VERSION >= 400
            if (engine_gave_up(ipf->engine, &packets[i])) {
                dp_packet_delete(fragment->packet);
                forget(ipf, fragment);
                continue;
            }
#endif
            engine_conclude(fragment->packet, &packets[i]);
            fragment->since = now;
            ovs_list_remove(&fragment->node);
            ovs_list_push_back(&ipf->waiting, &fragment->node);
        }
    } while (n == TAKEN);
}

static bool
same_kind(const struct fragment_kind *a, const struct fragment_kind *b)
{
    return a->recirc_id == b->recirc_id && a->in_port == b->in_port && a->zone == b->zone
           && a->dl_type == b->dl_type;
}

static bool
has_room(const struct dp_packet_batch *batch)
{
#if OVS_VERSION >= 400
    return true;
#else
    return !dp_packet_batch_is_full(batch);
#endif
}

/* Moves fragments that wait into a batch. False: there are more, and no room. */
static bool
fill(struct ipf *ipf, struct dp_packet_batch *batch, const struct fragment_kind *kind)
    OVS_REQUIRES(ipf->mutex)
{
    struct fragment *fragment;

    LIST_FOR_EACH_SAFE (fragment, node, &ipf->waiting) {
        if (same_kind(&fragment->datagram.kind, kind)) {
            if (!has_room(batch)) {
                return false;
            }
            dp_packet_batch_add(batch, fragment->packet);
            forget(ipf, fragment);
        }
    }
    return true;
}

bool
reassembly_fill(struct ipf *ipf, struct dp_packet_batch *batch, const struct fragment_kind *kind)
{
    bool all;

    ovs_mutex_lock(&ipf->mutex);
    all = fill(ipf, batch, kind);
    ovs_mutex_unlock(&ipf->mutex);
    return all;
}

/* Adds fragments that came back to a batch of their kind. */
void
reassembly_collect(struct ipf *ipf, struct dp_packet_batch *batch, const struct fragment_kind *kind,
                   long long now)
{
    bool all;

    ovs_mutex_lock(&ipf->mutex);
    take(ipf, now);
    all = fill(ipf, batch, kind);
    ovs_mutex_unlock(&ipf->mutex);
#if OVS_VERSION < 400
    if (!all) {
        pipeline_more(ipf, kind);
    }
#else
    ovs_assert(all);
#endif
}

/* Now and then: takes what expired, and drops what found no batch. */
void
reassembly_run(struct ipf *ipf, long long now)
{
    struct fragment *fragment;

    if (!atomic_count_get(&ipf->engine->fragments)) {
        return;
    }
    ovs_mutex_lock(&ipf->mutex);
    take(ipf, now);
    LIST_FOR_EACH_SAFE (fragment, node, &ipf->waiting) {
        if (now < fragment->since + MOST_WAITING_MS) {
            break;
        }
        ipf->purged[fragment->datagram.kind.dl_type == htons(ETH_TYPE_IPV6)]++;
        dp_packet_delete(fragment->packet);
        forget(ipf, fragment);
    }
    ovs_mutex_unlock(&ipf->mutex);
}

/* --- settings and status ------------------------------------------------------------------------ */

int
ipf_set_enabled(struct ipf *ipf, bool v6, bool enable)
{
    int error;

    ovs_mutex_lock(&ipf->mutex);
    ipf->enabled[v6] = enable;
    error = configure(ipf);
    ovs_mutex_unlock(&ipf->mutex);
    return error;
}

int
ipf_set_min_frag(struct ipf *ipf, bool v6, uint32_t value)
{
    int error;

    if (value < SMALLEST_MINIMUM) {
        return EINVAL;
    }
    ovs_mutex_lock(&ipf->mutex);
    ipf->smallest[v6] = value;
    error = configure(ipf);
    ovs_mutex_unlock(&ipf->mutex);
    return error;
}

int
ipf_set_max_nfrags(struct ipf *ipf, uint32_t value)
{
    int error;

    if (value > MOST_FRAGMENTS) {
        return EINVAL;
    }
    ovs_mutex_lock(&ipf->mutex);
    ipf->most = value;
    error = configure(ipf);
    ovs_mutex_unlock(&ipf->mutex);
    return error;
}

static void
status_of_protocol(struct ipf_proto_status *to, const struct ct_ipf_counts *from, const struct ipf *ipf,
                   bool v6)
    OVS_REQUIRES(ipf->mutex)
{
    *to = (struct ipf_proto_status) {
        .nfrag_accepted = from->accepted,
        .nfrag_completed_sent = from->completed,
        .nfrag_expired_sent = from->expired,
        .nfrag_too_small = from->too_small,
        .nfrag_overlap = from->overlapping,
        .nfrag_purged = from->flushed + ipf->purged[v6],
        .min_frag_size = ipf->smallest[v6],
        .enabled = ipf->enabled[v6],
    };
}

int
ipf_get_status(struct ipf *ipf, struct ipf_status *to)
{
    struct ct_ipf_status status = { .size = sizeof status };
    int error = conntrack_get_ipf_status(ipf->engine->tracker, &status);

    if (error) {
        return error;
    }
    ovs_mutex_lock(&ipf->mutex);
    status_of_protocol(&to->v4, &status.counts_v4, ipf, false);
    status_of_protocol(&to->v6, &status.counts_v6, ipf, true);
    to->nfrag = atomic_count_get(&ipf->engine->fragments);
    to->nfrag_max = ipf->most;
    ovs_mutex_unlock(&ipf->mutex);
    return 0;
}

/* --- listings ----------------------------------------------------------------------------------- */

/* A listing is made at once, when it is asked for its first line; `lines` from `next` on are to be told. */
struct ipf_dump_ctx {
    bool made;
    char **lines;
    size_t n, next;
};

int
ipf_dump_start(struct ipf_dump_ctx **dump)
{
    *dump = xzalloc(sizeof **dump);
    return 0;
}

static bool
same_datagram(const struct datagram *a, const struct datagram *b)
{
    return ipv6_addr_equals(&a->src, &b->src) && ipv6_addr_equals(&a->dst, &b->dst)
           && a->identification == b->identification && same_kind(&a->kind, &b->kind)
           && a->protocol == b->protocol;
}

static char *
format_datagram(const struct ipf *ipf, const struct datagram *datagram)
    OVS_REQUIRES(ipf->mutex)
{
    struct ds ds = DS_EMPTY_INITIALIZER;
    bool first = false, last = false;
    struct fragment *fragment;
    unsigned int n = 0;

    LIST_FOR_EACH (fragment, node, &ipf->held) {
        if (same_datagram(&fragment->datagram, datagram)) {
            n++;
            first |= fragment->first;
            last |= fragment->last;
        }
    }
    ds_put_cstr(&ds, "(src=");
    ipv6_format_mapped(&datagram->src, &ds);
    ds_put_cstr(&ds, ",dst=");
    ipv6_format_mapped(&datagram->dst, &ds);
    ds_put_format(&ds, ",recirc_id=%u,ip_id=%u,dl_type=0x%x,zone=%u,nw_proto=%u,num_fragments=%u"
                  ",state=%s)", datagram->kind.recirc_id, datagram->identification,
                  ntohs(datagram->kind.dl_type), datagram->kind.zone, datagram->protocol, n,
                  first && last ? "first/last frag" : first ? "first frag"
                  : last ? "last frag" : "other frag");
    return ds_steal_cstr(&ds);
}

/* A line for each datagram: at the first of its fragments. */
static void
make_lines(struct ipf *ipf, struct ipf_dump_ctx *dump)
    OVS_REQUIRES(ipf->mutex)
{
    const struct fragment *fragment, *earlier;
    size_t allocated = 0;

    LIST_FOR_EACH (fragment, node, &ipf->held) {
        LIST_FOR_EACH (earlier, node, &ipf->held) {
            if (earlier == fragment || same_datagram(&earlier->datagram, &fragment->datagram)) {
                break;
            }
        }
        if (earlier == fragment) {
            if (dump->n == allocated) {
                dump->lines = x2nrealloc(dump->lines, &allocated, sizeof *dump->lines);
            }
            dump->lines[dump->n++] = format_datagram(ipf, &fragment->datagram);
        }
    }
    dump->made = true;
}

int
ipf_dump_next(struct ipf *ipf, struct ipf_dump_ctx *dump, char **line)
{
    if (!dump->made) {
        ovs_mutex_lock(&ipf->mutex);
        make_lines(ipf, dump);
        ovs_mutex_unlock(&ipf->mutex);
    }
    if (dump->next == dump->n) {
        return EOF;
    }
    *line = dump->lines[dump->next++];
    return 0;
}

int
ipf_dump_done(struct ipf_dump_ctx *dump)
{
    while (dump->next < dump->n) {
        free(dump->lines[dump->next++]);
    }
    free(dump->lines);
    free(dump);
    return 0;
}
