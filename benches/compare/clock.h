/* Time as the harness measures it.
 *
 * Ticks are those of the processor's constant-rate counter, read around every call of an engine: a
 * few nanoseconds per batch. Around every ring of batches the thread's count of involuntary context
 * switches is read: where it moved, the machine gave the processor to somebody else, and the ring is
 * kept apart instead of averaging the pause in. A thread that waits for a lock of the engine gives
 * the processor away by itself, and that time counts.
 *
 * The thread's CPU clock serves where a single long operation is measured. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
static inline uint64_t
ticks_before(void)
{
    _mm_lfence();
    return __rdtsc();
}

static inline uint64_t
ticks_after(void)
{
    unsigned aux;
    uint64_t ticks = __rdtscp(&aux);

    _mm_lfence();
    return ticks;
}
#elif defined(__aarch64__)
static inline uint64_t
ticks_before(void)
{
    uint64_t ticks;

    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
    return ticks;
}

static inline uint64_t
ticks_after(void)
{
    return ticks_before();
}
#else
#error "say here how the cycle counter of this machine is read"
#endif

/* Learns the length of a tick. Call once, before anything is measured. */
void clock_calibrate(void);
double clock_ns(uint64_t ticks);

/* CPU time of the calling thread, ns. */
uint64_t clock_thread(void);

/* Runs the calling thread on one processor only. */
void clock_pin(unsigned cpu);

/* A window in which the thread should not be interrupted. */
struct window {
    long preemptions;
};

struct window window_open(void);
bool window_undisturbed(const struct window *);

/* A histogram of durations: exact to 1/16 of the value. */
enum { HISTOGRAM_BUCKETS = 64 * 16 };

struct histogram {
    uint64_t count[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t most;
};

void histogram_add(struct histogram *, uint64_t ticks);

/* The duration, ns, that a share 'quantile' of the entries stays within. */
double histogram_quantile(const struct histogram *, double quantile);

#endif
