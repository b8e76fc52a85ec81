/* Clocks and histograms: see clock.h. */
#define _GNU_SOURCE
#include "clock.h"

#include <err.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

static double ns_per_tick;

static uint64_t
read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

void
clock_calibrate(void)
{
    uint64_t from_ns = read_ns(CLOCK_MONOTONIC_RAW);
    uint64_t from = ticks_before();
    uint64_t to_ns;

    do {
        to_ns = read_ns(CLOCK_MONOTONIC_RAW);
    } while (to_ns - from_ns < 50000000);
    ns_per_tick = (double) (to_ns - from_ns) / (double) (ticks_after() - from);
}

double
clock_ns(uint64_t ticks)
{
    return (double) ticks * ns_per_tick;
}

uint64_t
clock_thread(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

void
clock_pin(unsigned cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) {
        err(1, "cannot run on processor %u", cpu);
    }
}

static long
preemptions(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

struct window
window_open(void)
{
    return (struct window) { .preemptions = preemptions() };
}

bool
window_undisturbed(const struct window *window)
{
    return preemptions() == window->preemptions;
}

static unsigned
bucket_of(uint64_t ticks)
{
    if (ticks < 16) {
        return (unsigned) ticks;
    }
    unsigned exponent = 63 - (unsigned) __builtin_clzll(ticks);

    return (exponent - 3) * 16 + (unsigned) (ticks >> (exponent - 4) & 15);
}

static uint64_t
bucket_end(unsigned bucket)
{
    if (bucket < 16) {
        return bucket;
    }
    unsigned exponent = bucket / 16 + 3;

    return ((uint64_t) (16 + bucket % 16 + 1) << (exponent - 4)) - 1;
}

void
histogram_add(struct histogram *histogram, uint64_t ticks)
{
    histogram->count[bucket_of(ticks)]++;
    histogram->total++;
    if (ticks > histogram->most) {
        histogram->most = ticks;
    }
}

double
histogram_quantile(const struct histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t) ((double) histogram->total * quantile);
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->count[i];
        if (seen > wanted) {
            return clock_ns(bucket_end(i));
        }
    }
    return clock_ns(histogram->most);
}
