/*
 * An offload provider, step by step: a card with room for a few flows, driven by libctoffload.
 *
 *     provider [PACKETS]
 *
 * The "card" is a small table in this program: packets are shown to it first, and what it does not know
 * goes to the tracker. The provider programs it. A real one would call its driver where this one
 * changes the table. docs/offload.md explains each step.
 */
#include <ctoffload.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ the card --- */

#define ROOM 256

struct rule {
    uint64_t connection; /* 0: free. The id is what the card hands back on a miss. */
    struct ct_tuple original, reply;
    int64_t last_used_ms;
    uint64_t packets[2], bytes[2]; /* Since the last report. */
};

struct card {
    pthread_mutex_t lock;
    struct rule rules[ROOM];
    unsigned used;
    unsigned long long carried;
};

static int same(const struct ct_tuple *a, const struct ct_tuple *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* A packet arrives at the card. 1: it was carried. */
static int card_receive(struct card *card, const struct ct_tuple *tuple, unsigned bytes, int64_t now)
{
    int carried = 0;
    pthread_mutex_lock(&card->lock);
    for (unsigned i = 0; i < ROOM && !carried; i++) {
        struct rule *rule = &card->rules[i];
        int reply = same(tuple, &rule->reply);
        if (rule->connection == 0 || (!reply && !same(tuple, &rule->original)))
            continue;
        rule->packets[reply]++;
        rule->bytes[reply] += bytes;
        rule->last_used_ms = now;
        card->carried++;
        carried = 1;
    }
    pthread_mutex_unlock(&card->lock);
    return carried;
}

static struct rule *card_find(struct card *card, uint64_t connection)
{
    for (unsigned i = 0; i < ROOM; i++) {
        if (card->rules[i].connection == connection)
            return &card->rules[i];
    }
    return NULL;
}

/* -------------------------------------------------------------------------------- the provider --- */

/* Step 1: say what you cannot carry, before anything is prepared. */
static int can_offload(void *user, const struct ct_offload_ctx *ctx)
{
    (void)user;
    return ctx->original.ip_version == 4;
}

/* Step 2: take a connection. Full is not an error: the connection stays in software and is offered
 * again when there is room. */
static int conn_add(void *user, const struct ct_offload_ctx *ctx)
{
    struct card *card = user;
    int status = ENOSPC;
    pthread_mutex_lock(&card->lock);
    struct rule *rule = card_find(card, 0);
    if (rule != NULL) {
        memset(rule, 0, sizeof *rule);
        rule->connection = ctx->connection;
        rule->original = ctx->original;
        rule->reply = ctx->reply;
        card->used++;
        status = 0;
    }
    pthread_mutex_unlock(&card->lock);
    return status;
}

/* What the card counted since the last report: handed over, and begun anew. */
static void take_counts(struct rule *rule, struct ct_offload_report *report)
{
    for (int i = 0; i < 2; i++) {
        report->packets[i] = rule->packets[i];
        report->bytes[i] = rule->bytes[i];
        rule->packets[i] = rule->bytes[i] = 0;
    }
}

/* Step 3: answer when a connection was used last. It lives on from then, by its own timeout. */
static int64_t conn_update(void *user, const struct ct_offload_ctx *ctx,
                           struct ct_offload_report *report)
{
    struct card *card = user;
    int64_t used = 0;
    pthread_mutex_lock(&card->lock);
    struct rule *rule = card_find(card, ctx->connection);
    if (rule != NULL) {
        take_counts(rule, report);
        used = rule->last_used_ms;
    }
    pthread_mutex_unlock(&card->lock);
    return used;
}

/* Step 4: let go of it, and tell what it carried since the last report. */
static void conn_del(void *user, const struct ct_offload_ctx *ctx, struct ct_offload_report *report)
{
    struct card *card = user;
    pthread_mutex_lock(&card->lock);
    struct rule *rule = card_find(card, ctx->connection);
    if (rule != NULL) {
        take_counts(rule, report);
        rule->connection = 0;
        card->used--;
    }
    pthread_mutex_unlock(&card->lock);
}

/* Step 5: register. Connections are offered once they were answered, and callbacks run on a thread of
 * the library, so that packets never wait for the card. */
static int card_register(struct card *card, struct conntrack *ct)
{
    struct ct_offload_class class = {
        .size = sizeof class,
        .name = "card",
        .user = card,
        .offer_at = CT_OFFER_AT_FIRST_REPLY,
        .flags = CT_OFFLOAD_QUEUED,
        .capacity = ROOM,
        .can_offload = can_offload,
        .conn_add = conn_add,
        .conn_update = conn_update,
        .conn_del = conn_del,
    };
    int status = ct_offload_register(ct, &class, 0);
    return status != 0 ? status : ct_offload_start_workers(ct, 1);
}

/* --------------------------------------------------------------------------------- the datapath --- */

#define CLIENTS 400
#define DATAGRAM 29

/* Datagram `i`: a client asks, or its server answers. */
static void datagram(uint8_t *p, unsigned client, int reply)
{
    static const uint8_t blank[DATAGRAM] = {0x45, 0, 0, DATAGRAM, 0, 0, 0, 0, 64, 17};
    uint16_t port = (uint16_t)(1024 + client);
    memcpy(p, blank, sizeof blank);
    memcpy(p + (reply ? 16 : 12), (uint8_t[]){10, 0, (uint8_t)(client >> 8), (uint8_t)client}, 4);
    memcpy(p + (reply ? 12 : 16), (uint8_t[]){10, 9, 9, 9}, 4);
    p[reply ? 22 : 20] = (uint8_t)(port >> 8);
    p[reply ? 23 : 21] = (uint8_t)port;
    p[reply ? 21 : 23] = 53;
    p[25] = 9;
}

/* What a card reads from its parser. */
static struct ct_tuple tuple_of(const uint8_t *p)
{
    struct ct_tuple tuple = {.ip_version = 4, .protocol = p[9]};
    memcpy(tuple.src, p + 12, 4);
    memcpy(tuple.dst, p + 16, 4);
    tuple.src_port = (uint16_t)(p[20] << 8 | p[21]);
    tuple.dst_port = (uint16_t)(p[22] << 8 | p[23]);
    return tuple;
}

int main(int argc, char **argv)
{
    static struct card card = {.lock = PTHREAD_MUTEX_INITIALIZER};
    unsigned long packets = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
    struct ct_config config = {.size = sizeof config, .flags = CT_CONFIG_ACCOUNTING};
    struct ct_action commit = {.size = sizeof commit, .flags = CT_ACTION_COMMIT};
    struct conntrack *ct;
    unsigned long software = 0;
    int64_t now = 1000;

    if (conntrack_create(&config, &ct) != 0 || card_register(&card, ct) != 0) {
        fprintf(stderr, "%s\n", ct_last_error());
        return 1;
    }
    for (unsigned long i = 0; i < packets; i++) {
        uint8_t bytes[DATAGRAM];
        int reply = (int)(i & 1);
        datagram(bytes, (unsigned)(i / 2 % CLIENTS), reply);
        struct ct_tuple tuple = tuple_of(bytes);
        now += i % 64 == 0;
        if (card_receive(&card, &tuple, sizeof bytes, now))
            continue;
        struct ct_packet packet = {.data = bytes, .length = sizeof bytes,
                                   .flags = CT_PACKET_IP_CSUM_GOOD, .in_port = 1 + (uint32_t)reply};
        conntrack_execute(ct, &packet, 1, &commit, now);
        software++;
        if (i % 1024 == 0)
            conntrack_sweep(ct, now, 1024, NULL);
    }

    ct_offload_refresh(ct, now, NULL);
    struct ct_offload_stats stats = {.size = sizeof stats};
    struct ct_dump dump = {.size = sizeof dump};
    struct ct_connection c = {.size = sizeof c};
    unsigned long long counted = 0;
    ct_offload_get_stats(ct, "card", &stats);
    conntrack_dump_start(ct, NULL, &dump);
    for (unsigned n = 0; conntrack_dump_next(ct, &dump, now, &c) == 0; n++) {
        counted += c.packets[0] + c.packets[1];
        struct ct_offload_standing standing = {.size = sizeof standing};
        uint32_t one = 1;
        if (n % 100 == 0 && ct_offload_get_standing(ct, c.id, &standing, &one) == 0 && one == 1)
            printf("port %u: %s%s, %llu packets, %llu by the card\n", c.original.src_port,
                   c.status & CT_STATUS_HW_OFFLOAD ? "[HW_OFFLOAD]" : "software: ",
                   (const char *)standing.why, (unsigned long long)(c.packets[0] + c.packets[1]),
                   (unsigned long long)(standing.packets[0] + standing.packets[1]));
    }
    printf("%lu packets: %llu by the card, %lu in software; the tracker counted %llu\n", packets,
           card.carried, software, counted);
    printf("%llu added, %llu deleted, %u of %d places used\n", (unsigned long long)stats.added,
           (unsigned long long)stats.deleted, card.used, ROOM);
    conntrack_destroy(ct);
    return counted == packets && card.used == 0 ? 0 : 1;
}
