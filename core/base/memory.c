/* Alignment, and a word to the system about page size. */
#define _DEFAULT_SOURCE /* madvise */
#include "base/memory.h"

#include "base/size.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20, HUGE_FROM = 4 << 20 };

void *rz_memory_block(size_t bytes)
{
    size_t unit = bytes < HUGE_FROM ? LINE : HUGE_PAGE, size = 0;
    if (!rz_size_add(bytes, unit - (bytes > 0), &size))
        return NULL;
    size = size / unit * unit;
    void *block = aligned_alloc(unit, size);
#ifdef MADV_HUGEPAGE
    if (block != NULL && unit == HUGE_PAGE)
        (void)madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
}
