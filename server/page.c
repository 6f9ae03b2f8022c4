/* GET / and GET /page/{file}: the clinicians' page, from files compiled in. It asks the daemon and
 * nobody else, and says so to the browser: no other host, no inline script or style, no frame
 * around it. The tag of a file changes with its content, so that a browser asks each time and is
 * sent it once. */
#include "page.h"

#include "base/size.h"
#include "handlers.h"
#include "problem.h"
#include "route.h"

#include <string.h>
#include <strings.h>

#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* True when an Accept-Encoding names gzip and does not give it the weight 0. */
static bool takes_gzip(const char *accept)
{
    for (const char *p = accept != NULL ? accept : ""; *p != '\0';) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ","), name = strcspn(p, ",; \t");
        if (name == strlen("gzip") && strncasecmp(p, "gzip", name) == 0) {
            const char *weight = memchr(p, '=', n);
            size_t zeros = weight != NULL ? strspn(weight + 1, "0. \t") : 0;
            return weight == NULL || weight + 1 + zeros < p + n;
        }
        p += n;
    }
    return false;
}

static bool has_it(const char *if_none_match, const char *etag)
{
    /* Compared weakly: what is between the quotes counts. */
    return if_none_match != NULL &&
           (strcmp(if_none_match, "*") == 0 || strstr(if_none_match, etag + strlen("W/")) != NULL);
}

static void answer_file(request *r, const page_file *file)
{
    bool same = has_it(r->if_none_match, file->etag), gzip = takes_gzip(r->accept_encoding);
    const pair headers[] = {
        {"Cache-Control", "no-cache"},      {"ETag", file->etag},
        {"Vary", "Accept-Encoding"},        {"Content-Security-Policy", POLICY},
        {"Referrer-Policy", "no-referrer"}, {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Content-Encoding", "gzip"}};
    pair *kept = rz_arena_alloc(&r->arena, RZ_COUNT(headers), sizeof *kept);
    if (kept == NULL) {
        problem_no_memory(r);
        return;
    }
    memcpy(kept, headers, sizeof headers);
    request_answer(r, same ? 304 : 200, file->content_type, gzip ? file->gzip : file->raw,
                   same   ? 0
                   : gzip ? file->gzip_length
                          : file->raw_length,
                   NULL, NULL);
    r->answer.headers = kept;
    r->answer.n_headers = RZ_COUNT(headers) - (gzip && !same ? 0 : 1);
}

static void answer_named(request *r, const char *name)
{
    for (size_t i = 0; i < page_files_count; i++)
        if (strcmp(page_files[i].name, name) == 0) {
            answer_file(r, &page_files[i]);
            return;
        }
    problem_answerf(r, PROBLEM_UNKNOWN_ROUTE, "the page has no file of this name");
}

void page_index_get(request *r)
{
    answer_named(r, "index.html");
}

void page_file_get(request *r)
{
    answer_named(r, request_parameter(r, "file"));
}
