/*
 * Listings and flushes, and the connections in them: tuples in Open vSwitch's words and in the library's.
 */

#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "ct-dpif.h"
#include "openvswitch/vlog.h"
#include "util.h"

#include "library.h"

VLOG_DEFINE_THIS_MODULE(conntrack_listing);

struct engine_dump {
    struct engine *engine;
    struct ct_dump place;
};

/* --- tuples -------------------------------------------------------------------------------------- */

static void
tuple_to_library(struct ct_tuple *to, const struct ct_dpif_tuple *from, uint16_t zone)
{
    size_t n = from->l3_type == AF_INET6 ? sizeof from->src.in6 : sizeof from->src.ip;

    memset(to, 0, sizeof *to);
    to->ip_version = from->l3_type == AF_INET6 ? 6 : 4;
    to->protocol = from->ip_proto;
    to->zone = zone;
    memcpy(to->src, &from->src, n);
    memcpy(to->dst, &from->dst, n);
    if (is_icmp(from->ip_proto)) {
        to->icmp_type = from->icmp_type;
        to->icmp_code = from->icmp_code;
        to->src_port = to->dst_port = ntohs(from->icmp_id);
    } else {
        to->src_port = ntohs(from->src_port);
        to->dst_port = ntohs(from->dst_port);
    }
}

static void
tuple_from_library(struct ct_dpif_tuple *to, const struct ct_tuple *from)
{
    if (!from->ip_version) {
        return;
    }
    to->l3_type = from->ip_version == 6 ? AF_INET6 : AF_INET;
    to->ip_proto = from->protocol;
    memcpy(&to->src, from->src, from->ip_version == 6 ? sizeof to->src.in6 : sizeof to->src.ip);
    memcpy(&to->dst, from->dst, from->ip_version == 6 ? sizeof to->dst.in6 : sizeof to->dst.ip);
    if (is_icmp(from->protocol)) {
        to->icmp_id = htons(from->src_port);
        to->icmp_type = from->icmp_type;
        to->icmp_code = from->icmp_code;
    } else {
        to->src_port = htons(from->src_port);
        to->dst_port = htons(from->dst_port);
    }
}

/* --- listings ----------------------------------------------------------------------------------- */

struct engine_dump *
engine_dump_create(struct engine *engine, const uint16_t *zone)
{
    struct engine_dump *dump = xzalloc(sizeof *dump);

    dump->engine = engine;
    dump->place.size = sizeof dump->place;
    if (conntrack_dump_start(engine->tracker, zone, &dump->place)) {
        VLOG_WARN("connections cannot be listed: %s", ct_last_error());
    }
    return dump;
}

static uint8_t
tcp_state(const uint8_t *name)
{
    for (uint8_t state = 0; state < CT_DPIF_TCPS_MAX_NUM; state++) {
        if (!strcmp((const char *) name, ct_dpif_tcp_state_string[state])) {
            return state;
        }
    }
    return CT_DPIF_TCPS_CLOSED;
}

static void
tcp_from_library(struct ct_dpif_protoinfo *to, const struct ct_connection *from)
{
    to->proto = IPPROTO_TCP;
    to->tcp.state_orig = tcp_state(from->side_state[0]);
    to->tcp.state_reply = tcp_state(from->side_state[1]);
    to->tcp.wscale_orig = from->window_scale[0] == UINT8_MAX ? 0 : from->window_scale[0];
    to->tcp.wscale_reply = from->window_scale[1] == UINT8_MAX ? 0 : from->window_scale[1];
    to->tcp.flags_orig = from->tcp_flags[0];
    to->tcp.flags_reply = from->tcp_flags[1];
}

void
engine_entry(struct ct_dpif_entry *entry, const struct ct_connection *connection)
{
    memset(entry, 0, sizeof *entry);
    tuple_from_library(&entry->tuple_orig, &connection->original);
    tuple_from_library(&entry->tuple_reply, &connection->reply);
    tuple_from_library(&entry->tuple_parent, &connection->parent);
    entry->zone = connection->original.zone;
    entry->mark = connection->mark;
    entry->labels = label_from_library(connection->label);
    entry->timeout = connection->remaining_ms / 1000;
    if (connection->original.protocol == IPPROTO_TCP) {
        tcp_from_library(&entry->protoinfo, connection);
    }
    if (connection->helper == CT_HELPER_FTP || connection->helper == CT_HELPER_TFTP) {
        entry->helper.name = xstrdup(connection->helper == CT_HELPER_FTP ? "ftp" : "tftp");
    }
}

int
engine_dump_next(struct engine_dump *dump, struct ct_dpif_entry *entry, long long now)
{
    struct ct_connection connection = { .size = sizeof connection };
    int error = conntrack_dump_next(dump->engine->tracker, &dump->place, now, &connection);

    if (!error) {
        engine_entry(entry, &connection);
    }
    return error;
}

void
engine_dump_destroy(struct engine_dump *dump)
{
    free(dump);
}

/* --- expectations ------------------------------------------------------------------------------- */

#if OVS_VERSION >= 305
/* Those of one moment. */
struct engine_expectations {
    struct ct_expectation *array;
    size_t n, next;
    bool one_zone;
    uint16_t zone;
};

struct engine_expectations *
engine_expectations_create(struct engine *engine, const uint16_t *zone, long long now)
{
    struct engine_expectations *all = xzalloc(sizeof *all);
    size_t room = 0, total = 0;

    all->one_zone = zone;
    all->zone = zone ? *zone : 0;
    /* Once for their number; more may have come when they are taken, and wait for the next listing. */
    if (!conntrack_get_expectations(engine->tracker, now, NULL, 0, &room) && room) {
        all->array = xcalloc(room, sizeof *all->array);
        if (!conntrack_get_expectations(engine->tracker, now, all->array, room, &total)) {
            all->n = MIN(room, total);
        }
    }
    return all;
}

int
engine_expectations_next(struct engine_expectations *all, struct ct_dpif_exp *to)
{
    while (all->next < all->n) {
        const struct ct_expectation *from = &all->array[all->next++];

        if (all->one_zone && from->tuple.zone != all->zone) {
            continue;
        }
        memset(to, 0, sizeof *to);
        tuple_from_library(&to->tuple_orig, &from->tuple);
        tuple_from_library(&to->tuple_parent, &from->parent);
        to->zone = from->tuple.zone;
        to->mark = from->mark;
        to->labels = label_from_library(from->label);
        to->protoinfo.proto = from->tuple.protocol;
        return 0;
    }
    return ENOENT;
}

void
engine_expectations_destroy(struct engine_expectations *all)
{
    free(all->array);
    free(all);
}
#endif

/* --- flushes ------------------------------------------------------------------------------------ */

int
engine_flush(struct engine *engine, const uint16_t *zone, long long now)
{
    int error = conntrack_flush(engine->tracker, zone);

    /* The library hides flushed connections at once and counts them until they are swept. Whoever asks
     * Open vSwitch for the number after a flush expects them gone. */
    engine_sweep(engine, now);
    return error;
}

int
engine_flush_tuple(struct engine *engine, const struct ct_dpif_tuple *tuple_, uint16_t zone,
                   long long now)
{
    struct ct_tuple tuple;
    int error;

    tuple_to_library(&tuple, tuple_, zone);
    error = conntrack_flush_tuple(engine->tracker, &tuple, now);
    engine_sweep(engine, now);
    return error;
}

