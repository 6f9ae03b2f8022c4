/* Is it well-formed: every tag closed in its order, every attribute quoted, no bare < or &. */
#ifndef RZ_TESTS_MARKUP_H
#define RZ_TESTS_MARKUP_H

#include "check.h"

#include <stdbool.h>

/* Elements of HTML that have no end. */
static inline bool markup_is_void(const char *name, size_t n)
{
    static const char *const names[] = {"meta", "br", "!doctype", "hr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && memcmp(name, names[i], n) == 0)
            return true;
    return false;
}

static inline void check_markup(const char *text)
{
    const char *open[64];
    size_t lengths[64], depth = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '&') {
            const char *end = strchr(c, ';');
            if (end == NULL || end - c > 8)
                fail_msg("a bare & before \"%.20s\"", c);
        }
        if (*c != '<')
            continue;
        bool closing = c[1] == '/';
        const char *name = c + (closing ? 2 : 1), *end = name;
        size_t n = strcspn(name, " />\n"), quotes = 0;
        if (n == 0)
            fail_msg("a bare < before \"%.20s\"", c);
        for (; *end != '\0' && (*end != '>' || quotes % 2 == 1); end++) {
            quotes += *end == '"';
            if (*end == '<')
                fail_msg("a tag inside a tag: \"%.40s\"", c);
        }
        if (*end == '\0')
            fail_msg("a tag that does not end: \"%.40s\"", c);
        if (closing) {
            if (depth == 0 || lengths[depth - 1] != n || memcmp(open[depth - 1], name, n) != 0)
                fail_msg("\"%.20s\" closes nothing", c);
            depth--;
        } else if (end[-1] != '/' && !markup_is_void(name, n)) {
            if (depth == 64)
                fail_msg("too deep at \"%.20s\"", c);
            open[depth] = name;
            lengths[depth++] = n;
        }
        c = end;
    }
    if (depth > 0)
        fail_msg("\"%.20s\" is not closed", open[depth - 1]);
}

#endif
