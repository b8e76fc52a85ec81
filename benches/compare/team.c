/* Teams of threads: see team.h. */
#define _GNU_SOURCE
#include "team.h"

#include <err.h>
#include <stdlib.h>

#include "clock.h"

struct member {
    struct team *team;
    unsigned number;
    pthread_t thread;
};

static void *
member_main(void *argument)
{
    struct member *member = argument;

    clock_pin(member->number);
    member->team->member(member->team, member->number, member->team->context);
    return NULL;
}

void
team_meet(struct team *team)
{
    pthread_barrier_wait(&team->barrier);
}

void
team_run(unsigned size, void (*body)(struct team *, unsigned, void *), void *context)
{
    struct team team = { .size = size, .member = body, .context = context };
    struct member *members = calloc(size, sizeof *members);

    pthread_barrier_init(&team.barrier, NULL, size);
    for (unsigned i = 0; i < size; i++) {
        members[i] = (struct member) { .team = &team, .number = i };
        if (pthread_create(&members[i].thread, NULL, member_main, &members[i])) {
            err(1, "cannot start a thread");
        }
    }
    for (unsigned i = 0; i < size; i++) {
        pthread_join(members[i].thread, NULL);
    }
    pthread_barrier_destroy(&team.barrier);
    free(members);
}
