/* Providers written in C: their life, batches, queues, what they report, calls back into the library,
 * and one that is unloaded while packets flow. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

struct told {
    atomic_int added, deleted, established, updated, changed, flushed, destroyed, freed;
    struct conntrack *ct;
    struct ct_offload_ctx last; /* under `lock` */
    int answer;
    int ready;
    int declines;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void remember(struct told *told, const struct ct_offload_ctx *ctx)
{
    pthread_mutex_lock(&lock);
    told->last = *ctx;
    pthread_mutex_unlock(&lock);
}

static int on_add(void *user, const struct ct_offload_ctx *ctx)
{
    struct told *told = user;
    told->added++;
    remember(told, ctx);
    return told->answer;
}

static void on_del(void *user, const struct ct_offload_ctx *ctx, struct ct_offload_report *report)
{
    struct told *told = user;
    told->deleted++;
    remember(told, ctx);
    report->packets[0] = 2;
    report->bytes[0] = 200;
}

static int on_established(void *user, const struct ct_offload_ctx *ctx)
{
    struct told *told = user;
    remember(told, ctx);
    told->established++;
    return told->ready;
}

static int64_t on_update(void *user, const struct ct_offload_ctx *ctx,
                         struct ct_offload_report *report)
{
    struct told *told = user;
    told->updated++;
    report->packets[1] = 3;
    report->bytes[1] = 300;
    return ctx->now_ms - 1000;
}

static void on_changed(void *user, const struct ct_offload_ctx *ctx, uint32_t changed)
{
    struct told *told = user;
    CHECK(changed == CT_OFFLOAD_CHANGED_METADATA);
    remember(told, ctx);
    told->changed++;
}

static int on_can(void *user, const struct ct_offload_ctx *ctx)
{
    struct told *told = user;
    (void)ctx;
    return !told->declines;
}

static void on_flush(void *user)
{
    ((struct told *)user)->flushed++;
}

static void on_destroy(void *user)
{
    ((struct told *)user)->destroyed++;
}

static void on_free(void *user, void *data)
{
    ((struct told *)user)->freed++;
    free(data);
}

static int refuses(void *user)
{
    (void)user;
    return ENODEV;
}

static struct ct_offload_class class_of(const char *name, struct told *told)
{
    struct ct_offload_class class = {
        .size = sizeof class,
        .name = name,
        .user = told,
        .conn_add = on_add,
        .conn_del = on_del,
        .conn_established = on_established,
        .conn_update = on_update,
        .conn_changed = on_changed,
        .can_offload = on_can,
        .flush = on_flush,
        .destroy = on_destroy,
        .data_free = on_free,
    };
    told->ready = 1;
    return class;
}

static uint64_t send_udp(struct conntrack *ct, uint16_t port, int reply, uint32_t mark, int64_t now)
{
    struct udp p = reply ? udp(2, 53, 1, port) : udp(1, port, 2, 53);
    struct ct_packet packet_ = packet(&p);
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    if (mark != 0) {
        commit.mark = mark;
        commit.mark_mask = UINT32_MAX;
    }
    CHECK(conntrack_execute(ct, &packet_, 1, &commit, now) == 0);
    return packet_.connection;
}

static void sweep(struct conntrack *ct, int64_t now)
{
    struct ct_sweep swept = {.size = sizeof swept};
    do {
        CHECK(conntrack_sweep(ct, now, 65536, &swept) == 0);
    } while (!swept.complete);
}

static struct conntrack *create(void)
{
    struct ct_config config = {.size = sizeof config, .flags = CT_CONFIG_ACCOUNTING};
    struct conntrack *ct = NULL;
    CHECK(conntrack_create(&config, &ct) == 0);
    return ct;
}

