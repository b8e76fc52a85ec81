/* Memory and caches of the machine: huge pages, flushed lines, resident size. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

/* Zeroed memory in pages of 2 MiB where the system grants them. */
void *memory_map(size_t bytes);

/* Flushes the cache lines of a range; memory_fence() waits until that is done. */
void memory_flush(const void *from, size_t bytes);
void memory_fence(void);

/* Resident bytes of this process. */
size_t memory_resident(void);

#endif
