/* Memory of many megabytes: weights and activations. */
#ifndef RZ_BASE_LARGE_H
#define RZ_BASE_LARGE_H

#include <stddef.h>

/* New memory, 64-byte aligned, not zeroed; free() it. From some megabytes on it asks the system for
 * huge pages, which take a fraction of the time to come and spare the processor look-ups.
 * NULL when memory is exhausted. */
void *rz_large_new(size_t bytes);

#endif
