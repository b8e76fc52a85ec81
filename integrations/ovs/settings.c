/*
 * Limits, switches and timeout policies.
 */

#include <config.h>

#include <errno.h>

#include "ct-dpif.h"
#include "util.h"

#include "library.h"

/* --- settings ----------------------------------------------------------------------------------- */

int
engine_set_limit(struct engine *engine, uint32_t connections)
{
    return conntrack_set_maxconns(engine->tracker, connections);
}

int
engine_get_limit(struct engine *engine, uint32_t *connections)
{
    return conntrack_get_maxconns(engine->tracker, connections);
}

int
engine_get_count(struct engine *engine, uint32_t *connections, long long now)
{
    /* Those that expired are counted until they are swept, and nobody who asks wants them. */
    engine_sweep(engine, now);
    return conntrack_get_nconns(engine->tracker, connections);
}

int
engine_set_sequence_check(struct engine *engine, bool on)
{
    return conntrack_set_option(engine->tracker, CT_OPTION_TCP_SEQ_CHK, on);
}

bool
engine_get_sequence_check(struct engine *engine)
{
    uint32_t on = 0;

    return !conntrack_get_option(engine->tracker, CT_OPTION_TCP_SEQ_CHK, &on) && on;
}

/* --- limits of zones ------------------------------------------------------------------------------ */

int
engine_set_zone_limit(struct engine *engine, int32_t zone, uint32_t limit)
{
    if (zone == ENGINE_DEFAULT_ZONE) {
        return conntrack_set_default_zone_limit(engine->tracker, limit);
    } else if (zone < 0 || zone > UINT16_MAX) {
        return EINVAL;
    }
    return conntrack_set_zone_limit(engine->tracker, zone, limit);
}

int
engine_get_zone_limit(struct engine *engine, int32_t zone, struct engine_zone_limit *answer)
{
    struct ct_zone_limit own;
    uint32_t common;
    int error = conntrack_get_default_zone_limit(engine->tracker, &common);

    if (error) {
        return error;
    }
    *answer = (struct engine_zone_limit) {
        .zone = ENGINE_DEFAULT_ZONE,
        .limit = common == CT_ZONE_LIMIT_NONE ? 0 : common,
    };
    if (zone == ENGINE_DEFAULT_ZONE) {
        return 0;
    } else if (zone < 0 || zone > UINT16_MAX) {
        return EINVAL;
    }
    error = conntrack_get_zone_limit(engine->tracker, zone, &own);
    if (!error) {
        answer->count = own.count;
        if (own.limit != CT_ZONE_LIMIT_NONE) {
            answer->zone = zone;
            answer->limit = own.limit;
        }
    }
    return error;
}

int
engine_delete_zone_limit(struct engine *engine, int32_t zone)
{
    if (zone == ENGINE_DEFAULT_ZONE) {
        return conntrack_set_default_zone_limit(engine->tracker, CT_ZONE_LIMIT_NONE);
    } else if (zone < 0 || zone > UINT16_MAX) {
        return EINVAL;
    }
    return conntrack_delete_zone_limit(engine->tracker, zone);
}

/* --- timeout policies ----------------------------------------------------------------------------- */

BUILD_ASSERT_DECL((int) CT_DPIF_TP_ATTR_TCP_SYN_SENT == CT_TP_ATTR_TCP_SYN_SENT);
BUILD_ASSERT_DECL((int) CT_DPIF_TP_ATTR_TCP_UNACK == CT_TP_ATTR_TCP_UNACK);
BUILD_ASSERT_DECL((int) CT_DPIF_TP_ATTR_UDP_FIRST == CT_TP_ATTR_UDP_FIRST);
BUILD_ASSERT_DECL((int) CT_DPIF_TP_ATTR_ICMP_REPLY == CT_TP_ATTR_ICMP_REPLY);

int
engine_set_timeout_policy(struct engine *engine, const struct ct_dpif_timeout_policy *from)
{
    struct ct_timeout_policy policy = {
        .size = sizeof policy,
        .id = from->id,
        .present = from->present,
    };

    for (size_t i = 0; i < ARRAY_SIZE(from->attrs); i++) {
        if (from->present & (1u << i)) {
            policy.seconds[i] = from->attrs[i];
        }
    }
    return conntrack_set_timeout_policy(engine->tracker, &policy);
}

int
engine_delete_timeout_policy(struct engine *engine, uint32_t id)
{
    return conntrack_delete_timeout_policy(engine->tracker, id);
}
