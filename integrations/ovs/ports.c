/*
 * A provider is told numbers of ports. A driver needs the device behind the number: here it is looked up in
 * conn_add and in conn_established, and shown.
 */

#include <config.h>

#include "hash.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/hmap.h"
#include "ovs-thread.h"
#include "util.h"

#include "library.h"
#include "ports.h"

struct port {
    uint32_t number;
    char *device;               /* NULL: no such port now. */
};

/* What is known of a connection, original then reply direction. */
struct record {
    struct hmap_node node;      /* In struct ports's `records`, by `connection`. */
    uint64_t connection;
    bool established;
    struct port ports[2];
};

struct ports {
    struct ovs_mutex mutex;
    struct hmap records;
};

/* --- records ------------------------------------------------------------------------------------ */

static void
set_port(struct port *port, uint32_t number)
{
    free(port->device);
    port->number = number;
    port->device = device_of_port(number);
}

static struct record *
find(const struct ports *ports, uint64_t connection)
    OVS_REQUIRES(ports->mutex)
{
    struct record *record;

    HMAP_FOR_EACH_WITH_HASH (record, node, hash_uint64(connection), &ports->records) {
        if (record->connection == connection) {
            return record;
        }
    }
    return NULL;
}

static void
forget(struct ports *ports, struct record *record)
    OVS_REQUIRES(ports->mutex)
{
    hmap_remove(&ports->records, &record->node);
    free(record->ports[0].device);
    free(record->ports[1].device);
    free(record);
}

/* --- callbacks ---------------------------------------------------------------------------------- */

static int
conn_add(void *ports_, const struct ct_offload_ctx *ctx)
{
    struct ports *ports = ports_;
    struct record *record = xzalloc(sizeof *record);

    record->connection = ctx->connection;
    set_port(&record->ports[0], ctx->in_port_original);
    ovs_mutex_lock(&ports->mutex);
    hmap_insert(&ports->records, &record->node, hash_uint64(ctx->connection));
    ovs_mutex_unlock(&ports->mutex);
    return 0;
}

static int
conn_established(void *ports_, const struct ct_offload_ctx *ctx)
{
    struct ports *ports = ports_;
    struct record *record;

    ovs_mutex_lock(&ports->mutex);
    record = find(ports, ctx->connection);
    if (record) {
        set_port(&record->ports[0], ctx->in_port_original);
        set_port(&record->ports[1], ctx->in_port_reply);
        record->established = true;
    }
    ovs_mutex_unlock(&ports->mutex);
    return 1;
}

static void
conn_del(void *ports_, const struct ct_offload_ctx *ctx, struct ct_offload_report *report OVS_UNUSED)
{
    struct ports *ports = ports_;
    struct record *record;

    ovs_mutex_lock(&ports->mutex);
    record = find(ports, ctx->connection);
    if (record) {
        forget(ports, record);
    }
    ovs_mutex_unlock(&ports->mutex);
}

/* --- instances ---------------------------------------------------------------------------------- */

struct ports *
ports_create(void)
{
    struct ports *ports = xzalloc(sizeof *ports);

    ovs_mutex_init(&ports->mutex);
    hmap_init(&ports->records);
    return ports;
}

int
ports_register(struct ports *ports, struct conntrack *tracker, long long now)
{
    const struct ct_offload_class class = {
        .size = sizeof class,
        .name = "ports",
        .user = ports,
        .offer_at = CT_OFFER_AT_COMMIT,
        .conn_add = conn_add,
        .conn_del = conn_del,
        .conn_established = conn_established,
    };

    return ct_offload_register(tracker, &class, now);
}

/* The tracker must be gone, or never have had the provider. */
void
ports_destroy(struct ports *ports)
{
    struct record *record;

    ovs_mutex_lock(&ports->mutex);
    HMAP_FOR_EACH_SAFE (record, node, &ports->records) {
        forget(ports, record);
    }
    ovs_mutex_unlock(&ports->mutex);
    hmap_destroy(&ports->records);
    ovs_mutex_destroy(&ports->mutex);
    free(ports);
}

static void
format_port(const struct port *port, struct ds *ds)
{
    ds_put_format(ds, "%"PRIu32"(%s)", port->number, port->device ? port->device : "?");
}

void
ports_format(struct ports *ports, uint64_t connection, struct ds *ds)
{
    const struct record *record;

    ovs_mutex_lock(&ports->mutex);
    record = find(ports, connection);
    if (record) {
        ds_put_cstr(ds, ",in_port=");
        format_port(&record->ports[0], ds);
        if (record->established) {
            ds_put_cstr(ds, ",reply_in_port=");
            format_port(&record->ports[1], ds);
        }
    }
    ovs_mutex_unlock(&ports->mutex);
}
