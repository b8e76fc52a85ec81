/* What stands behind engine.h in this library's program, for the workloads that only it has. */
#ifndef ENGINE_CTOFFLOAD_H
#define ENGINE_CTOFFLOAD_H

#include "ctoffload.h"
#include "engine.h"

struct engine {
    struct conntrack *tracker;
};

struct lane {
    struct ct_packet packets[BATCH];
    struct conntrack *tracker;
};

/* Ends the program when a call of the library, named 'what', failed. */
void engine_must(int error, const char *what);

#endif
