/*
 * Offload. With other_config:hw-offload=true, where Open vSwitch's dummy devices are (--enable-dummy),
 * each tracker has the library's dummy provider: it takes every connection at commit and carries nothing,
 * which shows what a device would be told.
 */

#include <config.h>

#include "dpif.h"
#include "netdev-offload.h"
#include "openvswitch/vlog.h"
#include "sset.h"
#include "util.h"

#include "library.h"

VLOG_DEFINE_THIS_MODULE(conntrack_offload);

struct engine_offload {
    struct engine *engine;
    struct ct_offload_dummy *dummy;     /* NULL as long as it is not registered. */
};

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
    if (!offload->dummy && netdev_is_flow_api_enabled() && dummies_are_there()) {
        int error = ct_offload_dummy_register(offload->engine->tracker, now, &offload->dummy);

        if (error) {
            VLOG_WARN("no dummy provider: %s", ct_last_error());
        } else {
            VLOG_INFO("connections are offered to the dummy provider");
        }
    }
}

struct engine_offload *
engine_offload_create(struct engine *engine, long long now)
{
    struct engine_offload *offload = xzalloc(sizeof *offload);

    offload->engine = engine;
    engine_offload_run(offload, now);
    return offload;
}

void
engine_offload_destroy(struct engine_offload *offload, long long now OVS_UNUSED)
{
    ct_offload_dummy_free(offload->dummy);
    free(offload);
}