static void life(void)
{
    struct conntrack *ct = create();
    struct told told = {.ct = ct};
    struct ct_offload_class class = class_of("card", &told);
    CHECK(ct_offload_register(ct, &class, 0) == 0);
    CHECK(ct_offload_register(ct, &class, 0) == EEXIST);
    class.name = "broken";
    class.init = refuses;
    CHECK(ct_offload_register(ct, &class, 0) == ENODEV);

    uint64_t id = send_udp(ct, 5, 0, 0, 1);
    CHECK(told.added == 1 && told.last.connection == id);
    CHECK(told.last.original.src_port == 5 && told.last.reply.src_port == 53);
    CHECK(told.last.timeout_ms == 60000 && told.last.flags == 0);
    send_udp(ct, 5, 1, 0, 2);
    CHECK(told.established == 1);
    send_udp(ct, 5, 1, 7, 3);
    CHECK(told.established == 1 && told.changed == 1 && told.last.mark == 7);

    /* Data of the provider. */
    CHECK(ct_offload_set_data(ct, "card", id, malloc(1)) == 0);
    CHECK(ct_offload_set_data(ct, "card", id, malloc(1)) == 0 && told.freed == 1);
    CHECK(ct_offload_set_data(ct, "card", 77, malloc(1)) == ENOENT && told.freed == 2);

    struct ct_connection c = {.size = sizeof c};
    CHECK(conntrack_get(ct, id, 4, &c) == 0 && (c.status & CT_STATUS_HW_OFFLOAD) != 0);

    /* Expiry: it says that it was used a second ago. */
    sweep(ct, 40000);
    CHECK(told.updated == 1);
    CHECK(conntrack_get(ct, id, 40000, &c) == 0 && c.remaining_ms == 29000);
    CHECK(c.packets[1] == 2 + 3 && c.bytes[1] == 2 * 29 + 300);

    struct ct_offload_standing standing[2] = {{.size = sizeof standing[0]},
                                              {.size = sizeof standing[0]}};
    uint32_t n = 2;
    CHECK(ct_offload_get_standing(ct, id, standing, &n) == 0 && n == 1);
    CHECK(standing[0].state == CT_OFFLOAD_STATE_ESTABLISHED);
    CHECK(strcmp((const char *)standing[0].provider, "card") == 0);
    CHECK(standing[0].packets[1] == 3 && standing[0].since_ms == 1 && standing[0].why[0] == 0);
    CHECK(ct_offload_get_standing(ct, 77, standing, &n) == ENOENT);

    CHECK(conntrack_flush(ct, NULL) == 0);
    CHECK(told.deleted == 1 && told.flushed == 1 && told.freed == 3);

    struct ct_offload_stats stats = {.size = sizeof stats};
    CHECK(ct_offload_get_stats(ct, "card", &stats) == 0);
    CHECK(stats.added == 1 && stats.deleted == 1 && stats.packets[0] == 2 && stats.packets[1] == 3);
    CHECK(ct_offload_get_stats(ct, "none", &stats) == ENOENT);

    told.declines = 1;
    id = send_udp(ct, 6, 0, 0, 50000);
    CHECK(told.added == 1);
    n = 1;
    CHECK(ct_offload_get_standing(ct, id, standing, &n) == 0);
    CHECK(standing[0].state == CT_OFFLOAD_STATE_FAILED);
    CHECK(strcmp((const char *)standing[0].why, "declined") == 0);

    int on = 7;
    CHECK(ct_offload_enabled(ct, &on) == 0 && on == 1);
    CHECK(ct_offload_enable(ct, 0, 50001) == 0);
    CHECK(ct_offload_enabled(ct, &on) == 0 && on == 0);
    CHECK(ct_offload_enable(ct, 1, 50002) == 0);

    CHECK(ct_offload_unregister(ct, "card", 50003) == 0 && told.destroyed == 1);
    CHECK(ct_offload_unregister(ct, "card", 50003) == ENOENT);
    conntrack_destroy(ct);
}

/* What is left at the end gets its delete. */
static void end(void)
{
    struct conntrack *ct = create();
    struct told told = {.ct = ct};
    struct ct_offload_class class = class_of("card", &told);
    CHECK(ct_offload_register(ct, &class, 0) == 0);
    send_udp(ct, 5, 0, 0, 1);
    conntrack_destroy(ct);
    CHECK(told.deleted == 1 && told.destroyed == 1);
}

