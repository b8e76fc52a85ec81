/*
 * Where fragments go on that find no room. A datagram may have more fragments than a batch has places.
 * What does not fit goes on in batches of its own, at once, with the actions behind the ct() that all of
 * them came out of. Open vSwitch's executor of actions knows which these are, so this file stands in front
 * of it (the linker's --wrap=odp_execute_actions) and remembers what each thread has it execute.
 *
 * From 4.0 on a batch grows, and nothing here is needed.
 */

#include <config.h>

#include "dp-packet.h"
#include "netlink.h"
#include "odp-execute.h"
#include "odp-netlink.h"
#include "ovs-thread.h"
#include "util.h"

#include "library.h"

#if OVS_VERSION < 400

/* A list of actions that a thread executes. */
struct pipeline {
    const struct nlattr *actions;
    size_t size;
    odp_execute_cb execute;
    struct ipf *waiting;        /* Not NULL: more fragments of `kind` wait there. */
    struct fragment_kind kind;
};

/* The innermost one: a packet that is recirculated is executed within an action. */
DEFINE_STATIC_PER_THREAD_DATA(struct pipeline *, pipeline, NULL);

void __real_odp_execute_actions(void *dp, struct dp_packet_batch *, bool steal, const struct nlattr *actions,
                                size_t size, odp_execute_cb);
void __wrap_odp_execute_actions(void *dp, struct dp_packet_batch *, bool steal, const struct nlattr *actions,
                                size_t size, odp_execute_cb);

void
pipeline_more(struct ipf *waiting, const struct fragment_kind *kind)
{
    struct pipeline *pipeline = *pipeline_get();

    if (pipeline) {
        pipeline->waiting = waiting;
        pipeline->kind = *kind;
    }
}

/* The actions behind `action`, up to the end of the list that it is in: the lists within clone(), sample()
 * and check_pkt_len() are the whole way of the packets that get there. */
static const struct nlattr *
behind(const struct pipeline *pipeline, const struct nlattr *action, size_t *size)
{
    const struct nlattr *list = pipeline->actions;
    size_t list_size = pipeline->size;

    for (;;) {
        const struct nlattr *a, *around = NULL;
        unsigned int left;

        NL_ATTR_FOR_EACH_UNSAFE (a, left, list, list_size) {
            if (a == action) {
                *size = left - MIN(left, NLA_ALIGN(a->nla_len));
                return nl_attr_next(a);
            }
            if (action < nl_attr_next(a)) {
                around = a;
                break;
            }
        }
        ovs_assert(around);
        list = nl_attr_get(around);
        list_size = nl_attr_get_size(around);
    }
}

/* An action, and after it all actions behind it for the fragments that it gave back and that were too many
 * for `batch`. */
static void
execute(void *dp, struct dp_packet_batch *batch, const struct nlattr *action, bool should_steal)
{
    struct pipeline *pipeline = *pipeline_get();

    pipeline->execute(dp, batch, action, should_steal);
    if (OVS_UNLIKELY(pipeline->waiting)) {
        struct ipf *waiting = pipeline->waiting;
        struct fragment_kind kind = pipeline->kind;
        struct dp_packet_batch more;
        const struct nlattr *rest;
        size_t size;

        /* There may be another ct() behind it. */
        pipeline->waiting = NULL;
        rest = behind(pipeline, action, &size);
        for (;;) {
            dp_packet_batch_init(&more);
            reassembly_fill(waiting, &more, &kind);
            if (dp_packet_batch_is_empty(&more)) {
                break;
            }
            __real_odp_execute_actions(dp, &more, true, rest, size, execute);
        }
    }
}

void
__wrap_odp_execute_actions(void *dp, struct dp_packet_batch *batch, bool steal, const struct nlattr *actions,
                           size_t size, odp_execute_cb cb)
{
    struct pipeline **innermost = pipeline_get();
    struct pipeline *outer = *innermost;
    struct pipeline pipeline;

    pipeline.actions = actions;
    pipeline.size = size;
    pipeline.execute = cb;
    pipeline.waiting = NULL;
    *innermost = &pipeline;
    __real_odp_execute_actions(dp, batch, steal, actions, size, cb ? execute : NULL);
    *innermost = outer;
}

#endif
