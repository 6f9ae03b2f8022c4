/* Memory of the large blocks: parameters, packed weights, what a pass works in. */
#ifndef RZ_BASE_MEMORY_H
#define RZ_BASE_MEMORY_H

#include <stddef.h>

/* At least `bytes`, 64-byte aligned, not zeroed; free() gives it back. NULL when there is none.
 * Blocks of 4 MiB and more ask the system for huge pages: a model's first touch is then one page
 * fault for 2 MiB in place of 512. Where it has none, or is told never to, nothing else changes. */
void *rz_memory_block(size_t bytes);

#endif
