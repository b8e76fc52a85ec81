/* Flows that an engine tracks, and the thread that sends their packets.
 *
 * A worker prepares a whole ring of packets first, with the verdict each of them must get, and then
 * hands it over batch by batch. Only the call of the engine is timed; every verdict is compared, and
 * a workload whose packets were not all understood as they had to be ('bad' is not zero) has
 * measured nothing. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "clock.h"
#include "engine.h"
#include "frame.h"

/* Batches in a worker's ring: 2,048 frames, as receive rings of cards commonly hold. */
enum { RING = 64 };

struct flows {
    uint32_t count;
    enum population population;
    enum family family;
    enum transport transport;
    uint16_t zone;
    uint32_t (*next)[2]; /* next sequence number of each side */
    const struct translation *nat; /* NULL: they are not translated */
    struct alias *aliases;         /* what each one's source was translated to */
};

struct flows flows_new(uint32_t count, enum population, enum family, enum transport,
                       uint16_t zone);

/* Their sources are to be translated; IPv4 only. */
void flows_translate(struct flows *, const struct translation *);

/* What a datapath asks for their packets. */
struct request flows_request(const struct flows *, bool commit);

struct worker {
    struct lane *lane;
    struct ring *ring;
    enum headers headers;
    long long now;
    uint64_t random;
    uint64_t bad;
    uint8_t expected[RING * BATCH];
};

struct worker *worker_new(struct engine *, unsigned number, enum headers);

/* A number below 'limit'. */
uint32_t worker_random(struct worker *, uint32_t limit);

/* Puts a packet of a flow into the ring, with the state that it must be given. */
void worker_put(struct worker *, unsigned index, const struct packet *, uint8_t state);

/* The packets have been written: leaves their headers as the workload wants them. */
void worker_ready(struct worker *);

/* Hands one batch (or its first 'n' packets) over; the ticks that the engine took. */
uint64_t worker_send(struct worker *, unsigned batch, const struct request *);
uint64_t worker_send_some(struct worker *, unsigned batch, unsigned n, const struct request *);

/* Hands the ring's first batch over without looking at the verdicts, which are the caller's business. */
uint64_t worker_try(struct worker *, unsigned n, const struct request *);

/* Hands the batch over a second time, as a pipeline does that calls the tracker again. */
uint64_t worker_send_again(struct worker *, unsigned batch, const struct request *);

/* The packet 'step' of a flow's opening, and the state that it must be given. */
unsigned flows_opening(const struct flows *);
struct packet flows_open_packet(struct flows *, uint32_t flow, unsigned step, uint8_t *state);

/* A data packet that moves an established flow forward (TCP: in valid sequence). */
struct packet flows_data_packet(struct flows *, uint32_t flow, enum direction, uint8_t *state);

/* A packet without data: it moves nothing, so that several threads may send it at once. */
struct packet flows_bare_packet(const struct flows *, uint32_t flow, enum direction,
                                uint8_t *state);

/* Opens the flows first .. first + count. */
void worker_open(struct worker *, struct flows *, uint32_t first, uint32_t count);

/* Sums of what was measured: rings during which the thread ran undisturbed, and the others. */
struct tally {
    uint64_t ticks[2];
    uint64_t units[2];
};

void tally_add(struct tally *, uint64_t ticks, uint64_t units, bool undisturbed);

/* Ns per unit, from the undisturbed rings unless hardly any was undisturbed. */
double tally_ns(const struct tally *);

/* The share of the units that was measured undisturbed. */
double tally_quiet(const struct tally *);

#endif
