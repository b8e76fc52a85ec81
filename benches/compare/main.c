/* One cell of the comparison: one workload, one size, one process.
 *
 * usage: compare-ENGINE WORKLOAD CONNECTIONS [THREADS [cold|warm [ipv4|ipv6 [tcp|udp [plain|nat]]]]]
 *
 * Prints lines "metric value"; the last one is "bad N", the number of wrong verdicts. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "memory.h"
#include "workload.h"

/* Memory that is found ahead for each connection: more than either engine and the harness take. */
enum { BYTES_EACH = 1024 };

const struct translation cell_pool = {
    .choose = true,
    .first = 0xcb007101, /* 203.0.113.1 to .16 */
    .last = 0xcb007110,
};

static const struct workload workloads[] = {
    { "established", workload_established },
    { "shared", workload_shared },
    { "second", workload_second },
    { "miss", workload_miss },
    { "setup", workload_setup },
    { "churn", workload_churn },
    { "ports", workload_ports },
    { "sweep", workload_sweep },
    { "memory", workload_memory },
    { "tail-expiry", workload_tail_expiry },
    { "tail-flush", workload_tail_flush },
    { "tail-growth", workload_tail_growth },
    { "tail-dump", workload_tail_dump },
    { "flood", workload_flood },
    { "eviction", workload_eviction },
    { NULL, NULL },
};

static const struct workload *
find(const struct workload *workload, const char *name)
{
    while (workload->name && strcmp(workload->name, name)) {
        workload++;
    }
    return workload->name ? workload : NULL;
}

void
report(const char *metric, double value)
{
    printf("%s %.3f\n", metric, value);
}

int
main(int argc, char *argv[])
{
    if (argc < 3) {
        errx(2, "usage: compare-%s WORKLOAD CONNECTIONS "
                "[THREADS [cold|warm [ipv4|ipv6 [tcp|udp [plain|nat]]]]]", engine_name);
    }
    struct cell cell = {
        .connections = (uint32_t) strtoul(argv[2], NULL, 10),
        .threads = argc > 3 ? (unsigned) strtoul(argv[3], NULL, 10) : 1,
        .headers = argc > 4 && !strcmp(argv[4], "warm") ? WARM : COLD,
        .family = argc > 5 && !strcmp(argv[5], "ipv6") ? IPV6 : IPV4,
        .transport = argc > 6 && !strcmp(argv[6], "udp") ? UDP : TCP,
        .nat = argc > 7 && !strcmp(argv[7], "nat"),
    };
    const struct workload *workload = find(workloads, argv[1]);

    if (!cell.connections || !cell.threads) {
        errx(2, "connections and threads are at least one");
    }
    workload = workload ? workload : find(engine_workloads, argv[1]);
    if (!workload) {
        errx(2, "%s has no workload named %s", engine_name, argv[1]);
    }
    memory_find(((size_t) 64 << 20) + (size_t) cell.connections * BYTES_EACH);
    clock_calibrate();

    uint64_t bad = workload->run(&cell);

    printf("bad %" PRIu64 "\n", bad);
    fflush(stdout);
    _Exit(bad ? 1 : 0);
}
