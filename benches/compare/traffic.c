/* Flows and workers: see traffic.h. */
#define _GNU_SOURCE
#include "traffic.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

struct flows
flows_new(uint32_t count, enum population population, enum family family,
          enum transport transport, uint16_t zone)
{
    return (struct flows) {
        .count = count,
        .population = population,
        .family = family,
        .transport = transport,
        .zone = zone,
        .next = memory_map((size_t) count * sizeof(uint32_t[2])),
    };
}

static const struct translation as_committed = { .choose = false };

void
flows_translate(struct flows *flows, const struct translation *nat)
{
    if (flows->family != IPV4) {
        errx(2, "translation is measured with IPv4 only");
    }
    flows->nat = nat;
    flows->aliases = memory_map((size_t) flows->count * sizeof *flows->aliases);
}

struct request
flows_request(const struct flows *flows, bool commit)
{
    return (struct request) {
        .zone = flows->zone,
        .commit = commit,
        .family = flows->family,
        .nat = !flows->nat ? NULL : commit ? flows->nat : &as_committed,
    };
}

struct worker *
worker_new(struct engine *engine, unsigned number, enum headers headers)
{
    struct worker *worker = calloc(1, sizeof *worker);

    worker->lane = engine_lane(engine);
    worker->ring = ring_new(RING);
    worker->headers = headers;
    worker->now = engine_epoch(engine);
    worker->random = 0x9e3779b97f4a7c15u * (number + 1);
    return worker;
}

uint32_t
worker_random(struct worker *worker, uint32_t limit)
{
    uint64_t x = worker->random += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return (uint32_t) ((x >> 32) * limit >> 32);
}

void
worker_put(struct worker *worker, unsigned index, const struct packet *packet, uint8_t state)
{
    ring_write(worker->ring, index, packet);
    worker->expected[index] = state;
}

void
worker_ready(struct worker *worker)
{
    if (worker->headers == COLD) {
        ring_cool(worker->ring);
    }
}

static uint64_t
timed_execute(struct worker *worker, unsigned n, const struct request *request)
{
    uint64_t from = ticks_before();

    engine_execute(worker->lane, n, request, worker->now);
    return ticks_after() - from;
}

/* Calls the engine for what lies in the lane, and compares verdicts with those of a batch. */
static uint64_t
checked_execute(struct worker *worker, unsigned batch, unsigned n, const struct request *request)
{
    uint64_t ticks = timed_execute(worker, n, request);

    for (unsigned i = 0; i < n; i++) {
        worker->bad += engine_state(worker->lane, i) != worker->expected[batch * BATCH + i];
    }
    return ticks;
}

uint64_t
worker_send_some(struct worker *worker, unsigned batch, unsigned n,
                 const struct request *request)
{
    ring_load(worker->ring, batch, n, worker->lane);
    return checked_execute(worker, batch, n, request);
}

uint64_t
worker_send(struct worker *worker, unsigned batch, const struct request *request)
{
    return worker_send_some(worker, batch, BATCH, request);
}

uint64_t
worker_try(struct worker *worker, unsigned n, const struct request *request)
{
    ring_load(worker->ring, 0, n, worker->lane);
    return timed_execute(worker, n, request);
}

uint64_t
worker_send_again(struct worker *worker, unsigned batch, const struct request *request)
{
    return checked_execute(worker, batch, BATCH, request);
}

/* The bit that says which end of a packet was translated. */
static uint8_t
translated(const struct flows *flows, enum direction direction)
{
    return !flows->nat ? 0 : direction == ORIGINAL ? STATE_SRC_NAT : STATE_DST_NAT;
}

static struct packet
packet_of(const struct flows *flows, uint32_t flow, enum direction direction)
{
    return (struct packet) {
        .flow = flow,
        .population = flows->population,
        .family = flows->family,
        .transport = flows->transport,
        .direction = direction,
        .flags = ACK,
        .seq = flows->next[flow][direction],
        .ack = flows->next[flow][!direction],
        .alias = flows->aliases ? flows->aliases[flow] : (struct alias) { .port = 0 },
    };
}

unsigned
flows_opening(const struct flows *flows)
{
    return flows->transport == TCP ? 3 : 2;
}

struct packet
flows_open_packet(struct flows *flows, uint32_t flow, unsigned step, uint8_t *state)
{
    static const uint8_t states[] = {
        STATE_TRK | STATE_NEW,
        STATE_TRK | STATE_EST | STATE_RPL,
        STATE_TRK | STATE_EST,
    };
    enum direction direction = step == 1 ? REPLY : ORIGINAL;
    struct packet packet = packet_of(flows, flow, direction);

    *state = states[step] | translated(flows, direction);
    if (flows->transport == UDP) {
        packet.payload = PAYLOAD;
    } else if (step < 2) {
        packet.flags = step == 0 ? SYN : SYN | ACK;
        packet.seq = flows->next[flow][direction] = flow * 2654435761u + step;
        packet.ack = step == 0 ? 0 : flows->next[flow][ORIGINAL];
        flows->next[flow][direction]++;
    }
    return packet;
}

struct packet
flows_bare_packet(const struct flows *flows, uint32_t flow, enum direction direction,
                  uint8_t *state)
{
    *state = STATE_TRK | STATE_EST | (direction == REPLY ? STATE_RPL : 0)
             | translated(flows, direction);
    return packet_of(flows, flow, direction);
}

struct packet
flows_data_packet(struct flows *flows, uint32_t flow, enum direction direction, uint8_t *state)
{
    struct packet packet = flows_bare_packet(flows, flow, direction, state);

    packet.payload = PAYLOAD;
    flows->next[flow][direction] += PAYLOAD;
    return packet;
}

/* The first packets of 'n' flows have been translated: their replies go where they came from now. */
static void
learn_aliases(struct worker *worker, struct flows *flows, uint32_t first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct alias alias = ring_source(worker->ring, i);

        worker->bad += alias.address < flows->nat->first || alias.address > flows->nat->last;
        flows->aliases[first + i] = alias;
    }
}

void
worker_open(struct worker *worker, struct flows *flows, uint32_t first, uint32_t count)
{
    struct request request = flows_request(flows, true);
    unsigned steps = flows_opening(flows);

    for (uint32_t done = 0; done < count; done += BATCH) {
        unsigned n = count - done < BATCH ? count - done : BATCH;

        for (unsigned step = 0; step < steps; step++) {
            for (unsigned i = 0; i < n; i++) {
                uint8_t state;
                struct packet packet = flows_open_packet(flows, first + done + i, step, &state);

                worker_put(worker, step * BATCH + i, &packet, state);
            }
            worker_send_some(worker, step, n, &request);
            if (step == 0 && flows->nat) {
                learn_aliases(worker, flows, first + done, n);
            }
        }
        engine_rest();
    }
}

void
tally_add(struct tally *tally, uint64_t ticks, uint64_t units, bool undisturbed)
{
    tally->ticks[undisturbed] += ticks;
    tally->units[undisturbed] += units;
}

double
tally_quiet(const struct tally *tally)
{
    uint64_t all = tally->units[0] + tally->units[1];

    return all ? (double) tally->units[1] / (double) all : 0;
}

double
tally_ns(const struct tally *tally)
{
    if (tally_quiet(tally) >= 0.1) {
        return clock_ns(tally->ticks[1]) / (double) tally->units[1];
    }
    return clock_ns(tally->ticks[0] + tally->ticks[1])
           / (double) (tally->units[0] + tally->units[1]);
}
