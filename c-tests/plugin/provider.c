/* A provider in a shared object of its own, which the test unloads when it was unregistered. */
#include <ctoffload.h>

#include <stdatomic.h>

static atomic_int added, deleted;

static int add(void *user, const struct ct_offload_ctx *ctx)
{
    (void)user;
    (void)ctx;
    atomic_fetch_add(&added, 1);
    return 0;
}

static void del(void *user, const struct ct_offload_ctx *ctx, struct ct_offload_report *report)
{
    (void)user;
    (void)ctx;
    report->packets[0] = 1;
    atomic_fetch_add(&deleted, 1);
}

static void destroy(void *user)
{
    int *balance = user;
    *balance = atomic_load(&added) - atomic_load(&deleted);
}

int provider_register(struct conntrack *ct, int *balance);
int provider_register(struct conntrack *ct, int *balance)
{
    struct ct_offload_class class = {
        .size = sizeof class,
        .name = "plugin",
        .user = balance,
        .conn_add = add,
        .conn_del = del,
        .destroy = destroy,
    };
    return ct_offload_register(ct, &class, 0);
}
