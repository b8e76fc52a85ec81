/* Memory and caches of the machine: huge pages, flushed lines, resident size. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

/* Zeroed memory in pages of 2 MiB where the system grants them. */
void *memory_map(size_t bytes);

/* Makes the machine have so much memory free that its host has found already: it is touched and given back.
 * A virtual machine may have to wait milliseconds for each page that it did not use for a while, and which
 * engine meets those pages would be chance. At most half of what is free. */
void memory_find(size_t bytes);

/* Flushes the cache lines of a range; memory_fence() waits until that is done. */
void memory_flush(const void *from, size_t bytes);
void memory_fence(void);

/* Resident bytes of this process. */
size_t memory_resident(void);

#endif
