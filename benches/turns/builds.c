/* Builds of the library side by side: see builds.h.
 *
 * Each is loaded into a name space of its own (dlmopen), and this file has the functions that
 * engine_ctoffload.c calls, under their names: that one does not know that it speaks to several. */
#define _GNU_SOURCE
#include "builds.h"

#include <dlfcn.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "ctoffload.h"

/* What the harness has as one instance: that of each build. */
struct conntrack {
    struct conntrack *each[MOST_BUILDS];
};

struct build {
    int (*create)(const struct ct_config *, struct conntrack **);
    int (*execute)(struct conntrack *, struct ct_packet *, size_t, const struct ct_action *, int64_t);
    const char *(*last_error)(void);
};

static struct build builds[MOST_BUILDS];
static unsigned loaded, first, last;

static void *
symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);

    if (!found) {
        errx(1, "%s", dlerror());
    }
    return found;
}

void
builds_load(unsigned count, char *const files[])
{
    if (count > MOST_BUILDS) {
        errx(2, "at most %d builds", MOST_BUILDS);
    }
    for (loaded = 0; loaded < count; loaded++) {
        void *library = dlmopen(LM_ID_NEWLM, files[loaded], RTLD_NOW);

        if (!library) {
            errx(1, "%s", dlerror());
        }
        builds[loaded] = (struct build) {
            .create = symbol(library, "conntrack_create"),
            .execute = symbol(library, "conntrack_execute"),
            .last_error = symbol(library, "ct_last_error"),
        };
    }
    builds_together();
}

void
builds_turn(unsigned build)
{
    first = last = build;
}

void
builds_together(void)
{
    first = 0;
    last = loaded - 1;
}

int
conntrack_create(const struct ct_config *config, struct conntrack **all)
{
    *all = calloc(1, sizeof **all);
    for (unsigned i = 0; i < loaded; i++) {
        int error = builds[i].create(config, &(*all)->each[i]);

        if (error) {
            return error;
        }
    }
    return 0;
}

int
conntrack_execute(struct conntrack *all, struct ct_packet *packets, size_t n,
                  const struct ct_action *action, int64_t now_ms)
{
    for (unsigned i = first; i < last; i++) {
        struct ct_packet copies[n];

        memcpy(copies, packets, sizeof copies);
        int error = builds[i].execute(all->each[i], copies, n, action, now_ms);

        if (error) {
            return error;
        }
    }
    return builds[last].execute(all->each[last], packets, n, action, now_ms);
}

const char *
ct_last_error(void)
{
    return builds[last].last_error();
}
