/* A pipeline of three zones. Its filters are named by the number of passes before them, from one on. */
#include "zones.h"

void
zones_track(struct lane *lane, unsigned first, unsigned n, uint16_t zone, long long now_ms)
{
    struct ct_action action = { .size = sizeof action, .zone = zone };

    engine_must(conntrack_execute(lane->tracker, &lane->packets[first], n, &action, now_ms),
                "conntrack_execute");
}

static struct ct_field_match
match(uint32_t field, uint8_t value, uint8_t mask)
{
    struct ct_field_match match = { .field = field };

    match.value[15] = value;
    match.mask[15] = mask;
    return match;
}

/* Every filter but the first is for packets of established connections. */
static void
tell_filters(struct conntrack *tracker)
{
    for (uint8_t chain = 0; chain <= ZONES; chain++) {
        struct ct_action action = { .size = sizeof action, .zone = chain + 1u };
        struct ct_field_match matches[] = {
            match(CT_FIELD_RECIRCULATION, chain, 0xff),
            match(CT_FIELD_CT_STATE, CT_STATE_ESTABLISHED, CT_STATE_ESTABLISHED),
        };
        struct ct_flow_action actions[] = {
            { .kind = chain < ZONES ? CT_FLOW_CT : CT_FLOW_OUTPUT,
              .number = chain < ZONES ? 0 : 2,
              .ct = chain < ZONES ? &action : NULL },
            { .kind = CT_FLOW_RECIRCULATE, .number = chain + 1u },
        };
        struct ct_flow_filter filter = {
            .size = sizeof filter,
            .cookie = chain + 1u,
            .matches = matches,
            .n_matches = chain ? 2 : 1,
            .actions = actions,
            .n_actions = chain < ZONES ? 2 : 1,
        };

        engine_must(ct_flow_filter_add(tracker, &filter), "ct_flow_filter_add");
    }
}

void
zones_enable(struct conntrack *tracker, uint32_t flows)
{
    struct ct_fastpath_config config = {
        .size = sizeof config,
        .flows = flows,
        .traces = flows,
    };

    engine_must(ct_fastpath_enable(tracker, &config), "ct_fastpath_enable");
    tell_filters(tracker);
}

static void
teach(struct lane *lane, unsigned i, long long now_ms)
{
    struct ct_trace *trace = lane->packets[i].trace;

    for (uint16_t zone = 1; zone <= ZONES; zone++) {
        ct_trace_filter(trace, zone);
        zones_track(lane, i, 1, zone, now_ms);
    }
    ct_trace_filter(trace, ZONES + 1);
    engine_must(ct_trace_end(lane->tracker, trace), "ct_trace_end");
}

unsigned
zones_fastpath(struct lane *lane, struct ct_trace traces[BATCH], long long now_ms)
{
    struct ct_packet *packets = lane->packets;
    const struct ct_merged_flow *flows[BATCH] = { NULL };
    unsigned found = 0;
    uint64_t visit;

    for (unsigned i = 0; i < BATCH; i++) {
        packets[i].trace = &traces[i];
    }
    engine_must(ct_fastpath_lookup(lane->tracker, packets, NULL, BATCH, now_ms, flows, &visit),
                "ct_fastpath_lookup");
    engine_must(ct_fastpath_done(lane->tracker, &visit), "ct_fastpath_done");
    for (unsigned i = 0; i < BATCH; i++) {
        if (flows[i]) {
            found++;
        } else {
            teach(lane, i, now_ms);
        }
    }
    return found;
}
