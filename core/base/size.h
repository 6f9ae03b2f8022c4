/* Checked size arithmetic: the only way sizes that come from outside are added or multiplied. */
#ifndef RZ_BASE_SIZE_H
#define RZ_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>

/* Each returns false on overflow and then leaves *out alone. */
static inline bool rz_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool rz_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

#define RZ_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
