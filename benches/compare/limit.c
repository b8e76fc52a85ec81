/* The machine's own limit for finding a connection: two random cache lines per packet.
 *
 * A lookup that does nothing but what it must: the line of the index that names the record, and the
 * record's own line, both in 2 MiB pages, in batches of 32 of which first all index lines and then
 * all record lines are asked for ahead. The record gets the time stored, as a tracker must. No hash
 * of a packet, no key to compare, no state: a tracker can come near this, not below it.
 *
 * usage: limit RECORDS    prints "ns_per_packet NS" (the median of several rounds) */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "memory.h"

enum { LANES = 32, LINE_WORDS = 16, SLOTS = 8, ROUNDS = 15, PACKETS = 1 << 18 };

static uint64_t state = 1;

static uint32_t
draw(uint32_t limit)
{
    uint64_t x = state += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t) (((x ^ (x >> 31)) >> 32) * limit >> 32);
}

/* The index: lines of SLOTS record numbers, filled to half. Gives the slot of each record. */
static uint32_t *
fill_index(uint32_t (*lines)[LINE_WORDS], uint32_t line_count, uint32_t records)
{
    uint32_t *place = memory_map((size_t) records * sizeof *place);
    uint8_t *used = memory_map(line_count);

    for (uint32_t record = 0; record < records; record++) {
        uint32_t line;

        do {
            line = draw(line_count);
        } while (used[line] == SLOTS);
        place[record] = line * SLOTS + used[line];
        lines[line][used[line]++] = record;
    }
    return place;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

int
main(int argc, char *argv[])
{
    uint32_t records = argc > 1 ? (uint32_t) strtoul(argv[1], NULL, 10) : 0;

    if (!records) {
        errx(2, "usage: limit RECORDS");
    }
    uint32_t line_count = records / (SLOTS / 2) + 1;
    uint32_t (*lines)[LINE_WORDS] = memory_map((size_t) line_count * sizeof *lines);
    uint32_t (*record_lines)[LINE_WORDS] = memory_map((size_t) records * sizeof *record_lines);
    uint32_t *place = fill_index(lines, line_count, records);
    uint32_t *order = memory_map(PACKETS * sizeof *order);
    double ns[ROUNDS];

    clock_pin(0);
    clock_calibrate();
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PACKETS; i++) {
            order[i] = place[draw(records)];
        }
        uint64_t from = ticks_before();
        for (unsigned at = 0; at < PACKETS; at += LANES) {
            uint32_t found[LANES];

            for (unsigned i = 0; i < LANES; i++) {
                __builtin_prefetch(&lines[order[at + i] / SLOTS]);
            }
            for (unsigned i = 0; i < LANES; i++) {
                found[i] = lines[order[at + i] / SLOTS][order[at + i] % SLOTS];
                __builtin_prefetch(&record_lines[found[i]], 1);
            }
            for (unsigned i = 0; i < LANES; i++) {
                record_lines[found[i]][0] = round + record_lines[found[i]][1];
            }
        }
        ns[round] = clock_ns(ticks_after() - from) / PACKETS;
    }
    qsort(ns, ROUNDS, sizeof ns[0], by_value);
    printf("ns_per_packet %.3f\nbad 0\n", ns[ROUNDS / 2]);
    return 0;
}
