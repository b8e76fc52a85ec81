/* One cell of the comparison: one workload, one size, one process.
 *
 * usage: compare-ENGINE WORKLOAD CONNECTIONS [THREADS [cold|warm [ipv4|ipv6 [tcp|udp]]]]
 *
 * Prints lines "metric value"; the last one is "bad N", the number of wrong verdicts. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "workload.h"

static const struct {
    const char *name;
    uint64_t (*run)(const struct cell *);
} workloads[] = {
    { "established", workload_established },
    { "shared", workload_shared },
    { "second", workload_second },
    { "miss", workload_miss },
    { "setup", workload_setup },
    { "churn", workload_churn },
    { "sweep", workload_sweep },
    { "memory", workload_memory },
    { "tail-expiry", workload_tail_expiry },
    { "tail-flush", workload_tail_flush },
    { "tail-growth", workload_tail_growth },
    { "tail-dump", workload_tail_dump },
    { "flood", workload_flood },
};

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
                "[THREADS [cold|warm [ipv4|ipv6 [tcp|udp]]]]", engine_name);
    }
    struct cell cell = {
        .connections = (uint32_t) strtoul(argv[2], NULL, 10),
        .threads = argc > 3 ? (unsigned) strtoul(argv[3], NULL, 10) : 1,
        .headers = argc > 4 && !strcmp(argv[4], "warm") ? WARM : COLD,
        .family = argc > 5 && !strcmp(argv[5], "ipv6") ? IPV6 : IPV4,
        .transport = argc > 6 && !strcmp(argv[6], "udp") ? UDP : TCP,
    };

    if (!cell.connections || !cell.threads) {
        errx(2, "connections and threads are at least one");
    }
    clock_calibrate();
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        if (!strcmp(workloads[i].name, argv[1])) {
            uint64_t bad = workloads[i].run(&cell);

            printf("bad %" PRIu64 "\n", bad);
            fflush(stdout);
            _Exit(bad ? 1 : 0);
        }
    }
    errx(2, "no workload is named %s", argv[1]);
}