/* Also when a handle that should have been given back still refers to the instance. */
static void end_with_a_flow_table(void)
{
    struct conntrack *ct = create();
    struct told told = {.ct = ct};
    struct ct_flow_table *table = NULL;
    struct ct_offload_class class = class_of("card", &told);
    CHECK(ct_flow_table_get(ct, 0, &table) == 0);
    CHECK(ct_offload_register(ct, &class, 0) == 0);
    send_udp(ct, 5, 0, 0, 7);
    conntrack_destroy(ct);
    CHECK(told.deleted == 1 && told.destroyed == 1 && told.last.now_ms == 7);
    CHECK(ct_flow_table_put(table, 8) == 0);
}

static int batches[7];

static void on_batch(void *user, struct ct_offload_op_batch *batch)
{
    struct told *told = user;
    CHECK(batch->size == sizeof *batch);
    for (size_t i = 0; i < batch->len; i++) {
        struct ct_offload_op *op = &batch->ops[i];
        CHECK(op->error == CT_OFFLOAD_UNTOUCHED && op->kind <= CT_OFFLOAD_OP_CHANGED);
        batches[op->kind]++;
        if (op->kind == CT_OFFLOAD_OP_ADD) {
            /* Even ports are not for us. */
            op->error = op->ctx.original.src_port % 2 == 0 ? EOPNOTSUPP : 0;
            told->added++;
        } else if (op->kind == CT_OFFLOAD_OP_DEL) {
            op->report.packets[0] = 1;
            op->error = 0;
            told->deleted++;
        }
    }
}

static void batch(void)
{
    struct conntrack *ct = create();
    struct told told = {.ct = ct};
    struct ct_offload_class class = class_of("batched", &told);
    class.batch_submit = on_batch;
    CHECK(ct_offload_register(ct, &class, 0) == 0);
    struct udp data[8];
    struct ct_packet packets[8];
    for (uint16_t i = 0; i < 8; i++) {
        data[i] = udp(1, (uint16_t)(100 + i), 2, 53);
        packets[i] = packet(&data[i]);
    }
    struct ct_action commit = action(CT_ACTION_COMMIT, 0);
    CHECK(conntrack_execute(ct, packets, 8, &commit, 1) == 0);
    CHECK(batches[CT_OFFLOAD_OP_POLICY] == 8 && batches[CT_OFFLOAD_OP_ADD] == 8);
    struct ct_offload_stats stats = {.size = sizeof stats};
    CHECK(ct_offload_get_stats(ct, "batched", &stats) == 0);
    CHECK(stats.added == 4 && stats.refused == 4 && stats.held == 4);
    CHECK(conntrack_flush(ct, NULL) == 0);
    CHECK(batches[CT_OFFLOAD_OP_FLUSH] == 1 && told.flushed == 1);
    CHECK(batches[CT_OFFLOAD_OP_DEL] == 4);
    conntrack_destroy(ct);
}

static void queue(void)
{
    struct conntrack *ct = create();
    struct told told = {.ct = ct, .answer = EINPROGRESS};
    struct ct_offload_class class = class_of("queued", &told);
    class.flags = CT_OFFLOAD_QUEUED;
    CHECK(ct_offload_register(ct, &class, 0) == 0);
    uint64_t id = send_udp(ct, 5, 0, 0, 1);
    CHECK(told.added == 0);
    CHECK(ct_offload_complete(ct, "queued", id, 0, 1) == ENOENT);
    uint32_t done = 9;
    CHECK(ct_offload_work(ct, 0, 1, 100, &done) == 0 && done == 1 && told.added == 1);
    CHECK(ct_offload_complete(ct, "queued", id, EINPROGRESS, 2) == EINVAL);
    CHECK(ct_offload_complete(ct, "queued", id, 0, 2) == 0);
    CHECK(ct_offload_complete(ct, "queued", id, 0, 2) == ENOENT);

    struct ct_offload_report report = {.size = sizeof report};
    report.flags = CT_OFFLOAD_REPORT_USED;
    report.last_used_ms = 50000;
    report.packets[0] = 11;
    CHECK(ct_offload_report(ct, "queued", id, &report, 50000) == 0);
    struct ct_connection c = {.size = sizeof c};
    CHECK(conntrack_get(ct, id, 50000, &c) == 0);
    CHECK(c.packets[0] == 12 && c.remaining_ms == 60000);
    CHECK(ct_offload_give_back(ct, "queued", id, 50000) == 0);
    CHECK(ct_offload_work(ct, 0, 1, 100, NULL) == 0 && told.deleted == 1);
    CHECK(ct_offload_report(ct, "queued", id, &report, 50000) == ENOENT);

    /* The library's own threads. */
    told.answer = 0;
    CHECK(ct_offload_start_workers(ct, 2) == 0);
    for (uint16_t port = 1000; port < 1000 + rounds(1000); port++) {
        send_udp(ct, port, 0, 0, 50001);
    }
    CHECK(ct_offload_start_workers(ct, 0) == 0);
    while (ct_offload_work(ct, 0, 1, 100, &done) == 0 && done > 0) {
    }
    CHECK(told.added == 1 + (int)rounds(1000));
    conntrack_destroy(ct);
    CHECK(told.deleted == told.added);
}

