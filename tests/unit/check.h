/* What every unit test includes: cmocka in the order it wants, and checks that print both sides. */
#ifndef RZ_TESTS_CHECK_H
#define RZ_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* The call succeeds; otherwise its error is printed. Uses the local `rz_error error`. */
#define check_ok(call)                                                                             \
    do {                                                                                           \
        rz_status check_status = (call);                                                           \
        if (check_status != RZ_OK)                                                                 \
            fail_msg("%s: %s: %s", #call, rz_status_name(check_status), error.text);               \
    } while (0)

/* The call fails with this status and its text contains `words`. Clears the error. */
#define check_fails(call, wanted, words)                                                           \
    do {                                                                                           \
        rz_error_clear(&error);                                                                    \
        rz_status check_status = (call);                                                           \
        if (check_status != (wanted) || strstr(error.text, (words)) == NULL)                       \
            fail_msg("%s: got %s \"%s\", wanted %s \"%s\"", #call, rz_status_name(check_status),   \
                     error.text, rz_status_name(wanted), (words));                                 \
        rz_error_clear(&error);                                                                    \
    } while (0)

#define check_near(actual, wanted, tolerance)                                                      \
    do {                                                                                           \
        double check_a = (actual), check_w = (wanted);                                             \
        if (!(fabs(check_a - check_w) <= (tolerance)))                                             \
            fail_msg("%s = %.17g, wanted %.17g ± %g", #actual, check_a, check_w,                   \
                     (double)(tolerance));                                                         \
    } while (0)

/* The folder of real-format data, or NULL after printing why the test is skipped. */
static inline const char *check_shared_data(const char *folder, char *path, size_t cap)
{
    const char *root = getenv("REZEPT_SHARED_DATA");
    if (root == NULL)
        return NULL;
    (void)snprintf(path, cap, "%s/%s", root, folder);
    FILE *probe = fopen(path, "rb");
    if (probe == NULL) {
        print_message("skipped: %s is absent\n", path);
        return NULL;
    }
    (void)fclose(probe);
    return path;
}

#endif
