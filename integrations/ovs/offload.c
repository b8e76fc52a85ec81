/*
 * Offload. With other_config:hw-offload=true, where Open vSwitch's dummy devices are (--enable-dummy),
 * each tracker has two providers: the library's dummy, which takes every connection at commit and carries
 * nothing, and "ports". They show what a device would be told; `ovs-appctl ctoffload/...` prints it.
 */

#include <config.h>

#include <errno.h>

#include "ct-dpif.h"
#include "dpif.h"
#if OVS_VERSION >= 400
#include "dpif-offload.h"
#else
#include "netdev-offload.h"
#endif
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "sset.h"
#include "timeval.h"
#include "unixctl.h"
#include "util.h"

#include "library.h"
#include "ports.h"

VLOG_DEFINE_THIS_MODULE(conntrack_offload);

/* Providers of an instance, as many as the library admits. */
#define PROVIDERS 8

struct engine_offload {
    struct ovs_list node;               /* In `all`. */
    struct engine *engine;
    struct ct_offload_dummy *dummy;     /* NULL as long as it is not registered. */
    struct ports *ports;
};

/* The commands are for all instances: a tracker does not know the name of its datapath. */
static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list all OVS_GUARDED_BY(mutex) = OVS_LIST_INITIALIZER(&all);

/* --- instances ---------------------------------------------------------------------------------- */

static bool
offload_is_wanted(void)
{
#if OVS_VERSION >= 400
    return dpif_offload_enabled();
#else
    return netdev_is_flow_api_enabled();
#endif
}

static bool
dummies_are_there(void)
{
    struct sset types = SSET_INITIALIZER(&types);
    bool found;

    dp_enumerate_types(&types);
    found = sset_contains(&types, "dummy");
    sset_destroy(&types);
    return found;
}

/* The setting is read some time after the first datapath was made, and never taken back. */
void
engine_offload_run(struct engine_offload *offload, long long now)
{
    int error;

    if (offload->dummy || !offload_is_wanted() || !dummies_are_there()) {
        return;
    }
    error = ct_offload_dummy_register(offload->engine->tracker, now, &offload->dummy);
    if (!error) {
        error = ports_register(offload->ports, offload->engine->tracker, now);
    }
    if (error) {
        VLOG_WARN("connections are not offered to the dummy provider: %s", ct_last_error());
    } else {
        VLOG_INFO("connections are offered to the dummy provider");
    }
}

static void register_commands(void);

struct engine_offload *
engine_offload_create(struct engine *engine, long long now)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    struct engine_offload *offload = xzalloc(sizeof *offload);

    offload->engine = engine;
    offload->ports = ports_create();
    engine_offload_run(offload, now);

    ovs_mutex_lock(&mutex);
    ovs_list_push_back(&all, &offload->node);
    ovs_mutex_unlock(&mutex);
    if (ovsthread_once_start(&once)) {
        register_commands();
        ovsthread_once_done(&once);
    }
    return offload;
}

/* No command looks at the instance when this returns. */
void
engine_offload_unlist(struct engine_offload *offload)
{
    ovs_mutex_lock(&mutex);
    ovs_list_remove(&offload->node);
    ovs_mutex_unlock(&mutex);
    ct_offload_dummy_free(offload->dummy);
}

/* The tracker is gone: no provider is called any more. */
void
engine_offload_destroy(struct engine_offload *offload)
{
    ports_destroy(offload->ports);
    free(offload);
}

/* --- ovs-appctl --------------------------------------------------------------------------------- */

static const char *
state_name(uint32_t state)
{
    static const char *names[] = {
        [CT_OFFLOAD_STATE_NONE] = "software",
        [CT_OFFLOAD_STATE_PENDING] = "pending",
        [CT_OFFLOAD_STATE_ADDED] = "added",
        [CT_OFFLOAD_STATE_ASKED] = "asked",
        [CT_OFFLOAD_STATE_ESTABLISHED] = "established",
        [CT_OFFLOAD_STATE_CLOSING] = "closing",
        [CT_OFFLOAD_STATE_FAILED] = "failed",
    };

    return state < ARRAY_SIZE(names) ? names[state] : "?";
}

static void
format_standings(const struct engine_offload *offload, uint64_t connection, struct ds *ds)
{
    struct ct_offload_standing standings[PROVIDERS];
    uint32_t n = ARRAY_SIZE(standings);

    for (size_t i = 0; i < ARRAY_SIZE(standings); i++) {
        standings[i].size = sizeof standings[i];
    }
    if (ct_offload_get_standing(offload->engine->tracker, connection, standings, &n)) {
        n = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        ds_put_format(ds, ",%s=%s", (const char *) standings[i].provider,
                      state_name(standings[i].state));
        if (standings[i].why[0]) {
            ds_put_format(ds, "(%s)", (const char *) standings[i].why);
        }
    }
    if (!n) {
        ds_put_cstr(ds, ",no provider");
    }
}

/* A line for each connection that a filter means; with `verbose`, how it stands with each provider. */
static void
format_connections(const struct engine_offload *offload, const struct ct_filter *filter, bool verbose,
                   struct ds *ds)
{
    struct ct_dump dump = { .size = sizeof dump };
    struct ct_connection connection = { .size = sizeof connection };
    long long now = time_msec();

