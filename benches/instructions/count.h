/* What the counted workloads have in common. */
#ifndef COUNT_H
#define COUNT_H

#include "traffic.h"

enum { CONNECTIONS = 1024 };

/* Addresses for sources that are translated. */
extern const struct translation pool;

/* An engine, flows for it to track, and who sends their packets. */
struct scene {
    struct engine *engine;
    struct flows flows;
    struct worker *worker;
};

/* A scene whose flows are all open. */
struct scene scene_open(enum family, enum transport, const struct translation *);

/* Puts a batch of data packets of the flows from 'first' on into the ring, directions in turn. */
void put_batch(struct scene *, uint32_t first);

/* Sends a data packet of every flow, by way of the tracker. */
void send_all(struct scene *);

/* What was counted since the statistics were zeroed is the workload's, for each of the connections. */
void end(const struct scene *, const char *workload);

#endif
