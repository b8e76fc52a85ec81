/* Threads that start together, each pinned to a processor of its own. */
#ifndef TEAM_H
#define TEAM_H

#include <pthread.h>

struct team {
    pthread_barrier_t barrier;
    unsigned size;
    void (*member)(struct team *, unsigned number, void *context);
    void *context;
};

/* Runs 'member' on 'size' threads and waits for all of them. */
void team_run(unsigned size, void (*member)(struct team *, unsigned number, void *context),
              void *context);

/* Waits until every member has come here. */
void team_meet(struct team *);

#endif
