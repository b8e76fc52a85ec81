/* Two or more builds of the library against each other, ring by ring in one process.
 *
 *     turns KIND CONNECTIONS cold|warm ipv4|ipv6 tcp|udp ROUNDS LIBRARY LIBRARY...
 *
 * KIND is established, second or miss, as in the comparison with Open vSwitch. On a machine that others use,
 * too, two processes one after the other differ by more than what is to be found out. So the builds take
 * turns here: each gets the same ring of 2,048 packets, a tenth of a millisecond after the other, and the
 * first one is another each time. What counts is the median of the ratios: it tells one percent.
 *
 * Where frames of the stack lie relative to packets decides about some percent, too; so each ring is handed
 * over at another depth of it. */
#include <alloca.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "builds.h"
#include "team.h"
#include "traffic.h"

enum { WARM_UP = 20, PAGE = 4096, LINE = 64 };

enum kind { ESTABLISHED, SECOND, MISS };

struct turns {
    enum kind kind;
    enum headers headers;
    unsigned rounds, builds;
    char *const *files;
    struct engine *engine;
    struct flows flows, strangers;
    double (*ns)[MOST_BUILDS]; /* of each round and build */
    uint64_t bad;
};

static void
fill_ring(struct turns *turns, struct worker *worker)
{
    for (unsigned i = 0; i < RING * BATCH; i++) {
        uint32_t flow = worker_random(worker, turns->flows.count);
        struct packet packet;
        uint8_t state;

        if (turns->kind == MISS) {
            packet = flows_open_packet(&turns->strangers, flow, 0, &state);
        } else {
            enum direction direction = worker_random(worker, 2) ? REPLY : ORIGINAL;

            packet = flows_data_packet(&turns->flows, flow, direction, &state);
        }
        worker_put(worker, i, &packet, state);
    }
}

/* The ticks of a ring that is handed over 'depth' bytes further down the stack. */
static uint64_t __attribute__((noinline))
send_ring(const struct turns *turns, struct worker *worker, size_t depth)
{
    struct request request = flows_request(&turns->flows, false);
    volatile char *below = alloca(depth);
    uint64_t ticks = 0;

    *below = 0;
    for (unsigned batch = 0; batch < RING; batch++) {
        uint64_t once = worker_send(worker, batch, &request);

        ticks += turns->kind == SECOND ? worker_send_again(worker, batch, &request) : once;
    }
    return ticks;
}

static void
member(struct team *team, unsigned number, void *context)
{
    struct turns *turns = context;
    struct worker *worker = worker_new(turns->engine, number, turns->headers);

    (void) team;
    worker_open(worker, &turns->flows, 0, turns->flows.count);
    for (unsigned round = 0; round < WARM_UP + turns->rounds; round++) {
        size_t depth = LINE * (1 + worker_random(worker, PAGE / LINE));

        fill_ring(turns, worker);
        worker->now++;
        for (unsigned i = 0; i < turns->builds; i++) {
            unsigned build = (round + i) % turns->builds;

            builds_turn(build);
            worker_ready(worker);
            uint64_t ticks = send_ring(turns, worker, depth);

            if (round >= WARM_UP) {
                turns->ns[round - WARM_UP][build] = clock_ns(ticks) / (RING * BATCH);
            }
        }
    }
    turns->bad = worker->bad;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static void
print_build(const struct turns *turns, unsigned build)
{
    double *ns = calloc(turns->rounds, sizeof *ns), *ratios = calloc(turns->rounds, sizeof *ratios);

    for (unsigned round = 0; round < turns->rounds; round++) {
        ns[round] = turns->ns[round][build];
        ratios[round] = ns[round] / turns->ns[round][0];
    }
    qsort(ns, turns->rounds, sizeof *ns, by_size);
    qsort(ratios, turns->rounds, sizeof *ratios, by_size);
    printf("%6.1f ns, tenth percentile %6.1f, of the first %.3f  %s\n", ns[turns->rounds / 2],
           ns[turns->rounds / 10], ratios[turns->rounds / 2], turns->files[build]);
    free(ns);
    free(ratios);
}

/* Which of the names an argument is. */
static unsigned
choice(const char *argument, const char *const names[])
{
    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(argument, names[i])) {
            return i;
        }
    }
    errx(2, "%s is none of %s, ...", argument, names[0]);
}

int
main(int argc, char *argv[])
{
    if (argc < 9) {
        errx(2, "usage: turns established|second|miss CONNECTIONS cold|warm ipv4|ipv6 tcp|udp ROUNDS "
                "LIBRARY LIBRARY...");
    }
    uint32_t count = (uint32_t) strtoul(argv[2], NULL, 10);
    enum family family = choice(argv[4], (const char *const[]) { "ipv4", "ipv6", NULL });
    enum transport transport = choice(argv[5], (const char *const[]) { "tcp", "udp", NULL });
    struct turns turns = {
        .kind = choice(argv[1], (const char *const[]) { "established", "second", "miss", NULL }),
        .headers = choice(argv[3], (const char *const[]) { "warm", "cold", NULL }),
        .rounds = (unsigned) strtoul(argv[6], NULL, 10),
        .builds = (unsigned) argc - 7,
        .files = argv + 7,
        .flows = flows_new(count, RESIDENT, family, transport, 1),
        .strangers = flows_new(count, STRANGER, family, transport, 1),
    };

    if (!count || !turns.rounds) {
        errx(2, "connections and rounds are at least one");
    }
    clock_calibrate();
    builds_load(turns.builds, turns.files);
    turns.engine = engine_create(count * 2 + 1024);
    turns.ns = calloc(turns.rounds, sizeof *turns.ns);
    team_run(1, member, &turns);
    for (unsigned build = 0; build < turns.builds; build++) {
        print_build(&turns, build);
    }
    if (turns.bad) {
        errx(1, "%llu verdicts were wrong", (unsigned long long) turns.bad);
    }
    return 0;
}
