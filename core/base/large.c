/* Alignment and advice for large blocks. */
#define _GNU_SOURCE
#include "base/large.h"

#include "base/size.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 1 << 21 };

void *rz_large_new(size_t bytes)
{
    size_t unit = bytes >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : LINE, padded;
    if (!rz_size_add(bytes > 0 ? bytes : 1, unit - 1, &padded))
        return NULL;
    padded = padded / unit * unit;
    void *memory = aligned_alloc(unit, padded);
    if (memory != NULL && unit == HUGE_PAGE)
        (void)madvise(memory, padded, MADV_HUGEPAGE); /* advice: small pages do as well */
    return memory;
}