/* Callbacks that call the library. */
static int meddling_add(void *user, const struct ct_offload_ctx *ctx)
{
    struct told *told = user;
    struct ct_connection c = {.size = sizeof c};
    told->added++;
    CHECK(conntrack_get(told->ct, ctx->connection, ctx->now_ms, &c) == 0);
    CHECK(ct_offload_set_data(told->ct, "meddler", ctx->connection, malloc(1)) == 0);
    switch (told->answer) {
    case 1:
        CHECK(conntrack_flush(told->ct, NULL) == 0);
        break;
    case 2:
        CHECK(ct_offload_unregister(told->ct, "meddler", ctx->now_ms) == 0);
        break;
    case 3: {
        /* Another packet, from inside the callback of the first. */
        told->answer = 0;
        send_udp(told->ct, 999, 0, 0, ctx->now_ms);
        break;
    }
    case 4:
        CHECK(ct_offload_unregister(told->ct, "other", ctx->now_ms) == EBUSY);
        break;
    case 5:
        CHECK(ct_offload_complete(told->ct, "meddler", ctx->connection, 0, ctx->now_ms) == 0);
        return EINPROGRESS;
    }
    return 0;
}

static void meddler(void)
{
    for (int what = 0; what <= 5; what++) {
        struct conntrack *ct = create();
        struct told told = {.ct = ct, .answer = what}, other = {.ct = ct};
        struct ct_offload_class class = class_of("meddler", &told);
        class.conn_add = meddling_add;
        CHECK(ct_offload_register(ct, &class, 0) == 0);
        class = class_of("other", &other);
        CHECK(ct_offload_register(ct, &class, 0) == 0);
        send_udp(ct, 5, 0, 0, 1);
        send_udp(ct, 5, 1, 0, 2);
        conntrack_destroy(ct);
        CHECK(told.freed == told.added);
        CHECK(told.added == told.deleted + (what == 2));
        CHECK(other.added == other.deleted);
    }
}

struct traffic {
    struct conntrack *ct;
    atomic_int stop;
};

static void *packets_flow(void *argument)
{
    struct traffic *traffic = argument;
    for (uint16_t port = 1; !atomic_load(&traffic->stop); port++) {
        send_udp(traffic->ct, port == 0 ? 1 : port, 0, 0, 1);
        send_udp(traffic->ct, port == 0 ? 1 : port, 1, 0, 1);
    }
    return NULL;
}

/* A provider is loaded, registered, unregistered and unloaded while packets flow. */
static void plugin(void)
{
    struct traffic traffic = {.ct = create()};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, packets_flow, &traffic) == 0);
    }
    for (uint32_t round = 0; round < rounds(50); round++) {
        void *library = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL);
        int (*reg)(struct conntrack *, int *);
        *(void **)&reg = dlsym(library, "provider_register");
        int balance = -1, status;
        CHECK(reg != NULL);
        do {
            /* EAGAIN: all places are still held by batches that are under way. */
            status = reg(traffic.ct, &balance);
        } while (status == EAGAIN);
        CHECK(status == 0);
        CHECK(conntrack_flush(traffic.ct, NULL) == 0);
        CHECK(ct_offload_unregister(traffic.ct, "plugin", 1) == 0);
        CHECK(balance == 0);
        dlclose(library);
    }
    atomic_store(&traffic.stop, 1);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    conntrack_destroy(traffic.ct);
}

