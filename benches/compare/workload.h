/* The workloads. Each prints lines "metric value" and returns the number of wrong verdicts. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "engine.h"
#include "frame.h"

struct cell {
    uint32_t connections;
    unsigned threads;
    enum headers headers;
    enum family family;
    enum transport transport;
    bool nat; /* sources are translated */
};

/* The addresses that clients are translated to. */
extern const struct translation cell_pool;

/* Established packets in random order (steady.c). */
uint64_t workload_established(const struct cell *);
uint64_t workload_shared(const struct cell *);
uint64_t workload_second(const struct cell *);
uint64_t workload_miss(const struct cell *);

/* Connections that come and go (lifecycle.c). */
uint64_t workload_setup(const struct cell *);
uint64_t workload_churn(const struct cell *);

/* Set-up into ranges of ports that are nearly used up (ports.c). */
uint64_t workload_ports(const struct cell *);

/* The table as a whole (table.c). */
uint64_t workload_sweep(const struct cell *);
uint64_t workload_memory(const struct cell *);

/* The time of a batch while the other processor does something to the table (tail.c). */
uint64_t workload_tail_expiry(const struct cell *);
uint64_t workload_tail_flush(const struct cell *);
uint64_t workload_tail_growth(const struct cell *);
uint64_t workload_tail_dump(const struct cell *);
uint64_t workload_flood(const struct cell *);
uint64_t workload_eviction(const struct cell *);

void report(const char *metric, double value);

#endif
