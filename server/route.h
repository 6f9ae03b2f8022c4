/* The one table of routes: method, pattern, scope, body, query names and handler. */
#ifndef REZEPTD_ROUTE_H
#define REZEPTD_ROUTE_H

#include "request.h"

typedef enum body_kind {
    BODY_NONE,
    BODY_CLAIMS, /* one JSON claim or NDJSON */
    BODY_JSON,
    BODY_NDJSON
} body_kind;

typedef struct route {
    const char *method, *pattern; /* "{name}" segments are parameters */
    const char *scope;            /* NULL: no token needed; "": any token */
    body_kind body;
    const char *query; /* names allowed, comma-separated; "" = none */
    void (*handle)(request *r);
    bool while_draining; /* answered after SIGTERM too */
} route;

size_t route_count(void);
const route *route_at(size_t i);
size_t route_index(const route *row);

/* Finds the route of method and target and fills in parameters and query. Without one, the answer
 * is 404 listing what exists or 405 with Allow; with unknown query names 400.
 * Returns false when an answer was made. */
bool route_match(request *r, const target *t);

/* The body limit of a matched request with the name of its setting; 0 = no body is taken. The
 * answer is 415 when the media type does not fit (returns false). */
bool route_body(request *r, size_t *limit, const char **setting);

bool request_is_ndjson(const request *r);

#endif