    if (conntrack_dump_start(offload->engine->tracker, NULL, &dump)) {
        return;
    }
    while (!conntrack_dump_next_matching(offload->engine->tracker, &dump, filter, now, &connection)) {
        struct ct_dpif_entry entry;

        engine_entry(&entry, &connection);
        ds_put_format(ds, "id=%#"PRIx64",", connection.id);
        ct_dpif_format_entry(&entry, ds, false, false);
        ct_dpif_entry_uninit(&entry);
        if (verbose) {
            format_standings(offload, connection.id, ds);
        }
        ports_format(offload->ports, connection.id, ds);
        ds_put_char(ds, '\n');
    }
}

/* ctoffload/show: what providers carry. */
static void
show(const struct engine_offload *offload, const char *argument OVS_UNUSED, struct ds *ds)
{
    const struct ct_filter carried = { .size = sizeof carried, .offloaded = CT_YES };
    int on = 0;

    ct_offload_enabled(offload->engine->tracker, &on);
    ds_put_format(ds, "libctoffload %s, offload %s, %s\n", ct_version(), on ? "on" : "off",
                  offload->dummy ? "providers: dummy, ports" : "no provider");
    format_connections(offload, &carried, false, ds);
}

/* ctoffload/explain: how every connection stands with every provider, and why not further. */
static void
explain(const struct engine_offload *offload, const char *argument OVS_UNUSED, struct ds *ds)
{
    const struct ct_filter any = { .size = sizeof any };

    format_connections(offload, &any, true, ds);
}

static void
format_provider(const struct engine_offload *offload, const char *name, struct ds *ds)
{
    struct ct_offload_stats stats = { .size = sizeof stats };

    if (ct_offload_get_stats(offload->engine->tracker, name, &stats)) {
        return;
    }
    ds_put_format(ds, "%s: held %"PRIu64", waiting %"PRIu64", added %"PRIu64", established %"PRIu64
                  ", updated %"PRIu64", changed %"PRIu64", deleted %"PRIu64", flushed %"PRIu64
                  ", declined %"PRIu64", refused %"PRIu64", full %"PRIu64", cancelled %"PRIu64
                  ", late %"PRIu64"\n",
                  name, stats.held, stats.waiting, stats.added, stats.established, stats.updated,
                  stats.changed, stats.deleted, stats.flushed, stats.declined, stats.refused,
                  stats.full, stats.cancelled, stats.late);
}

/* ctoffload/stats: what was counted of providers, and what the dummy says itself. */
static void
stats(const struct engine_offload *offload, const char *argument OVS_UNUSED, struct ds *ds)
{
    struct ct_offload_dummy_counts counts = { .size = sizeof counts };

    format_provider(offload, "dummy", ds);
    format_provider(offload, "ports", ds);
    if (offload->dummy && !ct_offload_dummy_get_counts(offload->dummy, &counts)) {
        ds_put_format(ds, "calls of dummy: conn_add %"PRIu64", conn_established %"PRIu64
                      ", conn_update %"PRIu64", conn_changed %"PRIu64", conn_del %"PRIu64
                      ", flush %"PRIu64"\n", counts.added, counts.established, counts.updated,
                      counts.changed, counts.deleted, counts.flushed);
    }
}

/* ctoffload/set on|off: off, no provider carries anything. */
static void
set(const struct engine_offload *offload, const char *argument, struct ds *ds)
{
    int error = ct_offload_enable(offload->engine->tracker, !strcmp(argument, "on"), time_msec());

    ds_put_cstr(ds, error ? ct_last_error() : "");
}

/* ctoffload/flush: every connection goes back to software, and is offered anew with its next packet. */
static void
flush(const struct engine_offload *offload, const char *argument OVS_UNUSED, struct ds *ds)
{
    int on = 0;

    if (!ct_offload_enabled(offload->engine->tracker, &on) && on) {
        set(offload, "off", ds);
        set(offload, "on", ds);
    }
}

static void
command(struct unixctl_conn *conn, int argc, const char *argv[], void *call_)
{
    void (*call)(const struct engine_offload *, const char *, struct ds *) = call_;
    const char *argument = argc > 1 ? argv[1] : "";
    struct ds answer = DS_EMPTY_INITIALIZER;
    const struct engine_offload *offload;

    if (call == set && strcmp(argument, "on") && strcmp(argument, "off")) {
        unixctl_command_reply_error(conn, "\"on\" or \"off\"");
        return;
    }
    ovs_mutex_lock(&mutex);
    LIST_FOR_EACH (offload, node, &all) {
        call(offload, argument, &answer);
    }
    ovs_mutex_unlock(&mutex);
    unixctl_command_reply(conn, ds_cstr(&answer));
    ds_destroy(&answer);
}

static void
register_commands(void)
{
    unixctl_command_register("ctoffload/show", "", 0, 0, command, show);
    unixctl_command_register("ctoffload/explain", "", 0, 0, command, explain);
    unixctl_command_register("ctoffload/stats", "", 0, 0, command, stats);
    unixctl_command_register("ctoffload/set", "on|off", 1, 1, command, set);
    unixctl_command_register("ctoffload/flush", "", 0, 0, command, flush);
}
