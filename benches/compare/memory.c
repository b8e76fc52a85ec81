/* Memory and caches: see memory.h. */
#define _GNU_SOURCE
#include "memory.h"

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 64 };

static const size_t HUGE_PAGE = (size_t) 2 << 20;

void *
memory_map(size_t bytes)
{
    size_t size = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint8_t *base = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED) {
        err(1, "mmap of %zu bytes", size);
    }
    uint8_t *start = base + (HUGE_PAGE - (uintptr_t) base % HUGE_PAGE) % HUGE_PAGE;
    madvise(start, size, MADV_HUGEPAGE);
    memset(start, 0, size);
    return start;
}

void
memory_find(size_t bytes)
{
    size_t free = (size_t) sysconf(_SC_AVPHYS_PAGES) * (size_t) sysconf(_SC_PAGESIZE);
    size_t size = bytes < free / 2 ? bytes : free / 2;
    void *found = memory_map(size);

    munmap(found, size);
}

#if defined(__x86_64__)
#include <immintrin.h>

void
memory_flush(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE) {
        _mm_clflush((const uint8_t *) from + i);
    }
}

void
memory_fence(void)
{
    _mm_mfence();
}
#elif defined(__aarch64__)
void
memory_flush(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE) {
        __asm__ volatile("dc civac, %0" : : "r"((const uint8_t *) from + i) : "memory");
    }
}

void
memory_fence(void)
{
    __asm__ volatile("dsb sy" : : : "memory");
}
#else
#error "say here how a cache line is flushed on this machine"
#endif

size_t
memory_resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size, resident;

    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2) {
        err(1, "/proc/self/statm");
    }
    fclose(file);
    return resident * (size_t) sysconf(_SC_PAGESIZE);
}