static void dummy(void)
{
    struct conntrack *ct = create();
    struct ct_offload_dummy *dummy = NULL;
    struct ct_offload_dummy_counts counts = {.size = sizeof counts};
    int contains = 7, bidirectional = 7;
    CHECK(ct_offload_dummy_register(ct, 0, &dummy) == 0);
    uint64_t id = send_udp(ct, 5, 0, 0, 1);
    CHECK(ct_offload_dummy_contains(dummy, id, &contains, &bidirectional) == 0);
    CHECK(contains == 1 && bidirectional == 0);
    send_udp(ct, 5, 1, 0, 2);
    CHECK(ct_offload_dummy_contains(dummy, id, NULL, &bidirectional) == 0 && bidirectional == 1);
    CHECK(ct_offload_dummy_get_counts(dummy, &counts) == 0);
    CHECK(counts.added == 1 && counts.established == 1 && counts.held == 1);
    CHECK(ct_offload_dummy_reset_counts(dummy) == 0);
    conntrack_destroy(ct);
    CHECK(ct_offload_dummy_get_counts(dummy, &counts) == 0);
    CHECK(counts.added == 0 && counts.deleted == 1 && counts.held == 0);
    ct_offload_dummy_free(dummy);
    ct_offload_dummy_free(NULL);
}

/* The simulated device: an answer that comes late, traffic, a FIN that only it sees. */
static void sim(void)
{
    struct conntrack *ct = create();
    struct ct_offload_sim_behaviour behaviour = {.size = sizeof behaviour, .latency_ms = 10};
    struct ct_offload_sim_counts counts = {.size = sizeof counts};
    struct ct_connection c = {.size = sizeof c};
    struct ct_offload_sim *sim = NULL;
    int carried = 7;
    behaviour.lying = 256;
    CHECK(ct_offload_sim_register(ct, &behaviour, 0, &sim) == EINVAL);
    behaviour.lying = 0;
    CHECK(ct_offload_sim_register(ct, &behaviour, 0, &sim) == 0);
    uint64_t id = send_udp(ct, 5, 0, 0, 1);
    send_udp(ct, 5, 1, 0, 2);
    CHECK(ct_offload_work(ct, 0, 1, 10, NULL) == 0);
    CHECK(conntrack_get(ct, id, 2, &c) == 0 && (c.status & CT_STATUS_HW_OFFLOAD) == 0);
    CHECK(ct_offload_sim_run(sim, 20) == 0);
    CHECK(conntrack_get(ct, id, 20, &c) == 0 && (c.status & CT_STATUS_HW_OFFLOAD) != 0);
    CHECK(ct_offload_sim_carry(sim, id, 0, 5, 500, &carried) == 0 && carried == 1);
    CHECK(ct_offload_sim_carry(sim, 77, 0, 5, 500, &carried) == 0 && carried == 0);
    CHECK(ct_offload_refresh(ct, 21, NULL) == 0);
    CHECK(conntrack_get(ct, id, 21, &c) == 0 && c.packets[0] == 1 + 5);
    CHECK(ct_offload_sim_close(sim, id, 0) == 0);
    CHECK(ct_offload_refresh(ct, 22, NULL) == 0);
    CHECK(ct_offload_work(ct, 0, 1, 10, NULL) == 0);
    CHECK(ct_offload_sim_get_counts(sim, &counts) == 0);
    CHECK(counts.added == 1 && counts.deleted == 1 && counts.strange == 0 && counts.held == 0);
    CHECK(counts.packets == 5 && counts.bytes == 500);
    ct_offload_sim_free(sim);
    ct_offload_sim_free(NULL);
    conntrack_destroy(ct);
}

int main(void)
{
    life();
    end();
    end_with_a_flow_table();
    batch();
    queue();
    meddler();
    plugin();
    dummy();
    sim();
    return 0;
}
