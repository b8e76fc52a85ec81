/* A pipeline of three zones, for the workloads of merged flows: three ct() actions, recirculation between
 * them. There are no tables of a datapath; what they would do for a packet is known. */
#ifndef ZONES_H
#define ZONES_H

#include "engine_ctoffload.h"

enum { ZONES = 3 };

/* One pass of 'n' packets of the lane, from 'first' on, through a zone. */
void zones_track(struct lane *, unsigned first, unsigned n, uint16_t zone, long long now_ms);

/* Merged flows are to be made of the pipeline, so many at most. */
void zones_enable(struct conntrack *, uint32_t flows);

/* A batch by way of the merged flows; packets that none has go through the pipeline, and their traces
 * end there. How many were found. */
unsigned zones_fastpath(struct lane *, struct ct_trace traces[BATCH], long long now_ms);

#endif
