/* The token list in memory. Digests are compared in constant time and all of them, so that neither
 * a digest nor its place in the list can be guessed from the time an answer takes. */
#include "auth.h"

#include "claims/day.h"
#include "log.h"
#include "problem.h"
#include "route.h"
#include "tokens.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { LOOK_MS = 10 /* between two looks at the file; a look is a system call */ };

struct auth {
    const config *config;
    atomic_llong looked_ms; /* monotonic */
    pthread_rwlock_t lock;
    tokens tokens;
};

rz_status auth_new(const config *c, auth **out, rz_error *error)
{
    auth *a = calloc(1, sizeof *a);
    if (a == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the tokens");
    a->config = c;
    (void)pthread_rwlock_init(&a->lock, NULL);
    rz_status status = tokens_read(c->db, &a->tokens, error);
    if (status == RZ_OK && !config_listens_on_loopback(c)) {
        if (a->tokens.n == 0)
            status = rz_fail(error, RZ_E_USAGE,
                             "listen = %s is reachable from other machines and there is no token; "
                             "make one with `rezeptd token create`, or listen on 127.0.0.1",
                             c->listen);
        else if (!c->behind_proxy)
            status = rz_fail(error, RZ_E_USAGE,
                             "listen = %s is reachable from other machines and rezeptd speaks no "
                             "TLS; put a proxy in front and say so with behind-proxy = true, or "
                             "listen on 127.0.0.1",
                             c->listen);
    }
    if (status != RZ_OK) {
        auth_free(a);
        return status;
    }
    *out = a;
    return RZ_OK;
}

void auth_free(auth *a)
{
    if (a == NULL)
        return;
    (void)pthread_rwlock_destroy(&a->lock);
    free(a);
}

/* A file that cannot be read leaves the tokens as they were: access never widens by accident. */
static void refresh(auth *a)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    long long now = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (now - atomic_load(&a->looked_ms) < LOOK_MS)
        return;
    atomic_store(&a->looked_ms, now);
    (void)pthread_rwlock_rdlock(&a->lock);
    bool changed = tokens_changed(a->config->db, &a->tokens);
    bool had = a->tokens.n > 0;
    (void)pthread_rwlock_unlock(&a->lock);
    if (!changed)
        return;
    rz_error error = {0};
    tokens *fresh = malloc(sizeof *fresh);
    rz_status status = fresh == NULL ? RZ_E_NO_MEMORY : tokens_read(a->config->db, fresh, &error);
    if (status == RZ_OK && fresh->n == 0 && had)
        status = rz_fail(&error, RZ_E_NOT_FOUND, "the token file is gone; its tokens stay valid");
    (void)pthread_rwlock_wrlock(&a->lock);
    if (status == RZ_OK)
        a->tokens = *fresh;
    else if (fresh != NULL)
        a->tokens.seen = fresh->seen; /* say it once */
    (void)pthread_rwlock_unlock(&a->lock);
    if (status != RZ_OK)
        log_event("error", "tokens_unreadable", "{s:s}", "detail", error.text);
    free(fresh);
}

bool auth_required(auth *a)
{
    refresh(a);
    (void)pthread_rwlock_rdlock(&a->lock);
    bool required = a->tokens.n > 0;
    (void)pthread_rwlock_unlock(&a->lock);
    return required;
}

static void refuse(request *r, const char *detail)
{
    problem_answerf(r, PROBLEM_UNAUTHORIZED, "%s", detail);
}

bool auth_check(auth *a, request *r, bool required)
{
    text_copy(r->caller, sizeof r->caller, "local");
    r->has_token = false;
    r->scopes = required ? 0 : scopes_all();
    if (r->route->scope == NULL || !required)
        return true;
    const char *given = r->authorization;
    if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0) {
        refuse(r, "send a token: Authorization: Bearer <token>");
        return false;
    }
    given += 7 + strspn(given + 7, " ");
    size_t length = strlen(given);
    while (length > 0 && given[length - 1] == ' ')
        length--;
    char digest[RZ_SHA256_TEXT];
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, given, length);
    rz_sha256_text(&hash, digest);
    uint32_t wanted = 0;
    rz_error error = {0};
    if (scopes_parse(r->route->scope, &wanted, &error) != RZ_OK)
        wanted = UINT32_MAX; /* a scope that no token has */
    token found = {0};
    (void)pthread_rwlock_rdlock(&a->lock);
    for (size_t i = 0; i < a->tokens.n; i++)
        if (rz_equal_constant_time(a->tokens.item[i].sha256, digest, sizeof digest))
            found = a->tokens.item[i];
    (void)pthread_rwlock_unlock(&a->lock);
    if (found.name[0] == '\0' || found.revoked) {
        refuse(r, "the token is not known or was revoked; `rezeptd token list` shows the valid "
                  "ones");
        return false;
    }
    if (found.expires_day != RZ_DAY_NONE && rz_day_today() > found.expires_day) {
        refuse(r, "the token has expired; make a new one with `rezeptd token create`");
        return false;
    }
    (void)snprintf(r->caller, sizeof r->caller, "%s", found.name);
    r->has_token = true;
    r->scopes = found.scopes;
    if ((found.scopes & wanted) != wanted) {
        problem_answerf(r, PROBLEM_FORBIDDEN, "the token lacks the scope %s", r->route->scope);
        return false;
    }
    return true;
}
